"""One file being written: a sparse local file over the object that it started from.

Serves `vfs`: an inode open for writing owns one `StagedFile`, shared by all its handles (C1, C18).
Bytes come from three places, in this order: what was written here, the base object below
`base_limit`, zeros. Base bytes are fetched when they are read or when the whole is stored (C17).

    clean ── write, truncate ─▶ dirty ── commit ok ─▶ clean
                                  └──── commit failed ─▶ dirty, record on disk (C10) ── retry …

While it is written in order from its start, a `stream` may send it to the cluster already (C15);
what was only written behind the stored content can be appended to it there (C16). Of a file that is
larger than the room for it, `parts` sends the first bytes on, and frees them here.

Invariants: `present` lies within [0, size); the local file's length is `size`; below `base_limit`
what is not present is the base's; beyond it, what is not present is zero. Below `freed` nothing is
here, nor to be had from the base before `rebase`.

The local file lies in the page cache of this machine, so a write is a copy in memory and is made on
the loop: the hop to a thread costs more than the write.
"""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING, Protocol

import trio
import xxhash

from aisfs.errors import IoFailure, NoSpace, Stale, TooManyOpen
from aisfs.staging.extents import Extents

if TYPE_CHECKING:
    from pathlib import Path

    from aisfs.errors import FsError
    from aisfs.staging.multipart import PartSender
    from aisfs.staging.quota import Quota
    from aisfs.staging.streamed_upload import StreamedUpload
    from aisfs.store.interface import Identity

FETCH_STEP = 1 << 20
"""Bytes of the base fetched at a time: one page of the cache."""

HASH_STEP = 4 << 20
"""Bytes hashed at a time when the checksum could not be kept up while writing."""

SPARE_SHARE = 4
"""One part in so many of the process's descriptors is for connections and the caches."""


class Base(Protocol):
    """The object that the file started from."""

    size: int

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return bytes of the base; short only at its end."""


class StagedFile:
    """The local copy of one inode that is open for writing.

    Args:
        path: where it is made.
        quota: the room for it.
        base: the content that it starts from; None for a new file.
        stored: whether the cluster has the base.

    Raises:
        NoSpace: the local disk does not take a file of the base's size.
        TooManyOpen: the process may have no more descriptors, but for those of `SPARE_SHARE`.

    Attributes:
        size: the file's length in bytes as its writers see it.
        generation: counts changes of content; `committed` is the one that the cluster has.
        landed: the generation that the cluster was found to have though its commit failed later,
            and what it is there.
        flushed: what the object became, or becomes yet, of the last append to it.
        stream: sends the file while it is written.
        streams: how often that was begun.
        parts: sends the file in parts; the last one, if bytes were freed since `rebase`.
    """

    def __init__(self, path: Path, quota: Quota, base: Base | None, *, stored: bool = True) -> None:
        self.path = path
        self.size = base.size if base is not None else 0
        self.generation = 0
        self.committed = 0 if base is not None else -1
        self.present = Extents()
        self.landed: tuple[int, Identity] | None = None
        self.flushed: Identity | None = None
        self.stream: StreamedUpload | None = None
        self.streams = 0
        self.parts: PartSender | None = None
        self._stored_size = base.size if base is not None and stored else -1
        self._changed_below = False
        self._base_moves: trio.Event | None = None
        self._quota = quota
        self._base = base
        self._base_limit = self.size
        self._reserved = 0
        self._given_back = 0
        self._digest = xxhash.xxh64()
        self._hashed = 0
        self.fd = -1
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            if self.fd >= most - most // SPARE_SHARE:  # POSIX: it is the lowest that is free
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            if (
                self.size
            ):  # ext4 writes a file that was cut to nothing to the disk when it is closed
                os.truncate(self.fd, self.size)
        except OSError as error:
            self.close()
            raise self._local_failure("making", error) from error

    @property
    def dirty(self) -> bool:
        """Whether the cluster lacks the present content."""
        return self.generation != self.committed

    @property
    def in_order(self) -> int:
        """How many bytes from the start on were written in order and not changed since."""
        return self._hashed

    @property
    def appended_from(self) -> int | None:
        """Size of the stored content, if all that was changed since lies behind it; else None."""
        only_behind = self.dirty and not self._changed_below and 0 <= self._stored_size < self.size
        return self._stored_size if only_behind else None

    @property
    def freed(self) -> int:
        """How many bytes from the start were sent on and are not here any more."""
        return self.parts.freed if self.parts is not None else 0

    @property
    def lost(self) -> FsError | None:
        """Why the content can never be stored, because bytes that were sent on are gone."""
        return self.parts.lost if self.parts is not None else None

    @property
    def whole(self) -> bool:
        """Whether the local file has all bytes: none were freed, none of the base's are missing."""
        return not self.freed and not any(self.present.missing(0, min(self.size, self._base_limit)))

    async def write(self, offset: int, data: bytes | memoryview) -> int:
        """Put bytes at an offset and return how many.

        Raises:
            NoSpace: the staging quota or the local disk is full.
            SentOn: these bytes were freed, or cannot be changed without others that were.
        """
        end = offset + len(data)
        if self.parts is not None:
            await self.parts.check_change(offset, end)
        await self._reserve(end)
        self._changes_from(offset)
        try:
            written = os.pwrite(self.fd, data, offset)
        except OSError as error:
            raise self._local_failure("writing", error) from error
        end = offset + written
        self._hash_written(offset, data[:written])
        self.size = max(self.size, end)
        self.present.add(offset, end)
        self.generation += 1
        return written

    async def read(self, offset: int, size: int) -> bytes:
        """Return bytes as the writers see them; short only at the end of the file.

        Raises:
            SentOn: they were freed.
        """
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        if self.parts is not None:
            self.parts.check_read(offset)
        if self._base is not None and self.lacks(self.size) > self._quota.limit:
            return await self._read_through(offset, end)
        await self._fetch(offset, end)
        try:
            return os.pread(self.fd, end - offset, offset)
        except OSError as error:
            raise self._local_failure("reading", error) from error

    async def _read_through(self, offset: int, end: int) -> bytes:
        """Return bytes of a file that can never be here whole; the base's are not kept."""
        data = bytearray(os.pread(self.fd, end - offset, offset))
        for start, stop in list(self.present.missing(offset, min(end, self._base_limit))):
            at = start
            while at < stop:
                piece = await self._read_base(at, min(FETCH_STEP, stop - at))
                if not piece:
                    raise IoFailure(f"the base of {self.path} ended at byte {at}")
                data[at - offset : at - offset + len(piece)] = piece
                at += len(piece)
        return bytes(data)

    async def truncate(self, size: int) -> None:
        """Set the length; new bytes are zeros.

        Raises:
            SentOn: bytes that were freed would be kept.
        """
        if size == self.size:
            return
        if self.parts is not None and size == 0:
            await self.parts.give_up("the file was truncated")
            self.parts, self._given_back = None, 0
        elif self.parts is not None:
            await self.parts.check_change(min(size, self.size), size)
        if size > self.size:
            await self._reserve(size)
        self._changes_from(min(size, self.size))
        try:
            os.truncate(self.fd, size)
        except OSError as error:
            raise self._local_failure("truncating", error) from error
        self.present.cut(size)
        self._base_limit = min(self._base_limit, size)
        self.size = size
        self.generation += 1

    async def complete(self) -> str:
        """Fetch what is missing of the base and return the XXH64 of the whole, in hex.

        Raises:
            Stale: the base is no longer what the file started from.
        """
        await self._fetch(0, self.size)
        if self._hashed < self.size:
            await trio.to_thread.run_sync(self._hash_rest)
        return self._digest.hexdigest()

    def _hash_rest(self) -> None:
        while self._hashed < self.size:
            block = os.pread(self.fd, min(HASH_STEP, self.size - self._hashed), self._hashed)
            if not block:
                raise IoFailure(f"the staged file {self.path} is shorter than it should be")
            self._digest.update(block)
            self._hashed += len(block)

    def reset(self, *, elsewhere: bool = False) -> None:
        """Mark the content as stored; `elsewhere`: under another name."""
        self.committed = self.generation
        self.landed = self.flushed = None
        self._stored_size = self.size
        self._changed_below = elsewhere

    def lands(self, identity: Identity) -> None:
        """Take note that the cluster has the content, though the commit may still fail."""
        self.landed = self.generation, identity
        self._stored_size = self.size
        self._changed_below = False

    def end_stream(self) -> None:
        """Be done with a PUT that ran while the file was written."""
        if self.stream is not None:
            self.stream.give_up("it is not needed any more")
            self.stream = None

    def give_back(self, sender: PartSender, size: int) -> None:
        """Have room for others: bytes were freed."""
        if self.parts is sender and self.fd >= 0:
            self._reserved -= size
            self._given_back += size
            self._quota.release(size)

    def end_parts(self, sender: PartSender) -> None:
        """Go on without sending parts; what is left of a lost file is of no use to anybody."""
        if self.parts is not sender:
            return
        if not sender.freed:
            self.parts = None
        elif self.fd >= 0:
            os.truncate(self.fd, 0)
            self._quota.release(self._reserved)
            self._reserved = 0

    def base_moves(self) -> None:
        """Have reads that find another base wait for `rebase` or `base_stays`: it is our doing."""
        self._base_moves = trio.Event()

    def rebase(self, base: Base) -> None:
        """Go on over what the stored content is on the cluster now."""
        self._base = base
        if self.parts is not None:
            self.present.drop(self.freed)
            self._base_limit = self.size
            self._forget_checksum()
            self.parts, self._given_back = None, 0
        self.base_stays()

    def base_stays(self) -> None:
        """Let reads go on that waited for another base."""
        if self._base_moves is not None:
            self._base_moves.set()

    def close(self) -> None:
        """Remove the local file; the content is stored or given up."""
        self.end_stream()
        if self.parts is not None:
            self.parts.abandon("the file is gone")
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.path.unlink(missing_ok=True)
            self._quota.release(self._reserved)
            self._reserved = 0

    async def _fetch(self, start: int, end: int) -> None:
        """Bring the base's bytes of [start, end) into the local file."""
        if self._base is None:
            return
        for hole_start, hole_end in list(self.present.missing(start, min(end, self._base_limit))):
            offset = hole_start
            while offset < hole_end:
                step = min(FETCH_STEP - offset % FETCH_STEP, hole_end - offset)
                await self._reserve(offset + step)
                data = await self._read_base(offset, step)
                if not data:
                    raise IoFailure(f"the base of {self.path} ended at byte {offset}")
                self._fill(offset, data)
                offset += len(data)

    async def _read_base(self, offset: int, size: int) -> bytes:
        """Return bytes of the base; of what it became, if this mount just appended to it."""
        base = self._base
        assert base is not None
        try:
            return bytes(await base.read(offset, size))
        except Stale:
            if self._base_moves is not None:
                await self._base_moves.wait()
            if self._base is base:
                raise
        return await self._read_base(offset, size)

    def _fill(self, offset: int, data: bytes) -> None:
        """Write fetched bytes where nothing was written meanwhile."""
        limit = min(offset + len(data), self._base_limit)
        for start, end in list(self.present.missing(offset, limit)):
            try:
                os.pwrite(self.fd, memoryview(data)[start - offset : end - offset], start)
            except OSError as error:
                raise self._local_failure("filling", error) from error
            self.present.add(start, end)

    def _hash_written(self, offset: int, data: bytes | memoryview) -> None:
        """Keep the running checksum up while the file is written in order."""
        if offset == self._hashed and not (self._base_limit > offset):
            self._digest.update(data)
            self._hashed += len(data)
            if self.stream is not None:
                self.stream.advance(self._hashed)
            if self.parts is not None:
                self.parts.advance()

    def _changes_from(self, offset: int) -> None:
        """Take note, before it happens, that bytes from `offset` on will be others."""
        if offset < self._stored_size:
            self._changed_below = True
        if offset < self._hashed:
            self._forget_checksum()
            if self.stream is not None:
                self.stream.give_up("bytes that may have been sent were changed")

    def _forget_checksum(self) -> None:
        self._digest = xxhash.xxh64()
        self._hashed = 0

    def lacks(self, end: int) -> int:
        """Return how much quota has to be had for a file that reaches `end`."""
        return max(0, max(end, self.size) - self._given_back - self._reserved)

    async def _reserve(self, end: int) -> None:
        """Have quota for a file that reaches `end`, holes included: filling them cannot fail."""
        need = self.lacks(end)
        if need > 0:
            if self.parts is not None and not self._quota.admits(need):
                self.parts.hurry()
            await self._quota.reserve(need)
            if self.fd < 0:
                self._quota.release(need)
                raise IoFailure(f"the staged file {self.path} was closed meanwhile")
            self._reserved += need
            if self.parts is not None:
                self.parts.check()

    def _local_failure(self, doing: str, error: OSError) -> FsError:
        words = f"{doing} the staged file {self.path}: {error.strerror}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            return NoSpace(words)
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            return TooManyOpen(f"{words}: close files, or raise the limit (prlimit --nofile)")
        return IoFailure(words)
