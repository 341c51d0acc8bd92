"""What is stored about files and directories beside their content: attributes, extended ones too.

Serves `filesystem`. It persists in one custom key of the object, or of the directory's marker
(C22, C24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.control import xattrs
from aisfs.errors import FsError, NoAttribute, NotPermitted
from aisfs.vfs.attributes import encode
from aisfs.vfs.control_tree import ControlNode
from aisfs.vfs.inodes import DirectoryNode, FileNode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisfs.vfs.attributes import Attributes
    from aisfs.vfs.inodes import Node
    from aisfs.vfs.markers import Markers
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
        await self._keep(node, node.attributes.but(**fields))

    async def _keep(self, node: Node, attributes: Attributes) -> None:
        """Make attributes persist; of a file being written, with its content."""
        if isinstance(node, ControlNode):
            raise NotPermitted(f"{node.name} keeps no attributes")
        encode(attributes)  # too large: ENOSPC before anything changes
        before, node.attributes = node.attributes, attributes
        try:
            if isinstance(node, FileNode):
                node.attributes_dirty = True
                await self._storing.attributes_changed(node)
            elif isinstance(node, DirectoryNode) and node.bucket is not None:
                async with self._resolver.changes.of(node):
                    await self._markers.update(node, attributes)
        except FsError:
            node.attributes = before
            if isinstance(node, FileNode):
                node.attributes_dirty = False
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
        changed = {**node.attributes.xattrs, name: value}
        await self._keep(node, node.attributes.but(xattrs=changed))

    async def remove(self, node: Node, name: str) -> None:
        """Remove an attribute; `NoAttribute` if there is none of that name."""
        await self._resolver.refresh(node)
        left = dict(node.attributes.xattrs)
        if left.pop(name, None) is None:
            raise NoAttribute(name)
        await self._keep(node, node.attributes.but(xattrs=left))
