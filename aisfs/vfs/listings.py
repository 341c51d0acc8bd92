"""Where an open directory's entries come from, and how a name is found to be a directory.

Serves `resolver`, which says what is believed and for how long. Real clusters go on listing a
directory after its last object is gone, and a listing may be older than what this mount did since:
what comes from the cluster is corrected before anybody sees it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError, Incomplete, IoFailure, NotFound, Unreachable
from aisfs.vfs.directory import DirectoryStream, Entry, prove_directories
from aisfs.vfs.inodes import LONGEST_REMEMBERED
from aisfs.vfs.nodes import Contents, DirectoryNode
from aisfs.vfs.paths import MARKER

if TYPE_CHECKING:
    from aisfs.store.interface import BucketName, ObjectInfo
    from aisfs.vfs.resolver import Resolver

SINGLE_PROOFS = 64
"""Directories of one batch that are looked into one by one, when one request did not tell."""


class Remembered:
    """A complete listing from memory, as a cursor's source."""

    def __init__(self, contents: Contents, directory: DirectoryNode) -> None:
        self._contents = contents
        self._directory = directory
        self.started_at = contents.started_at
        self.arrived_at = contents.arrived_at
        self.done = False

    def fetch_ahead(self) -> None:
        """Everything is here."""

    def fork(self) -> Remembered:
        """Begin again."""
        return Remembered(self._contents, self._directory)

    async def next(self) -> list[Entry]:
        """Return all entries."""
        self.done = True
        entries = {name: Entry(name, info) for name, info in self._contents.entries.items()}
        return list((entries | _pending(self._directory)).values())


class CorrectedStream:
    """A directory's listing from the cluster, corrected, and remembered when it is complete.

    Files that the cluster did not have when it was asked come at the end. One may get there
    meanwhile: then it is told as a listing has it, or as this mount stored it, and once.
    """

    def __init__(
        self,
        resolver: Resolver,
        directory: DirectoryNode,
        stream: DirectoryStream,
        ready: list[Entry] | None,
    ) -> None:
        self._resolver = resolver
        self._directory = directory
        self._stream = stream
        self._ready = ready
        self.started_at, self.arrived_at = stream.started_at, stream.arrived_at
        whole = stream.batches == (0 if ready is None else 1)
        self._all: dict[str, ObjectInfo | None] | None = {} if whole else None
        self._arrived: set[str] = set()  # of the files that the cluster may not have, those it had

    @property
    def done(self) -> bool:
        """Whether the last entries were returned."""
        return self._stream.done and self._ready is None

    def fetch_ahead(self) -> None:
        """Ask for the next batch before it is wanted."""
        self._stream.fetch_ahead(self._resolver.nursery)

    def fork(self) -> CorrectedStream:
        """Go on from here on its own."""
        twin = CorrectedStream(self._resolver, self._directory, self._stream.fork(), self._ready)
        twin._arrived = set(self._arrived)
        return twin

    async def next(self) -> list[Entry]:
        """Return the next entries: of a walk's window where that has them, else of a listing."""
        resolver, directory, stream = self._resolver, self._directory, self._stream
        entries, self._ready = self._ready, None
        if entries is None and stream.batches == 0:
            assert directory.bucket is not None
            part = await resolver.walked(directory.bucket, directory.name)
            if part is not None:
                stream, entries = part.stream, part.entries
                self._stream = stream
        if entries is None:
            entries = await stream.next()
        self.arrived_at = stream.arrived_at
        self.started_at = stream.started_at
        entries = await self._correct(entries)
        if directory.pending:
            self._arrived.update(e.name for e in entries if e.name in directory.pending)
        if self._all is not None:
            self._all.update((e.name, e.info) for e in entries)
            if len(self._all) > LONGEST_REMEMBERED:
                self._all = None
                directory.endless = True
        if not stream.done:
            return entries
        own = self._own()
        if self._all is not None:
            contents = Contents(self._all, self.started_at, self.arrived_at, stream.batches)
            resolver.table.remember(directory, contents)
        return entries + own

    def _own(self) -> list[Entry]:
        """Return what this mount has of the directory, and the listing does not tell."""
        own, told = _pending(self._directory), self._arrived
        if self._all is not None:
            made = self._directory.made.items()
            stored = {n: Entry(n, info) for n, (when, info) in made if when > self.started_at}
            own, told = stored | own, told | self._all.keys()
        return [entry for name, entry in own.items() if name not in told]

    async def _correct(self, entries: list[Entry]) -> list[Entry]:
        """Take out what this mount knows to be gone, and directories that hold nothing."""
        resolver, directory = self._resolver, self._directory
        bucket, prefix = directory.bucket, directory.name
        assert bucket is not None
        entries = [
            entry
            for entry in entries
            if not directory.is_removed_since(entry.name, self.started_at)
            and (entry.info is None or not resolver.is_doomed(bucket, entry.info))
        ]
        unsure = [
            entry.name
            for entry in entries
            if entry.is_directory
            and entry.stored is None
            and not self._surely_there(bucket, f"{prefix}{entry.name}/")
        ]
        if not unsure:
            return entries
        gone = partial(resolver.is_doomed, bucket)
        proof = await prove_directories(resolver.store, bucket, prefix, unsure, gone)
        open_questions = [n for n in unsure if n not in proof.stored and n not in proof.refuted]
        refuted = proof.refuted | await self._refute_singly(bucket, prefix, open_questions)
        kept = []
        for entry in entries:
            if entry.is_directory and entry.name in proof.stored:
                resolver.emptied.pop((bucket, f"{prefix}{entry.name}/"), None)
                kept.append(Entry(entry.name, None, proof.stored[entry.name]))
            elif not entry.is_directory or entry.name not in refuted:
                kept.append(entry)
        return kept

    async def _refute_singly(self, bucket: BucketName, prefix: str, names: list[str]) -> set[str]:
        """Return which of a few directories hold nothing; of many, those that we emptied.

        What is asked here is what the stat(2) that usually follows would ask.
        """
        if len(names) > SINGLE_PROOFS:
            return {n for n in names if (bucket, f"{prefix}{n}/") in self._resolver.emptied}
        looks = {name: self._resolver.look(bucket, f"{prefix}{name}/") for name in names}
        for look in looks.values():
            await look.ended()
        return {name for name, look in looks.items() if look.refuted}

    def _surely_there(self, bucket: BucketName, name: str) -> bool:
        node = self._resolver.table.find(bucket, name)
        return node is not None and self._resolver.fresh(node)


def _pending(directory: DirectoryNode) -> dict[str, Entry]:
    """Return the files that the cluster does not have yet."""
    return {name: Entry(name, node=node) for name, node in directory.pending.items()}


class DirectoryLook:
    """Whether a prefix is a directory: one LIST below it, which also tells its attributes."""

    def __init__(self, resolver: Resolver, bucket: BucketName, prefix: str) -> None:
        self._resolver = resolver
        self._bucket = bucket
        self._prefix = prefix
        self._error: FsError | None = None
        self._node: DirectoryNode | None = None
        self._done = trio.Event()

    @property
    def found(self) -> bool:
        """Whether it is known to be a directory by now."""
        return self._node is not None

    @property
    def refuted(self) -> bool:
        """Whether it is known that nothing is there."""
        return self._done.is_set() and self._node is None and self._error is None

    async def run(self) -> None:
        """Ask the cluster."""
        try:
            self._node = await self._look()
        except (IoFailure, Unreachable) as error:
            # Listings need every target. What is known stays while they cannot tell otherwise, so
            # that files below it that can be read are read.
            known = self._resolver.table.find(self._bucket, self._prefix)
            self._node = known if isinstance(known, DirectoryNode) else None
            self._error = None if self._node else error
        except FsError as error:
            self._error = error
        finally:
            self._done.set()

    async def ended(self) -> None:
        """Wait for the answer, whatever it is."""
        await self._done.wait()

    async def result(self) -> DirectoryNode | None:
        """Return the directory's node, or None if there is none."""
        await self.ended()
        if self._error is not None:
            raise self._error
        return self._node

    async def _look(self) -> DirectoryNode | None:
        resolver, bucket, prefix = self._resolver, self._bucket, self._prefix
        stream = DirectoryStream(resolver.store, bucket, prefix)
        entries = await stream.next()
        arrived = trio.current_time()
        gone = partial(resolver.is_doomed, bucket)
        left = [entry for entry in entries if entry.info is None or not gone(entry.info)]
        if stream.marker is None and all(entry.info is None for entry in left):
            # Only directories, which real clusters list even when they are empty.
            names = [entry.name for entry in left]
            if not names and stream.lacking and resolver.table.find(bucket, prefix) is not None:
                raise Incomplete(f"perhaps lost targets hold all that is in {prefix}")
            if not names:
                return None
            if not (await prove_directories(resolver.store, bucket, prefix, names, gone)).stored:
                return None
        stored = await self._stored_attributes(stream)
        node = resolver.answers.directory(bucket, prefix, stored, stream.started_at, arrived)
        resolver.emptied.pop((bucket, prefix), None)
        if node.touched_at <= stream.started_at:
            node.first = (stream, entries)
        if stream.done and all(entry.info is not None for entry in left):
            found = {entry.name: entry.info for entry in left}
            resolver.table.remember(node, Contents(found, stream.started_at, arrived, 1))
        return node

    async def _stored_attributes(self, stream: DirectoryStream) -> str:
        """Return the marker's attributes; it is asked for if the first batch did not reach it."""
        name = self._prefix + MARKER
        if stream.marker is not None:
            return stream.marker.attributes
        if stream.passed(name):
            return ""
        try:
            return (await self._resolver.store.head(self._bucket, name)).attributes
        except NotFound:
            return ""
