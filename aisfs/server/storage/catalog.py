"""Records: buckets, objects, node identities, in one sqlite3 database (WAL).

Objects are keyed (bucket, name) with the name as bytes, so that sqlite's order is AIS's order and
a listing is a range scan. One connection writes, from the event loop's thread: a read takes tens
of microseconds and a commit without fsync about as much, less than a hop to a thread.

`synchronous=NORMAL`: a commit survives the death of the process and the database stays sound when
the machine dies; see blobs.py for the policy. Blobs that lost their record are named in table
`garbage` in the same transaction and unlinked afterwards, so a crash between the two leaks
nothing.

Access times move with every GET. They are collected in memory and written in batches; a crash
loses the newest, as in AIS, and so does a full disk: no read fails for them.
"""

import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aisfs.server.naming import BucketName
from aisfs.server.storage.blobs import Blobs

if TYPE_CHECKING:
    from concurrent.futures import Executor

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS buckets (
    id INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL, uuid TEXT NOT NULL,
    namespace TEXT NOT NULL, name TEXT NOT NULL, props TEXT NOT NULL,
    UNIQUE (provider, uuid, namespace, name)
);
CREATE TABLE IF NOT EXISTS objects (
    bucket INTEGER NOT NULL, name BLOB NOT NULL, size INTEGER NOT NULL, version TEXT NOT NULL,
    checksum_type TEXT NOT NULL, checksum TEXT NOT NULL, atime INTEGER NOT NULL,
    mtime INTEGER NOT NULL, custom TEXT NOT NULL, chunks INTEGER NOT NULL,
    chunk_size INTEGER NOT NULL, blob TEXT NOT NULL, copies INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (bucket, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS garbage (blob TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_COLUMNS = (
    "name, size, version, checksum_type, checksum, atime, mtime, custom, chunks, chunk_size, "
    "blob, copies"
)
FIRST_BID = 1 << 63
"""AIS marks ids of ais buckets with the highest bit."""

LARGE = 16 << 20
"""Bytes from which blobs are deleted in a thread: ext4 takes 50 ms to unlink 1 GiB."""

MAX_WAITING_ATIMES = 1000
"""Access times kept in memory before they are written; bounds the loss and the memory."""


@dataclass(slots=True)
class Bucket:
    """A bucket: its identity, its row and its properties (the JSON of `Ais-Bucket-Props`)."""

    id: int
    name: BucketName
    props: dict[str, Any]

    @property
    def remote(self) -> bool:
        """Whether its objects come from a cloud or another cluster."""
        return self.name.provider != "ais" or bool(self.name.uuid)

    @property
    def mirrored(self) -> bool:
        """Whether new objects get a second copy."""
        mirror = self.props["mirror"]
        return bool(mirror["enabled"]) and int(mirror["copies"]) > 1

    @property
    def checksum_type(self) -> str:
        """Checksum type of new objects."""
        return str(self.props["checksum"]["type"])

    @property
    def versioned(self) -> bool:
        """Whether new objects are counted."""
        return bool(self.props["versioning"]["enabled"])


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of an object besides its bytes. Times are nanoseconds since the epoch.

    `version` is empty for objects without one; `chunks` is 0 unless it came by multipart upload.
    """

    name: bytes
    size: int
    version: str
    checksum_type: str
    checksum: str
    atime: int
    mtime: int
    blob: str
    custom: dict[str, str] = field(default_factory=dict)
    chunks: int = 0
    chunk_size: int = 0
    copies: int = 1


def _record(row: tuple[Any, ...]) -> Record:
    name, size, version, kind, value, atime, mtime, custom, *rest = row
    chunks, chunk_size, blob, copies = rest
    keys = json.loads(custom) if custom else {}
    return Record(
        name, size, version, kind, value, atime, mtime, blob, keys, chunks, chunk_size, copies
    )


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the first name after all names with this prefix, or None if there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


class Catalog:
    """The database. Not thread-safe but for `reader`, whose connections are the caller's own."""

    def __init__(self, path: Path, blobs: Blobs) -> None:
        self._path = path
        self._blobs = blobs
        self._db = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._add_column()
        self._atimes: dict[tuple[int, bytes], int] = {}
        self._unlinked: list[str] = []
        self.workers: Executor | None = None
        self.buckets = {bucket.name: bucket for bucket in self._load_buckets()}

    def _add_column(self) -> None:
        """Add what data directories of earlier versions lack."""
        columns = {row[1] for row in self._db.execute("PRAGMA table_info(objects)")}
        if "copies" not in columns:
            self._db.execute("ALTER TABLE objects ADD COLUMN copies INTEGER NOT NULL DEFAULT 1")

    def close(self) -> None:
        """Write what waits in memory and close the database."""
        self.flush_atimes()
        self._db.executemany(
            "DELETE FROM garbage WHERE blob=?", ((blob,) for blob in self._unlinked)
        )
        self._db.close()

    def reader(self) -> sqlite3.Connection:
        """Return a second, read-only connection, for a long scan in another thread."""
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)

    @property
    def connection(self) -> sqlite3.Connection:
        """The loop's own connection, for short scans."""
        return self._db

    # ---- identities -------------------------------------------------------------------------

    def get_meta(self, key: str, default: str = "") -> str:
        """Return a stored value of the node or cluster."""
        row = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return default if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Store a value of the node or cluster."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # ---- crash recovery ---------------------------------------------------------------------

    def recover(self) -> None:
        """Bring blobs and records together after a crash; called once, before serving."""
        pending = self._blobs.pending()
        committed: set[str] = set()
        if pending:
            rows = self._db.execute("SELECT blob FROM objects")
            committed = {blob for (blob,) in rows}.intersection(pending)
        self._blobs.recover(committed)
        if self._blobs.mirror.exists():
            rows = self._db.execute("SELECT blob FROM objects WHERE copies > 1")
            kept = {blob for (blob,) in rows}
            for path in self._blobs.mirror.glob("*/*"):
                if path.name not in kept:
                    path.unlink()
        self._blobs.delete(blob for (blob,) in self._db.execute("SELECT blob FROM garbage"))
        self._db.execute("DELETE FROM garbage")

    def garbage(self) -> list[str]:
        """Return the blobs that lost their record and are not known to be deleted."""
        return [blob for (blob,) in self._db.execute("SELECT blob FROM garbage")]

    def forget_blobs(self, blobs: list[str], size: int = 0) -> None:
        """Delete blobs whose records are gone; in a thread if they are large.

        Args:
            blobs: Their names, which are in `garbage` until they are known to be deleted.
            size: Bytes in all of them.
        """
        if size >= LARGE and self.workers is not None:
            self.workers.submit(self._delete_blobs, blobs)
        else:
            self._delete_blobs(blobs)

    def _delete_blobs(self, blobs: list[str]) -> None:
        self._blobs.delete(blobs)
        # In a thread this may meet the clear() of a commit: the row then stays until the next
        # start, which deletes what is not there.
        self._unlinked.extend(blobs)

    # ---- buckets ----------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Version of the bucket metadata; rises with every change."""
        return int(self.get_meta("bmd_version", "1"))

    def _changed(self) -> None:
        self.set_meta("bmd_version", str(self.version + 1))

    def _load_buckets(self) -> list[Bucket]:
        rows = self._db.execute("SELECT id, name, provider, uuid, namespace, props FROM buckets")
        return [
            Bucket(number, BucketName(name, provider, uuid, namespace), json.loads(props))
            for number, name, provider, uuid, namespace, props in rows
        ]

    def create_bucket(self, name: BucketName, props: dict[str, Any]) -> Bucket:
        """Create a bucket that does not exist; completes `props` with id and creation time."""
        cursor = self._db.execute(
            "INSERT INTO buckets (provider, uuid, namespace, name, props) VALUES (?, ?, ?, ?, '')",
            (name.provider, name.uuid, name.namespace, name.name),
        )
        number = cursor.lastrowid or 0
        bucket = Bucket(number, name, dict(props))
        bid = number if bucket.remote else FIRST_BID + number
        bucket.props.update(bid=str(bid), created=str(time.time_ns()))
        self.save_props(bucket)
        self.buckets[name] = bucket
        return bucket

    def save_props(self, bucket: Bucket) -> None:
        """Write a bucket's changed properties."""
        props = json.dumps(bucket.props)
        self._db.execute("UPDATE buckets SET props=? WHERE id=?", (props, bucket.id))
        self._changed()

    def rename_bucket(self, bucket: Bucket, name: BucketName) -> None:
        """Give a bucket a new name; its objects follow, being keyed by the bucket's number."""
        self._db.execute(
            "UPDATE buckets SET provider=?, uuid=?, namespace=?, name=? WHERE id=?",
            (name.provider, name.uuid, name.namespace, name.name, bucket.id),
        )
        del self.buckets[bucket.name]
        bucket.name = name
        self.buckets[name] = bucket
        self._changed()

    def destroy_bucket(self, bucket: Bucket) -> list[str]:
        """Delete a bucket and its records; returns the blobs that are to be deleted."""
        del self.buckets[bucket.name]
        self._drop_atimes(bucket.id)
        rows = self._db.execute("SELECT blob FROM objects WHERE bucket=?", (bucket.id,))
        blobs = [blob for (blob,) in rows]
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO garbage SELECT blob FROM objects WHERE bucket=?",
                (bucket.id,),
            )
            self._db.execute("DELETE FROM objects WHERE bucket=?", (bucket.id,))
            self._db.execute("DELETE FROM buckets WHERE id=?", (bucket.id,))
            self._changed()
        return blobs

    # ---- objects ----------------------------------------------------------------------------

    def get(self, bucket: Bucket, name: bytes) -> Record | None:
        """Return the record of an object, or None."""
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM objects WHERE bucket=? AND name=?",  # noqa: S608 -- constant
            (bucket.id, name),
        ).fetchone()
        if row is None:
            return None
        atime = self._atimes.get((bucket.id, name))
        record = _record(row)
        return record if atime is None else replace(record, atime=atime)

    def put(self, bucket: Bucket, record: Record, *, fresh: bool = True) -> None:
        """Store a record, replacing any of that name, and settle its blob.

        Args:
            bucket: Where to store.
            record: What to store.
            fresh: False when the blob is settled already (only the record changes).
        """
        garbage: tuple[list[str], int] = ([], 0)
        with self._transaction():
            if fresh:
                garbage = self._retire(bucket, [record.name])
            self._insert(bucket, record)
        self._atimes.pop((bucket.id, record.name), None)
        if fresh:
            self._blobs.settle(record.blob)
            self.forget_blobs(*garbage)

    def put_many(self, bucket: Bucket, records: list[Record]) -> None:
        """Store many records with fresh blobs in one transaction."""
        with self._transaction():
            garbage = self._retire(bucket, [record.name for record in records])
            for record in records:
                self._insert(bucket, record)
        for record in records:
            self._atimes.pop((bucket.id, record.name), None)
            self._blobs.settle(record.blob)
        self.forget_blobs(*garbage)

    def delete(self, bucket: Bucket, names: Iterable[bytes]) -> int:
        """Delete objects in one transaction; returns how many there were."""
        with self._transaction():
            garbage = self._retire(bucket, names)
        self.forget_blobs(*garbage)
        return len(garbage[0])

    def rename(self, bucket: Bucket, record: Record, name: bytes) -> None:
        """Move a record to a new name, replacing what is there, in one transaction."""
        with self._transaction():
            garbage = self._retire(bucket, [name])
            self._db.execute(
                "UPDATE objects SET name=? WHERE bucket=? AND name=?",
                (name, bucket.id, record.name),
            )
        atime = self._atimes.pop((bucket.id, record.name), None)
        if atime is not None:
            self._atimes[bucket.id, name] = atime
        self.forget_blobs(*garbage)

    def touch(self, bucket: Bucket, name: bytes) -> None:
        """Note that an object was read now."""
        self._atimes[bucket.id, name] = time.time_ns()
        if len(self._atimes) >= MAX_WAITING_ATIMES:
            self.flush_atimes()

    def flush_atimes(self) -> None:
        """Write the access times collected so far; a disk that is full loses them, and no more."""
        if not self._atimes:
            return
        try:
            with self._transaction():
                self._db.executemany(
                    "UPDATE objects SET atime=? WHERE bucket=? AND name=?",
                    ((atime, number, name) for (number, name), atime in self._atimes.items()),
                )
        except sqlite3.OperationalError as error:
            _log.warning("%d access times could not be written: %s", len(self._atimes), error)
        self._atimes.clear()

    def records(self, bucket: Bucket, prefix: bytes, after: bytes, limit: int) -> list[Record]:
        """Return records in order: names with `prefix`, greater than `after`, at most `limit`."""
        low = max(prefix, after + b"\0") if after else prefix
        return [_record(row) for row in scan(self._db, _COLUMNS, bucket.id, prefix, low, limit)]

    def summarize(self, bucket: Bucket, prefix: bytes) -> tuple[int, int, int, int]:
        """Return count, smallest, largest and total size of the objects with a prefix."""
        end = prefix_end(prefix)
        upper = "" if end is None else " AND name < ?"
        arguments = (bucket.id, prefix) if end is None else (bucket.id, prefix, end)
        row = self._db.execute(
            "SELECT count(*), ifnull(min(size), 0), ifnull(max(size), 0), ifnull(sum(size), 0)"  # noqa: S608 -- constant
            f" FROM objects WHERE bucket=? AND name >= ?{upper}",
            arguments,
        ).fetchone()
        return int(row[0]), int(row[1]), int(row[2]), int(row[3])

    def _insert(self, bucket: Bucket, record: Record) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                bucket.id,
                record.name,
                record.size,
                record.version,
                record.checksum_type,
                record.checksum,
                record.atime,
                record.mtime,
                json.dumps(record.custom) if record.custom else "",
                record.chunks,
                record.chunk_size,
                record.blob,
                record.copies,
            ),
        )

    def _retire(self, bucket: Bucket, names: Iterable[bytes]) -> tuple[list[str], int]:
        """Delete records within a transaction; returns their blobs, now garbage, and the bytes."""
        garbage: list[str] = []
        total = 0
        for name in names:
            rows = self._db.execute(
                "DELETE FROM objects WHERE bucket=? AND name=? RETURNING blob, size",
                (bucket.id, name),
            ).fetchall()
            for blob, size in rows:
                garbage.append(blob)
                total += size
                self._db.execute("INSERT OR IGNORE INTO garbage VALUES (?)", (blob,))
                self._atimes.pop((bucket.id, name), None)
        return garbage, total

    def _drop_atimes(self, number: int) -> None:
        for key in [key for key in self._atimes if key[0] == number]:
            del self._atimes[key]

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._db, self._unlinked)


class _Transaction:
    """BEGIN … COMMIT, or ROLLBACK after an exception; also forgets unlinked garbage."""

    def __init__(self, db: sqlite3.Connection, unlinked: list[str]) -> None:
        self._db = db
        self._unlinked = unlinked

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            # A full disk ends a transaction by itself, or fails its COMMIT and leaves it open.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _commit(self) -> None:
        self._db.executemany(
            "DELETE FROM garbage WHERE blob=?", ((blob,) for blob in self._unlinked)
        )
        self._db.execute("COMMIT")
        self._unlinked.clear()


def scan(
    db: sqlite3.Connection, columns: str, bucket: int, prefix: bytes, low: bytes, limit: int
) -> Iterator[tuple[Any, ...]]:
    """Walk the rows of a bucket in name order, lazily.

    Args:
        db: The connection to use.
        columns: SQL list of columns.
        bucket: Number of the bucket.
        prefix: Only names that start with these bytes.
        low: Start here, inclusive; not below `prefix`.
        limit: Stop after so many rows; negative for all.
    """
    end = prefix_end(prefix)
    upper = "" if end is None else " AND name < ?"
    bounds = (bucket, low, limit) if end is None else (bucket, low, end, limit)
    yield from db.execute(
        f"SELECT {columns} FROM objects WHERE bucket=? AND name >= ?{upper}"  # noqa: S608 -- constant columns
        " ORDER BY name LIMIT ?",
        bounds,
    )
