"""What changes objects below a directory, and directories that stand still while they are renamed.

Serves `filesystem`, `names`, `storing` and `rename`. A rename of a directory takes many requests:
what is stored or removed below it in between would be left behind, or come back. So it waits until
changes below it have ended, and those that follow wait until it has (C32).

A change is a task's, and holds no `FileNode.lock` while it waits: changes come before locks. A
change within a change does not wait, so a rename may store files.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisfs.store.interface import BucketName
    from aisfs.vfs.nodes import Node


class Changes:
    """The changes under way and the directories that stand still, of one mount."""

    def __init__(self) -> None:
        self._running: dict[trio.lowlevel.Task, list[Node]] = {}
        self._still: set[tuple[BucketName, str]] = set()
        self._turn = trio.lowlevel.ParkingLot()

    @asynccontextmanager
    async def of(self, *nodes: Node) -> AsyncIterator[None]:
        """Change files, or what is in directories; their names are to be looked at within."""
        task = trio.lowlevel.current_task()
        outer = self._running.get(task)
        while outer is None and any(self._stands_still(node) for node in nodes):
            await self._turn.park()
        self._running[task] = [*(outer or ()), *nodes]
        try:
            yield
        finally:
            self._end(task, outer)

    def _end(self, task: trio.lowlevel.Task, outer: list[Node] | None) -> None:
        if outer is None:
            del self._running[task]
        else:
            self._running[task] = outer
        if self._still:
            self._turn.unpark_all()

    @asynccontextmanager
    async def halted(self, bucket: BucketName, *prefixes: str) -> AsyncIterator[None]:
        """Have everything below some directories stand still, but for what this task does."""
        places = {(bucket, prefix) for prefix in prefixes}
        self._still |= places
        try:
            task = trio.lowlevel.current_task()
            while any(
                self._is_below(node, places)
                for other, nodes in self._running.items()
                if other is not task
                for node in nodes
            ):
                await self._turn.park()
            yield
        finally:
            self._still -= places
            self._turn.unpark_all()

    def _stands_still(self, node: Node) -> bool:
        return bool(self._still) and self._is_below(node, self._still)

    @staticmethod
    def _is_below(node: Node, places: set[tuple[BucketName, str]]) -> bool:
        return any(node.bucket == b and node.name.startswith(prefix) for b, prefix in places)
