"""How fast a mount may use its cluster: caps on the bytes and on the requests of a second.

Serves the ways to the cluster: `threads`, `loop_client` and `reader_source`. All wait in the event
loop, also those who are in threads, so that all stand in one queue and no lock is needed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

_BURST_S = 0.1
"""Seconds of which the unused rest may be used later: enough to make up for a late wake-up."""

_STEP_S = 0.05
"""Seconds that a piece of a long body, or requests that are sent together, take from the others."""

_LEAST_STEP = 16 << 10

_EXACT_S = 1e-6
"""Seconds that are not worth waiting for: less than what floating point loses."""


class Cap:
    """Lets so many units pass in a second, first come, first served: a token bucket with debts.

    Whoever finds nothing owed passes, whatever he takes; the next one waits until that is paid. So
    what passes at once may be more than the bucket can hold.

    Attributes:
        rate: units in a second; 0: there is no limit.
    """

    def __init__(self, rate: float = 0.0) -> None:
        self.rate = rate
        self._saved = 0.0  # below 0: owed
        self._counted_at = float("-inf")
        self._turn = trio.Lock()  # hands itself on in the order of arrival
        self._changed = trio.Event()

    def change(self, rate: float) -> None:
        """Let another rate hold from now on, also for those who wait already."""
        if self.rate:
            self._count()
        else:
            self._saved, self._counted_at = 0.0, trio.current_time()
        self.rate = rate
        self._changed.set()
        self._changed = trio.Event()

    async def take(self, amount: float) -> None:
        """Wait until it is one's turn and nothing is owed; then owe `amount`.

        Cancelled, it has taken nothing.
        """
        async with self._turn:
            while self.rate and (wait_s := self._owed_s()) > _EXACT_S:
                with trio.move_on_after(wait_s):
                    await self._changed.wait()
            self._saved -= amount

    def _owed_s(self) -> float:
        self._count()
        return -self._saved / self.rate

    def _count(self) -> None:
        """Add what the time since the last count allows."""
        now = trio.current_time()
        earned = (now - self._counted_at) * self.rate
        self._saved = min(self._saved + earned, self.rate * _BURST_S)
        self._counted_at = now


class Pace:
    """Both caps of one mount.

    Args:
        rate: bytes in a second, of both directions; 0: no limit.
        requests: requests in a second; 0: no limit.
    """

    def __init__(self, rate: int = 0, requests: int = 0) -> None:
        self._bytes = Cap(rate)
        self._requests = Cap(requests)

    def change(self, rate: int, requests: int) -> None:
        """Let other caps hold from now on."""
        self._bytes.change(rate)
        self._requests.change(requests)

    @property
    def holds(self) -> bool:
        """Whether anybody may have to wait."""
        return bool(self._bytes.rate or self._requests.rate)

    async def let_pass(self, size: int = 0, requests: int = 1) -> None:
        """Wait until requests may be sent that move `size` bytes in all."""
        if self._requests.rate:
            await self._requests.take(requests)
        if size and self._bytes.rate:
            await self._bytes.take(size)

    def turn(self, sizes: Iterable[int]) -> int:
        """Return how many requests, which move so many bytes each, may be sent together.

        At least one, if there is one; no more than others can wait for.
        """
        most_bytes = self._bytes.rate * _STEP_S or math.inf
        most = self._requests.rate * _STEP_S or math.inf
        count = moved = 0
        for size in sizes:
            moved += size
            if count and (count + 1 > most or moved > most_bytes):
                break
            count += 1
        return count

    def let_pass_in_thread(self, size: int) -> int:
        """Wait, in a thread of trio's, until a piece of a body may pass.

        Returns:
            How many of the `size` bytes may, at least 1; little, so that others have their turn.
        """
        rate = self._bytes.rate
        if not rate:
            return size
        piece = min(size, max(int(rate * _STEP_S), _LEAST_STEP))
        trio.from_thread.run(self._bytes.take, piece)
        return piece
