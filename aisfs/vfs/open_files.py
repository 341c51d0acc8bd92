"""Open files: what an application reads and writes through its descriptors.

Serves `filesystem`, `names` and `rename`. One `FileNode` is shared by all handles of a file; its
staged file exists while somebody writes or the cluster lacks bytes (`storing`). Content is changed
by who holds `FileNode.lock` (C7, C18).

    open for reading ── pins the content (C4) ─▶ cache
    open for writing ── staged file over the pinned content ─▶ write, truncate ─▶ dirty
    flush, fsync, last close ─▶ storing
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from aisfs.cache.pages import PAGE_SIZE
from aisfs.cache.readahead import AccessPattern, OpeningGuess
from aisfs.errors import BadHandle, FsError, IoFailure, Replaced, Stale, TooLarge
from aisfs.staging.staged_file import StagedFile
from aisfs.vfs.handles import FileHandle
from aisfs.vfs.nodes import FileNode
from aisfs.vfs.scans import Scans
from aisfs.vfs.storing import Storing
from aisfs.vfs.workshop import Promised

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from aisfs.cache.reader import ContentReader
    from aisfs.store.interface import BucketName
    from aisfs.vfs.resolver import Resolver
    from aisfs.vfs.workshop import Workshop

log = logging.getLogger(__name__)

PRESERVE_LIMIT = 256 << 20
"""Largest file whose old content is fetched so that open descriptors outlive its name (C19)."""

SOUGHT_S = 1.0
"""How long a file is expected to be opened by who was refused what had its name before."""


class OpenFiles:
    """Opens, reads and writes files.

    Attributes:
        scans: what is read next is guessed from.
        storing: what becomes of what was written.
    """

    def __init__(self, resolver: Resolver, workshop: Workshop) -> None:
        self._resolver = resolver
        self._workshop = workshop
        self.scans = Scans(resolver, workshop.fetch_ahead, lambda: workshop.window > 0)
        self.storing = Storing(resolver, workshop)
        self._opening = OpeningGuess()

    # -- opening and closing

    async def open(self, node: FileNode, flags: int) -> FileHandle:
        """Open a file whose attributes are fresh.

        Kernel: FUSE_OPEN, with O_TRUNC in `flags` instead of a setattr.

        Raises:
            Replaced: it has lost its name meanwhile: the kernel looks that up again.
        """
        if node.detached and not node.opened:
            raise self._replaced(node)
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        if flags & os.O_TRUNC and not writable:
            await self.truncate(node, 0, store=True)
        with self.keeping(node):
            if writable or (node.locked and not self.storing.is_queued(node)):
                detached = node.detached
                async with node.lock:  # waits for a commit in flight (C7), and for who replaces it
                    preserved = node.staged is not None and node.staged.whole
                    if node.detached and not detached and not preserved:
                        raise self._replaced(node)
                    if writable:
                        self._workshop.stage(node)
                        if flags & os.O_TRUNC:
                            await self._truncate(node, 0)
                        node.writers += 1
            reader = self._pin(node)
        handle = FileHandle(
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
        if reader is not None and not writable and self._workshop.window and self._opening.likely:
            reader.begin()
            await trio.lowlevel.checkpoint()  # the request goes out before the descriptor
        return handle

    def _replaced(self, node: FileNode) -> Replaced:
        """Return why a file is not opened; what has its name now will be sought.

        Kernel: do_filp_open walks the path again after ESTALE, once. So who comes again must get
        what has the name then, or what it was replaced under him (POSIX: rename(2) is atomic).
        """
        heir = self._resolver.table.find(node.bucket, node.name)
        if isinstance(heir, FileNode):
            heir.sought_until = trio.current_time() + SOUGHT_S
        return Replaced(f"{node.name} was removed or replaced before it was opened")

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
                if not self.storing.is_owed(staged):  # else it is sent in the background
                    await self.storing.store(node)
            except FsError as error:
                log.error("closing %s: %s", node.name, error)  # noqa: TRY400
            if staged.lost is not None:
                await self.storing.forsake(node)
        self.storing.drop_staged(node)
        if node.detached and node.opens == 0:
            await self.storing.bury(node)

    def stage_new(self, node: FileNode) -> None:
        """Give a new file its empty staged file; it is dirty from the start (C21)."""
        self._workshop.stage(node)

    # -- readers of stored content

    def _pin(self, node: FileNode) -> ContentReader | None:
        if node.identity is None:
            return None
        reader = self._workshop.reader(node)
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
            if reader.forgettable and node.staged is None:  # else it reads the base, and is renamed
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
            if handle.append:
                offset = staged.size
            if not node.detached and node.behind is None:  # else there is no object to be made yet
                place = node.bucket, node.name
                self._workshop.parts.make_room(staged, place, offset, len(data))
            with self._or_as_promised(node):
                written = await staged.write(offset, data)
            if node.detached:
                staged.end_stream()  # it has no name any more under which it could be stored
            else:
                self._workshop.streams.follow(staged, node.bucket, node.name)
            node.attributes = node.attributes.but(size=staged.size, mtime_ns=time.time_ns())
            return written

    async def truncate(self, node: FileNode, size: int, *, store: bool) -> None:
        """Set a file's length; `store` it at once where no close will follow."""
        with self.keeping(node):
            async with node.lock:
                await self._truncate(node, size)
            if store:
                await self.storing.store(node)

    async def _truncate(self, node: FileNode, size: int) -> None:
        if self._workshop.stage(node).size == size:
            attributes = node.attributes.but(size=size, mtime_ns=time.time_ns())
            await self.storing.change_attributes(node, attributes)
            return
        staged = await self._changeable(node, keeps=size > 0)
        with self._or_as_promised(node):
            await staged.truncate(size)
        node.attributes = node.attributes.but(size=size, mtime_ns=time.time_ns())

    async def _changeable(self, node: FileNode, *, keeps: bool = True) -> StagedFile:
        """Return the staged file that may be changed; the caller holds the lock.

        Bytes that a close was promised stay as they are until they are stored. They are sent now;
        where that fails, or nothing of them is kept, changes go to a file over them.
        """
        staged = self._workshop.stage(node)
        if keeps and self.storing.is_queued(node):
            failures = node.failures
            try:
                await self.storing.commit_locked(node)
            except FsError as error:
                log.warning("%s is changed before it is stored: %s", node.name, error)
            if self.storing.is_queued(node):
                node.failures = failures  # nobody asked, and nothing is worse than before
        if not self.storing.is_queued(node):
            return staged
        path = self._workshop.state.new_staged_path()
        node.staged = StagedFile(path, self._workshop.quota, Promised(staged), stored=False)
        node.behind = staged
        return node.staged

    @contextmanager
    def _or_as_promised(self, node: FileNode) -> Iterator[None]:
        """Have a file be what a close was promised if what is changed over that fails."""
        try:
            yield
        finally:
            if node.behind is not None and node.staged is not None and not node.staged.dirty:
                node.staged.close()
                node.staged, node.behind = node.behind, None

    async def flush(self, handle: FileHandle) -> None:
        """Store what was written, or promise it under write-back (C9). Kernel: FUSE_FLUSH."""
        await self._told(handle, self.storing.store)

    async def fsync(self, handle: FileHandle) -> None:
        """Return when the cluster has the present content (C8). Kernel: FUSE_FSYNC."""
        await self._told(handle, self.storing.commit)

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

    # -- names that go while files are open

    @contextmanager
    def keeping(self, node: FileNode) -> Iterator[None]:
        """Let a file's staged file stay, whoever closes it, while it is changed or replaced."""
        node.kept += 1
        try:
            yield
        finally:
            node.kept -= 1
            self.storing.drop_staged(node)

    async def preserve(self, node: FileNode) -> None:
        """Make content readable after its object is replaced (C19): of an open or sought file.

        The caller holds the lock, and is `keeping` the file until it is replaced.

        Raises:
            Nothing: above `PRESERVE_LIMIT`, or when the cluster fails, readers get ESTALE later.
        """
        sought = trio.current_time() < node.sought_until
        if not (node.opened or sought) or node.identity is None:
            return
        try:
            if node.identity.size > PRESERVE_LIMIT:
                raise TooLarge(f"{node.identity.size} bytes are above the limit")
            await self._workshop.stage(node).complete()
        except FsError as error:
            log.warning("open descriptors of %s lose its old content: %s", node.name, error)

    async def free_name(self, bucket: BucketName | None, name: str) -> None:
        """Make a name usable whose former object still waits to be deleted (C19).

        The object goes now: what comes may be unlinked before it replaces it, or be a directory.
        """
        node = self._resolver.doomed.get((bucket, name))
        if node is not None:
            with self.keeping(node):
                async with node.lock:
                    await self.preserve(node)
                await self.storing.bury(node, last=True)

    async def free_names(self, bucket: BucketName, prefix: str) -> None:
        """Make all names below a prefix usable, as `free_name`, for objects that are put there."""
        for place, name in list(self._resolver.doomed):
            if place == bucket and name.startswith(prefix):
                await self.free_name(place, name)
        await self.storing.spare(bucket, prefix)

    async def release_streams(self, node: FileNode) -> None:
        """End our own reads of an object: on AIS they block its writers."""
        if node.reader is not None:
            await node.reader.close_streams()
