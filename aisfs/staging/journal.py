"""What a mount owes the cluster, written down so that it survives the process (C11, C19, C32).

Serves `uploader`, `vfs/storing` and `vfs/moves`; `assembly` and `aisfs recover` read it. One sqlite
database in the state directory, in WAL mode with `synchronous=FULL`: what a call wrote is on the
disk when it returns. All calls run in one worker thread, one after the other.

    uploads    a staged file that the cluster does not have   until it is stored or discarded
    deletions  an object, removed while it was open           until it is deleted, or is another
    moves      a directory's rename, with its members         until old names are gone, or undone
    parts      an upload in parts, owed to nobody             until it is completed or aborted

A commit that succeeds writes nothing here. Rows name contents (`Identity`), never only names: what
is done again after a crash is done to the object that was meant, or not at all.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import trio

from aisfs.config import BucketName
from aisfs.errors import FsError, Invalid, IoFailure, NoSpace
from aisfs.store.interface import Identity, PartsUpload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

T = TypeVar("T")

FORMAT = 2
"""Version of the tables; a later aisfs may read an earlier one, never the other way.

In format 1 a rename was "copying" before all its members were written down, too, and an upload did
not tell what had been tried before.
"""

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE uploads (
    data TEXT PRIMARY KEY, bucket TEXT NOT NULL, name TEXT NOT NULL, expected TEXT NOT NULL,
    attributes TEXT NOT NULL, size INTEGER NOT NULL, checksum TEXT NOT NULL,
    reason TEXT NOT NULL, since TEXT NOT NULL, tried TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE TABLE deletions (
    id INTEGER PRIMARY KEY, bucket TEXT NOT NULL, name TEXT NOT NULL, identity TEXT NOT NULL
) STRICT;
CREATE TABLE moves (
    id INTEGER PRIMARY KEY, bucket TEXT NOT NULL, old TEXT NOT NULL, new TEXT NOT NULL,
    phase TEXT NOT NULL
) STRICT;
CREATE TABLE members (
    move INTEGER NOT NULL REFERENCES moves ON DELETE CASCADE, name TEXT NOT NULL,
    identity TEXT NOT NULL, PRIMARY KEY (move, name)
) STRICT, WITHOUT ROWID;
"""


_FROM_1 = """
UPDATE moves SET phase = 'undoing' WHERE phase = 'copying';
ALTER TABLE uploads ADD COLUMN tried TEXT NOT NULL DEFAULT '[]';
"""


# Of no format: an aisfs that does not know it loses nothing but the tidying up.
_PARTS_TABLE = """
CREATE TABLE IF NOT EXISTS parts (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, name TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Owed:
    """A staged file that the cluster does not have.

    Attributes:
        data: name of the staged file within the state directory's `staging`.
        expected: what the cluster has to hold still (C6); None when the name was new.
        attributes: value of our custom key.
        size, checksum: of the bytes, XXH64 in hex; "" if they were not complete.
        reason: why they are not stored; "" if nothing went wrong, they only wait.
        since: when these bytes were first owed; UTC, ISO 8601.
        tried: contents that the cluster may hold instead of `expected`, for we asked for each in
            vain, or its answer did not come.
    """

    data: str
    bucket: BucketName
    name: str
    expected: Identity | None
    attributes: str
    size: int
    checksum: str
    reason: str
    since: str
    tried: tuple[Identity, ...] = ()


@dataclass(frozen=True, slots=True)
class Deletion:
    """An object that goes when nobody has it open any more, if it still is that content."""

    number: int
    bucket: BucketName
    name: str
    identity: Identity


class Phase(StrEnum):
    """How far a directory's rename is; what each means for the next mount, see `vfs/moves`."""

    LISTING = "listing"
    COPYING = "copying"
    DELETING = "deleting"
    UNDOING = "undoing"


@dataclass(frozen=True, slots=True)
class Move:
    """A directory's rename; `old` and `new` are prefixes that end in "/"."""

    number: int
    bucket: BucketName
    old: str
    new: str
    phase: Phase


class Journal:
    """The rows of one mount. Its directory's lock (`StateDirectory`) keeps others away.

    Raises:
        IoFailure: the database cannot be read or written: it is damaged, or of a later aisfs, or
            the disk fails. Every method may raise it.
        NoSpace: the disk is full; what was to be written is not there. Every method may raise it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = trio.CapacityLimiter(1)
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")
            self._make_tables()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _make_tables(self) -> None:
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found > FORMAT:
            raise IoFailure(
                f"{self._path} is of a later aisfs (format {found}): use that one, or give this "
                "mount another state-dir"
            )
        if found == 0:
            self._db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={FORMAT}; COMMIT;")
        elif found < FORMAT:
            self._db.executescript(f"BEGIN; {_FROM_1} PRAGMA user_version={FORMAT}; COMMIT;")
        self._db.executescript(_PARTS_TABLE)

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    async def claim(self, cluster: str) -> None:
        """Make sure that what is written down here is owed to this cluster.

        Args:
            cluster: its uuid; "" if it would not tell, and is trusted.

        Raises:
            Invalid: it is owed to another one. Where nothing is owed, the journal changes hands.
        """
        rows = await self._read("SELECT value FROM facts WHERE name = 'cluster'")
        before = rows[0][0] if rows else cluster
        if not cluster or (rows and before == cluster):
            return
        if before != cluster and await self.unfinished():
            raise Invalid(
                f"{self._path} holds what is owed to another cluster ({before}, this is {cluster}):"
                " mount that one to send it, or give this mount another state-dir"
            )
        await self._write("INSERT OR REPLACE INTO facts VALUES ('cluster', ?)", (cluster,))

    async def unfinished(self) -> int:
        """Return how many rows there are of all kinds."""
        ((count,),) = await self._read(
            "SELECT (SELECT COUNT(*) FROM uploads) + (SELECT COUNT(*) FROM deletions)"
            " + (SELECT COUNT(*) FROM moves)"
        )
        return int(count)

    # -- uploads

    async def owe(self, owed: Owed, instead_of: str = "") -> None:
        """Write down a staged file that is to be stored, in place of what was known of it.

        Its bytes have to be durable before.

        Args:
            owed: what is to be stored.
            instead_of: a staged file that is forgotten in the same moment: this one holds a later
                content of the same object.
        """
        row = (
            owed.data, _text(owed.bucket), owed.name, _text(owed.expected), owed.attributes,
            owed.size, owed.checksum, owed.reason, owed.since, _text(owed.tried),
        )  # fmt: skip

        def work() -> None:
            self._db.execute("DELETE FROM uploads WHERE data = ?", (instead_of,))
            self._db.execute("INSERT OR REPLACE INTO uploads VALUES (?,?,?,?,?,?,?,?,?,?)", row)

        await self._transaction(work)

    async def settle(self, data: str) -> None:
        """Forget a staged file: it is stored, or given up."""
        await self._write("DELETE FROM uploads WHERE data = ?", (data,))

    async def owed(self) -> list[Owed]:
        """Return what is to be stored, oldest first."""
        rows = await self._read("SELECT * FROM uploads ORDER BY since, data")
        return [_owed(row) for row in rows]

    # -- uploads in parts, which nobody is owed: what is left of them is to be dropped

    async def begin_parts(self, upload: PartsUpload) -> None:
        """Write down an upload whose parts lie on the cluster until it is completed or aborted."""
        row = (upload.id, _text(upload.bucket), upload.name)
        await self._write("INSERT OR REPLACE INTO parts VALUES (?,?,?)", row)

    async def end_parts(self, upload: PartsUpload) -> None:
        """Forget an upload: the cluster does not have it any more."""
        await self._write("DELETE FROM parts WHERE id = ?", (upload.id,))

    async def parts(self) -> list[PartsUpload]:
        """Return the uploads that were neither completed nor aborted."""
        rows = await self._read("SELECT bucket, name, id FROM parts")
        return [PartsUpload(_bucket(bucket), name, id_) for bucket, name, id_ in rows]

    # -- deletions

    async def doom(self, bucket: BucketName, name: str, identity: Identity) -> int:
        """Write down an object that goes with its last handle; return the row's number."""
        row = (_text(bucket), name, _text(identity))
        sql = "INSERT INTO deletions (bucket, name, identity) VALUES (?,?,?)"
        return await self._write(sql, row)

    async def bury(self, number: int) -> None:
        """Forget a deletion: it is done, or must not be done any more."""
        await self._write("DELETE FROM deletions WHERE id = ?", (number,))

    async def deletions(self) -> list[Deletion]:
        """Return what is to be deleted, in the order of the removals."""
        rows = await self._read("SELECT id, bucket, name, identity FROM deletions ORDER BY id")
        return [Deletion(n, _bucket(b), name, _known(i)) for n, b, name, i in rows]

    # -- moves

    async def begin_move(self, bucket: BucketName, old: str, new: str) -> Move:
        """Write down a directory's rename before anything is copied; its members are to follow."""
        row = (_text(bucket), old, new, Phase.LISTING)
        sql = "INSERT INTO moves (bucket, old, new, phase) VALUES (?,?,?,?)"
        return Move(await self._write(sql, row), bucket, old, new, Phase.LISTING)

    async def add_members(self, number: int, members: Iterable[tuple[str, Identity]]) -> None:
        """Write down members of a rename, each before it is copied."""
        rows = [(number, name, _text(identity)) for name, identity in members]
        sql = "INSERT OR REPLACE INTO members VALUES (?,?,?)"
        await self._transaction(lambda: self._db.executemany(sql, rows))

    async def all_listed(self, move: Move) -> Move:
        """Take note that every member is written down: from now on it may be copied."""
        return await self._enter(move, Phase.COPYING)

    async def all_copied(self, move: Move) -> Move:
        """Take note that every member has its verified copy: from now on old names may go."""
        return await self._enter(move, Phase.DELETING)

    async def give_up(self, move: Move) -> Move:
        """Take note that the rename is undone: from now on copies may go."""
        return await self._enter(move, Phase.UNDOING)

    async def _enter(self, move: Move, phase: Phase) -> Move:
        await self._write("UPDATE moves SET phase = ? WHERE id = ?", (phase, move.number))
        return replace(move, phase=phase)

    async def end_move(self, number: int) -> None:
        """Forget a rename: it is complete, or undone."""
        await self._write("DELETE FROM moves WHERE id = ?", (number,))

    async def moves(self) -> list[Move]:
        """Return the renames that are under way."""
        rows = await self._read("SELECT id, bucket, old, new, phase FROM moves ORDER BY id")
        return [Move(n, _bucket(b), old, new, Phase(phase)) for n, b, old, new, phase in rows]

    async def members(self, number: int, after: str, limit: int) -> list[tuple[str, Identity]]:
        """Return a rename's next members by their old names, with the content that each had."""
        sql = "SELECT name, identity FROM members WHERE move = ? AND name > ? ORDER BY name LIMIT ?"
        rows = await self._read(sql, (number, after, limit))
        return [(name, _known(identity)) for name, identity in rows]

    # -- the database

    async def _write(self, sql: str, row: tuple[object, ...]) -> int:
        """Change the tables; return the number of the row that was inserted, if one was."""
        return await self._transaction(lambda: int(self._db.execute(sql, row).lastrowid or 0))

    async def _transaction(self, work: Callable[[], T]) -> T:
        def run() -> T:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                result = work()
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            return result

        return await self._in_turn(run)

    async def _read(self, sql: str, row: tuple[object, ...] = ()) -> list[Any]:
        return await self._in_turn(lambda: self._db.execute(sql, row).fetchall())

    async def _in_turn(self, work: Callable[[], T]) -> T:
        """Run something in the thread; a caller that is cancelled has it done all the same."""
        with trio.CancelScope(shield=True):
            try:
                result = await trio.to_thread.run_sync(work, limiter=self._turn)
            except sqlite3.Error as error:
                raise self._failure(error) from error
        return result

    def _failure(self, error: sqlite3.Error) -> FsError:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        return (NoSpace if full else IoFailure)(f"the journal {self._path}: {error}")


@dataclass(frozen=True, slots=True)
class Unsent:
    """How much a journal names.

    Attributes:
        queued: staged files that only wait.
        failed: staged files that could not be stored.
        size: bytes of both.
        reason: why the oldest of the failed ones could not; "" if none failed.
        other: deletions and renames that are not finished.
    """

    queued: int = 0
    failed: int = 0
    size: int = 0
    reason: str = ""
    other: int = 0


def unsent(path: Path) -> Unsent:
    """Return how much a journal names that another process may be using.

    Raises:
        IoFailure: it cannot be read.
    """
    if not path.exists():
        return Unsent()
    try:
        with closing(sqlite3.connect(path)) as db:
            row = db.execute(
                "SELECT COALESCE(SUM(reason = ''), 0), COALESCE(SUM(reason <> ''), 0),"
                " COALESCE(SUM(size), 0), COALESCE((SELECT reason FROM uploads"
                " WHERE reason <> '' ORDER BY since LIMIT 1), ''),"
                " (SELECT COUNT(*) FROM deletions) + (SELECT COUNT(*) FROM moves) FROM uploads"
            ).fetchone()
    except sqlite3.Error as error:
        raise IoFailure(f"the journal {path}: {error}") from error
    return Unsent(*row)


def _owed(row: tuple[Any, ...]) -> Owed:
    data, bucket, name, expected, *rest, tried = row
    known = Owed(data, _bucket(bucket), name, _identity(expected), *rest)
    return replace(known, tried=_identities(tried))


def _text(value: BucketName | Identity | tuple[Identity, ...] | None) -> str:
    return msgspec.json.encode(value).decode()


def _bucket(text: str) -> BucketName:
    return msgspec.json.decode(text, type=BucketName)


def _identity(text: str) -> Identity | None:
    return msgspec.json.decode(text, type=Identity | None)


def _identities(text: str) -> tuple[Identity, ...]:
    return msgspec.json.decode(text, type=tuple[Identity, ...])


def _known(text: str) -> Identity:
    return msgspec.json.decode(text, type=Identity)
