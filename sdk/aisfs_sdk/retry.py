"""Deadlines that callers hand down, and how often a request is repeated within them.

A deadline belongs to the code that runs inside `with deadline(...)`, on its own thread (and in
tasks or threads that copy its context). Every request in there, with all its repetitions and waits,
ends by then. A nested deadline can only be earlier.

Without one, a control call has 60 s in all; the body of an object has no limit on its total time,
only on the time without progress.
"""

from __future__ import annotations

import contextlib
import random
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisfs_sdk import const

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """How a request that may be repeated is repeated.

    Attributes:
        attempts: tries in all, at least 1.
        first_wait_s: before the second try; doubled before each further one.
        max_wait_s: longest of these waits.
    """

    attempts: int = 3
    first_wait_s: float = 0.1
    max_wait_s: float = 2.0

    def wait_s(self, failures: int) -> float:
        """Return how long to wait after that many failures, in seconds.

        The wait is drawn from the upper half of its span, so that clients which failed together
        do not come back together.
        """
        longest = min(self.max_wait_s, self.first_wait_s * 2.0 ** (failures - 1))
        return longest * random.uniform(0.5, 1.0)


class Deadline:
    """A point in monotonic time, and perhaps an event that ends waiting before it.

    Attributes:
        cancelled: set by somebody else to end waits between tries at once.
        pace: called before each piece of a body that is sent, with the bytes that are ready; waits,
            and returns how many of them may go. Of what is received it is called afterwards, until
            all of it has passed.
    """

    __slots__ = ("_end", "cancelled", "pace")

    def __init__(
        self,
        seconds: float | None,
        cancelled: threading.Event | None = None,
        pace: Callable[[int], int] | None = None,
    ) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self.cancelled = cancelled
        self.pace = pace

    def remaining_s(self) -> float | None:
        """Return the seconds that are left (0 when it is over), None without a limit."""
        if self._end is None:
            return None
        return max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether nothing more may be started."""
        if self.cancelled is not None and self.cancelled.is_set():
            return True
        return self._end is not None and time.monotonic() >= self._end

    def limit(self, timeout_s: float | None) -> float | None:
        """Return the smaller of a timeout and what is left; None is no limit.

        Never 0, which sockets take for "do not wait": a deadline that is over gives 1 ms.
        """
        left = self.remaining_s()
        if left is None:
            return timeout_s
        left = max(left, 0.001)
        return left if timeout_s is None else min(timeout_s, left)

    def pause(self, seconds: float) -> bool:
        """Wait, and tell whether the deadline still stands.

        Returns at once, with False, if the wait would outlast the deadline.
        """
        left = self.remaining_s()
        if left is not None and seconds >= left:
            return False
        if self.cancelled is not None:
            return not self.cancelled.wait(seconds)
        time.sleep(seconds)
        return True

    def let_pass(self, size: int) -> int:
        """Wait until some of `size` bytes of a body may be sent, and return how many.

        Who waits to keep to a pace has his deadline put off by as long.
        """
        if self.pace is None:
            return size
        began = time.monotonic()
        some = self.pace(size)
        if self._end is not None:
            self._end += time.monotonic() - began
        return some

    def have_passed(self, size: int) -> None:
        """Wait until `size` bytes of a body that came have passed; see `let_pass`."""
        while self.pace is not None and size:
            size -= self.let_pass(size)

    def _earlier(self, other: Deadline) -> Deadline:
        """Return a deadline that is over as soon as one of both is."""
        joined = Deadline(None, self.cancelled or other.cancelled, self.pace or other.pace)
        ends = [end for end in (self._end, other._end) if end is not None]
        joined._end = min(ends, default=None)
        return joined


_current: ContextVar[Deadline | None] = ContextVar("aisfs_sdk_deadline", default=None)


@contextlib.contextmanager
def deadline(
    seconds: float | None,
    cancelled: threading.Event | None = None,
    pace: Callable[[int], int] | None = None,
) -> Iterator[Deadline]:
    """Bound every request made inside the block.

    Args:
        seconds: for all of them together; None removes the default of 60 s, but not the deadline of
            a block around this one.
        cancelled: ends waits between tries when it is set; what is on the wire then runs into its
            own timeouts.
        pace: keeps bodies to a pace that are sent, or asked for, inside the block; see `Deadline`.
    """
    mine = Deadline(seconds, cancelled, pace)
    outer = _current.get()
    token = _current.set(mine if outer is None else mine._earlier(outer))
    try:
        yield _current.get() or mine
    finally:
        _current.reset(token)


def current(default_s: float | None = const.DEFAULT_DEADLINE_S) -> Deadline:
    """Return the deadline that holds here.

    Args:
        default_s: seconds to use where no caller set one.
    """
    return _current.get() or Deadline(default_s)
