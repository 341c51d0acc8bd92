"""What all contents of a mount share: pages, the store, where streams run and how readers wait.

Serves `reader` and `stream`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from aisfs.cache.pages import PAGE_SIZE

if TYPE_CHECKING:
    from aisfs.cache.pages import Page, PageCache
    from aisfs.store.interface import ObjectStore

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
