"""One request of the kernel: what the log says of it, and what it has waited for.

Serves `fuse/operations`, which makes one `current` for each request, and `logs`; whoever keeps a
request waiting says so with `waiting`, so that a slow one can be explained.

One is made on the way of everything that memory answers, most of which never logs or waits. So it
starts as the list `[handler, operations, first argument]`, which costs a sixth of an instance of a
class (measured: 0.05 and 0.3 us), and becomes a `Request` when somebody looks at it (`of`).
"""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

current: ContextVar[object] = ContextVar("request", default=None)
"""What the running task works on, as `of` takes it; None outside of requests."""

_numbers = itertools.count(1)


class Wait(Enum):
    """What a request waits for; the value stands in the log."""

    CLUSTER = "for the cluster"
    STREAM = "for bytes that are on their way"
    DISK = "for the cache on disk"
    STAGING = "for room in staging"


class Handler(NamedTuple):
    """What answers requests of one kind.

    Attributes:
        name: of the operation.
        word: what its first argument is: `ino`, `parent`, `fh`, or "" for something else.
    """

    name: str
    word: str


class Handles(Protocol):
    """Knows the kernel's handles."""

    def inode_of(self, handle: int) -> int:
        """Return the inode of a handle; 0 if there is no such handle."""


class Request:
    """One request that is looked at.

    Attributes:
        number: the log tells requests apart by it.
        handler: what answers it.
        first: the handler's first argument.
    """

    def __init__(self, handler: Handler, handles: Handles, first: object) -> None:
        self.number = next(_numbers)
        self.handler = handler
        self.first = first if isinstance(first, int) else 0
        self._handles = handles
        self._waits: dict[Wait, _Waiting] = {}

    @property
    def place(self) -> dict[str, int]:
        """The inode that it is about, `ino`, or that of the directory, `parent`; {} for none."""
        word, ino = self.handler.word, self.first
        if word == "fh":
            word, ino = "ino", self._handles.inode_of(self.first)
        return {word: ino} if word and ino else {}

    def __str__(self) -> str:
        words = [str(self.number), self.handler.name]
        return " ".join([*words, *(f"{word}={ino}" for word, ino in self.place.items())])

    @contextmanager
    def waiting(self, what: Wait) -> Iterator[None]:
        """Count the time of the block; several at once are one wait."""
        wait = self._waits.setdefault(what, _Waiting())
        wait.begin()
        try:
            yield
        finally:
            wait.end()

    def waits(self) -> dict[Wait, float]:
        """Return the seconds that it waited for each, until now."""
        return {what: wait.seconds for what, wait in self._waits.items()}


class _Waiting:
    """Time that somebody, or several at once, wait for one thing."""

    def __init__(self) -> None:
        self._waiters = 0
        self._since = 0.0
        self._ended = 0.0

    def begin(self) -> None:
        if self._waiters == 0:
            self._since = time.monotonic()
        self._waiters += 1

    def end(self) -> None:
        self._waiters -= 1
        if self._waiters == 0:
            self._ended += time.monotonic() - self._since

    @property
    def seconds(self) -> float:
        """How long, those included who wait now."""
        return self._ended + (time.monotonic() - self._since if self._waiters else 0.0)


def of(started: object) -> Request | None:
    """Return the request that a value of `current` stands for, the same one each time."""
    if not isinstance(started, list):
        return None
    if not isinstance(started[0], Request):
        started[0] = Request(*started)
    request = started[0]
    assert isinstance(request, Request)
    return request


@contextmanager
def waiting(what: Wait) -> Iterator[None]:
    """Say what the request that runs here waits for, if there is one."""
    request = of(current.get())
    if request is None:
        yield
    else:
        with request.waiting(what):
            yield
