"""The shards that are being looked into, each indexed once for a content.

Serves `views`. A shard's identity is believed as long as a file's (C3); another one is another
content with an index of its own, so that nothing is ever read of two. Who has a member open keeps
the content that it was opened of: its bytes are ranges of the object, `ESTALE` once it changed and
they are not cached (C4).

    at ─▶ HEAD, unless young ─▶ open already ─────────────────────────────────▶ Content
                                └─ else one task that indexes, for all who wait ─▶ Content
         last user gone, and pushed out by others or changed ─▶ closed, its spools with it
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import cachetools
import trio

from aisfs.archives.formats import format_of
from aisfs.archives.shard import Shard, open_shard
from aisfs.cache.readahead import AccessPattern
from aisfs.cache.reader import ContentReader
from aisfs.errors import Busy, Corrupt, FsError, IoFailure, NoSpace, NotFound, Stale, Unsupported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.archives.spool import Room
    from aisfs.config import BucketName
    from aisfs.store.interface import Identity, ObjectInfo
    from aisfs.vfs.resolver import Resolver
    from aisfs.vfs.workshop import Workshop

log = logging.getLogger(__name__)

MOST_MEMBERS = 500_000
"""Members of all shards that are kept open: 150 MB of memory at 300 bytes each, or 200 shards of
2,000 members. The one that was opened last stays, whatever it has."""

LEAST_MEMBERS = 500
"""Members as which a smaller shard counts, for its reader, patterns and descriptor: at most 1,000
shards are open."""

LONGEST_INDEX = 128 << 20
"""Bytes of memory that the index of one shard may take: about 300,000 members."""

REMEMBERED = 10_000
"""Identities of shards that are remembered, beside the ones of those that are open."""

FOLLOWED = 8
"""Readers of one shard that are told apart, and each read ahead. More would find a reader to
follow in reads here and there in small shards, and bring what nobody wants."""

WAIT_S = 26.0
"""Longest that somebody waits for an index, as for what other control files tell: nobody can kill
a program that waits in `open`. Indexing goes on, and who asks again finds it."""

Place = tuple["BucketName", str]
T = TypeVar("T")


class ObjectSource:
    """The bytes of a shard, as ranges of its object through the page cache.

    Members have no reader each: whoever reads them one after the other, in the order of the
    archive, reads the shard from end to end, and is read ahead as one.
    """

    def __init__(self, reader: ContentReader, window: int) -> None:
        self.size = reader.size
        self._reader = reader
        self._window = window
        self._patterns: list[AccessPattern] = []  # the one that was used last at the end

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return exactly `size` bytes at `offset`; valid until the caller's next await.

        Raises:
            Stale: the object is another one now, and they are not cached.
            Corrupt: the archive says that it is longer than it is.
            FsError: the cluster's failure.
        """
        data = await self._reader.read(offset, size, self._pattern(offset, offset + size))
        if len(data) != size:
            raise Corrupt(f"{self._reader.name} has {self.size} bytes, none at {offset + size - 1}")
        return data

    def _pattern(self, start: int, end: int) -> AccessPattern:
        patterns = self._patterns
        for pattern in reversed(patterns):
            if pattern.continued_by(start, end):
                patterns.remove(pattern)
                break
        else:
            pattern = AccessPattern(self._window)
            del patterns[: len(patterns) - FOLLOWED + 1]
        patterns.append(pattern)
        return pattern


@dataclass(slots=True, eq=False)
class Content:
    """One content of a shard, open.

    Attributes:
        users: who has one of its members open, or reads from it.
        retired: nobody finds it any more; it is closed with its last user.
    """

    info: ObjectInfo
    shard: Shard
    reader: ContentReader
    users: int = 0
    retired: bool = False

    @property
    def cost(self) -> int:
        """What it counts as, in members."""
        return max(len(self.shard.members), LEAST_MEMBERS)

    def release(self) -> None:
        """Take note that a user is gone."""
        self.users -= 1  # streams go on: whoever reads the next member opens it now
        self._close_unused()

    def retire(self) -> None:
        """Let nobody else find it."""
        self.retired = True
        self._close_unused()

    def _close_unused(self) -> None:
        if self.retired and not self.users:
            self.reader.rest()
            self.shard.close()


@dataclass(slots=True, eq=False)
class _Known:
    """What is known of a shard, and when it was asked for."""

    info: ObjectInfo
    asked_at: float


@dataclass(slots=True, eq=False)
class _Opening:
    """A content that is being indexed."""

    info: ObjectInfo
    over: trio.Event = field(default_factory=trio.Event)
    content: Content | None = None
    error: FsError | None = None


class Shards:
    """All shards of a mount that are looked into. Belongs to the loop."""

    def __init__(self, resolver: Resolver, workshop: Workshop) -> None:
        self._resolver = resolver
        self._workshop = workshop
        self._known: cachetools.LRUCache[Place, _Known] = cachetools.LRUCache(REMEMBERED)
        self._open: OrderedDict[Place, Content] = OrderedDict()
        self._opening: dict[Place, _Opening] = {}
        self._broken: cachetools.LRUCache[Place, tuple[Identity, FsError]] = cachetools.LRUCache(
            REMEMBERED
        )

    def figures(self) -> dict[str, int]:
        """Return how many shards are open, and what was unpacked of them."""
        return {
            "shards.open": len(self._open),
            "shards.members": sum(len(each.shard.members) for each in self._open.values()),
            "shards.unpacked_bytes": self._room.used,
        }

    @property
    def _room(self) -> Room:
        return self._workshop.unpacked

    # -- which content a shard has

    def learn(self, place: Place, info: ObjectInfo, asked_at: float) -> None:
        """Take note of what the cluster told of a shard."""
        known = self._known.get(place)
        if known is not None and asked_at < known.asked_at:
            return
        self._known[place] = _Known(info, asked_at)
        content = self._open.get(place)
        if content is not None and not content.info.identity.same_content(info.identity):
            del self._open[place]
            content.retire()

    async def look(self, place: Place) -> ObjectInfo:
        """Return what a shard is now, as young as any attributes have to be.

        Raises:
            NotFound: there is no such object.
        """
        known, now = self._known.get(place), trio.current_time()
        lifetime = self._resolver.lifetimes.attributes
        if known is not None and now - known.asked_at < lifetime and self._unchanged(place, known):
            return known.info
        try:
            info = await self._resolver.store.head(*place)
        except NotFound:
            self._forget(place)
            raise
        self.learn(place, info, now)
        return info

    def doubt(self, place: Place) -> None:
        """Have the cluster asked by whoever looks next: it was found to be another one."""
        self._known.pop(place, None)

    def _unchanged(self, place: Place, known: _Known) -> bool:
        """Tell whether this mount did not store another content since."""
        node = self._resolver.table.find(*place)
        return node is None or node.changed_at < known.asked_at

    def _forget(self, place: Place) -> None:
        self._known.pop(place, None)
        content = self._open.pop(place, None)
        if content is not None:
            content.retire()

    # -- its members

    async def at(self, place: Place) -> Content:
        """Return the present content of a shard; until the next await, or a user more.

        Raises:
            NotFound: there is no such object.
            Busy: it takes long to be indexed.
            Corrupt, Unsupported, NoSpace: it cannot be looked into.
            FsError: the cluster's failure.
        """
        info = await self.look(place)
        try:
            return await self._content(place, info)
        except Stale:  # it changed since we looked
            self.doubt(place)
            return await self._content(place, await self.look(place))

    async def _content(self, place: Place, info: ObjectInfo) -> Content:
        content = self._open.get(place)
        if content is not None and content.info.identity.same_content(info.identity):
            self._open.move_to_end(place)
            return content
        identity, error = self._broken.get(place, (None, None))
        if identity is not None and error is not None and identity.same_content(info.identity):
            raise type(error)(str(error))
        opening = self._opening.get(place)
        if opening is None or not opening.info.identity.same_content(info.identity):
            opening = self._opening[place] = _Opening(info)
            self._resolver.nursery.start_soon(self._run, place, opening)
        with trio.move_on_after(WAIT_S):
            await opening.over.wait()
        if opening.error is not None:
            raise type(opening.error)(str(opening.error))
        if opening.content is None:
            raise Busy(f"{_url(place)} is still being indexed: try again later")
        return opening.content

    async def _run(self, place: Place, opening: _Opening) -> None:
        """Index a shard, for all who wait for it."""
        try:
            opening.content = content = await self._index(place, opening.info)
            self._keep(place, content)
        except FsError as error:
            opening.error = type(error)(f"looking into {_url(place)}: {error}")
            if isinstance(error, Corrupt | Unsupported):  # it will not be another time
                log.warning("%s", opening.error)
                self._broken[place] = opening.info.identity, opening.error
        except Exception as error:  # a bug must not end the mount
            opening.error = IoFailure(f"looking into {_url(place)}: {error!r}")
            log.exception("indexing a shard")
        finally:
            if self._opening.get(place) is opening:
                del self._opening[place]
            opening.over.set()

    async def _index(self, place: Place, info: ObjectInfo) -> Content:
        bucket, name = place
        kind = format_of(name)
        assert kind is not None
        reader = ContentReader(self._workshop.room, bucket, name, info.identity)
        reader.users = 2  # readers of its members: what one has passed is what others come to
        source = ObjectSource(reader, self._workshop.window)
        try:
            shard = await self.with_room(lambda: open_shard(source, kind, self._room))
        finally:
            reader.rest()
        log.info("looking into %s: %d members", _url(place), len(shard.members) - 1)
        if shard.left_out:
            log.warning("%s: %d members have no place in a tree", _url(place), shard.left_out)
        return Content(info, shard, reader)

    def _keep(self, place: Place, content: Content) -> None:
        """Let others find a content, and make room for it.

        Raises:
            Stale: it is known to be the present one no more.
        """
        known = self._known.get(place)
        if known is not None and not known.info.identity.same_content(content.info.identity):
            content.retire()
            raise Stale("it was replaced meanwhile")
        old = self._open.pop(place, None)
        if old is not None:
            old.retire()
        self._open[place] = content
        while sum(each.cost for each in self._open.values()) > MOST_MEMBERS:
            if not self._drop_one(content):
                return

    def _drop_one(self, keep: Content | None = None) -> bool:
        """Close the shard that was used longest ago and is not in use now; tell if there is one."""
        for place, content in self._open.items():
            if not content.users and content is not keep:
                del self._open[place]
                content.retire()
                return True
        return False

    async def with_room(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what may unpack something, again with more room if there is not enough.

        Raises:
            NoSpace: nor is there if others are given up.
        """
        try:
            return await work()
        except NoSpace:
            used = self._room.used
            while self._room.used > self._room.spool // 2 and self._drop_one():
                pass
            if self._room.used == used:
                raise
            return await work()


def _url(place: Place) -> str:
    bucket, name = place
    return bucket.url_of(name)
