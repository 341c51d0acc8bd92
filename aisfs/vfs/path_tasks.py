"""Tasks that programs give by writing paths to a control file: one for each handle that writes.

Serves `warming` and `syncing`, which say what is done with a path. Closing the handle ends its
task, done or not.

    waiting ─ a path ─▶ at work ─▶ done ─ another path ─▶ at work …
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import trio

from aisfs.errors import Busy, FsError, IoFailure, NoSpace
from aisfs.vfs.path_list import Finder, PathList
from aisfs.vfs.paths import bucket_directory

if TYPE_CHECKING:
    from aisfs.config import BucketName
    from aisfs.vfs.resolver import Resolver

log = logging.getLogger(__name__)

MAX_TASKS = 16
"""Tasks of one kind at a time."""

MOST_TEXT = 16 << 20
"""Bytes of paths that a task keeps until it comes to them."""

MOST_FAILURES = 100
"""Failures that are named; the others are counted."""

T = TypeVar("T", bound="PathTask")


class PathTasks(ABC, Generic[T]):
    """All tasks of one kind, of a mount. Belongs to the loop.

    Attributes:
        name: of the control file.
        resolver: finds what is named.
    """

    name: ClassVar[str]

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.finder = Finder(resolver)
        self.tasks: list[T] = []

    def begin(self) -> T:
        """Make a task; it ends with the handle that it is made for.

        Raises:
            Busy: there are `MAX_TASKS` already.
        """
        if len(self.tasks) >= MAX_TASKS:
            raise Busy(f"{MAX_TASKS} handles of {self.name} are open: close one of them first")
        task = self._make()
        self.tasks.append(task)
        return task

    @abstractmethod
    def _make(self) -> T:
        """Return a new task."""

    def end(self, task: T) -> None:
        """Forget a task."""
        self.tasks.remove(task)

    def path_of(self, bucket: BucketName | None, name: str) -> str:
        """Return an object's path below the mount's root."""
        root = self.resolver.table.root
        if root.bucket is None and bucket is not None:
            return f"{bucket_directory(bucket)}/{name}"
        return name[len(root.name) :]


class PathTask(ABC):
    """What one handle asked for; the sink of its writes.

    Attributes:
        state: as drawn; a task at work says at what.
        files: that were found so far.
        files_done: of these.
        failed: files and paths with which it did not go well.
    """

    at_work: ClassVar[str]
    """The first state of a task at work."""

    too_many: ClassVar[str]
    """The end of what is said when too many paths wait: for what, and what to do."""

    def __init__(self, tasks: PathTasks[Any]) -> None:
        self._tasks = tasks
        self._paths = PathList()
        self._scope: trio.CancelScope | None = None
        self._failures: list[tuple[str, str]] = []
        self.state = "waiting"
        self.files = 0
        self.files_done = 0
        self.failed = 0

    async def write(self, data: bytes) -> int:
        """Take more paths, one per line; lines may be cut anywhere.

        Raises:
            NoSpace: too many paths wait already.
        """
        if len(self._paths) + len(data) > MOST_TEXT:
            raise NoSpace(f"paths of {MOST_TEXT >> 20} MiB wait {self.too_many}")
        self._paths.write(data)
        if self._paths.ready and self._scope is None:
            self.state = self.at_work
            self._scope = trio.CancelScope()
            self._tasks.resolver.nursery.start_soon(self._run, self._scope)
        return len(data)

    def close(self) -> None:
        """End the task; what it did stays done."""
        if self._scope is not None:
            self._scope.cancel()
        self._tasks.end(self)

    @abstractmethod
    def shown(self) -> str:
        """Return how far the task is, and what went wrong."""

    async def _run(self, scope: trio.CancelScope) -> None:
        with scope:
            try:
                while self._paths.ready:
                    await self._work()
            except Exception as error:  # a bug must not end the mount
                log.exception("the task of a handle of %s", self._tasks.name)
                self._fail("", IoFailure(f"an error in aisfs itself: {error!r}"))
        self._scope = None
        self.state = "done"

    @abstractmethod
    async def _work(self) -> None:
        """Do what is to be done with the next path, or some."""

    def _next_path(self) -> str:
        path = self._paths.first
        self._paths.drop_first()
        return path

    def _fail(self, path: str, error: FsError) -> None:
        self.failed += 1
        if len(self._failures) < MOST_FAILURES:
            self._failures.append((path, str(error)))

    def _failure_lines(self) -> str:
        return "".join(
            f"failure\t{one_line(path)}\t{one_line(why)}\n" for path, why in self._failures
        )


def one_line(text: str) -> str:
    """Return a text without what would end its column or its line."""
    return " ".join(text.split()) if "\n" in text or "\t" in text else text
