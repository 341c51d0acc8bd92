"""rename(2) on a store that has no safe rename: copy on the cluster, verify, delete (C31, C32).

Serves `filesystem`. The cluster's own rename loses objects (protocol: a target that is a directory
on its disk), so it is never used. The source goes only after every copy was verified; a failure on
the way leaves the source whole, and perhaps copies beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from aisfs.errors import (
    CrossDevice,
    Exists,
    Incomplete,
    Invalid,
    IoFailure,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
)
from aisfs.store.interface import MAX_PAGE, ObjectInfo
from aisfs.vfs.attributes import decode, encode
from aisfs.vfs.inodes import DirectoryNode, FileNode
from aisfs.vfs.paths import check_new

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.store.interface import BucketName, NameRules
    from aisfs.vfs.handles import OpenFiles
    from aisfs.vfs.inodes import Node
    from aisfs.vfs.resolver import Resolver

RENAME_NOREPLACE = 1
"""Kernel: linux/fs.h."""

PARALLEL = 8
"""Members of a directory that are copied or deleted at a time."""


class Renamer:
    """Renames files and directories within one bucket."""

    def __init__(self, resolver: Resolver, files: OpenFiles, rules: NameRules) -> None:
        self._resolver = resolver
        self._store = resolver.store
        self._files = files
        self._rules = rules

    async def rename(
        self, old_parent: DirectoryNode, old: str, new_parent: DirectoryNode, new: str, flags: int
    ) -> None:
        """Rename `old` to `new`, replacing a file or an empty directory.

        Kernel: FUSE_RENAME2. POSIX: rename(2); RENAME_EXCHANGE and RENAME_WHITEOUT give EINVAL.
        """
        if flags & ~RENAME_NOREPLACE:
            raise Invalid("objects cannot be exchanged or left as whiteouts")
        if old_parent.bucket is None or new_parent.bucket is None:
            raise NotPermitted("buckets are not renamed through the mount")
        if old_parent.bucket != new_parent.bucket:
            raise CrossDevice("a rename from one bucket to another is a copy")
        check_new(new_parent.name, new, self._rules)
        node = await self._resolver.child(old_parent, old)
        target = await self._resolver.child_or_none(new_parent, new)
        if target is node:
            return
        if target is not None and flags & RENAME_NOREPLACE:
            raise Exists(f"{new_parent.name}{new} exists")
        await self._files.free_name(new_parent.bucket, new_parent.name + new)
        if isinstance(node, FileNode):
            await self._rename_file(node, target, new_parent.name + new)
        else:
            assert isinstance(node, DirectoryNode)
            await self._rename_directory(node, target, f"{new_parent.name}{new}/")
        old_parent.note_absent(old)
        if isinstance(node, FileNode) and node.identity is not None:
            info = ObjectInfo(node.name, node.identity, encode(node.attributes))
            new_parent.note_present(new, info)
        else:
            new_parent.note_present(new, None)
            if isinstance(node, FileNode):
                self._await_first_commit(new_parent, new, node)

    @staticmethod
    def _await_first_commit(parent: DirectoryNode, name: str, node: FileNode) -> None:
        """Show a file that the cluster does not have yet under its new name."""
        parent.pending[name] = node
        if parent.contents is not None:
            parent.contents.entries.pop(name, None)

    # -- files

    async def _rename_file(self, node: FileNode, target: Node | None, name: str) -> None:
        if isinstance(target, DirectoryNode):
            raise IsADirectory(f"{name} is a directory")
        if not isinstance(target, FileNode):
            await self._move_file(node, target, name)
            return
        await self._files.preserve(target)
        await self._files.release_streams(target)
        async with target.lock:  # what is being stored of it must not come after the copy
            await self._move_file(node, target, name)

    async def _move_file(self, node: FileNode, target: Node | None, name: str) -> None:
        async with node.lock:
            await self._files.commit_locked(node)
            if node.identity is not None and node.bucket is not None:
                await self._move_object(node, name)
            await self._replace(node, target, name)

    async def _move_object(self, node: FileNode, name: str) -> None:
        """Copy, verify, delete; the node's identity becomes the copy's."""
        bucket = node.bucket
        assert bucket is not None
        assert node.identity is not None
        await self._files.release_streams(node)
        info = await self._copy_verified(bucket, ObjectInfo(node.name, node.identity), name)
        if decode(info.attributes) is None:
            # Others wrote it: its time follows from its version, which a copy does not keep.
            stored = encode(node.attributes)
            await self._store.set_attributes(bucket, name, stored)
            info = ObjectInfo(name, info.identity, stored)
        if node.reader is not None:
            # Before the old name goes: a read in between must not find nothing there.
            node.reader.name, node.reader.identity = name, info.identity
        await self._delete(bucket, node.name)
        same_pages = node.kernel_identity == node.identity
        node.identity = info.identity
        if same_pages:
            node.kernel_identity = info.identity
        node.changed_at = node.checked_at = trio.current_time()

    async def _copy_verified(self, bucket: BucketName, source: ObjectInfo, name: str) -> ObjectInfo:
        await self._store.copy(bucket, source.name, name)
        info = await self._store.head(bucket, name)
        expected, found = source.identity, info.identity
        same = found.size == expected.size and found.checksum == expected.checksum
        if not same:
            raise IoFailure(
                f"renaming {source.name} to {name}: the copy is not what was to be renamed; "
                "nothing was removed"
            )
        return info

    async def _delete(self, bucket: BucketName, name: str) -> None:
        try:
            await self._store.delete(bucket, name)
        except NotFound:
            return  # somebody else was quicker: it is gone, as it should be

    async def _replace(self, node: Node, target: Node | None, name: str) -> None:
        """Let the node have the name; what had it lives on for open descriptors."""
        if target is not None:
            self._resolver.table.detach_location(target)
        self._resolver.table.relocate(node, name)
        if isinstance(target, FileNode):
            target.detached = True
            await self._files.discard(target)

    # -- directories

    async def _rename_directory(
        self, node: DirectoryNode, target: Node | None, prefix: str
    ) -> None:
        if prefix.startswith(node.name):
            raise Invalid(f"{node.name} cannot be moved into itself")
        if isinstance(target, FileNode):
            raise NotADirectory(f"{prefix} is a file")
        bucket = node.bucket
        assert bucket is not None
        if isinstance(target, DirectoryNode):
            await self.require_empty(target)
        for below in self._resolver.table.below(node):
            if isinstance(below, FileNode) and self._files.must_be_stored(below):
                await self._files.commit(below)
        members = await self._members(bucket, node.name)

        async def copy(member: ObjectInfo) -> None:
            await self._copy_verified(bucket, member, prefix + member.name[len(node.name) :])

        async def delete(member: ObjectInfo) -> None:
            await self._delete(bucket, member.name)

        await _for_each(copy, members)
        await _for_each(delete, members)
        self._resolver.emptied[bucket, node.name] = True
        self._resolver.emptied.pop((bucket, prefix), None)
        old = node.name
        for below in self._resolver.table.below(node):
            below.changed_at = trio.current_time()
            if isinstance(below, DirectoryNode):
                below.contents = below.first = None  # they tell the objects' old names
            self._resolver.table.relocate(below, prefix + below.name[len(old) :])
        await self._replace(node, target, prefix)
        node.changed_at = trio.current_time()
        node.contents = node.first = None

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

    async def _members(self, bucket: BucketName, prefix: str) -> list[ObjectInfo]:
        members: list[ObjectInfo] = []
        token = ""
        while True:
            listing = await self._store.list(bucket, prefix, token, MAX_PAGE, recursive=True)
            if listing.lacking:
                raise Incomplete(f"{prefix} may hold objects of targets that left the cluster")
            members += (m for m in listing.objects if not self._resolver.is_doomed(bucket, m))
            if not listing.token:
                return members
            if listing.token <= token:
                raise IoFailure(f"listing {prefix}: the continuation token does not advance")
            token = listing.token


async def _for_each(
    work: Callable[[ObjectInfo], Awaitable[None]], members: list[ObjectInfo]
) -> None:
    """Do some work on all members, a few at a time; the first failure stops it."""
    queue = iter(members)

    async def worker() -> None:
        for member in queue:
            await work(member)

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(min(PARALLEL, len(members))):
                nursery.start_soon(worker)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
