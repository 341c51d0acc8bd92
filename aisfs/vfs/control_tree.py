"""The control files in the namespace: a directory at the mount's root that no listing shows.

Serves `filesystem`. `find`, `cp -r` and `du` must not wander into it, so that it is found by name
only, unless the mount is told otherwise. Its files have no size and are read without the kernel's
cache: each handle reads what was true when it was opened, and one that was opened for both what
became of what it wrote; a stream tells what comes about from then on.

Looking around asks the cluster for names where a directory's are the cluster's, and renders
nothing. Invariants: a path has one inode number while the kernel knows it; a node goes with the
kernel's last reference and the last handle, and what its directory listed with it. A file of a view
is one content: another one at its path has another number, so that the kernel may keep its bytes.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from aisfs.config import Control
from aisfs.control.events import Events
from aisfs.control.files import (
    ControlDirectory,
    ControlFile,
    OpenStream,
    OpenView,
    PersonalFile,
    StreamFile,
    ViewFile,
)
from aisfs.errors import (
    BadHandle,
    Forbidden,
    Invalid,
    IsADirectory,
    NotADirectory,
    NotFound,
    ReadOnly,
)
from aisfs.vfs.attributes import Attributes, Kind
from aisfs.vfs.directory import SLICE, TOLD
from aisfs.vfs.nodes import ROOT, Ino, Node
from aisfs.vfs.paths import RESERVED, is_presentable, to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from aisfs.control.commands import Commands
    from aisfs.control.files import Caller, ControlEntry, Sink
    from aisfs.vfs.attributes import Presentation
    from aisfs.vfs.directory import Shown

NAME = RESERVED

FIRST_INO = 1 << 48
"""Inode numbers from here on are control files'; the table's count up from 2 and never get here."""

BELIEVED_S = 10.0
"""Seconds for which a name that the cluster listed is found without asking again: a walk asks once
for each directory. Opening what is gone fails all the same."""


@dataclass(frozen=True, slots=True)
class Controls:
    """What a mount is controlled by, besides what the filesystem itself has to tell.

    Attributes:
        entries: makes more files and directories of the control directory, given what carries
            out the commands that some of them take.
        events: where is told what happens.
        directory: whether there is a control directory, and whether it is listed.
    """

    entries: Callable[[Commands], Sequence[ControlEntry]] = lambda _: ()
    events: Events = field(default_factory=Events)
    directory: Control = Control.HIDDEN


class ControlNode(Node):
    """The control directory, or a file or directory below it.

    Attributes:
        entry: what it is.
        listed: what the cluster listed in it last.
        listed_at: when it was asked for that.
        sized: whether the size that it shows is that of its content; the kernel must ask each time
            for one that is not.
    """

    __slots__ = ("entry", "listed", "listed_at", "sized")

    def __init__(self, ino: Ino, path: str, shown: Attributes, entry: ControlEntry) -> None:
        super().__init__(ino, None, path, shown)
        self.entry = entry
        self.listed: Mapping[str, ControlEntry] = {}
        self.listed_at = float("-inf")
        self.sized = not isinstance(entry, ViewFile) or entry.size is not None

    def is_of(self, entry: ControlEntry) -> bool:
        """Tell whether the node may stand for an entry that is at its path now."""
        old = self.entry
        if isinstance(old, ViewFile) and isinstance(entry, ViewFile):
            return old.same_as(entry)
        if isinstance(old, ViewFile) or isinstance(entry, ViewFile):
            return False
        return isinstance(old, ControlDirectory) == isinstance(entry, ControlDirectory)


@dataclass(slots=True, eq=False)
class ControlHandle:
    """One open control file.

    Writing moves the descriptor's offset on, so an answer begins wherever the first read after a
    write begins. Reading from there, or from before, again renders it anew.

    Attributes:
        text: its content when it was opened, later the answer; empty if it cannot be read.
        sink: takes what is written; None if it was opened for reading only.
        start: offset at which the answer begins; None until it is read.
    """

    node: ControlNode
    text: bytes
    sink: Sink | None
    start: int | None = None

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on."""
        if self.sink is None:
            return self.text[offset : offset + size]
        if self.start is None or offset <= self.start:
            self.start, self.text = offset, to_bytes(self.sink.shown())
        return self.text[offset - self.start :][:size]

    async def write(self, data: bytes) -> int:
        """Hand bytes on, wherever they are written to, and return how many were taken."""
        if self.sink is None:
            raise BadHandle(f"{self.node.name} is not open for writing")
        self.start = None
        return await self.sink.write(bytes(data))

    def close(self) -> None:
        """Let go of the handle."""
        if self.sink is not None:
            self.sink.close()


T = TypeVar("T", OpenView, OpenStream)


@dataclass(slots=True, eq=False)
class _ReadOnlyHandle(Generic[T]):
    """One open file that is never written."""

    node: ControlNode
    opened: T

    async def write(self, data: bytes) -> int:  # noqa: ARG002 - as of `ControlHandle`
        """Refuse to write."""
        raise BadHandle(f"{self.node.name} is not open for writing")

    def close(self) -> None:
        """Let go of the handle."""
        self.opened.close()


@dataclass(slots=True, eq=False)
class ViewHandle(_ReadOnlyHandle[OpenView]):
    """One open file of a view."""

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return up to `size` bytes from `offset` on; valid until the next await."""
        return await self.opened.read(offset, size)


@dataclass(slots=True, eq=False)
class StreamHandle(_ReadOnlyHandle[OpenStream]):
    """One open file of what comes about."""

    async def read(self, offset: int, size: int) -> bytes:  # noqa: ARG002 - there is no going back
        """Return what comes next, up to `size` bytes; may wait for it."""
        return await self.opened.read(size)


@dataclass(slots=True, eq=False)
class ControlListing:
    """One open control directory, with what was in it when it was opened, by name."""

    node: ControlNode
    entries: list[tuple[str, ControlEntry]]


class ControlTree:
    """All control files of a mount.

    Args:
        presentation: whose they are.
        entries: what the control directory shows.
        unlisted: what is found in it by name only: a walk through the control files, too, must not
            wander into views of all objects, nor wait for what comes about.
        place: whether the control directory is there, and whether it is listed.
    """

    def __init__(
        self,
        presentation: Presentation,
        entries: Sequence[ControlEntry],
        unlisted: Sequence[ControlEntry] = (),
        place: Control = Control.HIDDEN,
    ) -> None:
        self._place = place
        self._uid, self._gid = presentation.uid, presentation.gid
        self._made_at_ns = time.time_ns()
        self._next = FIRST_INO
        self._by_ino: dict[Ino, ControlNode] = {}
        self._by_path: dict[str, ControlNode] = {}
        by_name = {entry.name: entry for entry in unlisted}

        async def find(basename: str) -> ControlEntry | None:
            return by_name.get(basename)

        self.directory = self._node(NAME, ControlDirectory(NAME, entries, find=find))

    def __len__(self) -> int:
        return len(self._by_ino)

    def get(self, ino: Ino) -> ControlNode | None:
        """Return the control node of an inode number."""
        return self._by_ino.get(ino)

    def let_go(self, node: ControlNode) -> None:
        """Forget a node that neither the kernel nor a handle refers to."""
        if node.removable and node is not self.directory:
            self._by_ino.pop(node.ino, None)
            if self._by_path.get(node.name) is node:
                del self._by_path[node.name]

    def _node(self, path: str, entry: ControlEntry) -> ControlNode:
        """Return the node of a path, made if there is none that may stand for the entry."""
        node = self._by_path.get(path)
        if node is None or not node.is_of(entry):
            node = ControlNode(Ino(self._next), path, self._shown(entry), entry)
            self._next += 1
            self._by_ino[node.ino] = self._by_path[path] = node
        elif isinstance(entry, ControlDirectory):  # it may lead to something else now
            node.entry, node.attributes = entry, self._shown(entry)
        elif isinstance(entry, ViewFile):  # the same bytes, but who may read them may have changed
            node.attributes = self._shown(entry).but(size=node.attributes.size)
        return node

    def _shown(self, entry: ControlEntry) -> Attributes:
        mtime_ns, size = self._made_at_ns, 0
        if isinstance(entry, ControlDirectory):
            kind, mode, mtime_ns = Kind.DIRECTORY, entry.mode, entry.mtime_ns or mtime_ns
        elif isinstance(entry, ViewFile):
            kind, mode = Kind.SYMLINK if entry.link else Kind.FILE, entry.mode
            mtime_ns, size = entry.mtime_ns, entry.size or 0
        else:
            written = not isinstance(entry, StreamFile) and entry.accept is not None
            kind, mode = Kind.FILE, 0o644 if written else 0o444
            if not isinstance(entry, ControlFile) and entry.private:
                mode &= 0o600
        return Attributes(kind, mode, self._uid, self._gid, mtime_ns, size)

    # -- names

    @property
    def exists(self) -> bool:
        """Whether there is a control directory; if not, its name is one as all others."""
        return self._place is not Control.OFF

    @property
    def listed(self) -> bool:
        """Whether the listing of the root shows the control directory."""
        return self._place is Control.VISIBLE

    def is_at(self, parent: int, basename: str) -> bool:
        """Tell whether the control directory is at a name."""
        return parent == ROOT and basename == NAME and self.exists

    async def find(self, parent: int, basename: str) -> ControlNode | None:
        """Return the control node of a name; None if it is a name of the bucket.

        Raises:
            NotFound: the control directory has nothing of that name.
        """
        if self.is_at(parent, basename):
            return self.directory
        directory = self.get(Ino(parent))
        if directory is None:
            return None
        entry = await self._entry(directory, basename)
        if entry is None:
            raise NotFound(f"there is nothing at {directory.name}/{basename}")
        return self._node(f"{directory.name}/{basename}", entry)

    async def _entry(self, node: ControlNode, basename: str) -> ControlEntry | None:
        directory = self._as_directory(node)
        for entry in directory.entries:
            if entry.name == basename:
                return entry
        if trio.current_time() - node.listed_at < BELIEVED_S and basename in node.listed:
            return node.listed[basename]
        if directory.find is not None:
            return await directory.find(basename)
        return (await self._ask(node, directory)).get(basename)

    @staticmethod
    def _as_directory(node: ControlNode) -> ControlDirectory:
        if not isinstance(node.entry, ControlDirectory):
            raise NotADirectory(f"{node.name} is a file")
        return node.entry

    @staticmethod
    async def _ask(node: ControlNode, directory: ControlDirectory) -> Mapping[str, ControlEntry]:
        """Return what the cluster lists in a directory now."""
        if directory.listed is None:
            return {}
        asked_at = trio.current_time()
        listed = {
            name: entry
            for name, entry in (await directory.listed()).items()
            if is_presentable(name) and "/" not in name
        }
        if directory.remembered:
            node.listed, node.listed_at = listed, asked_at
        return listed

    async def open_directory(self, ino: int) -> ControlListing | None:
        """Open a control directory; None if it is none."""
        node = self.get(Ino(ino))
        if node is None:
            return None
        directory = self._as_directory(node)
        entries = {**await self._ask(node, directory), **{e.name: e for e in directory.entries}}
        return ControlListing(node, sorted(entries.items()))

    def read_directory(
        self, listing: ControlListing, start: int, *, leaves_out: bool = False
    ) -> Iterator[Shown]:
        """Return entries from index `start` on; as `OpenDirectories.read`.

        A million names must not become as many nodes, which the kernel never gives back by itself:
        of those behind the first `TOLD` only the types are told, if the caller takes that.
        """
        for index, (name, entry) in enumerate(listing.entries[start : start + SLICE], start + 1):
            if leaves_out and index > TOLD:
                yield to_bytes(name), self._shown(entry).kind, index
            else:
                yield to_bytes(name), self._node(f"{listing.node.name}/{name}", entry), index

    # -- files

    async def open(
        self, ino: int, flags: int, caller: Caller
    ) -> ControlHandle | StreamHandle | ViewHandle | None:
        """Open a control file, for which O_TRUNC means nothing; None if it is none.

        Raises:
            IsADirectory, Forbidden: it is no file, cannot be written, or is another user's.
            Busy: too many have it open.
            ReadOnly: it is of a view, and would be written.
            FsError: what it tells could not be asked for.
        """
        node = self.get(Ino(ino))
        if node is None:
            return None
        file, mode = node.entry, flags & os.O_ACCMODE
        if isinstance(file, ControlDirectory):
            raise IsADirectory(f"{node.name} is a directory")
        if isinstance(file, ViewFile):
            if flags & (os.O_ACCMODE | os.O_TRUNC):
                raise ReadOnly(f"{node.name} shows what is in an object, and can only be read")
            opened = await file.open()
            node.attributes = node.attributes.but(size=opened.size)
            node.sized = True
            return ViewHandle(node, opened)
        if isinstance(file, StreamFile):
            return self._listen(node, file, flags, caller)
        if isinstance(file, PersonalFile):
            file = self._of_caller(file, caller)
        if mode == os.O_RDONLY:
            return ControlHandle(node, to_bytes(await file.show()), None)
        if file.accept is None:
            raise Forbidden(f"{node.name} can only be read")
        return ControlHandle(node, b"", file.accept())

    async def target(self, ino: int) -> bytes | None:
        """Return where a symbolic link leads; None if it is none of a view.

        Raises:
            Invalid: it is no link.
            FsError: it could not be read.
        """
        node = self.get(Ino(ino))
        if node is None:
            return None
        if not isinstance(node.entry, ViewFile) or not node.entry.link:
            raise Invalid(f"{node.name} is no symbolic link")
        return to_bytes(await node.entry.target())

    def _of_caller(self, file: PersonalFile, caller: Caller) -> ControlFile:
        """Return a file as one caller sees it."""
        self._check_caller(file, caller)
        accept = None if file.accept is None else partial(file.accept, caller)
        return ControlFile(file.name, partial(file.show, caller), accept)

    def _listen(
        self, node: ControlNode, file: StreamFile, flags: int, caller: Caller
    ) -> StreamHandle:
        self._check_caller(file, caller)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise Forbidden(f"{node.name} can only be read")
        return StreamHandle(node, file.listen(caller, waits=not flags & os.O_NONBLOCK))

    def _check_caller(self, file: PersonalFile | StreamFile, caller: Caller) -> None:
        # The kernel compares the owner that we show, which another option of the mount may set.
        if file.private and caller.uid not in {0, self._uid, os.getuid()}:
            raise Forbidden(f"{file.name} is for the owner of the mount only")
