"""Listing what archives hold: the rows of a page with the members of its shards between them.

AIS: request flag 8 (arch-dir). A shard's members follow it in the bytewise order of all names
(`s.tar`, `s.tar.gz`, `s.tar/a`), a name that occurs twice in a shard once. What cannot be read as
an archive is listed as an ordinary object and hides nothing.
"""

import heapq
import os
import sqlite3

from aisfs.server.archives.formats import ArchiveError, kind_by_name, walk
from aisfs.server.naming import decode_name, encode_name
from aisfs.server.storage.blobs import Blobs

Row = tuple[bytes, int, str, str, int, str, int]
"""Name, size, version, checksum, access time, custom metadata, chunks or one of the marks."""

IN_ARCHIVE = -1
IS_ARCHIVE = -2

_TRIES = 3
"""Times that a shard replaced between look-up and opening is looked up again."""


class ArchiveExpander:
    """Reads shards of one bucket; blocking."""

    def __init__(self, db: sqlite3.Connection, bucket: int, blobs: Blobs) -> None:
        self._db = db
        self._bucket = bucket
        self._blobs = blobs

    def expand(self, before: list[Row], rows: list[Row], after: bytes, limit: int) -> list[Row]:
        """Return up to `limit` rows greater than `after`, members included.

        Args:
            before: Shards not greater than `after`; only their members are wanted.
            rows: The bucket's own rows that follow `after`, in order.
            after: The page's start, exclusive.
            limit: Rows at most.
        """
        waiting: list[Row] = []
        for row in before:
            waiting += [member for member in self._members(row) or () if member[0] > after]
        heapq.heapify(waiting)
        found: list[Row] = []
        for row in rows:
            while waiting and waiting[0][0] < row[0] and len(found) < limit:
                found.append(heapq.heappop(waiting))
            if len(found) >= limit:
                return found
            if waiting and waiting[0][0] == row[0]:  # an object that is named like a member
                heapq.heappop(waiting)
            members = self._members(row)
            found.append(row if members is None else (*row[:6], IS_ARCHIVE))
            for member in members or ():
                heapq.heappush(waiting, member)
        while waiting and len(found) < limit:
            found.append(heapq.heappop(waiting))
        return found[:limit]

    def _members(self, row: Row) -> list[Row] | None:
        """Return a shard's members, None if it is no sound archive."""
        kind = kind_by_name(decode_name(row[0]))
        if not kind or row[1] < 0:
            return None
        for _ in range(_TRIES):
            found = self._db.execute(
                "SELECT blob FROM objects WHERE bucket=? AND name=?", (self._bucket, row[0])
            ).fetchone()
            if found is None:
                return None
            try:
                with os.fdopen(self._blobs.open(found[0]), "rb") as file:
                    sizes: dict[str, int] = {}
                    for member in walk(file, kind):
                        sizes.setdefault(member.name.lstrip("/"), member.size)
            except FileNotFoundError:
                continue
            except ArchiveError:
                return None
            head = row[0] + b"/"
            return [
                (head + encode_name(name), size, "", "", 0, "", IN_ARCHIVE)
                for name, size in sizes.items()
            ]
        return None
