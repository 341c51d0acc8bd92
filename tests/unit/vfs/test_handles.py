from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from aisfs.errors import BadHandle, Stale
from aisfs.vfs.filesystem import Change
from aisfs.vfs.handles import DirectoryHandle, HandleTable
from aisfs.vfs.nodes import DirectoryNode

if TYPE_CHECKING:
    from aisfs.vfs.handles import Fh
    from aisfs_sdk import Bucket
    from tests.support.filesystem import Shell
    from tests.support.store import StoreProcess

MIB = 1 << 20
SLOW = {"action": "delay", "seconds": 0.3, "method": "GET", "role": "target", "path": "/f$"}


async def test_the_table_counts_opens_and_knows_kinds(shell: Shell) -> None:
    root = shell.fs.node(1)
    assert isinstance(root, DirectoryNode)
    table = HandleTable()
    first, second = (table.add(DirectoryHandle(root, None, [])) for _ in range(2))
    assert first != second
    assert (root.opens, len(table)) == (2, 2)
    with pytest.raises(BadHandle):
        table.file(first)
    table.remove(first)
    table.remove(first)
    assert (root.opens, len(table)) == (1, 1)
    with pytest.raises(BadHandle):
        table.directory(first)
    assert table.open_files() == []
    table.remove(second)


async def test_a_reader_outlives_the_staged_file_that_it_reads(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    """The last writer closes a file that it did not change while a reader waits for its bytes."""
    body = os.urandom(3 * MIB)
    other.object("f").put_content(body)
    reader = await shell.open("f")
    writer = await shell.open("f", os.O_RDWR)
    cluster.faults([{**SLOW, "times": 1}])
    found = []

    async def read() -> None:
        found.append(await shell.pread(reader, 0, 2 * MIB))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await shell.close(writer)
    assert found == [body[: 2 * MIB]]
    await shell.close(reader)


async def test_a_writer_waits_for_a_commit_in_flight(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    fh = await shell.open("f", os.O_RDWR | os.O_CREAT)
    await shell.fs.write(fh, 0, b"a" * 100_000)
    cluster.faults([{**SLOW, "method": "PUT", "times": 1}])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shell.fs.fsync, fh)
        await trio.testing.wait_all_tasks_blocked()
        await shell.fs.write(fh, 0, b"b" * 100_000)
        assert other.object("f").get().read_all() == b"a" * 100_000
    await shell.close(fh)
    assert other.object("f").get().read_all() == b"b" * 100_000


async def test_open_waits_for_a_commit_in_flight(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    fh = await shell.open("f", os.O_RDWR | os.O_CREAT)
    await shell.fs.write(fh, 0, b"bytes")
    cluster.faults([{**SLOW, "method": "PUT", "times": 1}])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shell.close, fh)
        await trio.testing.wait_all_tasks_blocked()
        assert await shell.read("f") == b"bytes"
        assert other.object("f").get().read_all() == b"bytes"


async def test_two_closes_store_once(cluster: StoreProcess, shell: Shell, other: Bucket) -> None:
    handles = [await shell.open("f", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    await shell.fs.write(handles[0], 0, b"x" * 100_000)
    cluster.clear_requests()
    async with trio.open_nursery() as nursery:
        for fh in handles:
            nursery.start_soon(shell.close, fh)
    puts = [r for r in cluster.requests() if r["method"] == "PUT" and r["status"] == 200]
    assert len(puts) == 1


async def test_a_file_that_was_only_read_is_not_stored(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    other.object("f").put_content(b"x")
    fh = await shell.open("f", os.O_RDWR)
    assert await shell.read_open(fh) == b"x"
    cluster.clear_requests()
    await shell.close(fh)
    assert [r for r in cluster.requests() if r["method"] in {"PUT", "PATCH"}] == []


async def test_staging_is_empty_when_all_is_stored(shell: Shell) -> None:
    workshop = shell.fs.files._workshop
    await shell.replace("f", os.urandom(MIB))
    await shell.write("f", b"y", 5)
    await shell.truncate("f", 100)
    await shell.unlink("f")
    assert workshop.quota.used == 0
    assert list(workshop.state.staging.iterdir()) == []


async def test_truncating_an_unlinked_file(shell: Shell) -> None:
    fh = await shell.open("f", os.O_RDWR | os.O_CREAT)
    await shell.fs.write(fh, 0, b"bytes")
    node = await shell.node("f")
    await shell.unlink("f")
    await shell.fs.setattr(node.ino, Change(size=2), fh)
    assert await shell.read_open(fh) == b"by"
    await shell.close(fh)


async def test_a_replaced_base_is_stale_for_the_writer_too(doubting: Shell, other: Bucket) -> None:
    other.object("f").put_content(os.urandom(2 * MIB))
    fh = await doubting.open("f", os.O_RDWR)
    other.object("f").put_content(b"theirs")
    with pytest.raises(Stale):
        await doubting.pread(fh, 0, 100)
    await doubting.close(fh)
    assert await doubting.read("f") == b"theirs"


async def reader_of_replaced(shell: Shell, other: Bucket) -> tuple[Fh, bytes]:
    """Open and begin to read what another client then replaces; return the new content, too."""
    old, new = os.urandom(4 * MIB), os.urandom(4 * MIB)
    other.object("f").put_content(old)
    reader = await shell.open("f")
    assert await shell.pread(reader, 0, 100) == old[:100]
    other.object("f").put_content(new)
    return reader, new


async def test_a_reader_of_a_replaced_version_gets_nothing_of_the_next(
    doubting: Shell, other: Bucket
) -> None:
    """Neither from a file that is written over the next version, nor when that was stored."""
    reader, new = await reader_of_replaced(doubting, other)
    writer = await doubting.open("f", os.O_RDWR)
    assert await doubting.pread(writer, 3 * MIB, 100) == new[3 * MIB : 3 * MIB + 100]
    with pytest.raises(Stale):
        await doubting.pread(reader, 3 * MIB, 100)
    await doubting.fs.write(writer, 0, b"ours")
    await doubting.close(writer)
    with pytest.raises(Stale):
        await doubting.pread(reader, 3 * MIB, 100)
    await doubting.close(reader)


async def test_a_reader_gets_nothing_of_a_version_that_is_cut_by_its_name(
    doubting: Shell, other: Bucket
) -> None:
    """Nobody opens the next version, so its file is still the reader's."""
    reader, _ = await reader_of_replaced(doubting, other)
    await doubting.truncate("f", 4 * MIB - 1)
    with pytest.raises(Stale):
        await doubting.pread(reader, 3 * MIB, 100)
    await doubting.close(reader)


async def test_an_unlinked_reader_gets_nothing_of_the_next_version(
    doubting: Shell, other: Bucket
) -> None:
    """When the name is used again, what is fetched for it is not the version that it has open."""
    old = os.urandom(4 * MIB)
    other.object("f").put_content(old)
    reader = await doubting.open("f")
    assert await doubting.pread(reader, 0, 100) == old[:100]
    other.object("f").put_content(os.urandom(4 * MIB))
    await doubting.unlink("f")
    await doubting.replace("f", b"third")
    with pytest.raises(Stale):
        await doubting.pread(reader, 3 * MIB, 100)
    await doubting.close(reader)


async def test_a_reader_of_a_new_file_that_others_replaced_is_stale(
    doubting: Shell, other: Bucket
) -> None:
    writer = await doubting.open("f", os.O_WRONLY | os.O_CREAT)
    reader = await doubting.open("f")
    await doubting.fs.write(writer, 0, b"ours")
    await doubting.close(writer)
    other.object("f").put_content(b"theirs")
    assert await doubting.read("f") == b"theirs"
    with pytest.raises(Stale):
        await doubting.pread(reader, 0, 100)
    await doubting.close(reader)


def object_gets(cluster: StoreProcess) -> int:
    return sum(
        request["method"] == "GET"
        and request["path"].startswith("/v1/objects/")
        and request["status"] < 300
        for request in cluster.requests()
    )


async def test_files_that_are_opened_and_not_read_are_soon_not_fetched(
    cluster: StoreProcess, shell: Shell, other: Bucket
) -> None:
    for number in range(20):
        other.object(f"d/{number}").put_content(b"x" * 1000)
    for number in range(20):
        await shell.close(await shell.open(f"d/{number}"))
        await trio.testing.wait_all_tasks_blocked(0.01)
    fetched = object_gets(cluster)
    assert 0 < fetched < 10
    assert await shell.pread(await shell.open("d/19"), 0, 10) == b"x" * 10
    assert object_gets(cluster) == fetched + 1
