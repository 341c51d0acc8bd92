"""What open files are made of, and the parts of the mount that they come from and go to.

Serves `open_files` and `storing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisfs.cache.disk import DiskCounts
from aisfs.cache.readahead import AccessPattern
from aisfs.cache.reader import ContentReader
from aisfs.metrics import APPLICATIONS, UPLOADS, operation
from aisfs.staging.staged_file import StagedFile

if TYPE_CHECKING:
    from aisfs.archives.spool import Room
    from aisfs.cache.fetch_ahead import FetchAhead
    from aisfs.cache.room import CacheRoom
    from aisfs.staging.multipart import Parts
    from aisfs.staging.outbox import Outbox
    from aisfs.staging.quota import Quota
    from aisfs.staging.state import StateDirectory
    from aisfs.staging.streamed_upload import Streams
    from aisfs.staging.uploader import Uploader
    from aisfs.vfs.nodes import FileNode

_READS = operation("read")


@dataclass(slots=True)
class Workshop:
    """Where open files get their parts from, and leave what is to be stored.

    Attributes:
        window: bytes that a sequential reader is read ahead; for files that are opened from now on.
        unpacked: room for what views have to unpack.
        write_back: a close returns when the content is durable here (C9).
        drain_s: longest that the end of the mount sends what is left.
    """

    room: CacheRoom
    fetch_ahead: FetchAhead
    uploader: Uploader
    outbox: Outbox
    state: StateDirectory
    quota: Quota
    window: int
    streams: Streams
    parts: Parts
    unpacked: Room
    write_back: bool = False
    drain_s: float = 60.0

    def reader(self, node: FileNode) -> ContentReader:
        """Return the reader of the node's present content."""
        assert node.identity is not None
        assert node.bucket is not None
        if node.reader is not None and node.reader.broken is not None:
            node.retire_reader()
        if node.reader is None:
            node.reader = ContentReader(self.room, node.bucket, node.name, node.identity)
        return node.reader

    def base(self, node: FileNode) -> Base:
        """Return the node's present content as the base of a staged file."""
        return Base(self.reader(node), self.window)

    def stage(self, node: FileNode) -> StagedFile:
        """Return the node's staged file, made over its present content."""
        if node.staged is None:
            base = None
            if node.identity is not None:
                base = self.base(node)
            path = self.state.new_staged_path()
            node.staged = StagedFile(path, self.quota, base)
        return node.staged

    def figures(self) -> dict[str, int]:
        """Return what the parts count."""
        counts = self.fetch_ahead.counts
        return {
            **self.cache_figures(),
            "fetch_ahead.fetched": counts.fetched,
            "fetch_ahead.used": counts.used,
            "fetch_ahead.dropped": counts.dropped,
            "fetch_ahead.failed": counts.failed,
            "streams.open": self.room.streams,
            "streams.begun": self.room.streams_begun,
            **self.outbox.figures(),
            "staging.used_bytes": self.quota.used,
            "staging.capacity_bytes": self.quota.limit,
            "uploads.stored": UPLOADS.stored,
            "uploads.failed": UPLOADS.failed,
            "uploads.retries": UPLOADS.retries,
            **self.room.store.figures(),
        }

    def cache_figures(self) -> dict[str, int]:
        """Return how much is kept of what was read."""
        pages, disk = self.room.pages, self.room.disk
        kept = disk.counts if disk is not None else DiskCounts()
        return {
            "cache.capacity_bytes": pages.capacity,
            "cache.used_bytes": pages.used,
            "cache.hits": _READS.count - APPLICATIONS.waited,
            "cache.misses": self.room.misses,
            "disk.capacity_bytes": disk.capacity if disk is not None else 0,
            "disk.used_bytes": disk.used if disk is not None else 0,
            "disk.hits": kept.hits,
            "disk.misses": kept.misses,
            "disk.corrupt": kept.corrupt,
            "disk.written": kept.written,
        }


class Base:
    """The stored content below a staged file."""

    def __init__(self, reader: ContentReader, window: int) -> None:
        self._reader = reader
        self._pattern = AccessPattern(window)
        self.size = reader.size

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return bytes of the stored content."""
        return await self._reader.read(offset, size, self._pattern)


class Promised:
    """The content below a staged file that waits here to be stored, and must not change."""

    def __init__(self, staged: StagedFile) -> None:
        self._staged = staged
        self.size = staged.size

    async def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the promised content."""
        return await self._staged.read(offset, size)
