from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from aisfs.config import MountConfig, Source
from aisfs.errors import (
    CrossDevice,
    Exists,
    Forbidden,
    FsError,
    Invalid,
    IoFailure,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    Replaced,
)
from aisfs.staging.transfer import APPENDED_FROM
from aisfs.vfs.attributes import Kind
from aisfs.vfs.filesystem import Change
from aisfs.vfs.paths import MARKER
from aisfs.vfs.rename import RENAME_NOREPLACE
from tests.support.filesystem import Shell, filesystem
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aisfs.config import BucketName
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

MIB = 1 << 20
RENAME_EXCHANGE = 2


def names_of(other: Bucket) -> list[str]:
    return [entry.name for entry in other.list_all_objects()]


# -- files


async def test_a_file_gets_another_name(shell: Shell, other: Bucket) -> None:
    await shell.mkdir("d")
    await shell.replace("f", b"bytes")
    ino = (await shell.node("f")).ino
    await shell.rename("f", "d/g")
    assert names_of(other) == [f"d/{MARKER}", "d/g"]
    assert (await shell.node("d/g")).ino == ino
    assert await shell.read("d/g") == b"bytes"
    assert not await shell.exists("f")
    assert (await shell.names(), await shell.names("d")) == (["d"], ["g"])


async def test_no_bytes_go_through_the_client(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    other.object("f").put_content(os.urandom(MIB))
    cluster.clear_requests()
    await shell.rename("f", "g")
    requests = [r for r in cluster.requests() if "/objects/" in str(r["path"])]
    assert all(int(str(r["sent"])) < 10_000 for r in requests)
    assert names_of(other) == ["g"]


async def test_attributes_follow(
    cluster: StoreProcess, bucket: BucketName, shell: Shell, other: Bucket, tmp_path: Path
) -> None:
    await shell.replace("f", b"x")
    await shell.fs.setattr((await shell.node("f")).ino, Change(mode=0o604, mtime_ns=77), None)
    await shell.symlink(b"f", "l")
    other.object("theirs").put_content(b"y")
    times = (await shell.node("theirs")).attributes.mtime_ns
    for name in ("f", "l", "theirs"):
        await shell.rename(name, f"{name}2")
    async with filesystem(cluster.endpoint, bucket, tmp_path / "2") as second:
        file, link = await second.node("f2"), await second.node("l2")
        assert (file.attributes.mode, file.attributes.mtime_ns) == (0o604, 77)
        assert link.attributes.kind is Kind.SYMLINK
        assert await second.fs.readlink(link.ino) == b"f"
        assert (await second.node("theirs2")).attributes.mtime_ns == times


async def test_a_target_is_replaced(shell: Shell, other: Bucket) -> None:
    await shell.replace("f", b"new")
    await shell.replace("g", b"old")
    fh = await shell.open("g")
    await shell.rename("f", "g")
    assert await shell.read("g") == b"new"
    assert await shell.read_open(fh) == b"old"
    await shell.close(fh)
    assert names_of(other) == ["g"]
    assert await shell.names() == ["g"]


async def test_a_target_that_was_never_stored_is_replaced(shell: Shell, other: Bucket) -> None:
    fh = await shell.open("f", os.O_WRONLY | os.O_CREAT)
    await shell.fs.write(fh, 0, b"never stored")
    await shell.replace("g", b"new")
    assert sorted(await shell.names()) == ["f", "g"]
    await shell.rename("g", "f")
    ((name, node),) = await shell.entries()
    assert (name, node.attributes.size) == ("f", 3)
    await shell.close(fh)
    assert await shell.names() == names_of(other) == ["f"]
    assert await shell.read("f") == b"new"


async def test_flags(shell: Shell, other: Bucket) -> None:
    await shell.replace("f", b"f")
    await shell.replace("g", b"g")
    with pytest.raises(Exists):
        await shell.rename("f", "g", RENAME_NOREPLACE)
    with pytest.raises(Invalid):
        await shell.rename("f", "g", RENAME_EXCHANGE)
    await shell.rename("f", "h", RENAME_NOREPLACE)
    assert names_of(other) == ["g", "h"]


async def test_a_name_to_itself_changes_nothing(shell: Shell, other: Bucket) -> None:
    await shell.replace("f", b"f")
    await shell.rename("f", "f")
    assert names_of(other) == ["f"]
    await shell.mkdir("d")
    await shell.rename("d", "d")
    assert await shell.exists("d")


async def test_what_is_not_there_cannot_be_renamed(shell: Shell) -> None:
    with pytest.raises(NotFound):
        await shell.rename("f", "g")


async def test_a_file_that_is_being_written(shell: Shell, other: Bucket) -> None:
    fh = await shell.open("f", os.O_RDWR | os.O_CREAT)
    await shell.fs.write(fh, 0, b"one")
    await shell.rename("f", "g")
    assert await shell.read("g") == b"one"
    await shell.fs.write(fh, 3, b"two")
    await shell.close(fh)
    assert names_of(other) == ["g"]
    assert other.object("g").get().read_all() == b"onetwo"


COPY: dict[str, Any] = {"method": "PUT", "path": "/f$", "role": "target"}


@asynccontextmanager
async def replacing(
    cluster: StoreProcess, shell: Shell, name: str, **held: Any
) -> AsyncIterator[trio.Nursery]:
    """Rename a file to g, held at a request of it until what the block starts waits, too."""
    async with trio.open_nursery() as nursery:
        with cluster.holding(**held):
            nursery.start_soon(shell.rename, name, "g")
            await until(cluster.held, f"the rename of {name} is held")
            yield nursery
            await trio.testing.wait_all_tasks_blocked()


async def test_who_closes_while_a_file_is_replaced_takes_nothing_from_others(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    old = os.urandom(MIB // 4)
    other.object("f").put_content(b"new")
    other.object("g").put_content(old)
    other.object("large").put_content(bytes(24 * MIB))
    first, second = await shell.open("g"), await shell.open("g")
    async with replacing(cluster, shell, "f", **COPY) as nursery:
        nursery.start_soon(shell.close, first)
    assert len(await shell.read("large")) == 24 * MIB  # more than the cache has room for
    assert await shell.read_open(second) == old
    await shell.close(second)
    assert await shell.read("g") == b"new"


async def test_who_lists_while_a_file_is_replaced_takes_nothing_from_who_reads_it(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    old = os.urandom(MIB // 4)
    other.object("f").put_content(b"new")
    other.object("g").put_content(old)
    async with filesystem(cluster.endpoint, bucket, tmp_path / "state", ttl_s=0) as shell:
        fh = await shell.open("g")
        async with replacing(cluster, shell, "f", method="DELETE", path="/f$"):
            assert other.object("g").get().read_all() == b"new"
            await shell.entries()
            await shell.node("g")
        shell.fs._workshop.room.pages.drop_idle(None)
        assert await shell.read_open(fh) == old
        await shell.close(fh)
        assert await shell.read("g") == b"new"


async def test_the_last_one_may_close_while_its_file_is_preserved(
    cluster: StoreProcess, shell: Shell, other: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    other.object("f").put_content(b"new")
    other.object("g").put_content(os.urandom(MIB // 4))
    async with trio.open_nursery() as nursery:
        with cluster.holding(method="GET", path="/g$", role="target"):
            only = await shell.open("g")  # which may ask for the first bytes already
            nursery.start_soon(shell.rename, "f", "g")
            await until(cluster.held, "the old content is asked for")
            nursery.start_soon(shell.close, only)
            await trio.testing.wait_all_tasks_blocked()
    assert "lose its old content" not in caplog.text
    assert await shell.read("g") == b"new"


async def test_the_base_of_what_was_appended_is_found_under_its_new_name(
    shell: Shell, other: Bucket
) -> None:
    """Another reader of the file has closed it meanwhile, and its pages are gone."""
    other.object("f").put_content(b"x" * APPENDED_FROM)
    fh = await shell.open("f", os.O_RDWR | os.O_APPEND)
    await shell.fs.write(fh, 0, b"y")
    await shell.fs.fsync(fh)
    await shell.close(await shell.open("f"))
    await shell.rename("f", "g")
    node, pages = await shell.file("g"), shell.fs.files._workshop.room.pages
    assert node.identity is not None
    assert node.bucket is not None
    pages.drop_content(shell.fs.files._workshop.room.content_of(node.bucket, "f", node.identity), 1)
    assert await shell.read_open(fh) == b"x" * APPENDED_FROM + b"y"
    await shell.close(fh)


async def test_who_opens_a_file_while_it_is_replaced_gets_the_new_one(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    other.object("f").put_content(b"new")
    other.object("g").put_content(b"old")
    await shell.node("g")
    handles = []

    async def open_it() -> None:
        handles.append(await shell.open("g"))

    async with replacing(cluster, shell, "f", **COPY) as nursery:
        nursery.start_soon(open_it)
    (fh,) = handles
    assert await shell.read_open(fh) == b"new"
    await shell.close(fh)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR])
async def test_nobody_is_refused_twice_by_files_that_replace_each_other(
    cluster: StoreProcess, shell: Shell, other: Bucket, flags: int
) -> None:
    """Kernel: do_filp_open looks a name up again after ESTALE once, and returns the second one."""
    for name, body in (("f1", b"first"), ("f2", b"second"), ("g", b"old")):
        other.object(name).put_content(body)
    old = await shell.node("g")

    async def be_refused() -> None:
        with pytest.raises(Replaced):
            await shell.fs.open(old.ino, flags)

    handles = []

    async def open_it() -> None:
        handles.append(await shell.open("g", flags))

    async with replacing(cluster, shell, "f1", method="DELETE", path="/f1$") as nursery:
        nursery.start_soon(be_refused)
    await shell.node("g")  # as who was refused does
    async with replacing(cluster, shell, "f2", method="DELETE", path="/f2$") as nursery:
        nursery.start_soon(open_it)
    (fh,) = handles
    shell.fs._workshop.room.pages.drop_idle(None)
    assert await shell.read_open(fh) == b"first"
    if flags:
        await shell.fs.write(fh, 0, b"F")
        assert await shell.read_open(fh) == b"First"
    await shell.close(fh)
    assert await shell.read("g") == b"second"
    assert other.object("g").get().read_all() == b"second"


async def test_who_lists_a_directory_meanwhile_does_not_bring_a_name_back(
    shell: Shell, other: Bucket
) -> None:
    for name in ("a", "b", "c"):
        other.object(f"p/{name}").put_content(b"old")
    fh = await shell.fs.opendir((await shell.node("p")).ino)
    first = next(iter(await shell.fs.readdir(fh, 0)))
    assert first[0] == b"a"
    await shell.rename("p/b", "p/d")
    rest = [os.fsdecode(name) for name, _, _ in await shell.fs.readdir(fh, first[2])]
    assert rest == ["c"]
    shell.fs.releasedir(fh)
    await shell.replace("p/b", b"new")  # of another file than the one that was told of
    assert names_of(other) == ["p/a", "p/b", "p/c", "p/d"]


async def test_nor_does_who_began_to_list_it_before_another_one(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        other.object(f"p/{name}").put_content(b"old")
    async with filesystem(cluster.endpoint, bucket, tmp_path / "state", ttl_s=0) as shell:
        fh = await shell.fs.opendir((await shell.node("p")).ino)
        first = next(iter(await shell.fs.readdir(fh, 0)))
        await shell.rename("p/b", "p/d")
        assert await shell.names("p") == ["a", "c", "d"]
        rest = [os.fsdecode(name) for name, _, _ in await shell.fs.readdir(fh, first[2])]
        assert rest == ["c"]
        shell.fs.releasedir(fh)


async def test_an_open_reader_goes_on(shell: Shell, other: Bucket) -> None:
    body = os.urandom(6 * MIB)
    other.object("f").put_content(body)
    fh = await shell.open("f")
    assert await shell.pread(fh, 0, MIB) == body[:MIB]
    await shell.rename("f", "g")
    assert await shell.read_open(fh, MIB) == body[MIB:]
    await shell.close(fh)


async def test_the_source_stays_when_the_copy_fails(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    await shell.replace("f", b"precious")
    cluster.faults([{"action": "error", "method": "PUT", "path": "^/v1/objects/"}])
    with pytest.raises(FsError):
        await shell.rename("f", "g")
    cluster.clear_faults()
    assert other.object("f").get().read_all() == b"precious"
    assert await shell.read("f") == b"precious"


async def test_a_file_whose_old_name_may_not_go_is_two_files(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    body = os.urandom(6 * MIB)
    other.object("f").put_content(body)
    await shell.replace("g", b"replaced by the copy")
    fh = await shell.open("f")
    assert await shell.pread(fh, 0, MIB) == body[:MIB]
    cluster.faults([{"action": "error", "method": "DELETE", "status": 403}])
    with pytest.raises(Forbidden):
        await shell.rename("f", "g")
    cluster.clear_faults()
    assert await shell.read("g") == body
    await shell.replace("g", b"another content")
    assert await shell.read_open(fh, MIB) == body[MIB:]
    await shell.close(fh)


@pytest.mark.parametrize("theirs", [b"changed", b"KNOWN"])
async def test_the_source_stays_when_it_changed_meanwhile(
    shell: Shell, other: Bucket, theirs: bytes
) -> None:
    await shell.replace("f", b"known")
    other.object("f").put_content(theirs)
    with pytest.raises(FsError):
        await shell.rename("f", "g")
    assert other.object("f").get().read_all() == theirs


async def test_kinds_are_respected(shell: Shell) -> None:
    await shell.replace("f", b"x")
    await shell.mkdir("d")
    await shell.mkdir("full")
    await shell.replace("full/x", b"x")
    with pytest.raises(IsADirectory):
        await shell.rename("f", "d")
    with pytest.raises(NotADirectory):
        await shell.rename("d", "f")
    with pytest.raises(NotEmpty):
        await shell.rename("d", "full")
    with pytest.raises(Invalid):
        await shell.rename("full", "full/below")


async def test_from_bucket_to_bucket_is_another_device(
    cluster: StoreProcess, other: Bucket, tmp_path: Path
) -> None:
    other.object("f").put_content(b"x")
    second = f"{other.name}-2"
    cluster.create_bucket(second)
    mount = MountConfig(bucket_ops=True)
    async with filesystem(cluster.endpoint, Source(), tmp_path, mount=mount) as shell:
        with pytest.raises(CrossDevice):
            await shell.rename(f"{other.name}/f", f"{second}/f")


# -- directories


async def test_a_directory_moves_with_everything_below(shell: Shell, other: Bucket) -> None:
    await shell.mkdir("d")
    await shell.mkdir("d/e")
    for name in ("d/f", "d/e/g"):
        await shell.replace(name, name.encode())
    ino = (await shell.node("d/e/g")).ino
    await shell.rename("d", "n")
    assert names_of(other) == [f"n/{MARKER}", f"n/e/{MARKER}", "n/e/g", "n/f"]
    assert await shell.names() == ["n"]
    assert not await shell.exists("d")
    assert not await shell.exists("d/f")
    assert await shell.read("n/e/g") == b"d/e/g"
    assert (await shell.node("n/e/g")).ino == ino
    assert sorted(await shell.names("n")) == ["e", "f"]


async def test_a_directory_replaces_an_empty_one(shell: Shell, other: Bucket) -> None:
    await shell.mkdir("d")
    await shell.replace("d/f", b"x")
    await shell.mkdir("e")
    await shell.rename("d", "e")
    assert names_of(other) == [f"e/{MARKER}", "e/f"]
    assert await shell.names("e") == ["f"]


@pytest.mark.parametrize("forgotten", [False, True])
async def test_who_reads_a_directory_meanwhile_is_told_of_its_files_where_they_are(
    shell: Shell, other: Bucket, forgotten: bool
) -> None:
    other.object("d/f").put_content(b"old")
    directory = await shell.node("d")
    fh = await shell.fs.opendir(directory.ino)
    ((_, node, _),) = await shell.fs.readdir(fh, 0)
    assert not isinstance(node, Kind)
    shell.fs.accept(node)
    if forgotten:
        shell.fs.forget(node.ino, 1)
    await shell.rename("d", "e")
    ((_, node, _),) = await shell.fs.readdir(fh, 0)
    assert not isinstance(node, Kind)
    shell.fs.accept(node)
    assert node.name == "e/f"
    written, _ = await shell.fs.open(node.ino, os.O_WRONLY)
    await shell.fs.write(written, 0, b"new")
    await shell.close(written)
    shell.fs.releasedir(fh)
    assert other.object("e/f").get().read_all() == b"new"
    assert names_of(other) == ["e/f"]


@pytest.mark.parametrize("known", [False, True])
async def test_who_looks_below_a_directory_meanwhile_finds_files_where_they_are(
    cluster: StoreProcess, doubting: Shell, other: Bucket, known: bool
) -> None:
    other.object("d/f").put_content(b"x")
    directory = await doubting.node("d")
    node = await doubting.node("d/f") if known else None
    found = []

    async def look() -> None:
        if node is not None:
            found.append(await doubting.fs.getattr(node.ino))
        else:
            found.append(await doubting.fs.lookup(directory.ino, b"f"))

    async with trio.open_nursery() as nursery:
        with cluster.holding(method="HEAD", path="/d/f$", role="target", times=1):
            nursery.start_soon(look)
            await until(cluster.held, "the file is looked for")
            await doubting.rename("d", "e")
    assert [each.name for each in found] == ["e/f"]


async def test_what_was_listed_below_is_not_found_at_its_old_name(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    """A subdirectory's remembered listing tells the objects' old names."""
    other.object("d/e/f").put_content(b"bytes")
    async with filesystem(cluster.endpoint, bucket, tmp_path, ttl_s=3600) as shell:
        ((_, node),) = await shell.entries("d/e")
        shell.fs.forget(node.ino, 1)
        await shell.rename("d", "n")
        assert await shell.read("n/e/f") == b"bytes"


async def test_files_being_written_move_along(shell: Shell, other: Bucket) -> None:
    await shell.mkdir("d")
    await shell.replace("d/old", b"old")
    new = await shell.open("d/new", os.O_RDWR | os.O_CREAT)
    await shell.fs.write(new, 0, b"new")
    changed = await shell.open("d/old", os.O_RDWR)
    await shell.fs.write(changed, 0, b"OLD")
    await shell.rename("d", "n")
    assert sorted(await shell.names("n")) == ["new", "old"]
    await shell.fs.write(changed, 3, b"+")
    await shell.close(new)
    await shell.close(changed)
    assert names_of(other) == [f"n/{MARKER}", "n/new", "n/old"]
    assert await shell.read("n/old") == b"OLD+"
    assert await shell.read("n/new") == b"new"


async def test_unlinked_open_files_do_not_move(shell: Shell, other: Bucket) -> None:
    await shell.mkdir("d")
    await shell.replace("d/f", b"x")
    fh = await shell.open("d/f")
    await shell.unlink("d/f")
    await shell.rename("d", "n")
    assert await shell.names("n") == []
    assert await shell.read_open(fh) == b"x"
    await shell.close(fh)
    assert names_of(other) == [f"n/{MARKER}"]


@pytest.mark.parametrize("replaced", [False, True])
async def test_what_takes_the_place_of_unlinked_open_files_stays(
    shell: Shell, other: Bucket, replaced: bool
) -> None:
    """Were it the same bytes: only the content tells one from the other."""
    for directory in ("d", "n"):
        await shell.mkdir(directory)
        await shell.replace(f"{directory}/f", b"x")
    fh = await shell.open("n/f")
    await shell.unlink("n/f")
    if not replaced:
        await shell.rmdir("n")
    await shell.rename("d", "n")
    assert await shell.read_open(fh) == b"x"
    await shell.close(fh)
    assert names_of(other) == [f"n/{MARKER}", "n/f"]
    assert await shell.read("n/f") == b"x"


async def test_a_member_that_fails_gives_its_errno_and_nothing_is_lost(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    await shell.mkdir("d")
    for index in range(12):
        await shell.replace(f"d/{index:02}", str(index).encode())
    cluster.faults([{"action": "error", "method": "PUT", "path": "/d/07$"}])
    with pytest.raises(IoFailure):
        await shell.rename("d", "n")
    cluster.clear_faults()
    for index in range(12):
        assert other.object(f"d/{index:02}").get().read_all() == str(index).encode()
        assert await shell.read(f"d/{index:02}") == str(index).encode()


async def test_what_was_left_can_be_renamed_again(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    await shell.mkdir("d")
    for index in range(5):
        await shell.replace(f"d/{index}", str(index).encode())
    cluster.faults([{"action": "error", "method": "DELETE", "path": "/d/3$"}])
    with pytest.raises(IoFailure):
        await shell.rename("d", "n")
    cluster.clear_faults()
    assert {f"n/{index}" for index in range(5)} <= set(names_of(other))


async def test_attributes_follow_over_an_object_with_the_same_bytes(
    shell: Shell, other: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AIS copies nothing there, and leaves the attributes of the object that was there."""
    store = shell.fs._store
    copy = store.copy

    async def lazy_copy(bucket: BucketName, source: str, target: str) -> None:
        found = {entry.name: entry.checksum for entry in other.list_all_objects(props="checksum")}
        if found.get(target) != found[source]:
            await copy(bucket, source, target)

    monkeypatch.setattr(store, "copy", lazy_copy)
    for name, mode in (("old", 0o700), ("new", 0o755)):
        await shell.mkdir(f"{name}-d")
        await shell.chmod(f"{name}-d", mode)
        await shell.replace(f"{name}-f", b"same")
        await shell.chmod(f"{name}-f", mode)
    await shell.rename("old-d", "new-d")
    await shell.rename("old-f", "new-f")
    for name in ("new-d", "new-f"):
        node = await shell.node(name)
        assert node.attributes.mode == 0o700
        node.checked_at = float("-inf")
        assert (await shell.node(name)).attributes.mode == 0o700
