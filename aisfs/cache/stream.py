"""One streaming GET whose body is received straight into pages.

Serves `reader`. The stream is granted pages a window ahead of its reader and ends when it has
waited `STARVED_S` for the next one, because on AIS a stalled reader blocks the writers of its
object.

A stream's life (all changes but `filled` happen in the loop):

    granted pages ─▶ open ─▶ filling ⇄ waiting for a grant
                       │        │           │ STARVED_S ─▶ ended (a new stream resumes)
                       │        │ body torn ─▶ ended, page torn ─▶ new stream at `valid`
                       │ stale, refused ─▶ ended, page.error ─▶ the readers' errno

Threads: `Stream.buffer`, `.filled` and `.opened` are called in a network thread of the store. They
touch the stream's own queue (under its condition), `Page.valid` of the page being filled and the
content's running checksum; everything else belongs to the loop.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import trio

from aisfs.cache.pages import PAGE_SIZE, Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.cache.reader import ContentReader
    from aisfs.errors import FsError
    from aisfs.store.interface import Identity

STARVED_S = 1.0
"""Seconds after which a stream without a page to fill is closed (semantics.md, "blocks
writers")."""

FIRST_STEP = 128 << 10
"""Bytes of the first receive of a stream; doubles up to a page. A full page at once delays the
first byte, steps this small for ever cost a tenth of the throughput."""


class Stream:
    """One GET that fills consecutive pages of a content; the store's `BodySink`.

    Attributes:
        start, end: its range in the content; `offset` is where it has got to.
        latency: seconds until its answer began; None before.
    """

    def __init__(self, reader: ContentReader, first: Page, offset: int, end: int) -> None:
        self.reader = reader
        self.start = self.offset = offset
        self.end = end
        self.next_index = first.key[1] + 1
        self.live = True
        self.done = trio.Event()
        self._current: Page | None = None
        self._granted: deque[Page] = deque([first])
        self._grants = threading.Condition()
        self._closing = False
        self._aborted = False
        self._abort: Callable[[], None] | None = None
        self._step = FIRST_STEP
        self._asked_at = time.monotonic()
        self.latency: float | None = None
        first.filling = True
        first.error = None

    # -- the loop's side

    @property
    def last_index(self) -> int:
        """Index of the last page that the stream's range reaches."""
        return (self.end - 1) // PAGE_SIZE

    def covers(self, first: int, upto: int) -> bool:
        """Tell whether the stream is the one that goes on filling pages [first, upto)."""
        return self.live and first <= self.next_index <= min(upto, self.last_index)

    def grant(self, upto: int) -> None:
        """Let the stream fill pages up to (excluding) index `upto`, as far as memory allows."""
        reader, pages = self.reader, self.reader.room.pages
        granted = []
        while self.next_index < upto and self.next_index <= self.last_index:
            key = (reader.content, self.next_index)
            if pages.get(key) is not None:
                self.close_soon()  # the rest is there, or another stream's
                break
            page = pages.allocate(key, reader.page_size(self.next_index))
            if page is None:
                break
            page.filling = True
            granted.append(page)
            self.next_index += 1
        if granted:
            with self._grants:
                self._granted.extend(granted)
                self._grants.notify()

    def close_soon(self) -> None:
        """End the stream when the pages it was granted are full."""
        with self._grants:
            self._closing = True
            self._grants.notify()

    def abort(self) -> None:
        """End the stream at once; its unfinished pages become torn."""
        self._aborted = True
        self.close_soon()
        if self._abort is not None:
            self._abort()

    def ended(self, error: FsError | None) -> None:
        """Settle the pages that were granted and not filled."""
        self.live = False
        left = [p for p in (self._current, *self._granted) if p is not None and not p.complete]
        for page in left:
            page.filling = False
            page.error = error
            if page.valid == 0:
                self.reader.room.pages.discard(page.key)
        if self._current is not None:
            self._settled(self._current)
        self.done.set()
        self.reader.room.wake()

    # -- the network thread's side (BodySink)

    def opened(self, identity: Identity, abort: Callable[[], None]) -> None:
        """Take note of the reply's identity, for the checksum of the whole."""
        self.latency = time.monotonic() - self._asked_at
        self._abort = abort
        if self._aborted:  # before there was a connection to shut down
            abort()
        self.reader.checksum.start(self.offset, identity)

    def buffer(self) -> memoryview | None:
        """Return room for the next bytes, or None after `STARVED_S` without a grant."""
        page = self._current
        if page is None or page.complete:
            page = self._next_page()
            if page is None:
                return None
        start = page.valid
        room = min(self._step, page.size - start)
        self._step = min(self._step * 2, PAGE_SIZE)
        return page.view[start : start + room]

    def _next_page(self) -> Page | None:
        if self._current is not None:
            self._settled(self._current)
            self._current = None
        with self._grants:
            if not self._granted and not self._closing:
                self._grants.wait(STARVED_S)
            if not self._granted:
                self._closing = True
                return None
            self._current = self._granted.popleft()
            return self._current

    def _settled(self, page: Page) -> None:
        """Take the mark off a page that is not filled any more, and keep it if it is whole."""
        page.filling = False
        if page.complete:
            self.reader.completed_from_thread(page)

    def filled(self, size: int) -> None:
        """Make `size` more bytes of the current page visible to readers."""
        page = self._current
        assert page is not None
        self.reader.checksum.take(self.offset, page.view[page.valid : page.valid + size])
        self.offset += size
        page.valid += size
        if page.changed is not None:
            self.reader.room.wake_from_thread()
