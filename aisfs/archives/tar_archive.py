"""Tar archives: where each member lies, and tar inside gzip or lz4.

Serves `shard`. Headers are read by Python's tarfile (POSIX: pax and ustar; GNU and V7 formats,
sparse files too); what it takes for an end of the archive, or believes of a hostile header, is
checked here. Everything here blocks, in a worker thread that the loop waits for.
"""

from __future__ import annotations

import gzip
import math
import sys
import tarfile
from decimal import Decimal, InvalidOperation
from typing import IO, TYPE_CHECKING, cast

import lz4.frame
import trio
from msgspec.structs import replace

from aisfs.archives.formats import Format
from aisfs.archives.members import (
    Extent,
    Kind,
    Member,
    Tree,
    is_target,
    path_of,
    size_of_target,
)
from aisfs.archives.shard_file import HeaderFile, ShardFile, parsing
from aisfs.errors import Corrupt

if TYPE_CHECKING:
    from aisfs.archives.spool import Spool

HEADERS = 1 << 20
"""Bytes that the headers of one member may take: a long name, extended headers, a map of holes."""

GLOBAL_RECORDS = 1000
"""Records that hold for all members after them. tarfile copies them for each."""

UNPACKED_PIECE = 1 << 20
"""Bytes that are unpacked between two looks at whether anybody still waits."""

_NS = 10**9
_MODE = 0o7777


def index(file: HeaderFile, tree: Tree) -> None:
    """Put the members of an archive into a tree.

    An archive without end blocks is whole if its last member is. POSIX: pax, "ustar interchange
    format"; no bytes at all are no members.

    Raises:
        Corrupt: it is no tar archive, or is cut off.
        NoSpace: there are more members than the tree takes.
        FsError: what the file raises.
    """
    if not file.size:
        return
    file.budget = HEADERS
    with parsing("no sound tar archive"):
        archive = tarfile.TarFile(
            fileobj=cast("IO[bytes]", file), encoding="utf-8", errors="surrogateescape"
        )
    end = 0
    while True:
        file.budget = HEADERS
        with parsing("no sound tar archive"):
            found = archive.next()
        archive.members.clear()  # type: ignore[attr-defined] # or every header stays
        if found is None:
            break
        # Sizes may be negative, and such a member would lead back to where it begins.
        if found.size < 0 or archive.offset <= end or len(archive.pax_headers) > GLOBAL_RECORDS:
            raise Corrupt(f"no sound tar archive: the header at {end} cannot be right")
        end = archive.offset
        _add(tree, found, end)
    _check_end(file, end)


def _check_end(file: ShardFile, end: int) -> None:
    """Tell an end from a header that does not parse, which tarfile takes for one.

    Raises:
        Corrupt: it was no end.
    """
    file.seek(end)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise Corrupt(f"no sound tar archive: the header at {end} does not parse")


def _add(tree: Tree, found: tarfile.TarInfo, end: int) -> None:
    path = path_of(found.name)
    member = _member(tree, found, path, end) if path is not None else None
    if member is None:
        tree.leave_out()
    else:
        tree.add(member)


def _member(tree: Tree, found: tarfile.TarInfo, path: str, end: int) -> Member | None:
    """Return what a header tells, None if it has no place in a tree."""
    bare = Member(path, Kind.FILE, 0, _mtime_ns(found), found.mode & _MODE)
    if found.isdir():
        return replace(bare, kind=Kind.DIRECTORY)
    if found.issym():
        return _symlink(bare, found.linkname)
    if found.islnk():
        flawed = replace(bare, flaw="a hard link to what is not in the shard")
        return _linked(tree, found, path) or flawed
    if found.isdev():
        return replace(bare, flaw="a device or pipe, without bytes")
    if not found.issparse():
        return replace(bare, size=found.size, place=found.offset_data)
    extents = _extents(found, end)
    flaw = "its map of holes cannot be right" if extents is None else ""
    return replace(bare, size=found.size, flaw=flaw, place=extents or ())


def _symlink(bare: Member, target: str) -> Member | None:
    if not is_target(target):
        return None
    return replace(bare, kind=Kind.LINK, size=size_of_target(target), target=target)


def _linked(tree: Tree, found: tarfile.TarInfo, path: str) -> Member | None:
    """Return another name of an earlier file or link, with all that it has at this point."""
    target = path_of(found.linkname)
    there = tree.get(target) if target else None
    if there is None or there.kind is Kind.DIRECTORY:
        return None
    return replace(there, path=path)


def _extents(found: tarfile.TarInfo, end: int) -> tuple[Extent, ...] | None:
    """Return where the bytes of a file with holes lie, None if that does not make sense."""
    extents, covered, stored = [], 0, found.offset_data
    for offset, size in cast("list[tuple[int, int]]", found.sparse):
        if size == 0:  # ends a file with a hole
            continue
        if size < 0 or offset < covered or offset + size > found.size or stored + size > end:
            return None
        extents.append(Extent(offset, size, stored))
        covered, stored = offset + size, stored + size
    return tuple(extents)


def _mtime_ns(found: tarfile.TarInfo) -> int:
    """Return a member's time; tarfile's own is a float, which has no nanoseconds."""
    rough = found.mtime
    if not -(1 << 33) < rough < 1 << 33:  # no number, or beyond 64 bits of nanoseconds
        return 0
    try:
        exact = Decimal(found.pax_headers.get("mtime", rough))
    except InvalidOperation:
        return 0
    return math.floor(exact * _NS)


def unpack(file: ShardFile, kind: Format, spool: Spool) -> None:
    """Unpack a tar archive into a spool.

    Raises:
        Corrupt: it is not sound, or something follows that is not packed.
        NoSpace: it is larger than there is room for.
        FsError: what file or spool raise.
        trio.Cancelled: nobody waits any more.
    """
    file.budget = sys.maxsize
    what = f"no sound {kind.value} archive"
    with parsing(what):
        stream = _unpacked(file, kind)
        while piece := stream.read(UNPACKED_PIECE):
            trio.from_thread.run_sync(spool.reserve, len(piece))
            spool.append(piece)
    if not spool.size and not file.size:
        raise Corrupt(f"{what}: it has no bytes")


def _unpacked(file: ShardFile, kind: Format) -> IO[bytes]:
    if kind is Format.TGZ:
        return cast("IO[bytes]", gzip.GzipFile(fileobj=cast("IO[bytes]", file), mode="rb"))
    return cast("IO[bytes]", lz4.frame.LZ4FrameFile(file, "rb"))
