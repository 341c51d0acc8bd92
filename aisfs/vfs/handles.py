"""Open files: what an application reads and writes through its descriptors, and when it is stored.

Serves `filesystem` and `rename`. One `FileNode` is shared by all handles of a file; its staged file
exists while somebody writes or the cluster lacks bytes. Only methods that hold `FileNode.lock`
change content or store it, so a commit sees one state of the file (C7, C18).

    open for reading ── pins the content (C4) ─▶ cache
    open for writing ── staged file over the pinned content ─▶ write, truncate ─▶ dirty
    flush, fsync ── dirty? ─▶ commit ─▶ clean
                              │ failed ─▶ written down, sent later
    flush (write-back) ── dirty? ─▶ promised: durable here, sent later
    last close ── the staged file goes, unless it is dirty
"""

from __future__ import annotations

import errno
import logging
import os
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NewType, TypeVar

import trio

from aisfs.cache.pages import PAGE_SIZE
from aisfs.cache.readahead import AccessPattern, OpeningGuess
from aisfs.cache.reader import ContentReader
from aisfs.errors import BadHandle, FsError, IoFailure, NotFound, Stale, TooLarge
from aisfs.staging.outbox import WORKERS
from aisfs.staging.staged_file import StagedFile
from aisfs.staging.transfer import Target
from aisfs.store.interface import ObjectInfo
from aisfs.vfs.attributes import encode
from aisfs.vfs.control_tree import ControlHandle
from aisfs.vfs.inodes import DirectoryNode, FileNode
from aisfs.vfs.paths import split
from aisfs.vfs.scans import Scans

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.cache.fetch_ahead import FetchAhead
    from aisfs.cache.room import CacheRoom
    from aisfs.staging.journal import Owed
    from aisfs.staging.outbox import Outbox
    from aisfs.staging.quota import Quota
    from aisfs.staging.state import StateDirectory
    from aisfs.staging.streamed_upload import Streams
    from aisfs.staging.uploader import Uploader
    from aisfs.store.interface import BucketName
    from aisfs.vfs.directory import Cursor
    from aisfs.vfs.inodes import Node
    from aisfs.vfs.resolver import Resolver

log = logging.getLogger(__name__)

Fh = NewType("Fh", int)

PRESERVE_LIMIT = 256 << 20
"""Largest file whose old content is fetched so that open descriptors outlive its name (C19)."""


@dataclass(slots=True, eq=False)
class FileHandle:
    """One open file description.

    Attributes:
        reader: the content that the handle pinned; None while there is none on the cluster.
        epoch: the node's at pinning; when this mount stores a new content, the handle follows.
        begun: whether anything was read.
        told: the node's failures that whoever has the handle knows of.
        lineage: the node's at opening; once others stored another content, the handle is left with
            what it pinned: what the node holds since then is no later state of that content.
    """

    node: FileNode
    readable: bool
    writable: bool
    append: bool
    pattern: AccessPattern
    reader: ContentReader | None
    epoch: int
    lineage: int
    told: int = 0
    begun: bool = False


@dataclass(slots=True, eq=False)
class DirectoryHandle:
    """One open directory: of objects with a cursor, else with all its names and nodes."""

    node: Node
    cursor: Cursor | None
    fixed: list[tuple[str, Node]]


Handle = FileHandle | DirectoryHandle | ControlHandle
H = TypeVar("H", FileHandle, DirectoryHandle)


class HandleTable:
    """All handles that the kernel holds."""

    def __init__(self) -> None:
        self._handles: dict[Fh, Handle] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._handles)

    def add(self, handle: Handle) -> Fh:
        """Give a handle its number."""
        fh = Fh(self._next)
        self._next += 1
        self._handles[fh] = handle
        handle.node.opens += 1
        return fh

    def file(self, fh: Fh) -> FileHandle:
        """Return an open file.

        Raises:
            BadHandle: the number is unknown or a directory's.
        """
        handle = self._handles.get(fh)
        if not isinstance(handle, FileHandle):
            raise BadHandle(f"handle {fh} is no open file")
        return handle

    def stream(self, fh: Fh) -> FileHandle | ControlHandle:
        """Return whatever can be read and written; `BadHandle` if nothing such is open."""
        handle = self._handles.get(fh)
        return handle if isinstance(handle, ControlHandle) else self.file(fh)

    def directory(self, fh: Fh) -> DirectoryHandle:
        """Return an open directory; `BadHandle` otherwise."""
        handle = self._handles.get(fh)
        if not isinstance(handle, DirectoryHandle):
            raise BadHandle(f"handle {fh} is no open directory")
        return handle

    def remove(self, fh: Fh) -> Handle | None:
        """Forget a handle."""
        handle = self._handles.pop(fh, None)
        if handle is not None:
            handle.node.opens -= 1
        return handle

    def open_files(self) -> list[FileHandle]:
        """Return all open files."""
        return [h for h in self._handles.values() if isinstance(h, FileHandle)]


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where open files get their parts from, and leave what is to be stored.

    Attributes:
        window: bytes that a sequential reader is read ahead.
        write_back: a close returns when the content is durable here (C9).
        drain_s: longest that the end of the mount sends what is left.
    """

    room: CacheRoom
    fetch_ahead: FetchAhead
    uploader: Uploader
    outbox: Outbox
    state: StateDirectory
    quota: Quota
    window: int
    streams: Streams
    write_back: bool = False
    drain_s: float = 60.0


class _Base:
    """The stored content below a staged file."""

    def __init__(self, reader: ContentReader, window: int) -> None:
        self._reader = reader
        self._pattern = AccessPattern(window)
        self.size = reader.size

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return bytes of the stored content."""
        return await self._reader.read(offset, size, self._pattern)


class _Promised:
    """The content below a staged file that waits here to be stored, and must not change."""

    def __init__(self, staged: StagedFile) -> None:
        self._staged = staged
        self.size = staged.size

    async def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the promised content."""
        return await self._staged.read(offset, size)


class OpenFiles:
    """Opens, reads, writes and stores files."""

    def __init__(self, resolver: Resolver, workshop: Workshop) -> None:
        self._resolver = resolver
        self._workshop = workshop
        self.scans = Scans(resolver, workshop.fetch_ahead, guessing=workshop.window > 0)
        self._opening = OpeningGuess()
        self._uploading: set[FileNode] = set()

    # -- opening and closing

    async def open(self, node: FileNode, flags: int) -> FileHandle:
        """Open a file whose attributes are fresh.

        Kernel: FUSE_OPEN, with O_TRUNC in `flags` instead of a setattr.
        """
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        if writable or (node.locked and not self.is_queued(node)):
            async with node.lock:  # waits for a commit in flight (C7)
                if writable:
                    staged = self._stage(node)
                    if flags & os.O_TRUNC and staged.size:
                        await self._truncate(node, 0)
                    node.writers += 1
        reader = self._pin(node)
        if reader is not None and not writable and self._workshop.window and self._opening.likely:
            reader.begin()
            await trio.lowlevel.checkpoint()  # the request goes out before the descriptor
        return FileHandle(
            node,
            readable=flags & os.O_ACCMODE != os.O_WRONLY,
            writable=writable,
            append=bool(flags & os.O_APPEND),
            pattern=AccessPattern(self._workshop.window),
            reader=reader,
            epoch=node.epoch,
            lineage=node.lineage,
            told=node.failures,
        )

    async def close(self, handle: FileHandle) -> None:
        """Let go of a handle; errors are logged (Kernel: FUSE_RELEASE has no answer)."""
        node = handle.node
        if handle.reader is not None and not handle.writable and not handle.begun:
            self._opening.observe(from_start=False)
        self._unpin(node, handle.reader)
        if handle.writable:
            node.writers -= 1
        staged = node.staged
        if node.writers == 0 and staged is not None and not node.detached:
            try:
                if not self._is_owed(staged):  # else it is sent in the background
                    await self._store(node)
            except FsError as error:
                log.error("closing %s: %s", node.name, error)  # noqa: TRY400
        self._drop_staged(node)
        if node.detached and node.opens == 0:
            await self._bury(node)

    def _stage(self, node: FileNode) -> StagedFile:
        """Return the node's staged file, made over its present content."""
        if node.staged is None:
            base = None
            if node.identity is not None:
                base = _Base(self._reader(node), self._workshop.window)
            path = self._workshop.state.new_staged_path()
            node.staged = StagedFile(path, self._workshop.quota, base)
        return node.staged

    def stage_new(self, node: FileNode) -> None:
        """Give a new file its empty staged file; it is dirty from the start (C21)."""
        self._stage(node)

    def _drop_staged(self, node: FileNode) -> None:
        """Remove the staged file once it is neither written nor needed."""
        staged = node.staged
        if staged is None or node.writers or (node.opens and node.detached):
            return
        if not staged.dirty or node.detached:
            staged.close()
            node.staged = None
            if node.behind is not None:
                node.behind.close()
                node.behind = None

    async def _bury(self, node: FileNode, *, last: bool = False) -> None:
        """Delete the object of a file unlinked while open, if it is still the same (C19).

        Where the cluster does not, the name stays hidden here and the next mount deletes it.

        Args:
            node: the file.
            last: the name is used again: what cannot be deleted now is given up.
        """
        self._resolver.retire_reader(node)
        if not node.doomed or node.bucket is None:
            return
        store = self._resolver.store
        try:
            now = await store.head(node.bucket, node.name)
            if node.identity is not None and now.identity.same_content(node.identity):
                await store.delete(node.bucket, node.name)
            else:
                log.warning("%s was replaced after it was unlinked here: kept", node.name)
        except NotFound:
            pass
        except FsError as error:
            log.error("%s was unlinked but could not be deleted: %s", node.name, error)  # noqa: TRY400
            if not last:
                return
        row, node.doomed = node.doomed, 0
        place = (node.bucket, node.name)
        if self._resolver.doomed.get(place) is node:
            del self._resolver.doomed[place]
        await self._workshop.state.journal.bury(row)

    # -- readers of stored content

    def _reader(self, node: FileNode) -> ContentReader:
        """Return the reader of the node's present content."""
        assert node.identity is not None
        assert node.bucket is not None
        if node.reader is not None and node.reader.broken is not None:
            self._resolver.retire_reader(node)
        if node.reader is None:
            node.reader = ContentReader(self._workshop.room, node.bucket, node.name, node.identity)
        return node.reader

    def _pin(self, node: FileNode) -> ContentReader | None:
        if node.identity is None:
            return None
        reader = self._reader(node)
        reader.users += 1
        return reader

    @staticmethod
    def _unpin(node: FileNode, reader: ContentReader | None) -> None:
        if reader is None:
            return
        reader.users -= 1
        if reader.users == 0:
            if reader is not node.reader:
                reader.drop()
                return
            reader.rest()
            if reader.forgettable:
                node.reader = None

    # -- bytes

    def read_now(self, handle: FileHandle, offset: int, size: int) -> memoryview | None:
        """Return bytes that are in memory, without waiting; None if `read` has to be asked."""
        if handle.node.staged is not None or handle.epoch != handle.node.epoch:
            return None
        reader = handle.reader
        if reader is None or not handle.readable:
            return None
        if not handle.begun:
            self._begin(handle, reader, offset)
        return reader.read_at_once(offset, size, handle.pattern)

    def _begin(self, handle: FileHandle, reader: ContentReader, offset: int) -> None:
        """Take note of the first read of a handle, for what is read next."""
        handle.begun = True
        self._opening.observe(from_start=offset < PAGE_SIZE)
        self._workshop.fetch_ahead.reads(reader.content)
        self.scans.reads(handle.node)

    async def read(self, handle: FileHandle, offset: int, size: int) -> bytes | memoryview:
        """Return up to `size` bytes; short only at the end of the file.

        Raises:
            Stale: the object changed on the cluster and these bytes are not cached (C4).
        """
        node = handle.node
        if not handle.readable:
            raise BadHandle(f"{node.name} is not open for reading")
        if handle.lineage != node.lineage:
            if handle.reader is None or handle.epoch != node.epoch:
                raise Stale(f"{node.name} was replaced by another client after it was opened")
            return await handle.reader.read(offset, size, handle.pattern)
        while (staged := node.staged) is not None:
            try:
                return await staged.read(offset, size)
            except IoFailure:
                if node.staged is staged:
                    raise
                # The last writer closed it meanwhile: its content is stored, or was never changed.
        if handle.epoch != node.epoch:
            self._unpin(node, handle.reader)
            handle.reader, handle.epoch = self._pin(node), node.epoch
        if handle.reader is None:
            return b""
        return await handle.reader.read(offset, size, handle.pattern)

    async def write(self, handle: FileHandle, offset: int, data: bytes | memoryview) -> int:
        """Put bytes into the staged file and return how many."""
        node = handle.node
        if not handle.writable:
            raise BadHandle(f"{node.name} is not open for writing")
        async with node.lock:
            staged = await self._changeable(node)
            written = await staged.write(staged.size if handle.append else offset, data)
            if node.detached:
                staged.end_stream()  # it has no name any more under which it could be stored
            else:
                self._workshop.streams.follow(staged, node.bucket, node.name)
            node.attributes = node.attributes.but(size=staged.size, mtime_ns=time.time_ns())
            return written

    async def truncate(self, node: FileNode, size: int, *, store: bool) -> None:
        """Set a file's length; `store` it at once where no close will follow."""
        async with node.lock:
            await self._truncate(node, size)
        if store:
            await self._store(node)
            self._drop_staged(node)

    async def _truncate(self, node: FileNode, size: int) -> None:
        staged = await self._changeable(node, keeps=size > 0)
        await staged.truncate(size)
        node.attributes = node.attributes.but(size=size, mtime_ns=time.time_ns())

    async def _changeable(self, node: FileNode, *, keeps: bool = True) -> StagedFile:
        """Return the staged file that may be changed; the caller holds the lock.

        Bytes that a close was promised stay as they are until they are stored. They are sent now;
        where that fails, or nothing of them is kept, changes go to a file over them.
        """
        staged = self._stage(node)
        if keeps and self.is_queued(node):
            failures = node.failures
            try:
                await self.commit_locked(node)
            except FsError as error:
                log.warning("%s is changed before it is stored: %s", node.name, error)
            if self.is_queued(node):
                node.failures = failures  # nobody asked, and nothing is worse than before
        if not self.is_queued(node):
            return staged
        path = self._workshop.state.new_staged_path()
        node.staged = StagedFile(path, self._workshop.quota, _Promised(staged))
        node.behind = staged
        return node.staged

    # -- storing

    async def flush(self, handle: FileHandle) -> None:
        """Store what was written, or promise it under write-back (C9). Kernel: FUSE_FLUSH."""
        await self._told(handle, self._store)

    async def fsync(self, handle: FileHandle) -> None:
        """Return when the cluster has the present content (C8). Kernel: FUSE_FSYNC."""
        await self._told(handle, self.commit)

    async def _told(self, handle: FileHandle, store: Callable[[FileNode], Awaitable[None]]) -> None:
        """Store a file, and tell each handle once of what failed meanwhile (C10).

        What failed in the background and is stored now needs no telling.
        """
        node = handle.node
        try:
            await store(node)
        finally:
            seen, handle.told = handle.told, node.failures
        if seen != handle.told and node.failure is not None:
            raise type(node.failure)(str(node.failure))

    async def _store(self, node: FileNode) -> None:
        """Do what a close has to do with the content."""
        if self._workshop.write_back and node.staged is not None and node.staged.dirty:
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
        info = await self._upload(node, staged, self._target(node))
        await self._supersede(node)
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
            info = await self._workshop.uploader.commit(staged, target, release, behind)
        except FsError as error:
            node.failure = type(error)(str(error))  # without the frames of this one
            node.failures += 1
            if staged.dirty:
                self._send_later(node, staged, error)
                if staged.whole and behind is not None and not self._is_owed(behind):
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

    # -- storing later

    async def _promise(self, node: FileNode) -> None:
        """Make the content durable here and have it sent in the background (write-back)."""
        async with self._resolver.changes.of(node), node.lock:
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
            self._drop_staged(node)
            self._let_go(node)

    async def _send_locked(self, node: FileNode, staged: StagedFile) -> None:
        target = self._workshop.uploader.target_of(staged)
        if node.detached or not staged.dirty or target is None:
            return
        if staged is node.staged:
            await self.commit_locked(node)
        elif staged is node.behind:
            target = Target(target.bucket, node.name, node.identity, target.attributes)
            dirty = node.attributes_dirty
            self.stored(node, await self._upload(node, staged, target))
            node.attributes_dirty = dirty

    def _let_go(self, node: FileNode) -> None:
        """Forget a node that only its bytes kept."""
        if self._resolver.table.forget_if_unused(node) and node.reader is not None:
            node.reader.rest()

    async def _give_up(self, staged: StagedFile) -> None:
        """Forget that a staged file is to be stored."""
        self._workshop.outbox.remove(staged.path.name)
        await self._workshop.uploader.settle(staged)

    def is_queued(self, node: FileNode) -> bool:
        """Tell whether a close was promised the present content, which is not stored yet."""
        staged = node.staged
        return staged is not None and staged.dirty and self._workshop.uploader.has_promised(staged)

    def must_be_stored(self, node: FileNode) -> bool:
        """Tell whether the cluster has to get what it lacks before the name changes."""
        return node.dirty and (node.identity is not None or self.is_queued(node))

    async def attributes_changed(self, node: FileNode) -> None:
        """Make attributes persist: with the content if that is still to be stored."""
        if node.staged is None or not node.staged.dirty:
            await self.commit(node)
        elif self.is_queued(node):
            await self._promise(node)

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

    def _is_owed(self, staged: StagedFile) -> bool:
        """Tell whether the journal names the present content of a staged file."""
        return self._workshop.uploader.target_of(staged) is not None

    def state_of(self, node: FileNode) -> str:
        """Return what `user.ais.state` tells of a file."""
        if node in self._uploading:
            return "uploading"
        if not node.dirty or node.detached:
            return "clean"
        if node.failure is not None and node.staged is not None and self._is_owed(node.staged):
            return f"failed:{errno.errorcode[node.failure.errno]}"
        return "queued" if self.is_queued(node) else "dirty"

    async def drain(self, nodes: list[FileNode]) -> None:
        """Store what is left when the mount ends, within its limit; the rest goes to the journal.

        Args:
            nodes: all files that the cluster lacks something of.
        """
        queue = iter(nodes)

        async def worker() -> None:
            for node in queue:
                try:
                    await self.commit(node)
                except FsError as error:
                    log.error("%s is not stored: %s", node.name, error)  # noqa: TRY400

        with trio.move_on_after(self._workshop.drain_s):
            async with trio.open_nursery() as nursery:
                for _ in range(WORKERS):
                    nursery.start_soon(worker)
            await self._workshop.outbox.send_all()
        self._workshop.outbox.stop()
        reason = f"the end of the mount waited {self._workshop.drain_s:g} s for it"
        for node in nodes:
            staged = node.staged
            if staged is not None and staged.dirty and not node.detached:
                async with node.lock:
                    if not self._is_owed(staged):
                        if node.behind is not None:
                            await staged.complete()  # from a file that is here
                        target = self._target(node)
                        await self._workshop.uploader.keep(staged, target, reason, node.behind)

    def stored(self, node: FileNode, info: ObjectInfo) -> None:
        """Take note of the content that this mount gave a file."""
        kernel_knows = node.kernel_identity == node.identity
        node.identity = info.identity
        if kernel_knows:
            node.kernel_identity = info.identity
        node.attributes_dirty = False
        node.failure = None
        node.epoch += 1
        node.changed_at = node.checked_at = trio.current_time()
        self._resolver.retire_reader(node)
        if node.staged is not None and not node.staged.whole:
            node.staged.rebase(_Base(self._reader(node), self._workshop.window))
        self._tell_parent(node, info)

    def _tell_parent(self, node: FileNode, info: ObjectInfo) -> None:
        """Bring what the directory remembers of a file up to date."""
        prefix, basename = split(node.name)
        parent = self._resolver.table.find(node.bucket, prefix)
        if isinstance(parent, DirectoryNode):
            parent.pending.pop(basename, None)
            parent.note_present(basename, info)

    # -- names that go while files are open

    async def preserve(self, node: FileNode) -> None:
        """Keep the content of an open file readable after its object is replaced (C19).

        Raises:
            Nothing: above `PRESERVE_LIMIT`, or when the cluster fails, readers get ESTALE later.
        """
        if node.opens == 0 or node.identity is None:
            return
        try:
            if node.identity.size > PRESERVE_LIMIT:
                raise TooLarge(f"{node.identity.size} bytes are above the limit")
            async with node.lock:
                await self._stage(node).complete()
        except FsError as error:
            log.warning("open descriptors of %s lose its old content: %s", node.name, error)

    async def free_name(self, bucket: BucketName | None, name: str) -> None:
        """Make a name usable whose former object still waits to be deleted (C19).

        The object goes now: what comes may be unlinked before it replaces it, or be a directory.
        """
        node = self._resolver.doomed.get((bucket, name))
        if node is not None:
            await self.preserve(node)
            await self._bury(node, last=True)

    async def release_streams(self, node: FileNode) -> None:
        """End our own reads of an object: on AIS they block its writers."""
        if node.reader is not None:
            await node.reader.close_streams()

    async def doom(self, node: FileNode) -> None:
        """Take note durably that an open file's object goes with its last handle (C19)."""
        assert node.bucket is not None
        assert node.identity is not None
        journal = self._workshop.state.journal
        node.doomed = await journal.doom(node.bucket, node.name, node.identity)
        self._resolver.doomed[node.bucket, node.name] = node

    async def discard(self, node: FileNode) -> None:
        """Forget what a removed file had that was never stored."""
        for staged in (node.staged, node.behind):
            if staged is not None:
                await self._give_up(staged)
        if node.opens == 0:
            self._drop_staged(node)
            self._resolver.retire_reader(node)
