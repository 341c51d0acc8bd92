"""Which records a page of a listing shows, as rows in the order of their names.

A page is a range scan over the records. Without recursion a directory costs one seek, whatever
it holds: after its first name the scan goes on at `dir0`, the first name after all `dir/…`.
"""

import sqlite3
from collections.abc import Iterator
from itertools import islice

from aisfs.server.archives.formats import kind_by_name
from aisfs.server.archives.listing import Row
from aisfs.server.buckets.list_request import ListRequest
from aisfs.server.naming import decode_name, encode_name
from aisfs.server.storage.catalog import scan

_SLASH = ord("/")
COLUMNS = "name, size, version, checksum, atime, custom, chunks"


def rows_of_page(db: sqlite3.Connection, bucket: int, request: ListRequest) -> list[Row]:
    """Return the rows of a page before archives are expanded; directories have size −1."""
    prefix, after = encode_name(request.prefix), encode_name(request.after)
    low = max(prefix, after + b"\0") if after else prefix
    if request.recursive:
        return list(scan(db, COLUMNS, bucket, prefix, low, request.limit))
    if request.era.directory_slash:
        return list(islice(_level(db, bucket, prefix, after), request.limit))
    walk = _level_without_slashes(db, bucket, prefix, after)
    rows = list(islice(walk, request.limit))
    return rows + [row for row in islice(walk, 1) if rows and row[0] == rows[-1][0]]


def _level(db: sqlite3.Connection, bucket: int, prefix: bytes, after: bytes) -> Iterator[Row]:
    """Walk one level: names without a further slash, and each directory once."""
    base = prefix.rfind(b"/") + 1
    low = max(prefix, after + b"\0") if after else prefix
    while True:
        for row in scan(db, COLUMNS, bucket, prefix, low, -1):
            slash = row[0].find(b"/", max(base, len(prefix)))
            if slash < 0:
                yield row
                continue
            directory = row[0][: slash + 1]
            if directory > after:
                yield (directory, -1, "", "", 0, "", 0)
            low = directory[:-1] + b"0"
            break
        else:
            return


def _level_without_slashes(
    db: sqlite3.Connection, bucket: int, prefix: bytes, after: bytes
) -> Iterator[Row]:
    """Walk one level with directories as AIS 3.17 shows and sorts them: without a slash.

    So a directory `a` comes before `a-x`, though the names in it come after. Where an entry has
    beginnings that may be such directories, they are looked up before it. An object and a
    directory of one name follow each other, the object first.
    """
    base = max(prefix.rfind(b"/") + 1, len(prefix), 1)
    seen: set[bytes] = set()
    for row in _level(db, bucket, prefix, after):
        name = row[0].rstrip(b"/") if row[1] < 0 else row[0]
        for end in range(base, len(name)):
            start = name[:end]
            if name[end] >= _SLASH or start in seen or start <= after:
                continue
            seen.add(start)
            below = start + b"/"
            if next(scan(db, "name", bucket, below, below, 1), None):
                yield (start, -1, "", "", 0, "", 0)
        if row[1] >= 0:
            yield row
        elif name not in seen and name > after:
            seen.add(name)
            yield (name, *row[1:])


def shards_before(db: sqlite3.Connection, bucket: int, request: ListRequest) -> list[Row]:
    """Return the archives at or before the page's start whose members may lie after it."""
    prefix, after = encode_name(request.prefix), encode_name(request.after)
    base = len(prefix[: prefix.rfind(b"/") + 1])
    found: list[Row] = []
    for end in range(max(len(prefix), 1), len(after) + 1):
        name = after[:end]
        hidden = not request.recursive and b"/" in name[base:]
        if not name.startswith(prefix) or hidden or not kind_by_name(decode_name(name)):
            continue
        rows = scan(db, COLUMNS, bucket, name, name, 1)
        found += [row for row in rows if row[0] == name]
    return found


def mirrored_names(db: sqlite3.Connection, bucket: int, rows: list[Row]) -> frozenset[bytes]:
    """Return those of a page's names that have a second copy."""
    if not rows:
        return frozenset()
    found = db.execute(
        "SELECT name FROM objects WHERE bucket=? AND copies > 1 AND name >= ? AND name <= ?",
        (bucket, rows[0][0], rows[-1][0]),
    )
    return frozenset(name for (name,) in found)
