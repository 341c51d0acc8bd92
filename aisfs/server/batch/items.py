"""The objects and archive members of a GetBatch, opened one after the other; blocking.

Looks records up on a connection of its own, so that a batch of any length holds neither open
files nor records: each item is what the store has at the moment it is read.
"""

import io
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from aisfs.server.archives import formats
from aisfs.server.archives.formats import ArchiveError, Entry, Readable
from aisfs.server.archives.query import member_names
from aisfs.server.http.errors import AisError
from aisfs.server.naming import encode_name
from aisfs.server.storage.blobs import Blobs
from aisfs.server.storage.catalog import Bucket

MISSING_PREFIX = "__404__/"
MAX_SOFT_ERRORS = 8
"""Missing items that a batch which goes on without them may have."""

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Item:
    """One thing asked for. `length` 0 means all of it, −1 up to its end."""

    bucket: Bucket
    name: str
    archpath: str
    start: int
    length: int
    opaque: str

    @property
    def ranged(self) -> bool:
        """Whether only a part is asked for."""
        return bool(self.length)

    @property
    def uri(self) -> str:
        """The object, for messages."""
        return f"{self.bucket.name.uri}/{self.name}"

    def member_name(self, *, with_bucket: bool) -> str:
        """Return the name in the archive that is sent."""
        parts = [self.bucket.name.name] if with_bucket else []
        return "/".join([*parts, self.name, *([self.archpath] if self.archpath else [])])

    def to_json(self, size: int, error: str) -> dict[str, Any]:
        """Return what the metadata of a multipart reply says of it."""
        fields: dict[str, Any] = {"objname": self.name}
        if self.archpath:
            fields["archpath"] = self.archpath
        fields.update(bucket=self.bucket.name.name, provider=self.bucket.name.provider)
        if error:
            fields["err_msg"] = error
        if self.opaque:
            fields["opaque"] = self.opaque
        return {**fields, "size": size}


class MissingItem(Exception):
    """An item that does not exist or cannot be read; the text is the message for the client."""


class TooManyMissing(Exception):
    """More items are missing than a batch may go on without."""


@dataclass(slots=True)
class ItemReader:
    """Yields the entries of the archive that a batch is answered with.

    Attributes:
        items: What was asked for, in order.
        goes_on: Whether missing items are replaced by empty entries; else the first one ends it.
        with_bucket: Whether names begin with the bucket.
        label: The node, for messages.
        blobs: Where the bytes are.
        connect: Returns a connection of the caller's own.
        metadata: What became of the items so far.
    """

    items: list[Item]
    goes_on: bool
    with_bucket: bool
    label: str
    blobs: Blobs
    connect: Callable[[], sqlite3.Connection]
    metadata: list[dict[str, Any]] = field(default_factory=list)

    def entries(self) -> Iterator[Entry]:
        """Yield the entries; each is to be read before the next is asked for.

        Raises:
            MissingItem: an item is missing and the batch does not go on without.
            TooManyMissing: the ninth is missing.
        """
        missing = 0
        db = self.connect()
        try:
            for item in self.items:
                with ExitStack() as opened:
                    entry = self._entry(db, item, opened)
                    missing += isinstance(entry.stream, _Nothing)
                    if missing > MAX_SOFT_ERRORS:
                        raise TooManyMissing
                    yield entry
        finally:
            db.close()

    def _entry(self, db: sqlite3.Connection, item: Item, opened: ExitStack) -> Entry:
        name = item.member_name(with_bucket=self.with_bucket)
        try:
            stream, size = self._open(db, item, opened)
            error = ""
        except MissingItem as problem:
            if not self.goes_on:
                raise
            name, error, stream, size = MISSING_PREFIX + name, str(problem), _Nothing(), 0
        self.metadata.append(item.to_json(size, error))
        return Entry(name, size, int(time.time()), stream)

    def check_ranges(self) -> None:
        """Refuse ranges that lie outside of their object or member, before anything is sent.

        Raises:
            AisError: 400.
        """
        ranged = [item for item in self.items if item.ranged]
        db = self.connect() if ranged else None
        try:
            for item in ranged:
                with ExitStack() as opened:
                    try:
                        if db is not None:
                            self._open(db, item, opened)
                    except MissingItem:
                        continue
        finally:
            if db is not None:
                db.close()

    def _open(self, db: sqlite3.Connection, item: Item, opened: ExitStack) -> tuple[Readable, int]:
        file, size = self._open_object(db, item)
        opened.enter_context(file)
        stream: Readable = file
        if item.archpath:
            stream, size = self._open_member(file, item, opened)
        if not item.ranged:
            return stream, size
        length = size - item.start if item.length < 0 else item.length
        if item.start >= size or item.start + length > size:
            raise _outside(item, size)
        if stream is file:
            file.seek(item.start, os.SEEK_CUR)
        else:
            _skip(stream, item.start)
        return stream, length

    def _open_object(self, db: sqlite3.Connection, item: Item) -> tuple[BinaryIO, int]:
        found = open_object(db, self.blobs, item.bucket.id, encode_name(item.name))
        if found is None:
            raise MissingItem(f"{self.label}: {item.uri} does not exist")
        return found

    def _open_member(self, file: BinaryIO, item: Item, opened: ExitStack) -> tuple[Readable, int]:
        kind = formats.kind_by_name(item.name) or formats.kind_by_content(file)
        if not kind:
            problem = f'unrecognized or unsupported file format: "{item.name}"'
            raise MissingItem(f"{self.label}: {problem}")
        try:
            found = formats.find(file, kind, member_names(item.name, item.archpath))
        except ArchiveError as error:
            raise MissingItem(f"{self.label}: {item.uri}: {error.reason}") from error
        if found is None:
            raise MissingItem(f"{self.label}: {item.archpath} in {item.uri} does not exist")
        member, walk = found
        if member.contiguous:
            file.seek(member.offset)
            return file, member.size
        opened.callback(getattr(walk, "close", int))
        return opened.enter_context(member.open()), member.size


def open_object(
    db: sqlite3.Connection, blobs: Blobs, bucket: int, key: bytes
) -> tuple[BinaryIO, int] | None:
    """Return an object's bytes and size, None if there is none of that name."""
    for _ in range(_TRIES):
        row = db.execute(
            "SELECT blob, size FROM objects WHERE bucket=? AND name=?", (bucket, key)
        ).fetchone()
        if row is None:
            break
        try:
            return os.fdopen(blobs.open(row[0]), "rb"), int(row[1])
        except FileNotFoundError:  # replaced between look-up and opening
            continue
    return None


class _Nothing(io.BytesIO):
    """Stands for the bytes of a missing item."""


def _outside(item: Item, size: int) -> AisError:
    asked = f"start={item.start},length={item.length}"
    return AisError(
        400,
        f'size={size}: not satisfiable range [{asked} (oname: "{item.name}")]',
        "ErrRangeNotSatisfiable",
    )


def _skip(stream: Readable, size: int) -> None:
    while size:
        size -= len(formats.read_some(stream, min(size, formats.PIECE)))
