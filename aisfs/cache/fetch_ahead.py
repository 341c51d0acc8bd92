"""Small objects fetched before they are read, by requests in flight beside each other.

Serves `vfs/scans`, `vfs/orders` and `vfs/warming`, which guess or are told what is read next. What
a guess brings goes into the page cache, where a reader finds it; a reader that comes while an
object is under way waits for it. Limits: `MAX_WORKERS` groups of requests, and half of the cache
for what was brought and not read yet.

    want ─▶ queue ─▶ worker ─▶ page ─▶ read        (used)
              │                  └──▶ guess given up, or reclaimed   (dropped)
              └─ guess given up, page there already
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from aisfs.cache.pages import PAGE_SIZE
from aisfs.store.interface import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aisfs.cache.pages import Page, PageKey
    from aisfs.cache.room import CacheRoom
    from aisfs.config import BucketName
    from aisfs.store.interface import ObjectInfo

log = logging.getLogger(__name__)

MAX_WORKERS = 4
"""Groups of requests in flight."""

LEAST_PART = 8
MOST_PART = 128
"""Objects of one group. They are asked for together, so large groups pay with distance; small
ones bring the first object sooner."""

MAX_OBJECT = PAGE_SIZE
"""Bytes of the largest object that is worth fetching ahead: larger ones stream by themselves."""

SHARE = 2
"""One part in so many of the cache may hold objects that were fetched and not read yet."""


@dataclass(slots=True)
class Counts:
    """What fetching ahead has done.

    Attributes:
        fetched: objects brought.
        used: of these, read.
        dropped: of these, given up before anybody read them.
        failed: objects that could not be brought; who reads them learns why.
    """

    fetched: int = 0
    used: int = 0
    dropped: int = 0
    failed: int = 0


class Guess:
    """Objects that somebody will probably read soon; given up as a whole.

    Attributes:
        alive: False once it was given up.
        unread: what was brought for it and not read yet → bytes.
    """

    __slots__ = ("alive", "unread")

    def __init__(self) -> None:
        self.alive = True
        self.unread: dict[PageKey, int] = {}


class FetchAhead:
    """Brings objects for guesses. One per mount; belongs to the loop.

    Attributes:
        room: the cache that it fills.
        counts: for statistics.
    """

    def __init__(self, room: CacheRoom) -> None:
        self.room = room
        self._queue: deque[tuple[Guess, BucketName, ObjectInfo]] = deque()
        self._queued_bytes = 0
        self._workers = 0
        self._waiting: dict[PageKey, Guess] = {}
        self._unread_bytes = 0
        self.counts = Counts()

    @property
    def busy(self) -> bool:
        """Whether something is under way or waits."""
        return self._workers > 0

    @property
    def room_left(self) -> int:
        """Bytes that may still be wanted."""
        limit = self.room.pages.capacity // SHARE
        return limit - self._unread_bytes - self._queued_bytes

    def want(self, guess: Guess, bucket: BucketName, objects: Iterable[ObjectInfo | None]) -> int:
        """Fetch objects soon, in this order, as far as there is room.

        Returns:
            How many were taken, those included that need no fetching.
        """
        left = self.room_left
        taken = 0
        for info in objects:
            if info is not None and 0 < info.identity.size <= MAX_OBJECT:
                left -= info.identity.size
                if left < 0:
                    break
                if info.identity.verifiable:
                    self._queue.append((guess, bucket, info))
                    self._queued_bytes += info.identity.size
            taken += 1
        self._start_workers()
        return taken

    def reads(self, content: int) -> None:
        """Take note that a content is being read."""
        key = (content, 0)
        guess = self._waiting.pop(key, None)
        if guess is not None:
            self._unread_bytes -= guess.unread.pop(key)
            self.counts.used += 1

    def give_up(self, guess: Guess) -> None:
        """Forget a guess with all that it brought in vain."""
        guess.alive = False
        for key, size in guess.unread.items():
            self._waiting.pop(key, None)
            self._unread_bytes -= size
            page = self.room.pages.peek(key)
            if page is not None and not page.filling and page.changed is None:
                self.room.pages.discard(key)
            self.counts.dropped += 1
        guess.unread.clear()

    def keep(self, guess: Guess) -> None:
        """End a guess and leave what it brought in the cache, as if it had been read."""
        guess.alive = False
        for key, size in guess.unread.items():
            self._waiting.pop(key, None)
            self._unread_bytes -= size
        guess.unread.clear()

    # -- the work

    def _start_workers(self) -> None:
        while self._workers < min(MAX_WORKERS, -(-len(self._queue) // LEAST_PART)):
            self._workers += 1
            self.room.nursery.start_soon(self._work)

    async def _work(self) -> None:
        try:
            while self._queue:
                size = max(LEAST_PART, min(len(self._queue) // MAX_WORKERS, MOST_PART))
                pieces = self._next_pieces(size)
                if pieces:
                    await self._fetch(pieces)
        except Exception:
            log.exception("fetching ahead")  # the readers fetch for themselves
        finally:
            self._workers -= 1

    def _next_pieces(self, most: int) -> dict[Piece, tuple[Guess, Page]]:
        """Take objects from the queue that are still wanted and not there, with their pages."""
        pages = self.room.pages
        pieces: dict[Piece, tuple[Guess, Page]] = {}
        while self._queue and len(pieces) < most:
            guess, bucket, info = self._queue.popleft()
            size = info.identity.size
            self._queued_bytes -= size
            if not guess.alive:
                continue
            key = (self.room.content_of(bucket, info.name, info.identity), 0)
            if pages.peek(key) is not None:
                continue
            page = pages.allocate(key, size)
            if page is None:
                continue
            page.filling = True
            self._waiting[key] = guess
            guess.unread[key] = size
            self._unread_bytes += size
            pieces[Piece(bucket, info, page.view)] = guess, page
        return pieces

    async def _fetch(self, pieces: dict[Piece, tuple[Guess, Page]]) -> None:
        room = self.room
        asked = trio.current_time()
        kept = {p: room.kept_as(p.bucket, p.info.name, p.info.identity) for p in pieces}
        scope = trio.CancelScope()

        def filled(piece: Piece, told: ObjectInfo) -> None:
            _, page = pieces.pop(piece)
            room.settle(page, page.size)
            room.keep(kept[piece], page)
            self.counts.fetched += 1
            room.renewed(piece.bucket, told, asked)
            if not any(guess.alive for guess, _ in pieces.values()):
                scope.cancel()  # nobody waits for the rest, and a slow one would go on for long

        try:
            await room.load([(kept[piece], page) for piece, (_, page) in pieces.items()])
            for piece in [piece for piece, (_, page) in pieces.items() if page.complete]:
                del pieces[piece]
                self.counts.fetched += 1
            if pieces:
                with scope:
                    await room.store.fill_many(list(pieces), filled)
        finally:
            for guess, page in pieces.values():  # who reads these gets the error, or mends it
                room.settle(page, 0)
                self.counts.failed += guess.alive
                if guess.unread.pop(page.key, None) is not None:
                    del self._waiting[page.key]
                    self._unread_bytes -= page.size
