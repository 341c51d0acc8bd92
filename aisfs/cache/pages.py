"""Memory for bytes already read: fixed-size pages in one bounded region, least recently used first.

Scans do not push out what is read again and again: a page that is used once more, `REUSE_S` after
it was used last, is protected. Unprotected pages go first; protected ones have at most `PROTECTED`
of the memory, the least recently used of them becoming unprotected.

Serves all of `cache`. Invariants: the bytes held never exceed the capacity, those of free slots
that the system was not given back included; a page that is being filled, awaited or held is never
reclaimed; a complete page never changes.

Large pages are slots of one page-aligned anonymous mapping: a `bytearray` starts 16 bytes after a
page boundary, where the kernel's copy from a socket runs at a quarter of its speed on some CPUs.
Small ones are `bytearray`s of their exact size, so that a cache full of small objects holds many.
"""

from __future__ import annotations

import math
import mmap
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import trio

    from aisfs.errors import FsError

PAGE_SIZE = 1 << 20
"""Bytes. Below 1 MiB the kernel's requests cross pages; 4 MiB measured the same."""

SMALL = 128 << 10
"""Pages up to this many bytes do not take a slot."""

REUSE_S = 1.0
"""Seconds between two uses of a page that are not one: a reader that passes by asks for a page in
several requests shortly after each other."""

PROTECTED = 0.75
"""Share of the memory that pages which were used again may have for themselves."""

PageKey = tuple[int, int]


class Page:
    """Bytes [index × PAGE_SIZE, … + size) of one content.

    States: filling (`valid < size`, `filling` True) → complete (`valid == size`), or
    filling → torn (`filling` False, `valid < size`, perhaps with `error`).

    Attributes:
        view: the page's whole buffer.
        valid: bytes from the start that hold data; grows in the network thread only.
        filling: a stream is responsible for the rest.
        error: why the last try to fill it failed.
        held: its memory is read by somebody else than readers: it stays until `PageCache.release`.
        used_at: when it was last read, in the cache's clock; infinity before.
        changed: set by the loop when `valid` grew or the try ended; replaced by each new waiter.
    """

    __slots__ = (
        "changed", "error", "filling", "held", "key", "size", "slot", "used_at", "valid", "view",
    )  # fmt: skip

    def __init__(self, key: PageKey, view: memoryview, size: int, slot: int) -> None:
        self.key = key
        self.view = view
        self.size = size
        self.slot = slot
        self.valid = 0
        self.used_at = math.inf
        self.filling = False
        self.held = False
        self.error: FsError | None = None
        self.changed: trio.Event | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody fills it, waits for it, or holds its memory."""
        return not (self.filling or self.held) and self.changed is None

    @property
    def complete(self) -> bool:
        """Whether every byte is there."""
        return self.valid == self.size


class PageCache:
    """All pages of a mount, keyed by (content number, page index).

    Args:
        capacity: bytes, rounded down to whole slots, at least four.
        clock: tells seconds.
    """

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots = max(capacity // PAGE_SIZE, 4)
        self.capacity = self._slots * PAGE_SIZE
        self._region = mmap.mmap(-1, self.capacity, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory = memoryview(self._region)
        self._free = list(range(self._slots - 1, -1, -1))
        self._touched: list[int] = []
        self._small_bytes = 0
        self._passing: OrderedDict[PageKey, Page] = OrderedDict()
        self._protected: OrderedDict[PageKey, Page] = OrderedDict()
        self._protected_bytes = 0

    @property
    def used(self) -> int:
        """Bytes of all pages; a large one counts as a whole slot."""
        free = len(self._free) + len(self._touched)
        return (self._slots - free) * PAGE_SIZE + self._small_bytes

    @property
    def room(self) -> int:
        """Bytes that can be brought without pushing out what is read again and again."""
        return self.capacity - self._protected_bytes

    def needs(self, content: int, size: int) -> int:
        """Return the bytes of `room` that a content of `size` bytes takes."""
        pages = range(-(-size // PAGE_SIZE)) if size <= self.capacity else ()
        taken = (
            _memory_of(min(PAGE_SIZE, size - index * PAGE_SIZE))
            for index in pages
            if (content, index) not in self._protected
        )
        return sum(taken) if pages else size

    def get(self, key: PageKey) -> Page | None:
        """Return a page and mark it as used now."""
        now = self._clock()
        page = self._protected.get(key)
        if page is not None:
            self._protected.move_to_end(key)
        else:
            page = self._passing.get(key)
            if page is None:
                return None
            if now - page.used_at > REUSE_S:
                self._protect(page)
            else:
                self._passing.move_to_end(key)
        page.used_at = now
        return page

    def peek(self, key: PageKey) -> Page | None:
        """Return a page without marking it as used."""
        return self._passing.get(key) or self._protected.get(key)

    def _protect(self, page: Page) -> None:
        del self._passing[page.key]
        self._protected[page.key] = page
        self._protected_bytes += _taken(page)
        while self._protected_bytes > PROTECTED * self.capacity:
            key, oldest = self._protected.popitem(last=False)
            self._protected_bytes -= _taken(oldest)
            self._passing[key] = oldest

    def allocate(self, key: PageKey, size: int) -> Page | None:
        """Make an empty page, reclaiming the least recently used; None if all are in use."""
        need = _memory_of(size)
        while self.used + need > self.capacity:
            if not self._reclaim():
                return None
        if size <= SMALL:
            # Free slots that had a page still hold memory: the system gets what this page takes.
            while self._touched and self.used + size > self.capacity - self._idle:
                self._give_back(self._touched.pop())
            self._small_bytes += size
            page = Page(key, memoryview(bytearray(size)), size, -1)
        else:
            slot = self._touched.pop() if self._touched else self._free.pop()
            start = slot * PAGE_SIZE
            page = Page(key, self._memory[start : start + size], size, slot)
        self._passing[key] = page
        return page

    def discard(self, key: PageKey) -> None:
        """Forget a page; whoever holds it already keeps a valid buffer until its next await."""
        page = self._passing.pop(key, None)
        if page is None:
            page = self._protected.pop(key, None)
            if page is None:
                return
            self._protected_bytes -= _taken(page)
        if not page.held:
            self._take_back(page)

    def _take_back(self, page: Page) -> None:
        """Let others have the memory of a page."""
        if page.slot < 0:
            self._small_bytes -= page.size
        else:
            self._touched.append(page.slot)

    @staticmethod
    def hold(page: Page) -> None:
        """Keep a page's memory, even if it is forgotten, until `release`."""
        page.held = True

    def release(self, page: Page) -> None:
        """End a `hold`."""
        page.held = False
        if self.peek(page.key) is not page:
            self._take_back(page)

    def drop_content(self, content: int, pages: int) -> None:
        """Forget all idle pages of one content."""
        for index in range(pages):
            page = self.peek((content, index))
            if page is not None and not page.filling:
                self.discard(page.key)

    def drop_idle(self, contents: Collection[int] | None) -> None:
        """Forget all pages of some contents, or of all, but for those that are in use."""
        for pages in (self._passing, self._protected):
            for key, page in tuple(pages.items()):
                if page.idle and (contents is None or key[0] in contents):
                    self.discard(key)

    def _reclaim(self) -> bool:
        for pages in (self._passing, self._protected):
            for key, page in pages.items():
                if page.idle:
                    self.discard(key)
                    return True
        return False

    @property
    def _idle(self) -> int:
        """Bytes of free slots whose memory the system does not have back."""
        return len(self._touched) * PAGE_SIZE

    def _give_back(self, slot: int) -> None:
        """Return a free slot's memory to the system, so that small pages can have it."""
        self._region.madvise(mmap.MADV_DONTNEED, slot * PAGE_SIZE, PAGE_SIZE)
        self._free.append(slot)


def _memory_of(size: int) -> int:
    """Return the bytes of memory that a page of `size` bytes takes."""
    return size if size <= SMALL else PAGE_SIZE


def _taken(page: Page) -> int:
    """Return the bytes of memory that a page takes."""
    return page.size if page.slot < 0 else PAGE_SIZE
