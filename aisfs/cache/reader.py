"""Reads of one content: offset and size → pages → reply, one fetch per page however many readers.

Serves `vfs` (one `ContentReader` per pinned identity of an object). A sequential reader is served
by one streaming GET whose body is received straight into pages; the stream is granted pages a
window ahead of the reader and ends when it has waited `STARVED_S` for the next one, because on AIS
a stalled reader blocks the writers of its object. Reading on starts a new ranged GET, whose
identity is checked (C4). A random read fetches what was asked for and is not kept: the kernel keeps
it.

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
from collections import deque
from typing import TYPE_CHECKING

import trio

from aisfs.cache.pages import PAGE_SIZE, Page, PageCache
from aisfs.errors import Corrupt, FsError, IoFailure
from aisfs.store.interface import Digest, new_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.cache.readahead import AccessPattern
    from aisfs.config import BucketName
    from aisfs.store.interface import Identity, ObjectStore

STARVED_S = 1.0
"""Seconds after which a stream without a page to fill is closed (semantics.md, "blocks
writers")."""

FIRST_STEP = 128 << 10
"""Bytes of the first receive of a stream; doubles up to a page. A full page at once delays the
first byte, steps this small for ever cost a tenth of the throughput."""

MAX_TRIES = 3
"""How often a torn body is resumed without a single new byte before the readers get the error."""

MAX_STREAMS = 24
"""Streams of one mount at a time; each holds a network thread."""


class CacheRoom:
    """What all contents of a mount share: the pages, the store, where streams run."""

    def __init__(self, store: ObjectStore, pages: PageCache, nursery: trio.Nursery) -> None:
        self.store = store
        self.pages = pages
        self.nursery = nursery
        self.slots = trio.Semaphore(MAX_STREAMS)
        self.token = trio.lowlevel.current_trio_token()
        self.streams = 0
        self._awaited: set[Page] = set()
        self._contents = 0

    def next_content(self) -> int:
        """Return a number for a new content; never reused."""
        self._contents += 1
        return self._contents

    @property
    def fair_window(self) -> int:
        """Bytes that one stream may hold ahead when all streams share half of the memory."""
        return max(self.pages.capacity // 2 // max(self.streams, 1), PAGE_SIZE)

    async def wait_for_change(self, page: Page, needed: int) -> None:
        """Return when `page` may have `needed` valid bytes, or its filling ended."""
        if page.changed is None:
            page.changed = trio.Event()
        changed = page.changed
        self._awaited.add(page)
        try:
            # The event is registered first: a network thread that looks for it after raising
            # `valid` cannot be missed.
            if page.valid < needed and page.filling:
                await changed.wait()
        finally:
            if page.changed is changed and not changed.statistics().tasks_waiting:
                page.changed = None
                self._awaited.discard(page)

    def wake(self) -> None:
        """Let everybody who waits for a page look again (loop only)."""
        for page in tuple(self._awaited):
            if page.changed is not None:
                page.changed.set()
                page.changed = None
        self._awaited.clear()

    def wake_from_thread(self) -> None:
        """Schedule `wake`; many calls before the next turn of the loop cost one."""
        self.token.run_sync_soon(self.wake, idempotent=True)


class Stream:
    """One GET that fills consecutive pages of a content; the store's `BodySink`."""

    def __init__(self, reader: ContentReader, first: Page, offset: int, end: int) -> None:
        self.reader = reader
        self.offset = offset
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
            self._current.filling = False
        self.done.set()
        self.reader.room.wake()

    # -- the network thread's side (BodySink)

    def opened(self, identity: Identity, abort: Callable[[], None]) -> None:
        """Take note of the reply's identity, for the checksum of the whole."""
        self._abort = abort
        if self._aborted:  # before there was a connection to shut down
            abort()
        self.reader.start_checksum(self.offset, identity)

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
            self._current.filling = False
            self._current = None
        with self._grants:
            if not self._granted and not self._closing:
                self._grants.wait(STARVED_S)
            if not self._granted:
                self._closing = True
                return None
            self._current = self._granted.popleft()
            return self._current

    def filled(self, size: int) -> None:
        """Make `size` more bytes of the current page visible to readers."""
        page = self._current
        assert page is not None
        self.reader.checksum(self.offset, page.view[page.valid : page.valid + size])
        self.offset += size
        page.valid += size
        if page.changed is not None:
            self.reader.room.wake_from_thread()


class _Once:
    """A `BodySink` for one small range that is not kept."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.received = 0

    def opened(self, identity: Identity, abort: Callable[[], None]) -> None:
        """Nothing to note: one range says nothing about the whole."""

    def buffer(self) -> memoryview | None:
        view = memoryview(self.data)[self.received :]
        return view if len(view) else None

    def filled(self, size: int) -> None:
        self.received += size


class ContentReader:
    """Reads one content of an object, pinned by its identity.

    Attributes:
        name: where the content lies now; follows renames on this mount.
        size: bytes of the whole.
        users: handles that read through it.
        broken: set when the bytes proved not to be what the cluster stored; nothing is read then.
    """

    def __init__(self, room: CacheRoom, bucket: BucketName, name: str, identity: Identity) -> None:
        self.room = room
        self.bucket = bucket
        self.name = name
        self.identity = identity
        self.size = identity.size
        self.content = room.next_content()
        self.users = 0
        self.broken: Corrupt | None = None
        self._streams: list[Stream] = []
        self._digest_lock = threading.Lock()
        self._digest: Digest | None = None
        self._digest_at = 0
        self._digest_goal = ""

    def page_size(self, index: int) -> int:
        """Return how many bytes of the content page `index` holds."""
        return min(PAGE_SIZE, self.size - index * PAGE_SIZE)

    # -- reading

    def read_cached(self, offset: int, size: int) -> memoryview | None:
        """Return bytes that lie in one page and are there already, without waiting."""
        end = min(offset + size, self.size)
        index = offset // PAGE_SIZE
        page = self.room.pages.get((self.content, index))
        start = index * PAGE_SIZE
        if page is None or end - start > page.valid or offset >= end or self.broken is not None:
            return None
        return page.view[offset - start : end - start]

    def read_at_once(self, offset: int, size: int, pattern: AccessPattern) -> memoryview | None:
        """Do `read` without waiting, or return None and do nothing."""
        view = self.read_cached(offset, size)
        if view is not None:
            end = offset + len(view)
            pattern.observe(offset, end)
            self._read_ahead(end, pattern)
        return view

    async def read(self, offset: int, size: int, pattern: AccessPattern) -> bytes | memoryview:
        """Return up to `size` bytes at `offset`; short only at the end of the content.

        The result is valid until the caller's next await.

        Raises:
            Stale: the object is another one now and the rest is not cached.
            FsError: the cluster's failure, after resuming did not help.
        """
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        if self.broken is not None:
            raise self.broken
        pattern.observe(offset, end)
        view = self.read_cached(offset, size)
        if view is not None:
            self._read_ahead(end, pattern)
            return view
        if not pattern.sequential and end - offset < PAGE_SIZE < self.size:
            return await self._read_once(offset, end)
        first, last = offset // PAGE_SIZE, (end - 1) // PAGE_SIZE
        parts = []
        for index in range(first, last + 1):
            start = index * PAGE_SIZE
            view = await self._page(
                index, max(offset - start, 0), min(end - start, PAGE_SIZE), pattern
            )
            # A view of a page may be reused at the next await: only a single one goes out as it is.
            parts.append(view if first == last else bytes(view))
        return parts[0] if first == last else b"".join(parts)

    async def _page(self, index: int, start: int, end: int, pattern: AccessPattern) -> memoryview:
        """Return bytes [start, end) of one page, fetching it if nobody does."""
        key = (self.content, index)
        tries, reached = 0, -1
        while True:
            page = self.room.pages.get(key)
            if page is not None and page.valid >= end:
                self._read_ahead(index * PAGE_SIZE + end, pattern)
                return page.view[start:end]
            if page is None or not page.filling:
                valid = 0 if page is None else page.valid
                tries, reached = (1, valid) if valid > reached else (tries + 1, reached)
                page = self._start_stream(index, page, pattern)
                if page is None:
                    base = index * PAGE_SIZE
                    return memoryview(await self._read_once(base + start, base + end))
            self._read_ahead(index * PAGE_SIZE + end, pattern)
            await self.room.wait_for_change(page, end)
            self._raise_if_hopeless(page, tries)

    def _raise_if_hopeless(self, page: Page, tries: int) -> None:
        """Hand an error to the readers unless resuming can mend it (a torn body is `IoFailure`)."""
        if self.broken is not None:
            raise self.broken
        if page.filling or page.error is None:
            return
        if not isinstance(page.error, IoFailure) or tries >= MAX_TRIES:
            raise page.error

    async def _read_once(self, offset: int, end: int) -> bytes:
        """Fetch a range that is not kept, resuming a torn body."""
        sink = _Once(end - offset)
        tries = 0
        while sink.received < end - offset:
            before = sink.received
            try:
                await self.room.store.stream(
                    self.bucket, self.name, offset + before, end, self.identity, sink
                )
            except IoFailure:
                tries = tries + 1 if sink.received == before else 1
                if tries >= MAX_TRIES:
                    raise
        return bytes(sink.data)

    # -- streams

    def _start_stream(self, index: int, page: Page | None, pattern: AccessPattern) -> Page | None:
        """Start filling page `index`, from where it was torn; None if there is no memory for it."""
        if page is None:
            key = (self.content, index)
            page = self.room.pages.allocate(key, self.page_size(index))
            if page is None:
                return None
        start = index * PAGE_SIZE
        end = self.size if pattern.established else min(self.size, start + PAGE_SIZE)
        stream = Stream(self, page, start + page.valid, end)
        self._streams.append(stream)
        self.room.nursery.start_soon(self._run, stream)
        return page

    async def _run(self, stream: Stream) -> None:
        room = self.room
        error: FsError | None = None
        room.streams += 1
        try:
            await self._wait_for_predecessor(stream)
            async with room.slots:
                await room.store.stream(
                    self.bucket, self.name, stream.offset, stream.end, self.identity, stream
                )
        except FsError as failure:
            error = failure
            if isinstance(failure, Corrupt):
                self.broken = failure
        finally:
            room.streams -= 1
            self._streams.remove(stream)
            stream.ended(error)

    async def _wait_for_predecessor(self, stream: Stream) -> None:
        """Wait for the stream that ends where this one starts: the checksum takes bytes in order.

        It costs a round-trip where a reader goes on beyond the first page of a file.
        """
        for other in tuple(self._streams):
            if other is not stream and other.live and other.end == stream.offset:
                await other.done.wait()

    def _read_ahead(self, position: int, pattern: AccessPattern) -> None:
        """Grant pages up to the window beyond `position`, or start the stream that fills them."""
        if not pattern.established:
            return
        window = min(pattern.window, self.room.fair_window)
        first = position // PAGE_SIZE
        upto = (position + window) // PAGE_SIZE + 1
        covering = [stream for stream in self._streams if stream.covers(first, upto)]
        for stream in covering:
            stream.grant(upto)
        if covering:
            return
        index = self._first_missing(first, upto)
        if index is not None:
            self._start_stream(index, self.room.pages.get((self.content, index)), pattern)

    def _first_missing(self, index: int, upto: int) -> int | None:
        """Return the first page in [index, upto) that nobody fills, or None."""
        last = (self.size - 1) // PAGE_SIZE
        while index < upto and index <= last:
            page = self.room.pages.get((self.content, index))
            if page is None or not (page.complete or page.filling):
                return index
            index += 1
        return None

    def rest(self) -> None:
        """End all streams; what they brought stays."""
        for stream in self._streams:
            stream.abort()

    async def close_streams(self) -> None:
        """End all streams and wait: on AIS they would block the writer that comes next."""
        self.rest()
        for stream in tuple(self._streams):
            await stream.done.wait()

    def drop(self) -> None:
        """Forget the cached pages and end the streams; nobody reads this content any more."""
        self.rest()
        self.room.pages.drop_content(self.content, -(-self.size // PAGE_SIZE))

    # -- checksum of the whole (C13); network threads only

    def start_checksum(self, offset: int, identity: Identity) -> None:
        """Begin the running checksum when a stream starts at the content's first byte."""
        if offset == 0 and identity.checksum:
            with self._digest_lock:  # another stream may be feeding the one before
                self._digest = new_digest(identity.checksum_type)
                self._digest_at = 0
                self._digest_goal = identity.checksum

    def checksum(self, offset: int, data: memoryview) -> None:
        """Take in bytes that continue the running checksum; compare at the end of the content.

        Raises:
            Corrupt: the whole body does not have the checksum that the cluster keeps.
        """
        with self._digest_lock:
            if self._digest is None or offset != self._digest_at:
                return
            self._digest.update(data)
            self._digest_at += len(data)
            if self._digest_at == self.size and self._digest.hexdigest() != self._digest_goal:
                raise Corrupt(
                    f"reading {self.name}: the bytes do not have the checksum {self._digest_goal}"
                )
