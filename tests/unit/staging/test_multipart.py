from __future__ import annotations

import errno
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from aisfs.errors import FsError, IoFailure, NoSpace, NotFound, SentOn, TooLarge
from aisfs.staging import multipart, quota
from aisfs.staging.journal import Journal
from aisfs.staging.multipart import PART_SHARE, Parts, Uploads, free_on_disk
from aisfs.staging.quota import Quota
from aisfs.staging.staged_file import StagedFile
from aisfs.store.interface import BucketName, PartsUpload, Tail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aisfs.store.aistore import AISStore
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

BUCKET = BucketName("b")
PART = 8 << 10
QUOTA = PART_SHARE * PART
BLOCK = 4 << 10
"""Of usual disks; the first and the last of a file may be taken for a few bytes."""


@dataclass
class PartsInMemory:
    """Uploads in memory, behind the calls that files in parts make.

    Attributes:
        parts: of the last upload.
        begun, ended: how many there were.
        failures: raised by the next parts.
        gate: parts wait for it.
    """

    parts: list[bytes] = field(default_factory=list)
    begun: int = 0
    ended: int = 0
    failures: list[FsError] = field(default_factory=list)
    gate: trio.Event | None = None

    def takes(self, bucket: BucketName) -> bool:
        return True

    async def begin(self, bucket: BucketName, name: str) -> PartsUpload:
        await trio.lowlevel.checkpoint()
        self.parts, self.begun = [], self.begun + 1
        return PartsUpload(bucket, name, str(self.begun))

    async def send(self, upload: PartsUpload, number: int, part: Tail) -> None:
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        assert number == len(self.parts) + 1
        self.parts.append(os.pread(part.fd, part.end - part.start, part.start))

    async def complete(self, upload: PartsUpload, parts: int, size: int) -> None:
        await trio.lowlevel.checkpoint()
        assert (parts, size) == (len(self.parts), sum(map(len, self.parts)))
        self.ended += 1

    async def abort(self, upload: PartsUpload) -> None:
        await trio.lowlevel.checkpoint()
        self.ended += 1


class Bench:
    """A file, its room, and where its parts go."""

    def __init__(self, path: Path, nursery: trio.Nursery) -> None:
        self.uploads = PartsInMemory()
        self.journal = Journal(path.with_suffix(".journal"))
        uploads = Uploads(self.uploads, self.journal)
        self.quota = Quota(QUOTA)
        self.rooms = Parts(uploads, nursery, self.quota)
        self.file = StagedFile(path, self.quota, None)

    async def write(self, offset: int, data: bytes) -> None:
        """Write as open files do."""
        self.rooms.make_room(self.file, (BUCKET, "o"), offset, len(data))
        await self.file.write(offset, data)

    async def grow(self, size: int) -> bytes:
        """Write in order from the start, and return what."""
        body = os.urandom(size)
        for at in range(0, size, PART // 2):
            await self.write(at, body[at : at + PART // 2])
        return body


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Bench]:
    """Return a bench; all room has to be there again in the end, and no upload left."""
    async with trio.open_nursery() as nursery:
        bench = Bench(path, nursery)
        try:
            yield bench
        finally:
            bench.file.close()
    assert await bench.journal.parts() == []
    bench.journal.close()
    assert bench.quota.used == 0
    assert bench.uploads.begun == bench.uploads.ended
    assert blocks(path) == 0


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path / "f") as made:
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have writers wait shorter for room that does not come."""
    monkeypatch.setattr(quota, "WAIT_S", 0.5)
    monkeypatch.setattr(multipart, "PAUSE_S", 0.05)


def blocks(path: Path) -> int:
    return path.stat().st_blocks if path.exists() else 0


def freed(bench: Bench) -> int:
    return bench.file.freed


# -- against a model

steps = st.lists(
    st.one_of(
        st.tuples(st.just("next"), st.just(0), st.integers(1, PART)),
        st.tuples(st.just("next"), st.just(0), st.integers(PART, 4 * PART)),
        st.tuples(st.just("write"), st.integers(0, 2 * QUOTA), st.integers(1, PART)),
        st.tuples(st.just("truncate"), st.integers(0, 2 * QUOTA), st.just(0)),
        st.tuples(st.just("empty"), st.just(0), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 2 * QUOTA), st.integers(1, PART)),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("staging")


@given(steps=steps, first=st.integers(0, 3 * PART_SHARE))
@settings(max_examples=100, deadline=None)
def test_it_is_a_bytearray_or_refuses(
    directory: Path, steps: list[tuple[str, int, int]], first: int
) -> None:
    trio.run(compare, directory / "file", steps, first)


async def compare(path: Path, steps: list[tuple[str, int, int]], first: int) -> None:
    async with opened(path) as bench:
        model = bytearray(await bench.grow(first * PART))  # which always has room, in the end
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(quota, "WAIT_S", 0.1)
            for step in steps:
                await apply(bench, model, step)
                assert bench.file.size == len(model)
                assert blocks(path) * 512 <= QUOTA + 2 * BLOCK
        checksum = await bench.file.complete()
        parts = bench.file.parts
        if parts is None or not await parts.send_rest(BUCKET, "o", len(model)):
            assert await bench.file.read(0, len(model)) == model
        else:
            await parts.complete()
            parts.completed()
            assert b"".join(bench.uploads.parts) == model
        assert checksum == xxhash.xxh64(model).hexdigest()


async def apply(bench: Bench, model: bytearray, step: tuple[str, int, int]) -> None:
    """Do a step on both, unless the file refuses it, as it may do from what it freed on."""
    action, offset, size = step
    try:
        if action in {"next", "write"}:
            offset = len(model) if action == "next" else offset
            data = os.urandom(size)
            await bench.write(offset, data)
            model.extend(bytes(max(offset - len(model), 0)))
            model[offset : offset + size] = data
        elif action == "read":
            assert await bench.file.read(offset, size) == model[offset : offset + size]
        else:
            await bench.file.truncate(offset)
            del model[offset:]
            model.extend(bytes(offset - len(model)))
    except SentOn:
        assert freed(bench)
        assert offset < (freed(bench) if action == "read" else len(model))
    except (NoSpace, TooLarge):  # not in order, or larger than all room at once
        assert bench.file.lacks(offset + size)


# -- one by one


async def test_room_is_had_by_who_waits_for_it(bench: Bench) -> None:
    body = await bench.grow(5 * QUOTA)
    assert freed(bench) >= 4 * QUOTA
    assert bench.quota.used <= QUOTA
    assert b"".join(bench.uploads.parts) == body[: freed(bench)]
    assert {len(part) for part in bench.uploads.parts} == {PART}


async def test_what_fits_is_not_sent(bench: Bench) -> None:
    await bench.grow(QUOTA)
    assert bench.uploads.begun == 0


async def test_who_waits_gets_less_than_a_part_too(bench: Bench) -> None:
    """Others may have all the room but what is smaller than a part."""
    body = await bench.grow(QUOTA)
    await bench.write(QUOTA, body[: PART // 2])
    while bench.file.size - freed(bench) >= PART:  # noqa: ASYNC110
        await trio.sleep(0.01)
    theirs = QUOTA - bench.quota.used - 100
    await bench.quota.reserve(theirs)
    await bench.write(QUOTA + PART // 2, body[:200])
    assert len(bench.uploads.parts[-1]) == PART // 2
    bench.quota.release(theirs)


@pytest.mark.usefixtures("impatient")
async def test_a_change_before_anything_was_freed_gives_it_up(bench: Bench) -> None:
    bench.uploads.gate = trio.Event()
    body = await bench.grow(QUOTA)
    with pytest.raises(NoSpace):
        await bench.write(QUOTA, b"more")
    await bench.write(3, b"x")
    assert bench.file.parts is None
    assert await bench.file.read(0, 10) == body[:3] + b"x" + body[4:10]


async def test_it_is_begun_again_while_all_is_here(bench: Bench) -> None:
    bench.uploads.failures = [IoFailure("one"), IoFailure("two")]
    body = await bench.grow(2 * QUOTA)
    assert bench.uploads.begun == 3
    assert b"".join(bench.uploads.parts) == body[: freed(bench)]


@pytest.mark.usefixtures("impatient")
async def test_a_cluster_that_takes_nothing_costs_nothing(bench: Bench) -> None:
    bench.uploads.failures = [IoFailure("no")] * 100
    body = await bench.grow(QUOTA)
    with pytest.raises(NoSpace):
        await bench.write(QUOTA, b"more")
    assert await bench.file.read(0, QUOTA) == body
    assert bench.file.parts is None


async def test_a_later_failure_loses_it_for_every_use(bench: Bench) -> None:
    await bench.grow(2 * QUOTA)
    bench.uploads.failures = [IoFailure("the network broke")]
    with pytest.raises(IoFailure, match="the network broke"):
        await bench.write(2 * QUOTA, bytes(QUOTA))
    parts = bench.file.parts
    assert parts is not None
    assert bench.quota.used <= QUOTA
    for use in (
        bench.file.read(2 * QUOTA - 1, 1),
        bench.file.truncate(5),
        bench.file.write(bench.file.size, b"x"),
        parts.send_rest(BUCKET, "o", bench.file.size),
    ):
        with pytest.raises(IoFailure, match="the network broke"):
            await use
    await bench.file.truncate(0)
    await bench.write(0, b"new")
    assert await bench.file.read(0, 10) == b"new"


async def test_too_many_parts_are_refused_before_they_are_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "MAX_PARTS", 20)
    with pytest.raises(TooLarge):
        await bench.grow(30 * PART)
    size = bench.file.size
    assert 10 * PART < size <= 20 * PART  # some were sent before they were full
    parts = bench.file.parts
    assert parts is not None
    assert await parts.send_rest(BUCKET, "o", size)
    await parts.complete()
    parts.completed()


async def test_a_renamed_file_is_not_completed(bench: Bench) -> None:
    await bench.grow(2 * QUOTA)
    assert bench.file.parts is not None
    with pytest.raises(IoFailure, match="renamed"):
        await bench.file.parts.send_rest(BUCKET, "p", bench.file.size)


@pytest.mark.usefixtures("impatient")
async def test_a_disk_that_cannot_free_keeps_everything(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, start: int, end: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(multipart, "free_on_disk", refuse)
    body = await bench.grow(QUOTA)
    with pytest.raises(NoSpace):
        await bench.write(QUOTA, b"more")
    assert await bench.file.read(0, QUOTA) == body
    assert bench.uploads.begun == 0


def test_freed_blocks_are_the_disks_again(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * (1 << 20))
    before = path.stat().st_blocks
    with path.open("r+b") as file:
        free_on_disk(file.fileno(), 0, 1 << 19)
    assert path.stat().st_blocks == before // 2
    assert path.read_bytes() == bytes(1 << 19) + b"x" * (1 << 19)
    with path.open("rb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        free_on_disk(file.fileno(), 0, 1)


# -- on a store


async def test_a_store_puts_parts_together(
    cluster: StoreProcess, aistore: AISStore, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    await aistore.bucket(bucket)
    assert not aistore.parts.takes(bucket)  # before the release is known
    await aistore.name_rules()
    assert aistore.parts.takes(bucket)
    body = os.urandom(300_000)
    (tmp_path / "f").write_bytes(body)
    with (tmp_path / "f").open("rb") as file:
        upload = await aistore.parts.begin(bucket, "d/o")
        await aistore.parts.send(upload, 1, Tail(file.fileno(), 0, 200_000))
        await aistore.parts.send(upload, 2, Tail(file.fileno(), 200_000, 300_000))
    assert list(other.list_all_objects()) == []
    await aistore.parts.complete(upload, 2, 300_000)
    assert other.object("d/o").get().read_all() == body
    for again in (aistore.parts.complete(upload, 2, 300_000), aistore.parts.abort(upload)):
        with pytest.raises(NotFound):
            await again
