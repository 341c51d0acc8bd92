"""Zip archives: the members that the central directory tells, and unpacking one of them.

Serves `shard`. PKWARE: APPNOTE.TXT. The directory is read by Python's zipfile, in a worker thread.
Members are unpacked by zlib itself: zipfile reads them through a blocking file that all share,
and keeps every entry of the directory in memory for as long.
"""

from __future__ import annotations

import stat
import struct
import sys
import zipfile
import zlib
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, cast

import trio

from aisfs.archives.members import Kind, Member, Tree, Zipped, path_of
from aisfs.archives.shard_file import PIECE, ShardFile, parsing
from aisfs.archives.spool import Spool
from aisfs.errors import Corrupt, FsError, NoSpace

if TYPE_CHECKING:
    from aisfs.archives.shard_file import ShardSource
    from aisfs.archives.spool import Room

DIRECTORY_SHARE = 8
"""Parts of the index that the central directory may take: zipfile makes eight times its size of it,
for the time that it takes to index it."""

COMMENT = 64 << 10
"""Longest comment at the end. APPNOTE 4.4.12."""

UNPACKED_PIECE = 1 << 20
"""Most bytes that one visit to a thread unpacks: a few ms."""

_NS = 10**9
_UNIX = 3  # APPNOTE 4.4.2
_ENCRYPTED, _UTF8 = 1 << 0, 1 << 11  # APPNOTE 4.4.4
_TIMES = 0x5455  # Info-ZIP's extended timestamp
_LOCAL = struct.Struct("<4s22xHH")  # APPNOTE 4.3.7: signature, lengths of name and extra field
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def index(file: ShardFile, tree: Tree, limit: int) -> None:
    """Put the members of an archive into a tree.

    Args:
        file: the archive.
        tree: gets them.
        limit: bytes of memory that the tree may take.

    Raises:
        Corrupt: it is no zip archive, or is cut off.
        NoSpace: there are more members than the tree takes.
        Unsupported: a later version of the format.
        FsError: what the file raises.
    """
    file.budget = sys.maxsize
    file.seek(max(file.size - COMMENT, 0))
    file.read(COMMENT)  # with it comes, of most archives, everything that zipfile looks for
    file.budget = 4 * COMMENT + limit // DIRECTORY_SHARE
    with parsing("no sound zip archive"):
        try:
            archive = zipfile.ZipFile(cast("IO[bytes]", file))
        except Corrupt as error:
            if file.budget < 0:
                raise NoSpace(f"a directory of members for more than {limit} bytes") from error
            raise
    for entry in archive.infolist():
        trio.from_thread.check_cancelled()
        member = _member(entry, file.size)
        if member is None:
            tree.leave_out()
        else:
            tree.add(member)


def _member(entry: zipfile.ZipInfo, end: int) -> Member | None:
    """Return what an entry tells, None if it has no place in a tree."""
    name = _name(entry)
    path = path_of(name)
    if path is None:
        return None
    bits = entry.external_attr >> 16 if entry.create_system == _UNIX else 0
    mtime_ns, mode = _mtime_ns(entry), stat.S_IMODE(bits)
    if name.endswith("/") or stat.S_ISDIR(bits):
        return Member(path, Kind.DIRECTORY, 0, mtime_ns, mode or 0o755)
    link = stat.S_ISLNK(bits)
    return Member(
        path,
        Kind.LINK if link else Kind.FILE,
        entry.file_size,
        mtime_ns,
        mode or 0o644,
        None if link else "",
        _flaw(entry, end),
        Zipped(
            entry.header_offset,
            entry.compress_size,
            entry.compress_type == zipfile.ZIP_DEFLATED,
            entry.CRC,
        ),
    )


def _flaw(entry: zipfile.ZipInfo, end: int) -> str:
    if entry.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if entry.compress_type not in _METHODS:
        return f"it is packed by a method that is not known here ({entry.compress_type})"
    if not 0 <= entry.header_offset <= end - entry.compress_size:
        return "its bytes would lie outside of the shard"
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        return "it is not packed, yet has two sizes"
    return ""


def _name(entry: zipfile.ZipInfo) -> str:
    """Return a member's name; one that Unix wrote without saying how is bytes of its own kind."""
    if entry.create_system == _UNIX and not entry.flag_bits & _UTF8:
        return entry.filename.encode("cp437").decode("utf-8", "surrogateescape")
    return entry.filename


def _mtime_ns(entry: zipfile.ZipInfo) -> int:
    """Return a member's time: Info-ZIP's, else that of DOS, taken as UTC: nobody knows its zone."""
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == _TIMES and size >= 5 and len(extra) >= 9 and extra[4] & 1:
            return int(struct.unpack_from("<i", extra, 5)[0]) * _NS
        extra = extra[4 + size :]
    try:
        return int(datetime(*entry.date_time, tzinfo=UTC).timestamp()) * _NS
    except ValueError:
        return 0


async def start_of(source: ShardSource, place: Zipped) -> int:
    """Return where a member's stored bytes begin, which only its local header tells.

    Raises:
        Corrupt: there is none.
        FsError: what the source raises.
    """
    if place.header + _LOCAL.size <= source.size:
        head = bytes(await source.read(place.header, _LOCAL.size))
        signature, name, extra = _LOCAL.unpack(head)
        start = place.header + _LOCAL.size + int(name) + int(extra)
        if signature == b"PK\3\4" and start + place.packed <= source.size:
            return start
    raise Corrupt(f"no sound zip archive: no member at {place.header}")


class Unpacking:
    """A deflated member, unpacked as far as somebody has read.

    What was unpacked stays in a spool, so nothing is unpacked twice, wherever readers go. The
    checksum is compared when the end is reached, before the last piece is given.

    Attributes:
        users: reads that are under way.
        broken: what went wrong; nothing is read any more.
    """

    def __init__(
        self, source: ShardSource, spool: Spool, member: Member, place: Zipped, start: int
    ) -> None:
        self.users = 0
        self.broken: FsError | None = None
        self._closed = False
        self._source = source
        self._spool = spool
        self._member = member
        self._next = start
        self._end = start + place.packed
        self._crc_wanted = place.crc
        self._crc = 0
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._turn = trio.Lock()

    @classmethod
    async def begin(
        cls, source: ShardSource, room: Room, member: Member, place: Zipped
    ) -> Unpacking:
        """Return one with room for the whole member.

        Raises:
            Corrupt: the archive has no such member.
            NoSpace: there is no room.
            FsError: what source or disk raise.
        """
        start = await start_of(source, place)
        spool = await Spool.make(room)
        try:
            spool.reserve(member.size)
        except NoSpace:
            spool.close()
            raise
        return cls(source, spool, member, place, start)

    async def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`, all within the member.

        After cancellation the next read goes on where this one was.

        Raises:
            Corrupt: they do not unpack, or not to what the directory says.
            FsError: what source or disk raise.
        """
        self.users += 1
        try:
            while self._spool.size < offset + size:
                async with self._turn:  # for one piece: who wants less has it the sooner
                    if self._spool.size < offset + size:
                        await self._go_on()
            return await self._spool.read(offset, size)
        finally:
            self.users -= 1
            self._let_go()

    async def _go_on(self) -> None:
        if self.broken is not None:
            raise self.broken
        packed, fresh = self._inflate.unconsumed_tail, 0
        if not packed and self._next < self._end:
            fresh = min(PIECE, self._end - self._next)
            packed = bytes(await self._source.read(self._next, fresh))
        # Cancelled before it begins or not at all, so what was read is unpacked once.
        await trio.to_thread.run_sync(self._unpack, packed, fresh, limiter=self._spool.threads)

    def _unpack(self, packed: bytes, fresh: int) -> None:
        self._next += fresh
        try:
            with parsing(f"{self._member.path} cannot be unpacked"):
                data = self._inflate.decompress(packed, UNPACKED_PIECE)
            self._check(data, packed)
            self._spool.append(data)
        except FsError as error:
            self.broken = error
            raise

    def _check(self, data: bytes, packed: bytes) -> None:
        """Compare what comes next with what the directory says.

        Raises:
            Corrupt: it is something else.
        """
        self._crc = zlib.crc32(data, self._crc)
        left = self._member.size - self._spool.size - len(data)
        # Without input, zlib gives what it still holds.
        ended = self._inflate.eof or not (data or packed)
        if left < 0 or (left > 0 and ended):
            raise Corrupt(f"{self._member.path} does not unpack to {self._member.size} bytes")
        if left == 0 and self._crc != self._crc_wanted:
            raise Corrupt(f"{self._member.path} has not the checksum that the archive has of it")

    def close(self) -> None:
        """Let the spool go, once the reads that have begun are through."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        if self._closed and not self.users:
            self._spool.close()
