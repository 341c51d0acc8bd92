"""Buckets as directories, whose objects each view shows in its own way.

Serves `views`, `shards` and `outputs`. What is in a bucket is listed; single names are asked for
with a HEAD and a LIST, as those of the mount (C30). An object's identity is believed as long as a
file's (C3). Whom the mount does not let read an object, a view does not let read what it makes of
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import cachetools
import trio

from aisfs.control.files import ControlDirectory
from aisfs.control.information import bucket_below_provider
from aisfs.errors import Invalid, NotFound
from aisfs.store.cluster_work import Place
from aisfs.store.interface import MAX_PAGE
from aisfs.vfs.attributes import Kind
from aisfs.vfs.paths import MARKER, SHADOWED, shadowed_name, split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aisfs.config import BucketName
    from aisfs.control.files import ControlEntry
    from aisfs.store.interface import ObjectInfo
    from aisfs.vfs.resolver import Resolver

FEWEST = 1000
"""Names that a look-up asks for to learn whether there is a directory: no cluster lists fewer."""

REMEMBERED = 10_000
"""Objects, and names that are directories or not, that are remembered."""

DIRECTORY_S = 10.0
"""Directories that were seen are believed so long, as other names of control files."""


@dataclass(frozen=True, slots=True)
class _Known:
    info: ObjectInfo
    asked_at: float


class ViewObjects:
    """What is known of the objects that views show. Belongs to the loop."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._known: cachetools.LRUCache[Place, _Known] = cachetools.LRUCache(REMEMBERED)

    def learn(self, place: Place, info: ObjectInfo, asked_at: float) -> None:
        """Take note of what the cluster told of an object."""
        known = self._known.get(place)
        if known is None or asked_at >= known.asked_at:
            self._known[place] = _Known(info, asked_at)

    def doubt(self, place: Place) -> None:
        """Have the cluster asked by whoever looks next: it was found to be another one."""
        self._known.pop(place, None)

    async def look(self, place: Place) -> ObjectInfo:
        """Return what an object is now, as young as any attributes have to be.

        Raises:
            NotFound: there is no such object.
        """
        known, now = self._known.get(place), trio.current_time()
        lifetime = self.resolver.lifetimes.attributes
        if known is not None and now - known.asked_at < lifetime and self._unchanged(place, known):
            return known.info
        self.doubt(place)
        info = await self.resolver.store.head(*place)
        self.learn(place, info, now)
        return info

    def _unchanged(self, place: Place, known: _Known) -> bool:
        """Tell whether this mount did not store another content since."""
        node = self.resolver.table.find(*place)
        return node is None or node.changed_at < known.asked_at


class ObjectView(Protocol):
    """How a view shows objects.

    Attributes:
        remembered: whether an entry may be found for a while without being made again.
    """

    remembered: bool

    def shows(self, name: str) -> bool:
        """Tell whether an object of that name can be shown."""

    async def maker(self) -> Callable[[str, BucketName, ObjectInfo], ControlEntry]:
        """Return what makes the entry of a basename and an object."""


class BucketTrees:
    """The buckets of a mount in a view: those that it shows, or the one, or the part of it."""

    def __init__(self, objects: ViewObjects) -> None:
        self._objects = objects
        self._resolver = objects.resolver
        self._store = objects.resolver.store
        root = self._resolver.table.root
        self._mounted, self._prefix = root.bucket, root.name
        self._directories: cachetools.TTLCache[Place, bool] = cachetools.TTLCache(
            REMEMBERED, DIRECTORY_S, trio.current_time
        )

    def directory(self, name: str, view: ObjectView) -> ControlDirectory:
        """Return the directory of all providers, as a view shows their objects."""
        return ControlDirectory(name, listed=partial(self._providers, view))

    async def _buckets(self) -> list[BucketName]:
        if self._mounted is not None:
            return [self._mounted]
        return await self._store.facts.buckets()

    async def _providers(self, view: ObjectView) -> dict[str, ControlEntry]:
        return {
            provider: ControlDirectory(provider, listed=partial(self._buckets_of, view, provider))
            for provider in {bucket.provider for bucket in await self._buckets()}
        }

    async def _buckets_of(self, view: ObjectView, provider: str) -> dict[str, ControlEntry]:
        made = (
            self._directory(bucket_below_provider(bucket), view, bucket, "")
            for bucket in await self._buckets()
            if bucket.provider == provider
        )
        return {directory.name: directory for directory in made}

    def _directory(
        self, name: str, view: ObjectView, bucket: BucketName, prefix: str
    ) -> ControlDirectory:
        return ControlDirectory(
            name,
            listed=partial(self._listed, view, bucket, prefix),
            find=partial(self._find, view, bucket, prefix),
            remembered=view.remembered,
            mode=self._resolver.presentation.dir_mode & 0o555,
        )

    def _above_mounted(
        self, view: ObjectView, bucket: BucketName, prefix: str
    ) -> dict[str, ControlEntry] | None:
        """Return the one name that leads to what is mounted; None below its top."""
        if prefix.startswith(self._prefix):
            return None
        name, _, _ = self._prefix[len(prefix) :].partition("/")
        return {name: self._directory(name, view, bucket, f"{prefix}{name}/")}

    async def _listed(
        self, view: ObjectView, bucket: BucketName, prefix: str
    ) -> Mapping[str, ControlEntry]:
        """Return the directories and objects of a directory."""
        above = self._above_mounted(view, bucket, prefix)
        if above is not None:
            return above
        make = await view.maker()
        found: dict[str, ControlEntry] = {}
        objects: dict[str, ObjectInfo] = {}
        token = ""
        while True:
            asked_at = trio.current_time()
            listing = await self._store.list(bucket, prefix, token, MAX_PAGE, recursive=False)
            for directory in listing.directories:
                _, name = split(directory)
                found[name] = self._directory(name, view, bucket, directory)
            for info in listing.objects:
                if self._is_shown(view, bucket, info):
                    self._objects.learn(Place(bucket, info.name), info, asked_at)
                    objects[info.name[len(prefix) :]] = info
            if not listing.token:
                break
            token = listing.token
        for basename, info in objects.items():
            shadowed = basename in found
            self._directories[Place(bucket, f"{info.name}/")] = shadowed
            name = basename + SHADOWED if shadowed else basename
            found[name] = make(name, bucket, info)
        return found

    def _is_shown(self, view: ObjectView, bucket: BucketName, info: ObjectInfo) -> bool:
        return (
            view.shows(info.name)
            and split(info.name)[1] != MARKER
            and self._resolver.answers.shown(bucket, info).kind is Kind.FILE
        )

    async def _find(
        self, view: ObjectView, bucket: BucketName, prefix: str, name: str
    ) -> ControlEntry | None:
        """Return a directory, or else an object. C28: a directory takes the name that both have."""
        above = self._above_mounted(view, bucket, prefix)
        if above is not None:
            return above.get(name)
        try:
            if await self._is_directory(bucket, f"{prefix}{name}/"):
                return self._directory(name, view, bucket, f"{prefix}{name}/")
            shadowed = shadowed_name(name)
            if shadowed is not None and await self._is_directory(bucket, f"{prefix}{shadowed}/"):
                return await self._find_object(view, name, bucket, prefix + shadowed)
            return await self._find_object(view, name, bucket, prefix + name)
        except (NotFound, Invalid):  # Invalid: the protocol cannot even ask for it
            return None

    async def _find_object(
        self, view: ObjectView, name: str, bucket: BucketName, path: str
    ) -> ControlEntry | None:
        if not view.shows(path):
            return None
        info = await self._objects.look(Place(bucket, path))
        self._directories.setdefault(Place(bucket, f"{path}/"), False)
        return (
            (await view.maker())(name, bucket, info) if self._is_shown(view, bucket, info) else None
        )

    async def _is_directory(self, bucket: BucketName, prefix: str) -> bool:
        """Tell whether there is a directory; that there is none is believed beside an object."""
        place = Place(bucket, prefix)
        known = self._directories.get(place)
        if known is None:
            listing = await self._store.list(bucket, prefix, "", FEWEST, recursive=False)
            known = bool(listing.objects or listing.directories)
            if known:
                self._directories[place] = True
        return known
