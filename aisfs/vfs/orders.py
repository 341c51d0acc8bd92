"""Files that a reader announced: fetched in the order in which it will read them.

Serves `scans`, which tells of the files that are read, and the control file `order`. A program that
knows its order, as the sampler of a training job does, writes the paths, one per line and relative
to the mount's root; each handle that writes makes an order of its own, so that several processes
can announce theirs.

    lines written ─▶ text ─▶ found (from listings) ─▶ expected, fetched ahead ─▶ read
                                    │ no such file: counted, passed over   └─▶ passed by: given up

Of the text only what is not yet found is kept, of the rest `WINDOW` names ahead of the reader and
`SLACK` behind it.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

import trio

from aisfs.cache.fetch_ahead import FetchAhead, Guess
from aisfs.control.files import table
from aisfs.errors import FsError, NoSpace, NotFound, Stale
from aisfs.store.interface import ObjectInfo
from aisfs.vfs.nodes import FileNode
from aisfs.vfs.path_list import Finder, PathList
from aisfs.vfs.paths import split

if TYPE_CHECKING:
    from aisfs.config import BucketName
    from aisfs.vfs.nodes import Location
    from aisfs.vfs.resolver import Resolver

log = logging.getLogger(__name__)

MOST_TEXT = 16 << 20
"""Bytes of announced paths that all orders keep until they are wanted."""

MAX_ORDERS = 16
"""Orders at a time; the one that was not read for longest makes room."""

WINDOW = 2048
"""Files wanted ahead of the reader; the room in the cache usually ends it before."""

SLACK = 1024
"""Files by which readers beside each other may be behind the foremost."""

PART = 128
"""Files that are given up together."""

IDLE_S = 60.0
"""Seconds without a read after which an order makes room for other guesses."""


class Order:
    """What one handle announced; the sink of its writes.

    Attributes:
        position: how many of the files the foremost reader has begun, in the order.
        ahead: how many were wanted or passed over.
        missing: how many were passed over.
        last: when the order was used last.
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._paths = PathList()
        self._closed = False
        self.position = 0
        self.ahead = 0
        self.missing = 0
        self.last = trio.current_time()
        self.feeding = False
        self.alive = True
        self._expected: dict[Location, int] = {}
        self._parts: deque[tuple[int, Guess]] = deque()

    async def write(self, data: bytes) -> int:
        """Take more of the list; lines may be cut anywhere.

        Raises:
            NoSpace: too many announced files were not read yet.
            Stale: the order was ended for others.
        """
        if not self.alive:
            raise Stale(
                "this order was given up for others that were read: open the file again and "
                "announce what is left"
            )
        if self._orders.text_bytes + len(data) > MOST_TEXT:
            raise NoSpace(
                f"announced paths of {MOST_TEXT >> 20} MiB wait to be read: announce the rest of "
                "the order when some of its files have been read"
            )
        self._paths.write(data)
        self._orders.feed(self)
        return len(data)

    def close(self) -> None:
        """Take the last line, whether it has its newline or not."""
        self._closed = True
        self._paths.end()
        self._orders.feed(self)

    def shown(self) -> str:
        """Return what became of this announcement."""
        return table(
            {
                "wanted": self.ahead,
                "reached": self.position,
                "missing": self.missing,
                "waiting_bytes": self.text_bytes,
            }
        )

    @property
    def text_bytes(self) -> int:
        """Bytes of paths that were not looked for yet."""
        return len(self._paths)

    @property
    def finished(self) -> bool:
        """Whether everything announced has been passed by a reader."""
        return self._closed and self.text_bytes == 0 and self.position >= self.ahead

    @property
    def hungry(self) -> bool:
        """Whether more files may be wanted."""
        if not self.alive or self.ahead - self.position >= WINDOW:
            return False
        return self._paths.ready

    def next_path(self) -> str:
        """Return the first path that was not looked for yet."""
        return self._paths.first

    def pass_over(self, location: Location | None) -> None:
        """Go on to the next path; the present one was wanted at `location`, or is missing."""
        if location is None:
            self.missing += 1
        else:
            self._expected[location] = self.ahead
        self.ahead += 1
        self._paths.drop_first()

    @property
    def guess(self) -> Guess:
        """What the next file is wanted for."""
        if not self._parts or self.ahead >= self._parts[-1][0]:
            self._parts.append((self.ahead + PART, Guess()))
        return self._parts[-1][1]

    def reads(self, location: Location) -> bool:
        """Take note of a reader; whether the order expected it."""
        ordinal = self._expected.get(location)
        if ordinal is None:
            return False
        self.last = trio.current_time()
        self.position = max(self.position, ordinal + 1)
        while self._expected:
            oldest, ordinal = next(iter(self._expected.items()))
            if ordinal >= self.position - SLACK:
                break
            del self._expected[oldest]
        return True

    def passed(self) -> list[Guess]:
        """Take out the parts that all readers have passed."""
        parts = []
        while self._parts and self._parts[0][0] < self.position - SLACK:
            parts.append(self._parts.popleft()[1])
        return parts

    def end(self) -> list[Guess]:
        """End the order and return all that was wanted for it."""
        self.alive = False
        guesses = [guess for _, guess in self._parts]
        self._parts.clear()
        self._expected.clear()
        self._paths.clear()
        return guesses


class Orders:
    """All orders of a mount. Belongs to the loop."""

    def __init__(self, resolver: Resolver, fetch_ahead: FetchAhead) -> None:
        self._fetch_ahead = fetch_ahead
        self._orders: list[Order] = []
        self._finder = Finder(resolver)

    def announce(self) -> Order:
        """Begin a new order."""
        for order in tuple(self._orders):
            if order.finished:
                self._end(order)
        if len(self._orders) >= MAX_ORDERS:
            self._end(min(self._orders, key=lambda order: order.last))
        order = Order(self)
        self._orders.append(order)
        return order

    def shown(self) -> str:
        """Return what became of the announcements, for people and programs."""
        return table(
            {
                "orders": len(self._orders),
                "wanted": sum(order.ahead for order in self._orders),
                "reached": sum(order.position for order in self._orders),
                "missing": sum(order.missing for order in self._orders),
                "waiting_bytes": self.text_bytes,
            }
        )

    @property
    def text_bytes(self) -> int:
        """Bytes of paths that wait in all orders."""
        return sum(order.text_bytes for order in self._orders)

    def reads(self, node: FileNode) -> bool:
        """Take note that a file begins to be read; whether an order expected it."""
        expected = False
        for order in self._orders:
            if order.reads((node.bucket, node.name)):
                expected = True
                for guess in order.passed():
                    self._fetch_ahead.give_up(guess)
                self.feed(order)
        return expected

    def give_up_idle(self, now: float) -> None:
        """End the orders that nobody follows any more."""
        for order in tuple(self._orders):
            if order.last < now - IDLE_S:
                self._end(order)

    def _end(self, order: Order) -> None:
        self._orders.remove(order)
        for guess in order.end():
            self._fetch_ahead.give_up(guess)

    # -- finding what was announced

    def feed(self, order: Order) -> None:
        """Want the next files of an order, in the background."""
        if order.hungry and not order.feeding:
            order.feeding = True
            self._fetch_ahead.room.nursery.start_soon(self._feed, order)

    async def _feed(self, order: Order) -> None:
        try:
            while order.hungry:
                found = await self._find_or_none(order.next_path())
                if not order.alive:
                    return
                if found is None:
                    order.pass_over(None)
                    continue
                bucket, info = found
                if not self._fetch_ahead.want(order.guess, bucket, [info]):
                    return  # no room: the next read makes some
                order.pass_over((bucket, info.name))
                if order.ahead % PART == 0:
                    await trio.lowlevel.checkpoint()
        except Exception:
            log.exception("following an announced order")  # its readers fetch for themselves
        finally:
            order.feeding = False

    async def _find_or_none(self, path: str) -> tuple[BucketName, ObjectInfo] | None:
        try:
            return await self._find(path)
        except FsError as error:
            log.info("%s was announced: %s", path, error)
            return None

    async def _find(self, path: str) -> tuple[BucketName, ObjectInfo]:
        prefix, basename = split(path)
        parent = await self._finder.directory(prefix)
        info = parent.contents.entries.get(basename) if parent.contents is not None else None
        if info is not None and parent.bucket is not None:
            return parent.bucket, info
        node = await self._finder.node(path)
        if not isinstance(node, FileNode) or node.identity is None or node.bucket is None:
            raise NotFound(f"{path} is no file of the cluster")
        return node.bucket, ObjectInfo(node.name, node.identity, "")
