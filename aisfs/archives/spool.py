"""Files without a name that hold what had to be unpacked.

Serves the shards. A spool is gone with its last user or with the process, whatever happens.
"""

from __future__ import annotations

import errno
import os
import tempfile
from typing import TYPE_CHECKING

import trio

from aisfs.errors import BadHandle, FsError, IoFailure, NoSpace

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

INDEXERS = 4
"""Shards that are indexed or unpacked beside each other; each takes a thread that mostly waits."""

UNPACKERS = 8
"""Threads for spools and for pieces of members; none of them waits for anything but the disk."""


class Room:
    """What the shards of a mount may use together.

    Two limiters, because an indexer's thread waits for reads of its shard, which may be of a spool.

    Args:
        directory: where spools are made.
        spool: bytes of all spools.
        index: bytes of memory of one shard's index, roughly.

    Attributes:
        used: bytes that spools have or will have.
    """

    def __init__(self, directory: Path, spool: int, index: int = 256 << 20) -> None:
        self.directory = directory
        self.spool = spool
        self.index = index
        self.used = 0
        self.indexers = trio.CapacityLimiter(INDEXERS)
        self.unpackers = trio.CapacityLimiter(UNPACKERS)

    def admits(self, size: int) -> bool:
        """Tell whether there is room for `size` bytes."""
        return self.used + size <= self.spool

    def reserve(self, size: int) -> None:
        """Take bytes for a spool.

        Raises:
            NoSpace: there are not as many.
        """
        if not self.admits(size):
            raise NoSpace(
                f"what has to be unpacked takes {size} bytes more, but {self.used} of {self.spool} "
                "for unpacked archives are used"
            )
        self.used += size

    def release(self, size: int) -> None:
        """Give bytes back."""
        self.used -= size


def _failed(error: OSError) -> FsError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return (NoSpace if full else IoFailure)(f"a file for what is unpacked: {error}")


class Spool:
    """One such file, a `ShardSource`. `append` and `fetch` block; the others belong to the loop.

    Attributes:
        size: bytes that it has.
        threads: for what is done with it.
    """

    def __init__(self, room: Room, file: IO[bytes]) -> None:
        self.size = 0
        self.threads = room.unpackers
        self._room = room
        self._file = file
        self._reserved = 0
        self._reads = 0
        self._closed = False

    @classmethod
    async def make(cls, room: Room) -> Spool:
        """Return an empty one.

        Raises:
            FsError: the disk's failure.
        """

        def unnamed() -> IO[bytes]:
            return tempfile.TemporaryFile(dir=room.directory, buffering=0)

        try:
            return cls(room, await trio.to_thread.run_sync(unnamed, limiter=room.unpackers))
        except OSError as error:
            raise _failed(error) from error

    def reserve(self, size: int) -> None:
        """Make sure of room for `size` bytes more, which `close` gives back.

        Raises:
            NoSpace: there is none.
        """
        self._room.reserve(size)
        self._reserved += size

    def append(self, data: bytes) -> None:
        """Write behind what is there.

        Raises:
            FsError: the disk's failure.
        """
        left = memoryview(data)
        try:
            while left:
                written = os.pwrite(self._file.fileno(), left, self.size)
                self.size += written
                left = left[written:]
        except OSError as error:
            raise _failed(error) from error

    def fetch(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`.

        Raises:
            IoFailure: they cannot be read, or are not there.
        """
        try:
            data = os.pread(self._file.fileno(), size, offset)
        except OSError as error:
            raise _failed(error) from error
        if len(data) < size:
            raise IoFailure("a file for what is unpacked was cut off")
        return data

    async def read(self, offset: int, size: int) -> bytes:
        """Do `fetch` in a thread.

        Raises:
            BadHandle: it was closed.
            IoFailure: as `fetch`.
        """
        if self._closed:
            raise BadHandle("the shard is closed")
        self._reads += 1  # the descriptor stays until the thread is through with it
        try:
            return await trio.to_thread.run_sync(self.fetch, offset, size, limiter=self.threads)
        finally:
            self._reads -= 1
            self._let_go()

    def close(self) -> None:
        """Let the file go, once the reads that have begun are through."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        if self._closed and not self._reads and not self._file.closed:
            self._file.close()
            self._room.release(self._reserved)
