"""The control file `sync`: what is named by a path is brought to the cluster, and waited for.

Serves `control_parts`, `caches` and `places`. Each handle that writes paths makes a task of its
own, and reading from it tells how far that is. What an earlier mount left below a path belongs to
it as well.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aisfs.control.files import table
from aisfs.errors import FsError, NotFound
from aisfs.staging.outbox import WORKERS
from aisfs.store.cluster_work import Place
from aisfs.vfs.nodes import FileNode
from aisfs.vfs.path_tasks import PathTask, PathTasks
from aisfs.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from aisfs.config import BucketName
    from aisfs.vfs.open_files import OpenFiles
    from aisfs.vfs.resolver import Resolver

    Job: TypeAlias = tuple[str, Callable[[], Awaitable[None]]]


class Syncing(PathTasks["Task"]):
    """All tasks of a mount. Belongs to the loop."""

    name = "sync"

    def __init__(self, resolver: Resolver, files: OpenFiles) -> None:
        super().__init__(resolver)
        self.files = files

    def _make(self) -> Task:
        return Task(self)

    def shown(self) -> str:
        """Return what all tasks are at together."""
        return table(
            {
                "tasks": len(self.tasks),
                "files": sum(task.files for task in self.tasks),
                "files_done": sum(task.files_done for task in self.tasks),
            }
        )

    # -- what there is to be stored

    async def unsent(self, what: Place | None) -> list[Job]:
        """Return the path of each file at a place, or of all, that is to be stored, and how."""

        def within(bucket: BucketName | None, name: str) -> bool:
            return what is None or what.holds(bucket, name)

        dirty = [
            each
            for each in self.resolver.table
            if isinstance(each, FileNode)
            and each.dirty
            and not each.detached
            and within(each.bucket, each.name)
        ]
        rows = [row for row in await self.files.storing.owed() if within(row.bucket, row.name)]
        places = {(file.bucket, file.name) for file in dirty}
        storing = self.files.storing
        jobs: list[Job] = [
            (self.path_of(file.bucket, file.name), partial(storing.commit, file)) for file in dirty
        ]
        jobs += [
            (self.path_of(row.bucket, row.name), partial(storing.send_owed, row.data))
            for row in rows
            if (row.bucket, row.name) not in places
        ]
        return jobs


class Task(PathTask):
    """What one handle of `sync` asked for; the sink of its writes.

    Attributes:
        files: that were to be stored.
        files_done: that are.
        failed: files and paths that are not.
    """

    at_work = "storing"
    too_many = "already: name the others later"

    def __init__(self, syncing: Syncing) -> None:
        super().__init__(syncing)
        self._syncing = syncing

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
        return figures + self._failure_lines()

    async def _work(self) -> None:
        """Store everything at or below the next path."""
        path = self._next_path()
        try:
            node = await self._syncing.finder.node(path)
            bucket = node.bucket
            place = None if bucket is None else Place(bucket, node.name)
            jobs = await self._syncing.unsent(place)
        except NotFound:
            self._fail(path, NotFound("no such file or directory"))
            return
        except FsError as error:
            self._fail(path, error)
            return
        await for_each(jobs, self._store, WORKERS)

    async def _store(self, job: Job) -> None:
        name, store = job
        self.files += 1
        try:
            await store()
        except FsError as error:
            self._fail(name, error)
        else:
            self.files_done += 1
