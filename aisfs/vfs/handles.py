"""Open files: what an application reads and writes through its descriptors, and when it is stored.

Serves `filesystem` and `rename`. One `FileNode` is shared by all handles of a file; its staged file
exists while somebody writes or the cluster lacks bytes. Only methods that hold `FileNode.lock`
change content or store it, so a commit sees one state of the file (C7, C18).

    open for reading ── pins the content (C4) ─▶ cache
    open for writing ── staged file over the pinned content ─▶ write, truncate ─▶ dirty
    flush, fsync ── dirty? ─▶ commit ─▶ clean
    last close ── the staged file goes, unless it is dirty
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType, TypeVar

import trio

from aisfs.cache.pages import PAGE_SIZE
from aisfs.cache.readahead import AccessPattern, OpeningGuess
from aisfs.cache.reader import ContentReader
from aisfs.errors import BadHandle, FsError, IoFailure, NotFound, Stale, TooLarge
from aisfs.staging.staged_file import StagedFile
from aisfs.staging.transfer import Target
from aisfs.store.interface import ObjectInfo
from aisfs.vfs.attributes import encode
from aisfs.vfs.control_tree import ControlHandle
from aisfs.vfs.inodes import DirectoryNode, FileNode
from aisfs.vfs.paths import split
from aisfs.vfs.scans import Scans

if TYPE_CHECKING:
    from aisfs.cache.fetch_ahead import FetchAhead
    from aisfs.cache.room import CacheRoom
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
    """Where open files get their parts from."""

    room: CacheRoom
    fetch_ahead: FetchAhead
    uploader: Uploader
    state: StateDirectory
    quota: Quota
    window: int
    streams: Streams


class _Base:
    """The stored content below a staged file."""

    def __init__(self, reader: ContentReader, window: int) -> None:
        self._reader = reader
        self._pattern = AccessPattern(window)
        self.size = reader.size

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return bytes of the stored content."""
        return await self._reader.read(offset, size, self._pattern)


class OpenFiles:
    """Opens, reads, writes and stores files."""

    def __init__(self, resolver: Resolver, workshop: Workshop) -> None:
        self._resolver = resolver
        self._workshop = workshop
        self.scans = Scans(resolver, workshop.fetch_ahead, guessing=workshop.window > 0)
        self._opening = OpeningGuess()

    # -- opening and closing

    async def open(self, node: FileNode, flags: int) -> FileHandle:
        """Open a file whose attributes are fresh.

        Kernel: FUSE_OPEN, with O_TRUNC in `flags` instead of a setattr.
        """
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        if writable or node.locked:
            async with node.lock:  # waits for a commit in flight (C7)
                if writable:
                    staged = self._stage(node)
                    if flags & os.O_TRUNC and staged.size:
                        await self._truncate(node, staged, 0)
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
        )

    async def close(self, handle: FileHandle) -> None:
        """Let go of a handle; errors are logged (Kernel: FUSE_RELEASE has no answer)."""
        node = handle.node
        if handle.reader is not None and not handle.writable and not handle.begun:
            self._opening.observe(from_start=False)
        self._unpin(node, handle.reader)
        if handle.writable:
            node.writers -= 1
        if node.writers == 0 and node.staged is not None and not node.detached:
            try:
                await self.commit(node)
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
            if node.detached:
                self._workshop.state.forget(staged.path)
            staged.close()
            node.staged = None

    async def _bury(self, node: FileNode) -> None:
        """Delete the object of a file unlinked while open, if it is still the same (C19)."""
        self._resolver.retire_reader(node)
        if not node.doomed or node.bucket is None:
            return
        node.doomed = False
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
        finally:
            place = (node.bucket, node.name)
            if self._resolver.doomed.get(place) is node:
                del self._resolver.doomed[place]

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
            staged = self._stage(node)
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
            await self._truncate(node, self._stage(node), size)
        if store:
            await self.commit(node)
            self._drop_staged(node)

    @staticmethod
    async def _truncate(node: FileNode, staged: StagedFile, size: int) -> None:
        await staged.truncate(size)
        node.attributes = node.attributes.but(size=size, mtime_ns=time.time_ns())

    # -- storing

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
        stored = encode(node.attributes)
        if staged is None or not staged.dirty:
            await self._resolver.store.set_attributes(bucket, node.name, stored)
            node.attributes_dirty = False
            node.changed_at = node.checked_at = trio.current_time()
            if node.identity is not None:
                self._tell_parent(node, ObjectInfo(node.name, node.identity, stored))
            return
        release = node.reader.close_streams if node.reader is not None else None
        target = Target(bucket, node.name, node.identity, stored)
        try:
            info = await self._workshop.uploader.commit(staged, target, release)
        except Stale:
            node.attributes_dirty &= staged.dirty  # clean: they went with the conflict copy
            raise
        finally:
            node.checked_at = float("-inf")
        self.stored(node, info)

    def stored(self, node: FileNode, info: ObjectInfo) -> None:
        """Take note of the content that this mount gave a file."""
        kernel_knows = node.kernel_identity == node.identity
        node.identity = info.identity
        if kernel_knows:
            node.kernel_identity = info.identity
        node.attributes_dirty = False
        node.epoch += 1
        node.changed_at = node.checked_at = trio.current_time()
        self._resolver.retire_reader(node)
        if node.staged is not None and not node.staged.complete_here:
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
            await self._bury(node)

    async def release_streams(self, node: FileNode) -> None:
        """End our own reads of an object: on AIS they block its writers."""
        if node.reader is not None:
            await node.reader.close_streams()

    def discard(self, node: FileNode) -> None:
        """Forget what a removed file had that was never stored."""
        if node.opens == 0:
            self._drop_staged(node)
            self._resolver.retire_reader(node)
