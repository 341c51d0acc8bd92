"""The handles that the kernel holds: open files, open directories, open control files.

Serves `filesystem`; `open_files`, `open_directories` and `control_tree` fill them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType

from aisfs.errors import BadHandle
from aisfs.vfs.control_tree import ControlHandle, ControlListing, StreamHandle, ViewHandle

if TYPE_CHECKING:
    from aisfs.cache.readahead import AccessPattern
    from aisfs.cache.reader import ContentReader
    from aisfs.vfs.directory import Cursor
    from aisfs.vfs.nodes import FileNode, Node

Fh = NewType("Fh", int)


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


StreamLike = ControlHandle | StreamHandle | ViewHandle
"""Open files that are none of a bucket."""

Handle = FileHandle | DirectoryHandle | ControlListing | StreamLike


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

    def stream(self, fh: Fh) -> FileHandle | StreamLike:
        """Return whatever can be read and written; `BadHandle` if nothing such is open."""
        handle = self._handles.get(fh)
        return handle if isinstance(handle, StreamLike) else self.file(fh)

    def directory(self, fh: Fh) -> DirectoryHandle | ControlListing:
        """Return an open directory; `BadHandle` otherwise."""
        handle = self._handles.get(fh)
        if not isinstance(handle, DirectoryHandle | ControlListing):
            raise BadHandle(f"handle {fh} is no open directory")
        return handle

    def node(self, fh: int) -> Node | None:
        """Return what a handle is of; None if the number is unknown."""
        handle = self._handles.get(Fh(fh))
        return handle.node if handle is not None else None

    def remove(self, fh: Fh) -> Handle | None:
        """Forget a handle."""
        handle = self._handles.pop(fh, None)
        if handle is not None:
            handle.node.opens -= 1
        return handle

    def open_files(self) -> list[FileHandle]:
        """Return all open files."""
        return [h for h in self._handles.values() if isinstance(h, FileHandle)]
