"""Which files of a directory are read next, guessed from those that were.

Serves `open_files`, which tells of each file's first read; `cache/fetch_ahead` gets its guesses.

    reads that follow the listing ─▶ a run: the files after it, a window that doubles
    reads all over one directory  ─▶ the whole directory, if it fits
    an order that was announced   ─▶ the files after the one that is read, in that order

Several processes that share a directory make several runs, or one within whose window they drift
apart. Runs that nobody follows any more are given up when others need the room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cachetools
import trio

from aisfs.cache.fetch_ahead import MAX_OBJECT, FetchAhead, Guess
from aisfs.vfs.orders import Orders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aisfs.vfs.nodes import DirectoryNode, FileNode
    from aisfs.vfs.resolver import Resolver

NEAR = 64
"""Places by which a read may run ahead of what was fetched: readers beside each other overtake."""

STRIDE = 8
"""Places that a reader may skip and still begin a run: he shares the directory with others."""

FIRST_WINDOW = 16
"""Files fetched ahead at first; doubles with each file that is read."""

LAST_WINDOW = 512
"""Most files fetched ahead of one reader: enough for 25,000 a second with a round-trip of 20 ms,
and no more, for what was fetched a second ago has to be asked about before it is opened (C2)."""

MAX_RUNS = 16
"""Readers of one directory that are told apart."""

MAX_SCANS = 16
"""Directories that are watched at a time."""

STRAYS = 16
"""Reads that no run expected, after which a directory counts as read all over."""

IDLE_S = 5.0
"""Seconds without a read after which a run may be given up for another."""


class _Run:
    """One reader that follows the listing."""

    __slots__ = ("ahead", "guess", "hits", "last", "next")

    def __init__(self, place: int, now: float) -> None:
        self.next = place + 1
        self.ahead = place + 1
        self.hits = 0
        self.last = now
        self.guess = Guess()

    def expects(self, place: int) -> bool:
        """Tell whether a read belongs to this run: he is at its head, or one of those who lag."""
        if not self.hits:
            return self.next <= place < self.next + STRIDE
        return self.next - LAST_WINDOW <= place <= max(self.ahead, self.next + NEAR)

    @property
    def window(self) -> int:
        return min(FIRST_WINDOW << min(self.hits, 10), LAST_WINDOW)


class _Scan:
    """What is known of the reads of one directory."""

    def __init__(self, directory: DirectoryNode) -> None:
        entries = directory.contents.entries if directory.contents is not None else {}
        self.order = [
            name
            for name, info in entries.items()
            if info is not None and info.identity.size <= MAX_OBJECT
        ]
        self.places = {name: place for place, name in enumerate(self.order)}
        self.runs: list[_Run] = []
        self.strays = 0
        self.whole: Guess | None = None

    def guesses(self) -> Iterator[Guess]:
        for run in self.runs:
            yield run.guess
        if self.whole is not None:
            yield self.whole


class Scans:
    """All directories that are being read. Belongs to the loop.

    Attributes:
        orders: what readers announced; a file that an order expects leads to no guess.

    Args:
        guessing: tells whether files are fetched that nobody announced.
    """

    def __init__(
        self, resolver: Resolver, fetch_ahead: FetchAhead, guessing: Callable[[], bool]
    ) -> None:
        self._guessing = guessing
        self._table = resolver.table
        self._fetch_ahead = fetch_ahead
        self.orders = Orders(resolver, fetch_ahead)
        self._scans: cachetools.LRUCache[int, _Scan] = _Watched(MAX_SCANS, fetch_ahead)

    def reads(self, node: FileNode) -> None:
        """Take note that somebody begins to read a file, and fetch what he will read next."""
        if self.orders.reads(node) or not self._guessing():
            return
        directory, basename = self._table.parent_of(node.bucket, node.name)
        if directory is None or directory.contents is None:
            return
        assert directory.bucket is not None
        scan = self._scan_of(directory, basename)
        place = scan.places.get(basename)
        if place is None:
            return
        now = trio.current_time()
        expecting = [run for run in scan.runs if run.expects(place)]
        run = min(expecting, key=lambda run: abs(run.next - place), default=None)
        if run is None:
            self._stray(directory, scan, place, now)
            return
        run.next = max(run.next, place + 1)
        run.last = now
        run.hits += 1
        run.ahead = max(run.ahead, run.next)
        if run.ahead - run.next <= run.window // 2:
            upto = min(run.next + run.window, len(scan.order))
            names = scan.order[run.ahead : upto]
            if names:
                wanted = self._want(run.guess, directory, names)
                run.ahead += wanted

    def _scan_of(self, directory: DirectoryNode, basename: str) -> _Scan:
        scan = self._scans.get(directory.ino)
        assert directory.contents is not None
        if scan is None or (basename not in scan.places and basename in directory.contents.entries):
            scan = self._scans[directory.ino] = _Scan(directory)
        return scan

    def _stray(self, directory: DirectoryNode, scan: _Scan, place: int, now: float) -> None:
        """Take note of a read that nobody expected: perhaps the first of a run."""
        if len(scan.runs) >= MAX_RUNS:
            # One that was never followed goes first, unless all others have long been idle.
            oldest = min(
                scan.runs, key=lambda run: (run.hits > 0 and run.last > now - IDLE_S, run.last)
            )
            scan.runs.remove(oldest)
            self._fetch_ahead.give_up(oldest.guess)
        scan.runs.append(_Run(place, now))
        scan.strays += 1
        if scan.whole is None and scan.strays >= min(STRAYS, max(len(scan.order) // 8, 3)):
            scan.whole = Guess()
            entries = directory.contents.entries if directory.contents is not None else {}
            total = sum(info.identity.size for name in scan.order if (info := entries.get(name)))
            if total <= self._fetch_ahead.room_left:
                self._want(scan.whole, directory, scan.order)

    def _want(self, guess: Guess, directory: DirectoryNode, names: list[str]) -> int:
        """Fetch files ahead and return how many of the names were taken."""
        assert directory.bucket is not None
        entries = directory.contents.entries if directory.contents is not None else {}
        objects = [entries.get(name) for name in names]
        need = sum(info.identity.size for info in objects if info is not None)
        if need > self._fetch_ahead.room_left:
            now = trio.current_time()
            self.orders.give_up_idle(now)
            self._give_up_idle(now - IDLE_S)
        return self._fetch_ahead.want(guess, directory.bucket, objects)

    def _give_up_idle(self, before: float) -> None:
        for scan in tuple(self._scans.values()):
            for run in tuple(scan.runs):
                if run.last < before:
                    scan.runs.remove(run)
                    self._fetch_ahead.give_up(run.guess)


class _Watched(cachetools.LRUCache[int, _Scan]):
    """The directories read last; the guesses about one that is forgotten are given up."""

    def __init__(self, most: int, fetch_ahead: FetchAhead) -> None:
        super().__init__(most)
        self._fetch_ahead = fetch_ahead

    def __delitem__(self, ino: int) -> None:  # also called for evictions
        for guess in self[ino].guesses():
            self._fetch_ahead.give_up(guess)
        super().__delitem__(ino)
