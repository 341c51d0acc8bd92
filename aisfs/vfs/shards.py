"""The shards that are being looked into, each indexed once for a content.

Serves `views`. A shard's identity is believed as long as a file's (C3); another one is another
content with an index of its own, so that nothing is ever read of two. Who has a member open keeps
the content that it was opened of: its bytes are ranges of the object, `ESTALE` once it changed and
they are not cached (C4).

    at ─▶ HEAD, unless young ─▶ open already ────────────────────────────────▶ Content
                                └─ else one task that indexes, for all who wait ─▶ Content
         last user gone, and pushed out by others or changed ─▶ closed, its spools with it
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cachetools

from aisfs.archives.formats import format_of
from aisfs.archives.shard import Shard, open_shard
from aisfs.cache.readahead import AccessPattern
from aisfs.cache.reader import ContentReader
from aisfs.errors import Corrupt, FsError, NotFound, Stale, Unsupported
from aisfs.vfs.making import Kept

if TYPE_CHECKING:
    from aisfs.store.cluster_work import Place
    from aisfs.store.interface import Identity, ObjectInfo
    from aisfs.vfs.making import Making
    from aisfs.vfs.view_objects import ViewObjects
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

BROKEN = 10_000
"""Shards that cannot be looked into and are not tried again while they are what they are."""

FOLLOWED = 8
"""Readers of one shard that are told apart, and each read ahead. More would find a reader to
follow in reads here and there in small shards, and bring what nobody wants."""


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


class Shards:
    """All shards of a mount that are looked into. Belongs to the loop."""

    def __init__(self, objects: ViewObjects, workshop: Workshop, making: Making) -> None:
        self._objects = objects
        self._workshop = workshop
        self.making = making
        self._open: Kept[Place, Content] = Kept(making, MOST_MEMBERS)
        self._broken: cachetools.LRUCache[Place, tuple[Identity, FsError]] = cachetools.LRUCache(
            BROKEN
        )

    def figures(self) -> dict[str, int]:
        """Return how many shards are open, and members that they count as."""
        return {"shards.open": len(self._open), "shards.members": self._open.cost}

    async def at(self, place: Place) -> Content:
        """Return the present content of a shard; until the next await, or a user more.

        Raises:
            NotFound: there is no such object.
            Busy: it takes long to be indexed.
            Corrupt, Unsupported, NoSpace: it cannot be looked into.
            FsError: the cluster's failure.
        """
        try:
            return await self._content(place)
        except Stale:  # it changed since we looked
            self.doubt(place)
            return await self._content(place)

    def doubt(self, place: Place) -> None:
        """Have a shard looked at again: it was found to be another one."""
        self._objects.doubt(place)

    async def _content(self, place: Place) -> Content:
        try:
            info = await self._objects.look(place)
        except NotFound:
            self._open.pop(place)
            raise
        content = self._open.get(place)
        if content is None or not content.info.identity.same_content(info.identity):
            self._raise_if_broken(place, info)
            key = Shards, place, info.identity
            doing = f"looking into {place}"
            await self.making.once(key, doing, lambda: self._index(place, info))
            content = self._open.get(place)
        if content is None or not content.info.identity.same_content(info.identity):
            raise Stale(f"{place} was replaced, or others took its room, meanwhile")
        content.info = info  # who may read it may have changed
        return content

    def _raise_if_broken(self, place: Place, info: ObjectInfo) -> None:
        if place in self._broken:
            identity, error = self._broken[place]
            if identity.same_content(info.identity):
                raise type(error)(str(error))

    async def _index(self, place: Place, info: ObjectInfo) -> None:
        bucket, name = place
        kind = format_of(name)
        assert kind is not None
        reader = ContentReader(self._workshop.room, bucket, name, info.identity)
        reader.users = 2  # readers of its members: what one has passed is what others come to
        source = ObjectSource(reader, self._workshop.window)
        try:
            shard = await self.making.with_room(lambda: open_shard(source, kind, self.making.room))
        except (Corrupt, Unsupported) as error:  # it will not be another time
            told = type(error)(f"looking into {place}: {error}")
            log.warning("%s", told)
            self._broken[place] = info.identity, told
            raise
        finally:
            reader.rest()
        log.info("looking into %s: %d members", place, len(shard.members) - 1)
        if shard.left_out:
            log.warning("%s: %d members have no place in a tree", place, shard.left_out)
        self._open.put(place, Content(info, shard, reader))
