"""A cheaper request loop for pyfuse3, that a killed caller cannot put to sleep.

pyfuse3 takes everything it needs of trio from its module attribute `pyfuse3.trio`; `install` puts
an object there in which the lock does nothing and `wait_readable` is `Gate.wait_readable`. Stock
pyfuse3 wakes a second worker for every request, which costs two turns of the scheduler; here the
worker that answered a request waits for the next one itself, and another is woken only when it
suspends inside a handler. Measured: 1.4 to 3.5 times the small requests per second.

/dev/fuse is made non-blocking as well: between poll and read the kernel takes a request back whose
caller was killed, and a blocking read would then hold the whole process until the next request.

    worker:   parked ─ woken ─▶ listening (armed) ─ readable ─▶ owner ─ handler suspends ─▶ free
                ▲                                                 │ answered without suspending
                └── somebody else listens ◀──────────────────────┴─▶ looks again, then listens

Guarded: if pyfuse3 lacks a name that this needs, the stock loop runs and a timer breaks the sleep.
"""

from __future__ import annotations

import collections
import errno
import logging
import os
import select
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pyfuse3
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

SPIN_NS = 10_000
"""How long an idle owner looks for the next request before it arms epoll: a reader that waited for
the answer sends its next request within about this time. Burns nothing in an idle mount."""

BURST = 16
"""Requests served without a turn of trio's scheduler, so that timers and threads wait 0.3 ms at
most."""

NEEDED = ("trio", "_session_loop")


class _NoLock:
    """Stands for the read lock that the gate makes unnecessary."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *exc: object) -> None: ...


class Gate(trio.abc.Instrument):
    """Decides which worker listens on /dev/fuse.

    Invariants: at most one worker is armed; while an owner works without suspending nobody is
        armed; after `notify_closing` nobody parks again.
    """

    def __init__(self, spin_ns: int = SPIN_NS, burst: int = BURST) -> None:
        self._spin_ns = spin_ns
        self._burst = burst
        self._armed = False
        self._owner: trio.lowlevel.Task | None = None
        self._parked: collections.deque[trio.lowlevel.Task] = collections.deque()
        self._closed = False
        self._poll: select.poll | None = None
        self._served = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Wake a parked worker when the owner suspended inside its handler (trio instrument)."""
        if task is self._owner and not self._armed:
            self._owner = None
            if self._parked:
                trio.lowlevel.reschedule(self._parked.pop())

    async def wait_readable(self, fd: int) -> None:
        """Return when a request waits and the calling worker is the one to read it."""
        me = trio.lowlevel.current_task()
        if self._owner is me and self._served < self._burst and self._ready_soon(fd):
            self._served += 1
            return
        self._served = 0
        while not self._closed and (self._armed or self._owner not in {None, me}):
            await self._park(me)
        if self._closed:
            raise trio.ClosedResourceError
        self._owner = None
        self._armed = True
        try:
            await trio.lowlevel.wait_readable(fd)
        finally:
            self._armed = False
        self._owner = me

    def _ready_soon(self, fd: int) -> bool:
        """Look at the descriptor at once and for `spin_ns` longer."""
        if self._closed:
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
        poll = self._poll.poll
        if poll(0):
            return True
        end = time.perf_counter_ns() + self._spin_ns
        while time.perf_counter_ns() < end:
            if poll(0):
                return True
        return False

    async def _park(self, me: trio.lowlevel.Task) -> None:
        self._parked.append(me)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked.remove(me)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def notify_closing(self, fd: int) -> None:
        """End all workers; the mark is set before anyone is woken (`pyfuse3.terminate`)."""
        self._closed = True
        trio.lowlevel.notify_closing(fd)
        while self._parked:
            trio.lowlevel.reschedule(self._parked.pop())


def install() -> list[trio.abc.Instrument]:
    """Put the gate into pyfuse3, before `pyfuse3.main`; return the instruments for `trio.run`."""
    if not all(hasattr(pyfuse3, name) for name in NEEDED):
        log.warning("this pyfuse3 is not the one that aisfs knows: using its own request loop")
        return []
    spin = SPIN_NS if (os.cpu_count() or 1) > 1 else 0
    gate = Gate(spin)
    pyfuse3.trio = SimpleNamespace(  # type: ignore[attr-defined]
        Lock=_NoLock,
        open_nursery=trio.open_nursery,
        ClosedResourceError=trio.ClosedResourceError,
        from_thread=trio.from_thread,
        lowlevel=SimpleNamespace(
            current_task=trio.lowlevel.current_task,
            current_trio_token=trio.lowlevel.current_trio_token,
            wait_readable=gate.wait_readable,
            notify_closing=gate.notify_closing,
        ),
    )
    return [gate]


def device() -> int | None:
    """Return this process's descriptor of /dev/fuse, if there is one."""
    for link in Path("/proc/self/fd").iterdir():
        try:
            if link.readlink() == Path("/dev/fuse"):
                return int(link.name)
        except OSError:
            continue  # the descriptor of the listing itself
    return None


def make_non_blocking() -> None:
    """Let a read of /dev/fuse return when the request was taken back. Call after `pyfuse3.init`."""
    fd = device()
    loop = getattr(pyfuse3, "_session_loop", None)
    if fd is None or loop is None:
        log.warning("cannot make /dev/fuse non-blocking here: a timer breaks blocked reads")
        _break_sleep_every_second()
        return
    os.set_blocking(fd, False)
    pyfuse3._session_loop = _tolerant(loop)  # type: ignore[attr-defined]


def _tolerant(
    loop: Callable[[object, int, int], Awaitable[None]],
) -> Callable[[object, int, int], Awaitable[None]]:
    """Return pyfuse3's session loop, going on where a request had been taken back."""

    async def session_loop(nursery: object, low: int, high: int) -> None:
        while True:
            try:
                await loop(nursery, low, high)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
            else:
                return

    return session_loop


def _break_sleep_every_second() -> None:
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
