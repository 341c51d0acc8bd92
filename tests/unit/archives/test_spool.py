from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from aisfs.archives.spool import Spool
from aisfs.errors import BadHandle, IoFailure, NoSpace

if TYPE_CHECKING:
    from aisfs.archives.spool import Room


async def test_what_was_written_is_read_back(room: Room) -> None:
    spool = await Spool.make(room)
    spool.append(b"12")
    spool.append(b"345")
    assert spool.size == 5
    assert await spool.read(1, 3) == b"234"
    with pytest.raises(IoFailure, match="cut off"):
        await spool.read(3, 5)
    spool.close()


async def test_a_spool_that_is_closed_lets_reads_end_and_begins_none(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = await Spool.make(room)
    spool.reserve(5)
    spool.append(b"12345")
    go_on, pread, read = threading.Event(), os.pread, []

    def slow_pread(fd: int, size: int, offset: int) -> bytes:
        assert go_on.wait(10)
        return pread(fd, size, offset)

    async def reader() -> None:
        read.append(await spool.read(0, 5))

    monkeypatch.setattr(os, "pread", slow_pread)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        spool.close()
        with pytest.raises(BadHandle):
            await spool.read(0, 5)
        assert room.used == 5
        go_on.set()
    assert read == [b"12345"]
    assert room.used == 0


async def test_room_is_given_back_once(room: Room) -> None:
    first, second = await Spool.make(room), await Spool.make(room)
    first.reserve(room.spool - 10)
    second.reserve(10)
    with pytest.raises(NoSpace, match="has to be unpacked"):
        second.reserve(1)
    first.close()
    first.close()
    assert room.used == 10
    second.close()
