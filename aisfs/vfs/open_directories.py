"""Open directories: what an application lists through its descriptors.

Serves `filesystem`. A directory of objects is read by a cursor of the handle, the root of all
buckets has all its names when it is opened, and control directories are `control_tree`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.vfs.answers import told_at
from aisfs.vfs.control_tree import NAME as CONTROL
from aisfs.vfs.control_tree import ControlListing
from aisfs.vfs.handles import DirectoryHandle
from aisfs.vfs.nodes import ROOT, DirectoryNode
from aisfs.vfs.paths import bucket_directory, to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs.vfs.control_tree import ControlTree
    from aisfs.vfs.directory import Entry, Shown
    from aisfs.vfs.nodes import Node
    from aisfs.vfs.resolver import Resolver


class OpenDirectories:
    """Opens and reads directories.

    Attributes:
        leaves_out: whether the reader takes names without attributes.
    """

    def __init__(self, resolver: Resolver, control: ControlTree) -> None:
        self.leaves_out = False
        self._resolver = resolver
        self._control = control

    async def open(self, directory: DirectoryNode) -> DirectoryHandle:
        """Open a directory of objects, or the root of all buckets."""
        if directory.bucket is None:
            buckets: list[tuple[str, Node]] = [
                (bucket_directory(node.bucket), node)
                for node in await self._resolver.bucket_nodes()
                if node.bucket is not None
            ]
            return DirectoryHandle(directory, None, buckets)
        cursor = self._resolver.cursor(directory)
        directory.readers.append(cursor)
        return DirectoryHandle(directory, cursor, [])

    async def read(self, handle: DirectoryHandle | ControlListing, start: int) -> Iterator[Shown]:
        """Return entries from index `start` on; none at the end."""
        if isinstance(handle, ControlListing):
            return self._control.read_directory(handle, start, leaves_out=self.leaves_out)
        if handle.node.ino == ROOT and self._control.exists:
            return await self._root_entries(handle, start)
        if handle.cursor is None:
            return self._fixed_entries(handle, start)
        entries = await handle.cursor.at(start)
        return self._object_entries(handle, start, entries)

    async def _root_entries(self, handle: DirectoryHandle, start: int) -> Iterator[Shown]:
        """Return entries of the root, in which the control directory has a name.

        If it is listed, it is the first entry. What the bucket has of that name is in no listing,
        as no look-up finds it.
        """
        shown = int(self._control.listed)
        if start < shown:
            return iter([(to_bytes(CONTROL), self._control.directory, shown)])
        index = start - shown
        if handle.cursor is None:
            found = self._fixed_entries(handle, index)
        else:
            entries = await handle.cursor.at(index)
            if len(entries) == 1 and entries[0].name == CONTROL:  # no entries would be the end
                index += 1
                entries = await handle.cursor.at(index)
            found = self._object_entries(handle, index, entries, CONTROL)
        if not shown:
            return found
        return ((name, node, following + shown) for name, node, following in found)

    def _object_entries(
        self, handle: DirectoryHandle, start: int, entries: list[Entry], left_out: str = ""
    ) -> Iterator[Shown]:
        cursor, parent, resolver = handle.cursor, handle.node, self._resolver
        assert cursor is not None
        assert isinstance(parent, DirectoryNode)
        source = cursor.source
        told = told_at(source)
        for index, entry in enumerate(entries, start):
            if entry.name == left_out or parent.is_removed_since(entry.name, source.started_at):
                continue
            name = to_bytes(entry.name)
            if entry.info is None or not self.leaves_out or cursor.tells(index):
                yield name, resolver.answers.entry(parent, entry, source, told), index + 1
            else:
                yield name, entry.kind, index + 1

    @staticmethod
    def _fixed_entries(handle: DirectoryHandle, start: int) -> Iterator[Shown]:
        for index, (name, node) in enumerate(handle.fixed[start:], start + 1):
            yield to_bytes(name), node, index

    @staticmethod
    def close(handle: DirectoryHandle | ControlListing) -> None:
        """Let go of a handle."""
        if isinstance(handle.node, DirectoryNode) and handle.cursor is not None:
            handle.node.readers.remove(handle.cursor)
