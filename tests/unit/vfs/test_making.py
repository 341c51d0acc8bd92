"""What views make: once for all who wait, in a room that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from aisfs.archives.spool import Room
from aisfs.errors import Busy, Corrupt, IoFailure, NoSpace
from aisfs.vfs.making import WAIT_S, Kept, Making

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(eq=False)
class Thing:
    """Something that was made, with bytes of the room."""

    room: Room
    size: int = 10
    cost: int = 1
    users: int = 0
    retired: bool = False

    def __post_init__(self) -> None:
        self.room.reserve(self.size)

    def retire(self) -> None:
        assert not self.retired
        self.retired = True
        self.room.release(self.size)


@pytest.fixture
def making(tmp_path: Path, nursery: trio.Nursery) -> Making:
    return Making(nursery, Room(tmp_path, 100))


async def test_all_who_want_it_wait_for_one_task(making: Making) -> None:
    begun = 0
    go_on = trio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        await go_on.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(making.once, "key", "doing it", work)
        nursery.start_soon(making.once, "other", "doing it", work)
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
    assert begun == 2


async def test_who_waits_long_is_told_and_the_work_goes_on(
    making: Making, autojump_clock: trio.testing.MockClock
) -> None:
    done = 0

    async def work() -> None:
        nonlocal done
        await trio.sleep(1.5 * WAIT_S)
        done += 1

    with pytest.raises(Busy, match="doing it takes long"):
        await making.once("key", "doing it", work)
    assert done == 0
    await making.once("key", "doing it", work)
    assert done == 1
    assert trio.current_time() == pytest.approx(1.5 * WAIT_S)


async def test_failures_say_what_was_attempted_and_are_not_kept(
    making: Making, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Exception] = [Corrupt("torn"), RuntimeError("a bug")]

    async def work() -> None:
        if failures:
            raise failures.pop(0)

    with pytest.raises(Corrupt, match="doing it: torn"):
        await making.once("key", "doing it", work)
    with pytest.raises(IoFailure, match="doing it: RuntimeError"):
        await making.once("key", "doing it", work)
    assert "a bug" in caplog.text
    caplog.clear()
    await making.once("key", "doing it", work)


async def test_what_is_used_last_and_what_is_in_use_stays(making: Making) -> None:
    kept: Kept[int, Thing] = Kept(making, 3)
    things = [Thing(making.room) for _ in range(5)]
    things[0].users = 1
    for key in range(3):
        kept.put(key, things[key])
    assert kept.get(1) is things[1]
    kept.put(3, things[3])
    assert [thing.retired for thing in things] == [False, False, True, False, False]
    kept.put(1, things[4])
    assert things[1].retired
    assert (len(kept), kept.cost) == (3, 3)
    kept.pop(0)
    assert things[0].retired


async def test_the_last_one_stays_whatever_it_costs(making: Making) -> None:
    kept: Kept[int, Thing] = Kept(making, 3)
    small, large = Thing(making.room), Thing(making.room, cost=50)
    kept.put(1, small)
    kept.put(2, large)
    assert (small.retired, large.retired, large.users) == (True, False, 0)


async def test_room_is_made_of_what_nobody_uses(making: Making) -> None:
    kept: Kept[int, Thing] = Kept(making, 100)
    others: Kept[str, Thing] = Kept(making, 100)
    things = [Thing(making.room) for _ in range(5)]
    for key, thing in enumerate(things):
        kept.put(key, thing)
    held = Thing(making.room, 40)
    held.users = 1
    others.put("held", held)

    async def make(size: int) -> Thing:
        return Thing(making.room, size)

    made = await making.with_room(lambda: make(45))
    assert (made.size, held.retired) == (45, False)
    assert any(thing.retired for thing in things)
    with pytest.raises(NoSpace):
        await making.with_room(lambda: make(61))
