"""What all contents of a mount share: pages, the store, where streams run and how readers wait.

Serves `reader`, `stream` and `fetch_ahead`.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import TYPE_CHECKING

import cachetools
import trio

from aisfs.cache.pages import PAGE_SIZE
from aisfs.cache.shelf import MAX_PAGES
from aisfs.errors import FsError
from aisfs.kernel_request import Wait, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aisfs.cache.disk import DiskTier
    from aisfs.cache.pages import Page, PageCache, PageKey
    from aisfs.config import BucketName
    from aisfs.store.interface import Identity, ObjectInfo, ObjectStore

DISK_TABLES = 8
"""One part in so many of a disk's quota is for tables and for files that are not full."""

MAX_STREAMS = 24
"""Streams of one mount at a time; each holds a network thread."""

MAX_PARALLEL = 4
"""Streams of one sequential reader at a time, where answers take long to come."""

STREAM_REACH_S = 0.008
"""Time that an answer may take to begin for each of these streams: the systems at both ends keep
some 4 MiB of one connection on its way, so beyond that time it brings less than 500 MB/s."""

KNOWN_CONTENTS = 32_768
"""Contents whose pages are found again although nobody has them open; about 200 bytes each."""


class CacheRoom:
    """What all contents of a mount share: the pages, the store, where streams run.

    Attributes:
        disk: where pages are kept that outlive the mount; None for nowhere.
        streams, streams_begun: streaming reads now, and ever.
        misses: reads whose bytes were not in memory.
        renewed: called with what each reply of a whole page told of its object: bucket, facts, and
            when they were asked for.
    """

    def __init__(
        self,
        store: ObjectStore,
        pages: PageCache,
        nursery: trio.Nursery,
        disk: DiskTier | None = None,
    ) -> None:
        self.store = store
        self.pages = pages
        self.nursery = nursery
        self.disk = disk
        self.slots = trio.Semaphore(MAX_STREAMS)
        self.token = trio.lowlevel.current_trio_token()
        self.streams = 0
        self.streams_begun = 0
        self.misses = 0
        self._latencies: deque[float] = deque(maxlen=8)
        self._awaited: set[Page] = set()
        self.renewed: Callable[[BucketName, ObjectInfo, float], None] = _ignore
        self._complete: deque[tuple[int, Page]] = deque()
        self._contents = 0
        self._known: cachetools.LRUCache[tuple[BucketName, str], tuple[Identity, int]] = (
            cachetools.LRUCache(KNOWN_CONTENTS)
        )

    def content_of(self, bucket: BucketName, name: str, identity: Identity) -> int:
        """Return the number of a content: the same as long as it is the same and remembered."""
        if not identity.verifiable:
            return self._next_content()
        known = self._known.get((bucket, name))
        if known is not None and known[0].same_content(identity):
            return known[1]
        number = self._next_content()
        self._known[bucket, name] = identity, number
        return number

    def _next_content(self) -> int:
        """Return a number for a new content; never reused."""
        self._contents += 1
        return self._contents

    def forget_content(self, bucket: BucketName, name: str, kept: int, pages: int) -> None:
        """Let nobody find a content's pages again, here or on disk: they proved to be wrong."""
        self._known.pop((bucket, name), None)
        if self.disk is not None and kept:
            self._keep_complete()
            self.disk.forget(kept, pages)

    async def drop(self, wanted: Callable[[BucketName, str], bool] | None) -> None:
        """Forget contents, here and on disk, but for pages that are in use.

        Args:
            wanted: tells by bucket and name; what an earlier mount kept on disk is found only if
                this one has read it. None for all there is.
        """
        if wanted is None:
            self.pages.drop_idle(None)
            if self.disk is not None:
                self._keep_complete()
                await self.disk.empty()
            return
        known = [(*place, *found) for place, found in self._known.items() if wanted(*place)]
        self.pages.drop_idle({number for _, _, _, number in known})
        for bucket, name, identity, _ in known:
            if self.disk is not None:
                self._keep_complete()
                await self.disk.drop(self.kept_as(bucket, name, identity), identity.size)

    # -- the disk

    def kept_as(self, bucket: BucketName, name: str, identity: Identity) -> int:
        """Return the key of a content's first page on disk; 0 if it is not kept there."""
        return self.disk.key(bucket, name, identity) if self.disk is not None else 0

    def on_disk(self, key: int) -> bool:
        """Tell whether a page can be loaded from disk."""
        return self.disk is not None and key in self.disk

    async def load(self, wanted: Sequence[tuple[int, Page]]) -> None:
        """Settle those pages that the disk has, by their keys; the others stay as they are."""
        if self.disk is not None:
            with waiting(Wait.DISK):
                await self.disk.load(wanted, self.wake_from_thread)
            for _, page in wanted:
                if page.complete:
                    self.settle(page, page.size)

    def keep(self, content: int, page: Page) -> None:
        """Offer a page that came from the cluster to the disk; `content` as `kept_as`."""
        if content and self.disk is not None and self.pages.peek(page.key) is page:
            self.disk.offer(content + page.key[1], page)

    async def insist(self, content: int, key: PageKey) -> bool:
        """Do `keep` for a page that was just read, waiting for the disk where that is slow.

        Returns:
            False if the page was reclaimed before the disk took it: it has to be read again.
        """
        if not content or self.disk is None or self.on_disk(content + key[1]):
            return True
        page = self.pages.peek(key)
        if page is None:
            return self.disk.ended
        return not page.complete or await self.disk.insist(content + key[1], page)

    def keep_from_thread(self, content: int, page: Page) -> None:
        """Do `keep` in the loop, soon."""
        if content:
            self._complete.append((content, page))
            self.token.run_sync_soon(self._keep_complete, idempotent=True)

    def _keep_complete(self) -> None:
        while self._complete:
            self.keep(*self._complete.popleft())

    # -- how much fits

    @property
    def lasting(self) -> int:
        """Bytes that the level holds which keeps pages for longest."""
        return self.pages.capacity if self.disk is None else self.disk.capacity

    @property
    def vacancy(self) -> int:
        """Bytes that can be brought there without pushing out what matters more.

        In memory that is what is read again and again; on disk what was read long ago goes.
        """
        if self.disk is None:
            return self.pages.room
        return self.disk.capacity // DISK_TABLES * (DISK_TABLES - 1)

    def takes(self, bucket: BucketName, info: ObjectInfo) -> int:
        """Return the bytes of `vacancy` that a content needs."""
        size = info.identity.size
        if size > self.vacancy:
            return size
        if self.disk is None:
            return self.pages.needs(self.content_of(bucket, info.name, info.identity), size)
        key = self.disk.key(bucket, info.name, info.identity)
        pages = range(-(-size // PAGE_SIZE))
        return sum(
            min(PAGE_SIZE, size - index * PAGE_SIZE)
            for index in pages
            if key + index not in self.disk
        )

    @property
    def most_contents(self) -> int:
        """Contents of which pages are found again."""
        return KNOWN_CONTENTS if self.disk is None else MAX_PAGES

    # -- filling

    async def fill(
        self, page: Page, bucket: BucketName, name: str, identity: Identity, kept: int = 0
    ) -> ObjectInfo | None:
        """Load a page from disk, or fetch it with a request of its own; it goes if that fails.

        Of a page that is not the whole content readers get what is there already.

        Args:
            page: is filled.
            bucket: has the object.
            name: of the object now.
            identity: of the content.
            kept: as `kept_as` said when the content was pinned; its name may be another now.

        Returns:
            What the cluster's reply told; None if there was none.

        Raises:
            FsError: as `ChunkSource.fill`.
        """
        asked = trio.current_time()
        page.filling = True
        page.error = None
        start, valid = page.key[1] * PAGE_SIZE, 0
        try:
            await self.load([(kept + page.key[1], page)])
            if page.complete:
                valid = page.size
                return None
            whole = page.size == identity.size
            progress = None if whole else functools.partial(self._grown, page, asked)
            told = await self.store.fill(bucket, name, start, identity, page.view, progress)
            valid = page.size
        except FsError as error:
            page.error = error
            raise
        finally:
            self.settle(page, valid)
        self.keep(kept, page)
        self.renewed(bucket, told, asked)
        return told

    def _grown(self, page: Page, asked: float, valid: int) -> None:
        """Let readers have the first `valid` bytes of a page that is being filled."""
        if page.valid == 0:
            self.answered(trio.current_time() - asked)
        page.valid = valid
        if page.changed is not None:
            self.wake()

    def settle(self, page: Page, valid: int) -> None:
        """End the filling of a page: with all its bytes, or it goes."""
        page.valid = valid
        page.filling = False
        if not page.complete:
            self.pages.discard(page.key)
        if page.changed is not None:
            self.wake()

    def answered(self, seconds: float) -> None:
        """Take note of how long an answer took to begin."""
        self._latencies.append(seconds)

    @property
    def parallel(self) -> int:
        """How many streams one sequential reader may have at a time.

        More than one where distance keeps a single one from filling the pipe, and no more than one
        where there are many readers, who fill it together.
        """
        if not self._latencies or self.streams >= MAX_STREAMS // 2:
            return 1
        return min(1 + int(min(self._latencies) / STREAM_REACH_S), MAX_PARALLEL)

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
                with waiting(Wait.STREAM):
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


def _ignore(bucket: BucketName, info: ObjectInfo, asked: float) -> None:
    """Do nothing: nobody wants to know."""
