"""What views make once for all who want it: indexes of shards, and outputs of transformers.

Serves `shards` and `outputs`. Each is made by a task of the mount's own, for whoever asks may be
killed or run out of patience, and others wait for the same. What is unpacked or transformed shares
one room; what nobody has open is given up for what somebody wants.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import trio

from aisfs.errors import Busy, FsError, IoFailure, NoSpace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from aisfs.archives.spool import Room

log = logging.getLogger(__name__)

WAIT_S = 26.0
"""Longest that somebody waits, as for what other control files tell: nobody can kill a program that
waits in `open`. The work goes on, and who asks again finds what it made."""

T = TypeVar("T")


class Made(Protocol):
    """What was made, with what it takes."""

    users: int

    @property
    def cost(self) -> int:
        """What it counts as, beside others of its kind."""

    def retire(self) -> None:
        """Close it with its last user; nobody finds it any more."""


M = TypeVar("M", bound=Made)
K = TypeVar("K", bound="Hashable")


@dataclass(slots=True, eq=False)
class _Task:
    over: trio.Event = field(default_factory=trio.Event)
    error: FsError | None = None


class Making:
    """The tasks, and the room that their work shares. Belongs to the loop.

    Attributes:
        kept: all that was made, of each kind.
    """

    def __init__(self, nursery: trio.Nursery, room: Room) -> None:
        self.room = room
        self.kept: list[Kept[Hashable, Made]] = []
        self._nursery = nursery
        self._tasks: dict[Hashable, _Task] = {}

    async def once(self, key: Hashable, doing: str, work: Callable[[], Awaitable[None]]) -> None:
        """Have something made, by the task that may be at it already.

        Raises:
            Busy: it takes long, and goes on.
            FsError: what the work raised, with what was attempted.
        """
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = _Task()
            self._nursery.start_soon(self._run, key, doing, work, task)
        with trio.move_on_after(WAIT_S):
            await task.over.wait()
        if task.error is not None:
            raise type(task.error)(str(task.error))
        if not task.over.is_set():
            raise Busy(f"{doing} takes long and goes on: try again later")

    async def _run(
        self, key: Hashable, doing: str, work: Callable[[], Awaitable[None]], task: _Task
    ) -> None:
        try:
            await work()
        except FsError as error:
            task.error = type(error)(f"{doing}: {error}")
        except Exception as error:  # a bug must not end the mount
            task.error = IoFailure(f"{doing}: {error!r}")
            log.exception("%s", doing)
        finally:
            del self._tasks[key]
            task.over.set()

    async def with_room(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what may take of the room, again with more of it if there is not enough.

        Raises:
            NoSpace: nor is there when what nobody has open was given up.
        """
        try:
            return await work()
        except NoSpace:
            used = self.room.used
            while self.room.used > self.room.spool // 2 and any(k.drop_one() for k in self.kept):
                pass
            if self.room.used == used:
                raise
            return await work()


class Kept(Generic[K, M]):
    """What was made of one kind, least recently used first.

    Args:
        making: whose room it takes.
        most: sum of what they cost; the one that came last stays, whatever it costs.
    """

    def __init__(self, making: Making, most: int) -> None:
        self._most = most
        self._made: OrderedDict[K, M] = OrderedDict()
        making.kept.append(self)  # type: ignore[arg-type]  # only `drop_one` is used

    def __len__(self) -> int:
        return len(self._made)

    @property
    def cost(self) -> int:
        """What all of them count as."""
        return sum(each.cost for each in self._made.values())

    def get(self, key: K) -> M | None:
        """Return one, as used just now."""
        made = self._made.get(key)
        if made is not None:
            self._made.move_to_end(key)
        return made

    def put(self, key: K, made: M) -> None:
        """Keep one, instead of the one with its key, and of those that were used longest ago."""
        self.pop(key)
        self._made[key] = made
        made.users += 1
        while self.cost > self._most and self.drop_one():
            pass
        made.users -= 1

    def pop(self, key: K) -> None:
        """Let nobody else find one."""
        made = self._made.pop(key, None)
        if made is not None:
            made.retire()

    def drop_unused(self) -> None:
        """Give up all that are not in use."""
        while self.drop_one():
            pass

    def drop_one(self) -> bool:
        """Give up the one that was used longest ago and is not in use; tell if there is one."""
        key = next((key for key, made in self._made.items() if not made.users), None)
        if key is None:
            return False
        self.pop(key)
        return True
