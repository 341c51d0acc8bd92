from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
import trio

from aisfs.config import BucketName, Control, MountConfig, Source
from aisfs.errors import (
    BadHandle,
    Exists,
    FsError,
    Invalid,
    IoFailure,
    IsADirectory,
    NameTooLong,
    NoAttribute,
    NoSpace,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    Stale,
)
from aisfs.store.interface import ObjectInfo
from aisfs.vfs.attributes import Kind
from aisfs.vfs.directory import Cursor, Entry
from aisfs.vfs.filesystem import Change
from aisfs.vfs.handles import DirectoryHandle, Fh
from aisfs.vfs.nodes import ROOT
from aisfs.vfs.paths import MARKER
from tests.support.filesystem import ME, Shell, filesystem

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from aisfs.vfs.handles import FileHandle
    from aisfs.vfs.nodes import FileNode
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

MIB = 1 << 20


def names_of(other: Bucket) -> list[str]:
    return [entry.name for entry in other.list_all_objects()]


def body_of(other: Bucket, name: str) -> bytes:
    return other.object(name).get().read_all()


# -- files


@pytest.mark.parametrize("size", [0, 1, 100_000, 3 * MIB + 1])
async def test_what_is_written_is_stored_at_close(shell: Shell, other: Bucket, size: int) -> None:
    body = os.urandom(size)
    await shell.replace("f", body)
    assert body_of(other, "f") == body
    assert await shell.read("f") == body


async def test_what_is_written_is_read_before_close(shell: Shell) -> None:
    fh = await shell.open("f", os.O_RDWR | os.O_CREAT)
    await shell.fs.write(fh, 5, b"hello")
    reader = await shell.open("f")
    assert await shell.read_open(reader) == bytes(5) + b"hello"
    assert (await shell.node("f")).attributes.size == 10
    await shell.close(reader)
    await shell.close(fh)


@pytest.mark.parametrize("in_order", [True, False])
async def test_each_of_many_small_writes_is_kept(
    shell: Shell, other: Bucket, seeded: random.Random, in_order: bool
) -> None:
    """More of them than whatever happens once in a while lets pass."""
    step, count = 500, 600
    body = seeded.randbytes(step * count)
    offsets = list(range(0, len(body), step))
    if not in_order:
        await shell.replace("f", bytes(len(body)))
        seeded.shuffle(offsets)
    fh = await shell.open("f", os.O_RDWR | os.O_CREAT)
    for offset in offsets:
        assert await shell.fs.write(fh, offset, body[offset : offset + step]) == step
    await shell.close(fh)
    assert body_of(other, "f") == body


@pytest.mark.parametrize("place", ["shell", "doubting"])
async def test_a_file_that_is_being_made_is_there(
    request: pytest.FixtureRequest, shell: Shell, doubting: Shell, place: str
) -> None:
    program = {"shell": shell, "doubting": doubting}[place]
    fh = await program.open("f", os.O_WRONLY | os.O_CREAT)
    assert await program.names() == ["f"]
    node = await program.node("f")
    assert await program.fs.getattr(node.ino) is node
    with pytest.raises(Exists):
        await program.open("f", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    await program.close(fh)
    assert await program.names() == ["f"]


async def test_touch_leaves_an_empty_object(shell: Shell, other: Bucket) -> None:
    fh = await shell.open("f", os.O_WRONLY | os.O_CREAT)
    await shell.close(fh)
    assert body_of(other, "f") == b""


async def test_a_file_made_by_who_only_reads_is_stored_at_once(shell: Shell, other: Bucket) -> None:
    fh = await shell.open("f", os.O_RDONLY | os.O_CREAT)
    assert body_of(other, "f") == b""
    await shell.close(fh)


async def test_who_only_reads_may_truncate_too(shell: Shell, other: Bucket) -> None:
    await shell.replace("f", b"old")
    fh = await shell.open("f", os.O_RDONLY | os.O_TRUNC)
    assert (await shell.node("f")).attributes.size == 0
    assert await shell.read_open(fh) == b""
    assert body_of(other, "f") == b""
    await shell.close(fh)


async def test_fsync_stores_and_writing_goes_on(shell: Shell, other: Bucket) -> None:
    fh = await shell.open("f", os.O_WRONLY | os.O_CREAT)
    await shell.fs.write(fh, 0, b"one")
    await shell.fs.fsync(fh)
    assert body_of(other, "f") == b"one"
    await shell.fs.write(fh, 3, b"two")
    await shell.close(fh)
    assert body_of(other, "f") == b"onetwo"


async def test_each_append_goes_behind_the_one_before(shell: Shell, other: Bucket) -> None:
    await shell.replace("f", b"0")
    first, second = [await shell.open("f", os.O_WRONLY | os.O_APPEND) for _ in range(2)]
    for fh, data in ((first, b"1"), (first, b"2"), (second, b"3"), (first, b"4")):
        await shell.fs.write(fh, 0, data)
    await shell.close(first)
    await shell.fs.write(second, 0, b"5")
    await shell.close(second)
    assert body_of(other, "f") == b"012345"


async def test_a_write_into_the_middle_keeps_the_rest(shell: Shell, other: Bucket) -> None:
    body = os.urandom(2 * MIB)
    other.object("f").put_content(body)
    await shell.write("f", b"new", 1_000_000)
    assert body_of(other, "f") == body[:1_000_000] + b"new" + body[1_000_003:]


async def test_appends_go_to_the_end_wherever_they_are_sent(shell: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"old")
    await shell.append("f", b"+1")
    await shell.append("f", b"+2")
    assert body_of(other, "f") == b"old+1+2"


@pytest.mark.parametrize(("size", "expected"), [(0, b""), (2, b"ol"), (5, b"old\0\0")])
async def test_truncate_without_a_descriptor_is_stored_at_once(
    shell: Shell, other: Bucket, size: int, expected: bytes
) -> None:
    other.object("f").put_content(b"old")
    await shell.truncate("f", size)
    assert body_of(other, "f") == expected
    assert (await shell.node("f")).attributes.size == size


async def test_truncate_through_a_descriptor_waits_for_close(shell: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"old")
    fh = await shell.open("f", os.O_WRONLY)
    await shell.fs.setattr((await shell.node("f")).ino, Change(size=1), fh)
    assert body_of(other, "f") == b"old"
    await shell.close(fh)
    assert body_of(other, "f") == b"o"


async def test_writers_share_the_file(shell: Shell, other: Bucket) -> None:
    first = await shell.open("f", os.O_WRONLY | os.O_CREAT)
    second = await shell.open("f", os.O_WRONLY)
    await shell.fs.write(first, 0, b"aaaa")
    await shell.fs.write(second, 2, b"bb")
    await shell.close(first)
    assert body_of(other, "f") == b"aabb"
    await shell.fs.write(second, 0, b"c")
    await shell.close(second)
    assert body_of(other, "f") == b"cabb"


async def test_a_reader_follows_what_this_mount_stores(shell: Shell) -> None:
    await shell.replace("f", b"one")
    reader = await shell.open("f")
    assert await shell.read_open(reader) == b"one"
    await shell.replace("f", b"two!")
    assert await shell.read_open(reader) == b"two!"
    await shell.close(reader)


async def test_handles_are_checked(shell: Shell) -> None:
    await shell.replace("f", b"x")
    reader = await shell.open("f", os.O_RDONLY)
    writer = await shell.open("f", os.O_WRONLY)
    with pytest.raises(BadHandle):
        await shell.fs.write(reader, 0, b"x")
    with pytest.raises(BadHandle):
        await shell.fs.read(writer, 0, 1)
    await shell.close(reader)
    await shell.close(writer)
    for attempt in (shell.fs.read(reader, 0, 1), shell.fs.flush(reader), shell.fs.readdir(9, 0)):
        with pytest.raises(BadHandle):
            await attempt
    await shell.fs.release(reader)


async def test_an_unknown_inode_is_stale(shell: Shell) -> None:
    with pytest.raises(Stale):
        await shell.fs.getattr(12345)


# -- other clients


async def test_a_lost_update_is_found_at_close(shell: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"old")
    fh = await shell.open("f", os.O_RDWR)
    await shell.fs.write(fh, 0, b"ours")
    other.object("f").put_content(b"theirs")
    with pytest.raises(Stale):
        await shell.fs.flush(fh)
    await shell.fs.release(fh)
    assert body_of(other, "f") == b"theirs"
    (copy,) = (name for name in names_of(other) if "conflict" in name)
    assert body_of(other, copy) == b"ours"
    assert await shell.read("f") == b"theirs"


async def test_our_attributes_do_not_go_to_an_object_of_others(shell: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"old")
    fh = await shell.open("f", os.O_RDWR)
    await shell.fs.write(fh, 0, b"ours")
    await shell.fs.setattr((await shell.node("f")).ino, Change(mode=0o600), fh)
    other.object("f").put_content(b"theirs")
    with pytest.raises(Stale):
        await shell.fs.flush(fh)
    await shell.fs.release(fh)
    assert other.object("f").props.custom_metadata == {}


async def test_bytes_over_a_base_that_vanished_outlive_the_mount(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    other.object("f").put_content(os.urandom(2 * MIB))
    async with filesystem(cluster.endpoint, bucket, tmp_path) as shell:
        fh = await shell.open("f", os.O_RDWR)
        await shell.fs.write(fh, 0, b"ours")
        other.object("f").put_content(b"theirs")
        with pytest.raises(Stale):
            await shell.fs.flush(fh)
        await shell.fs.release(fh)
    async with filesystem(cluster.endpoint, bucket, tmp_path):
        (data,) = (tmp_path / "staging").glob("*.data")
        assert data.read_bytes()[:4] == b"ours"


async def test_a_failed_store_is_told_and_tried_again(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    fh = await shell.open("f", os.O_RDWR | os.O_CREAT)
    await shell.fs.write(fh, 0, b"precious")
    cluster.faults([{"action": "error", "status": 500, "method": "PUT", "path": "^/v1/objects"}])
    with pytest.raises(IoFailure):
        await shell.fs.fsync(fh)
    with pytest.raises(IoFailure):
        await shell.fs.flush(fh)
    await shell.fs.release(fh)
    assert await shell.read("f") == b"precious"
    cluster.clear_faults()
    again = await shell.open("f", os.O_RDWR)
    await shell.close(again)
    assert body_of(other, "f") == b"precious"


async def test_what_failed_at_close_is_stored_at_the_end(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    async with filesystem(cluster.endpoint, bucket, tmp_path) as shell:
        cluster.faults([{"action": "error", "method": "PUT", "path": "^/v1/objects"}])
        with pytest.raises(IoFailure):
            await shell.replace("f", b"precious")
        cluster.clear_faults()
    assert body_of(other, "f") == b"precious"
    assert list((tmp_path / "staging").glob("*.json")) == []


async def test_what_was_sent_to_a_former_owner_is_stored_again(
    cluster: StoreProcess, shell: Shell, other: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway goes on showing the old object; who was asked straight shows what it was sent."""
    other.object("f").put_content(b"old")
    node, store = await shell.file("f"), shell.fs._resolver.store
    assert node.bucket is not None
    old = await store.head_now(node.bucket, "f")

    async def at_the_new_owner(bucket: BucketName, name: str) -> ObjectInfo:
        return old

    monkeypatch.setattr(store, "head_now", at_the_new_owner)
    cluster.clear_requests()
    await shell.replace("f", os.urandom(9 * MIB))
    stored = [r for r in cluster.requests() if r["method"] == "PUT" and r["status"] == 200]
    assert len(stored) == 2


async def test_a_reader_of_a_replaced_object_gets_stale_and_no_mixture(
    doubting: Shell, other: Bucket
) -> None:
    old = os.urandom(4 * MIB)
    other.object("f").put_content(old)
    fh = await doubting.open("f")
    assert await doubting.pread(fh, 0, 100) == old[:100]
    other.object("f").put_content(os.urandom(4 * MIB))
    with pytest.raises(Stale):
        await doubting.pread(fh, 3 * MIB, 100)
    await doubting.close(fh)


async def test_who_follows_what_this_mount_stored_keeps_it_when_others_replace_it(
    doubting: Shell, other: Bucket
) -> None:
    """The name is another file then, and the old one is again what it was before."""
    await doubting.replace("f", b"first")
    reader = await doubting.open("f")
    await doubting.replace("f", b"second")
    assert await doubting.read_open(reader) == b"second"
    other.object("f").put_content(b"theirs is longer")
    assert (await doubting.node("f")).attributes.size == 16
    assert await doubting.read("f") == b"theirs is longer"
    assert await doubting.read_open(reader) == b"second"
    old = doubting.fs.handles.file(reader).node
    assert (await doubting.fs.getattr(old.ino)).attributes.size == 6
    assert old.ino != (await doubting.node("f")).ino
    await doubting.close(reader)
    await doubting.unlink("f")
    assert names_of(other) == []


async def test_a_new_open_sees_the_new_version(doubting: Shell, other: Bucket) -> None:
    for body in (b"one", b"two two", b"", b"three", b"THREE"):
        other.object("f").put_content(body)
        assert await doubting.read("f") == body
        assert (await doubting.node("f")).attributes.size == len(body)


async def test_the_kernels_pages_are_kept_only_for_the_same_content(
    doubting: Shell, other: Bucket
) -> None:
    other.object("f").put_content(b"one")
    ino = (await doubting.node("f")).ino

    async def keeps() -> bool:
        fh, keep = await doubting.fs.open(ino, os.O_RDONLY)
        await doubting.close(fh)
        return keep

    assert not await keeps()
    assert await keeps()
    other.object("f").put_content(b"two")
    assert not await keeps()
    assert await keeps()


async def test_the_kernels_pages_are_those_that_the_handle_pinned(
    doubting: Shell, other: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that comes while the file is opened makes the node another content."""
    other.object("f").put_content(b"two")
    two = (await doubting.file("f")).identity
    other.object("f").put_content(b"one")
    node = await doubting.file("f")
    await doubting.read("f")
    answers, open_file = doubting.fs._resolver.answers, doubting.fs.files.open

    async def overtaken(node: FileNode, flags: int) -> FileHandle:
        handle = await open_file(node, flags)
        other.object("f").put_content(b"two")
        assert node.bucket is not None
        assert two is not None
        answers.renew(node.bucket, ObjectInfo("f", two), trio.current_time())
        return handle

    async def keeps() -> bool:
        fh, keep = await doubting.fs.open(node.ino, os.O_RDONLY)
        await doubting.close(fh)
        return keep

    with monkeypatch.context() as patch:
        patch.setattr(doubting.fs.files, "open", overtaken)
        assert await keeps()
    assert not await keeps()


async def test_a_bucket_without_checksums_is_read_and_written(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    cluster.set_bucket_props(other.name, {"checksum": {"type": "none"}})
    fh = await shell.open("f", os.O_RDWR | os.O_CREAT)
    for body in (b"one", b"two", b"three"):
        await shell.fs.write(fh, 0, body)
        await shell.fs.fsync(fh)
    await shell.close(fh)
    assert await shell.read("f") == b"three"


# -- names


async def test_exclusive_create(shell: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"x")
    with pytest.raises(Exists):
        await shell.open("f", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    await shell.close(await shell.open("g", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    with pytest.raises(Exists):
        await shell.open("g", os.O_WRONLY | os.O_CREAT | os.O_EXCL)


async def test_unlink_removes_the_object(shell: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"x")
    await shell.unlink("f")
    assert names_of(other) == []
    assert not await shell.exists("f")
    assert await shell.names() == []
    with pytest.raises(NotFound):
        await shell.unlink("f")


@pytest.mark.parametrize("place", ["shell", "doubting"])
async def test_an_open_file_outlives_its_name(
    shell: Shell, doubting: Shell, other: Bucket, place: str
) -> None:
    program = {"shell": shell, "doubting": doubting}[place]
    await program.mkdir("d")
    body = os.urandom(3 * MIB)
    await program.replace("d/f", body)
    fh = await program.open("d/f", os.O_RDWR)
    ino = (await program.node("d/f")).ino
    await program.unlink("d/f")
    assert not await program.exists("d/f")
    assert await program.names("d") == []
    assert (await program.fs.getattr(ino)).attributes.size == len(body)
    assert await program.read_open(fh) == body
    await program.fs.write(fh, 0, b"more")
    assert await program.pread(fh, 0, 6) == b"more" + body[4:6]
    await program.fs.fsync(fh)
    await program.close(fh)
    assert names_of(other) == [f"d/{MARKER}"]


async def test_an_unlinked_open_file_does_not_come_back_in_a_listing(
    shell: Shell, other: Bucket
) -> None:
    """Its object is still on the cluster, and a look at the directory brings a listing."""
    await shell.mkdir("d")
    await shell.replace("d/f", b"x")
    fh = await shell.open("d/f")
    await shell.unlink("d/f")
    directory = await shell.directory("d")
    directory.checked_at = float("-inf")
    directory.contents = directory.first = None
    await shell.fs.getattr(directory.ino)
    assert await shell.names("d") == []
    assert not await shell.exists("d/f")
    await shell.close(fh)


async def test_a_name_is_used_again_while_its_old_file_is_open(shell: Shell, other: Bucket) -> None:
    await shell.replace("f", b"old")
    fh = await shell.open("f")
    await shell.unlink("f")
    await shell.replace("f", b"new")
    assert await shell.read_open(fh) == b"old"
    await shell.close(fh)
    assert body_of(other, "f") == b"new"


async def test_a_directory_of_unlinked_open_files_is_gone_with_its_removal(
    doubting: Shell, other: Bucket
) -> None:
    other.object("d/e/f").put_content(b"content")
    fh = await doubting.open("d/e/f")
    await doubting.unlink("d/e/f")
    assert await doubting.names("d") == ["e"]
    await doubting.rmdir("d/e")
    assert await doubting.names("d") == []
    with pytest.raises(NotFound):
        await doubting.node("d/e")
    assert await doubting.names("") == ["d"]
    assert await doubting.read_open(fh) == b"content"
    await doubting.close(fh)


async def test_the_last_one_may_close_a_file_while_it_is_unlinked(
    shell: Shell, other: Bucket
) -> None:
    for number in range(5):
        other.object(f"d/f{number}").put_content(b"bytes")
    for number in range(5):  # at different moments of it
        fh = await shell.open(f"d/f{number}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shell.unlink, f"d/f{number}")
            for _ in range(number):
                await trio.lowlevel.checkpoint()
            await shell.close(fh)
    assert [entry.name for entry in other.list_all_objects()] in ([], ["d/.aisfs-dir"])


async def test_what_is_gone_by_now_is_not_opened(shell: Shell, other: Bucket) -> None:
    other.object("f").put_content(b"bytes")
    node = await shell.node("f")
    await shell.unlink("f")
    with pytest.raises(Stale):  # upon which the kernel looks the name up again
        await shell.fs.open(node.ino, os.O_RDONLY)


async def test_unlinking_twice_leaves_nothing(shell: Shell, other: Bucket) -> None:
    """The second file of the name was never stored: the first one must not come back."""
    await shell.replace("f", b"old")
    first = await shell.open("f")
    await shell.unlink("f")
    second = await shell.open("f", os.O_WRONLY | os.O_CREAT)
    await shell.fs.write(second, 0, b"new")
    await shell.unlink("f")
    assert await shell.read_open(first) == b"old"
    await shell.close(second)
    await shell.close(first)
    assert names_of(other) == []


async def test_a_directory_takes_the_name_of_an_open_file(shell: Shell, other: Bucket) -> None:
    await shell.replace("f", b"old")
    fh = await shell.open("f")
    await shell.unlink("f")
    await shell.mkdir("f")
    assert await shell.read_open(fh) == b"old"
    await shell.close(fh)
    assert names_of(other) == [f"f/{MARKER}"]


async def test_an_object_that_others_put_under_an_unlinked_name_stays(
    shell: Shell, other: Bucket
) -> None:
    await shell.replace("f", b"old")
    fh = await shell.open("f")
    await shell.unlink("f")
    other.object("f").put_content(b"theirs")
    await shell.close(fh)
    assert body_of(other, "f") == b"theirs"


async def test_an_object_that_others_put_under_an_unlinked_name_shows(
    doubting: Shell, other: Bucket
) -> None:
    await doubting.mkdir("d")
    await doubting.replace("d/f", b"old")
    fh = await doubting.open("d/f")
    await doubting.unlink("d/f")
    other.object("d/f").put_content(b"theirs")
    assert await doubting.names("d") == ["f"]
    assert await doubting.read("d/f") == b"theirs"
    with pytest.raises(NotEmpty):
        await doubting.rmdir("d")
    second = await doubting.open("d/f")
    await doubting.unlink("d/f")
    await doubting.close(fh)
    assert await doubting.names("d") == []
    await doubting.close(second)
    assert names_of(other) == [f"d/{MARKER}"]


async def test_what_was_unlinked_leaves_no_node(shell: Shell) -> None:
    fh = await shell.open("f", os.O_WRONLY | os.O_CREAT)
    node = await shell.node("f")
    await shell.unlink("f")
    await shell.fs.setattr(node.ino, Change(mode=0o600), fh)
    await shell.close(fh)
    shell.fs.forget(node.ino, node.lookups)
    with pytest.raises(Stale):
        shell.fs.node(node.ino)


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        (MARKER, NotPermitted),
        (".aisfs-x", NotPermitted),
        ("a\nb", Invalid),
        ("x" * 256, NameTooLong),
    ],
)
async def test_names_that_cannot_be_made(shell: Shell, name: str, refusal: type[FsError]) -> None:
    for attempt in (
        shell.open(name, os.O_WRONLY | os.O_CREAT),
        shell.mkdir(name),
        shell.symlink(b"t", name),
    ):
        with pytest.raises(refusal):
            await attempt
    await shell.replace("f", b"x")
    with pytest.raises(refusal):
        await shell.rename("f", name)


async def test_strange_names_are_names(shell: Shell, other: Bucket) -> None:
    names = ["ä€😀", "a b", "#&'\"<>?%", "~", "-", "a:b", "x" * 255, "a.", " a", "%2f", "\\"]
    names.remove("~")
    for name in names:
        await shell.replace(name, name.encode())
    assert sorted(await shell.names()) == sorted(names)
    for name in names:
        assert await shell.read(name) == name.encode()
    assert sorted(names_of(other)) == sorted(names)


async def test_special_files_are_refused(shell: Shell) -> None:
    for kind in (0o010000, 0o020000, 0o060000, 0o140000):
        with pytest.raises(NotPermitted):
            await shell.fs.mknod(ROOT, b"f", kind | 0o644, ME)
    node = await shell.fs.mknod(ROOT, b"f", 0o100600, ME)
    assert (node.attributes.kind, node.attributes.mode) == (Kind.FILE, 0o600)


# -- directories


async def test_an_empty_directory_persists(
    cluster: StoreProcess, bucket: BucketName, shell: Shell, tmp_path: Path
) -> None:
    await shell.mkdir("d", 0o710)
    assert await shell.names() == ["d"]
    assert await shell.names("d") == []
    async with filesystem(cluster.endpoint, bucket, tmp_path / "2") as second:
        node = await second.node("d")
        assert (node.attributes.kind, node.attributes.mode) == (Kind.DIRECTORY, 0o710)
        assert await second.names("d") == []


async def test_mkdir_of_what_exists(shell: Shell, other: Bucket) -> None:
    other.object("d/x").put_content(b"")
    other.object("f").put_content(b"")
    await shell.mkdir("e")
    for name in ("d", "e", "f"):
        with pytest.raises(Exists):
            await shell.mkdir(name)


async def test_rmdir(shell: Shell, other: Bucket) -> None:
    await shell.mkdir("d")
    await shell.mkdir("d/e")
    with pytest.raises(NotEmpty):
        await shell.rmdir("d")
    await shell.rmdir("d/e")
    await shell.rmdir("d")
    assert names_of(other) == []
    assert not await shell.exists("d")


async def test_rmdir_sees_what_others_put_there(shell: Shell, other: Bucket) -> None:
    await shell.mkdir("d")
    assert await shell.names("d") == []
    other.object("d/x").put_content(b"")
    with pytest.raises(NotEmpty):
        await shell.rmdir("d")


async def test_rmdir_sees_files_that_are_being_written(shell: Shell) -> None:
    await shell.mkdir("d")
    fh = await shell.open("d/f", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(NotEmpty):
        await shell.rmdir("d")
    await shell.close(fh)


async def test_files_are_no_directories_and_the_other_way_round(shell: Shell) -> None:
    await shell.mkdir("d")
    await shell.replace("f", b"")
    with pytest.raises(NotADirectory):
        await shell.rmdir("f")
    with pytest.raises(IsADirectory):
        await shell.unlink("d")
    with pytest.raises(NotADirectory):
        await shell.node("f/x")
    with pytest.raises(NotADirectory):
        await shell.names("f")
    with pytest.raises(IsADirectory):
        await shell.open("d")
    with pytest.raises(IsADirectory):
        await shell.truncate("d", 0)


@pytest.mark.parametrize("ttl_s", [0, 1.0])
async def test_a_directory_outlives_its_last_file(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path, ttl_s: float
) -> None:
    other.object("d/f").put_content(b"x")
    other.object("e/f").put_content(b"x")
    async with filesystem(cluster.endpoint, bucket, tmp_path, ttl_s=ttl_s) as shell:
        await shell.unlink("d/f")
        assert sorted(await shell.names()) == ["d", "e"]
        await shell.rename("e/f", "g")
        assert sorted(await shell.names()) == ["d", "e", "g"]
    assert names_of(other) == [f"d/{MARKER}", f"e/{MARKER}", "g"]


async def test_a_directory_outlives_its_last_file_though_others_emptied_it(
    doubting: Shell, other: Bucket
) -> None:
    for name in ("d/f", "d/g"):
        other.object(name).put_content(b"x")
    assert await doubting.names("d") == ["f", "g"]
    other.object("d/g").delete()
    await doubting.unlink("d/f")
    assert await doubting.names() == ["d"]


async def test_a_directory_that_others_emptied_is_gone(doubting: Shell, other: Bucket) -> None:
    other.object("d/f").put_content(b"x")
    assert await doubting.names() == ["d"]
    other.object("d/f").delete()
    assert await doubting.names() == []
    assert not await doubting.exists("d")


async def test_long_directories_are_complete(shell: Shell, other: Bucket) -> None:
    names = sorted(f"{index:05}" for index in range(2500))
    async with trio.open_nursery() as nursery:
        limit = trio.CapacityLimiter(8)

        async def put(name: str) -> None:
            await trio.to_thread.run_sync(other.object(name).put_content, b"x", limiter=limit)

        for name in names:
            nursery.start_soon(put, name)
    assert await shell.names() == names
    assert await shell.names() == names


# -- symbolic links


async def test_a_symbolic_link_persists(
    cluster: StoreProcess, bucket: BucketName, shell: Shell, tmp_path: Path
) -> None:
    target = b"../\xff \n" + b"x" * 300
    node = await shell.symlink(target, "l")
    assert (node.attributes.kind, node.attributes.size) == (Kind.SYMLINK, len(target))
    async with filesystem(cluster.endpoint, bucket, tmp_path / "2") as second:
        for found in [await second.node("l"), dict(await second.entries())["l"]]:
            assert (found.attributes.kind, found.attributes.size) == (Kind.SYMLINK, len(target))
            assert await second.fs.readlink(found.ino) == target


async def test_links_are_checked(shell: Shell) -> None:
    await shell.replace("f", b"x")
    with pytest.raises(Exists):
        await shell.symlink(b"t", "f")
    with pytest.raises(Invalid):
        await shell.fs.readlink((await shell.node("f")).ino)
    with pytest.raises(FsError):
        await shell.symlink(b"x" * 5000, "l")
    await shell.symlink(b"f", "l")
    await shell.unlink("l")
    assert await shell.names() == ["f"]


# -- attributes


async def test_attributes_persist(
    cluster: StoreProcess, bucket: BucketName, shell: Shell, tmp_path: Path
) -> None:
    mtime_ns = 1_234_567_890_123_456_789
    await shell.replace("f", b"x")
    await shell.mkdir("d")
    for path in ("f", "d"):
        ino = (await shell.node(path)).ino
        await shell.fs.setattr(ino, Change(mode=0o604), None)
        await shell.fs.setattr(ino, Change(mtime_ns=mtime_ns), None)
        await shell.fs.setxattr(ino, b"user.colour", b"\0blue\xff", ME)
    async with filesystem(cluster.endpoint, bucket, tmp_path / "2") as second:
        for path in ("f", "d"):
            for node in (await second.node(path), dict(await second.entries())[path]):
                assert node.attributes.mode == 0o604
                assert node.attributes.mtime_ns == mtime_ns
            assert await second.fs.getxattr(node.ino, b"user.colour") == b"\0blue\xff"
            assert await second.fs.listxattr(node.ino) == [b"user.colour"]


async def test_a_set_group_id_directory_hands_on_its_group(
    cluster: StoreProcess, bucket: BucketName, tmp_path: Path
) -> None:
    owners = MountConfig(persist_owner=True)
    async with filesystem(cluster.endpoint, bucket, tmp_path / "1", mount=owners) as shell:
        await shell.mkdir("d")
        await shell.fs.setattr((await shell.node("d")).ino, Change(mode=0o2775, gid=4711), None)
        await shell.mkdir("d/sub", 0o755)
        await shell.replace("d/sub/f", b"")
        await shell.symlink(b"f", "d/sub/link")
        made = [(await shell.node(f"d/{path}")).attributes for path in ("sub", "sub/f", "sub/link")]
        assert [each.gid for each in made] == [4711] * 3
        assert [each.mode for each in made] == [0o2755, 0o644, 0o777]


async def test_attributes_of_an_open_file_go_with_its_content(
    shell: Shell, other: Bucket, cluster: StoreProcess, bucket: BucketName, tmp_path: Path
) -> None:
    fh = await shell.open("f", os.O_WRONLY | os.O_CREAT, 0o600)
    await shell.fs.write(fh, 0, b"x")
    ino = (await shell.node("f")).ino
    await shell.fs.setattr(ino, Change(mtime_ns=5, mode=0o640), fh)
    assert names_of(other) == []
    await shell.close(fh)
    async with filesystem(cluster.endpoint, bucket, tmp_path / "2") as second:
        node = await second.node("f")
        assert (node.attributes.mode, node.attributes.mtime_ns) == (0o640, 5)


async def test_writing_sets_the_time(shell: Shell) -> None:
    before = time.time_ns()
    await shell.replace("f", b"x")
    mtime_ns = (await shell.node("f")).attributes.mtime_ns
    assert before <= mtime_ns <= time.time_ns()


@pytest.mark.parametrize("how", [os.O_WRONLY, os.O_RDONLY, None])
async def test_truncating_what_is_empty_sets_the_time(
    cluster: StoreProcess, bucket: BucketName, shell: Shell, tmp_path: Path, how: int | None
) -> None:
    """Makefiles make stamps so: `> stamp`."""
    await shell.replace("f", b"")
    ino = (await shell.node("f")).ino
    await shell.fs.setattr(ino, Change(mtime_ns=5), None)
    if how is None:
        await shell.truncate("f", 0)
    else:
        await shell.close(await shell.open("f", how | os.O_TRUNC))
    assert time.time_ns() - (await shell.node("f")).attributes.mtime_ns < 60e9
    async with filesystem(cluster.endpoint, bucket, tmp_path / "2") as second:
        assert time.time_ns() - (await second.node("f")).attributes.mtime_ns < 60e9


async def test_an_identical_content_written_again_has_a_new_time(
    shell: Shell, cluster: StoreProcess, bucket: BucketName, tmp_path: Path
) -> None:
    await shell.replace("f", b"same")
    first = (await shell.node("f")).attributes.mtime_ns
    await shell.replace("f", b"same")
    async with filesystem(cluster.endpoint, bucket, tmp_path / "2") as second:
        assert (await second.node("f")).attributes.mtime_ns > first


async def test_a_failed_change_changes_nothing(cluster: StoreProcess, shell: Shell) -> None:
    await shell.replace("f", b"x")
    before = (await shell.node("f")).attributes
    cluster.faults([{"action": "error", "method": "PATCH", "path": "^/v1/objects"}])
    with pytest.raises(IoFailure):
        await shell.chmod("f", 0o600)
    assert (await shell.node("f")).attributes == before
    ino = (await shell.node("f")).ino
    with pytest.raises(NoSpace):
        await shell.fs.setxattr(ino, b"user.big", b"x" * 3000, ME)
    with pytest.raises(NoAttribute):
        await shell.fs.getxattr(ino, b"user.big")


async def test_a_truncation_that_changes_nothing_and_fails_is_forgotten(
    cluster: StoreProcess, doubting: Shell, other: Bucket
) -> None:
    """The time that it would have set must not keep the mount from what others store."""
    await doubting.replace("f", b"x")
    cluster.faults([{"action": "error", "method": "PATCH", "path": "^/v1/objects"}])
    with pytest.raises(IoFailure):
        await doubting.truncate("f", 1)
    other.object("f").put_content(b"theirs")
    assert (await doubting.node("f")).attributes.size == 6
    assert await doubting.read("f") == b"theirs"


async def test_chmod_is_seen_when_the_kernel_forgot_the_file(shell: Shell) -> None:
    """A listing from before the change is still young, and the node is gone."""
    await shell.replace("f", b"x")
    await shell.names()
    await shell.chmod("f", 0o600)
    node = await shell.node("f")
    shell.fs.forget(node.ino, node.lookups)
    assert (await shell.node("f")).attributes.mode == 0o600


async def test_objects_of_others_have_a_stable_time(
    doubting: Shell, other: Bucket, cluster: StoreProcess, bucket: BucketName, tmp_path: Path
) -> None:
    other.object("f").put_content(b"x")
    listed = dict(await doubting.entries())["f"].attributes.mtime_ns
    async with filesystem(cluster.endpoint, bucket, tmp_path / "2", ttl_s=0) as second:
        assert (await second.node("f")).attributes.mtime_ns == listed
        other.object("f").put_content(b"y")
        assert (await second.node("f")).attributes.mtime_ns != listed


async def test_statfs(shell: Shell) -> None:
    capacity = await shell.fs.statfs()
    assert 0 < capacity.used < capacity.total
    assert await shell.fs.statfs() is capacity


# -- all buckets, and prefixes


class Batches:
    """A listing of the root that comes in batches of names of directories."""

    started_at = arrived_at = 0.0

    def __init__(self, batches: list[list[str]]) -> None:
        self._batches = batches

    @property
    def done(self) -> bool:
        return not self._batches

    async def next(self) -> list[Entry]:
        batch, *self._batches = self._batches
        return [Entry(name) for name in batch]

    def fetch_ahead(self) -> None:
        pass

    def fork(self) -> Batches:
        return Batches(self._batches)


@pytest.mark.parametrize("control", [Control.HIDDEN, Control.VISIBLE])
async def test_a_batch_of_nothing_but_the_control_directorys_name_is_no_end(
    cluster: StoreProcess, bucket: BucketName, tmp_path: Path, control: Control
) -> None:
    mount = MountConfig(control=control)
    async with filesystem(cluster.endpoint, bucket, tmp_path, mount=mount) as shell:
        fs = shell.fs
        handle = fs.handles.directory(await fs.opendir(ROOT))
        assert isinstance(handle, DirectoryHandle)
        handle.cursor = Cursor(Batches([["+"], [".aisfs"], ["a", "b"]]))
        fh, start, found = Fh(1), 0, []
        while entries := list(await fs.readdir(fh, start)):
            found += [name for name, _, _ in entries]
            start = entries[-1][2]
        shown = [b".aisfs"] if control is Control.VISIBLE else []
        assert found == [*shown, b"+", b"a", b"b"]


@pytest.mark.parametrize("ttl_s", [0, 1.0])
async def test_all_buckets(
    cluster: StoreProcess, other: Bucket, tmp_path: Path, ttl_s: float
) -> None:
    other.object("d/f").put_content(b"x")
    mount = MountConfig(
        bucket_ops=True, attribute_ttl_s=ttl_s, negative_ttl_s=ttl_s, listing_ttl_s=ttl_s
    )
    async with filesystem(cluster.endpoint, Source(), tmp_path, mount=mount) as shell:
        root = await shell.fs.getattr(ROOT)
        assert root.attributes.kind is Kind.DIRECTORY
        assert other.name in await shell.names()
        assert await shell.read(f"{other.name}/d/f") == b"x"
        with pytest.raises(NotFound):
            await shell.node("no-such-bucket")
        with pytest.raises(NotPermitted):
            await shell.open("f", os.O_WRONLY | os.O_CREAT)
        made = f"{other.name}-made"
        await shell.mkdir(made)
        await shell.replace(f"{made}/f", b"x")
        with pytest.raises(NotEmpty):
            await shell.rmdir(made)
        await shell.unlink(f"{made}/f")
        await shell.rmdir(made)
        assert made not in await shell.names()
        with pytest.raises(NotPermitted):
            await shell.rename(other.name, "elsewhere")


async def test_buckets_are_safe_unless_asked_for(
    cluster: StoreProcess, other: Bucket, tmp_path: Path
) -> None:
    async with filesystem(cluster.endpoint, Source(), tmp_path) as shell:
        with pytest.raises(NotPermitted):
            await shell.rmdir(other.name)
        with pytest.raises(NotPermitted):
            await shell.mkdir(f"{other.name}-made")


async def test_a_prefix_is_a_root(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    other.object("p/q/f").put_content(b"x")
    other.object("outside").put_content(b"x")
    async with filesystem(cluster.endpoint, Source(bucket, "p/q/"), tmp_path) as shell:
        assert await shell.names() == ["f"]
        await shell.replace("g", b"y")
        await shell.fs.getattr(ROOT)
    assert names_of(other) == ["outside", "p/q/f", "p/q/g"]


async def test_a_missing_bucket_is_told_at_once(cluster: StoreProcess, tmp_path: Path) -> None:
    with pytest.RaisesGroup(NotFound):
        async with filesystem(cluster.endpoint, BucketName("missing"), tmp_path):
            pass
