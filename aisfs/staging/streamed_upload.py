"""PUTs that run while their file is written (C15).

Serves `vfs`, which tells of each write, and `transfer`, which ends them. A file that is written in
order from its start is sent from its staged copy, so nothing of it is held in memory. The cluster
takes the object for stored only with the last chunk of the body, and that goes out in `finish`
alone: whatever happens before leaves the old object, or none.

    growing ── send_rest ─▶ all sent ── finish ─▶ stored
       │ bytes that went out are changed      │ the object was changed by others
       │ the writer pauses, the connection breaks
       └───────────────▶ given up ◀───────────┘     the commit makes a whole PUT instead
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError
from aisfs.store.interface import reader_of

if TYPE_CHECKING:
    from aisfs.staging.staged_file import StagedFile
    from aisfs.store.interface import BucketName, ObjectInfo, ObjectStore

log = logging.getLogger(__name__)

STEP = 1 << 20
"""Bytes that are waited for before more is sent: each step wakes a thread."""

PAUSE_S = 10.0
"""How long a writer may pause. AIS 5.0 lets readers and other writers of the object through, and
took a body that had paused for 40 s; but gateways and proxies in between have limits of their own,
and each PUT that waits holds a thread, a connection and a file at a target."""

LIMIT = 8
"""PUTs that run at once: more writers do not store faster."""

STARTS = 3
"""How often one file is sent from its start before its commits make whole PUTs: after a flush in
the middle everything has to go out again."""


class GaveUpError(Exception):
    """The body is not to be ended; the text says why."""


class _Feed:
    """How far a file may be sent: told by the loop, waited for by the thread that sends."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._end = 0
        self._wanted = 0
        self._size: int | None = None
        self._ended = False
        self._why = ""
        self._reached = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def advance(self, end: int) -> None:
        """Let bytes up to `end` go out."""
        with self._change:
            self._end = end
            if end >= self._wanted:
                self._change.notify()

    async def all_sent(self, size: int) -> None:
        """Let everything go out but the end, and wait until it did or was given up."""
        with self._change:
            self._end = self._size = size
            self._change.notify()
        await self._reached.wait()

    def end(self) -> None:
        """Let the body end."""
        with self._change:
            self._ended = True
            self._change.notify()

    def give_up(self, why: str) -> None:
        """Have the body cut."""
        with self._change:
            self._why = self._why or why
            self._change.notify()
        self._reached.set()

    def available(self, sent: int) -> int | None:
        """Wait until more can be sent; see `ObjectStore.put_growing`.

        Raises:
            GaveUpError: the body must not be ended.
        """
        until = time.monotonic() + PAUSE_S
        with self._change:
            self._wanted = sent + STEP
            while not self._why:
                if sent == self._size:
                    if self._ended:
                        return None
                    self._token.run_sync_soon(self._reached.set)
                    self._change.wait()
                    continue
                late = time.monotonic() >= until
                if self._end > sent and (late or self._size is not None):
                    return self._end
                if self._end >= self._wanted:
                    return self._end
                if late:
                    raise GaveUpError(f"nothing was written for {PAUSE_S:g} s")
                self._change.wait(until - time.monotonic())
            raise GaveUpError(self._why)


class StreamedUpload:
    """One PUT of a file that is being written.

    Attributes:
        given_up: whether it cannot be ended any more.
    """

    def __init__(self, store: ObjectStore, staged: StagedFile, bucket: BucketName, name: str):
        self._store = store
        self._bucket = bucket
        self._name = name
        self._source = reader_of(staged.fd)  # it may outlive the staged file
        self._feed = _Feed()
        self._over = trio.Event()
        self._stored: ObjectInfo | None = None
        self.given_up = False
        self._feed.advance(staged.in_order)

    async def run(self) -> None:
        """Send until the end or until it is given up; never fails."""
        try:
            with self._source:
                self._stored = await self._store.put_growing(
                    self._bucket, self._name, self._source, self._feed.available
                )
        except (FsError, GaveUpError) as error:
            log.info("%s is not stored while it is written: %s", self._name, error)
        finally:
            self.give_up("it has ended")
            self._over.set()

    def advance(self, end: int) -> None:
        """Take note that bytes up to `end` are there."""
        self._feed.advance(end)

    def give_up(self, why: str) -> None:
        """Never let the body end; the connection is cut."""
        self.given_up = True
        self._feed.give_up(why)

    def goes_to(self, bucket: BucketName | None, name: str) -> bool:
        """Tell whether this is the object that is stored: a file may have been renamed."""
        return self._bucket == bucket and self._name == name

    async def send_rest(self, size: int) -> bool:
        """Send all but the end of a body of `size` bytes, and tell whether that went well."""
        await self._feed.all_sent(size)
        return not self.given_up

    async def finish(self) -> ObjectInfo | None:
        """End the body and return what is stored; None if that is not known."""
        self._feed.end()
        await self._over.wait()
        return self._stored


class Streams:
    """Starts PUTs of files that are written in order.

    Args:
        store: where to.
        nursery: in which they run.
        after: bytes written in order after which one starts; 0: none ever does.
    """

    def __init__(self, store: ObjectStore, nursery: trio.Nursery, after: int) -> None:
        self._store = store
        self._nursery = nursery
        self._after = after
        self._running = 0

    def follow(self, staged: StagedFile, bucket: BucketName | None, name: str) -> None:
        """Take note of a write: start sending the file when it is worth it.

        Args:
            staged: the file.
            bucket: where it belongs.
            name: under which name.
        """
        if staged.stream is not None and not staged.stream.goes_to(bucket, name):
            staged.end_stream()
        if staged.parts is not None:
            return
        if staged.stream is not None or not 0 < self._after <= staged.in_order:
            return
        if bucket is None or staged.streams == STARTS or self._running == LIMIT:
            return
        if not self._store.compares(bucket):
            return  # without a checksum nobody could tell what arrived
        if staged.appended_from is not None and self._store.appends(bucket):
            return  # what is new goes behind what is stored
        staged.streams += 1
        staged.stream = StreamedUpload(self._store, staged, bucket, name)
        self._nursery.start_soon(self._run, staged.stream)

    async def _run(self, stream: StreamedUpload) -> None:
        self._running += 1
        try:
            await stream.run()
        finally:
            self._running -= 1
