from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from aisfs.errors import FsError, IoFailure, NoSpace, Stale, TooLarge
from aisfs.staging.quota import Quota
from aisfs.staging.staged_file import FETCH_STEP, StagedFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


class Content:
    """A base in memory: a plain value behind the protocol that the cache implements.

    Attributes:
        reads: ranges that were asked for.
        failure: raised instead of an answer.
        gate: answers wait for it.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.reads: list[tuple[int, int]] = []
        self.failure: FsError | None = None
        self.gate: trio.Event | None = None

    async def read(self, offset: int, size: int) -> bytes:
        await trio.lowlevel.checkpoint()
        self.reads.append((offset, size))
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.data[offset : offset + size]


def replaced(size: int) -> Content:
    """Return a base whose object is another one now."""
    made = Content(bytes(size))
    made.failure = Stale("the object changed")
    return made


@pytest.fixture
def quota() -> Quota:
    return Quota(64 * MIB)


def on_disk(path: Path) -> bytes:
    return path.read_bytes()


def size_on_disk(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def dirty(staged: StagedFile) -> bool:
    return staged.dirty


def appended_from(staged: StagedFile) -> int | None:
    return staged.appended_from


def in_order(staged: StagedFile) -> int:
    return staged.in_order


def checksum(data: bytes | bytearray) -> str:
    return str(xxhash.xxh64(data).hexdigest())


async def test_what_can_never_be_here_whole_is_read_through(tmp_path: Path) -> None:
    base = Content(os.urandom(3 * MIB))
    quota = Quota(MIB)
    staged = StagedFile(tmp_path / "f", quota, base)
    assert await staged.read(100, 2 * MIB) == base.data[100 : 2 * MIB + 100]
    assert await staged.read(3 * MIB - 5, 100) == base.data[-5:]
    assert quota.used == 0
    with pytest.raises(TooLarge):
        await staged.write(0, b"x")
    await staged.truncate(MIB)  # and now it can
    await staged.write(0, b"x")
    assert await staged.read(0, 2 * MIB) == b"x" + base.data[1:MIB]
    assert quota.used == MIB
    staged.close()


# -- against a model

BASE = bytes(range(1, 251)) * 4

steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 1500), st.binary(min_size=1, max_size=300)),
        st.tuples(st.just("next"), st.just(0), st.binary(min_size=1, max_size=300)),
        st.tuples(st.just("truncate"), st.integers(0, 1500), st.just(b"")),
        st.tuples(st.just("read"), st.integers(0, 1500), st.just(b"x" * 200)),
        st.tuples(st.just("complete"), st.just(0), st.just(b"")),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("staging")


@given(steps=steps, base=st.sampled_from([None, b"", BASE]))
@settings(max_examples=150, deadline=None)
def test_a_staged_file_is_a_bytearray(
    directory: Path, steps: list[tuple[str, int, bytes]], base: bytes | None
) -> None:
    trio.run(compare, directory / "file", steps, base)


async def compare(path: Path, steps: list[tuple[str, int, bytes]], base: bytes | None) -> None:
    quota = Quota(1 << 20)
    staged = StagedFile(path, quota, None if base is None else Content(base))
    model = bytearray(base or b"")
    try:
        for action, number, data in steps:
            await apply(staged, model, (action, number, data))
            assert staged.size == len(model) == size_on_disk(path)
            assert quota.used <= max(len(model), 2000)
        assert await staged.complete() == checksum(model)
        assert on_disk(path) == model
        assert await staged.read(0, len(model) + 10) == model
    finally:
        staged.close()
    assert quota.used == 0
    assert size_on_disk(path) == -1


async def apply(staged: StagedFile, model: bytearray, step: tuple[str, int, bytes]) -> None:
    action, number, data = step
    if action in {"write", "next"}:
        offset = len(model) if action == "next" else number
        assert await staged.write(offset, data) == len(data)
        model.extend(bytes(max(offset - len(model), 0)))
        model[offset : offset + len(data)] = data
    elif action == "truncate":
        await staged.truncate(number)
        model.extend(bytes(max(number - len(model), 0)))
        del model[number:]
    elif action == "read":
        assert await staged.read(number, len(data)) == model[number : number + len(data)]
    else:
        assert await staged.complete() == checksum(model)


# -- what is fetched


async def test_nothing_is_fetched_to_open_or_to_write(tmp_path: Path, quota: Quota) -> None:
    base = Content(os.urandom(5 * MIB))
    staged = StagedFile(tmp_path / "f", quota, base)
    await staged.write(MIB, b"x" * 1000)
    assert base.reads == []
    staged.close()


async def test_a_read_fetches_what_it_needs(tmp_path: Path, quota: Quota) -> None:
    base = Content(os.urandom(5 * MIB))
    staged = StagedFile(tmp_path / "f", quota, base)
    assert await staged.read(2 * MIB + 10, 100) == base.data[2 * MIB + 10 : 2 * MIB + 110]
    assert base.reads == [(2 * MIB + 10, 100)]
    staged.close()


async def test_truncating_to_nothing_downloads_nothing(tmp_path: Path, quota: Quota) -> None:
    base = Content(os.urandom(5 * MIB))
    staged = StagedFile(tmp_path / "f", quota, base)
    await staged.truncate(0)
    await staged.write(0, b"new")
    assert await staged.complete() == checksum(b"new")
    assert base.reads == []
    staged.close()


async def test_what_was_fetched_is_not_fetched_again(tmp_path: Path, quota: Quota) -> None:
    base = Content(os.urandom(3 * MIB + 5))
    staged = StagedFile(tmp_path / "f", quota, base)
    await staged.complete()
    fetched = sum(size for _, size in base.reads)
    assert fetched == base.size
    assert max(size for _, size in base.reads) <= FETCH_STEP
    await staged.complete()
    await staged.read(0, base.size)
    assert sum(size for _, size in base.reads) == fetched
    staged.close()


async def test_bytes_cut_off_do_not_come_back(tmp_path: Path, quota: Quota) -> None:
    staged = StagedFile(tmp_path / "f", quota, Content(b"x" * 100))
    await staged.truncate(10)
    await staged.truncate(100)
    assert await staged.read(0, 100) == b"x" * 10 + bytes(90)
    staged.close()


async def test_a_write_during_a_fetch_wins(tmp_path: Path, quota: Quota) -> None:
    base = Content(b"o" * 100)
    base.gate = trio.Event()
    staged = StagedFile(tmp_path / "f", quota, base)
    found = []

    async def read() -> None:
        found.append(await staged.read(0, 100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await staged.write(10, b"new")
        base.gate.set()
    assert found == [b"o" * 10 + b"new" + b"o" * 87]
    staged.close()


async def test_a_truncation_during_a_fetch_wins(tmp_path: Path, quota: Quota) -> None:
    base = Content(b"o" * 100)
    base.gate = trio.Event()
    staged = StagedFile(tmp_path / "f", quota, base)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(staged.read, 0, 100)
        await trio.testing.wait_all_tasks_blocked()
        await staged.truncate(5)
        base.gate.set()
    await staged.truncate(50)
    assert await staged.read(0, 100) == b"o" * 5 + bytes(45)
    staged.close()


async def test_a_base_that_changed_is_an_error_and_no_byte_is_lost(
    tmp_path: Path, quota: Quota
) -> None:
    base = Content(b"o" * 100)
    staged = StagedFile(tmp_path / "f", quota, base)
    await staged.write(10, b"new")
    base.failure = Stale("changed")
    with pytest.raises(Stale):
        await staged.complete()
    assert dirty(staged)
    assert await staged.read(10, 3) == b"new"
    staged.close()


async def test_a_base_that_is_shorter_than_told_is_an_error(tmp_path: Path, quota: Quota) -> None:
    base = Content(b"o" * 100)
    base.size = 200
    staged = StagedFile(tmp_path / "f", quota, base)
    with pytest.raises(IoFailure):
        await staged.complete()
    staged.close()


# -- dirty and clean


async def test_a_new_file_is_dirty_from_the_start(tmp_path: Path, quota: Quota) -> None:
    staged = StagedFile(tmp_path / "f", quota, None)
    assert dirty(staged)
    staged.reset()
    assert not dirty(staged)
    staged.close()


async def test_only_changes_make_an_opened_file_dirty(tmp_path: Path, quota: Quota) -> None:
    staged = StagedFile(tmp_path / "f", quota, Content(b"abc"))
    await staged.read(0, 3)
    await staged.truncate(3)
    assert not dirty(staged)
    await staged.write(0, b"a")
    assert dirty(staged)
    staged.close()


# -- limits


async def test_more_than_the_quota_is_no_space(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    quota = Quota(1000)
    staged = StagedFile(tmp_path / "f", quota, None)
    await staged.write(0, b"x" * 900)
    with pytest.raises(NoSpace):
        await staged.write(900, b"x" * 101)
    with pytest.raises(NoSpace):
        await staged.truncate(1001)
    assert staged.size == 900
    assert await staged.read(0, 2000) == b"x" * 900
    staged.close()
    assert quota.used == 0


async def test_holes_count(tmp_path: Path) -> None:
    """So that filling them never fails."""
    quota = Quota(1000)
    staged = StagedFile(tmp_path / "f", quota, None)
    with pytest.raises(TooLarge):
        await staged.write(10_000, b"x")
    await staged.truncate(1000)
    assert quota.used == 1000
    staged.close()


async def test_holes_take_no_disk(tmp_path: Path, quota: Quota) -> None:
    staged = StagedFile(tmp_path / "f", quota, None)
    await staged.write(32 * MIB, b"x")
    assert (tmp_path / "f").stat().st_blocks * 512 < MIB
    assert await staged.complete() == checksum(bytes(32 * MIB) + b"x")
    staged.close()


@pytest.fixture
def _small_files() -> Iterator[None]:
    """Let the local disk be full for files above 1 MB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("_small_files")
async def test_a_full_disk_is_no_space(tmp_path: Path, quota: Quota) -> None:
    """Python ignores SIGXFSZ, so the limit shows as EFBIG, as a full disk does as ENOSPC."""
    staged = StagedFile(tmp_path / "f", quota, None)
    assert await staged.write(0, b"x" * 1_000_000) == 1_000_000
    with pytest.raises(NoSpace):
        await staged.write(1_000_000, b"x")
    with pytest.raises(NoSpace):
        await staged.truncate(2_000_000)
    assert await staged.complete() == checksum(b"x" * 1_000_000)
    staged.close()


@pytest.mark.usefixtures("_small_files")
async def test_a_disk_that_is_full_from_the_start_is_no_space(tmp_path: Path, quota: Quota) -> None:
    with pytest.raises(NoSpace):
        StagedFile(tmp_path / "f", quota, Content(b"x" * 2_000_000))
    assert size_on_disk(tmp_path / "f") == -1


# -- what may be appended, and what was written in order


async def test_only_what_lies_behind_the_stored_content_is_an_append(tmp_path: Path) -> None:
    base = Content(b"0123456789")
    file = StagedFile(tmp_path / "f", Quota(1000), base)
    assert appended_from(file) is None  # nothing was written
    await file.write(12, b"ab")
    assert appended_from(file) == 10
    file.reset()
    assert appended_from(file) is None
    await file.truncate(20)
    assert appended_from(file) == 14
    await file.write(13, b"c")
    assert appended_from(file) is None
    file.reset()
    await file.write(20, b"d")
    assert appended_from(file) == 20
    file.reset(elsewhere=True)
    await file.write(21, b"e")
    assert appended_from(file) is None
    file.close()


async def test_what_is_cut_and_written_again_is_no_append(tmp_path: Path) -> None:
    file = StagedFile(tmp_path / "f", Quota(1000), Content(b"0123456789"))
    await file.truncate(9)
    await file.write(9, b"9ab")
    assert appended_from(file) is None
    file.close()


async def test_a_new_file_is_no_append(tmp_path: Path) -> None:
    file = StagedFile(tmp_path / "f", Quota(1000), None)
    await file.write(0, b"a")
    assert appended_from(file) is None
    file.reset()
    await file.write(1, b"b")
    assert appended_from(file) == 1
    file.close()


async def test_in_order_counts_from_the_start_and_falls_back(tmp_path: Path) -> None:
    file = StagedFile(tmp_path / "f", Quota(1000), None)
    for offset in (0, 5, 10):
        await file.write(offset, b"12345")
    assert in_order(file) == 15
    await file.write(20, b"12345")
    assert in_order(file) == 15
    await file.write(2, b"x")
    assert in_order(file) == 0
    file.close()


async def test_reads_wait_for_what_the_base_becomes(tmp_path: Path, nursery: trio.Nursery) -> None:
    file = StagedFile(tmp_path / "f", Quota(1000), replaced(10))
    read: list[bytes] = []

    async def reader() -> None:
        read.append(await file.read(0, 10))

    file.base_moves()
    nursery.start_soon(reader)
    await trio.testing.wait_all_tasks_blocked()
    assert read == []
    file.rebase(Content(b"0123456789"))
    await trio.testing.wait_all_tasks_blocked()
    assert read == [b"0123456789"]
    file.close()


async def test_reads_fail_when_the_base_stays_another_one(tmp_path: Path) -> None:
    file = StagedFile(tmp_path / "f", Quota(1000), replaced(10))
    with pytest.raises(Stale):
        await file.read(0, 10)
    file.base_moves()
    file.base_stays()
    with pytest.raises(Stale):
        await file.read(0, 10)
    file.close()
