from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from aisfs.config import StoreConfig
from aisfs.errors import Incomplete, IoFailure, NotFound, TimedOut
from aisfs.vfs import nodes
from aisfs.vfs.attributes import Kind
from aisfs.vfs.nodes import DirectoryNode, FileNode
from aisfs.vfs.paths import MARKER, SHADOWED
from aisfs_sdk.request_client import RequestClient
from tests.support.filesystem import Shell, filesystem
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aisfs.config import BucketName
    from aisfs.store.interface import ObjectInfo
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess


def requests(cluster: StoreProcess) -> Counter[str]:
    """Return how many HEADs of objects and listings targets and gateways answered."""
    found: Counter[str] = Counter()
    for request in cluster.requests():
        path, method = str(request["path"]), str(request["method"])
        if path.startswith("/v1/objects/") and request["status"] != 307:
            if request["status"] not in {301, 302}:
                found[method] += 1
        elif path.startswith("/v1/buckets/") and method == "GET":
            found["LIST"] += 1
    cluster.clear_requests()
    return found


def expire(shell: Shell) -> None:
    """Make everything that is known as old as if its time to live had passed."""
    for node in shell.fs._table:
        node.checked_at = float("-inf")
        if isinstance(node, DirectoryNode):
            node.absent.clear()
            node.first = None
            if node.contents is not None:
                node.contents = replace(node.contents, arrived_at=float("-inf"))


@pytest.fixture
async def patient(
    cluster: StoreProcess, bucket: BucketName, tmp_path: Path
) -> AsyncIterator[Shell]:
    """Return a program on a filesystem that believes everything for an hour."""
    async with filesystem(cluster.endpoint, bucket, tmp_path / "patient", ttl_s=3600) as made:
        expire(made)
        cluster.clear_requests()
        yield made


# -- one name


async def test_a_name_costs_a_head_and_a_list_once(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    other.object("f").put_content(b"x")
    cluster.clear_requests()
    await patient.node("f")
    found = requests(cluster)
    assert found["HEAD"] == 1
    assert found["LIST"] <= 1
    for _ in range(5):
        node = await patient.node("f")
        await patient.fs.getattr(node.ino)
    assert requests(cluster).total() <= 1  # the listing, if it was still under way


async def test_an_absent_name_costs_a_head_and_a_list_once(
    cluster: StoreProcess, patient: Shell
) -> None:
    for _ in range(5):
        with pytest.raises(NotFound):
            await patient.node("f")
    assert requests(cluster) == {"HEAD": 1, "LIST": 1}


async def test_an_absence_is_believed_for_its_time_only(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    """Nobody lists the directory meanwhile, which would tell of the name."""
    async with filesystem(cluster.endpoint, bucket, tmp_path / "state", ttl_s=0.3) as hasty:
        assert not await hasty.exists("f")
        other.object("f").put_content(b"x")
        await trio.sleep(0.4)
        assert await hasty.exists("f")


async def test_a_directory_with_files_costs_a_head_and_a_list(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    other.object("d/f").put_content(b"x")
    cluster.clear_requests()
    node = await patient.node("d")
    assert isinstance(node, DirectoryNode)
    assert requests(cluster) == {"HEAD": 1, "LIST": 1}
    assert await patient.names("d") == ["f"]
    await patient.node("d/f")
    assert requests(cluster).total() == 0


async def test_look_ups_of_a_directory_side_by_side_share_a_listing(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    other.object("d/f").put_content(b"x")
    cluster.clear_requests()
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(patient.node, "d")
    assert requests(cluster)["LIST"] == 1


async def test_a_name_that_this_mount_made_is_known(cluster: StoreProcess, patient: Shell) -> None:
    await patient.mkdir("d")
    await patient.replace("d/f", b"x")
    cluster.clear_requests()
    await patient.node("d/f")
    assert not await patient.exists("d/g")
    assert await patient.names("d") == ["f"]
    assert requests(cluster).total() == 0


async def test_a_name_that_this_mount_removed_is_known(
    cluster: StoreProcess, patient: Shell
) -> None:
    await patient.mkdir("d")
    await patient.replace("d/f", b"x")
    await patient.unlink("d/f")
    cluster.clear_requests()
    assert not await patient.exists("d/f")
    assert requests(cluster).total() == 0


async def test_nothing_is_asked_after_a_listing(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    for index in range(30):
        other.object(f"f{index:02}").put_content(b"x")
    assert len(await patient.names()) == 30
    cluster.clear_requests()
    for index in range(30):
        node = await patient.node(f"f{index:02}")
        await patient.fs.getattr(node.ino)
    assert not await patient.exists("absent")
    assert requests(cluster).total() == 0


async def test_an_expired_listing_is_renewed_by_one(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    for index in range(30):
        other.object(f"f{index:02}").put_content(b"x")
    await patient.names()
    other.object("f07").put_content(b"longer")
    expire(patient)
    cluster.clear_requests()
    sizes = [(await patient.node(f"f{index:02}")).attributes.size for index in range(30)]
    assert sizes == [1] * 7 + [6] + [1] * 22
    assert requests(cluster) == {"LIST": 1}


async def test_a_short_listing_in_use_is_renewed_before_it_expires(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    for name in ("d/a", "d/b", "d/c"):
        other.object(name).put_content(b"x")
    await patient.node("d")
    directory = await patient.directory("d")
    assert directory.contents is not None
    cluster.clear_requests()
    await patient.node("d/a")
    assert requests(cluster) == {}
    aged = trio.current_time() - 0.7 * 3600
    directory.contents = replace(directory.contents, arrived_at=aged)
    other.object("d/new").put_content(b"x")
    cluster.clear_requests()
    await patient.node("d/b")
    await trio.testing.wait_all_tasks_blocked(0.05)
    while directory.contents.arrived_at == aged:  # noqa: ASYNC110 - nobody is told
        await trio.sleep(0.01)
    assert requests(cluster) == {"LIST": 1}
    assert "new" in directory.contents.entries


async def test_look_ups_side_by_side_renew_a_listing_once(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    for index in range(20):
        other.object(f"f{index:02}").put_content(b"x")
    await patient.names()
    expire(patient)
    cluster.clear_requests()
    async with trio.open_nursery() as nursery:
        for index in range(20):
            nursery.start_soon(patient.node, f"f{index:02}")
    assert requests(cluster) == {"LIST": 1}


async def test_with_no_time_to_live_each_look_up_asks_once(
    cluster: StoreProcess, doubting: Shell, other: Bucket
) -> None:
    """Listing a directory again helps nobody who believes no listing."""
    for index in range(20):
        other.object(f"f{index:02}").put_content(b"x")
    await doubting.names()
    cluster.clear_requests()
    for index in range(40):
        await doubting.node(f"f{index % 20:02}")
    found = requests(cluster)
    assert found["HEAD"] == 40
    assert found["LIST"] <= 40


async def test_what_is_expired_is_asked_for_again(patient: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"x")
    node = await patient.node("f")
    other.object("f").put_content(b"longer")
    assert (await patient.fs.getattr(node.ino)).attributes.size == 1
    expire(patient)
    assert (await patient.fs.getattr(node.ino)).attributes.size == 6
    other.object("f").delete()
    expire(patient)
    with pytest.raises(NotFound):
        await patient.fs.getattr(node.ino)
    assert not await patient.exists("f")


async def test_remaining_lifetime_is_told(patient: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"x")
    node = await patient.node("f")
    assert 3500 < patient.fs.remaining(node) <= 3600
    expire(patient)
    assert patient.fs.remaining(node) == 0


async def test_a_cluster_that_is_away_is_no_absence(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    other.object("f").put_content(b"x")
    quick = StoreConfig(cluster.endpoint, connect_timeout_s=1, first_byte_timeout_s=0.3)
    async with filesystem(cluster.endpoint, bucket, tmp_path, store=quick, ttl_s=0) as shell:
        cluster.faults([{"action": "delay", "seconds": 60, "path": "^/v1/(objects|buckets)"}])
        with pytest.raises(TimedOut):
            await shell.node("f")
        with pytest.raises(TimedOut):
            await shell.names()
        cluster.clear_faults()
        await shell.node("f")


# -- a cluster that lost targets


async def test_files_of_known_directories_are_found_while_nothing_can_be_listed(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    other.object("d/e/f").put_content(b"x")
    await patient.node("d/e")
    expire(patient)
    cluster.faults([{"action": "error", "status": 502, "path": "^/v1/buckets/", "method": "GET"}])
    assert await patient.read("d/e/f") == b"x"
    with pytest.raises(IoFailure):
        await patient.node("d/absent")
    with pytest.raises(IoFailure):
        await patient.names("d")


async def test_a_directory_is_found_while_no_object_can_be_looked_for(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    other.object("d/f").put_content(b"x")
    cluster.faults([{"action": "error", "status": 502, "path": "^/v1/objects/", "method": "HEAD"}])
    await patient.directory("d")
    with pytest.raises(IoFailure):
        await patient.node("absent")


async def test_a_listing_that_lacks_names_says_so_at_its_end(
    patient: Shell, other: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RequestClient, "misses_targets", lambda self: True)
    for name in ("d/f", "d/g", "d/e/h"):
        other.object(name).put_content(b"x")
    directory = await patient.directory("d")
    cursor = patient.fs._resolver.cursor(directory)
    assert {entry.name for entry in await cursor.at(0)} == {"e", "f", "g"}
    with pytest.raises(Incomplete):
        await cursor.at(3)
    assert directory.contents is None
    # Of single names each answer counts, and what is known does not go.
    assert not await patient.exists("d/absent")
    assert await patient.exists("d/e")
    other.object("d/e/h").delete()
    expire(patient)
    assert await patient.exists("d/e")
    with pytest.raises(Incomplete):
        await patient.rmdir("d/e")
    with pytest.raises(Incomplete):
        await patient.rename("d", "d2")
    monkeypatch.undo()
    expire(patient)
    assert not await patient.exists("d/e")


# -- answers that come late

LISTINGS = {"path": "^/v1/buckets/", "method": "GET", "role": "proxy", "times": 1}


async def during_a_listing(
    cluster: StoreProcess, shell: Shell, work: list[tuple[str, str]]
) -> list[str]:
    """Change files while a listing that was made before is on its way, and return its names."""
    names: list[str] = []

    async def read() -> None:
        names.extend(await shell.names())

    async with trio.open_nursery() as nursery:
        with cluster.holding(answers=True, **LISTINGS):
            nursery.start_soon(read)
            await until(cluster.held, "the listing is made")
            for verb, name in work:
                if verb == "write":
                    await shell.replace(name, b"written since")
                elif verb == "unlink":
                    await shell.unlink(name)
                else:
                    await shell.chmod(name, 0o600)
    return names


async def test_a_slow_listing_never_undoes_a_write(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    for name in ("changed", "removed", "moded"):
        other.object(name).put_content(b"x")
    work = [("write", "changed"), ("unlink", "removed"), ("chmod", "moded"), ("write", "made")]
    names = await during_a_listing(cluster, patient, work)
    assert "removed" not in names
    for _ in range(2):
        assert sorted(await patient.names()) == ["changed", "made", "moded"]
        assert (await patient.node("changed")).attributes.size == len(b"written since")
        assert (await patient.node("moded")).attributes.mode == 0o600
        assert await patient.read("changed") == b"written since"
        assert not await patient.exists("removed")
        expire(patient)


async def test_a_slow_listing_does_not_bring_an_older_version_back(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    """Close-to-open: who saw the new version never sees the old one again."""
    other.object("f").put_content(b"old")
    async with trio.open_nursery() as nursery:
        with cluster.holding(answers=True, **LISTINGS):
            nursery.start_soon(patient.names)
            await until(cluster.held, "the listing is made")
            other.object("f").put_content(b"newer")
            assert (await patient.node("f")).attributes.size == 5
    assert (await patient.node("f")).attributes.size == 5
    assert await patient.read("f") == b"newer"


async def test_a_slow_listing_does_not_show_what_was_deleted_at_its_last_close(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    for name in ("kept", "removed"):
        other.object(name).put_content(b"x")
    fh = await patient.open("removed", os.O_RDONLY)
    await patient.unlink("removed")
    expire(patient)
    names: list[str] = []

    async def read() -> None:
        names.extend(await patient.names())

    async with trio.open_nursery() as nursery:
        with cluster.holding(answers=True, **LISTINGS):
            nursery.start_soon(read)
            await until(cluster.held, "the listing is made")
            await patient.close(fh)
            assert [entry.name for entry in other.list_all_objects()] == ["kept"]
    assert names == ["kept"]
    assert await patient.names() == ["kept"]
    assert not await patient.exists("removed")


async def test_a_slow_look_up_does_not_find_what_was_unlinked_meanwhile(
    patient: Shell, other: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.object("f").put_content(b"x")
    store = patient.fs._store
    head, answered, late = store.head, trio.Event(), trio.Event()

    async def late_head(bucket: BucketName, name: str) -> ObjectInfo:
        info = await head(bucket, name)
        monkeypatch.undo()
        answered.set()
        await late.wait()
        return info

    found: list[bool] = []

    async def look() -> None:
        found.append(await patient.exists("f"))

    monkeypatch.setattr(store, "head", late_head)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await answered.wait()
        await patient.unlink("f")
        late.set()
    assert found == [False]
    assert not await patient.exists("f")


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_listing_that_comes_while_a_directory_is_changed_undoes_nothing(
    patient: Shell, other: Bucket, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    await patient.mkdir("d")
    await patient.replace("d/f", b"x")
    store, told = patient.fs._store, patient.fs._resolver
    node = await patient.node("d")
    set_attributes = store.set_attributes

    async def come() -> None:
        """Bring what a listing told that began a moment ago."""
        now = trio.current_time()
        told.answers.directory(node.bucket, "d/", before, now, now)

    async def set_late(bucket: BucketName, name: str, attributes: str) -> None:
        if moment == "before":
            await come()
        await set_attributes(bucket, name, attributes)
        if moment == "after":
            await come()

    marker = other.object(f"d/{MARKER}")
    before = marker.props.custom_metadata["aisfs"]
    monkeypatch.setattr(store, "set_attributes", set_late)
    await patient.chmod("d", 0o700)
    assert (await patient.node("d")).attributes.mode == 0o700
    assert marker.props.custom_metadata["aisfs"] != before
    expire(patient)
    assert (await patient.node("d")).attributes.mode == 0o700


async def test_attributes_that_somebody_sets_back_are_seen(patient: Shell, other: Bucket) -> None:
    await patient.replace("f", b"x")
    await patient.chmod("f", 0o640)
    obj = other.object("f")
    before = obj.props.custom_metadata
    for _ in range(2):
        expire(patient)
        assert (await patient.node("f")).attributes.mode == 0o640
        await patient.chmod("f", 0o600)
        obj.set_custom_props(before)
    expire(patient)
    assert (await patient.node("f")).attributes.mode == 0o640


# -- an object beside a directory of its name


async def test_an_object_beside_its_directory_shows_under_another_name(
    patient: Shell, other: Bucket
) -> None:
    other.object("a").put_content(b"shadowed")
    other.object("a/b").put_content(b"below")
    assert await patient.names() == ["a", "a" + SHADOWED]
    assert isinstance(await patient.node("a"), DirectoryNode)
    assert isinstance(await patient.node("a" + SHADOWED), FileNode)
    assert await patient.read("a" + SHADOWED) == b"shadowed"
    assert await patient.read("a/b") == b"below"


async def test_writing_and_removing_a_shadowed_object_leaves_its_directory(
    patient: Shell, other: Bucket
) -> None:
    other.object("a").put_content(b"shadowed")
    other.object("a/b").put_content(b"below")
    await patient.names()
    await patient.replace("a" + SHADOWED, b"new")
    assert await patient.names() == ["a", "a" + SHADOWED]
    assert other.object("a").get().read_all() == b"new"
    fh = await patient.open("a" + SHADOWED)
    await patient.unlink("a" + SHADOWED)
    assert await patient.names() == ["a"]
    expire(patient)
    assert await patient.names() == ["a"]
    assert await patient.read("a/b") == b"below"
    assert await patient.read_open(fh) == b"new"
    await patient.close(fh)
    assert [entry.name for entry in other.list_all_objects()] == ["a/b"]


async def test_shadows_without_a_directory_are_absent(patient: Shell, other: Bucket) -> None:
    other.object("a").put_content(b"x")
    for name in ("a" + SHADOWED, SHADOWED, "b" + SHADOWED):
        assert not await patient.exists(name)


async def test_markers_are_hidden(patient: Shell, other: Bucket) -> None:
    await patient.mkdir("d")
    assert await patient.names("d") == []
    assert not await patient.exists(f"d/{MARKER}")
    expire(patient)
    assert not await patient.exists(f"d/{MARKER}")


# -- what the mount keeps of files it forgot


async def test_a_forgotten_node_goes(patient: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"x")
    node = await patient.node("f")
    before = len(patient.fs._table)
    patient.fs.forget(node.ino, 1)
    assert len(patient.fs._table) == before - 1
    again = await patient.node("f")
    assert again.ino != node.ino


async def test_a_forgotten_open_file_stays(patient: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"x")
    fh = await patient.open("f")
    node = await patient.node("f")
    patient.fs.forget(node.ino, node.lookups)
    assert await patient.read_open(fh) == b"x"
    await patient.close(fh)
    assert patient.fs._table.get(node.ino) is None


# -- names that a reader was told without attributes


async def test_a_name_told_without_attributes_is_known_while_its_reader_is_there(
    cluster: StoreProcess, patient: Shell, other: Bucket
) -> None:
    for index in range(4):
        other.object(f"f{index}").put_content(b"x")
    fs = patient.fs
    fs.directories.leaves_out = True
    root = await patient.directory("")
    readers = [await fs.opendir(root.ino) for _ in range(2)]
    for cursor in root.readers:
        cursor.told = 0
    for fh in readers:
        told = [(name, kind) for name, kind, _ in await fs.readdir(fh, 0)]
        assert told == [(f"f{index}".encode(), Kind.FILE) for index in range(4)]
    root.contents = None  # as if they were too many to be remembered
    assert (await patient.file("f0")).attributes.size == 1
    fs.releasedir(readers.pop())
    cluster.clear_requests()
    assert (await patient.file("f1")).attributes.size == 1
    assert requests(cluster).total() == 0
    await patient.unlink("f2")
    root.absent.clear()
    assert not await patient.exists("f2")
    fs.releasedir(readers.pop())
    assert root.readers == []
    cluster.clear_requests()
    await patient.file("f3")
    assert requests(cluster).total() > 0


async def test_a_directory_that_changes_is_forgotten_with_its_time(
    patient: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "CHANGES_MATTER_S", 0.0)
    await patient.mkdir("d")
    node = await patient.directory("d")
    table = patient.fs._table
    assert table.forgotten_change_at < node.touched_at
    await patient.replace("d/f", b"x")
    patient.fs.forget(node.ino, node.lookups)
    assert table.get(node.ino) is None
    assert table.forgotten_change_at == node.touched_at > node.changed_at


async def test_a_directory_is_kept_as_long_as_its_changes_matter(
    patient: Shell, other: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may forget it at any time; a listing from before the changes may still come."""
    other.object("d/old").put_content(b"")
    table, node = patient.fs._table, await patient.directory("d")
    await patient.replace("d/f", b"x")
    patient.fs.forget(node.ino, node.lookups)
    assert await patient.directory("d") is node
    assert await patient.exists("d/f")
    patient.fs.forget(node.ino, node.lookups)
    monkeypatch.setattr(nodes, "CHANGES_MATTER_S", 0.0)
    for number in range(3):  # whatever is looked up next takes care of it
        await patient.replace(f"e{number}", b"")
    assert table.get(node.ino) is None
