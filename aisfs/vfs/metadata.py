"""What is stored about files and directories beside their content: attributes, extended ones too.

Serves `filesystem`. It persists in one custom key of the object, or of the directory's marker
(C22, C24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.control import xattrs
from aisfs.errors import FsError, NoAttribute, NotPermitted
from aisfs.vfs.attributes import encode
from aisfs.vfs.nodes import DirectoryNode, FileNode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aisfs.vfs.attributes import Attributes
    from aisfs.vfs.markers import Markers
    from aisfs.vfs.nodes import Node
    from aisfs.vfs.resolver import Resolver
    from aisfs.vfs.storing import Storing


class Metadata:
    """Attributes of all nodes of a mount."""

    def __init__(self, resolver: Resolver, storing: Storing, markers: Markers) -> None:
        self._resolver = resolver
        self._storing = storing
        self._markers = markers

    async def change(self, node: Node, **fields: int) -> None:
        """Change fields of a node's attributes."""
        await self._resolver.refresh(node)
        await self._keep(node, lambda now: now.but(**fields))

    async def _keep(self, node: Node, change: Callable[[Attributes], Attributes]) -> None:
        """Make changed attributes persist; of a file being written, with its content."""
        if isinstance(node, FileNode):
            # Not while it is being stored: that carries what was before, and would count for this.
            async with self._resolver.changes.of(node), node.lock:
                attributes = change(node.attributes)
                encode(attributes)  # too large: ENOSPC before anything changes
                await self._storing.change_attributes(node, attributes)
        elif isinstance(node, DirectoryNode):
            async with self._resolver.changes.of(node):
                await self._keep_of_directory(node, change(node.attributes))
        else:
            raise NotPermitted(f"{node.name} keeps no attributes")

    async def _keep_of_directory(self, node: DirectoryNode, attributes: Attributes) -> None:
        encode(attributes)
        before, node.attributes = node.attributes, attributes
        try:
            if node.bucket is not None:
                await self._markers.update(node, attributes)
        except FsError:
            node.attributes = before
            raise

    # -- extended attributes of the user

    async def get(self, node: Node, name: str) -> bytes:
        """Return an attribute's value; `NoAttribute` if there is none of that name."""
        await self._resolver.refresh(node)
        if name not in node.attributes.xattrs:
            raise NoAttribute(name)
        return node.attributes.xattrs[name]

    async def names(self, node: Node) -> Sequence[str]:
        """Return the names of all that were set."""
        await self._resolver.refresh(node)
        return list(node.attributes.xattrs)

    async def set(self, node: Node, name: str, value: bytes) -> None:
        """Set an attribute.

        Raises:
            Unsupported, Invalid: it is none that can be kept.
        """
        xattrs.check_settable(name, value)
        await self._resolver.refresh(node)
        await self._keep(node, lambda now: now.but(xattrs={**now.xattrs, name: value}))

    async def remove(self, node: Node, name: str) -> None:
        """Remove an attribute; `NoAttribute` if there is none of that name."""
        await self._resolver.refresh(node)

        def without(now: Attributes) -> Attributes:
            left = dict(now.xattrs)
            if left.pop(name, None) is None:
                raise NoAttribute(name)
            return now.but(xattrs=left)

        await self._keep(node, without)
