"""Tree walks: recognised by how directories are visited, answered from a flat listing ahead.

Serves `resolver`. A walk costs the cluster a request for each large page of objects, not for each
directory:

    a directory is visited soon after its sibling ─▶ a walk of their parent begins
    a directory of the walk is visited     ─▶ its part of the window
        behind the window's end ─▶ the next page, which is asked for when half of the last is passed
        elsewhere              ─▶ the window starts anew at the directory
        longer than the window ─▶ not answered here

A visit is an opendir(2), or a look-up of a directory that a listing showed without its attributes:
`ls -l` asks for those of each subdirectory.

Invariants: the pages of a window follow each other without a gap, and at most two of them lie ahead
of the walker. A page is believed for the time to live of a listing after it arrived (C3), and says
nothing of a directory that this mount changed after it was asked for. A walk says which objects
there are, never that there is nothing.
"""

from __future__ import annotations

import bisect
import logging
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import cachetools
import trio

from aisfs.errors import FsError
from aisfs.store.cluster_work import Place
from aisfs.store.interface import Listing
from aisfs.vfs.directory import DirectoryStream, Entry, page_size
from aisfs.vfs.paths import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs.store.interface import BucketName, ObjectInfo, ObjectStore

log = logging.getLogger(__name__)

SIBLING_S = 1.0
"""Seconds within which one walker visits siblings."""

MAX_WALKS = 2
"""Walks at a time: each holds up to three pages, at 0.4 KiB a name."""

MAX_PAGES = 3
"""Pages of a window: one that was passed, one that is used, one fetched ahead."""

WORTH = 4
"""Directories that a window has to answer: fewer twice in a row, and the walk ends."""

_LEAST_PAUSE_S = 0.1
"""Seconds between two looks whether a walk is over; its lifetime may become 0 meanwhile."""


@dataclass(frozen=True, slots=True)
class _Page:
    """The objects whose names are behind `after` and, unless it is None, not behind `upto`."""

    after: str
    upto: str | None
    names: list[str]
    objects: list[ObjectInfo]
    started_at: float
    arrived_at: float

    def ends_before(self, name: str) -> bool:
        return self.upto is not None and self.upto < name


class Part:
    """What a flat listing says of one directory.

    Attributes:
        stored: the directory's stored attributes, "" if it has none.
        stream: the directory's listing, read to its end.
        entries: its entries.
    """

    def __init__(
        self, store: ObjectStore, bucket: BucketName, prefix: str, pages: list[_Page]
    ) -> None:
        direct: list[ObjectInfo] = []
        below: dict[str, str] = {}
        for info in _between(pages, prefix, _behind(prefix)):
            child, slash, rest = info.name[len(prefix) :].partition("/")
            if not slash:
                direct.append(info)
            elif rest == MARKER:
                below[child] = info.attributes
            else:
                below.setdefault(child, "")
        self.stream = DirectoryStream(store, bucket, prefix)
        self.stream.started_at = min(page.started_at for page in pages)
        self.stream.arrived_at = min(page.arrived_at for page in pages)
        listing = Listing(direct, [f"{prefix}{child}/" for child in below], "")
        self.entries = [
            Entry(entry.name, None, below[entry.name]) if entry.is_directory else entry
            for entry in self.stream.take(listing)
        ]
        marker = self.stream.marker
        self.stored = marker.attributes if marker is not None else ""
        self.exists = bool(self.entries) or marker is not None


class Walks:
    """All walks of a mount. Belongs to the loop.

    Args:
        lifetime_s: for how long a page is believed; with 0 there are no walks.
    """

    def __init__(self, store: ObjectStore, nursery: trio.Nursery, lifetime_s: float) -> None:
        self.store = store
        self.nursery = nursery
        self.lifetime_s = lifetime_s
        self._walks: cachetools.LRUCache[Place, _Walk] = cachetools.LRUCache(MAX_WALKS)
        self._visited: cachetools.LRUCache[Place, tuple[str, float]] = cachetools.LRUCache(64)
        """Directory → its child that was visited last, and when."""

    def visits(self, bucket: BucketName, directory: str) -> None:
        """Take note that a directory is opened or looked up again: perhaps by a walker."""
        if not directory or self.lifetime_s <= 0:
            return
        place = Place(bucket, _parent(directory))
        now = trio.current_time()
        last, when = self._visited.get(place, (directory, now))
        self._visited[place] = directory, now
        if last != directory and now - when <= SIBLING_S and self._walk_of(*place) is None:
            log.debug("a walk of %s begins at %s", place.name, directory)
            walk = self._walks[place] = _Walk(self, bucket, place.name)
            self.nursery.start_soon(self._fade, place, walk)

    async def part(self, bucket: BucketName, directory: str, changed_at: float) -> Part | None:
        """Return what is known of a directory; None if it has to be listed.

        Args:
            bucket: where it is.
            directory: its prefix.
            changed_at: when this mount last changed it; what was asked for before is not believed.
        """
        walk = self._walk_of(bucket, _parent(directory)) if directory else None
        if walk is None:
            return None
        try:
            pages = await walk.pages(directory)
        except FsError as error:
            log.debug("the walk of %s stops: %s", walk.prefix, error)
            walk.over = True
            return None
        if not pages or any(page.started_at < changed_at for page in pages):
            return None
        part = Part(self.store, bucket, directory, pages)
        return part if part.exists else None

    def _walk_of(self, bucket: BucketName, prefix: str) -> _Walk | None:
        """Return the walk that goes through a directory, of itself or of one above it."""
        if not self._walks:
            return None
        while True:
            walk = self._walks.get(Place(bucket, prefix))
            if walk is not None and not walk.over:
                return walk
            if not prefix:
                return None
            prefix = _parent(prefix)

    async def _fade(self, place: Place, walk: _Walk) -> None:
        """Let go of what nobody came for; a walk without pages ends."""
        while self._walks.get(place) is walk and not walk.over:
            await trio.sleep(max(self.lifetime_s, _LEAST_PAUSE_S))
            walk.let_go()
            if walk.idle:
                break
        walk.over = True
        if self._walks.get(place) is walk:
            del self._walks[place]


class _Walk:
    """A moving window of the flat listing of one prefix.

    Attributes:
        over: nothing more comes from it.
    """

    def __init__(self, walks: Walks, bucket: BucketName, prefix: str) -> None:
        self._walks = walks
        self._bucket = bucket
        self.prefix = prefix
        self.over = False
        self._pages: deque[_Page] = deque()
        self._asking: trio.Event | None = None
        self._error: FsError | None = None
        self._requests = 0
        self._answered = WORTH
        self._poor = 0

    @property
    def idle(self) -> bool:
        """Whether it holds nothing and waits for nothing."""
        return not self._pages and self._asking is None

    def let_go(self) -> None:
        """Drop the pages that are too old to be believed."""
        oldest = trio.current_time() - self._walks.lifetime_s
        while self._pages and self._pages[0].arrived_at <= oldest:
            self._pages.popleft()
            self._requests = min(self._requests, 1)  # a shorter one: this was not used up

    async def pages(self, directory: str) -> list[_Page]:
        """Return the pages that hold a directory whole; none if the window does not.

        Raises:
            FsError: the cluster's failure.
        """
        self.let_go()
        found = self._holding(directory)
        for _ in range(2):  # what is under way may reach it, or its end may be on a second page
            if found is not None or self.over:
                break
            asking = self._move_to(directory) if self._asking is None else self._asking
            if asking is None:
                break
            await asking.wait()
            found = self._holding(directory)
        if self._error is not None:
            raise self._error
        if found is None:
            return []
        self._answered += 1
        self._pass(directory)
        return found

    def _holding(self, directory: str) -> list[_Page] | None:
        """Return the pages of the window that have the names of a directory, if all are there."""
        if not self._pages or self._pages[0].after > directory:
            return None
        end = _behind(directory)
        if self._pages[-1].ends_before(end):
            return None
        return [p for p in self._pages if not p.ends_before(directory) and p.after < end]

    def _move_to(self, directory: str) -> trio.Event | None:
        """Begin to make the window reach a directory: by its next page, or anew.

        Returns:
            Set when that is done; None where the directory is too long, or it is not worth it.
        """
        pages = self._pages
        if pages and pages[0].after <= directory and not pages[-1].ends_before(directory):
            while pages[0].ends_before(directory):
                pages.popleft()
            return self._ask(directory) if len(pages) < MAX_PAGES else None
        self._poor = self._poor + 1 if self._answered < WORTH else 0
        self._answered = 0
        pages.clear()
        if self._poor > 1:
            self.over = True
            return None
        return self._ask(directory)

    def _ask(self, directory: str) -> trio.Event:
        """Begin to fetch the page behind the window, or the one that a directory begins."""
        after = self._pages[-1].upto if self._pages else directory
        assert after is not None
        asking = self._asking = trio.Event()
        self._walks.nursery.start_soon(self._fetch, after, asking)
        return asking

    async def _fetch(self, after: str, asking: trio.Event) -> None:
        started = trio.current_time()
        size = page_size(self._bucket, self._requests)
        try:
            listing = await self._walks.store.list(
                self._bucket, self.prefix, after, size, recursive=True
            )
            self._take(after, listing, started)
        except FsError as error:
            self._error = error
            self.over = True
        finally:
            self._asking = None
            asking.set()

    def _take(self, after: str, listing: Listing, started: float) -> None:
        self._requests += 1
        objects = [info for info in listing.objects if info.name > after]
        names = [info.name for info in objects]
        upto = listing.token or None
        if listing.lacking:
            self.over = True  # each directory's own listing says so
            return
        if any(one >= other for one, other in pairwise(names)):
            self.over = True  # not in the order in which Python compares: names that are no UTF-8
            return
        self._pages.append(_Page(after, upto, names, objects, started, trio.current_time()))

    def _pass(self, directory: str) -> None:
        """Drop what the walker left behind, and fetch ahead when the last page is half passed."""
        pages = self._pages
        while len(pages) > 1 and pages[1].ends_before(directory):
            pages.popleft()  # one that was passed stays, for walkers that sort in another way
        names = pages[-1].names
        half = names[len(names) // 2] if names else ""
        if directory >= half and pages[-1].upto is not None and self._asking is None:
            self._ask(directory)


def _parent(directory: str) -> str:
    head, slash, _ = directory[:-1].rpartition("/")
    return head + slash


def _behind(directory: str) -> str:
    """Return a text behind all names of a directory: "0" follows "/"."""
    return directory[:-1] + "0"


def _between(pages: list[_Page], first: str, end: str) -> Iterator[ObjectInfo]:
    for page in pages:
        start = bisect.bisect_left(page.names, first)
        yield from page.objects[start : bisect.bisect_left(page.names, end, start)]
