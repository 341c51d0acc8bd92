"""rename(2) on a store that has no safe rename: copy on the cluster, verify, delete (C31, C32).

Serves `filesystem`. The cluster's own rename loses objects (protocol: a target that is a directory
on its disk), so it is never used. The source goes only after every copy was verified; a failure on
the way leaves the source whole. A directory's rename is in the journal (`moves`): this mount shows
the new names from the moment when all copies are there, before the old ones are deleted.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from aisfs.errors import (
    CrossDevice,
    Exists,
    FsError,
    Invalid,
    IsADirectory,
    NotADirectory,
    NotFound,
    NotPermitted,
)
from aisfs.staging.journal import Phase
from aisfs.store.interface import ObjectInfo
from aisfs.vfs import moves
from aisfs.vfs.attributes import encode
from aisfs.vfs.nodes import DirectoryNode, FileNode
from aisfs.vfs.paths import check_new

if TYPE_CHECKING:
    from aisfs.staging.journal import Journal, Move
    from aisfs.store.interface import BucketName, Identity, NameRules
    from aisfs.vfs.guards import Guards
    from aisfs.vfs.markers import Markers
    from aisfs.vfs.nodes import Node
    from aisfs.vfs.open_files import OpenFiles
    from aisfs.vfs.resolver import Resolver

log = logging.getLogger(__name__)

RENAME_NOREPLACE = 1
"""Kernel: linux/fs.h."""


class Renamer:
    """Renames files and directories within one bucket."""

    def __init__(
        self,
        resolver: Resolver,
        files: OpenFiles,
        markers: Markers,
        rules: NameRules,
        guards: Guards,
        journal: Journal,
    ) -> None:
        self._resolver = resolver
        self._store = resolver.store
        self._files = files
        self._markers = markers
        self._rules = rules
        self._guards = guards
        self._journal = journal

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
        self._guards.check_replacement(target, new_parent.name + new)
        await self._files.free_name(new_parent.bucket, new_parent.name + new)
        if isinstance(node, FileNode):
            await self._files.storing.spare(new_parent.bucket, new_parent.name + new)
            try:
                await self._rename_file(node, target, new_parent.name + new)
            except FsError:
                self._resolver.doubt(new_parent, new)  # it may have got a copy
                raise
            self._note(node, old_parent, old, new_parent, new)
            return
        assert isinstance(node, DirectoryNode)
        prefix = f"{new_parent.name}{new}/"
        await self._check_directories(node, target, prefix)
        async with self._resolver.changes.halted(old_parent.bucket, node.name, prefix):
            await self._commit_below(node)
            await self._files.free_names(old_parent.bucket, prefix)
            move = await self._copy_directory(node, target, prefix)
            self._switch(node, target, prefix)
            self._note(node, old_parent, old, new_parent, new)
            try:
                await self._remove_old_names(node, move)
            except FsError:  # the kernel would take both names for what they were
                self._resolver.invalidate(old_parent.ino, old)
                self._resolver.invalidate(new_parent.ino, new)
                raise

    def _note(
        self, node: Node, old_parent: DirectoryNode, old: str, parent: DirectoryNode, name: str
    ) -> None:
        """Bring up to date what the two parents remember."""
        old_parent.note_absent(old)
        if isinstance(node, FileNode) and node.identity is not None:
            info = ObjectInfo(node.name, node.identity, encode(node.attributes))
            parent.note_present(name, info)
        elif isinstance(node, FileNode):
            parent.note_pending(name, node)
        else:
            parent.note_present(name, None)

    # -- files

    async def _rename_file(self, node: FileNode, target: Node | None, name: str) -> None:
        if isinstance(target, DirectoryNode):
            raise IsADirectory(f"{name} is a directory")
        if not isinstance(target, FileNode):
            await self._move_file(node, None, name)
            return
        with self._files.keeping(target):
            async with target.lock:  # what is being stored of it must not come after the copy
                await self._files.preserve(target)
                await self._files.release_streams(target)
                await self._move_file(node, target, name)

    async def _move_file(self, node: FileNode, target: FileNode | None, name: str) -> None:
        async with node.lock:
            await self._files.storing.commit_locked(node)
            if node.identity is not None and node.bucket is not None:
                await self._move_object(node, name, replaced=target is not None)
            await self._replace(node, target, name)

    async def _move_object(self, node: FileNode, name: str, *, replaced: bool) -> None:
        """Copy, verify, delete; the node's identity becomes the copy's."""
        bucket = node.bucket
        assert bucket is not None
        assert node.identity is not None
        await self._files.release_streams(node)
        info = await moves.copy_verified(self._store, bucket, node.name, node.identity, name)
        if replaced:
            info = await self._keep_attributes(bucket, node.name, info)
        info = await self._keep_time(bucket, node.identity, info)
        reader = node.reader
        if reader is not None:
            # Before the old name goes: a read in between must not find nothing there.
            reader.name, reader.identity = name, info.identity
        try:
            await self._delete(bucket, node.name)
        except FsError:
            if reader is not None:  # two files now, and the copy may become another content
                reader.name, reader.identity = node.name, node.identity
            raise
        same_pages = node.kernel_identity == node.identity
        node.identity = info.identity
        if same_pages:
            node.kernel_identity = info.identity
        node.changed_at = node.checked_at = trio.current_time()

    async def _keep_attributes(
        self, bucket: BucketName, source: str, copy: ObjectInfo
    ) -> ObjectInfo:
        """Give a copy the attributes of its source.

        AIS: a copy over an object with the same bytes leaves that one's attributes as they are.
        """
        stored = (await self._store.head(bucket, source)).attributes
        if stored and stored != copy.attributes:
            await self._store.set_attributes(bucket, copy.name, stored)
        return ObjectInfo(copy.name, copy.identity, stored)

    async def _keep_time(
        self, bucket: BucketName, source: Identity, copy: ObjectInfo
    ) -> ObjectInfo:
        """Give the copy of what others wrote the time of its source."""
        shown = self._resolver.answers.shown(bucket, ObjectInfo(copy.name, source))
        return await moves.keep_time(self._store, bucket, copy, shown)

    async def _delete(self, bucket: BucketName, name: str) -> None:
        try:
            await self._store.delete(bucket, name)
        except NotFound:
            return  # somebody else was quicker: it is gone, as it should be

    async def _replace(self, node: FileNode, target: FileNode | None, name: str) -> None:
        """Let the node have the name; what had it lives on for open descriptors."""
        if target is not None:
            self._resolver.table.detach_location(target)
        self._resolver.table.relocate(node, name)
        if target is not None:
            target.detached = True
            node.sought_until = max(node.sought_until, target.sought_until)
            await self._files.storing.discard(target)

    # -- directories

    async def _check_directories(
        self, node: DirectoryNode, target: Node | None, prefix: str
    ) -> None:
        """Raise if a directory cannot be renamed at all."""
        if prefix.startswith(node.name):
            raise Invalid(f"{node.name} cannot be moved into itself")
        if isinstance(target, FileNode):
            raise NotADirectory(f"{prefix} is a file")
        if isinstance(target, DirectoryNode):
            await self._markers.require_empty(target)

    async def _commit_below(self, node: DirectoryNode) -> None:
        """Store what is being written below a directory, or waits to be sent."""
        for below in self._resolver.table.below(node):
            if isinstance(below, FileNode) and self._files.storing.must_be_stored(below):
                await self._files.storing.commit(below)

    async def _copy_directory(self, node: DirectoryNode, target: Node | None, prefix: str) -> Move:
        """Copy everything below a directory, or nothing: copies go if one cannot be made."""
        bucket = node.bucket
        assert bucket is not None
        if isinstance(target, DirectoryNode):
            await self._markers.require_empty(target)
        move = await moves.begin(
            self._store,
            self._journal,
            bucket,
            (node.name, prefix),
            lambda info: self._resolver.is_doomed(bucket, info),
        )

        async def copied(source: Identity, copy: ObjectInfo) -> None:
            await self._keep_time(bucket, source, copy)

        try:
            await moves.copy(self._store, self._journal, move, copied)
            return await self._journal.all_copied(move)
        except FsError:
            try:
                await moves.undo(self._store, self._journal, move)
            except FsError as error:
                log.error("the copies in %s cannot be removed yet: %s", prefix, error)  # noqa: TRY400
                self._settle_later(replace(move, phase=Phase.UNDOING), error)
            raise

    async def _remove_old_names(self, node: DirectoryNode, move: Move) -> None:
        for below in self._resolver.table.below(node):
            if isinstance(below, FileNode):
                await self._files.release_streams(below)
        try:
            await moves.finish(self._store, self._journal, move)
        except FsError as error:
            self._settle_later(move, error)
            raise type(error)(
                f"everything of {move.old} is in {move.new} by now, but not all old names could "
                f"be removed yet: {error}"
            ) from error

    def _settle_later(self, move: Move, error: FsError) -> None:
        work = partial(moves.settle, self._store, self._journal, move)
        self._files.storing.owe(f"rename {move.number}", work, error)

    def _switch(self, node: DirectoryNode, target: Node | None, prefix: str) -> None:
        """Show everything below a directory under its new name."""
        bucket, old = node.bucket, node.name
        assert bucket is not None
        self._resolver.emptied[bucket, old] = True
        self._resolver.emptied.pop((bucket, prefix), None)
        for below in self._resolver.table.below(node):
            below.changed_at = trio.current_time()
            if isinstance(below, DirectoryNode):
                below.forget_listings()  # they tell the objects' old names
            self._resolver.table.relocate(below, prefix + below.name[len(old) :])
        if target is not None:
            self._resolver.table.detach_location(target)
        self._resolver.table.relocate(node, prefix)
        node.changed_at = trio.current_time()
        node.forget_listings()
