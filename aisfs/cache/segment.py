"""One file of the disk tier: a table of pages, and their bytes one behind the other.

Serves `disk`, which decides in the loop what goes where; the methods that say so run in threads.

    header │ table: one record for each page │ bytes of the pages

Invariants: all blocks are allocated when the file is made, so that writing needs no room; bytes are
written before their record; bytes count only if they agree with a checksum that depends on which
page they are. So whatever a crash leaves behind, or damage changes, is found to be no page.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from typing import TYPE_CHECKING, NamedTuple, Self

import xxhash

from aisfs.cache.pages import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

MAGIC = b"aisfs pages 1\n\0\0"
HEADER = struct.Struct("<16sQQ")
"""Magic, number of records, checksum of both."""

RECORD = struct.Struct("<16sQQQQ")
"""Which page (big-endian), offset in the file, bytes, checksum of the bytes, of the record."""

BLOCK = 4096
"""Bytes of the header; pages of at least `ALIGNED` bytes start at a multiple of it."""

ALIGNED = 16 * BLOCK

RECORDS_PER_PAGE = PAGE_SIZE // BLOCK
"""Records for each MiB: objects of 4 KiB fill table and file together."""

ALLOWANCE = 16 << 10
"""Bytes that the file system may come to need for finding a file's blocks."""

_PADDING = memoryview(bytes(BLOCK))
_MASK = (1 << 64) - 1


class Damaged(Exception):
    """The file is no segment."""


class Unfinished(Damaged):
    """The file was not made to its end."""


class Row(NamedTuple):
    """A record of the table; a `size` of 0 is none."""

    key: int
    offset: int
    size: int
    checksum: int


class Placed(NamedTuple):
    """A page that is to be written, and where."""

    key: int
    slot: int
    offset: int
    view: memoryview


def checksum(key: int, data: memoryview) -> int:
    """Return the checksum of a page's bytes; the same bytes of another page have another."""
    return int(xxhash.xxh3_64_intdigest(data, seed=key & _MASK))


def length_for(pages: int, records: int) -> int:
    """Return the bytes of a file for so many full pages."""
    return _first_page(records) + pages * PAGE_SIZE


def _first_page(records: int) -> int:
    return BLOCK + -(-records * RECORD.size // BLOCK) * BLOCK


class Segment:
    """An open segment.

    Attributes:
        number: part of the file's name; newer ones have higher numbers.
        allocated: bytes that it takes from the quota.
        records: how many pages the table has room for.
        used: how many of its records were given away.
        users: reads under way; the file is closed when the last ends after `remove`.
    """

    def __init__(self, path: Path, number: int, fd: int, records: int) -> None:
        self.path = path
        self.number = number
        self.fd = fd
        self.records = records
        status = os.fstat(fd)
        self.length = status.st_size
        self.changed_ns = status.st_mtime_ns
        self.allocated = status.st_blocks * 512 + ALLOWANCE
        self.used = 0
        self.users = 0
        self._end = _first_page(records)
        self._table = bytearray()
        self._unlinked = False

    # -- in threads: the file's life

    @classmethod
    def create(cls, path: Path, number: int, pages: int, records: int) -> Self:
        """Make an empty segment with all its blocks.

        Raises:
            OSError: there is no room, or no such file can be made; nothing is left behind.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, length_for(pages, records))
            _write(fd, [_header(records)], 0)
            return cls(path, number, fd, records)
        except BaseException:
            os.close(fd)
            path.unlink()
            raise

    @classmethod
    def open(cls, path: Path, number: int) -> Self:
        """Open a segment that an earlier mount left.

        Raises:
            Damaged: it is none.
            OSError: it cannot be read.
        """
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            header = os.pread(fd, HEADER.size, 0)
            if not header.strip(b"\0"):
                raise Unfinished(path)
            records = HEADER.unpack(header)[1] if len(header) == HEADER.size else 0
            if header != _header(records) or _first_page(records) > os.fstat(fd).st_size:
                raise Damaged(path)
            segment = cls(path, number, fd, records)
            segment._load_table(os.pread(fd, records * RECORD.size, BLOCK))
        except BaseException:
            os.close(fd)
            raise
        return segment

    def _load_table(self, data: bytes) -> None:
        self.used = -(-len(data.rstrip(b"\0")) // RECORD.size)
        self._table = bytearray(data[: self.used * RECORD.size])
        for slot in range(self.used):
            start = slot * RECORD.size
            _, offset, size, _, check = RECORD.unpack_from(self._table, start)
            good = check == xxhash.xxh3_64_intdigest(data[start : start + RECORD.size - 8])
            if good and 0 < size <= PAGE_SIZE and offset + size <= self.length:
                self._end = max(self._end, offset + size)
            else:
                self._table[start : start + RECORD.size] = bytes(RECORD.size)

    def remove(self) -> None:
        """Take the file's name away; its blocks go when nobody reads it any more."""
        self.path.unlink(missing_ok=True)

    # -- in the loop: what is in it

    def retire(self) -> None:
        """Close the file as soon as nobody reads it."""
        self._unlinked = True
        self.release()

    def mark(self, when_ns: int) -> None:
        """Leave behind when the file was used, for `changed_ns` of the next mount."""
        with contextlib.suppress(OSError):
            os.utime(self.fd, ns=(when_ns, when_ns))

    def release(self, users: int = 0) -> None:
        """Take note that so many reads ended."""
        self.users -= users
        if self._unlinked and self.users == 0 and self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Return (slot, row) of each page."""
        for slot in range(len(self._table) // RECORD.size):
            row = self.row(slot)
            if row.size:
                yield slot, row

    def row(self, slot: int) -> Row:
        """Return one row."""
        key, offset, size, check, _ = RECORD.unpack_from(self._table, slot * RECORD.size)
        return Row(int.from_bytes(key), offset, size, check)

    def place(self, key: int, view: memoryview) -> Placed | None:
        """Give a page its place behind all others; None if there is none."""
        unit = BLOCK if len(view) >= ALIGNED else 64
        offset = -(-self._end // unit) * unit
        if self.used == self.records or offset + len(view) > self.length:
            return None
        placed = Placed(key, self.used, offset, view)
        self._end = offset + len(view)
        self.used += 1
        return placed

    def add(self, rows: bytes) -> None:
        """Take the rows in that `write` returned."""
        self._table += rows

    def erase(self, slot: int) -> None:
        """Let nobody find a page again, also after a restart."""
        start = slot * RECORD.size
        self._table[start : start + RECORD.size] = bytes(RECORD.size)
        _write(self.fd, [memoryview(bytes(RECORD.size))], BLOCK + start)

    # -- in threads: bytes

    def write(self, batch: Sequence[Placed], wanted: Callable[[int], bool]) -> bytes:
        """Write pages that `place` put one behind the other, at most 500, and return their rows.

        Args:
            batch: the pages.
            wanted: tells by its key whether a page is still to be found when its bytes are written.

        Raises:
            OSError: the disk did not take them.
        """
        rows, buffers, end = bytearray(), [], batch[0].offset
        for key, _, offset, view in batch:
            record = RECORD.pack(key.to_bytes(16), offset, len(view), checksum(key, view), 0)[:-8]
            rows += record + xxhash.xxh3_64_intdigest(record).to_bytes(8, "little")
            buffers += [_PADDING[: offset - end], view] if offset > end else [view]
            end = offset + len(view)
        _write(self.fd, buffers, batch[0].offset)
        for number, (key, *_) in enumerate(batch):
            if not wanted(key):
                rows[number * RECORD.size : (number + 1) * RECORD.size] = bytes(RECORD.size)
        _write(self.fd, [memoryview(rows)], BLOCK + batch[0].slot * RECORD.size)
        self.allocated = os.fstat(self.fd).st_blocks * 512 + ALLOWANCE
        return bytes(rows)

    def read(self, row: Row, view: memoryview) -> bool:
        """Read a page; False if the bytes are not those that were written.

        Raises:
            OSError: the disk does not give them.
        """
        return os.preadv(self.fd, [view], row.offset) == row.size and self._agrees(row, view)

    def read_now(self, row: Row, view: memoryview) -> bool | None:
        """Do `read` if the kernel has all bytes in memory, else return None."""
        try:
            size = os.preadv(self.fd, [view], row.offset, os.RWF_NOWAIT)
        except OSError:  # not in memory, or a file system that cannot tell
            return None
        return self._agrees(row, view) if size == row.size else None

    @staticmethod
    def _agrees(row: Row, view: memoryview) -> bool:
        return checksum(row.key, view) == row.checksum


def _header(records: int) -> memoryview:
    start = HEADER.pack(MAGIC, records, 0)[:-8]
    return memoryview(start + xxhash.xxh3_64_intdigest(start).to_bytes(8, "little"))


def _write(fd: int, buffers: Sequence[memoryview], offset: int) -> None:
    """Write buffers one behind the other; POSIX: pwritev(2) is short only on a full disk."""
    if os.pwritev(fd, buffers, offset) != sum(map(len, buffers)):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
