"""The inode table: which number and which location stand for which node.

Serves all of `vfs`. Invariants: an inode number is never reused; one location (bucket, name) has at
most one node; complete listings are remembered up to a number of names in all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cachetools

from aisfs.vfs.attributes import Kind
from aisfs.vfs.nodes import ROOT, DirectoryNode, FileNode, Ino
from aisfs.vfs.paths import split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs.store.interface import BucketName
    from aisfs.vfs.attributes import Attributes
    from aisfs.vfs.nodes import Contents, Location, Node

REMEMBERED = 200_000
"""Names of complete listings that are kept in all; about 100 bytes each beside their nodes."""

LONGEST_REMEMBERED = REMEMBERED // 2
"""Names of the longest listing that is kept: two of them fit."""


class InodeTable:
    """All nodes by number and by location.

    Attributes:
        root: what is mounted.
        forgotten_change_at: when this mount last changed something in a directory whose node is
            gone: an older answer must not be believed of any directory that is not known.
    """

    def __init__(self, root: DirectoryNode) -> None:
        self.root = root
        self._nodes: dict[Ino, Node] = {root.ino: root}
        self._locations: dict[Location, Node] = {(root.bucket, root.name): root}
        self._next = ROOT + 1
        self.forgotten_change_at = float("-inf")
        self._changed_lately: dict[Ino, DirectoryNode] = {}
        self._listed: cachetools.LRUCache[Ino, DirectoryNode] = _Listed(REMEMBERED)
        root.lookups = 1

    def __iter__(self) -> Iterator[Node]:
        return iter(tuple(self._nodes.values()))

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, ino: Ino) -> Node | None:
        """Return the node of an inode number."""
        return self._nodes.get(ino)

    def find(self, bucket: BucketName | None, name: str) -> Node | None:
        """Return the node at a location."""
        return self._locations.get((bucket, name))

    def parent_of(self, bucket: BucketName | None, name: str) -> tuple[DirectoryNode | None, str]:
        """Return the directory that a name is in, if it has one that is known, and the basename."""
        prefix, basename = split(name)
        parent = self.find(bucket, prefix) if basename else None
        return (parent if isinstance(parent, DirectoryNode) else None), basename

    def add(self, bucket: BucketName | None, name: str, attributes: Attributes) -> Node:
        """Make a node for a location that has none."""
        self._forget_settled()
        kind = DirectoryNode if attributes.kind is Kind.DIRECTORY else FileNode
        node = kind(Ino(self._next), bucket, name, attributes)
        self._next += 1
        self._nodes[node.ino] = node
        self._locations[bucket, name] = node
        return node

    def remember(self, directory: DirectoryNode, contents: Contents) -> None:
        """Keep a complete listing, forgetting the least recently used beyond `REMEMBERED`.

        What this mount changed since the listing was asked for is laid over it.
        """
        known = directory.contents
        overtaken = known is not None and known.started_at > contents.started_at
        if overtaken or not directory.lay_changes_over(contents):
            return
        self._listed.pop(directory.ino, None)
        directory.contents = contents
        directory.revalidations = 0
        directory.absent.clear()
        # Whoever has the directory open may still tell of what was there before.
        oldest = min([contents.started_at, *(each.source.started_at for each in directory.readers)])
        for name, when in tuple(directory.removed.items()):
            if when < oldest:
                del directory.removed[name]
        for name, (when, _) in tuple(directory.made.items()):
            if when < contents.started_at:
                del directory.made[name]
        if len(contents.entries) <= LONGEST_REMEMBERED:
            self._listed[directory.ino] = directory
        else:
            directory.contents = None

    def relocate(self, node: Node, name: str) -> None:
        """Give a node another name in its bucket; what stood there is detached."""
        self.detach_location(node)
        if isinstance(node, FileNode) and node.reader is not None:
            node.reader.name = name
        node.name = name
        self._locations[node.bucket, name] = node

    def detach_location(self, node: Node) -> None:
        """Take a node's name away; its number lives on for those who hold it."""
        if self._locations.get((node.bucket, node.name)) is node:
            del self._locations[node.bucket, node.name]

    def below(self, directory: DirectoryNode) -> list[Node]:
        """Return the known nodes under a directory's prefix, itself excluded."""
        return [
            node
            for node in self._nodes.values()
            if node.bucket == directory.bucket
            and node is not directory
            and node.name.startswith(directory.name)
            and self._locations.get((node.bucket, node.name)) is node
        ]

    def forget_if_unused(self, node: Node) -> bool:
        """Drop a node that nothing refers to; True if it went."""
        if node.ino == ROOT or not node.removable:
            return False
        if isinstance(node, DirectoryNode) and node.changed_lately:
            self._changed_lately[node.ino] = node
            return False
        self.detach_location(node)
        if isinstance(node, DirectoryNode):
            self.forgotten_change_at = max(self.forgotten_change_at, node.touched_at)
            self._listed.pop(node.ino, None)
        elif isinstance(node, FileNode) and node.reader is not None:
            node.reader.rest()  # its pages stay: the next look finds them
        self._nodes.pop(node.ino, None)
        return True

    def _forget_settled(self) -> None:
        """Drop a node that was kept for what was changed in it, if that is long ago by now."""
        if self._changed_lately:
            ino = next(iter(self._changed_lately))
            node = self._changed_lately.pop(ino)
            if node.changed_lately:
                self._changed_lately[ino] = node  # the next time another one is looked at
            else:
                self.forget_if_unused(node)


class _Listed(cachetools.LRUCache[Ino, DirectoryNode]):
    """Directories whose listing is kept, weighed by its length; an evicted one forgets it."""

    def __init__(self, names: int) -> None:
        super().__init__(names, getsizeof=_listing_size)

    def popitem(self) -> tuple[Ino, DirectoryNode]:
        """Forget the least recently used listing."""
        ino, directory = super().popitem()
        directory.contents = None
        return ino, directory


def _listing_size(directory: DirectoryNode) -> int:
    return 1 + (len(directory.contents.entries) if directory.contents is not None else 0)
