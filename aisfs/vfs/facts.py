"""Facts of a file that its attributes `user.ais.…` tell: what the mount knows, and what it asks.

Serves `filesystem`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.control import xattrs
from aisfs.errors import NoAttribute
from aisfs.vfs.nodes import FileNode

if TYPE_CHECKING:
    from aisfs.vfs.nodes import Node
    from aisfs.vfs.resolver import Resolver
    from aisfs.vfs.storing import Storing


class Facts:
    """Answers for all nodes of a mount."""

    def __init__(self, resolver: Resolver, storing: Storing) -> None:
        self._resolver = resolver
        self._storing = storing

    async def value(self, node: Node, name: str) -> bytes:
        """Return a fact's value.

        Raises:
            NoAttribute: there is no such fact, or nothing is told of it.
        """
        file = node if isinstance(node, FileNode) else None
        if name == xattrs.STATE and file is not None:
            return self._storing.state_of(file).encode()
        await self._resolver.refresh(node)
        if node.bucket is None:
            raise NoAttribute(name)
        identity = file.identity if file is not None else None
        if identity is not None and xattrs.is_asked_for(name):
            told = await self._resolver.store.describe(node.bucket, node.name)
            return xattrs.asked_fact(name, told)
        return xattrs.known_fact(name, node.bucket, node.name, identity)

    async def is_value(self, node: Node, name: str, value: bytes) -> bool:
        """Tell whether a fact has a value: who copies attributes may set it again."""
        try:
            return await self.value(node, name) == value
        except NoAttribute:
            return False
