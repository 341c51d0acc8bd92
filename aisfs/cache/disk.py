"""The second level of the page cache: pages on a local disk, which outlive the mount (C35).

Serves `room`.

    page complete ─▶ offered ─▶ queue, held in memory ─▶ written, in the index ─▶ loaded
                        │ queue full     ▲ room again           │ its file goes │ bytes changed
                        └─▶ turned away ─┘ if still in memory   └─▶ forgotten ◀─┘

Invariants: a page's key is made of cluster (the folder), bucket, name, checksum, size and index, so
another content is never found; what is loaded agrees with a checksum of its own; nobody waits for a
write. State belongs to the loop, files are read and written in threads. The first failure of the
disk ends the tier, not the mount.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from aisfs.cache.pages import PAGE_SIZE, SMALL
from aisfs.cache.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from aisfs.cache.pages import Page, PageCache, PageKey
    from aisfs.cache.segment import Placed, Row, Segment
    from aisfs.config import BucketName
    from aisfs.store.interface import Identity

log = logging.getLogger(__name__)

QUEUE_SHARE = 4
"""One part in so many of the memory may wait to be written."""

BATCH_BYTES = 4 << 20
BATCH_PAGES = 256
"""What is written at a time. A hop to a thread costs as much as 20 pages of 4 KiB."""

TURNED_AWAY = 8192
"""Pages that are remembered to have found the queue full. A cache full of small ones has more, but
they are written many at a time, so that the queue is not full for long."""

LOADED_BY_LOOP = 512 << 10
"""Bytes that one call of `load` may read without a thread: 6 us for each page of 4 KiB, and never
longer than a few requests of the kernel."""

READERS = 4
"""Threads that load pages."""

DROPPED_AT_ONCE = 256
"""Pages of one content that are forgotten before others have their turn."""

FLOOR_CHECK_S = 10.0
"""Seconds between two looks at the free space."""


@dataclass(slots=True)
class DiskCounts:
    """What the tier has done.

    Attributes:
        hits: pages loaded.
        misses: pages that came from the cluster.
        corrupt: pages and files whose bytes had changed on disk.
        written: pages.
    """

    hits: int = 0
    misses: int = 0
    corrupt: int = 0
    written: int = 0


class DiskTier:
    """Pages in the files of one folder, which no other mount uses at the same time.

    Args:
        folder, quota, floor: as of `Shelf`.
        pages: the memory that pages are written from.

    Attributes:
        ended: whether the disk failed, or the mount ends: the tier does nothing any more.
        counts: for statistics.

    Raises:
        Busy, OSError: as `Shelf`.
    """

    def __init__(self, folder: Path, quota: int, floor: int, pages: PageCache) -> None:
        self._pages = pages
        self._shelf = Shelf(folder, quota, floor)
        self._queue: deque[tuple[int, Page]] = deque()
        self._queued: dict[int, Page] = {}
        self._queued_bytes = 0
        self._turned_away: deque[tuple[int, PageKey]] = deque(maxlen=TURNED_AWAY)
        self._more = trio.Event()
        self._written = trio.Event()
        self._emptied: trio.Event | None = None
        self._limiter = trio.CapacityLimiter(READERS)
        self.counts = DiskCounts(corrupt=self._shelf.damaged)
        self.ended = False

    @property
    def capacity(self) -> int:
        """The quota in bytes."""
        return self._shelf.capacity

    @property
    def used(self) -> int:
        """Bytes that the folder takes on disk, at most."""
        return self._shelf.used

    # -- keys

    @staticmethod
    def key(bucket: BucketName, name: str, identity: Identity) -> int:
        """Return the key of a content's first page, the others follow; 0 if it is not kept.

        A version is no part of it: a listing, a HEAD and a PUT do not always tell it.
        """
        if not identity.verifiable:
            return 0
        parts = (bucket.provider, bucket.uuid, bucket.namespace, bucket.name, name)
        text = "\0".join((*parts, identity.checksum, str(identity.size)))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).digest()
        return int.from_bytes(digest) << 32

    def __contains__(self, key: int) -> bool:
        return key in self._shelf

    # -- loading

    async def load(self, wanted: Sequence[tuple[int, Page]], wake: Callable[[], None]) -> None:
        """Fill the pages that are here; the others stay as they are, for the cluster to fill.

        Small ones that the kernel has in memory are read without leaving the loop.

        Args:
            wanted: keys, and empty pages that nobody else fills or reclaims meanwhile.
            wake: called in a thread when somebody waits for a page that became complete.
        """
        jobs: list[tuple[Segment, Row, Page]] = []
        left = LOADED_BY_LOOP
        for key, page in wanted:
            found = self._shelf.find(key)
            if found is None:
                continue
            segment, row = found
            fits = page.size == row.size
            at_once = fits and row.size <= min(SMALL, left)
            good = segment.read_now(row, page.view) if at_once else None
            if good:
                left -= row.size
                self._loaded(segment, page)
            elif fits and good is None:
                segment.users += 1
                jobs.append((segment, row, page))
            else:
                self._damaged(key)
        if jobs:
            await self._load_in_thread(jobs, wake)

    def _loaded(self, segment: Segment, page: Page) -> None:
        page.valid = page.size
        self.counts.hits += 1
        self._shelf.touch(segment)

    async def _load_in_thread(
        self, jobs: Sequence[tuple[Segment, Row, Page]], wake: Callable[[], None]
    ) -> None:
        try:
            bad, error = await trio.to_thread.run_sync(_read, jobs, wake, limiter=self._limiter)
        finally:
            for segment, _, _ in jobs:
                segment.release(1)
        for segment, _, page in jobs:
            if page.complete:
                self._loaded(segment, page)
        for key in bad:
            self._damaged(key)
        if error is not None:
            self._fail(error)

    def _damaged(self, key: int) -> None:
        """Forget a page whose bytes have changed."""
        self.counts.corrupt += 1
        log.warning("a page in %s has changed on disk: it is fetched again", self._shelf.folder)
        self._erase(key)

    def _erase(self, key: int) -> None:
        try:
            self._shelf.erase(key)
        except OSError as error:
            self._fail(error)

    def forget(self, key: int, pages: int) -> None:
        """Forget a content whose bytes were wrong when they came from the cluster."""
        keys = range(key, key + pages)
        for each in keys:
            self._queued.pop(each, None)
            self._erase(each)
        for turned_away in [each for each in self._turned_away if each[0] in keys]:
            self._turned_away.remove(turned_away)

    async def drop(self, key: int, size: int) -> None:
        """Forget a content of `size` bytes by its key, a few pages at a time."""
        pages = -(-size // PAGE_SIZE) if key else 0
        for first in range(0, pages, DROPPED_AT_ONCE):
            self.forget(key + first, min(DROPPED_AT_ONCE, pages - first))
            await trio.lowlevel.checkpoint()

    async def empty(self) -> None:
        """Forget all there is; it is gone when this returns."""
        if not self.ended:
            done = self._emptied = self._emptied or trio.Event()
            self._more.set()
            await done.wait()

    # -- keeping

    def offer(self, key: int, page: Page) -> None:
        """Keep a complete page that came from the cluster, if the disk is fast enough for it."""
        if not self.ended:
            self.counts.misses += 1
            if not self._has(key) and not self._take(key, page):
                self._turned_away.append((key, page.key))

    async def insist(self, key: int, page: Page) -> bool:
        """Keep a complete page, waiting for the disk as long as that takes.

        Returns:
            False if the page was reclaimed meanwhile, and is not kept: its memory is another one's.
        """
        while not self.ended and not self._has(key):
            if self._pages.peek(page.key) is not page:
                return False
            if self._take(key, page):
                return True
            await self._written.wait()
        return True

    def _ask_back(self) -> None:
        """Take pages that were turned away and are still in memory, as far as there is room."""
        while self._turned_away:
            key, page_key = self._turned_away[0]
            page = self._pages.peek(page_key)
            wanted = page is not None and page.complete and not self._has(key)
            if page is not None and wanted and not self._take(key, page):
                return
            self._turned_away.popleft()

    def _has(self, key: int) -> bool:
        return key in self._shelf or key in self._queued

    def _take(self, key: int, page: Page) -> bool:
        """Put a page into the queue, unless it is full, or has it."""
        room = self._pages.capacity // QUEUE_SHARE - self._queued_bytes
        if page.held or page.size > room or self._has(key):
            return False
        self._pages.hold(page)
        self._queued[key] = page
        self._queue.append((key, page))
        self._queued_bytes += page.size
        self._more.set()
        return True

    async def run(self) -> None:
        """Write what is offered, and keep the floor, until cancelled or the disk fails."""
        checked = trio.current_time()
        while not self.ended:
            with trio.move_on_after(FLOOR_CHECK_S):
                await self._more.wait()
            try:
                if trio.current_time() >= checked + FLOOR_CHECK_S:
                    await self._shelf.keep_floor()
                    checked = trio.current_time()
                if self._emptied is not None:
                    await self._empty(self._emptied)
                if self._queue:
                    await self._write()
                    self._ask_back()
            except OSError as error:
                self._fail(error)
            except Exception as error:  # a bug must not end the mount
                log.exception("writing to the disk cache")
                self._fail(error)
            if not self._queue and self._emptied is None:
                self._more = trio.Event()
                self._written.set()
                self._written = trio.Event()

    async def _empty(self, done: trio.Event) -> None:
        self._emptied = None
        try:
            self._let_all_go()
            self._turned_away.clear()
            await self._shelf.empty()
        finally:
            done.set()

    async def drain(self) -> None:
        """Wait until nothing is left to be written."""
        while self._queued_bytes and not self.ended:
            await self._written.wait()

    async def _write(self) -> None:
        """Write some pages of the queue, or let all go if there is no room for them."""
        key, page = self._queue[0]
        found = await self._shelf.place(key, page.view)
        if found is None or self.ended:
            self._let_all_go()
            return
        segment, placed = found
        batch = self._next_batch(segment, placed)
        segment.users += 1
        try:
            # Not those that prove wrong meanwhile: a crash would leave them to the next mount.
            rows = await trio.to_thread.run_sync(
                segment.write, [placed for placed, _ in batch], self._queued.__contains__
            )
            self._enter(segment, batch, rows)
        finally:
            segment.release(1)
            for placed, page in batch:
                self._let_go(placed.key, page)

    def _next_batch(self, segment: Segment, first: Placed) -> list[tuple[Placed, Page]]:
        """Take pages from the queue, the first of which has its place, as far as they fit."""
        batch = []
        size = 0
        placed: Placed | None = first
        while placed is not None:
            batch.append((placed, self._queue.popleft()[1]))
            size += len(placed.view)
            if not self._queue or size >= BATCH_BYTES or len(batch) == BATCH_PAGES:
                break
            key, page = self._queue[0]
            placed = segment.place(key, page.view)
        return batch

    def _enter(self, segment: Segment, batch: Sequence[tuple[Placed, Page]], rows: bytes) -> None:
        """Let pages be found that are written now."""
        if self.ended:
            return
        segment.add(rows)
        self._shelf.touch(segment)
        for placed, page in batch:
            if self._queued.get(placed.key) is page:
                self._shelf.enter(segment, placed)
                self.counts.written += 1
            else:  # forgotten meanwhile
                segment.erase(placed.slot)

    def _let_go(self, key: int, page: Page) -> None:
        """Take the pin off a page that is written, or will not be."""
        if self._queued.get(key) is page:
            del self._queued[key]
        self._queued_bytes -= page.size
        self._pages.release(page)

    def _let_all_go(self) -> None:
        """Write nothing of what waits for it."""
        while self._queue:
            self._let_go(*self._queue.popleft())

    # -- the end

    def _fail(self, error: Exception) -> None:
        """Do without the disk from now on; what is on it stays for the next mount."""
        if not self.ended:
            folder = self._shelf.folder
            log.error("nothing is kept in %s any more: %s; reads go on without it", folder, error)
            self._end()

    def _end(self) -> None:
        self.ended = True
        self._shelf.forget_all()
        self._let_all_go()
        self._written.set()
        if self._emptied is not None:
            self._emptied.set()

    def close(self) -> None:
        """Close all files and let other mounts have the folder."""
        self._end()
        self._shelf.close()


def _read(
    jobs: Sequence[tuple[Segment, Row, Page]], wake: Callable[[], None]
) -> tuple[list[int], OSError | None]:
    """Read pages (in a thread); return the keys of damaged ones, and what the disk said."""
    bad: list[int] = []
    for segment, row, page in jobs:
        try:
            good = segment.read(row, page.view)
        except OSError as error:
            return bad, error
        if good:
            page.valid = page.size
            if page.changed is not None:
                wake()
        else:
            bad.append(row.key)
    return bad, None
