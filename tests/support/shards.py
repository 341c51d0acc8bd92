"""Shards in memory, for tests of what is seen in them."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from aisfs.archives.members import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisfs.archives.shard import Shard
    from aisfs.errors import FsError


@dataclass
class MemorySource:
    """The bytes of a shard; counts what is read.

    Attributes:
        reads: offset and size of each.
        failure: raised by the reads to come.
        gate: reads wait for it.
        stops_at: number of the read that never ends, as of a cluster that does not answer.
        stopped: set by that read.
    """

    data: bytes
    reads: list[tuple[int, int]] = field(default_factory=list)
    failure: FsError | None = None
    gate: trio.Event | None = None
    stops_at: int = 0
    stopped: trio.Event = field(default_factory=trio.Event)

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def bytes_read(self) -> int:
        return sum(size for _, size in self.reads)

    async def read(self, offset: int, size: int) -> memoryview:
        assert size > 0
        assert 0 <= offset <= self.size - size
        self.reads.append((offset, size))
        if len(self.reads) == self.stops_at:
            self.stopped.set()
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return memoryview(self.data)[offset : offset + size]


class HoledSource(MemorySource):
    """A huge shard, most of which is zeros that are in no memory."""

    def __init__(self, pieces: Mapping[int, bytes], size: int) -> None:
        super().__init__(b"")
        self.pieces = pieces
        self.whole = size

    @property
    def size(self) -> int:
        return self.whole

    async def read(self, offset: int, size: int) -> memoryview:
        assert size > 0
        assert 0 <= offset <= self.size - size
        self.reads.append((offset, size))
        await trio.lowlevel.checkpoint()
        data = bytearray(size)
        for start, piece in self.pieces.items():
            first, last = max(start, offset), min(start + len(piece), offset + size)
            if first < last:
                data[first - offset : last - offset] = piece[first - start : last - start]
        return memoryview(data)


def tar_of(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar archive of these headers, each with its bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def header(name: str, size: int = 0, **attributes: object) -> tarfile.TarInfo:
    """Return a header with some attributes."""
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def entry(name: str, data: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    """Return a member for `tar_of`."""
    return header(name, len(data), **attributes), data


async def contents(shard: Shard) -> dict[str, bytes | str | None]:
    """Return all that can be seen: bytes of files, targets of links, None for directories."""
    seen: dict[str, bytes | str | None] = {}
    for path, member in shard.members.items():
        if member.kind is Kind.FILE:
            seen[path] = bytes(await shard.read(member, 0, member.size))
        else:
            seen[path] = await shard.target(member) if member.kind is Kind.LINK else None
    del seen[""]
    return seen
