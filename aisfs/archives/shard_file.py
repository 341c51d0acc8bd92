"""A shard as the file that parsers of archives want, for a worker thread.

Serves `tar_archive` and `zip_archive`. Parsers read a few bytes at a time and jump; a read of a
shard may be a request to a cluster. So reads that follow each other are served from one large
piece, and a jump over a large member costs a small one.
"""

from __future__ import annotations

import errno
import io
import re
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self

import trio

from aisfs.errors import Corrupt, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = 256 << 10
"""Bytes that are read at once where headers lie close together, and the longest jump that is
cheaper to read than to skip."""

FIRST_PIECE = 8 << 10
"""Bytes that are read after a jump: the headers of a member, extended ones too."""

LONGEST_NUMBER = 1024
"""Digits in a row that a header may have. Python before 3.12.6 searches extended headers in time
that grows with the square of it."""

_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, LookupError,
    ArithmeticError, AttributeError, TypeError, RuntimeError,
)  # fmt: skip
"""What Python's parsers and decoders raise for bytes that are no sound archive."""


@contextmanager
def parsing(what: str) -> Iterator[None]:
    """Turn what a parser raises into an FsError; of what a shard is read with, none is touched.

    Raises:
        Corrupt: the bytes are no sound archive.
        Unsupported: the archive needs what the parser does not have.
    """
    try:
        yield
    except NotImplementedError as error:
        raise Unsupported(f"{what}: {error}") from error
    except _BROKEN as error:
        raise Corrupt(f"{what}: {str(error) or type(error).__name__}") from error


class ShardSource(Protocol):
    """Where the bytes of a shard come from; `size` is how many there are."""

    @property
    def size(self) -> int:
        """Bytes of the whole."""

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return exactly `size` bytes at `offset`; valid until the caller's next await.

        Raises:
            FsError: they could not be read.
        """


class ShardFile(io.RawIOBase):
    """The bytes of a shard with a position.

    Args:
        fetch: returns exactly that many bytes (offset, size); blocks.
        size: bytes of the shard.

    Attributes:
        budget: bytes that may be read until it is renewed. What a header says of its own length is
            only believed so far.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        super().__init__()
        self.size = size
        self.budget = PIECE
        self._fetch = fetch
        self._position = 0
        self._start = 0
        self._window = b""
        self._piece = PIECE

    @classmethod
    def over(cls, source: ShardSource) -> Self:
        """Return a source as a file, for a thread that the loop waits for.

        Reads end with `trio.Cancelled` when the task that waits is cancelled.
        """

        async def copied(offset: int, size: int) -> bytes:
            return bytes(await source.read(offset, size))

        return cls(lambda offset, size: trio.from_thread.run(copied, offset, size), source.size)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it has a position."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position, beyond the end if need be.

        Raises:
            OSError: it would be negative, which parsers expect of a file.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "a position before the start")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return `size` bytes, or what there is up to the end.

        Raises:
            Corrupt: more than the budget, or a number that takes too long to search.
            FsError: the shard could not be read.
        """
        left = max(self.size - self._position, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b""
        self.budget -= wanted
        if self.budget < 0:
            raise Corrupt("the archive has a header of too many bytes")
        start = self._position - self._start
        if start < 0 or start + wanted > len(self._window):
            self._load(wanted, left)
            start = 0
        self._position += wanted
        return self._window[start : start + wanted]

    def _load(self, wanted: int, left: int) -> None:
        """Read on from the position, at least `wanted` bytes."""
        near = self._start <= self._position <= self._start + len(self._window) + PIECE
        self._piece = min(4 * self._piece, PIECE) if near else FIRST_PIECE
        self._window = self._fetch(self._position, min(max(wanted, self._piece), left))
        self._start = self._position


class HeaderFile(ShardFile):
    """A tar archive of which only headers are read."""

    def read(self, size: int | None = -1) -> bytes:
        """Do as `ShardFile.read`, and refuse numbers that would take too long to search."""
        data = super().read(size)
        if len(data) > tarfile.BLOCKSIZE and any(
            len(digits) > LONGEST_NUMBER for digits in re.findall(rb"\d+", data)
        ):
            raise Corrupt("the archive has a header with a number of too many digits")
        return data
