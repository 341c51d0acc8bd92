"""SDK calls in worker threads, each within one deadline.

Serves `aistore` and what it is made of. A call that is cancelled is told so through its deadline
and abandoned. Bodies keep to the mount's pace.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

import trio

from aisfs.kernel_request import Wait, waiting
from aisfs.store.failures import told_as_fs_error
from aisfs_sdk import deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.store.pace import Pace

T = TypeVar("T")

CALL_DEADLINE_S = 25.0
"""Seconds for one control call with all its retries: below the 30 s at which a kernel with
`fs.fuse.max_request_timeout` aborts the connection."""


STOP_LIMIT_S = 5.0
"""Longest that who was cancelled waits until what he began has ended."""

COPIED_IN_A_SECOND = 16 << 20
"""Bytes that a cluster at least copies of an object that is appended to, silently: one of three
targets on two cores, which other work shared, took 6 s for 1 GiB."""


def copying_limit_s(size: int) -> float:
    """Return how long a cluster may work silently on an object of `size` bytes."""
    return CALL_DEADLINE_S + size / COPIED_IN_A_SECOND


class Threads:
    """Runs calls, at most so many at a time, and at a mount's pace: each counts as one request.

    Attributes:
        limiter: of those for which the caller names none.
    """

    def __init__(self, most: int, pace: Pace) -> None:
        self.limiter = trio.CapacityLimiter(most)
        self._pace = pace

    async def call(
        self,
        doing: str,
        work: Callable[[], T],
        seconds: float | None = None,
        limiter: trio.CapacityLimiter | None = None,
    ) -> T:
        """Run SDK calls in a thread, within one deadline.

        Args:
            doing: what is attempted, for the error's text.
            work: the calls; runs in the thread.
            seconds: None for a body whose progress the idle timeout bounds.
            limiter: None for that of all calls.
        """
        cancelled = threading.Event()

        def run() -> T:
            pace = self._pace.let_pass_in_thread
            with deadline(seconds, cancelled, pace), told_as_fs_error(doing):
                return work()

        if self._pace.holds:
            await self._pace.let_pass()
        try:
            with waiting(Wait.CLUSTER):
                return await trio.to_thread.run_sync(
                    run, limiter=limiter or self.limiter, abandon_on_cancel=True
                )
        except trio.Cancelled:
            cancelled.set()
            raise
