"""The verbs of the mount: what each kernel request means, free of the kernel binding.

Serves `fuse/operations`. Names come as bytes, nodes go out; every failure is an `FsError`. A node
that a method returns with "(+1)" had its lookup count raised, as the FUSE protocol wants it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import trio

from aisfs import metrics
from aisfs.control import xattrs
from aisfs.control.files import ViewFile
from aisfs.errors import (
    Invalid,
    IsADirectory,
    NoAttribute,
    NotADirectory,
    NotFound,
    NotPermitted,
    ReadOnly,
    Replaced,
    Stale,
)
from aisfs.vfs.attributes import Kind
from aisfs.vfs.control_parts import ControlParts, Counted
from aisfs.vfs.control_tree import (
    ControlHandle,
    ControlListing,
    ControlNode,
    Controls,
    StreamHandle,
    ViewHandle,
)
from aisfs.vfs.handles import DirectoryHandle, Fh, FileHandle, HandleTable, StreamLike
from aisfs.vfs.markers import Markers
from aisfs.vfs.metadata import Metadata
from aisfs.vfs.names import MAX_TARGET, Names
from aisfs.vfs.nodes import DirectoryNode, FileNode, Ino, Node
from aisfs.vfs.open_directories import OpenDirectories
from aisfs.vfs.open_files import OpenFiles
from aisfs.vfs.paths import check_length, to_bytes, to_text
from aisfs.vfs.rename import Renamer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs.control.files import Caller
    from aisfs.store.interface import Capacity, NameRules
    from aisfs.vfs.directory import Shown
    from aisfs.vfs.guards import Guards
    from aisfs.vfs.resolver import Resolver
    from aisfs.vfs.workshop import Workshop

CAPACITY_LIFETIME_S = 10.0
"""The cluster refreshes its own figures about as often."""


@dataclass(frozen=True, slots=True)
class Change:
    """What setattr(2)'s relatives change; None leaves a field as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    size: int | None = None


class OpenedControl(NamedTuple):
    """An open control file, and how the kernel may treat it.

    Attributes:
        cached: what is read may be kept.
        lasting: what was kept of it before is still right.
        stream: it has no offsets.
    """

    fh: Fh
    cached: bool
    lasting: bool
    stream: bool


class Filesystem:
    """One mount's namespace and files.

    Attributes:
        handles: what the kernel has open.
        files: reads and writes files.
        directories: lists directories.
        events: where is told what happens.
    """

    def __init__(
        self,
        resolver: Resolver,
        workshop: Workshop,
        rules: NameRules,
        guards: Guards,
        controls: Controls | None = None,
    ) -> None:
        controls = controls or Controls()
        self.events = controls.events
        self._resolver = resolver
        self._table = resolver.table
        self._store = resolver.store
        self._rules = rules
        self._guards = guards
        self.handles = HandleTable()
        self.files = OpenFiles(resolver, workshop)
        self._markers = Markers(resolver, self.files.storing.owe)
        self._names = Names(resolver, self.files, self._markers, rules, guards)
        self._renamer = Renamer(
            resolver, self.files, self._markers, rules, guards, workshop.state.journal
        )
        self._metadata = Metadata(resolver, self.files.storing, self._markers)
        self._workshop = workshop
        self._parts = ControlParts(
            resolver,
            workshop,
            self.files,
            guards,
            controls,
            Counted(self.figures, self.metrics),
        )
        self._control = self._parts.tree
        self.directories = OpenDirectories(resolver, self._control)
        self._capacity: Capacity | None = None
        self._capacity_at = float("-inf")

    # -- nodes

    def node(self, ino: int) -> Node:
        """Return the node of an inode number that the kernel knows.

        Raises:
            Stale: the number is unknown.
        """
        node = self._table.get(Ino(ino)) or self._control.get(Ino(ino))
        if node is None:
            raise Stale(f"inode {ino} is unknown")
        return node

    def _directory(self, ino: int) -> DirectoryNode:
        node = self.node(ino)
        if isinstance(node, ControlNode):
            raise NotPermitted("control files are the mount's own: none are made, moved or removed")
        if not isinstance(node, DirectoryNode):
            raise NotADirectory(f"{node.name} is a file")
        return node

    def _file(self, ino: int) -> FileNode:
        node = self.node(ino)
        if not isinstance(node, FileNode):
            raise IsADirectory(f"{node.name} is a directory")
        return node

    def remaining(self, node: Node) -> float:
        """Return for how many seconds the kernel may keep a node's attributes."""
        if isinstance(node, ControlNode) and not node.sized:
            return 0.0
        return self._resolver.remaining(node)

    @property
    def absence_lifetime(self) -> float:
        """Return for how many seconds the kernel may believe that a name is absent."""
        return self._resolver.lifetimes.absence

    async def lookup(self, parent: int, name: bytes) -> Node:
        """Return the node of a name (+1). Kernel: FUSE_LOOKUP."""
        basename = to_text(name)
        node: Node | None = await self._control.find(parent, basename)
        if node is None:
            node = await self._find(self._directory(parent), basename)
        node.lookups += 1
        return node

    async def _find(self, directory: DirectoryNode, basename: str) -> Node:
        """Return the node of a name; one that is too long to be made is not just absent."""
        try:
            return await self._resolver.child(directory, basename)
        except NotFound:
            check_length(basename, self._rules)
            raise
        except Invalid as error:  # the protocol cannot even ask for it
            raise NotFound(str(error)) from error

    def _changeable(self, parent: int, name: bytes) -> tuple[DirectoryNode, str]:
        """Return where a name is that is to be made, moved or removed.

        Raises:
            NotPermitted: the name belongs to the control files.
        """
        directory, basename = self._directory(parent), to_text(name)
        if self._control.is_at(parent, basename):
            raise NotPermitted(f"{basename} holds the mount's control files")
        return directory, basename

    def forget(self, ino: int, count: int) -> None:
        """Lower a lookup count. Kernel: FUSE_FORGET."""
        node = self._table.get(Ino(ino)) or self._control.get(Ino(ino))
        if node is not None:
            node.lookups -= count
            self._let_go(node)

    def _let_go(self, node: Node) -> None:
        if isinstance(node, ControlNode):
            self._control.let_go(node)
        else:
            self._table.forget_if_unused(node)

    async def getattr(self, ino: int) -> Node:
        """Return a node with attributes younger than their TTL. Kernel: FUSE_GETATTR.

        A file that others removed while it is open keeps its last ones: the kernel asks before it
        reads, and what is cached stays readable (C4). Whoever looks for the name finds nothing.
        """
        node = self.node(ino)
        try:
            await self._resolver.refresh(node)
        except NotFound:
            if not (isinstance(node, FileNode) and node.opens):
                raise
        return node

    # -- directories

    async def opendir(self, ino: int) -> Fh:
        """Open a directory. Kernel: FUSE_OPENDIR."""
        control = await self._control.open_directory(ino)
        return self.handles.add(control or await self.directories.open(self._directory(ino)))

    async def readdir(self, fh: int, start: int) -> Iterator[Shown]:
        """Return entries from index `start` on; none at the end. Kernel: FUSE_READDIRPLUS.

        The caller raises the lookup count of each node that it passes on, with `accept`, and gives
        the one that it does not back with `reject`.
        """
        return await self.directories.read(self.handles.directory(Fh(fh)), start)

    @staticmethod
    def accept(node: Node) -> None:
        """Take note that the kernel took an entry (+1)."""
        node.lookups += 1

    def reject(self, node: Node) -> None:
        """Take note that the kernel had no room for an entry."""
        self._let_go(node)

    def releasedir(self, fh: int) -> None:
        """Close a directory. Kernel: FUSE_RELEASEDIR."""
        handle = self.handles.remove(Fh(fh))
        if isinstance(handle, DirectoryHandle | ControlListing):
            self.directories.close(handle)
            self._let_go(handle.node)

    # -- making and removing names

    async def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Node:
        """Make a directory and return its node (+1). Kernel: FUSE_MKDIR. C26."""
        directory, basename = self._changeable(parent, name)
        node = await self._names.make_directory(directory, basename, mode, caller)
        node.lookups += 1
        return node

    async def rmdir(self, parent: int, name: bytes) -> None:
        """Remove an empty directory. Kernel: FUSE_RMDIR. C27."""
        await self._names.remove_directory(*self._changeable(parent, name))

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[Fh, FileNode]:
        """Make and open a file (+1). Kernel: FUSE_CREATE. C20, C21."""
        directory, basename = self._changeable(parent, name)
        exclusive = bool(flags & os.O_EXCL)
        node, made = await self._names.make_file(
            directory, basename, mode, caller, exclusive=exclusive
        )
        node.lookups += 1  # first: what is stored meanwhile must not be forgotten
        try:
            if made and flags & os.O_ACCMODE == os.O_RDONLY:
                await self.files.storing.store(node)  # no flush will
            fh, _ = await self._open(node, flags)
        except BaseException:
            node.lookups -= 1
            self._let_go(node)
            raise
        return fh, node

    async def mknod(self, parent: int, name: bytes, mode: int, caller: Caller) -> Node:
        """Make an empty regular file (+1); special files are EPERM (C33). Kernel: FUSE_MKNOD."""
        if not stat.S_ISREG(mode):
            raise NotPermitted("an object store keeps no special files")
        fh, node = await self.create(parent, name, mode, os.O_WRONLY | os.O_EXCL, caller)
        try:
            await self.flush(fh)
        finally:
            await self.release(fh)
        return node

    async def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Node:
        """Make a symbolic link (+1). Kernel: FUSE_SYMLINK."""
        directory, basename = self._changeable(parent, name)
        node = await self._names.make_link(directory, basename, target, caller)
        node.lookups += 1
        return node

    async def readlink(self, ino: int) -> bytes:
        """Return a symbolic link's target. Kernel: FUSE_READLINK."""
        shown = await self._control.target(ino)
        if shown is not None:
            return shown
        node = self._file(ino)
        if node.attributes.kind is not Kind.SYMLINK:
            raise Invalid(f"{node.name} is no symbolic link")
        if node.target is None:
            assert node.bucket is not None
            node.target = await self._store.get(node.bucket, node.name, MAX_TARGET)
        return node.target

    async def unlink(self, parent: int, name: bytes) -> None:
        """Remove a file's name; open descriptors go on (C19). Kernel: FUSE_UNLINK."""
        await self._names.remove_file(*self._changeable(parent, name))

    async def rename(
        self, old_parent: int, old: bytes, new_parent: int, new: bytes, flags: int
    ) -> None:
        """Rename a file or directory. Kernel: FUSE_RENAME2. C31, C32."""
        source, basename = self._changeable(old_parent, old)
        target, name = self._changeable(new_parent, new)
        async with self._resolver.changes.of(source, target):
            await self._renamer.rename(source, basename, target, name, flags)
            await self._markers.keep(source)

    # -- open files

    async def open_control(self, ino: int, flags: int, caller: Caller) -> OpenedControl | None:
        """Open a control file; None if it is none."""
        handle = await self._control.open(ino, flags, caller)
        if handle is None:
            return None
        view = handle.opened if isinstance(handle, ViewHandle) else None
        return OpenedControl(
            self.handles.add(handle),
            cached=view is not None,
            lasting=view is not None and view.lasting,
            stream=isinstance(handle, StreamHandle),
        )

    async def open(self, ino: int, flags: int) -> tuple[Fh, bool]:
        """Open a file; also tell whether the kernel's cached pages are still its content.

        Kernel: FUSE_OPEN. C2.
        """
        node = self._file(ino)
        await self._resolver.refresh(node)
        return await self._open(node, flags)

    async def _open(self, node: FileNode, flags: int) -> tuple[Fh, bool]:
        """Do what `open` does with a file whose attributes are fresh."""
        self._part_if_replaced(node)
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            self._guards.check_writing(node)
        corrupt = node.reader is not None and node.reader.broken is not None
        handle = await self.files.open(node, flags)
        # Not the node's: an answer that came since may have made it another one.
        pinned = handle.reader.identity if handle.reader is not None else None
        keep = pinned == node.kernel_identity and not corrupt
        node.kernel_identity = pinned
        return self.handles.add(handle), keep

    def _part_if_replaced(self, node: FileNode) -> None:
        """Have the name of a file that is open become another file if others replaced the content.

        Kernel: all descriptors of an inode share its pages, which would be of two contents.

        Raises:
            Replaced: they did: the kernel looks the name up again.
        """
        before, now = node.kernel_identity, node.identity
        if before is None or now is None or before.admits(now) or node.local:
            return
        for handle in self.handles.open_files():
            if handle.node is node:
                self._table.detach_location(node)
                node.detached = True
                node.retire_reader()
                node.identity, node.lineage = before, handle.lineage
                node.attributes = node.attributes.but(size=before.size)
                raise Replaced(f"{node.name} was replaced by another client while it was open")

    def read_now(self, fh: int, offset: int, size: int) -> memoryview | None:
        """Return bytes that are in memory, or None if `read` has to be awaited."""
        handle = self.handles.stream(Fh(fh))
        if not isinstance(handle, FileHandle):
            return None
        return self.files.read_now(handle, offset, size)

    async def read(self, fh: int, offset: int, size: int) -> bytes | memoryview:
        """Return up to `size` bytes; short only at the end. Kernel: FUSE_READ."""
        handle = self.handles.stream(Fh(fh))
        if isinstance(handle, FileHandle):
            return await self.files.read(handle, offset, size)
        if isinstance(handle, ControlHandle):
            return handle.read(offset, size)
        return await handle.read(offset, size)

    async def write(self, fh: int, offset: int, data: bytes) -> int:
        """Write bytes and return how many were taken. Kernel: FUSE_WRITE."""
        handle = self.handles.stream(Fh(fh))
        if isinstance(handle, FileHandle):
            return await self.files.write(handle, offset, data)
        return await handle.write(data)

    async def flush(self, fh: int) -> None:
        """Store what was written: close(2) returns the error. Kernel: FUSE_FLUSH. C9."""
        handle = self.handles.stream(Fh(fh))
        if isinstance(handle, FileHandle) and handle.writable:
            await self.files.flush(handle)

    async def fsync(self, fh: int) -> None:
        """Return when the cluster has the present content. Kernel: FUSE_FSYNC. C8."""
        handle = self.handles.stream(Fh(fh))
        if isinstance(handle, FileHandle):
            await self.files.fsync(handle)

    async def release(self, fh: int) -> None:
        """Close a file; never raises. Kernel: FUSE_RELEASE."""
        handle = self.handles.remove(Fh(fh))
        if isinstance(handle, FileHandle):
            await self.files.close(handle)
            self._let_go(handle.node)
        elif isinstance(handle, StreamLike):
            handle.close()
            self._let_go(handle.node)

    # -- attributes

    async def setattr(self, ino: int, change: Change, fh: int | None) -> Node:
        """Change attributes and return the node. Kernel: FUSE_SETATTR. C24."""
        node = self.node(ino)
        if isinstance(node, ControlNode):
            if any(value is not None for value in (change.mode, change.uid, change.gid)):
                raise NotPermitted(f"{node.name} keeps its owner and permissions")
            if isinstance(node.entry, ViewFile):
                raise ReadOnly(f"{node.name} shows what is in an object, and can only be read")
            return node  # the size is always 0, and times mean nothing
        if change.size is not None:
            if fh is None:
                self._guards.check_writing(node)
            await self.files.truncate(self._file(ino), change.size, store=fh is None)
        fields = {
            name: value
            for name, value in (
                ("mode", change.mode),
                ("uid", change.uid),
                ("gid", change.gid),
                ("mtime_ns", change.mtime_ns),
            )
            if value is not None
        }
        if fields:
            await self._metadata.change(node, **fields)
        return node

    # -- extended attributes

    async def getxattr(self, ino: int, name: bytes) -> bytes:
        """Return an attribute's value. Kernel: FUSE_GETXATTR.

        Raises:
            NoAttribute: there is none of that name.
        """
        text = to_text(name)
        if not text.startswith(xattrs.USER):
            raise NoAttribute(text)  # asked for every file by ls -l: no work, no network
        node = self.node(ino)
        if text == xattrs.JOB:
            return to_bytes(await self._parts.commands.job_of(self._parts.places.of(node)))
        if xattrs.is_fact(text):
            return await self._parts.facts.value(node, text)
        return await self._metadata.get(node, text)

    async def listxattr(self, ino: int) -> list[bytes]:
        """Return the names of the attributes that were set. Kernel: FUSE_LISTXATTR."""
        return [to_bytes(name) for name in await self._metadata.names(self.node(ino))]

    async def setxattr(self, ino: int, name: bytes, value: bytes, caller: Caller) -> None:
        """Set an attribute; it persists with the object. Kernel: FUSE_SETXATTR.

        A fact of the cluster may be set to what it is, as programs do that copy all attributes.
        What `user.ais.do` is set to is carried out, and not kept.
        """
        text, node = to_text(name), self.node(ino)
        if text == xattrs.DO:
            await self._parts.commands.run_on(self._parts.places.of(node), to_text(value), caller)
            return
        if xattrs.is_fact(text) and await self._parts.facts.is_value(node, text, value):
            return
        await self._metadata.set(node, text, value)

    async def removexattr(self, ino: int, name: bytes) -> None:
        """Remove an attribute; `NoAttribute` if there is none. Kernel: FUSE_REMOVEXATTR."""
        await self._metadata.remove(self.node(ino), to_text(name))

    # -- the mount as a whole

    async def statfs(self) -> Capacity:
        """Return the cluster's capacity. Kernel: FUSE_STATFS. C25."""
        now = trio.current_time()
        if self._capacity is None or now - self._capacity_at > CAPACITY_LIFETIME_S:
            self._capacity = await self._store.capacity()
            self._capacity_at = now
        return self._capacity

    def figures(self) -> dict[str, int]:
        """Return what the mount counts, for the control file `stats`."""
        return {
            "handles.open": len(self.handles),
            "inodes.known": len(self._table),
            "inodes.control": len(self._control),
            **self._workshop.figures(),
            **self._parts.views.figures(),
        }

    def metrics(self) -> str:
        """Return everything that is counted, for a scrape."""
        return metrics.exposition(
            [
                *metrics.of_figures(self.figures()),
                *metrics.of_operations(),
                *metrics.of_process(),
                *metrics.of_requests(self._store.requests()),
            ]
        )

    def dirty_files(self) -> list[FileNode]:
        """Return the files that the cluster lacks something of."""
        return [n for n in self._table if isinstance(n, FileNode) and n.dirty and not n.detached]

    async def drain(self) -> int:
        """Store and delete what is left after the last request; return how much is left then."""
        for handle in self.handles.open_files():
            handle.node.opens = 0
            if handle.node.doomed:
                await self.files.close(handle)
        lost = await self.files.storing.drain(self.dirty_files())
        return lost + await self._workshop.state.journal.unfinished()
