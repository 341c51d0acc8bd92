"""Reads of one content: offset and size → pages → reply, one fetch per page however many readers.

Serves `vfs` (one `ContentReader` per pinned identity of an object). A sequential reader is served
by one streaming GET whose body is received straight into pages; the stream is granted pages a
window ahead of the reader and ends when it has waited `STARVED_S` for the next one, because on AIS
a stalled reader blocks the writers of its object. Reading on starts a new ranged GET, whose
identity is checked (C4). Where answers take long to begin, several streams beside each other bring
a part of the window each. A random read fetches what was asked for and is not kept: the kernel
keeps it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aisfs.cache.checksum import RunningChecksum
from aisfs.cache.pages import PAGE_SIZE, Page
from aisfs.cache.stream import Stream
from aisfs.errors import Corrupt, FsError, IoFailure, Torn

if TYPE_CHECKING:
    from aisfs.cache.readahead import AccessPattern
    from aisfs.cache.room import CacheRoom
    from aisfs.config import BucketName
    from aisfs.store.interface import Identity

log = logging.getLogger(__name__)

MAX_TRIES = 3
"""How often a torn body is resumed without a single new byte before the readers get the error."""


PAGES_BEHIND = 8
"""Pages kept behind a reader: as much as the kernel may still have requests for."""

LOADED_TOGETHER = 4
"""Pages that are loaded from disk in one visit to a thread."""

STREAMED_AT_MOST = 4096
"""Pages behind a stream's first that are looked up on disk, for where it may end."""

KEPT_WHOLE = 0.5
"""Share of the memory up to which a content that is read from end to end is kept."""


class ContentReader:
    """Reads one content of an object, pinned by its identity.

    Attributes:
        name: where the content lies now; follows renames on this mount.
        size: bytes of the whole.
        kept: key of the first page on disk; 0 if it is not kept there.
        users: handles that read through it.
        broken: set when the bytes proved not to be what the cluster stored; nothing is read then.
    """

    def __init__(self, room: CacheRoom, bucket: BucketName, name: str, identity: Identity) -> None:
        self.room = room
        self.bucket = bucket
        self.name = name
        self.identity = identity
        self.size = identity.size
        self.content = room.content_of(bucket, name, identity)
        self.kept = room.kept_as(bucket, name, identity)
        self.users = 0
        self.broken: Corrupt | None = None
        self._streams: list[Stream] = []
        self.checksum = RunningChecksum(name, identity.size)

    @property
    def forgettable(self) -> bool:
        """Whether another reader of the content would find the same pages and know as much.

        Of many small files that were read once, their readers would be most of what is remembered.
        """
        return self.size <= PAGE_SIZE and self.identity.verifiable and self.broken is None

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
        self.room.misses += 1
        if (
            not pattern.sequential
            and end - offset < PAGE_SIZE < self.size
            and not self.room.on_disk(self.kept + offset // PAGE_SIZE)
        ):
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
            if page is None and (not pattern.established or self.size <= PAGE_SIZE):
                page = await self._fill(index, end)
                if page is None:
                    base = index * PAGE_SIZE
                    return await self._read_once(base + start, base + end)
                if page.error is not None:
                    raise page.error
                continue
            if page is None or not page.filling:
                valid = 0 if page is None else page.valid
                tries, reached = (1, valid) if valid > reached else (tries + 1, reached)
                page = self._start_stream(index, page, pattern)
                if page is None:
                    base = index * PAGE_SIZE
                    return await self._read_once(base + start, base + end)
            self._read_ahead(index * PAGE_SIZE + end, pattern)
            await self.room.wait_for_change(page, end)
            self._raise_if_hopeless(page, tries)

    def _raise_if_hopeless(self, page: Page, tries: int) -> None:
        """Hand an error to the readers unless resuming can mend it (a torn body)."""
        if self.broken is not None:
            raise self.broken
        if page.filling or page.error is None:
            return
        if not isinstance(page.error, Torn) or tries >= MAX_TRIES:
            raise page.error

    async def _read_once(self, offset: int, end: int) -> memoryview:
        """Fetch a range that is not kept."""
        data = bytearray(end - offset)
        await self.room.store.fill(self.bucket, self.name, offset, self.identity, memoryview(data))
        return memoryview(data)

    def begin(self) -> None:
        """Fetch the first page before anybody reads it, unless it is there or under way."""
        key = (self.content, 0)
        if self.size == 0 or self.broken is not None or self.room.pages.peek(key) is not None:
            return
        page = self._allocate(0)
        if page is not None:
            self.room.nursery.start_soon(self._fetch, page)

    def _allocate(self, index: int) -> Page | None:
        page = self.room.pages.allocate((self.content, index), self.page_size(index))
        if page is not None:
            page.filling = True
        return page

    async def _fill(self, index: int, needed: int) -> Page | None:
        """Fetch one page with a request of its own; return once it has `needed` bytes.

        Returns:
            None if there is no memory for it.
        """
        page = self._allocate(index)
        if page is None:
            return None
        if page.size == self.size:
            await self._fetch(page)
        else:
            self.room.nursery.start_soon(self._fetch, page)
            while page.filling and page.valid < needed:
                await self.room.wait_for_change(page, needed)
        return page

    async def _fetch(self, page: Page) -> None:
        """Fill a page; what goes wrong is its error."""
        try:
            told = await self.room.fill(page, self.bucket, self.name, self.identity, self.kept)
            if told is not None and page.key[1] == 0 and page.size < self.size:
                self.checksum.start(0, told.identity)
                self.checksum.take(0, page.view)
        except Corrupt as error:
            page.error = error
            self._break(error)
        except FsError:
            pass  # the page says it to its readers
        except Exception as error:  # a bug must not end the mount
            page.error = IoFailure(f"reading {self.name}: {error!r}")
            log.exception("filling a page")

    # -- streams

    def _start_stream(self, index: int, page: Page | None, pattern: AccessPattern) -> Page | None:
        """Start filling page `index`, from where it was torn; None if there is no memory for it."""
        if page is None:
            page = self._start_loading(index, pattern)
            if page is not None:
                return page
            key = (self.content, index)
            page = self.room.pages.allocate(key, self.page_size(index))
            if page is None:
                return None
        start = index * PAGE_SIZE
        most = self._part(pattern) if pattern.established else PAGE_SIZE
        end = min(self.size, start + most, self._next_on_disk(index) * PAGE_SIZE)
        stream = Stream(self, page, start + page.valid, end)
        self._streams.append(stream)
        self.room.nursery.start_soon(self._run, stream)
        return page

    def _part(self, pattern: AccessPattern) -> int:
        """Return how many bytes one stream should bring: all, or its part of the window."""
        parallel = self.room.parallel
        if parallel == 1:
            return self.size
        window = min(pattern.max_window, self.room.fair_window)
        return max(window // parallel // PAGE_SIZE, 1) * PAGE_SIZE

    async def _run(self, stream: Stream) -> None:
        room = self.room
        error: FsError | None = None
        room.streams += 1
        room.streams_begun += 1
        try:
            await self._wait_for_predecessors(stream)
            async with room.slots:
                await room.store.stream(
                    self.bucket, self.name, stream.offset, stream.end, self.identity, stream
                )
        except FsError as failure:
            error = failure
            if isinstance(failure, Corrupt):
                self._break(failure)
        finally:
            room.streams -= 1
            self._streams.remove(stream)
            stream.ended(error)
            if stream.latency is not None:
                room.answered(stream.latency)

    def _start_loading(self, index: int, pattern: AccessPattern) -> Page | None:
        """Start loading page `index` and some behind it from disk; None if it is not there."""
        most = min(pattern.window, self.room.fair_window) // PAGE_SIZE
        pages: list[Page] = []
        while len(pages) < max(min(most, LOADED_TOGETHER), 1):
            key = (self.content, index)
            if not self.room.on_disk(self.kept + index) or self.room.pages.peek(key) is not None:
                break
            page = self.room.pages.allocate(key, self.page_size(index))
            if page is None:
                break
            page.filling = True
            pages.append(page)
            index += 1
        if not pages:
            return None
        self.room.nursery.start_soon(self._load, pages)
        return pages[0]

    def _may_wait(self, index: int, first: int, upto: int) -> bool:
        """Tell whether a page on disk is far enough ahead to be loaded with its successors, later.

        Else a window that moves by a page would load them one by one, which is slower: 257-337
        instead of 281-422 MB/s on a busy machine, in each of four rounds.
        """
        near = index < first + LOADED_TOGETHER or upto - index >= LOADED_TOGETHER
        return not near and self.room.on_disk(self.kept + index)

    async def _load(self, pages: list[Page]) -> None:
        """Fill pages from disk; those that are damaged go, and their readers ask the cluster."""
        await self.room.load([(self.kept + page.key[1], page) for page in pages])
        for page in pages:
            if page.filling:
                self.room.settle(page, 0)

    def _next_on_disk(self, index: int) -> int:
        """Return the first page behind `index`, of those that one stream should bring, on disk."""
        pages = -(-self.size // PAGE_SIZE)
        if self.room.disk is None or not self.kept:
            return pages
        looked_up = range(index + 1, min(index + STREAMED_AT_MOST, pages))
        return next((i for i in looked_up if self.room.on_disk(self.kept + i)), pages)

    def _break(self, error: Corrupt) -> None:
        """Read nothing more of this content, and let nobody find its pages again."""
        self.broken = error
        pages = -(-self.size // PAGE_SIZE)
        self.room.forget_content(self.bucket, self.name, self.kept, pages)

    async def _wait_for_predecessors(self, stream: Stream) -> None:
        """Let the checksum of the whole take the bytes in order.

        A stream waits for the one that ends where it starts; it costs a round-trip where a reader
        goes on beyond the first page of a file. Of several beside each other only the last one
        waits, for all before it: what comes before its turn is taken in from the pages.
        """
        several = self.room.parallel > 1
        if several and stream.end < self.size:
            return
        for other in tuple(self._streams):
            before = other.end <= stream.start if several else other.end == stream.start
            if before and other.live:
                await other.done.wait()
        self._catch_up()

    def completed_from_thread(self, page: Page) -> None:
        """Do what is to be done with a page that a stream has filled, in the loop, soon."""
        self.room.keep_from_thread(self.kept, page)
        if self.checksum.begun and self.checksum.at <= page.key[1] * PAGE_SIZE:
            self.room.token.run_sync_soon(self._catch_up, idempotent=True)

    def _catch_up(self) -> None:
        """Take pages into the checksum that were filled before their turn."""
        checksum, pages = self.checksum, self.room.pages
        try:
            while checksum.begun and checksum.at < self.size:
                page = pages.peek((self.content, checksum.at // PAGE_SIZE))
                if page is None or not page.complete or checksum.at % PAGE_SIZE:
                    return
                checksum.take(checksum.at, page.view)
        except Corrupt as error:
            self._break(error)

    def _read_ahead(self, position: int, pattern: AccessPattern) -> None:
        """Grant pages up to the window beyond `position`, or start the streams that fill them."""
        if not pattern.established:
            return
        self._drop_behind(position, pattern)
        window = min(pattern.window, self.room.fair_window)
        first = position // PAGE_SIZE
        upto = (position + window) // PAGE_SIZE + 1
        covering = [stream for stream in self._streams if stream.covers(first, upto)]
        for stream in covering:
            stream.grant(upto)
        if covering:
            return
        index = self._first_missing(first, upto)
        if index is not None and not self._may_wait(index, first, upto):
            self._start_stream(index, self.room.pages.get((self.content, index)), pattern)

    def _drop_behind(self, position: int, pattern: AccessPattern) -> None:
        """Let go of a page that the only reader of a very large content has passed.

        It would be pushed out before anybody came round to it. Receiving into few pages again and
        again keeps them in the CPU's cache: a GiB then costs 0.2 s of CPU less, and no memory.
        """
        room = self.room
        behind = position // PAGE_SIZE - PAGES_BEHIND
        if behind < 0 or self.users > 1 or self.size <= room.pages.capacity * KEPT_WHOLE:
            return
        lag = behind * PAGE_SIZE - self.checksum.at
        if self.checksum.begun and 0 <= lag <= pattern.max_window:
            return  # it has not been taken in yet
        page = room.pages.peek((self.content, behind))
        if page is not None and not page.filling and page.changed is None:
            room.pages.discard(page.key)

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
