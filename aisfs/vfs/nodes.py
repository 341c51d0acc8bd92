"""What a name stands for, and what is known of it: files, symbolic links and directories.

Serves all of `vfs`. Invariants: a node stays while the kernel knows it (`lookups`), a handle is
open, or it holds bytes that the cluster lacks; what this mount did is believed before any answer to
an earlier question.

Lock order: `FileNode.lock`, then nothing of this package. Two files are locked by a rename only:
the one that is replaced, then the one that takes its name; the kernel lets no two renames cross.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType

import cachetools
import trio

from aisfs.vfs.locks import EagerLock
from aisfs.vfs.paths import MARKER, SHADOWED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisfs.cache.reader import ContentReader
    from aisfs.errors import FsError
    from aisfs.staging.staged_file import StagedFile
    from aisfs.store.interface import BucketName, Identity, ObjectInfo
    from aisfs.vfs.attributes import Attributes
    from aisfs.vfs.directory import Cursor, DirectoryStream, Entry

Ino = NewType("Ino", int)

Location = tuple["BucketName | None", str]
"""Where a node is: bucket, and a directory's prefix or an object's name."""

ROOT = Ino(1)

CHANGES_MATTER_S = 30.0
"""Seconds for which a directory that was changed here is remembered although the kernel has
forgotten it: a listing that was asked for before may still come, and calls end after 25 s."""

MOST_CHANGES = 20_000
"""Names that this mount made in a directory that are laid over a listing asked for before."""


class Node:
    """What a name stands for.

    Attributes:
        bucket: None for the root of all buckets only.
        name: a directory's prefix ("" or ending in "/"), or an object's name.
        attributes: what stat(2) shows.
        checked_at: when the cluster last told them, in the clock of `trio.current_time`.
        asked_at: when it was asked for that answer; one to an earlier question is ignored.
        changed_at: when this mount last changed the object; an older answer is ignored.
        lookups: how often the kernel was told this inode (FUSE lookup count).
    """

    __slots__ = (
        "asked_at",
        "attributes",
        "bucket",
        "changed_at",
        "checked_at",
        "ino",
        "lookups",
        "name",
        "opens",
    )

    def __init__(
        self, ino: Ino, bucket: BucketName | None, name: str, attributes: Attributes
    ) -> None:
        self.ino = ino
        self.bucket = bucket
        self.name = name
        self.attributes = attributes
        self.asked_at = float("-inf")
        self.checked_at = float("-inf")
        self.changed_at = float("-inf")
        self.lookups = 0
        self.opens = 0

    @property
    def removable(self) -> bool:
        """Whether nothing refers to the node any more."""
        return self.lookups <= 0 and self.opens == 0


@dataclass(frozen=True, slots=True)
class Contents:
    """A complete listing of a directory: basename → object, or None for a directory.

    Attributes:
        started_at: when its first request was sent.
        arrived_at: when its last answer came.
        batches: how many requests it took.
    """

    entries: dict[str, ObjectInfo | None]
    started_at: float
    arrived_at: float
    batches: int


class DirectoryNode(Node):
    """A directory, a bucket, or the root of all buckets.

    Attributes:
        contents: the last complete listing, if it is still remembered.
        absent: names that were looked for and not found → when.
        removed: names that this mount removed → when; an older listing still shows them.
        names_changed_at: when this mount last made or removed a name in it; `changed_at` is of its
            attributes.
        made: names that this mount made or changed → when, and what an older listing lacks of them.
        known_since: from when on `made` is complete; an older listing is of no use.
        revalidations: single look-ups since there was a fresh listing, at short intervals.
        looked_at: when the last of them was.
        endless: too long to be listed whole for its look-ups.
        relisting: set when the listing ends that is being made for look-ups.
        marked: whether a marker object keeps the directory.
        first: a listing's first batch that a look-up brought, for the open that follows.
        pending: files made here that the cluster does not have yet.
        readers: where those stand who have the directory open.
    """

    __slots__ = (
        "absent",
        "contents",
        "endless",
        "first",
        "known_since",
        "looked_at",
        "made",
        "marked",
        "names_changed_at",
        "pending",
        "readers",
        "relisting",
        "removed",
        "revalidations",
    )

    def __init__(
        self, ino: Ino, bucket: BucketName | None, name: str, attributes: Attributes
    ) -> None:
        super().__init__(ino, bucket, name, attributes)
        self.contents: Contents | None = None
        self.absent: cachetools.LRUCache[str, float] = cachetools.LRUCache(1024)
        self.removed: dict[str, float] = {}
        self.made: dict[str, tuple[float, ObjectInfo | None]] = {}
        self.names_changed_at = self.known_since = float("-inf")
        self.revalidations = 0
        self.looked_at = float("-inf")
        self.endless = False
        self.relisting: trio.Event | None = None
        self.marked = False
        self.first: tuple[DirectoryStream, list[Entry]] | None = None
        self.pending: dict[str, FileNode] = {}
        self.readers: list[Cursor] = []

    @property
    def removable(self) -> bool:
        """Whether nothing refers to the node, nor shows in it that the cluster does not have."""
        return super().removable and not self.pending

    @property
    def touched_at(self) -> float:
        """When this mount last changed anything of the directory, names in it included."""
        return max(self.changed_at, self.names_changed_at)

    @property
    def changed_lately(self) -> bool:
        """Whether an answer from before this mount's last change may still come."""
        touched = self.touched_at
        return touched > float("-inf") and trio.current_time() - touched < CHANGES_MATTER_S

    @property
    def marker(self) -> str:
        """Name of the object that keeps the directory and its attributes (C26)."""
        return self.name + MARKER

    def note_present(self, basename: str, info: ObjectInfo | None) -> None:
        """Take note that this mount made a name, or changed what is behind it."""
        self._changes()
        self.pending.pop(basename, None)
        known = self.contents.entries if self.contents is not None else {}
        basename = _shown(known, basename, info)
        self.absent.pop(basename, None)
        self.removed.pop(basename, None)
        self.made[basename] = self.names_changed_at, info
        if self.contents is not None:
            self.contents.entries[basename] = info

    def note_pending(self, basename: str, node: FileNode) -> None:
        """Take note of a file of this mount that the cluster does not have yet."""
        self.note_present(basename, None)
        del self.made[basename]
        if self.contents is not None:
            self.contents.entries.pop(basename, None)
        self.pending[basename] = node

    def note_absent(self, basename: str) -> None:
        """Take note that this mount removed a name."""
        self._changes()
        self.pending.pop(basename, None)
        self.made.pop(basename, None)
        self.absent[basename] = self.names_changed_at
        self.removed[basename] = self.names_changed_at
        if self.contents is not None:
            self.contents.entries.pop(basename, None)

    def note_doubtful(self, basename: str) -> None:
        """Take note that this mount may have made a name, or changed what is behind it."""
        self._changes()
        self.forget_listings()
        self.absent.pop(basename, None)

    def note_all_doubtful(self) -> None:
        """Take note that anything in the directory may be another now."""
        self._changes()
        self.forget_listings()
        self.absent.clear()

    def _changes(self) -> None:
        self.names_changed_at = trio.current_time()
        self.first = None
        if len(self.made) >= MOST_CHANGES:
            self.made.clear()
            self.known_since = self.names_changed_at

    def is_removed_since(self, basename: str, when: float) -> bool:
        """Tell whether this mount removed a name after something was asked for that has it.

        Who lists the directory may be told of it or not (POSIX: readdir), but must not be told its
        attributes: the kernel would go on believing that it is there.
        """
        return self.removed.get(basename, float("-inf")) > when

    def forget_listings(self) -> None:
        """Take note that what is told of the directory so far is not of its present name."""
        self.contents = self.first = None
        self.made.clear()
        self.known_since = trio.current_time()

    def lay_changes_over(self, contents: Contents) -> bool:
        """Bring a listing up to date with what this mount did since it was asked for.

        False if that is not known any more: the listing must not be remembered.
        """
        if contents.started_at < self.known_since:
            return False
        entries = contents.entries
        for basename, (when, info) in self.made.items():
            if when > contents.started_at:
                entries[_shown(entries, basename, info)] = info
        for basename, when in self.removed.items():
            if when > contents.started_at:
                entries.pop(basename, None)
        return True


def _shown(entries: Mapping[str, ObjectInfo | None], basename: str, info: ObjectInfo | None) -> str:
    """Return under which name an object shows: another one where a directory has its own (C28)."""
    shadowed = info is not None and entries.get(basename, info) is None
    return basename + SHADOWED if shadowed else basename


class FileNode(Node):
    """A regular file or a symbolic link.

    Attributes:
        identity: the content on the cluster; None while there is none (a new file).
        staged: the local copy while the file is open for writing.
        reader: reads `identity`; shared by the handles that pinned it.
        kernel_identity: the content that the kernel's page cache holds.
        writers: handles open for writing.
        kept: counts who needs the staged file although no writer has it open: its content is just
            being cut, or replaced.
        detached: unlinked or replaced; the name is not this node's any more.
        sought_until: when somebody will have opened it who was refused an earlier file of the name.
        target: a symbolic link's, once it was read.
        storing: whether its content is on its way to the cluster.
        attributes_dirty: attributes that the cluster lacks and the next commit carries.
        doomed: unlinked while open; the object is deleted with the last close. The number of the
            journal's row that says so, else 0.
        behind: below `staged`, an earlier content that a close was promised and the cluster may
            lack; it is never changed any more.
        failure: why the present content could not be stored, or went into a conflict copy.
        failures: counts these; a handle that has not seen the last one has to be told (C10).
        epoch: counts the contents that this mount stored; a handle of an older one follows.
        lineage: counts the contents that others stored; a handle of an older one stays (C4).
        stored: value of our custom key that `attributes` were read from; None if from none.
    """

    __slots__ = (
        "_lock",
        "attributes_dirty",
        "behind",
        "detached",
        "doomed",
        "epoch",
        "failure",
        "failures",
        "identity",
        "kept",
        "kernel_identity",
        "lineage",
        "reader",
        "sought_until",
        "staged",
        "stored",
        "storing",
        "target",
        "writers",
    )

    def __init__(
        self, ino: Ino, bucket: BucketName | None, name: str, attributes: Attributes
    ) -> None:
        super().__init__(ino, bucket, name, attributes)
        self.identity: Identity | None = None
        self.staged: StagedFile | None = None
        self.reader: ContentReader | None = None
        self.kernel_identity: Identity | None = None
        self._lock: EagerLock | None = None
        self.writers = 0
        self.kept = 0
        self.detached = False
        self.doomed = 0
        self.behind: StagedFile | None = None
        self.failure: FsError | None = None
        self.failures = 0
        self.epoch = 0
        self.lineage = 0
        self.sought_until = float("-inf")
        self.target: bytes | None = None
        self.attributes_dirty = False
        self.storing = False
        self.stored: str | None = None

    @property
    def lock(self) -> EagerLock:
        """Protects content and commit; made when it is first wanted, for most files never are."""
        if self._lock is None:
            self._lock = EagerLock()
        return self._lock

    @property
    def locked(self) -> bool:
        """Whether somebody holds the lock."""
        return self._lock is not None and self._lock.locked()

    @property
    def opened(self) -> bool:
        """Whether somebody has the file open, or is just opening it to read."""
        return self.opens > 0 or (self.reader is not None and self.reader.users > 0)

    @property
    def local(self) -> bool:
        """Whether this mount knows better than the cluster what the file is."""
        return (
            self.detached
            or self.storing  # its bytes may be there already, but nobody noted yet as what
            or self.kept > 0  # the cluster may have the other file already
            or self.attributes_dirty
            or (self.staged is not None and (self.staged.dirty or self.writers > 0))
        )

    @property
    def dirty(self) -> bool:
        """Whether the cluster lacks something of the file."""
        return self.attributes_dirty or (self.staged is not None and self.staged.dirty)

    def retire_reader(self) -> None:
        """Let go of the reader of a content that new handles must not see."""
        reader, self.reader = self.reader, None
        if reader is not None and reader.users == 0:
            reader.drop()

    @property
    def removable(self) -> bool:
        """Whether nothing refers to the node and nothing of it would be lost."""
        return super().removable and (self.detached or not self.dirty)
