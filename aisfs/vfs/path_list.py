"""Paths that programs write to control files: lines cut anywhere, and what they lead to.

Serves `orders` and `path_tasks`. Paths are relative to the mount's root; a leading "/" or "./"
means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.errors import NotFound
from aisfs.vfs.nodes import DirectoryNode, Node
from aisfs.vfs.paths import split, to_text

if TYPE_CHECKING:
    from aisfs.vfs.resolver import Resolver

KNOWN_DIRECTORIES = 4096
"""Directories that are found without looking them up again."""


class PathList:
    """Paths that were written, one per line, and not taken out yet."""

    def __init__(self) -> None:
        self._text = bytearray()

    def __len__(self) -> int:
        """Return the bytes of all lines, the last one's beginning included."""
        return len(self._text)

    def write(self, data: bytes) -> None:
        """Take more of the list."""
        self._text += data

    def end(self) -> None:
        """Take the last line, whether it has its newline or not."""
        if self._text and not self._text.endswith(b"\n"):
            self._text += b"\n"

    def clear(self) -> None:
        """Forget all paths."""
        self._text.clear()

    @property
    def ready(self) -> bool:
        """Whether a whole line is there."""
        return b"\n" in self._text

    @property
    def first(self) -> str:
        """The first path."""
        line = bytes(self._text[: self._text.index(b"\n")])
        return to_text(line).removeprefix("./").lstrip("/")

    def drop_first(self) -> None:
        """Go on to the next path."""
        del self._text[: self._text.index(b"\n") + 1]


class Finder:
    """Looks paths up, component by component, and remembers directories on the way."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._directories: dict[str, DirectoryNode] = {}

    async def node(self, path: str) -> Node:
        """Return the node of a path; the table keeps it only if somebody else uses it.

        Raises:
            NotFound: there is nothing of that name.
        """
        prefix, basename = split(path)
        if basename in {"", "."}:
            return await self.directory(prefix)
        node = await self._resolver.child(await self.directory(prefix), basename)
        self._resolver.table.forget_if_unused(node)
        return node

    async def directory(self, prefix: str) -> DirectoryNode:
        """Return the node of a directory, given with a "/" at the end; "" is the mount's root.

        Raises:
            NotFound: there is no such directory.
        """
        table = self._resolver.table
        known = self._directories.get(prefix)
        if known is not None and table.get(known.ino) is known:
            return known
        node: Node = table.root
        for component in filter(None, prefix.split("/")):
            if not isinstance(node, DirectoryNode):
                break
            node = await self._resolver.child(node, component)
        if not isinstance(node, DirectoryNode):
            raise NotFound(f"{prefix} is no directory")
        if len(self._directories) >= KNOWN_DIRECTORIES:
            for directory in self._directories.values():
                table.forget_if_unused(directory)
            self._directories.clear()
        self._directories[prefix] = node
        return node
