"""What a close leaves to be stored: promised under write-back, or failed and tried again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio
import trio.testing

from aisfs.errors import FsError, IoFailure, Stale
from aisfs.staging.outbox import WORKERS
from aisfs.staging.transfer import APPENDED_FROM
from aisfs.vfs.attributes import Kind
from aisfs.vfs.filesystem import Change
from aisfs.vfs.nodes import FileNode
from aisfs.vfs.paths import MARKER
from tests.support.filesystem import filesystem
from tests.support.waiting import LIMIT_S, PAUSE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aisfs.config import BucketName
    from aisfs.staging.journal import Owed
    from aisfs.staging.staged_file import StagedFile
    from aisfs_sdk import Bucket
    from tests.support.filesystem import Shell
    from tests.support.store import StoreProcess

PUT: dict[str, Any] = {"method": "PUT", "role": "target", "path": "^/v1/objects"}
FAILS = {**PUT, "action": "error", "status": 500}


@pytest.fixture
async def lazy(cluster: StoreProcess, bucket: BucketName, tmp_path: Path) -> AsyncIterator[Shell]:
    """Return a program on a filesystem with write-back."""
    async with filesystem(cluster.endpoint, bucket, tmp_path / "lazy", write_back=True) as made:
        yield made
        cluster.clear_faults()  # what is left is stored at the end


def stored(other: Bucket, name: str = "f") -> bytes:
    return other.object(name).get().read_all()


def names(other: Bucket) -> set[str]:
    return {entry.name for entry in other.list_all_objects()}


async def state(shell: Shell, path: str = "f") -> str:
    return (await shell.fs.getxattr((await shell.node(path)).ino, b"user.ais.state")).decode()


async def rows(shell: Shell) -> list[Owed]:
    return await shell.fs.files._workshop.state.journal.owed()


async def until_sent(shell: Shell) -> None:
    await until(lambda: not len(shell.fs.files._workshop.outbox), "all is sent")


async def promise_in_vain(cluster: StoreProcess, shell: Shell, body: bytes) -> None:
    """Write a file that the cluster refuses; it goes on refusing until the faults are cleared."""
    cluster.faults([FAILS])
    await shell.replace("f", body)
    await until_failed(shell)


async def until_locked(node: FileNode) -> None:
    await until(lambda: node.locked, "somebody works on the file")


async def until_failed(shell: Shell, path: str = "f") -> None:
    with trio.fail_after(LIMIT_S):
        while not (await state(shell, path)).startswith("failed"):  # noqa: ASYNC110
            await trio.sleep(PAUSE_S)


# -- write-back


async def test_close_returns_before_the_cluster_has_it_and_it_gets_there(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    with cluster.holding(**PUT):
        await lazy.replace("f", b"bytes")
        assert names(other) == set()
        (row,) = await rows(lazy)
        assert (row.name, row.size, row.reason) == ("f", 5, "")
        assert await lazy.read("f") == b"bytes"
        assert (await lazy.node("f")).attributes.size == 5
        assert await lazy.names() == ["f"]
    await until_sent(lazy)
    assert stored(other) == b"bytes"
    assert await rows(lazy) == []
    assert list(lazy.fs.files._workshop.state.staging.iterdir()) == []
    assert lazy.fs.files._workshop.quota.used == 0


async def test_a_file_is_there_and_current_all_the_while_that_it_is_sent(lazy: Shell) -> None:
    await lazy.mkdir("d")
    for number in range(10):
        path, body = f"d/{number % 5}", b"x" * (1 + number // 5)
        await lazy.replace(path, body)
        while len(lazy.fs.files._workshop.outbox):
            assert (await lazy.node(path)).attributes.size == len(body)
            await trio.lowlevel.checkpoint()
        assert await lazy.read(path) == body


async def test_a_file_made_by_who_only_reads_is_known_when_it_is_sent(lazy: Shell) -> None:
    for number in range(20):
        fh = await lazy.open(str(number), os.O_RDONLY | os.O_CREAT)
        node = await lazy.file(str(number))
        await until_sent(lazy)
        assert lazy.fs.node(node.ino) is node
        await lazy.close(fh)


async def test_a_listing_tells_a_file_once_while_it_is_sent(
    cluster: StoreProcess, bucket: BucketName, tmp_path: Path
) -> None:
    state = tmp_path / "lazy"
    async with filesystem(cluster.endpoint, bucket, state, write_back=True, ttl_s=0.0) as lazy:
        expected = []
        for number in range(10, 50):
            await lazy.replace(str(number), b"x")
            expected.append(str(number))
            while len(lazy.fs.files._workshop.outbox):
                assert sorted(await lazy.names()) == expected


async def test_states_of_a_file(cluster: StoreProcess, lazy: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"old")
    assert await state(lazy) == "clean"
    fh = await lazy.open("f", os.O_RDWR)
    assert await state(lazy) == "clean"
    await lazy.fs.write(fh, 0, b"new")
    assert await state(lazy) == "dirty"
    with cluster.holding(**PUT):
        await lazy.fs.flush(fh)
        assert await state(lazy) == "queued"
        await until(cluster.held, "the file is being sent")
        assert await state(lazy) == "uploading"
    await until_sent(lazy)
    assert await state(lazy) == "clean"
    cluster.faults([FAILS])
    await lazy.fs.write(fh, 0, b"NEW")
    await lazy.fs.flush(fh)
    await until_failed(lazy)
    assert await state(lazy) == "failed:EIO"
    await lazy.fs.release(fh)


async def test_fsync_waits_for_the_cluster(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    fh = await lazy.open("f", os.O_WRONLY | os.O_CREAT)
    await lazy.fs.write(fh, 0, b"bytes")
    cluster.faults([{**PUT, "action": "delay", "seconds": 1.0}])  # else a promise is kept as fast
    await lazy.fs.fsync(fh)
    assert stored(other) == b"bytes"
    await lazy.close(fh)


async def test_fsync_of_what_is_queued_stores_it(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    fh = await lazy.open("f", os.O_WRONLY | os.O_CREAT)
    await lazy.fs.write(fh, 0, b"bytes")
    cluster.faults([FAILS])
    await lazy.fs.flush(fh)
    await until_failed(lazy)
    cluster.clear_faults()
    await lazy.fs.fsync(fh)
    assert stored(other) == b"bytes"
    assert await rows(lazy) == []
    await lazy.close(fh)


async def test_each_descriptor_is_told_once_of_what_failed_in_the_background(
    cluster: StoreProcess, lazy: Shell
) -> None:
    handles = [await lazy.open("f", os.O_WRONLY | os.O_CREAT) for _ in range(2)]
    cluster.faults([FAILS])
    await lazy.fs.write(handles[0], 0, b"bytes")
    await lazy.fs.flush(handles[0])
    await until_failed(lazy)
    for fh in handles:
        with pytest.raises(IoFailure, match="injected"):
            await lazy.fs.flush(fh)
        await lazy.fs.flush(fh)
    late = await lazy.open("f", os.O_WRONLY)
    await lazy.fs.flush(late)
    for fh in handles:
        with pytest.raises(IoFailure):
            await lazy.fs.fsync(fh)
    for fh in (*handles, late):
        await lazy.fs.release(fh)


async def test_what_failed_and_is_stored_since_is_not_told(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    fh = await lazy.open("f", os.O_WRONLY | os.O_CREAT)
    cluster.faults([FAILS])
    await lazy.fs.write(fh, 0, b"bytes")
    await lazy.fs.flush(fh)
    await until_failed(lazy)
    cluster.clear_faults()
    await until_sent(lazy)
    assert stored(other) == b"bytes"
    await lazy.close(fh)


async def test_a_conflict_in_the_background_is_told_once(lazy: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"old")
    fh = await lazy.open("f", os.O_RDWR)
    await lazy.fs.write(fh, 0, b"our")
    other.object("f").put_content(b"theirs")
    await lazy.fs.flush(fh)
    await until_sent(lazy)
    with pytest.raises(Stale, match="aisfs-conflict"):
        await lazy.fs.fsync(fh)
    await lazy.fs.fsync(fh)
    await lazy.fs.release(fh)
    (copy,) = names(other) - {"f"}
    assert (stored(other), stored(other, copy)) == (b"theirs", b"our")


async def test_a_file_that_is_queued_is_sent_before_it_is_changed(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    cluster.faults([{**PUT, "action": "delay", "seconds": 0.2, "times": 1}])
    await lazy.replace("f", b"first")
    fh = await lazy.open("f", os.O_RDWR)
    await lazy.fs.write(fh, 0, b"F")
    assert stored(other) == b"first"
    assert await rows(lazy) == []
    await lazy.close(fh)
    await until_sent(lazy)
    assert stored(other) == b"First"


async def test_what_was_promised_stays_as_it_is_when_it_cannot_be_sent(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    """Changes go to a file over it, and take its place when they are promised themselves."""
    staging = lazy.fs.files._workshop.state.staging
    cluster.faults([FAILS])
    await lazy.replace("f", b"promised")
    (first,) = await rows(lazy)
    fh = await lazy.open("f", os.O_RDWR)
    await lazy.fs.write(fh, 0, b"CHANGED")
    assert (staging / first.data).read_bytes() == b"promised"
    assert [row.data for row in await rows(lazy)] == [first.data]
    assert await lazy.read_open(fh) == b"CHANGEDd"
    await lazy.close(fh)
    (second,) = await rows(lazy)
    assert second.data != first.data
    assert [path.name for path in staging.iterdir()] == [second.data]
    assert (staging / second.data).read_bytes() == b"CHANGEDd"
    cluster.clear_faults()
    await until_sent(lazy)
    assert (stored(other), names(other)) == (b"CHANGEDd", {"f"})
    assert lazy.fs.files._workshop.quota.used == 0


async def test_what_was_promised_is_sent_while_changes_over_it_go_on(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    other.object("f").put_content(b"stored before")
    cluster.faults([FAILS])
    await lazy.replace("f", b"promised")
    fh = await lazy.open("f", os.O_RDWR)
    await lazy.fs.write(fh, 8, b" and more")
    cluster.clear_faults()
    await until_sent(lazy)
    assert stored(other) == b"promised"
    assert await lazy.read_open(fh) == b"promised and more"
    await lazy.fs.fsync(fh)
    assert (stored(other), names(other)) == (b"promised and more", {"f"})
    await lazy.close(fh)
    assert list(lazy.fs.files._workshop.state.staging.iterdir()) == []


async def test_what_was_promised_outlives_a_failed_fsync_and_what_is_written_after_it(
    cluster: StoreProcess, lazy: Shell
) -> None:
    """The row that takes the place of the promise names bytes that stay as they are."""
    await promise_in_vain(cluster, lazy, b"promised")
    fh = await lazy.open("f", os.O_RDWR)
    await lazy.fs.write(fh, 8, b" and more")
    with pytest.raises(IoFailure):
        await lazy.fs.fsync(fh)
    await lazy.fs.write(fh, 0, b"CHANGED!")
    (row,) = await rows(lazy)
    kept = lazy.fs.files._workshop.state.path_of(row).read_bytes()
    assert (kept, row.size) == (b"promised and more", len(kept))
    await lazy.close(fh)


async def test_what_was_promised_is_sent_although_its_file_is_closed_again_and_again(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    await promise_in_vain(cluster, lazy, b"promised")
    cluster.clear_faults()
    with trio.fail_after(LIMIT_S):
        while not names(other):
            await lazy.close(await lazy.open("f", os.O_WRONLY))
            await trio.sleep(0.1)


async def test_what_is_appended_to_a_promised_content_goes_behind_no_other(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    """The cluster still has an earlier content, of the same size and large enough to append to."""
    await lazy.replace("f", b"A" * APPENDED_FROM)
    await until_sent(lazy)
    await promise_in_vain(cluster, lazy, b"B" * APPENDED_FROM)
    fh = await lazy.open("f", os.O_WRONLY | os.O_APPEND)
    await lazy.fs.write(fh, 0, b"C")
    cluster.clear_faults()
    await lazy.fs.fsync(fh)
    await lazy.close(fh)
    assert stored(other) == b"B" * APPENDED_FROM + b"C"


async def test_what_was_promised_outlives_a_truncation_that_fails(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    await promise_in_vain(cluster, lazy, b"promised")
    reader = await lazy.open("f")
    with pytest.raises(FsError):
        await lazy.truncate("f", lazy.fs.files._workshop.quota.limit + 1)
    await lazy.close(reader)
    (row,) = await rows(lazy)
    assert (lazy.fs.files._workshop.state.staging / row.data).read_bytes() == b"promised"
    assert await lazy.read("f") == b"promised"
    cluster.clear_faults()
    await until_sent(lazy)
    assert stored(other) == b"promised"
    assert await rows(lazy) == []
    assert list(lazy.fs.files._workshop.state.staging.iterdir()) == []
    assert lazy.fs.files._workshop.quota.used == 0


async def test_what_was_promised_is_still_unsent_after_a_change_that_fails(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    """Nothing takes it for stored: neither fsync nor who looks the file up later."""
    other.object("f").put_content(b"old")
    await promise_in_vain(cluster, lazy, b"promised")
    fh = await lazy.open("f", os.O_RDWR)
    with pytest.raises(FsError):
        await lazy.fs.write(fh, lazy.fs.files._workshop.quota.limit, b"x")
    assert await lazy.read_open(fh) == b"promised"
    with pytest.raises(IoFailure):
        await lazy.fs.fsync(fh)
    await lazy.close(fh)
    node = await lazy.node("f")
    lazy.fs.forget(node.ino, node.lookups)
    assert await lazy.read("f") == b"promised"
    assert stored(other) == b"old"


async def test_a_truncation_by_name_outlives_who_closes_the_file_just_then(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    """What is queued is sent first; it is clean then, and nobody writes it."""
    await promise_in_vain(cluster, lazy, b"0123456789")
    cluster.faults([{**PUT, "action": "delay", "seconds": 0.2}])
    reader = await lazy.open("f")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lazy.truncate, "f", 5)
        node = await lazy.file("f")
        await until_locked(node)
        while node.staged is not None and node.staged.dirty:
            await trio.lowlevel.checkpoint()
        lazy.fs.files.storing.drop_staged(node)
    await lazy.close(reader)
    await until_sent(lazy)
    assert stored(other) == b"01234"
    assert list(lazy.fs.files._workshop.state.staging.iterdir()) == []


async def test_no_row_is_left_of_what_a_stored_content_took_the_place_of(
    cluster: StoreProcess, lazy: Shell, other: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader closes the file in the moment in which its rows are settled."""
    await promise_in_vain(cluster, lazy, b"promised")
    reader, writer = await lazy.open("f"), await lazy.open("f", os.O_RDWR)
    await lazy.fs.write(writer, 0, b"CHANGED!")
    node = await lazy.file("f")
    uploader = lazy.fs.files._workshop.uploader
    settle = uploader.settle

    async def slowly(staged: StagedFile) -> None:
        node.writers -= 1  # as if the last writer had closed it
        lazy.fs.files.storing.drop_staged(node)
        node.writers += 1
        await settle(staged)

    monkeypatch.setattr(uploader, "settle", slowly)
    cluster.clear_faults()
    await lazy.fs.fsync(writer)
    monkeypatch.undo()
    await lazy.close(writer)
    await lazy.close(reader)
    await until_sent(lazy)
    assert stored(other) == b"CHANGED!"
    assert await rows(lazy) == []
    assert list(lazy.fs.files._workshop.state.staging.iterdir()) == []


async def test_replacing_what_is_queued_does_not_wait_for_it(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    await promise_in_vain(cluster, lazy, b"first")
    before = cluster.struck()
    await lazy.replace("f", b"second")
    assert cluster.struck() - before < 6  # tries of the background, none of the open
    assert await lazy.read("f") == b"second"
    cluster.clear_faults()
    await until_sent(lazy)
    assert (stored(other), names(other)) == (b"second", {"f"})


async def test_a_queued_file_that_is_unlinked_is_not_sent(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    other.object("old").put_content(b"stored")
    cluster.faults([FAILS])
    await lazy.replace("new", b"bytes")
    await lazy.replace("old", b"changed")
    for name in ("new", "old"):
        await lazy.unlink(name)
        assert not await lazy.exists(name)
    assert await rows(lazy) == []
    assert len(lazy.fs.files._workshop.outbox) == 0
    assert names(other) == set()
    assert list(lazy.fs.files._workshop.state.staging.iterdir()) == []


async def test_a_queued_file_is_stored_before_it_is_renamed(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    cluster.faults([{**PUT, "action": "delay", "seconds": 0.2, "times": 1}])
    await lazy.replace("f", b"bytes")
    await lazy.rename("f", "g")
    assert (names(other), stored(other, "g")) == ({"g"}, b"bytes")
    assert await rows(lazy) == []


async def test_a_file_that_was_stored_to_be_renamed_is_read_from_the_cluster(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    """Nobody has it open who would let go of what was kept here."""
    await promise_in_vain(cluster, lazy, b"ours")
    cluster.clear_faults()
    await lazy.rename("f", "g")
    assert lazy.fs.files._workshop.quota.used == 0
    other.object("g").put_content(b"theirs")
    await trio.sleep(1.1)  # as long as the mount believes what it knows
    assert await lazy.read("g") == b"theirs"


async def test_a_queued_file_that_is_renamed_over_is_not_sent(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    """Nor does what is being sent of it come after the file that replaced it."""
    await lazy.replace("tmp", b"the new one")
    await until_sent(lazy)
    async with trio.open_nursery() as nursery:
        with cluster.holding(**{**PUT, "path": "/f$"}):
            await lazy.replace("f", b"the old one")
            await until(cluster.held, "the old one is being sent")
            nursery.start_soon(lazy.rename, "tmp", "f")
            await trio.testing.wait_all_tasks_blocked()
    await until_sent(lazy)
    assert (names(other), stored(other)) == ({"f"}, b"the new one")
    assert await lazy.read("f") == b"the new one"


async def test_a_directory_with_queued_files_is_renamed(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    await lazy.mkdir("d")
    cluster.faults([{**PUT, "action": "delay", "seconds": 0.2, "times": 1}])
    await lazy.replace("d/f", b"bytes")
    await lazy.rename("d", "e")
    await until_sent(lazy)
    assert stored(other, "e/f") == b"bytes"
    assert not [name for name in names(other) if name.startswith("d/")]


async def test_a_directory_is_not_renamed_before_what_failed_below_it_is_stored(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    """Else a row of the journal would name the object of before, and a crash bring it back."""
    await shell.mkdir("d")
    cluster.faults([{**PUT, "path": "/d/f$", "action": "error", "status": 500}])
    with pytest.raises(FsError):
        await shell.replace("d/f", b"bytes")
    with pytest.raises(FsError):
        await shell.rename("d", "e")
    assert await shell.names() == ["d"]
    cluster.clear_faults()
    await shell.rename("d", "e")
    assert stored(other, "e/f") == b"bytes"
    assert "d/f" not in names(other)
    assert await rows(shell) == []


async def test_attributes_of_a_queued_file_are_promised_too(
    cluster: StoreProcess, lazy: Shell
) -> None:
    cluster.faults([FAILS])
    await lazy.replace("f", b"bytes")
    (before,) = await rows(lazy)
    await lazy.chmod("f", 0o600)
    (row,) = await rows(lazy)
    assert (row.data, row.attributes) != (before.data, before.attributes)
    assert row.data == before.data


@pytest.mark.parametrize("write_back", [True, False])
async def test_attributes_that_change_while_the_content_is_sent_persist(
    cluster: StoreProcess, bucket: BucketName, tmp_path: Path, write_back: bool
) -> None:
    directory = tmp_path / "first"
    async with filesystem(cluster.endpoint, bucket, directory, write_back=write_back) as shell:
        fh = await shell.open("f", os.O_WRONLY | os.O_CREAT)
        await shell.fs.write(fh, 0, b"bytes")
        async with trio.open_nursery() as nursery:
            with cluster.holding(**PUT):
                nursery.start_soon(shell.fs.flush, fh)
                await until(cluster.held, "the content is being sent")
                assert await state(shell) == "uploading"
                nursery.start_soon(shell.chmod, "f", 0o711)
                await trio.testing.wait_all_tasks_blocked()
        await until_sent(shell)
        async with filesystem(cluster.endpoint, bucket, tmp_path / "second") as second:
            assert (await second.node("f")).attributes.mode == 0o711
        await shell.fs.release(fh)


async def test_a_queued_file_stays_although_the_kernel_forgets_it(
    cluster: StoreProcess, lazy: Shell
) -> None:
    await lazy.mkdir("d")
    cluster.faults([FAILS])
    await lazy.replace("d/f", b"bytes")
    for node in list(lazy.fs._table):
        if node.ino != 1:
            lazy.fs.forget(node.ino, node.lookups)
    assert await lazy.names("d") == ["f"]
    assert await lazy.read("d/f") == b"bytes"


async def test_a_node_goes_when_its_bytes_are_stored(lazy: Shell, other: Bucket) -> None:
    await lazy.replace("f", b"bytes")
    node = await lazy.node("f")
    lazy.fs.forget(node.ino, node.lookups)
    await until_sent(lazy)
    assert node not in list(lazy.fs._table)
    assert await lazy.read("f") == b"bytes"


async def test_a_disk_that_takes_no_promise_has_the_content_stored_at_once(
    lazy: Shell, other: Bucket
) -> None:
    journal = lazy.fs.files._workshop.state.journal
    journal._db.execute("PRAGMA query_only=ON")
    await lazy.replace("f", b"bytes")
    journal._db.execute("PRAGMA query_only=OFF")
    assert stored(other) == b"bytes"


async def test_figures_of_what_is_unsent(cluster: StoreProcess, lazy: Shell) -> None:
    cluster.faults([FAILS])
    await lazy.replace("f", b"12345")
    await lazy.replace("g", b"123")
    figures = lazy.fs.figures()
    assert figures["unsent.queued"] + figures["unsent.failed"] == 2
    assert figures["unsent.bytes"] == 8


# -- what failed without write-back


async def test_a_file_that_failed_is_stored_in_the_background(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    cluster.faults([FAILS])
    with pytest.raises(IoFailure):
        await shell.replace("f", b"bytes")
    assert await state(shell) == "failed:EIO"
    assert shell.fs.figures()["unsent.failed"] == 1
    assert await shell.read("f") == b"bytes"
    cluster.clear_faults()
    await until_sent(shell)
    assert stored(other) == b"bytes"
    assert await state(shell) == "clean"
    assert list(shell.fs.files._workshop.state.staging.iterdir()) == []


async def test_what_is_written_after_a_failure_is_not_stored_unasked(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    fh = await shell.open("f", os.O_WRONLY | os.O_CREAT)
    await shell.fs.write(fh, 0, b"whole")
    cluster.faults([FAILS])
    with pytest.raises(IoFailure):
        await shell.fs.fsync(fh)
    await shell.fs.write(fh, 0, b"half")
    cluster.clear_faults()
    await until_sent(shell)
    assert names(other) == set()
    assert await state(shell) == "dirty"
    await shell.fs.write(fh, 0, b"again")
    await shell.close(fh)
    assert stored(other) == b"again"
    assert await rows(shell) == []


# -- from one mount to the next


async def test_the_next_mount_serves_what_this_one_promised(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    place = tmp_path / "state"
    async with filesystem(cluster.endpoint, bucket, place, write_back=True) as shell:
        cluster.faults([FAILS])
        await shell.replace("f", b"promised")
    assert names(other) == set()
    cluster.clear_faults()
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        assert stored(other) == b"promised"
        assert await shell.read("f") == b"promised"
        assert await rows(shell) == []


async def test_what_the_next_mount_cannot_send_takes_room_and_is_sent_later(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    place = tmp_path / "state"
    cluster.faults([FAILS])
    async with filesystem(cluster.endpoint, bucket, place, write_back=True) as shell:
        await shell.replace("f", b"promised")
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        figures = shell.fs.figures()
        assert (figures["unsent.failed"], figures["unsent.bytes"]) == (1, 8)
        assert shell.fs.files._workshop.quota.used == 8
        cluster.clear_faults()
        await until_sent(shell)
        assert stored(other) == b"promised"
        assert shell.fs.files._workshop.quota.used == 0


async def test_a_newer_content_and_one_of_an_earlier_mount_do_not_mix(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    """The name was made again here meanwhile: what the earlier mount had goes beside it."""
    place = tmp_path / "state"
    cluster.faults([FAILS])
    async with filesystem(cluster.endpoint, bucket, place, write_back=True) as shell:
        await shell.replace("f", b"earlier")
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        cluster.faults([{**PUT, "action": "delay", "seconds": 0.3, "path": "/f$", "times": 2}])
        await shell.replace("f", b"newer")
        await until_sent(shell)
    (copy,) = names(other) - {"f"}
    assert {stored(other), stored(other, copy)} == {b"earlier", b"newer"}


async def test_an_unlinked_file_is_deleted_as_soon_as_the_cluster_lets_us(
    cluster: StoreProcess, lazy: Shell, other: Bucket
) -> None:
    other.object("f").put_content(b"bytes")
    fh = await lazy.open("f", os.O_RDONLY)
    await lazy.unlink("f")
    cluster.faults([{"action": "error", "status": 500, "method": "DELETE", "role": "target"}])
    await lazy.close(fh)
    assert names(other) == {"f"}
    assert lazy.fs.figures()["unsent.other"] == 1
    assert await lazy.names() == []
    cluster.clear_faults()
    await until_sent(lazy)
    assert names(other) == set()
    assert await lazy.fs.files._workshop.state.journal.deletions() == []


async def test_an_unlinked_file_is_deleted_by_the_next_mount(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    place = tmp_path / "state"
    other.object("f").put_content(b"old")
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        fh = await shell.open("f")
        await shell.unlink("f")
        cluster.faults([{"action": "error", "status": 500, "method": "DELETE"}])
        await shell.fs.release(fh)
        assert not await shell.exists("f")
    assert names(other) == {"f"}
    cluster.clear_faults()
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        assert names(other) == set()
        assert not await shell.exists("f")


async def test_what_is_made_again_is_not_deleted_for_its_namesake(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    """Not even by a third mount, and if it has the same bytes."""
    place = tmp_path / "state"
    other.object("f").put_content(b"same")
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        fh = await shell.open("f")
        await shell.unlink("f")
        cluster.faults([{"action": "error", "status": 500, "method": "DELETE"}])
        await shell.fs.release(fh)
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        assert await shell.exists("f")
        await shell.replace("f", b"same")
    cluster.clear_faults()
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        assert await shell.read("f") == b"same"


@pytest.mark.parametrize(("old", "new"), [("g", "f"), ("e", "d")])
async def test_what_is_renamed_to_what_an_earlier_mount_unlinked_stays(
    cluster: StoreProcess,
    bucket: BucketName,
    other: Bucket,
    tmp_path: Path,
    old: str,
    new: str,
) -> None:
    unlinked = {"f": "f", "d": "d/f"}[new]
    for name in ("f", "g", "d/f", "e/f"):
        other.object(name).put_content(b"same")
    cluster.faults([{"action": "error", "method": "DELETE", "path": f"{unlinked}$"}])
    place = tmp_path / "state"
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        fh = await shell.open(unlinked)
        await shell.unlink(unlinked)
        await shell.fs.release(fh)
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        cluster.clear_faults()
        if new == "d":  # by others: only an empty directory is replaced
            other.object("d/f").delete()
        await shell.rename(old, new)
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        assert await shell.read(unlinked) == b"same"


async def test_a_link_that_is_made_where_an_earlier_mount_unlinked_stays(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    other.object("f").put_content(b"same")
    cluster.faults([{"action": "error", "method": "DELETE", "path": "f$"}])
    place = tmp_path / "state"
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        fh = await shell.open("f")
        await shell.unlink("f")
        await shell.fs.release(fh)
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        cluster.clear_faults()
        other.object("f").delete()
        await shell.symlink(b"same", "f")
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        assert (await shell.node("f")).attributes.kind is Kind.SYMLINK


async def test_a_deletion_that_was_done_leaves_no_row(shell: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"old")
    fh = await shell.open("f")
    await shell.unlink("f")
    journal = shell.fs.files._workshop.state.journal
    assert len(await journal.deletions()) == 1
    await shell.fs.release(fh)
    assert await journal.deletions() == []
    assert names(other) == set()


@pytest.mark.parametrize("renamed", [True, False])
async def test_a_directory_whose_last_file_went_gets_its_marker_as_soon_as_the_cluster_lets_us(
    cluster: StoreProcess, shell: Shell, other: Bucket, *, renamed: bool
) -> None:
    """Whoever had the file go is not told that it failed: the file is gone."""
    other.object("d/f").put_content(b"x")
    await shell.node("d/f")
    cluster.faults([{**FAILS, "path": f"/{MARKER}$"}])
    await (shell.rename("d/f", "g") if renamed else shell.unlink("d/f"))
    assert names(other) == ({"g"} if renamed else set())
    cluster.clear_faults()
    await until_sent(shell)
    assert f"d/{MARKER}" in names(other)


# -- what the cluster did without our being told


UNANSWERED = {**PUT, "action": "cut"}
NO_ATTRIBUTES = {"method": "PATCH", "path": "^/v1/objects", "action": "error", "status": 500}


@pytest.mark.parametrize(
    ("fault", "size"), [(UNANSWERED, 5), (NO_ATTRIBUTES, 9 << 20)], ids=["answer", "attributes"]
)
async def test_a_file_that_is_unlinked_goes_although_its_close_failed(
    cluster: StoreProcess, shell: Shell, other: Bucket, fault: dict[str, Any], size: int
) -> None:
    cluster.faults([fault])
    with pytest.raises(IoFailure):
        await shell.replace("f", b"x" * size)
    assert names(other) == {"f"}
    await shell.unlink("f")
    assert names(other) == set()


async def test_an_open_file_that_is_unlinked_goes_although_its_fsync_failed(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    other.object("f").put_content(b"old")
    fh = await shell.open("f", os.O_RDWR)
    await shell.fs.write(fh, 0, b"new")
    cluster.faults([UNANSWERED])
    with pytest.raises(IoFailure):
        await shell.fs.fsync(fh)
    cluster.clear_faults()
    await shell.unlink("f")
    assert await shell.read_open(fh) == b"new"
    await shell.close(fh)
    assert names(other) == set()


async def test_what_was_appended_unseen_is_no_other_clients(
    shell: Shell, other: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers the HEAD that would show it; what is written then finds its base again."""
    other.object("f").put_content(b"A" * APPENDED_FROM)
    fh = await shell.open("f", os.O_RDWR)
    await shell.fs.write(fh, APPENDED_FROM, b"B")

    async def silent(bucket: BucketName, name: str) -> NoReturn:
        raise IoFailure(f"no answer about {bucket} {name}")

    with monkeypatch.context() as patched:
        patched.setattr(shell.fs.files._workshop.room.store, "head_now", silent)
        with pytest.raises(IoFailure):
            await shell.fs.fsync(fh)
    assert stored(other) == b"A" * APPENDED_FROM + b"B"
    await shell.fs.write(fh, APPENDED_FROM + 1, b"C")
    await shell.close(fh)
    assert (stored(other), names(other)) == (b"A" * APPENDED_FROM + b"BC", {"f"})


async def test_what_was_appended_without_attributes_can_be_changed_anywhere(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    other.object("f").put_content(b"A" * APPENDED_FROM)
    fh = await shell.open("f", os.O_RDWR)
    await shell.fs.write(fh, APPENDED_FROM, b"B")
    cluster.faults([NO_ATTRIBUTES])
    with pytest.raises(IoFailure):
        await shell.fs.fsync(fh)
    cluster.clear_faults()
    await shell.fs.write(fh, 0, b"C")
    await shell.close(fh)
    assert stored(other) == b"C" + b"A" * (APPENDED_FROM - 1) + b"B"


async def test_the_end_of_a_mount_waits_no_longer_than_its_limit(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    place = tmp_path / "state"
    async with filesystem(cluster.endpoint, bucket, place) as shell:
        workshop = shell.fs.files._workshop
        object.__setattr__(workshop, "drain_s", 0.2)
        fh = await shell.open("f", os.O_WRONLY | os.O_CREAT)
        await shell.fs.write(fh, 0, b"open at the end")
        cluster.faults([{**PUT, "action": "delay", "seconds": 5}])
        assert await shell.fs.drain() == 1
        (row,) = await rows(shell)
        assert "waited 0.2 s" in row.reason
    cluster.clear_faults()
    async with filesystem(cluster.endpoint, bucket, place):
        assert stored(other) == b"open at the end"


async def test_truncating_by_name_stores_at_once(lazy: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"0123456789")
    await lazy.fs.setattr((await lazy.node("f")).ino, Change(size=3), None)
    await until_sent(lazy)
    assert stored(other) == b"012"
    node = await lazy.node("f")
    assert isinstance(node, FileNode)
    assert node.staged is None


async def test_a_reader_of_a_queued_file_does_not_wait_for_its_upload(
    cluster: StoreProcess, lazy: Shell
) -> None:
    with cluster.holding(**PUT):
        await lazy.replace("f", b"bytes")
        await until(cluster.held, "the file is being sent")
        assert await state(lazy) == "uploading"
        assert await lazy.read("f") == b"bytes"
        assert await state(lazy) == "uploading"
        fh = await lazy.open("f")
    await until_sent(lazy)
    assert await lazy.read_open(fh) == b"bytes"
    await lazy.close(fh)


async def test_a_failing_write_back_close_never_hides_the_reason(
    cluster: StoreProcess, lazy: Shell
) -> None:
    """Neither here nor on the cluster: then the close fails."""
    journal = lazy.fs.files._workshop.state.journal
    journal._db.execute("PRAGMA query_only=ON")
    cluster.faults([FAILS])
    with pytest.raises(FsError, match="injected"):
        await lazy.replace("f", b"bytes")
    journal._db.execute("PRAGMA query_only=OFF")


async def test_a_file_that_cannot_be_read_here_keeps_no_other_from_being_stored_at_the_end(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    expected = {str(number) for number in range(2 * WORKERS)}
    async with filesystem(cluster.endpoint, bucket, tmp_path) as shell:
        fh = await shell.open("damaged", os.O_WRONLY | os.O_CREAT)
        await shell.fs.write(fh, 1, b"damaged")  # not from its start: it has to be read again
        for name in expected:
            await shell.fs.write(await shell.open(name, os.O_WRONLY | os.O_CREAT), 0, b"whole")
        cluster.faults([{**PUT, "action": "delay", "seconds": 0.1}])
        staged = (await shell.file("damaged")).staged
        assert staged is not None
        os.close(staged.fd)
        staged.fd = os.open(staged.path, os.O_WRONLY)  # reading fails, as of a bad sector
    assert names(other) == expected


async def test_what_was_sent_in_parts_and_not_put_together_is_told_at_the_end(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    async with filesystem(cluster.endpoint, bucket, tmp_path, quota=1 << 20) as shell:
        fh = await shell.open("f", os.O_CREAT | os.O_WRONLY)
        for at in range(0, 3 << 20, 128 << 10):
            await shell.fs.write(fh, at, bytes(128 << 10))
        cluster.faults([{"action": "error", "method": "POST", "path": "/f$", "role": "target"}])
        with pytest.raises(IoFailure):
            await shell.close(fh)
        assert await shell.fs.drain() == 1
    assert list(other.list_all_objects()) == []
