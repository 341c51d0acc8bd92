"""What the cluster lacks and is sent in the background: what failed, and what was promised.

Serves `vfs/storing` and `assembly`. Most are staged files; deletions and renames of directories
that the cluster did not let us end are parcels, too. Oldest first, by a few workers. A parcel that
was refused waits for a pause of its own, which doubles; while the cluster does not answer, all
wait.

    add ─▶ waiting ─ its turn ─▶ being sent ─ stored ─▶ gone
              ▲                      │ refused: after its pause
              └──────────────────────┘ no answer: after everybody's pause
"""

from __future__ import annotations

import heapq
import itertools
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from aisfs.errors import Busy, FsError, IoFailure, TimedOut, Unreachable
from aisfs.metrics import UPLOADS
from aisfs.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

WORKERS = 4
"""Parcels that are sent at a time: a PUT fills the network, more of them hide only its ends."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


@dataclass(slots=True, eq=False)
class Parcel:
    """One staged file that is to be stored, or what else is owed.

    Attributes:
        size: its bytes; None if it is no file.
        send: stores it; returns when the cluster has it, or when there is nothing to do any more.
        failure: why it is not stored; None if it only waits.
        due_at: when it is its turn again, in the clock of `trio.current_time`.
        turn: which of the turns that it got is valid.
        handled: set when nobody is sending it; None while nobody ever did.
    """

    size: int | None
    send: Callable[[], Awaitable[object]]
    failure: FsError | None = None
    due_at: float = float("-inf")
    pause_s: float = FIRST_PAUSE_S
    turn: int = -1
    handled: trio.Event | None = field(default=None)

    @property
    def in_hand(self) -> bool:
        """Whether somebody is sending it."""
        return self.handled is not None and not self.handled.is_set()

    def postpone(self) -> None:
        """Wait twice as long as the last time."""
        self.due_at = trio.current_time() + self.pause_s
        self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)


class Outbox:
    """All parcels of a mount, oldest first, by the names of their staged files or of their own."""

    def __init__(self) -> None:
        self._parcels: dict[str, Parcel] = {}
        self._turns: list[tuple[float, int, str, Parcel]] = []  # a heap; outdated ones are skipped
        self._numbers = itertools.count()
        self._changed = trio.Event()
        self._resume_at = float("-inf")
        self._pause_s = FIRST_PAUSE_S
        self._running = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._parcels)

    def add(
        self,
        data: str,
        size: int | None,
        send: Callable[[], Awaitable[object]],
        failure: FsError | None = None,
    ) -> None:
        """Take a staged file, or what else is owed (no size), or note what became of it."""
        parcel = self._parcels.get(data)
        if parcel is None:
            parcel = self._parcels[data] = Parcel(size, send)
        if failure is not None and parcel.failure is None and not parcel.in_hand:
            parcel.postpone()  # once: who only repeats it must not keep it from being sent
        parcel.size, parcel.failure = size, failure
        self._line_up(data, parcel)

    def remove(self, data: str) -> None:
        """Forget a staged file that is stored or given up."""
        self._parcels.pop(data, None)

    def figures(self) -> dict[str, int]:
        """Return how many files wait and have failed, the bytes of both, and what else is owed."""
        sizes = [parcel.size for parcel in self._parcels.values() if parcel.size is not None]
        failed = sum(
            parcel.failure is not None and parcel.size is not None
            for parcel in self._parcels.values()
        )
        return {
            "unsent.queued": len(sizes) - failed,
            "unsent.failed": failed,
            "unsent.bytes": sum(sizes),
            "unsent.other": len(self._parcels) - len(sizes),
        }

    def _line_up(self, name: str, parcel: Parcel) -> None:
        """Give a parcel its turn, in place of the one that it had."""
        parcel.turn = next(self._numbers)
        heapq.heappush(self._turns, (parcel.due_at, parcel.turn, name, parcel))
        self._wake()

    def _first(self) -> tuple[float, str, Parcel] | None:
        """Return whose turn is next, and when."""
        while self._turns:
            due_at, turn, name, parcel = self._turns[0]
            if self._parcels.get(name) is parcel and parcel.turn == turn and not parcel.in_hand:
                return due_at, name, parcel
            heapq.heappop(self._turns)
        return None

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # -- sending

    async def run(self) -> None:
        """Send what is there and what comes, until stopped."""
        with self._running:
            async with trio.open_nursery() as nursery:
                for _ in range(WORKERS):
                    nursery.start_soon(self._work)

    def stop(self) -> None:
        """Send nothing more; what is under way is given up, and stays."""
        self._running.cancel()

    async def _work(self) -> None:
        while True:
            first = self._first()
            due_at = float("inf") if first is None else max(first[0], self._resume_at)
            if first is not None and due_at <= trio.current_time():
                await self._send(*first[1:])
                continue
            with trio.CancelScope(deadline=due_at):
                await self._changed.wait()

    async def _send(self, name: str, parcel: Parcel) -> None:
        """Send one parcel; a failure is told by who sends, and kept here."""
        parcel.handled = trio.Event()
        UPLOADS.retries += parcel.failure is not None
        try:
            await parcel.send()
        except FsError as error:
            parcel.failure = error
            parcel.postpone()
            if isinstance(error, (Unreachable, TimedOut, Busy)):
                self._resume_at = trio.current_time() + self._pause_s
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        except Exception as error:  # a bug must not end the mount, nor lose the parcel
            log.exception("sending %s", name)
            parcel.failure = IoFailure(f"an error in aisfs itself: {error!r}")
            parcel.postpone()
        else:
            self._pause_s = FIRST_PAUSE_S
            if self._parcels.get(name) is parcel:  # else a later content took its place
                del self._parcels[name]
        finally:
            parcel.handled.set()
            if self._parcels.get(name) is parcel:
                self._line_up(name, parcel)

    async def send_now(self, data: str) -> FsError | None:
        """Send one parcel without waiting for its turn, and return what kept it, if anything."""
        parcel = self._parcels.get(data)
        while parcel is not None and parcel.in_hand:
            assert parcel.handled is not None
            await parcel.handled.wait()
            parcel = self._parcels.get(data)
        if parcel is not None:
            await self._send(data, parcel)
        return parcel.failure if parcel is not None and data in self._parcels else None

    async def send_all(self) -> None:
        """Try everything once more, whatever pause it is in; what fails stays."""

        async def send(name: str) -> None:
            await self.send_now(name)

        await for_each(list(self._parcels), send, WORKERS)
