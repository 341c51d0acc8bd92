from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from aisfs.errors import FsError, Incomplete, IoFailure
from aisfs.staging.journal import Journal
from aisfs.store.interface import Listing, ObjectInfo
from aisfs.vfs import moves
from aisfs.vfs.attributes import Attributes, Kind, Presentation, decode, encode, foreign_mtime_ns
from aisfs.vfs.paths import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aisfs.config import BucketName
    from aisfs.staging.journal import Move
    from aisfs.store.aistore import AISStore
    from aisfs.store.interface import Identity
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "PAUSE_S", 0.01)


def contents(other: Bucket) -> dict[str, bytes]:
    return {e.name: other.object(e.name).get().read_all() for e in other.list_all_objects()}


def tree(prefix: str) -> dict[str, bytes]:
    return {
        f"{prefix}{MARKER}": b"",
        f"{prefix}a": b"A",
        f"{prefix}s/b": b"B",
        f"{prefix}s/{MARKER}": b"",
    }


@pytest.fixture
def filled(other: Bucket) -> Bucket:
    for name, body in tree("old/").items():
        other.object(name).put_content(body)
    return other


PRESENTATION = Presentation(1000, 1000, 0o640, 0o750)


async def resume(store: AISStore, journal: Journal) -> list[tuple[Move, FsError]]:
    """Start a mount after a crash."""
    return await moves.resume(store, journal, PRESENTATION, lambda text: None)


async def keep(source: Identity, copy: ObjectInfo) -> None:
    """Leave a copy as it is."""


async def begun(store: AISStore, journal: Journal, bucket: BucketName) -> Move:
    return await moves.begin(store, journal, bucket, ("old/", "new/"), lambda info: False)


async def test_step_by_step(
    aistore: AISStore, journal: Journal, bucket: BucketName, filled: Bucket
) -> None:
    move = await begun(aistore, journal, bucket)
    assert contents(filled) == tree("old/")
    await moves.copy(aistore, journal, move, keep)
    copies = {name: body for name, body in tree("new/").items() if name != f"new/{MARKER}"}
    assert contents(filled) == tree("old/") | copies
    move = await journal.all_copied(move)
    await moves.finish(aistore, journal, move)
    assert contents(filled) == tree("new/")
    assert await journal.moves() == []


@pytest.fixture
async def crashed(
    cluster: StoreProcess,
    aistore: AISStore,
    journal: Journal,
    bucket: BucketName,
    filled: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> Bucket:
    """Return a bucket with a rename that a crash cut off after its first copy."""
    monkeypatch.setattr(moves, "PARALLEL", 1)  # the first is copied before the second fails
    move = await begun(aistore, journal, bucket)
    cluster.faults([{"action": "error", "method": "PUT", "path": "/old/s/b$"}])
    with pytest.raises(FsError):
        await moves.copy(aistore, journal, move, keep)
    cluster.clear_faults()
    assert "new/a" in contents(filled)
    assert "new/s/b" not in contents(filled)
    return filled


async def test_a_crash_before_all_were_copied_is_finished(
    aistore: AISStore, journal: Journal, crashed: Bucket
) -> None:
    assert await resume(aistore, journal) == []
    assert contents(crashed) == tree("new/")
    assert await journal.moves() == []


async def test_a_request_that_fails_is_no_reason_to_undo(
    cluster: StoreProcess,
    aistore: AISStore,
    journal: Journal,
    crashed: Bucket,
) -> None:
    # Twice at each try: at the target's own address, then by the gateway.
    cluster.faults([{"action": "error", "method": "PUT", "path": "/old/s/b$", "times": 4}])
    assert await resume(aistore, journal) == []
    assert contents(crashed) == tree("new/")


async def test_a_crash_before_all_members_were_written_down_leaves_the_old_tree(
    aistore: AISStore, journal: Journal, bucket: BucketName, filled: Bucket
) -> None:
    move = await journal.begin_move(bucket, "old/", "new/")
    identity = (await aistore.head(bucket, "old/a")).identity
    await journal.add_members(move.number, [("old/a", identity)])
    filled.object("new/a").put_content(b"A")  # of somebody who made a copy himself
    before = contents(filled)
    assert await resume(aistore, journal) == []
    assert contents(filled) == before
    assert await journal.moves() == []


async def test_what_is_being_undone_is_never_completed(
    aistore: AISStore, journal: Journal, bucket: BucketName, filled: Bucket
) -> None:
    """A deletion of a copy may still be under way: it must not meet one that counts."""
    move = await begun(aistore, journal, bucket)
    await moves.copy(aistore, journal, move, keep)
    await journal.give_up(move)
    filled.object("new/a").delete()
    assert await resume(aistore, journal) == []
    assert contents(filled) == tree("old/")


@pytest.mark.parametrize("name", ["old/s/b", "new/s/b"])
async def test_an_interrupted_rename_is_undone_where_others_changed_something(
    aistore: AISStore,
    journal: Journal,
    crashed: Bucket,
    name: str,
) -> None:
    crashed.object(name).put_content(b"of others")
    assert await resume(aistore, journal) == []
    assert contents(crashed) == tree("old/") | {name: b"of others"}
    assert await journal.moves() == []


async def test_what_the_cluster_lets_neither_be_completed_nor_undone_is_undone_later(
    cluster: StoreProcess,
    aistore: AISStore,
    journal: Journal,
    crashed: Bucket,
) -> None:
    refused = {"action": "error", "path": "/(old/s/b|new/a)$"}
    cluster.faults([{**refused, "method": "PUT"}, {**refused, "method": "DELETE"}])
    ((left, _),) = await resume(aistore, journal)
    cluster.clear_faults()
    await moves.settle(aistore, journal, left)
    assert contents(crashed) == tree("old/")
    assert await journal.moves() == []


async def test_a_completed_rename_has_the_attributes_of_the_old_tree(
    aistore: AISStore, journal: Journal, bucket: BucketName, other: Bucket
) -> None:
    """Copies were made before the crash, attributes were not; some are of other clients."""
    ours = encode(Attributes(Kind.FILE, 0o604, 5, 6, 1_234_567_890))
    await aistore.put_bytes(bucket, "old/ours", b"ours", ours)
    other.object("old/theirs").put_content(b"theirs")
    move = await begun(aistore, journal, bucket)
    theirs = (await aistore.head(bucket, "old/theirs")).identity
    for name in ("ours", "theirs"):
        other.object(f"new/{name}").put_content(name.encode())
    assert await journal.moves() == [move]
    assert await resume(aistore, journal) == []
    assert set(contents(other)) == {"new/ours", "new/theirs"}
    assert (await aistore.head(bucket, "new/ours")).attributes == ours
    shown = decode((await aistore.head(bucket, "new/theirs")).attributes)
    created_ns = (await aistore.bucket(bucket)).created_ns
    assert shown is not None
    assert shown.mtime_ns == foreign_mtime_ns(created_ns, theirs.version, theirs.checksum)
    assert shown.mode == PRESENTATION.file_mode


async def test_a_copy_that_fails_waits_for_those_under_way(
    cluster: StoreProcess, aistore: AISStore, journal: Journal, bucket: BucketName, filled: Bucket
) -> None:
    """Else the cluster makes them after those that are there were removed."""
    move = await begun(aistore, journal, bucket)
    copying = {"method": "PUT", "role": "target"}
    cluster.faults(
        [
            {**copying, "path": "/old/a$", "action": "delay", "seconds": 0.5},
            {**copying, "path": "/old/s/b$", "action": "error", "status": 507},
        ]
    )
    with pytest.raises(FsError):
        await moves.copy(aistore, journal, move, keep)
    cluster.clear_faults()
    await moves.undo(aistore, journal, move)
    await trio.sleep(1.0)
    assert contents(filled) == tree("old/")


async def test_a_crash_after_all_were_copied_is_finished(
    cluster: StoreProcess, aistore: AISStore, journal: Journal, bucket: BucketName, filled: Bucket
) -> None:
    move = await begun(aistore, journal, bucket)
    await moves.copy(aistore, journal, move, keep)
    move = await journal.all_copied(move)
    cluster.faults([{"action": "error", "method": "DELETE", "path": "/old/s/b$"}])
    with pytest.raises(FsError):
        await moves.finish(aistore, journal, move)
    assert [left for left, _ in await resume(aistore, journal)] == [move]
    cluster.clear_faults()
    assert await resume(aistore, journal) == []
    assert contents(filled) == tree("new/")
    assert await journal.moves() == []


async def test_undoing_leaves_an_empty_directory_that_was_there(
    aistore: AISStore, journal: Journal, bucket: BucketName, filled: Bucket
) -> None:
    filled.object(f"new/{MARKER}").put_content(b"")
    move = await begun(aistore, journal, bucket)
    await moves.copy(aistore, journal, move, keep)
    await moves.undo(aistore, journal, move)
    assert contents(filled) == tree("old/") | {f"new/{MARKER}": b""}


@pytest.mark.parametrize("theirs", [b"of others", b"O"])
async def test_what_others_changed_meanwhile_stays(
    aistore: AISStore, journal: Journal, bucket: BucketName, filled: Bucket, theirs: bytes
) -> None:
    move = await begun(aistore, journal, bucket)
    await moves.copy(aistore, journal, move, keep)
    filled.object("new/a").put_content(theirs)
    await moves.undo(aistore, journal, move)
    assert contents(filled) == tree("old/") | {"new/a": theirs}


@pytest.mark.parametrize("theirs", [b"of others", b"O"])
async def test_what_others_changed_below_the_old_name_stays(
    aistore: AISStore, journal: Journal, bucket: BucketName, filled: Bucket, theirs: bytes
) -> None:
    move = await begun(aistore, journal, bucket)
    await moves.copy(aistore, journal, move, keep)
    filled.object("old/a").put_content(theirs)
    await moves.finish(aistore, journal, await journal.all_copied(move))
    assert contents(filled) == tree("new/") | {"old/a": theirs}


@pytest.mark.parametrize("theirs", [b"of others", b"O"])
async def test_a_copy_of_what_others_changed_is_not_the_member(
    aistore: AISStore, journal: Journal, bucket: BucketName, filled: Bucket, theirs: bytes
) -> None:
    move = await begun(aistore, journal, bucket)
    filled.object("old/a").put_content(theirs)
    with pytest.raises(IoFailure, match="nothing was removed"):
        await moves.copy(aistore, journal, move, keep)
    await moves.undo(aistore, journal, move)
    assert contents(filled).items() >= (tree("old/") | {"old/a": theirs}).items()


@pytest.mark.parametrize("kept", ["old/", "new/"])
@pytest.mark.parametrize("complete", [False, True])
async def test_the_last_copy_is_never_deleted(
    aistore: AISStore,
    journal: Journal,
    bucket: BucketName,
    filled: Bucket,
    kept: str,
    complete: bool,
) -> None:
    """Somebody tidied one of the two trees up before the mount came back."""
    move = await begun(aistore, journal, bucket)
    await moves.copy(aistore, journal, move, keep)
    if complete:
        await journal.all_copied(move)
    for name in contents(filled):
        if not name.startswith(kept):
            filled.object(name).delete()
    assert await resume(aistore, journal) == []
    found = contents(filled)
    assert {body for name, body in found.items() if not name.endswith(MARKER)} == {b"A", b"B"}


async def test_more_members_than_one_page_of_the_journal(
    cluster: StoreProcess, aistore: AISStore, journal: Journal, bucket: BucketName, other: Bucket
) -> None:
    for number in range(1100):
        await aistore.put_bytes(bucket, f"old/{number}", b"%d" % number, "")
    move = await begun(aistore, journal, bucket)
    await moves.copy(aistore, journal, move, keep)
    await moves.finish(aistore, journal, await journal.all_copied(move))
    names = {entry.name for entry in other.list_all_objects()}
    assert names == {f"new/{number}" for number in range(1100)}


class Lacking:
    """A store some of whose targets left without notice."""

    async def list(self, *arguments: object, recursive: bool) -> Listing:
        return Listing([], [], "", lacking=True)


async def test_nothing_is_begun_while_targets_are_missing(
    journal: Journal, bucket: BucketName
) -> None:
    with pytest.raises(Incomplete):
        await moves.begin(Lacking(), journal, bucket, ("old/", "new/"), lambda info: False)  # type: ignore[arg-type]
    assert await journal.moves() == []


async def test_a_rename_is_settled_as_soon_as_the_cluster_answers(
    cluster: StoreProcess, aistore: AISStore, journal: Journal, bucket: BucketName, filled: Bucket
) -> None:
    move = await begun(aistore, journal, bucket)
    await moves.copy(aistore, journal, move, keep)
    move = await journal.all_copied(move)
    cluster.faults([{"action": "error", "method": "DELETE", "path": "/old/s/b$"}])
    with pytest.raises(FsError):
        await moves.settle(aistore, journal, move)
    cluster.clear_faults()
    await moves.settle(aistore, journal, move)
    assert contents(filled) == tree("new/")
    assert await journal.moves() == []
