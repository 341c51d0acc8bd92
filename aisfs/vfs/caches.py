"""What is cached of a mount, as its users command: forgotten, doubted, or stored.

Serves `filesystem`: it is the `CacheWork` of the control file `cache/ctl`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.staging.outbox import WORKERS
from aisfs.vfs.inodes import DirectoryNode, FileNode
from aisfs.vfs.paths import split
from aisfs.workers import for_each

if TYPE_CHECKING:
    from aisfs.cache.room import CacheRoom
    from aisfs.config import BucketName
    from aisfs.store.cluster_work import Place
    from aisfs.vfs.inodes import Node
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
            await self._room.drop(lambda bucket, name: _is_within(what, bucket, name))

    async def invalidate(self, what: Place | None) -> None:
        """Have names and attributes asked for again, by the kernel, too."""
        if what is None:
            self._resolver.forget_buckets()
        for node in self._nodes(what):
            node.checked_at = float("-inf")
            if isinstance(node, DirectoryNode):
                node.note_all_doubtful()
            prefix, basename = split(node.name)
            parent = self._resolver.table.find(node.bucket, prefix)
            if basename and isinstance(parent, DirectoryNode):
                self._resolver.doubt(parent, basename)

    async def flush(self, what: Place | None) -> None:
        """Store what waits, at a place or everywhere.

        Raises:
            FsError: the first that could not be stored; the others may be.
        """
        if what is None:
            jobs = await self._syncing.unsent(None, "")
        else:
            jobs = await self._syncing.unsent(*what)
            if what.name and not what.name.endswith("/"):
                jobs += await self._syncing.unsent(what.bucket, what.name + "/")

        async def store(job: Job) -> None:
            await job[1]()

        await for_each(jobs, store, WORKERS)

    def _nodes(self, what: Place | None) -> list[Node]:
        """Return the nodes at and below a place."""
        return [
            node
            for node in self._resolver.table
            if what is None or _is_within(what, node.bucket, node.name)
        ]


def _is_within(what: Place, bucket: BucketName | None, name: str) -> bool:
    """Tell whether a name is a place, or below it."""
    below = what.name if not what.name or what.name.endswith("/") else f"{what.name}/"
    return bucket == what.bucket and (name == what.name or name.startswith(below))
