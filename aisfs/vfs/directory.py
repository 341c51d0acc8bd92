"""From a cluster's listing to entries: batches, cursors, and which directories are real.

Serves `resolver`, `listings`, `walks` and `open_directories`. A cursor holds one batch of entries
and, for seeking back, the stream's state at the start of each batch before it, so that memory stays
constant in directories of any length (C29).
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from aisfs.errors import FsError, Incomplete
from aisfs.store.interface import LONG_PAGE, MAX_PAGE, BucketName, Listing, ObjectInfo, ObjectStore
from aisfs.vfs.attributes import Kind, decode
from aisfs.vfs.paths import MARKER, SHADOWED, is_presentable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.vfs.nodes import FileNode, Node

Shown = tuple[bytes, "Node | Kind", int]
"""An entry as the kernel is told it: name, node, index of the next. Instead of a node stands the
kind of a name that is told without attributes, for which the kernel makes no inode."""

FIRST_BATCH = 1000
"""Entries of a listing's first request: the smallest that real clusters answer completely
(protocol: names are lost at the borders of smaller pages), so that the first name comes soon."""

TOLD = 20_000
"""Names that are told with attributes before somebody looks: the C library's tree walk reads 10,000
before it looks at the first."""

PROBE = 512
"""One name in so many is told without attributes in a long directory: `ls -l` takes 300 names at a
time."""

SLICE = 1024
"""Entries that a cursor gives at a time: a few replies' worth, for copying all that are at hand for
each reply made long batches slow."""


def page_size(bucket: BucketName, batches: int) -> int:
    """Return how many entries to ask for after so many batches."""
    if batches == 0:
        return FIRST_BATCH
    return LONG_PAGE if batches > 1 and not bucket.remote else MAX_PAGE


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One name of a directory.

    Attributes:
        info: the object, or None for a directory.
        stored: a directory's stored attributes ("" if it has none), or None if they are not known.
        node: a file that only this mount has yet.
    """

    name: str
    info: ObjectInfo | None = None
    stored: str | None = None
    node: FileNode | None = None

    @property
    def is_directory(self) -> bool:
        """Whether the name stands for a directory."""
        return self.info is None and self.node is None

    @property
    def kind(self) -> Kind:
        """What the name stands for."""
        if self.info is None:
            return Kind.DIRECTORY if self.node is None else self.node.attributes.kind
        own = decode(self.info.attributes) if self.info.attributes else None
        return Kind.SYMLINK if own is not None and own.kind is Kind.SYMLINK else Kind.FILE


class _Answer:
    """One request for a batch, perhaps made before anybody waits for it."""

    def __init__(self, ask: Callable[[], Awaitable[Listing]]) -> None:
        self._ask = ask
        self._listing: Listing | None = None
        self._error: FsError | None = None
        self._done = trio.Event()
        self.arrived_at = float("-inf")

    async def run(self) -> None:
        """Ask the cluster."""
        try:
            self._listing = await self._ask()
        except FsError as error:
            self._error = error
        finally:
            self.arrived_at = trio.current_time()
            self._done.set()

    async def listing(self) -> Listing:
        """Wait for the answer and return it."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        assert self._listing is not None
        return self._listing


class DirectoryStream:
    """The entries below one prefix, batch by batch, in the cluster's order.

    Attributes:
        marker: the directory's own marker object, once it passed by.
        batches: requests sent so far.
        done: whether the last batch was read.
        lacking: whether the cluster had lost targets, and their names with them.
        started_at: when the first request was sent.
        arrived_at: when the last answer came.
    """

    def __init__(self, store: ObjectStore, bucket: BucketName, prefix: str) -> None:
        self._store = store
        self._bucket = bucket
        self._prefix = prefix
        self._token = ""
        self._last_directory = ""
        self._undecided: list[ObjectInfo] = []
        self.marker: ObjectInfo | None = None
        self.batches = 0
        self.done = False
        self.lacking = False
        self._ended = False
        self.started_at = self.arrived_at = trio.current_time()
        self._ahead: _Answer | None = None

    def fork(self) -> DirectoryStream:
        """Return a stream that goes on from here on its own, and asks for itself."""
        twin = copy.copy(self)
        twin._undecided = list(self._undecided)
        twin._ahead = None
        return twin

    def fetch_ahead(self, nursery: trio.Nursery) -> None:
        """Ask for the next batch before it is wanted, unless that is done already."""
        if self._ahead is None and not self._ended:
            self._ahead = self._answer()
            nursery.start_soon(self._ahead.run)

    def passed(self, name: str) -> bool:
        """Tell whether an object of this name would have come already."""
        return self._ended or name <= self._token

    async def next(self) -> list[Entry]:
        """Return the next batch; check `done` for the end.

        Raises:
            Incomplete: that was all of a listing that lacks names, so it is not `done`.
        """
        if self._ended:
            raise Incomplete(
                f"listing {self._bucket.name}/{self._prefix}: targets have left the cluster, "
                "and what they hold is not listed"
            )
        answer, self._ahead = self._ahead, None
        if answer is None:
            answer = self._answer()
            await answer.run()
        listing = await answer.listing()
        self.arrived_at = answer.arrived_at
        return self.take(listing)

    def _answer(self) -> _Answer:
        if self.batches == 0:
            self.started_at = trio.current_time()
        size = page_size(self._bucket, self.batches)
        return _Answer(
            functools.partial(
                self._store.list, self._bucket, self._prefix, self._token, size, recursive=False
            )
        )

    def take(self, listing: Listing) -> list[Entry]:
        """Turn one answer of the cluster into entries."""
        previous, self._token = self._token, listing.token
        self.batches += 1
        self.lacking = self.lacking or listing.lacking
        self._ended = not listing.token
        self.done = self._ended and not self.lacking
        directories = self._new_directories(listing.directories)
        taken = set(directories)
        entries = [Entry(name) for name in directories]
        undecided, self._undecided = self._undecided, []
        for info in (*undecided, *(o for o in listing.objects if o.name > previous)):
            entry = self._entry_of(info, taken, listing.token)
            if entry is not None:
                entries.append(entry)
        return entries

    def _new_directories(self, names: list[str]) -> list[str]:
        """Return the basenames of directories that no earlier batch had."""
        fresh = []
        for name in names:
            basename = name[len(self._prefix) :].rstrip("/")
            if name > self._last_directory and is_presentable(basename) and "/" not in basename:
                fresh.append(basename)
                self._last_directory = name
        return fresh

    def _entry_of(self, info: ObjectInfo, directories: set[str], token: str) -> Entry | None:
        basename = info.name[len(self._prefix) :]
        if basename == MARKER:
            self.marker = info
            return None
        if not is_presentable(basename) or "/" in basename:
            return None
        if basename in directories:
            return Entry(basename + SHADOWED, info)
        if token and info.name + "/" > token:
            self._undecided.append(info)  # its directory, if there is one, comes in the next batch
            return None
        return Entry(basename, info)


class EntrySource(Protocol):
    """Where a cursor gets its batches from.

    Attributes:
        started_at: when the request for the listing was sent.
        arrived_at: when the last batch came.
        done: whether `next` has nothing more.
    """

    started_at: float
    arrived_at: float

    @property
    def done(self) -> bool: ...  # noqa: D102

    async def next(self) -> list[Entry]: ...  # noqa: D102

    def fetch_ahead(self) -> None:
        """Begin to fetch what `next` returns, if that takes a request."""

    def fork(self) -> EntrySource:
        """Return a source that goes on from here on its own."""


class Cursor:
    """Where an open directory stands: entries by index, fetched as they are asked for.

    The first `TOLD` names are told with their attributes, for the reader will probably look. Of the
    names after them only the types are told, unless somebody looks: the kernel never gives a node
    back by itself, and a million of them would take a gigabyte. One name in `PROBE` shows it: a
    reader who looks has to ask for that one.

    Attributes:
        told: index from which on names are told without attributes.
        left_out: whether attributes of any name were not told.
    """

    def __init__(self, source: EntrySource) -> None:
        self.source = source
        self.told = TOLD
        self.left_out = False
        self._window: list[Entry] = []
        self._passed: list[Entry] = []
        self._by_name: dict[str, Entry] = {}
        self._start = 0
        self._marks: list[tuple[int, EntrySource]] = [(0, source.fork())]

    async def at(self, index: int) -> list[Entry]:
        """Return some entries from `index` on, as many as a reply may take; empty at the end."""
        if index < self._start:
            self._seek_back(index)
        while index >= self._start + len(self._window):
            if self.source.done:
                return []
            self._start += len(self._window)
            self._passed = self._window
            self._by_name = {}
            if self._start > self._marks[-1][0]:
                self._marks.append((self._start, self.source.fork()))
            self._window = await self.source.next()
        offset = index - self._start
        if offset >= len(self._window) // 2:
            self.source.fetch_ahead()
        return self._window[offset : offset + SLICE]

    def tells(self, index: int) -> bool:
        """Tell whether the name at an index is told with its attributes."""
        if index < self.told and (index < TOLD // 2 or index % PROBE != 0):
            return True
        self.left_out = True
        return False

    def find(self, basename: str) -> Entry | None:
        """Return an entry that was handed out lately, for somebody who looks at it."""
        if not self._by_name:
            self._by_name = {entry.name: entry for entry in (*self._passed, *self._window)}
        found = self._by_name.get(basename)
        if found is not None:
            self.told = max(self.told, self._start + len(self._window) + TOLD)
        return found

    def _seek_back(self, index: int) -> None:
        while self._marks[-1][0] > index:
            self._marks.pop()
        self._start, source = self._marks[-1]
        self.source = source.fork()
        self._window, self._passed, self._by_name = [], [], {}


@dataclass(frozen=True, slots=True)
class Proof:
    """What one recursive batch of a parent says about its subdirectories.

    Real clusters go on listing a directory after its last object is gone.

    Attributes:
        stored: directory that holds something → its stored attributes, None if not known.
        refuted: directories that hold nothing.
    """

    stored: dict[str, str | None]
    refuted: set[str]


async def prove_directories(
    store: ObjectStore,
    bucket: BucketName,
    prefix: str,
    names: list[str],
    gone: Callable[[ObjectInfo], bool],
) -> Proof:
    """Look with one request which of the directories `names` below `prefix` hold objects.

    An object that is `gone` for this mount is none: it was unlinked here, and somebody has it open.
    """
    listing = await store.list(bucket, prefix, "", FIRST_BATCH, recursive=True)
    reach: str | None = None
    if listing.token:
        reach = listing.objects[-1].name if listing.objects else ""

    def passed(name: str) -> bool:
        return reach is None or name <= reach

    stored: dict[str, str | None] = {}
    for info in listing.objects:
        child, slash, rest = info.name[len(prefix) :].partition("/")
        if gone(info):
            continue
        if slash and rest == MARKER:
            stored[child] = info.attributes
        elif slash:
            stored.setdefault(child, "" if passed(f"{prefix}{child}/{MARKER}") else None)
    # "0" follows "/": when it is passed, the whole directory is.
    refuted = {n for n in names if n not in stored and passed(f"{prefix}{n}0")}
    if listing.lacking:
        refuted = set()
    return Proof(stored, refuted)
