from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import xxhash

from aisfs.errors import FsError, IoFailure, NoSpace, NotFound, Stale, TimedOut
from aisfs.staging.quota import Quota
from aisfs.staging.replay import Replay
from aisfs.staging.staged_file import StagedFile
from aisfs.staging.state import StateDirectory
from aisfs.staging.transfer import Target
from aisfs.staging.uploader import Uploader
from aisfs.store.interface import Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisfs.config import BucketName
    from aisfs.staging.journal import Owed
    from aisfs.store.aistore import AISStore
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess


def xxh64(body: bytes) -> str:
    return xxhash.xxh64(body).hexdigest()


class Torn:
    """A base whose object is another one now."""

    size = 1000

    async def read(self, offset: int, size: int) -> bytes:
        raise Stale("the object changed after it was opened")


class Bench:
    """A state directory, an uploader, and staged files to try it with."""

    def __init__(self, aistore: AISStore, bucket: BucketName, path: Path) -> None:
        self.store = aistore
        self.bucket = bucket
        self.state = StateDirectory(path)
        self.told: list[tuple[str, FsError | None]] = []
        self.uploader = Uploader(aistore, self.state, lambda *told: self.told.append(told))
        self.files: list[StagedFile] = []

    async def staged(self, body: bytes, base: Torn | None = None) -> StagedFile:
        file = StagedFile(self.state.new_staged_path(), Quota(1 << 26), base)
        self.files.append(file)
        if body:
            await file.write(0, body)
        return file

    def target(self, expected: Identity | None = None, attributes: str = "1.new") -> Target:
        return Target(self.bucket, "d/o", expected, attributes)

    async def identity(self) -> Identity:
        return (await self.store.head(self.bucket, "d/o")).identity


@asynccontextmanager
async def opened(aistore: AISStore, bucket: BucketName, path: Path) -> AsyncIterator[Bench]:
    made = Bench(aistore, bucket, path)
    yield made
    for file in made.files:
        file.close()
    made.state.close()


@pytest.fixture
async def bench(aistore: AISStore, bucket: BucketName, tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(aistore, bucket, tmp_path / "state") as made:
        yield made


def conflicts(other: Bucket) -> list[str]:
    return [e.name for e in other.list_all_objects() if ".aisfs-conflict-" in e.name]


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
async def test_a_commit_stores_bytes_and_attributes(bench: Bench, other: Bucket, size: int) -> None:
    body = os.urandom(size)
    staged = await bench.staged(body)
    info = await bench.uploader.commit(staged, bench.target())
    assert other.object("d/o").get().read_all() == body
    assert info == await bench.store.head(bench.bucket, "d/o")
    assert info.attributes == "1.new"
    assert not staged.dirty


async def test_a_new_name_is_not_looked_for(cluster: StoreProcess, bench: Bench) -> None:
    await bench.uploader.commit(await bench.staged(b"x"), bench.target())
    assert [r["method"] for r in cluster.requests() if "/objects/" in r["path"]].count("HEAD") == 0


async def test_an_unchanged_object_is_replaced(bench: Bench, other: Bucket) -> None:
    other.object("d/o").put_content(b"old")
    staged = await bench.staged(b"new")
    await bench.uploader.commit(staged, bench.target(await bench.identity()))
    assert other.object("d/o").get().read_all() == b"new"
    assert conflicts(other) == []


async def test_an_identical_body_gets_its_attributes_too(bench: Bench, other: Bucket) -> None:
    """The cluster drops such a PUT with its headers: a PATCH brings them."""
    await bench.uploader.commit(await bench.staged(b"same"), bench.target(attributes="1.old"))
    again = await bench.staged(b"same")
    info = await bench.uploader.commit(again, bench.target(await bench.identity()))
    assert info.attributes == "1.new"
    assert (await bench.store.head(bench.bucket, "d/o")).attributes == "1.new"
    assert not again.dirty


@pytest.mark.parametrize("theirs", [b"theirs", b"OLD", None])
async def test_a_lost_update_is_found_and_our_bytes_are_beside_it(
    bench: Bench, other: Bucket, theirs: bytes | None
) -> None:
    other.object("d/o").put_content(b"old")
    expected = await bench.identity()
    staged = await bench.staged(b"ours")
    if theirs is None:
        other.object("d/o").delete()
    else:
        other.object("d/o").put_content(theirs)
    with pytest.raises(Stale, match=r"d/o\.aisfs-conflict-"):
        await bench.uploader.commit(staged, bench.target(expected))
    (copy,) = conflicts(other)
    assert copy.startswith("d/o.aisfs-conflict-2")
    assert other.object(copy).get().read_all() == b"ours"
    assert (await bench.store.head(bench.bucket, copy)).attributes == "1.new"
    if theirs is not None:
        assert other.object("d/o").get().read_all() == theirs
    assert not staged.dirty
    assert await bench.state.journal.owed() == []


async def test_what_cannot_be_stored_stays_with_a_row(
    cluster: StoreProcess, bench: Bench, other: Bucket
) -> None:
    staged = await bench.staged(b"precious")
    cluster.faults([{"action": "error", "status": 500, "method": "PUT", "path": "^/v1/objects"}])
    with pytest.raises(IoFailure):
        await bench.uploader.commit(staged, bench.target())
    assert staged.dirty
    (row,) = await bench.state.journal.owed()
    assert (row.bucket, row.name, row.expected) == (bench.bucket, "d/o", None)
    assert bench.state.path_of(row) == staged.path
    assert (row.size, row.checksum, row.attributes) == (8, xxh64(b"precious"), "1.new")
    assert staged.path.read_bytes() == b"precious"
    assert "injected" in row.reason

    cluster.clear_faults()
    await bench.uploader.commit(staged, bench.target())
    assert await bench.state.journal.owed() == []
    assert other.object("d/o").get().read_all() == b"precious"


async def test_a_conflict_copy_that_cannot_be_stored_stays_with_a_row(
    cluster: StoreProcess, bench: Bench, other: Bucket
) -> None:
    other.object("d/o").put_content(b"old")
    expected = await bench.identity()
    other.object("d/o").put_content(b"theirs")
    staged = await bench.staged(b"ours")
    cluster.faults([{"action": "error", "status": 500, "method": "PUT", "path": "conflict"}])
    with pytest.raises(FsError):
        await bench.uploader.commit(staged, bench.target(expected))
    assert staged.dirty
    assert len(await bench.state.journal.owed()) == 1


async def test_bytes_over_a_base_that_changed_are_not_given_up(bench: Bench) -> None:
    """The base is needed to complete the content, and there is none any more: no conflict copy
    can be made, so what was written has to stay."""
    staged = await bench.staged(b"ours", Torn())
    with pytest.raises(Stale):
        await bench.uploader.commit(staged, bench.target(Identity(1000, "aa", "xxhash2")))
    assert staged.dirty
    (row,) = await bench.state.journal.owed()
    assert (row.data, row.checksum) == (staged.path.name, "")
    assert staged.path.read_bytes()[:4] == b"ours"


async def test_a_lost_answer_is_no_lost_file(
    cluster: StoreProcess, bench: Bench, other: Bucket
) -> None:
    """The work is done, the answer does not come: the repetition finds the same bytes there."""
    cut = {"action": "cut", "method": "PUT", "role": "target", "path": "^/v1/objects", "times": 1}
    cluster.faults([cut])
    body = os.urandom(100_000)
    info = await bench.uploader.commit(await bench.staged(body), bench.target())
    assert other.object("d/o").get().read_all() == body
    assert info.attributes == "1.new"


async def unanswered(cluster: StoreProcess, bench: Bench, expected: Identity | None) -> StagedFile:
    """Return a staged file whose content the cluster stored without ever saying so."""
    staged = await bench.staged(b"one")
    silent = {"action": "stall", "seconds": 5, "method": "PUT", "path": "/d/o$", "role": "target"}
    cluster.faults([silent])
    with pytest.raises(TimedOut):
        await bench.uploader.commit(staged, bench.target(expected))
    cluster.clear_faults()
    return staged


async def test_what_we_stored_without_an_answer_is_no_other_clients(
    cluster: StoreProcess, bench: Bench, other: Bucket
) -> None:
    other.object("d/o").put_content(b"old")
    expected = await bench.identity()
    staged = await unanswered(cluster, bench, expected)
    assert other.object("d/o").get().read_all() == b"one"
    await staged.write(3, b", two")
    await bench.uploader.commit(staged, bench.target(expected))
    assert other.object("d/o").get().read_all() == b"one, two"
    other.object("d/o").put_content(b"one")
    await staged.write(0, b"O")
    with pytest.raises(Stale):  # this time it is
        await bench.uploader.commit(staged, bench.target(expected))
    assert other.object("d/o").get().read_all() == b"one"


@pytest.mark.parametrize("old", [b"", b"old"])
async def test_the_next_mount_knows_what_was_stored_without_an_answer(
    cluster: StoreProcess, bench: Bench, other: Bucket, old: bytes
) -> None:
    expected = None
    if old:
        other.object("d/o").put_content(old)
        expected = await bench.identity()
    staged = await unanswered(cluster, bench, expected)
    await staged.write(3, b", two")
    await bench.uploader.promise(staged, bench.target(expected))
    rows = await bench.state.journal.owed()
    assert await Replay(bench.store, bench.state).run(rows, lambda text: None) == []
    assert other.object("d/o").get().read_all() == b"one, two"
    assert conflicts(other) == []


async def test_a_journal_that_fails_does_not_hide_the_failure(
    cluster: StoreProcess, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    staged = await bench.staged(b"precious")
    cluster.faults([{"action": "error", "status": 500, "method": "PUT", "path": "^/v1/objects"}])
    bench.state.journal.close()
    with pytest.raises(IoFailure, match="injected"):
        await bench.uploader.commit(staged, bench.target())
    assert staged.dirty
    assert "could not be written down" in caplog.text


async def test_a_commit_that_succeeds_writes_nothing_down(bench: Bench) -> None:
    bench.state.journal.close()  # whatever would be written now fails
    await bench.uploader.commit(await bench.staged(b"x"), bench.target())


async def test_a_promise_is_written_down_and_kept_by_a_commit(bench: Bench, other: Bucket) -> None:
    staged = await bench.staged(b"promised")
    await bench.uploader.promise(staged, bench.target())
    assert staged.dirty
    assert bench.uploader.has_promised(staged)
    (row,) = await bench.state.journal.owed()
    assert (row.name, row.checksum, row.reason) == ("d/o", xxh64(b"promised"), "")
    await bench.uploader.commit(staged, bench.target())
    assert other.object("d/o").get().read_all() == b"promised"
    assert not bench.uploader.has_promised(staged)
    assert await bench.state.journal.owed() == []


async def test_a_promise_is_made_of_what_is_on_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = await bench.staged(b"promised")
    done: list[str] = []
    fsync, owe = os.fsync, bench.state.journal.owe

    def synced(fd: int) -> None:
        fsync(fd)
        done.append(str(Path(f"/proc/self/fd/{fd}").readlink()))

    async def owed(row: Owed, instead_of: str = "") -> None:
        done.append("row")
        await owe(row, instead_of)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(bench.state.journal, "owe", owed)
    await bench.uploader.promise(staged, bench.target())
    path = staged.path.resolve()
    assert done == [str(path), str(path.parent), "row"]


async def test_a_failure_does_not_turn_a_promise_into_less(
    cluster: StoreProcess, bench: Bench
) -> None:
    staged = await bench.staged(b"promised")
    await bench.uploader.promise(staged, bench.target())
    (promised,) = await bench.state.journal.owed()
    cluster.faults([{"action": "error", "status": 500, "method": "PUT", "path": "^/v1/objects"}])
    with pytest.raises(IoFailure):
        await bench.uploader.commit(staged, bench.target())
    assert bench.uploader.has_promised(staged)
    (row,) = await bench.state.journal.owed()
    assert "injected" in row.reason
    assert row.since == promised.since


async def test_what_was_changed_since_is_not_what_was_promised(bench: Bench) -> None:
    staged = await bench.staged(b"promised")
    await bench.uploader.promise(staged, bench.target())
    await staged.write(0, b"changed")
    assert not bench.uploader.has_promised(staged)
    assert bench.uploader.target_of(staged) is None


async def test_a_later_content_takes_the_place_of_an_earlier_one(bench: Bench) -> None:
    earlier, later = await bench.staged(b"earlier"), await bench.staged(b"later")
    await bench.uploader.promise(earlier, bench.target())
    await bench.uploader.promise(later, bench.target(), earlier)
    assert [row.data for row in await bench.state.journal.owed()] == [later.path.name]
    assert bench.uploader.target_of(earlier) is None


async def test_own_reads_end_before_the_object_is_touched(
    cluster: StoreProcess, bench: Bench
) -> None:
    seen: list[int] = []

    async def release() -> None:
        puts = [r["path"] for r in cluster.requests() if r["method"] == "PUT"]
        seen.append(len([path for path in puts if bench.bucket.name in path]))

    await bench.uploader.commit(await bench.staged(b"x"), bench.target(), release)
    assert seen == [0]


async def test_a_missing_bucket_is_told(bench: Bench, other: Bucket) -> None:
    staged = await bench.staged(b"x")
    other.delete()
    with pytest.raises(NotFound):
        await bench.uploader.commit(staged, bench.target())
    assert len(await bench.state.journal.owed()) == 1


async def test_who_is_told_hears_of_failures_and_of_what_is_stored_after_one(
    cluster: StoreProcess, bench: Bench
) -> None:
    url = bench.bucket.url_of("d/o")
    await bench.uploader.commit(await bench.staged(b"at once"), bench.target())
    assert bench.told == []
    staged = await bench.staged(b"later")
    target = bench.target(await bench.identity())
    cluster.faults([{"method": "PUT", "path": "/v1/objects/", "action": "error", "status": 507}])
    for _ in range(2):
        with pytest.raises(FsError):
            await bench.uploader.commit(staged, target)
    cluster.clear_faults()
    await bench.uploader.commit(staged, target)
    assert [(who, type(why)) for who, why in bench.told] == [
        (url, NoSpace),
        (url, NoSpace),
        (url, type(None)),
    ]
    bench.told.clear()
    await staged.write(0, b"again")
    await bench.uploader.commit(staged, bench.target(await bench.identity()))
    assert bench.told == []
