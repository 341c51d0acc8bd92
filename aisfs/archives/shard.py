"""An archive that can be looked into: its members, and reads of them.

Serves `vfs`. A shard is opened once for a content and read many times:

    source ─▶ index ─▶ members          tar: headers; zip: the central directory
      │ └────▶ unpack ─▶ spool ─▶ index  tgz, tar.lz4: once, whole
      └─ or the spool: to read a member is to read a range; a deflated one has its own spool
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING

import trio

from aisfs.archives import tar_archive, zip_archive
from aisfs.archives.formats import Format
from aisfs.archives.members import Kind, Member, Tree, Zipped, is_target
from aisfs.archives.shard_file import HeaderFile, ShardFile
from aisfs.archives.spool import Spool
from aisfs.errors import (
    BadHandle,
    Corrupt,
    Invalid,
    IsADirectory,
    NotADirectory,
    NotFound,
    Unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aisfs.archives.members import Extent
    from aisfs.archives.shard_file import ShardSource
    from aisfs.archives.spool import Room

UNPACKED_AT_MOST = 32
"""Deflated members of a shard that are kept unpacked, each with a descriptor: more than a usual
number of workers that read from it."""

FOLLOWED = 32
"""Members that are not packed whose checksum is computed along with their readers."""


class Shard(ABC):
    """The members of one content of a shard. Once closed, nothing can be read.

    Attributes:
        members: by path, with every directory above one; "" is the top.
        left_out: members of the archive that cannot be shown, as their names lead out of the shard,
            are too long for the kernel, or need a directory where there is a file.
    """

    def __init__(self, tree: Tree) -> None:
        self.members: Mapping[str, Member] = tree
        self.left_out = tree.left_out
        self._tree = tree
        self._closed = False

    def children(self, directory: str) -> Mapping[str, Member]:
        """Return the members of a directory by basename.

        Raises:
            NotFound, NotADirectory: it is none.
        """
        try:
            return self._tree.children(directory)
        except KeyError:
            there = directory in self._tree
            wrong = NotADirectory if there else NotFound
            raise wrong(f"no directory {directory} in the shard") from None

    async def read(self, member: Member, offset: int, size: int) -> bytes | memoryview:
        """Return up to `size` bytes of a file at `offset`; short only at its end.

        The result is valid until the caller's next await.

        Raises:
            Unsupported: the member has a flaw that tells why not.
            Corrupt: the bytes are not what the archive says of them.
            IsADirectory, Invalid: it is no file.
            BadHandle: the shard was closed.
            FsError: what the source or the disk raises.
        """
        if member.kind is Kind.DIRECTORY:
            raise IsADirectory(f"{member.path} is a directory")
        if member.kind is Kind.LINK:
            raise Invalid(f"{member.path} is a symbolic link")
        return await self._read_some(member, offset, size)

    async def _read_some(self, member: Member, offset: int, size: int) -> bytes | memoryview:
        if self._closed:
            raise BadHandle("the shard is closed")
        if member.flaw:
            raise Unsupported(f"{member.path} cannot be read: {member.flaw}")
        size = min(size, member.size - offset)
        return await self._read(member, offset, size) if size > 0 else b""

    async def target(self, member: Member) -> str:
        """Return where a symbolic link leads; that of a zip archive has to be read.

        Raises:
            Invalid: it is no link.
            Corrupt: it leads nowhere.
            FsError: as `read`.
        """
        if member.kind is not Kind.LINK:
            raise Invalid(f"{member.path} is no symbolic link")
        if member.target is not None:
            return member.target
        read = await self._read_some(member, 0, min(member.size, 1 << 16))
        text = bytes(read).decode("utf-8", "surrogateescape")
        if not is_target(text):
            raise Corrupt(f"{member.path} is a symbolic link that leads nowhere")
        return text

    @abstractmethod
    async def _read(self, member: Member, offset: int, size: int) -> bytes | memoryview:
        """Return exactly `size` bytes, at least one, that lie within a sound file or link."""

    def close(self) -> None:
        """Let spools go, once the reads that have begun are through."""
        self._closed = True


class TarShard(Shard):
    """A tar archive in a source, or unpacked in a spool that it then owns."""

    def __init__(self, tree: Tree, source: ShardSource, spool: Spool | None = None) -> None:
        super().__init__(tree)
        self._source = source
        self._spool = spool

    async def _read(self, member: Member, offset: int, size: int) -> bytes | memoryview:
        place = member.place
        if isinstance(place, int):
            return await self._source.read(place + offset, size)
        assert isinstance(place, tuple)
        return await self._read_extents(place, offset, size)

    async def _read_extents(
        self, extents: tuple[Extent, ...], offset: int, size: int
    ) -> memoryview:
        data = bytearray(size)
        first = max(bisect_right(extents, offset, key=lambda extent: extent.offset) - 1, 0)
        for extent in islice(extents, first, None):
            start = max(offset, extent.offset)
            end = min(offset + size, extent.offset + extent.size)
            if extent.offset >= offset + size:
                break
            if start < end:
                stored = extent.stored + start - extent.offset
                data[start - offset : end - offset] = await self._source.read(stored, end - start)
        return memoryview(data)

    def close(self) -> None:
        """Let the spool go."""
        super().close()
        if self._spool is not None:
            self._spool.close()


class ZipShard(Shard):
    """A zip archive. Deflated members are unpacked as they are read, and kept for a while."""

    def __init__(self, tree: Tree, source: ShardSource, room: Room) -> None:
        super().__init__(tree)
        self._source = source
        self._room = room
        self._starts: dict[int, int] = {}
        self._unpacked: OrderedDict[str, zip_archive.Unpacking] = OrderedDict()
        self._beginning = trio.Lock()
        self._followed: OrderedDict[str, tuple[int, int]] = OrderedDict()

    async def _read(self, member: Member, offset: int, size: int) -> bytes | memoryview:
        place = member.place
        assert isinstance(place, Zipped)
        if not place.deflated:
            return await self._read_stored(member, place, offset, size)
        # Not by place: a hostile directory may tell two things of one place.
        unpacking = self._unpacked.get(member.path) or await self._begin(member, place)
        self._unpacked.move_to_end(member.path)
        try:
            return await unpacking.read(offset, size)
        finally:
            if unpacking.broken is not None and self._unpacked.get(member.path) is unpacking:
                self._drop(member.path)  # the next reader begins anew

    async def _read_stored(
        self, member: Member, place: Zipped, offset: int, size: int
    ) -> bytes | memoryview:
        start = self._starts.get(place.header)
        if start is None:
            start = self._starts[place.header] = await zip_archive.start_of(self._source, place)
        data = await self._source.read(start + offset, size)
        self._follow(member, place, offset, data)
        return data

    def _follow(self, member: Member, place: Zipped, offset: int, data: bytes | memoryview) -> None:
        """Compute the checksum of who reads from the start on, and compare it at the end.

        Raises:
            Corrupt: it is another one.
        """
        reached, crc = (0, 0) if offset == 0 else self._followed.get(member.path, (-1, 0))
        if reached != offset:
            return
        reached, crc = offset + len(data), zlib.crc32(data, crc)
        self._followed[member.path] = reached, crc
        self._followed.move_to_end(member.path)
        if len(self._followed) > FOLLOWED:
            self._followed.popitem(last=False)
        if reached == member.size:
            del self._followed[member.path]
            if crc != place.crc:
                raise Corrupt(f"{member.path} has not the checksum that the archive has of it")

    async def _begin(self, member: Member, place: Zipped) -> zip_archive.Unpacking:
        """Return the member being unpacked, its readers' only one."""
        async with self._beginning:
            if member.path in self._unpacked:
                return self._unpacked[member.path]
            if len(self._unpacked) >= UNPACKED_AT_MOST:
                self._drop_idle()
            while not self._room.admits(member.size) and self._drop_idle():
                pass
            begun = await zip_archive.Unpacking.begin(self._source, self._room, member, place)
            if self._closed:
                begun.close()
                raise BadHandle("the shard is closed")
            self._unpacked[member.path] = begun
            return begun

    def _drop_idle(self) -> bool:
        """Forget the member that was read longest ago and is not read now; tell if there is one."""
        for path, unpacking in self._unpacked.items():
            if not unpacking.users:
                self._drop(path)
                return True
        return False

    def _drop(self, path: str) -> None:
        self._unpacked.pop(path).close()

    def close(self) -> None:
        """Let the members that were unpacked go."""
        super().close()
        while self._unpacked:
            self._drop(next(iter(self._unpacked)))


async def open_shard(source: ShardSource, kind: Format, room: Room) -> Shard:
    """Return what lies in a shard, ready to be read.

    After cancellation no thread runs and no spool is left.

    Args:
        source: the shard's bytes; needed as long as the shard is.
        kind: its format.
        room: for what is unpacked.

    Raises:
        Corrupt: it is not sound.
        NoSpace: it has more members, or unpacks to more bytes, than there is room for.
        Unsupported: it needs what is not known here.
        FsError: what the source or the disk raises.
    """
    tree = Tree(room.index)
    if kind is Format.ZIP:
        await _in_thread(room, lambda: zip_archive.index(ShardFile.over(source), tree, room.index))
        return ZipShard(tree, source, room)
    if kind is Format.TAR:
        await _in_thread(room, lambda: tar_archive.index(HeaderFile.over(source), tree))
        return TarShard(tree, source)
    spool = await Spool.make(room)
    try:
        await _in_thread(room, lambda: _unpack(source, kind, spool, tree))
    except BaseException:
        spool.close()
        raise
    return TarShard(tree, spool, spool)


async def _in_thread(room: Room, work: Callable[[], None]) -> None:
    await trio.to_thread.run_sync(work, limiter=room.indexers)


def _unpack(source: ShardSource, kind: Format, spool: Spool, tree: Tree) -> None:
    def fetch(offset: int, size: int) -> bytes:
        trio.from_thread.check_cancelled()
        return spool.fetch(offset, size)

    tar_archive.unpack(ShardFile.over(source), kind, spool)
    tar_archive.index(HeaderFile(fetch, spool.size), tree)
