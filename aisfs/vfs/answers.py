"""What the cluster's answers make of nodes: attributes, contents, and since when they are known.

Serves `resolver`, which asks, and whoever gets an answer on the way. Invariants (C1, C3): an answer
that was asked for before this mount's own change of an object, or before the last answer that is
known, changes nothing; an inode number never changes its type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from msgspec.structs import replace

from aisfs.vfs.attributes import foreign_mtime_ns
from aisfs.vfs.nodes import DirectoryNode, FileNode
from aisfs.vfs.paths import split

if TYPE_CHECKING:
    from aisfs.store.interface import BucketName, ObjectInfo
    from aisfs.vfs.attributes import Attributes, Presentation
    from aisfs.vfs.bucket_list import BucketList
    from aisfs.vfs.directory import Entry, EntrySource
    from aisfs.vfs.inodes import InodeTable
    from aisfs.vfs.nodes import Node

READING_S = 10.0
"""Seconds for which a batch of a listing is handed out as fresh while a directory is read."""


def told_at(source: EntrySource) -> float:
    """Return when the lifetime of entries begins that are handed out now.

    It begins when they are handed out: otherwise a long directory that is read slowly would be
    asked for again while it is read (C30: a look-up right after readdir is free).
    """
    now = trio.current_time()
    return now if now - source.arrived_at <= READING_S else source.arrived_at


class Answers:
    """Brings the nodes of a mount up to date."""

    def __init__(self, table: InodeTable, presentation: Presentation, buckets: BucketList) -> None:
        self._table = table
        self._presentation = presentation
        self._buckets = buckets

    def entry(self, parent: DirectoryNode, entry: Entry, source: EntrySource, told: float) -> Node:
        """Return the node of a directory entry, brought up to date with it; `told` as `told_at`."""
        if entry.node is not None:
            return entry.node
        if entry.info is not None:
            info = entry.info
            if parent.changed_at > source.started_at:  # it may have been renamed meanwhile
                info = replace(info, name=parent.name + split(info.name)[1])
            return self.file(parent.bucket, info, source.started_at, told)
        name = f"{parent.name}{entry.name}/"
        return self.directory(parent.bucket, name, entry.stored, source.started_at, told)

    def directory(
        self,
        bucket: BucketName | None,
        name: str,
        stored: str | None,
        started: float,
        arrived: float,
    ) -> DirectoryNode:
        """Return a directory's node; `stored` as in `Entry`, times as in `EntrySource`."""
        created_ns = self._buckets.created_ns(bucket)
        shown = self._presentation.of_directory(stored or "", created_ns)
        node = self._table.find(bucket, name) or self._table.add(bucket, name, shown)
        assert isinstance(node, DirectoryNode)
        if stored is not None and max(node.changed_at, node.asked_at) <= started:
            node.attributes = shown
            node.asked_at = started
            node.marked = bool(stored)
            node.checked_at = max(node.checked_at, arrived)
        return node

    def file(
        self, bucket: BucketName | None, info: ObjectInfo, started: float, arrived: float
    ) -> FileNode:
        """Return the node of an object; times as in `EntrySource`."""
        node = self._table.find(bucket, info.name)
        if isinstance(node, FileNode) and (
            node.changed_at > started or node.asked_at > started or node.local
        ):
            return node
        if isinstance(node, FileNode) and _is_told_again(node, info):
            node.asked_at = started
            node.checked_at = max(node.checked_at, arrived)
            return node
        identity = info.identity
        shown = self.shown(bucket, info)
        if node is not None and node.attributes.kind is not shown.kind:
            self._table.detach_location(node)  # an inode number never changes its type
            node = None
        node = node or self._table.add(bucket, info.name, shown)
        assert isinstance(node, FileNode)
        if node.identity is None or not node.identity.admits(identity):
            node.lineage += node.identity is not None
            node.identity = identity
            node.target = None
            node.retire_reader()
        elif identity.verifiable and not node.identity.verifiable:
            node.identity = identity  # the cluster has a copy by now, and its checksum
            node.retire_reader()
        node.attributes, node.stored = shown, info.attributes
        node.asked_at = started
        node.checked_at = max(node.checked_at, arrived)
        return node

    def renew(self, bucket: BucketName, info: ObjectInfo, asked: float) -> None:
        """Take what a reply with an object's content told of it (C3: it renews the object)."""
        node = self._table.find(bucket, info.name)
        if isinstance(node, FileNode):
            self.file(bucket, info, asked, trio.current_time())

    def shown(self, bucket: BucketName | None, info: ObjectInfo) -> Attributes:
        """Return what stat(2) shows of an object."""
        identity, created_ns = info.identity, self._buckets.created_ns(bucket)
        mtime_ns = foreign_mtime_ns(created_ns, identity.version, identity.checksum)
        return self._presentation.of_object(info.attributes, identity.size, mtime_ns)


def _is_told_again(node: FileNode, info: ObjectInfo) -> bool:
    """Tell whether a file shows what an answer tells already: reading attributes is dear."""
    known = node.identity
    return (
        known is not None
        and node.stored == info.attributes
        and node.changed_at <= node.asked_at
        and known.version == info.identity.version
        and known.same_content(info.identity)
        and known.verifiable == info.identity.verifiable
    )
