"""The control file `sync`: what is named by a path is brought to the cluster, and waited for.

Serves `filesystem`. Each handle that writes paths makes a task of its own, and reading from it
tells how far that is. What an earlier mount left below a path belongs to it as well.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from aisfs.control.files import table
from aisfs.errors import Busy, FsError, IoFailure, NoSpace, NotFound
from aisfs.staging.outbox import WORKERS
from aisfs.vfs.inodes import ROOT, DirectoryNode, FileNode
from aisfs.vfs.path_list import Finder, PathList
from aisfs.vfs.paths import bucket_directory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from aisfs.config import BucketName
    from aisfs.vfs.inodes import Node
    from aisfs.vfs.open_files import OpenFiles
    from aisfs.vfs.resolver import Resolver

log = logging.getLogger(__name__)

MAX_TASKS = 16
MOST_TEXT = 16 << 20
MOST_FAILURES = 100
"""Failures that are named; the others are counted."""


class Syncing:
    """All tasks of a mount. Belongs to the loop."""

    def __init__(self, resolver: Resolver, files: OpenFiles) -> None:
        self.resolver = resolver
        self.files = files
        self.finder = Finder(resolver)
        self._tasks: list[Task] = []

    def begin(self) -> Task:
        """Make a task; it ends with the handle that it is made for.

        Raises:
            Busy: there are `MAX_TASKS` already.
        """
        if len(self._tasks) >= MAX_TASKS:
            raise Busy(f"{MAX_TASKS} handles of sync are open: close one of them first")
        task = Task(self)
        self._tasks.append(task)
        return task

    def end(self, task: Task) -> None:
        """Forget a task."""
        self._tasks.remove(task)

    def shown(self) -> str:
        """Return what all tasks are at together."""
        return table(
            {
                "tasks": len(self._tasks),
                "files": sum(task.files for task in self._tasks),
                "files_done": sum(task.files_done for task in self._tasks),
            }
        )

    # -- what there is to be stored

    def path_of(self, bucket: BucketName | None, name: str) -> str:
        """Return an object's path below the mount's root."""
        root = self.resolver.table.get(ROOT)
        assert root is not None
        if root.bucket is None and bucket is not None:
            return f"{bucket_directory(bucket)}/{name}"
        return name.removeprefix(root.name)

    async def unsent(self, node: Node) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
        """Return the path of each file at or below a node that is to be stored, and how."""

        def within(bucket: BucketName | None, name: str) -> bool:
            if not isinstance(node, DirectoryNode):
                return (bucket, name) == (node.bucket, node.name)
            return node.bucket in {None, bucket} and name.startswith(node.name)

        dirty = [
            each
            for each in self.resolver.table
            if isinstance(each, FileNode)
            and each.dirty
            and not each.detached
            and within(each.bucket, each.name)
        ]
        rows = [row for row in await self.files.storing.owed() if within(row.bucket, row.name)]

        def each() -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
            for file in dirty:
                yield self.path_of(file.bucket, file.name), partial(self.files.storing.commit, file)
            places = {(file.bucket, file.name) for file in dirty}
            for row in rows:
                if (row.bucket, row.name) not in places:
                    path = self.path_of(row.bucket, row.name)
                    yield path, partial(self.files.storing.send_owed, row.data)

        return each()


class Task:
    """What one handle of `sync` asked for; the sink of its writes.

        waiting ─ a path ─▶ storing ─▶ done ─ another path ─▶ storing …

    Attributes:
        state: as drawn.
        files: that were to be stored.
        files_done: that are.
        failed: files and paths that are not.
    """

    def __init__(self, syncing: Syncing) -> None:
        self._syncing = syncing
        self._paths = PathList()
        self._scope: trio.CancelScope | None = None
        self._failures: list[tuple[str, str]] = []
        self.state = "waiting"
        self.files = 0
        self.files_done = 0
        self.failed = 0

    def write(self, data: bytes) -> None:
        """Take more paths, one per line; lines may be cut anywhere.

        Raises:
            NoSpace: too many paths wait already.
        """
        if len(self._paths) + len(data) > MOST_TEXT:
            raise NoSpace(f"paths of {MOST_TEXT >> 20} MiB wait already: name the others later")
        self._paths.write(data)
        if self._paths.ready and self._scope is None:
            self.state = "storing"
            self._scope = trio.CancelScope()
            self._syncing.resolver.nursery.start_soon(self._run, self._scope)

    def close(self) -> None:
        """End the task; what is stored stays, and the rest is stored as if nobody had asked."""
        if self._scope is not None:
            self._scope.cancel()
        self._syncing.end(self)

    def shown(self) -> str:
        """Return how far the task is, and what could not be stored."""
        figures = table(
            {
                "state": self.state,
                "files": self.files,
                "files_done": self.files_done,
                "failed": self.failed,
            }
        )
        return figures + "".join(
            f"failure\t{_line(path)}\t{_line(why)}\n" for path, why in self._failures
        )

    async def _run(self, scope: trio.CancelScope) -> None:
        with scope:
            try:
                while self._paths.ready:
                    path = self._paths.first
                    self._paths.drop_first()
                    await self._store(path)
            except Exception as error:  # a bug must not end the mount
                log.exception("syncing")
                self._fail("", IoFailure(f"an error in aisfs itself: {error!r}"))
        self._scope = None
        self.state = "done"

    async def _store(self, path: str) -> None:
        """Store everything at or below a path."""
        try:
            jobs = await self._syncing.unsent(await self._syncing.finder.node(path))
        except NotFound:
            self._fail(path, NotFound("no such file or directory"))
            return
        except FsError as error:
            self._fail(path, error)
            return

        async def worker() -> None:
            for name, store in jobs:
                self.files += 1
                try:
                    await store()
                except FsError as error:
                    self._fail(name, error)
                else:
                    self.files_done += 1

        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(worker)

    def _fail(self, path: str, error: FsError) -> None:
        self.failed += 1
        if len(self._failures) < MOST_FAILURES:
            self._failures.append((path, str(error)))


def _line(text: str) -> str:
    """Return a text as one field of a line."""
    return " ".join(text.split())
