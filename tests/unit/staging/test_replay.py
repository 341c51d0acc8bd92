"""What a crashed mount owed is done once, whatever happened to the cluster meanwhile."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import xxhash

from aisfs.errors import FsError, IoFailure, Unsendable
from aisfs.staging.journal import Owed
from aisfs.staging.replay import PATIENCE, Replay
from aisfs.staging.state import StateDirectory
from aisfs.store.interface import Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aisfs.config import BucketName
    from aisfs.store.aistore import AISStore
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

PUT_FAILS = {"action": "error", "status": 500, "method": "PUT", "path": "^/v1/objects"}


class Bench:
    """A state directory with rows, and a replay of it."""

    def __init__(self, aistore: AISStore, bucket: BucketName, path: Path) -> None:
        self.store = aistore
        self.bucket = bucket
        self.state = StateDirectory(path)
        self.freed = 0
        self.replay = Replay(aistore, self.state, self.free)

    def free(self, size: int) -> None:
        self.freed += size

    async def owe(self, body: bytes, expected: Identity | None = None, name: str = "d/o") -> Owed:
        path = self.state.new_staged_path()
        path.write_bytes(body)
        checksum = xxhash.xxh64(body).hexdigest()
        owed = Owed(
            path.name, self.bucket, name, expected, "1.own", len(body), checksum, "",
            "2026-01-02T03:04:05.678+00:00",
        )  # fmt: skip
        await self.state.journal.owe(owed)
        return owed

    async def run(self) -> list[Owed]:
        return await self.replay.run(await self.state.sweep(), lambda text: None)

    async def identity(self, name: str = "d/o") -> Identity:
        return (await self.store.head(self.bucket, name)).identity

    async def is_empty(self) -> bool:
        return not await self.state.journal.unfinished() and not list(self.state.staging.iterdir())


@pytest.fixture
async def bench(aistore: AISStore, bucket: BucketName, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(aistore, bucket, tmp_path / "state")
    yield made
    made.state.close()


def body_of(other: Bucket, name: str = "d/o") -> bytes:
    return other.object(name).get().read_all()


def conflicts(other: Bucket) -> list[str]:
    return [e.name for e in other.list_all_objects() if ".aisfs-conflict-" in e.name]


async def test_a_new_file_is_stored_with_its_attributes(bench: Bench, other: Bucket) -> None:
    body = os.urandom(100_000)
    await bench.owe(body)
    assert await bench.run() == []
    assert body_of(other) == body
    assert (await bench.store.head(bench.bucket, "d/o")).attributes == "1.own"
    assert await bench.is_empty()
    assert bench.freed == len(body)


async def test_an_object_that_is_as_expected_is_replaced(bench: Bench, other: Bucket) -> None:
    other.object("d/o").put_content(b"old")
    await bench.owe(b"ours", await bench.identity())
    assert await bench.run() == []
    assert (body_of(other), conflicts(other)) == (b"ours", [])


async def test_what_is_stored_already_is_settled_without_a_put(
    cluster: StoreProcess, bench: Bench, other: Bucket
) -> None:
    """The crash came between the PUT and its answer; the attributes had not all arrived."""
    other.object("d/o").put_content(b"ours")
    await bench.owe(b"ours", Identity(3, "aa", "xxhash2"))
    cluster.clear_requests()
    assert await bench.run() == []
    assert [r for r in cluster.requests() if r["method"] == "PUT"] == []
    assert (await bench.store.head(bench.bucket, "d/o")).attributes == "1.own"
    assert await bench.is_empty()


async def test_what_is_stored_is_seen_by_another_checksum_too(
    cluster: StoreProcess, bench: Bench, other: Bucket
) -> None:
    cluster.set_bucket_props(other.name, {"checksum": {"type": "md5"}})
    other.object("d/o").put_content(b"ours")
    await bench.owe(b"ours", Identity(3, "aa", "md5"))
    assert await bench.run() == []
    assert conflicts(other) == []


@pytest.mark.parametrize(
    ("theirs", "was_new"),
    [(b"theirs", False), (b"new", False), (b"theirs", True), (None, False)],
)
async def test_what_others_did_meanwhile_stays_and_ours_is_beside_it_once(
    bench: Bench, other: Bucket, theirs: bytes | None, was_new: bool
) -> None:
    expected = None if was_new else Identity(3, "aa", "xxhash2")
    if theirs is not None:
        other.object("d/o").put_content(theirs)
    owed = await bench.owe(b"ours", expected)
    await bench.run()
    await bench.state.journal.owe(owed)  # killed before the row was gone
    bench.state.path_of(owed).write_bytes(b"ours")
    assert await bench.run() == []
    (copy,) = conflicts(other)
    assert copy.startswith("d/o.aisfs-conflict-20260102T030405Z-")
    assert body_of(other, copy) == b"ours"
    if theirs is not None:
        assert body_of(other) == theirs
    assert await bench.is_empty()


@pytest.mark.parametrize("now", [b"our", b"ours and more", b"OURS"])
async def test_bytes_that_are_not_as_recorded_are_never_sent(
    bench: Bench, other: Bucket, now: bytes
) -> None:
    owed = await bench.owe(b"ours")
    bench.state.path_of(owed).write_bytes(now)
    assert await bench.run() == [owed]
    assert list(other.list_all_objects()) == []
    assert bench.state.path_of(owed).read_bytes() == now
    (row,) = await bench.state.journal.owed()
    assert "staged file" in row.reason
    with pytest.raises(Unsendable):
        await bench.replay.send(owed)


async def test_bytes_that_were_never_complete_are_never_sent(bench: Bench, other: Bucket) -> None:
    owed = replace(await bench.owe(b"ours"), checksum="")
    await bench.state.journal.owe(owed)
    with pytest.raises(Unsendable, match="only what was written"):
        await bench.replay.send(owed)
    assert list(other.list_all_objects()) == []


async def test_a_staged_file_that_is_gone_is_told(bench: Bench, other: Bucket) -> None:
    owed = await bench.owe(b"ours")
    bench.state.path_of(owed).unlink()
    assert await bench.run() == [owed]
    assert "No such file" in str(bench.replay.failure_of(owed))


async def test_a_row_is_dropped_whose_staged_file_is_gone_because_it_is_stored(
    bench: Bench, other: Bucket
) -> None:
    """The journal could not be written any more when it was stored."""
    owed = await bench.owe(b"ours")
    bench.state.path_of(owed).unlink()
    other.object("d/o").put_content(b"ours")
    assert await bench.run() == []
    assert await bench.state.journal.owed() == []


async def test_what_the_cluster_refuses_stays_with_the_reason(
    cluster: StoreProcess, bench: Bench, other: Bucket
) -> None:
    bad, good = await bench.owe(b"bad", name="bad"), await bench.owe(b"good", name="good")
    cluster.faults([PUT_FAILS | {"path": "bad$"}])
    assert await bench.run() == [bad]
    assert body_of(other, "good") == b"good"
    assert not bench.state.path_of(good).exists()
    (row,) = await bench.state.journal.owed()
    assert (row.name, row.since) == ("bad", bad.since)
    assert "injected" in row.reason
    cluster.clear_faults()
    assert await bench.run() == []
    assert body_of(other, "bad") == b"bad"


async def test_contents_of_one_object_are_sent_in_their_order(bench: Bench, other: Bucket) -> None:
    """The later one started from the earlier one."""
    first = await bench.owe(b"first")
    later = Identity(5, first.checksum, "xxhash")
    await bench.owe(b"second", later)
    assert await bench.run() == []
    assert (body_of(other), conflicts(other)) == (b"second", [])


async def test_a_replay_that_is_cut_at_any_moment_is_done_by_the_next(
    cluster: StoreProcess, bench: Bench, other: Bucket
) -> None:
    bodies = {f"f{n}": os.urandom(1000 * n) for n in range(8)}
    for name, body in bodies.items():
        await bench.owe(body, name=name)
    cluster.faults([{"action": "delay", "seconds": 0.02, "path": "^/v1/objects"}])
    for pause_s in (0.0, 0.01, 0.03, 0.05, 0.08):
        with trio.move_on_after(pause_s):
            await bench.run()
    cluster.clear_faults()
    assert await bench.run() == []
    assert {name: body_of(other, name) for name in bodies} == bodies
    assert conflicts(other) == []
    assert await bench.is_empty()


async def test_a_cluster_that_does_not_answer_is_not_waited_for_by_each_file(
    cluster: StoreProcess, bench: Bench
) -> None:
    rows = [await bench.owe(b"x", name=f"f{n}") for n in range(30)]
    cluster.faults([{"action": "delay", "seconds": 5, "path": "^/v1/objects"}])
    shown: list[str] = []
    left = await bench.replay.run(rows, shown.append)
    assert {row.name for row in left} == {row.name for row in rows}
    tried = [row for row in rows if bench.replay.failure_of(row) is not None]
    assert PATIENCE <= len(tried) < PATIENCE + 4
    assert shown[0] == "sending 30 files (30 bytes) of an earlier mount: 0 are stored"


async def test_an_unlinked_object_is_deleted_if_it_still_is_the_same(
    bench: Bench, other: Bucket
) -> None:
    for name in ("same", "replaced", "gone"):
        other.object(name).put_content(b"old")
        await bench.state.journal.doom(bench.bucket, name, await bench.identity(name))
    other.object("replaced").put_content(b"new")
    other.object("gone").delete()
    assert await bench.run() == []
    assert [entry.name for entry in other.list_all_objects()] == ["replaced"]
    assert await bench.is_empty()


async def test_a_deletion_that_fails_is_tried_by_the_next_mount(
    cluster: StoreProcess, bench: Bench, other: Bucket
) -> None:
    other.object("f").put_content(b"old")
    await bench.state.journal.doom(bench.bucket, "f", await bench.identity("f"))
    cluster.faults([{"action": "error", "status": 500, "method": "DELETE"}])
    assert await bench.run() == []
    assert len(await bench.state.journal.deletions()) == 1
    cluster.clear_faults()
    await bench.run()
    assert list(other.list_all_objects()) == []


async def test_a_missing_bucket_keeps_its_rows(bench: Bench, other: Bucket) -> None:
    owed = await bench.owe(b"ours")
    other.delete()
    with pytest.raises(FsError):
        await bench.replay.send(owed)
    assert bench.state.path_of(owed).exists()


async def test_a_put_that_arrives_damaged_is_refused(
    cluster: StoreProcess, bench: Bench, other: Bucket
) -> None:
    owed = await bench.owe(b"ours")
    cluster.faults([{"action": "wrong-checksum", "method": "PUT", "role": "target"}])
    with pytest.raises(IoFailure):
        await bench.replay.send(owed)
    assert bench.state.path_of(owed).exists()
