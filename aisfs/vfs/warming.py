"""Fills the cache with what somebody named, before anybody reads it.

Serves the control file `warm`. Each handle that writes makes a task of its own and names files and
directories; reading the handle shows how far the task is; closing it ends the task, finished or
not. What was brought stays.

    paths ─▶ recursive listings ─▶ what fits ─┬─ not in the cluster ─▶ prefetch by the cluster ─┐
             (10,000 objects each)            └─────────────────────────────────────────────────┴─▶
    ─┬─ up to 1 MiB ─▶ fetched ahead in groups ─┬─▶ read through a `ContentReader`, page by page
     └─ larger ones, a few at a time ───────────┘

Everything is read the way that programs read, so that every level of the cache gets it, and an
object that cannot be read says why. It is no reading to `scans` and `orders`: nothing is guessed
from it. Memory is that of one listing, however much is named. What does not fit is left out, and
counted, instead of pushing out what has just been brought.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from aisfs.cache.fetch_ahead import MAX_OBJECT, FetchAhead, Guess
from aisfs.cache.pages import PAGE_SIZE
from aisfs.cache.readahead import AccessPattern
from aisfs.cache.reader import ContentReader
from aisfs.control.files import table
from aisfs.errors import Busy, FsError, Invalid, NotFound, Stale, Unsupported
from aisfs.store.interface import MAX_PAGE, ObjectInfo
from aisfs.vfs.attributes import Kind
from aisfs.vfs.nodes import DirectoryNode, FileNode
from aisfs.vfs.path_tasks import MOST_FAILURES, PathTask, PathTasks, one_line
from aisfs.vfs.paths import MARKER, is_presentable
from aisfs.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from aisfs.config import BucketName
    from aisfs.store.interface import Listing
    from aisfs.vfs.resolver import Resolver

log = logging.getLogger(__name__)

LARGE_AT_A_TIME = 8
"""Objects above `MAX_OBJECT` that are read beside each other, each by one stream."""

WINDOW = 8 << 20
"""Bytes that such a stream may be ahead of its reader."""

GROUP = 512
"""Small objects that are fetched ahead together: four full groups of requests."""

SMALL_AT_A_TIME = 16
"""Small objects that are waited for beside each other, and asked for one by one."""

TRIES = 20
PAUSE_S = 0.2
"""How often a page is read that memory loses before the disk takes it, and the time between."""


class Warming(PathTasks["Task"]):
    """All tasks of a mount. Belongs to the loop.

    Args:
        resolver: finds what is named.
        fetch_ahead: brings small objects, into the cache where all has to fit.
    """

    name = "warm"

    def __init__(self, resolver: Resolver, fetch_ahead: FetchAhead) -> None:
        super().__init__(resolver)
        self.fetch_ahead = fetch_ahead

    def _make(self) -> Task:
        return Task(self)

    def room_of(self, task: Task) -> int:
        """Return the bytes that are there for a task beside the others."""
        vacancy = self.fetch_ahead.room.vacancy
        return vacancy - sum(other.taken for other in self.tasks if other is not task)

    def shown(self) -> str:
        """Return what all tasks are at together, for people and programs."""
        return table(
            {
                "tasks": len(self.tasks),
                "files": sum(task.files for task in self.tasks),
                "files_done": sum(task.files_done for task in self.tasks),
                "bytes_done": sum(task.bytes_done for task in self.tasks),
            }
        )


class Task(PathTask):
    """What one handle of `warm` asked for; the sink of its writes.

        waiting ─ a path ─▶ listing ⇄ (prefetching ─▶) filling ─▶ done ─ another path ─▶ listing …

    Attributes:
        state: as drawn.
        files: that were found so far.
        bytes: of these.
        files_done: that were brought.
        bytes_done: of these, and of those under way.
        failed: files and paths that could not be brought.
        taken: bytes of the cache that belong to what was brought.
    """

    at_work = "listing"
    too_many = (
        "to be brought: name the others when some are done, or the directories that they are in"
    )

    def __init__(self, warming: Warming) -> None:
        super().__init__(warming)
        self._warming = warming
        self._room = warming.fetch_ahead.room
        self._warnings: list[str] = []
        self._left_out = 0
        self._left_out_bytes = 0
        self._cold = 0
        self._prefetched = 0
        self._chosen = 0
        self.bytes = 0
        self.bytes_done = 0
        self.taken = 0

    def shown(self) -> str:
        """Return how far the task is, and what it could not bring."""
        figures = table(
            {
                "state": self.state,
                "files": self.files,
                "files_done": self.files_done,
                "bytes": self.bytes,
                "bytes_done": self.bytes_done,
                "cold": self._cold,
                "prefetched": self._prefetched,
                "failed": self.failed,
                "does_not_fit": self._left_out,
                "does_not_fit_bytes": self._left_out_bytes,
                "capacity_bytes": self._room.lasting,
                "capacity_files": self._room.most_contents,
            }
        )
        warnings = (f"warning\t{one_line(text)}\n" for text in self._warnings)
        return figures + "".join(warnings) + self._failure_lines()

    # -- from paths to objects

    async def _work(self) -> None:
        """Bring the directory that is named next, or the files."""
        files: dict[BucketName, list[ObjectInfo]] = {}
        found = 0
        while self._paths.ready and found < MAX_PAGE:
            self.state = "listing"
            path = self._next_path()
            try:
                node = await self._warming.finder.node(path)
                if isinstance(node, DirectoryNode):
                    await self._bring_directory(node)
                elif isinstance(node, FileNode):
                    bucket, info = _object_of(path, node)
                    files.setdefault(bucket, []).append(info)
                    found += 1
            except NotFound:
                self._fail(path, NotFound("no such file or directory"))
            except FsError as error:
                self._fail(path, error)
        for bucket, infos in files.items():
            await self._bring_files(bucket, infos)

    async def _bring_directory(self, node: DirectoryNode) -> None:
        if node.bucket is not None:
            await self._bring_tree(node.bucket, node.name)
            return
        for bucket in await self._warming.resolver.bucket_nodes():
            if bucket.bucket is not None:
                await self._bring_tree(bucket.bucket, "")

    async def _bring_tree(self, bucket: BucketName, prefix: str) -> None:
        """Bring everything below a prefix, one batch of its listing after the other."""
        token = ""
        while True:
            self.state = "listing"
            listing = await self._list(bucket, prefix, token)
            chosen = self._choose(bucket, listing.objects)
            wanted = {info.name for info in chosen}
            cold = [name for name in listing.cold if name in wanted]
            if cold:
                await self._prefetch(bucket, cold)
                # The cluster's checksums are known from now on only.
                asked = trio.current_time()
                listing = await self._list(bucket, prefix, token)
                chosen = [info for info in listing.objects if info.name in wanted]
                self._renew(bucket, chosen, asked)
            await self._fill(bucket, chosen, set(listing.cold))
            if not listing.token:
                return
            token = listing.token

    async def _list(self, bucket: BucketName, prefix: str, token: str) -> Listing:
        """Return the files of one batch."""
        store = self._warming.resolver.store
        listing = await store.list(bucket, prefix, token, MAX_PAGE, recursive=True)
        listing.objects[:] = (i for i in listing.objects if self._is_file(i, prefix))
        return listing

    def _is_file(self, info: ObjectInfo, prefix: str) -> bool:
        """Tell whether the mount shows an object as a file."""
        components = info.name[len(prefix) :].split("/")
        if components[-1] == MARKER or not all(map(is_presentable, components)):
            return False
        if not info.attributes:
            return True
        shown = self._warming.resolver.presentation.of_object(info.attributes, 0, 0)
        return shown.kind is Kind.FILE

    async def _bring_files(self, bucket: BucketName, infos: list[ObjectInfo]) -> None:
        """Bring single files."""
        chosen = self._choose(bucket, infos)
        if chosen and bucket.remote:
            # What is on the cluster already is not fetched again.
            await self._prefetch(bucket, [info.name for info in chosen])
            asked = trio.current_time()
            chosen = await self._look(bucket, chosen)
            self._renew(bucket, chosen, asked)
        await self._fill(bucket, chosen, set())

    async def _look(self, bucket: BucketName, infos: list[ObjectInfo]) -> list[ObjectInfo]:
        """Ask for objects anew; those that are gone have failed."""
        found = []

        async def look(info: ObjectInfo) -> None:
            found.append(await self._warming.resolver.store.head(bucket, info.name))

        await self._each(bucket, infos, SMALL_AT_A_TIME, look)
        return found

    def _choose(self, bucket: BucketName, infos: Iterable[ObjectInfo]) -> list[ObjectInfo]:
        """Count objects, and return those that fit beside what was chosen before."""
        chosen: list[ObjectInfo] = []
        left = self._warming.room_of(self) - self.taken
        for info in infos:
            size = info.identity.size
            self.files += 1
            self.bytes += size
            need = size
            room_for_one = self._chosen < self._room.most_contents
            if size <= left and room_for_one:
                need = self._room.takes(bucket, info)
            if need > left or not room_for_one:
                self._left_out += 1
                self._left_out_bytes += size
                continue
            left -= need
            self.taken += need
            self._chosen += 1
            chosen.append(info)
        return chosen

    async def _prefetch(self, bucket: BucketName, names: Sequence[str]) -> None:
        """Have the cluster fetch objects; whatever it does not, reading them does."""
        self.state = "prefetching"
        self._cold += len(names)
        before = self._prefetched

        def progress(objects: int, size: int) -> None:  # noqa: ARG001 - the store's
            self._prefetched = before + min(objects, len(names))

        try:
            said = await self._warming.resolver.store.prefetch(bucket, names, progress)
        except FsError as error:
            said = str(error)
        if said:
            log.info("prefetching %d objects of %s: %s", len(names), bucket.name, said)
            if len(self._warnings) < MOST_FAILURES:
                self._warnings.append(f"{bucket.name} was not prefetched whole: {said}")

    def _renew(self, bucket: BucketName, infos: Iterable[ObjectInfo], asked: float) -> None:
        """Let the mount forget what objects were before the cluster had copies of them."""
        resolver = self._warming.resolver
        for info in infos:
            resolver.answers.renew(bucket, info, asked)
            parent, basename = resolver.table.parent_of(bucket, info.name)
            if parent is None or parent.contents is None:
                continue
            contents = parent.contents
            known = contents.entries.get(basename)
            if known is not None and max(contents.started_at, parent.touched_at) < asked:
                contents.entries[basename] = info

    # -- from objects to pages

    async def _fill(self, bucket: BucketName, infos: list[ObjectInfo], cold: set[str]) -> None:
        """Read objects whole, so that the cache has them."""
        self.state = "filling"
        known = [info for info in infos if info.identity.verifiable and info.name not in cold]
        if len(known) < len(infos):
            others = [i for i in infos if not i.identity.verifiable or i.name in cold]
            known += await self._warm_up(bucket, others)
        small = [info for info in known if info.identity.size <= MAX_OBJECT]
        large = [info for info in known if info.identity.size > MAX_OBJECT]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fill_large, bucket, large)
            nursery.start_soon(self._fill_small, bucket, small)

    async def _warm_up(self, bucket: BucketName, infos: list[ObjectInfo]) -> list[ObjectInfo]:
        """Make the cluster fetch objects by reading from them, and return them as it knows them."""
        store, known = self._warming.resolver.store, []

        async def warm_up(info: ObjectInfo) -> None:
            if info.identity.size > 0:
                with suppress(Stale):  # the cluster learns of its identity on the way
                    byte = memoryview(bytearray(1))
                    await store.fill(bucket, info.name, 0, info.identity, byte)
                asked = trio.current_time()
                info = await store.head(bucket, info.name)
                self._renew(bucket, [info], asked)
            if info.identity.size > 0 and not info.identity.verifiable:
                raise Unsupported("its bucket keeps no checksums, and nothing of it is kept here")
            known.append(info)

        await self._each(bucket, infos, LARGE_AT_A_TIME, warm_up)
        return known

    async def _fill_large(self, bucket: BucketName, infos: list[ObjectInfo]) -> None:
        async def read(info: ObjectInfo) -> None:
            await self._read(bucket, info)

        await self._each(bucket, infos, LARGE_AT_A_TIME, read)

    async def _fill_small(self, bucket: BucketName, infos: list[ObjectInfo]) -> None:
        async def read(info: ObjectInfo) -> None:
            await self._read(bucket, info)

        fetch_ahead, done = self._warming.fetch_ahead, 0
        while done < len(infos):
            guess = Guess()
            taken = fetch_ahead.want(guess, bucket, infos[done : done + GROUP])
            upto = done + max(taken, 1)
            try:
                await self._each(bucket, infos[done:upto], SMALL_AT_A_TIME, read)
            finally:
                fetch_ahead.keep(guess)
            done = upto

    async def _read(self, bucket: BucketName, info: ObjectInfo) -> None:
        """Read one object whole."""
        reader = ContentReader(self._room, bucket, info.name, info.identity)
        reader.users = 2  # us and who comes later: pages that we have passed are what this is for
        pattern, position = AccessPattern(WINDOW), 0
        try:
            while position < reader.size:
                page = reader.content, position // PAGE_SIZE
                for _ in range(TRIES):
                    part = len(await reader.read(position, PAGE_SIZE, pattern))
                    if await self._room.insist(reader.kept, page):
                        break
                    await trio.sleep(PAUSE_S)
                else:
                    raise Busy("the disk is too slow for the cache's memory: raise cache-memory")
                position += part
                self.bytes_done += part
            self.files_done += 1
        finally:
            reader.rest()

    async def _each(
        self,
        bucket: BucketName,
        infos: Sequence[ObjectInfo],
        at_a_time: int,
        work: Callable[[ObjectInfo], Awaitable[None]],
    ) -> None:
        """Do something with each object, a few beside each other; who fails is named."""

        async def tell(info: ObjectInfo) -> None:
            try:
                await work(info)
            except FsError as error:
                self._fail(self._warming.path_of(bucket, info.name), error)

        await for_each(infos, tell, at_a_time)


def _object_of(path: str, node: FileNode) -> tuple[BucketName, ObjectInfo]:
    """Return the object behind a file."""
    if node.attributes.kind is not Kind.FILE:
        raise Invalid(f"{path} is a symbolic link: name what it leads to")
    if node.identity is None or node.bucket is None:
        raise Busy(f"{path} is not stored yet: it is still being written")
    return node.bucket, ObjectInfo(node.name, node.identity)
