"""Storing files: when what was written goes to the cluster, at once or later, and what is kept.

Serves `open_files`, `names`, `rename`, `metadata` and `syncing`. Only who holds `FileNode.lock`
stores a file, so a commit sees one state of it (C7, C18).

    flush, fsync ── dirty? ─▶ commit ─▶ clean
                              │ failed ─▶ written down, sent later
    flush (write-back) ── dirty? ─▶ promised: durable here, sent later
    unlinked while open ── written down ─▶ last close ─▶ deleted
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError, NotFound, errno_name
from aisfs.staging.outbox import WORKERS
from aisfs.staging.transfer import Target
from aisfs.store.interface import ObjectInfo
from aisfs.vfs.attributes import encode
from aisfs.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.config import BucketName
    from aisfs.staging.journal import Owed
    from aisfs.staging.staged_file import StagedFile
    from aisfs.store.interface import Identity
    from aisfs.vfs.attributes import Attributes
    from aisfs.vfs.nodes import FileNode
    from aisfs.vfs.resolver import Resolver
    from aisfs.vfs.workshop import Workshop

log = logging.getLogger(__name__)


class Storing:
    """Stores, promises and deletes what the cluster lacks or still has of files."""

    def __init__(self, resolver: Resolver, workshop: Workshop) -> None:
        self._resolver = resolver
        self._workshop = workshop
        self._uploading: set[FileNode] = set()

    # -- at once

    async def store(self, node: FileNode) -> None:
        """Do what a close has to do with the content.

        What is not all here cannot be promised: it is stored at once.
        """
        staged = node.staged
        here = staged is not None and staged.dirty and staged.parts is None
        if self._workshop.write_back and here:
            await self._promise(node)
        else:
            await self.commit(node)

    async def commit(self, node: FileNode) -> None:
        """Store what the cluster lacks of a file (C2, C8, C9).

        Raises:
            Stale: the object changed since it was opened; our bytes are in a conflict copy (C6).
            FsError: the bytes stay in staging; the next flush or fsync tries again (C10).
        """
        if not node.dirty:
            return
        async with self._resolver.changes.of(node), node.lock:
            await self.commit_locked(node)

    async def commit_locked(self, node: FileNode) -> None:
        """Store a file whose lock the caller holds."""
        if node.detached or not node.dirty:
            return
        bucket, staged = node.bucket, node.staged
        assert bucket is not None
        if staged is None or not staged.dirty:
            stored = encode(node.attributes)
            await self._resolver.store.set_attributes(bucket, node.name, stored)
            node.attributes_dirty = False
            node.changed_at = node.checked_at = trio.current_time()
            if node.identity is not None:
                self._tell_parent(node, ObjectInfo(node.name, node.identity, stored))
            return
        node.storing = True
        try:
            info = await self._upload(node, staged, self._target(node))
            await self._supersede(node)
        finally:
            node.storing = False
            self.drop_staged(node)  # of a file that nobody has open nobody else would
        self.stored(node, info)

    async def _supersede(self, node: FileNode) -> None:
        """Forget the content below the present one, which is safe now."""
        behind, node.behind = node.behind, None
        if behind is not None:
            await self._give_up(behind)
            behind.close()

    def _target(self, node: FileNode) -> Target:
        assert node.bucket is not None
        return Target(node.bucket, node.name, node.identity, encode(node.attributes))

    async def _upload(self, node: FileNode, staged: StagedFile, target: Target) -> ObjectInfo:
        """Store a staged file of a node, and take note of what failed."""
        outbox = self._workshop.outbox
        release = node.reader.close_streams if node.reader is not None else None
        behind = node.behind if staged is node.staged else None
        self._uploading.add(node)
        try:
            with suppress(FsError):  # the commit asks as well
                await self.learn(node)
            target = replace(target, expected=node.identity)
            info = await self._workshop.uploader.commit(staged, target, release, behind)
        except FsError as error:
            node.failure = type(error)(str(error))  # without the frames of this one
            node.failures += 1
            if staged.lost is not None:
                outbox.remove(staged.path.name)
            elif staged.dirty:
                self._send_later(node, staged, error)
                if staged.whole and behind is not None and not self.is_owed(behind):
                    await self._supersede(node)
            else:  # a conflict copy has the bytes and the attributes
                outbox.remove(staged.path.name)
                node.attributes_dirty = False
                if behind is not None:
                    await self._supersede(node)
            raise
        finally:
            self._uploading.discard(node)
            node.checked_at = float("-inf")
        outbox.remove(staged.path.name)
        return info

    async def learn(self, node: FileNode) -> None:
        """Take note of what the cluster has if that is what we asked for without an answer.

        The caller holds the lock.
        """
        bucket, staged = node.bucket, node.staged
        assert bucket is not None
        tried = self._workshop.uploader.tried(bucket, node.name)
        if not tried:
            return
        try:
            now = (await self._resolver.store.head(bucket, node.name)).identity
        except NotFound:
            return
        if now == node.identity or not any(each.same_content(now) for each in tried):
            return
        self._becomes(node, now)
        flushed = staged.flushed if staged is not None else None
        if staged is not None and flushed is not None and flushed.same_content(now):
            staged.rebase(self._workshop.base(node))

    @staticmethod
    def _becomes(node: FileNode, identity: Identity) -> None:
        """Take note of which content the cluster has of a file."""
        kernel_knows = node.kernel_identity == node.identity
        node.identity = identity
        if kernel_knows:
            node.kernel_identity = identity
        node.epoch += 1
        node.changed_at = node.checked_at = trio.current_time()
        node.retire_reader()

    def stored(self, node: FileNode, info: ObjectInfo) -> None:
        """Take note of the content that this mount gave a file."""
        self._becomes(node, info.identity)
        node.attributes_dirty = False
        node.failure = None
        if node.staged is not None and not node.staged.whole:
            node.staged.rebase(self._workshop.base(node))
        self._tell_parent(node, info)

    def _tell_parent(self, node: FileNode, info: ObjectInfo) -> None:
        """Bring what the directory remembers of a file up to date."""
        parent, basename = self._resolver.table.parent_of(node.bucket, node.name)
        if parent is not None:
            parent.note_present(basename, info)

    # -- later

    async def _promise(self, node: FileNode) -> None:
        """Make the content durable here and have it sent in the background (write-back)."""
        async with self._resolver.changes.of(node), node.lock:
            await self._promise_locked(node)

    async def _promise_locked(self, node: FileNode) -> None:
        staged, uploader = node.staged, self._workshop.uploader
        if node.detached or staged is None or not staged.dirty:
            return
        target = self._target(node)
        if not uploader.has_promised(staged) or uploader.target_of(staged) != target:
            try:
                await uploader.promise(staged, target, node.behind)
            except FsError as error:
                log.warning("%s has to be stored at once: %s", node.name, error)
                await self.commit_locked(node)
                return
            await self._supersede(node)
        self._send_later(node, staged, node.failure)

    def _send_later(self, node: FileNode, staged: StagedFile, failure: FsError | None) -> None:
        self._workshop.outbox.add(
            staged.path.name, staged.size, partial(self._send, node, staged), failure
        )

    async def _send(self, node: FileNode, staged: StagedFile) -> None:
        """Store what the journal names of a file; what was written since is not ours to store."""
        try:
            async with self._resolver.changes.of(node), node.lock:
                await self._send_locked(node, staged)
        finally:
            self.drop_staged(node)
            self._resolver.table.forget_if_unused(node)  # perhaps only its bytes kept it

    async def _send_locked(self, node: FileNode, staged: StagedFile) -> None:
        target = self._workshop.uploader.target_of(staged)
        if node.detached or not staged.dirty:
            return
        if staged is node.staged and (target is not None or staged.freed):
            await self.commit_locked(node)
        elif staged is node.behind and target is not None:
            target = Target(target.bucket, node.name, node.identity, target.attributes)
            dirty = node.attributes_dirty
            self.stored(node, await self._upload(node, staged, target))
            node.attributes_dirty = dirty

    async def _give_up(self, staged: StagedFile) -> None:
        """Forget that a staged file is to be stored."""
        self._workshop.outbox.remove(staged.path.name)
        await self._workshop.uploader.settle(staged)

    def is_queued(self, node: FileNode) -> bool:
        """Tell whether a close was promised the present content, which is not stored yet."""
        staged = node.staged
        return staged is not None and staged.dirty and self._workshop.uploader.has_promised(staged)

    def must_be_stored(self, node: FileNode) -> bool:
        """Tell whether the cluster has to get what it lacks before the name changes.

        Else an object of the old name would come after the rename: what is there, or what a row of
        the journal says.
        """
        written_down = node.behind is not None or (
            node.staged is not None and self.is_owed(node.staged)
        )
        in_parts = node.staged is not None and node.staged.parts is not None
        return node.dirty and (node.identity is not None or written_down or in_parts)

    async def change_attributes(self, node: FileNode, attributes: Attributes) -> None:
        """Make attributes persist: with the content if that is still to be stored.

        The caller holds the lock.

        Raises:
            FsError: they are not stored; the file has the former ones.
        """
        before = node.attributes, node.attributes_dirty
        node.attributes, node.attributes_dirty = attributes, True
        try:
            if node.staged is None or not node.staged.dirty:
                await self.commit_locked(node)
            elif self.is_queued(node):
                await self._promise_locked(node)
        except FsError:
            node.attributes, node.attributes_dirty = before
            raise

    async def owed(self) -> list[Owed]:
        """Return what the journal names, of this mount and of earlier ones, oldest first."""
        return await self._workshop.state.journal.owed()

    async def send_owed(self, data: str) -> None:
        """Send a staged file that the journal names, now.

        Raises:
            FsError: it is not stored.
        """
        failure = await self._workshop.outbox.send_now(data)
        if failure is not None:
            raise type(failure)(str(failure))

    def owe(self, name: str, work: Callable[[], Awaitable[None]], failure: FsError) -> None:
        """Have something tried again in the background that the cluster did not let us do."""
        self._workshop.outbox.add(name, None, work, failure)

    def is_owed(self, staged: StagedFile) -> bool:
        """Tell whether the journal names the present content of a staged file."""
        return self._workshop.uploader.target_of(staged) is not None

    def state_of(self, node: FileNode) -> str:
        """Return what `user.ais.state` tells of a file."""
        if node in self._uploading:
            return "uploading"
        if not node.dirty or node.detached:
            return "clean"
        staged = node.staged
        gone = staged is not None and (staged.lost is not None or self.is_owed(staged))
        if node.failure is not None and gone:
            return f"failed:{errno_name(node.failure.errno)}"
        return "queued" if self.is_queued(node) else "dirty"

    async def drain(self, nodes: list[FileNode]) -> int:
        """Store what is left when the mount ends, within its limit; the rest goes to the journal.

        Args:
            nodes: all files that the cluster lacks something of.

        Returns:
            How many were sent in parts and are neither stored nor in the journal.
        """

        async def store(node: FileNode) -> None:
            try:
                await self.commit(node)
            except FsError as error:
                log.error("%s is not stored: %s", node.name, error)  # noqa: TRY400
            except Exception:  # a bug, or a disk that fails, must not lose the others
                log.exception("storing %s", node.name)

        with trio.move_on_after(self._workshop.drain_s):
            await for_each(nodes, store, WORKERS)
            await self._workshop.outbox.send_all()
        self._workshop.outbox.stop()
        reason = f"the end of the mount waited {self._workshop.drain_s:g} s for it"
        lost = 0
        for node in nodes:
            staged = node.staged
            if staged is not None and staged.dirty and not node.detached:
                lost += staged.freed > 0
                async with node.lock:
                    if not self.is_owed(staged):
                        if node.behind is not None:
                            await staged.complete()  # from a file that is here
                        target = self._target(node)
                        await self._workshop.uploader.keep(staged, target, reason, node.behind)
        return lost

    # -- names that go while files are open

    async def doom(self, node: FileNode) -> None:
        """Take note durably that an open file's object goes with its last handle (C19)."""
        assert node.bucket is not None
        assert node.identity is not None
        journal = self._workshop.state.journal
        node.doomed = await journal.doom(node.bucket, node.name, node.identity)
        self._resolver.doomed[node.bucket, node.name] = node

    async def spare(self, bucket: BucketName, name: str) -> None:
        """Have no earlier mount's unlink delete what is put under a name, or below a prefix."""
        await self._workshop.uploader.spare(bucket, name)

    async def bury(self, node: FileNode, *, last: bool = False) -> None:
        """Delete the object of a file unlinked while open, if it is still the same (C19).

        Where the cluster does not, the name stays hidden here, and that is tried again later.

        Args:
            node: the file.
            last: the name is used again: what cannot be deleted now is given up.
        """
        node.retire_reader()
        async with node.lock:  # who uses the name again must not have a DELETE come behind him
            try:
                await self._delete_doomed(node)
            except FsError as error:
                log.error("%s was unlinked but could not be deleted: %s", node.name, error)  # noqa: TRY400
                if not last:
                    self.owe(f"deletion {node.doomed}", partial(self._bury_later, node), error)
                    return
            await self._forget_doomed(node)

    async def _bury_later(self, node: FileNode) -> None:
        """Do `bury` again; raises what keeps the cluster from it."""
        async with node.lock:
            await self._delete_doomed(node)
            await self._forget_doomed(node)

    async def _delete_doomed(self, node: FileNode) -> None:
        if not node.doomed or node.bucket is None:
            return
        store = self._resolver.store
        try:
            now = await store.head(node.bucket, node.name)
            if node.identity is not None and now.identity.same_content(node.identity):
                await store.delete(node.bucket, node.name)
                self._tell_gone(node.bucket, node.name)
            else:
                log.warning("%s was replaced after it was unlinked here: kept", node.name)
        except NotFound:
            return

    async def _forget_doomed(self, node: FileNode) -> None:
        if not node.doomed or node.bucket is None:
            return
        row, node.doomed = node.doomed, 0
        if self._resolver.doomed.get((node.bucket, node.name)) is node:
            del self._resolver.doomed[node.bucket, node.name]
        await self._workshop.state.journal.bury(row)

    def _tell_gone(self, bucket: BucketName, name: str) -> None:
        """Have the directory know, for answers that were made before and are still on their way."""
        parent, basename = self._resolver.table.parent_of(bucket, name)
        if parent is not None:
            parent.note_absent(basename)

    def drop_staged(self, node: FileNode) -> None:
        """Remove the staged file once it is neither written nor needed.

        Nor what the journal names: of a content over one that was promised, that stays until it is
        stored or given up, and whoever does that comes here again.
        """
        staged = node.staged
        if staged is None or node.writers or node.kept or (node.opened and node.detached):
            return
        if staged.dirty and not node.detached:
            return
        files = [each for each in (staged, node.behind) if each is not None]
        if any(self._workshop.uploader.knows(each) for each in files):
            return
        for each in files:
            each.close()
        node.staged = node.behind = None

    async def forsake(self, node: FileNode) -> None:
        """Let a lost file's name be again what the cluster has; its writers know why."""
        parent, basename = self._resolver.table.parent_of(node.bucket, node.name)
        node.detached = True
        self._resolver.table.detach_location(node)
        if parent is not None:
            if node.identity is None:
                parent.note_absent(basename)
            self._resolver.invalidate(parent.ino, basename)
        if node.staged is not None:
            await self._give_up(node.staged)

    async def discard(self, node: FileNode) -> None:
        """Forget what a removed file had that was never stored."""
        for staged in (node.staged, node.behind):
            if staged is not None:
                await self._give_up(staged)
                if staged.parts is not None:
                    staged.parts.abandon("the file was removed")
        if node.opens == 0:
            self.drop_staged(node)
            node.retire_reader()
