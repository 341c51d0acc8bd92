"""Names that applications make and take away: of files, directories, symbolic links, and buckets.

Serves `filesystem`; `rename` gives what is there another name. A file is made here only, and comes
to be on the cluster when it is stored; a directory is its marker, a link an object whose body is
its target. Each change waits until the directory that it is in does not stand still (`changes`).
"""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

import trio

from aisfs.config import BucketName
from aisfs.errors import Exists, Invalid, IsADirectory, NotADirectory, NotPermitted
from aisfs.vfs.attributes import Attributes, Kind, encode
from aisfs.vfs.nodes import Contents, DirectoryNode, FileNode
from aisfs.vfs.paths import MARKER, check_new

if TYPE_CHECKING:
    from aisfs.control.files import Caller
    from aisfs.store.interface import NameRules
    from aisfs.vfs.guards import Guards
    from aisfs.vfs.markers import Markers
    from aisfs.vfs.nodes import Node
    from aisfs.vfs.open_files import OpenFiles
    from aisfs.vfs.resolver import Resolver

MAX_TARGET = 4095
"""Bytes of a symbolic link's target (POSIX: PATH_MAX without its end)."""


class Names:
    """Makes and removes the names of a mount."""

    def __init__(
        self,
        resolver: Resolver,
        files: OpenFiles,
        markers: Markers,
        rules: NameRules,
        guards: Guards,
    ) -> None:
        self._resolver = resolver
        self._table = resolver.table
        self._store = resolver.store
        self._files = files
        self._markers = markers
        self._rules = rules
        self._guards = guards

    # -- files and links

    async def make_file(
        self, directory: DirectoryNode, basename: str, mode: int, caller: Caller, *, exclusive: bool
    ) -> tuple[FileNode, bool]:
        """Return the file of a name, and whether it was made as there was none (C20, C21).

        Raises:
            Exists: there is one, and it was to be `exclusive`.
            IsADirectory: there is a directory.
        """
        await self._free(directory, basename)
        node = await self._resolver.child_or_none(directory, basename)
        if node is None:
            attributes = self._new_attributes(directory, Kind.FILE, mode, caller)
            return self._new_file(directory, basename, attributes), True
        if exclusive:
            raise Exists(f"{node.name} exists")
        if not isinstance(node, FileNode):
            raise IsADirectory(f"{node.name} is a directory")
        return node, False

    def _new_file(
        self, directory: DirectoryNode, basename: str, attributes: Attributes
    ) -> FileNode:
        node = self._new_node(directory, directory.name + basename, attributes)
        assert isinstance(node, FileNode)
        self._files.stage_new(node)
        directory.note_pending(basename, node)
        return node

    async def make_link(
        self, directory: DirectoryNode, basename: str, target: bytes, caller: Caller
    ) -> FileNode:
        """Make a symbolic link: target in the body, kind in the attributes."""
        if len(target) > MAX_TARGET:
            raise Invalid(f"a link target has at most {MAX_TARGET} bytes")
        await self._free(directory, basename)
        async with self._resolver.changes.of(directory):
            await self._require_absent(directory, basename)
            attributes = self._new_attributes(directory, Kind.SYMLINK, 0o777, caller)
            attributes = attributes.but(size=len(target))
            name = directory.name + basename
            assert directory.bucket is not None
            await self._files.storing.spare(directory.bucket, name)
            info = await self._store.put_bytes(directory.bucket, name, target, encode(attributes))
            node = self._new_node(directory, name, attributes)
            assert isinstance(node, FileNode)
            node.identity, node.target = info.identity, target
            node.changed_at = node.checked_at = trio.current_time()
            directory.note_present(basename, info)
        return node

    async def remove_file(self, directory: DirectoryNode, basename: str) -> None:
        """Remove the name of a file or link; open descriptors go on (C19)."""
        self._guards.check_removal(directory.name + basename)
        async with self._resolver.changes.of(directory):
            node = await self._resolver.child(directory, basename)
            if not isinstance(node, FileNode):
                raise IsADirectory(f"{node.name} is a directory")
            await self._remove(node)
            directory.note_absent(basename)
            await self._files.storing.discard(node)
            await self._markers.keep(directory)

    async def _remove(self, node: FileNode) -> None:
        """Take a file's name away, and its object unless somebody has it open."""
        async with node.lock:
            await self._files.storing.learn(node)  # else what was stored unnoticed would stay
            if node.identity is not None and node.bucket is not None:
                if node.opened:
                    await self._files.storing.doom(node)
                else:
                    await self._files.release_streams(node)
                    await self._store.delete(node.bucket, node.name)
            node.detached = True
            self._table.detach_location(node)
        if node.doomed and not node.opened:  # the last one has closed it meanwhile
            await self._files.storing.bury(node)

    # -- directories

    async def make_directory(
        self, parent: DirectoryNode, basename: str, mode: int, caller: Caller
    ) -> Node:
        """Make a directory (C26); at the root of all buckets, a bucket."""
        if parent.bucket is None:
            return await self._make_bucket(parent, basename)
        async with self._resolver.changes.of(parent):
            check_new(parent.name, basename, self._rules)
            await self._require_absent(parent, basename)
            name = f"{parent.name}{basename}/"
            await self._files.free_name(parent.bucket, parent.name + basename)
            attributes = self._new_attributes(parent, Kind.DIRECTORY, mode, caller)
            old = self._table.find(parent.bucket, name)
            if old is not None:
                self._table.detach_location(old)
            await self._markers.make(parent.bucket, name + MARKER, attributes)
            node = self._table.add(parent.bucket, name, attributes)
            assert isinstance(node, DirectoryNode)
            node.marked = True
            now = node.checked_at = node.changed_at = trio.current_time()
            self._table.remember(node, Contents({}, now, now, 1))
            self._resolver.emptied.pop((parent.bucket, name), None)
            parent.note_present(basename, None)
        return node

    async def remove_directory(self, parent: DirectoryNode, basename: str) -> None:
        """Remove an empty directory (C27); at the root of all buckets, a bucket."""
        self._guards.check_removal(parent.name + basename)
        node = await self._resolver.child(parent, basename)
        if not isinstance(node, DirectoryNode):
            raise NotADirectory(f"{node.name} is a file")
        if parent.bucket is None:
            await self._destroy_bucket(node)
            return
        async with self._resolver.changes.of(parent):
            await self._markers.require_empty(node)
            await self._markers.delete(node)
            self._resolver.emptied[parent.bucket, node.name] = True
            self._table.detach_location(node)
            parent.note_absent(basename)
            await self._markers.keep(parent)

    # -- buckets as directories

    async def _make_bucket(self, root: DirectoryNode, name: str) -> Node:
        if not self._guards.bucket_ops:
            raise NotPermitted(
                "buckets are made with the cluster's tools, or mount with bucket-ops"
            )
        if any(c in name for c in ":@#"):
            raise Invalid(f"{name!r}: only global ais buckets can be made here")
        await self._store.work.create_bucket(BucketName(name))
        self._resolver.buckets.forget()
        return await self._resolver.child(root, name)

    async def _destroy_bucket(self, node: DirectoryNode) -> None:
        bucket = node.bucket
        if not self._guards.bucket_ops or bucket is None or bucket.provider != "ais" or bucket.uuid:
            raise NotPermitted("buckets are not removed through the mount")
        await self._markers.require_empty(node)
        await self._store.work.destroy_bucket(bucket)
        self._resolver.buckets.forget()
        self._table.detach_location(node)

    # -- what is new

    async def _free(self, directory: DirectoryNode, basename: str) -> None:
        """Check that a name may be that of an object, and make it usable."""
        if directory.bucket is None:
            raise NotPermitted("only buckets lie at the root of all buckets")
        check_new(directory.name, basename, self._rules)
        await self._files.free_name(directory.bucket, directory.name + basename)

    def _new_attributes(
        self, directory: DirectoryNode, kind: Kind, mode: int, caller: Caller
    ) -> Attributes:
        """Return what something new begins with; a set-group-ID directory hands on its group."""
        shown, above = self._resolver.presentation, directory.attributes
        uid, gid = (caller.uid, caller.gid) if shown.persist_owner else (shown.uid, shown.gid)
        mode = stat.S_IMODE(mode)
        if above.mode & stat.S_ISGID:
            gid = above.gid
            mode |= stat.S_ISGID * (kind is Kind.DIRECTORY)
        return Attributes(kind, mode, uid, gid, time.time_ns())

    async def _require_absent(self, directory: DirectoryNode, basename: str) -> None:
        if await self._resolver.child_or_none(directory, basename) is not None:
            raise Exists(f"{directory.name}{basename} exists")

    def _new_node(self, directory: DirectoryNode, name: str, attributes: Attributes) -> Node:
        """Return a node for what is made, in place of one that was left of what had the name."""
        old = self._table.find(directory.bucket, name)
        if old is not None:
            self._table.detach_location(old)
        return self._table.add(directory.bucket, name, attributes)
