"""What happens in a mount, told as it happens to whoever reads `.aisfs/events`.

Serves `assembly`, which hands one `Events` to the parts that have something to tell, and
`vfs/control_tree`. An event is a line of fields between tabs: when, of what kind, and facts as
`key=value`, in which control characters, backslashes and what is not ASCII are written as Python
and C do. Nothing is made or kept while nobody listens.

    tell ─▶ a line ─▶ the queue of each listener ─▶ its reads, a line each

A reader is never told that the file ends before the mount does: `cat` and `while read` would end
with it. After a quiet time it gets a line of the kind `quiet` instead, for no request of the kernel
may wait for ever. Each line is a read of its own, so that who reads only so far loses nothing.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from aisfs.control.files import StreamFile, escaped
from aisfs.control.waits import LOOK_S, PATIENCE_S, is_gone, is_told_to_end
from aisfs.errors import Busy, Interrupted, WouldBlock, errno_name

if TYPE_CHECKING:
    from aisfs.control.files import Caller
    from aisfs.errors import FsError
    from aisfs.store.cluster_facts import Members

MOST_LISTENERS = 16
"""Each keeps a queue, and one of the kernel's requests while it waits."""

KEPT_BYTES = 256 << 10
"""Of lines that one listener has not read yet."""

LONGEST_VALUE = 4096
"""Characters of a fact that are told; commands and the cluster's words may be longer."""

UNWATCHED_S = 1.0
"""Longest wait of a reader whose signals cannot be seen: the program that opened the file for it
has ended, or belongs to another namespace."""


class Events:
    """Tells those who listen what a mount does. Belongs to the loop."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._listened = trio.Event()
        self._members: Members | None = None
        self.over = False

    def tell(self, kind: str, /, **facts: object) -> None:
        """Tell all listeners of an event; costs nothing while there is none.

        Args:
            kind: one word.
            facts: what is true of it, by one word each.
        """
        if self._listeners:
            line = line_of(kind, facts)
            for listener in self._listeners:
                listener.take(line)

    def end(self) -> None:
        """Let readers come to the end of the file once they have read what was told so far."""
        self.over = True
        for listener in self._listeners:
            listener.wake()

    async def listened(self) -> None:
        """Return when there is somebody who listens."""
        await self._listened.wait()

    # -- what several parts tell

    def upload(self, url: str, failure: FsError | None) -> None:
        """Tell that an object could not be stored, or, with no failure, that it is stored now."""
        if failure is None:
            self.tell("stored", object=url)
        else:
            self.tell("failed", object=url, error=errno_name(failure.errno), message=failure)

    def members(self, now: Members) -> None:
        """Tell what is another in a newer cluster map than in the last one that came here."""
        before, self._members = self._members, now
        if before is None or before.version == now.version:
            return
        gateways, targets = len(now.gateways), len(now.targets)
        self.tell("map", version=now.version, gateways=gateways, targets=targets)
        for role, old, new in (
            ("gateway", before.gateways, now.gateways),
            ("target", before.targets, now.targets),
        ):
            for node in sorted(old ^ new):
                self.tell("node", id=node, role=role, state="left" if node in old else "joined")

    # -- who listens

    def file(self) -> StreamFile:
        """Return the control file in which it is told."""
        return StreamFile("events", self.listen, private=True)

    def listen(self, caller: Caller, *, waits: bool = True) -> Listener:
        """Return what is told from now on.

        Args:
            caller: who reads.
            waits: a read with nothing to tell waits instead of failing.

        Raises:
            Busy: too many do.
        """
        if len(self._listeners) >= MOST_LISTENERS:
            raise Busy(f"events are read by {MOST_LISTENERS} others: end one of them")
        listener = Listener(self, caller.pid, waits=waits)
        self._listeners.add(listener)
        self._listened.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """Tell a listener nothing more."""
        self._listeners.discard(listener)
        if not self._listeners:
            self._listened = trio.Event()


class Listener:
    """One handle on the events, and the lines that it has not read yet.

    Invariant: at most `KEPT_BYTES` of lines wait; of the oldest, which had to go, the number stays.
    """

    def __init__(self, events: Events, pid: int, *, waits: bool) -> None:
        self._events = events
        self._pid = pid
        self._waits = waits
        self._lines: deque[bytes] = deque()
        self._kept = 0
        self._lost = 0
        self._rest = b""
        self._reading = False
        self._woken = trio.Event()

    def take(self, line: bytes) -> None:
        """Keep a line until it is read."""
        self._lines.append(line)
        self._kept += len(line)
        while self._kept > KEPT_BYTES:
            self._kept -= len(self._lines.popleft())
            self._lost += 1
        self.wake()

    def wake(self) -> None:
        """Let a read look again at what there is."""
        self._woken.set()

    async def read(self, size: int) -> bytes:
        """Return the next line, or as much of it as fits; the rest comes with the next reads.

        POSIX: read(2) of a pipe; "" at the end of the mount only.

        Raises:
            WouldBlock: there is none, and the reader does not wait.
            Interrupted: the reader is told to end.
            Busy: another read of the handle waits.
        """
        if self._reading:
            raise Busy("another read of this open file waits for events: open it once for each")
        if not self._rest:
            self._reading = True
            try:
                self._rest = await self._next()
            finally:
                self._reading = False
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    async def _next(self) -> bytes:
        if not self._there:
            if not self._waits:
                raise WouldBlock("nothing has happened since the last read")
            await self._wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            return line_of("lost", {"events": lost})
        if self._lines:
            line = self._lines.popleft()
            self._kept -= len(line)
            return line
        return b"" if self._events.over else line_of("quiet", {})

    @property
    def _there(self) -> bool:
        return bool(self._lost or self._lines or self._events.over)

    async def _wait(self) -> None:
        """Wait until there is something, as long as the reader can be kept.

        Raises:
            Interrupted: it is told to end.
        """
        watched = self._pid != 0 and not is_gone(self._pid)
        end = trio.current_time() + (PATIENCE_S if watched else UNWATCHED_S)
        self._woken = trio.Event()
        while trio.current_time() < end:
            with trio.move_on_after(LOOK_S):
                await self._woken.wait()
                return
            if watched and is_told_to_end(self._pid):
                raise Interrupted("waiting for events was interrupted")

    def close(self) -> None:
        """Listen no more."""
        self._events.leave(self)


def line_of(kind: str, facts: dict[str, object]) -> bytes:
    """Return an event's line, of now."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields = (f"{key}={_shown(value)}" for key, value in facts.items())
    return ("\t".join((now, kind, *fields)) + "\n").encode("ascii")


def _shown(value: object) -> str:
    text = str(value)
    if len(text) > LONGEST_VALUE:
        text = text[:LONGEST_VALUE] + "..."
    return escaped(text)
