"""From a name to its node: what the mount remembers, asks the cluster, and believes.

Serves `filesystem` and what it is made of. A look-up is answered by the first of

    a file being written here ─▶ a node younger than the TTL ─▶ a complete listing younger than it
    ─▶ a walk's window ─▶ a relist, when an expired listing is used name by name (C3)
    ─▶ one HEAD and one LIST (C30)

What is asked is told to `answers`, with the time when it was asked for: one that is older than this
mount's own change of the name is ignored, so that a slow listing never undoes a write (C1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cachetools
import trio

from aisfs.errors import FsError, IoFailure, NotFound, Unreachable
from aisfs.vfs.answers import READING_S, Answers, told_at
from aisfs.vfs.bucket_list import BucketList
from aisfs.vfs.changes import Changes
from aisfs.vfs.directory import Cursor, DirectoryStream
from aisfs.vfs.listings import CorrectedStream, DirectoryLook, Remembered
from aisfs.vfs.nodes import ROOT, Contents, DirectoryNode, FileNode, Node
from aisfs.vfs.paths import MARKER, bucket_directory, shadowed_name
from aisfs.vfs.relisting import Relisting
from aisfs.vfs.walks import Walks

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.store.interface import BucketInfo, BucketName, ObjectInfo, ObjectStore
    from aisfs.vfs.attributes import Presentation
    from aisfs.vfs.inodes import InodeTable
    from aisfs.vfs.nodes import Location
    from aisfs.vfs.walks import Part

NEVER = float("-inf")


async def _no_kernel(parent: int, name: str) -> None:
    """Be forgotten where nobody remembers."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds for which an answer of the cluster is believed (C3)."""

    attributes: float = 1.0
    absence: float = 1.0
    listing: float = 1.0


class Resolver:
    """Finds nodes and keeps what is known of them fresh.

    Attributes:
        doomed: objects that were unlinked while open: gone for this mount, deleted at last close.
        changes: what stores or removes objects, and directories that stand still meanwhile.
        emptied: directories that this mount emptied; real clusters go on listing them.
        invalidate: makes the kernel forget what it was told of a name in a directory, soon.
        forgotten: does that and waits for it, where whoever asks does not keep it from happening.
    """

    def __init__(
        self,
        store: ObjectStore,
        table: InodeTable,
        presentation: Presentation,
        lifetimes: Lifetimes,
        nursery: trio.Nursery,
    ) -> None:
        self.store = store
        self.table = table
        self.presentation = presentation
        self.lifetimes = lifetimes
        self.nursery = nursery
        self.buckets = BucketList(store)
        self.answers = Answers(table, presentation, self.buckets)
        self.walks = Walks(store, nursery, lifetimes.listing)
        self._looks: dict[Location, DirectoryLook] = {}
        self._relisting = Relisting(self)
        self.doomed: dict[Location, FileNode] = {}
        self.changes = Changes()
        self.invalidate: Callable[[int, str], None] = lambda parent, name: None  # noqa: ARG005
        self.forgotten = _no_kernel
        self.emptied: cachetools.LRUCache[Location, bool] = cachetools.LRUCache(10_000)

    # -- freshness

    def believe_for(self, lifetimes: Lifetimes) -> None:
        """Let other lifetimes hold from now on; the kernel believes as long as it was told."""
        self.lifetimes = lifetimes
        self.walks.lifetime_s = lifetimes.listing

    def remaining(self, node: Node) -> float:
        """Return for how many seconds a node's attributes may still be believed."""
        lifetime = self.lifetimes.attributes
        if node.bucket is None or (isinstance(node, FileNode) and node.local):
            return lifetime
        return max(lifetime - (trio.current_time() - node.checked_at), 0.0)

    def fresh(self, node: Node) -> bool:
        """Tell whether a node's attributes need no asking, for nobody knows better or soon enough.

        With a time to live of 0 that holds for what only this mount knows.
        """
        if node.bucket is None or (isinstance(node, FileNode) and node.local):
            return True
        return self.remaining(node) > 0.0

    def fresh_contents(self, directory: DirectoryNode) -> Contents | None:
        """Return the directory's complete listing if it is young enough."""
        contents = directory.contents
        if contents is None:
            return None
        age = trio.current_time() - contents.arrived_at
        return contents if age < self.lifetimes.listing else None

    def is_doomed(self, bucket: BucketName | None, info: ObjectInfo) -> bool:
        """Tell whether an object was unlinked here while open; others may have put a new one."""
        node = self.doomed.get((bucket, info.name))
        return node is not None and (
            node.identity is None or node.identity.same_content(info.identity)
        )

    # -- names

    async def child(self, parent: DirectoryNode, basename: str) -> Node:
        """Return the node of a name.

        Raises:
            NotFound: there is no such name.
        """
        if parent.bucket is None:
            return await self._bucket_child(basename)
        node = self._remembered(parent, basename) or await self._walked_child(parent, basename)
        if node is None and await self._relisting.if_scanned(parent):
            node = self._remembered(parent, basename)
        if node is not None:
            return node
        if basename == MARKER:
            raise NotFound(f"{parent.name}{MARKER} is aisfs's own")
        shadowed = shadowed_name(basename)
        if shadowed is not None:
            return await self._shadowed_child(parent, shadowed)
        return await self._probe(parent, basename)

    async def child_or_none(self, parent: DirectoryNode, basename: str) -> Node | None:
        """Return the node of a name, or None if there is none."""
        try:
            return await self.child(parent, basename)
        except NotFound:
            return None

    def _remembered(self, parent: DirectoryNode, basename: str) -> Node | None:
        """Answer from memory; None if only the cluster can tell, `NotFound` if known absent."""
        path = parent.name + basename
        for name in (path + "/", path):
            node = self.table.find(parent.bucket, name)
            if node is not None and self.fresh(node):
                return node
        if trio.current_time() - parent.absent.get(basename, NEVER) < self.lifetimes.absence:
            raise NotFound(path)
        for reader in parent.readers:
            node = self._just_listed(parent, reader, basename) if reader.left_out else None
            if node is not None:
                return node
        contents = self.fresh_contents(parent)
        if contents is None:
            return None
        self._relisting.renew_ahead(parent, contents)
        if basename not in contents.entries:
            raise NotFound(path)
        info = contents.entries[basename]
        if info is None:
            return None  # a directory's attributes are not in its parent's listing
        return self.answers.file(parent.bucket, info, contents.started_at, contents.arrived_at)

    def _just_listed(self, parent: DirectoryNode, reader: Cursor, basename: str) -> Node | None:
        """Return a file that a reader of the directory was told without its attributes."""
        source = reader.source
        if trio.current_time() - source.arrived_at > READING_S or self.lifetimes.attributes <= 0:
            return None
        entry = reader.find(basename)
        if entry is None or entry.info is None:
            return None
        if parent.is_removed_since(basename, source.started_at):
            return None
        return self.answers.entry(parent, entry, source, told_at(source))

    async def walked(self, bucket: BucketName, name: str) -> Part | None:
        """Return what a walk tells of a directory that is opened or looked up again."""
        node = self.table.find(bucket, name)
        changed_at = self.table.forgotten_change_at
        if isinstance(node, DirectoryNode):
            changed_at = max(changed_at, node.touched_at)
        return await self.walks.part(bucket, name, changed_at)

    async def _walked_child(self, parent: DirectoryNode, basename: str) -> Node | None:
        """Return a directory that was seen before, as a walk shows it now."""
        bucket, name = parent.bucket, f"{parent.name}{basename}/"
        assert bucket is not None
        if not isinstance(self.table.find(bucket, name), DirectoryNode):
            return None
        self.walks.visits(bucket, name)
        part = await self.walked(bucket, name)
        if part is None or parent.touched_at > part.stream.started_at:
            return None
        return self._walked_node(bucket, name, part)

    def _walked_node(self, bucket: BucketName, name: str, part: Part) -> DirectoryNode:
        started, arrived = part.stream.started_at, part.stream.arrived_at
        return self.answers.directory(bucket, name, part.stored, started, arrived)

    def look(self, bucket: BucketName, prefix: str) -> DirectoryLook:
        """Return a look at a directory that is under way: one request, however many ask.

        With a time to live of 0 nobody believes what was asked for before.
        """
        location = bucket, prefix
        look = self._looks.get(location)
        if look is None or self.lifetimes.attributes <= 0:
            look = self._looks[location] = DirectoryLook(self, bucket, prefix)
            self.nursery.start_soon(self._run_look, location, look)
        return look

    async def _run_look(self, location: Location, look: DirectoryLook) -> None:
        try:
            await look.run()
        finally:
            if self._looks.get(location) is look:
                del self._looks[location]

    async def _probe(self, parent: DirectoryNode, basename: str) -> Node:
        """Ask the cluster for one name: HEAD and LIST together; a HEAD of 200 answers at once."""
        bucket, name = parent.bucket, parent.name + basename
        assert bucket is not None
        started = trio.current_time()
        look = self.look(bucket, name + "/")
        info: ObjectInfo | None = None
        failure: FsError | None = None
        try:
            info = await self.store.head(bucket, name)
        except NotFound:
            pass
        except (IoFailure, Unreachable) as error:
            failure = error  # the name may still be a directory's
        if parent.name + basename != name:
            return await self.child(parent, basename)  # the directory was renamed meanwhile
        gone = parent.is_removed_since(basename, started)
        if info is not None and (gone or self.is_doomed(bucket, info)):
            info = None
        if info is not None and not look.found:
            self.nursery.start_soon(self._correct_if_shadowed, look, parent, basename)
            return self.answers.file(bucket, info, started, trio.current_time())
        node = await look.result()
        if node is None and failure is not None:
            raise failure
        if node is None:
            parent.absent[basename] = started
            raise NotFound(f"{name}: no such object or directory")
        return node

    async def _correct_if_shadowed(
        self, look: DirectoryLook, parent: DirectoryNode, basename: str
    ) -> None:
        """Take a hasty answer back: the name is a directory's, the object shows under another."""
        await look.ended()
        if look.found:
            self.invalidate(parent.ino, basename)

    async def _shadowed_child(self, parent: DirectoryNode, basename: str) -> Node:
        """Return the object whose name is also a directory (C28)."""
        bucket, name = parent.bucket, parent.name + basename
        assert bucket is not None
        started = trio.current_time()
        look = self.look(bucket, name + "/")
        info = await self.store.head(bucket, name)
        if await look.result() is None or self.is_doomed(bucket, info):
            raise NotFound(f"{name} is no directory, so nothing shadows the object")
        return self.answers.file(bucket, info, started, trio.current_time())

    async def refresh(self, node: Node) -> None:
        """Make a node's attributes younger than their TTL.

        Raises:
            NotFound: it is gone.
        """
        if self.fresh(node):
            return
        bucket = node.bucket
        assert bucket is not None
        if node.ino == ROOT or node.name == "":
            node.checked_at = trio.current_time()
            return
        if isinstance(node, DirectoryNode):
            self.walks.visits(bucket, node.name)
            part = await self.walked(bucket, node.name)
            if part is not None:
                self._walked_node(bucket, node.name, part)
                return
            if await self.look(bucket, node.name).result() is None:
                raise NotFound(f"{node.name} is gone")
            return
        await self._refresh_file(node, bucket)

    async def _refresh_file(self, node: Node, bucket: BucketName) -> None:
        parent, _ = self.table.parent_of(bucket, node.name)
        if parent is not None:
            await self._relisting.if_scanned(parent)
        if self.fresh(node):
            return
        name, started = node.name, trio.current_time()
        try:
            info = await self.store.head(bucket, name)
        except NotFound:
            if node.name == name:
                raise
            return  # it was renamed meanwhile, and is known from that
        if node.name == name:
            self.answers.file(bucket, info, started, trio.current_time())

    def doubt(self, parent: DirectoryNode, basename: str) -> None:
        """Have a name looked at again that may have become another object."""
        parent.note_doubtful(basename)
        node = self.table.find(parent.bucket, parent.name + basename)
        if node is not None:
            node.checked_at = NEVER
        self.invalidate(parent.ino, basename)

    # -- listings

    def cursor(self, directory: DirectoryNode) -> Cursor:
        """Return a cursor over a directory's entries, from memory where that is young enough."""
        assert directory.bucket is not None
        self.walks.visits(directory.bucket, directory.name)
        contents = self.fresh_contents(directory)
        if contents is not None:
            return Cursor(Remembered(contents, directory))
        first, directory.first = directory.first, None
        if first is not None:
            age = trio.current_time() - first[0].started_at
            if age < self.lifetimes.listing:
                return Cursor(CorrectedStream(self, directory, *first))
        return self.new_cursor(directory)

    def new_cursor(self, directory: DirectoryNode) -> Cursor:
        """Return a cursor over a directory's entries as the cluster lists them from now on."""
        assert directory.bucket is not None
        stream = DirectoryStream(self.store, directory.bucket, directory.name)
        return Cursor(CorrectedStream(self, directory, stream, None))

    # -- buckets

    async def bucket_nodes(self) -> list[Node]:
        """Return the nodes of all buckets."""
        return [self._bucket_node(info) for info in await self.buckets.load(self.lifetimes.listing)]

    async def _bucket_child(self, basename: str) -> Node:
        for info in await self.buckets.load(self.lifetimes.listing):
            if bucket_directory(info.name) == basename:
                return self._bucket_node(info)
        raise NotFound(f"no bucket {basename!r} in this cluster")

    def _bucket_node(self, info: BucketInfo) -> Node:
        asked_at = self.buckets.asked_at
        return self.answers.directory(info.name, "", "", asked_at, asked_at)

    # -- the root

    async def load_root(self) -> None:
        """Learn what a mount needs at its start; the first batch is kept for the first readdir.

        Raises:
            NotFound: there is no such bucket.
        """
        root = self.table.root
        if root.bucket is None:
            await self.buckets.load(self.lifetimes.listing)
            return
        info = await self.buckets.load_one(root.bucket)
        stream = DirectoryStream(self.store, root.bucket, root.name)
        entries = await stream.next()
        stored = stream.marker.attributes if stream.marker is not None else ""
        root.attributes = self.presentation.of_directory(stored, info.created_ns)
        root.marked = stream.marker is not None
        root.first = (stream, entries)
