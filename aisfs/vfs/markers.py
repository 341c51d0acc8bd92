"""Markers: the hidden objects that keep directories, and what they carry, on the cluster (C26).

Serves `filesystem`, `names`, `rename` and `metadata`.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError, Incomplete, NotEmpty, NotFound
from aisfs.vfs.attributes import encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from aisfs.store.interface import BucketName
    from aisfs.vfs.attributes import Attributes
    from aisfs.vfs.nodes import DirectoryNode
    from aisfs.vfs.resolver import Resolver

    Owe: TypeAlias = Callable[[str, Callable[[], Awaitable[None]], FsError], None]

log = logging.getLogger(__name__)


class Markers:
    """Those of all directories of a mount.

    Args:
        resolver: knows the directories.
        owe: has something tried again in the background, as `Storing.owe`.
    """

    def __init__(self, resolver: Resolver, owe: Owe) -> None:
        self._resolver = resolver
        self._store = resolver.store
        self._owe = owe

    async def make(self, bucket: BucketName, marker: str, attributes: Attributes) -> None:
        """Store a marker, which makes its directory."""
        await self._store.put_bytes(bucket, marker, b"", encode(attributes))

    async def update(self, node: DirectoryNode, attributes: Attributes) -> None:
        """Let a directory's marker, made if there is none, carry attributes."""
        bucket = node.bucket
        assert bucket is not None
        if node.marked:
            await self._store.set_attributes(bucket, node.marker, encode(attributes))
        else:
            await self.make(bucket, node.marker, attributes)
            node.marked = True
        node.attributes = attributes  # an answer from before may have come meanwhile
        node.changed_at = node.checked_at = trio.current_time()

    async def keep(self, directory: DirectoryNode) -> None:
        """Give a directory its marker when its last entry went: empty directories persist.

        That went already, so who had it go is not told of a failure; it is tried again later.
        """
        try:
            await self._keep(directory)
        except FsError as error:
            log.error("%s may not persist when it is empty: %s", directory.name, error)  # noqa: TRY400
            work = partial(self._keep_later, directory)
            self._owe(f"marker of inode {directory.ino}", work, error)

    async def _keep_later(self, directory: DirectoryNode) -> None:
        async with self._resolver.changes.of(directory):
            await self._keep(directory)

    async def _keep(self, directory: DirectoryNode) -> None:
        bucket = directory.bucket
        if bucket is None or directory.name == "" or directory.marked:
            return
        contents = self._resolver.fresh_contents(directory)
        if (contents is not None and contents.entries) or directory.pending:
            return
        listing = await self._store.list(bucket, directory.name, "", 1000, recursive=True)
        if any(not self._resolver.is_doomed(bucket, info) for info in listing.objects):
            directory.marked = any(info.name == directory.marker for info in listing.objects)
            return
        if self._resolver.table.find(bucket, directory.name) is not directory:
            return  # it was removed meanwhile
        await self.make(bucket, directory.marker, directory.attributes)
        directory.marked = True

    async def delete(self, node: DirectoryNode) -> None:
        """Delete a directory's marker."""
        assert node.bucket is not None
        try:
            await self._store.delete(node.bucket, node.marker)
        except NotFound:
            return  # an implicit directory: listed, but nothing is in it

    async def require_empty(self, directory: DirectoryNode) -> None:
        """Check on the cluster that a directory holds nothing but its marker (C27).

        Raises:
            NotEmpty: it holds something, if only on this mount.
        """
        bucket = directory.bucket
        assert bucket is not None
        listing = await self._store.list(bucket, directory.name, "", 1000, recursive=True)
        for info in listing.objects:
            ours = info.name == directory.marker
            if not ours and not self._resolver.is_doomed(bucket, info):
                raise NotEmpty(f"{directory.name} holds {info.name}")
        if listing.lacking:
            raise Incomplete(f"{directory.name} may hold objects of targets that left the cluster")
        if directory.pending:
            raise NotEmpty(f"{directory.name} holds files that are being written")
