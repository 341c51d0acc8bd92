"""What is cached of a mount, as its users command: forgotten, doubted, or stored.

Serves `control_parts`: it is the `CacheWork` of the control file `cache/ctl`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.staging.outbox import WORKERS
from aisfs.store.cluster_work import Place
from aisfs.vfs.nodes import DirectoryNode, FileNode
from aisfs.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.cache.room import CacheRoom
    from aisfs.config import BucketName
    from aisfs.vfs.nodes import Node
    from aisfs.vfs.resolver import Resolver
    from aisfs.vfs.syncing import Job, Syncing
    from aisfs.vfs.views import Views


class Caches:
    """All caches of a mount. Belongs to the loop."""

    def __init__(self, resolver: Resolver, room: CacheRoom, syncing: Syncing, views: Views) -> None:
        self._resolver = resolver
        self._room = room
        self._syncing = syncing
        self._views = views

    async def drop(self, what: Place | None) -> None:
        """Forget contents; the kernel forgets its pages of a file when that is opened again."""
        for node in self._nodes(what):
            if isinstance(node, FileNode):
                node.kernel_identity = None
        if what is None:
            self._views.drop()
            await self._room.drop(None)
        else:
            await self._room.drop(_within(what))

    async def invalidate(self, what: Place | None) -> None:
        """Have names and attributes asked for again, by the kernel, too."""
        if what is None:
            self._resolver.buckets.forget()
        for node in self._nodes(what):
            node.checked_at = float("-inf")
            if isinstance(node, DirectoryNode):
                node.note_all_doubtful()
            parent, basename = self._resolver.table.parent_of(node.bucket, node.name)
            if parent is not None:
                self._resolver.doubt(parent, basename)

    async def flush(self, what: Place | None) -> None:
        """Store what waits, at a place or everywhere.

        Raises:
            FsError: the first that could not be stored; the others may be.
        """
        jobs: list[Job] = []
        for place in [None] if what is None else _at_and_below(what):
            jobs += await self._syncing.unsent(place)

        async def store(job: Job) -> None:
            await job[1]()

        await for_each(jobs, store, WORKERS)

    def _nodes(self, what: Place | None) -> list[Node]:
        """Return the nodes at and below a place."""
        if what is None:
            return list(self._resolver.table)
        within = _within(what)
        return [node for node in self._resolver.table if within(node.bucket, node.name)]


def _at_and_below(what: Place) -> list[Place]:
    """Return a place and, if it may be an object's, the directory of that name."""
    if not what.name or what.name.endswith("/"):
        return [what]
    return [what, Place(what.bucket, f"{what.name}/")]


def _within(what: Place) -> Callable[[BucketName | None, str], bool]:
    """Return what tells whether an object or directory is at a place or below it."""
    places = _at_and_below(what)
    return lambda bucket, name: any(place.holds(bucket, name) for place in places)
