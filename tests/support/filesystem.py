"""A `Filesystem` without a kernel, and a program that uses it by paths.

The parts are put together by the daemon's own function, so that tests run what mounts run. `Shell`
does what the kernel does for a program: it walks paths by look-ups, keeps lookup counts, flushes
before it releases. It caches nothing.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from aisfs import logs
from aisfs.assembly import build
from aisfs.cache.pages import PageCache
from aisfs.cache.room import CacheRoom
from aisfs.config import (
    BucketName,
    CacheConfig,
    Config,
    MountConfig,
    ReadaheadConfig,
    Source,
    StagingConfig,
    StoreConfig,
)
from aisfs.control.files import Caller
from aisfs.errors import NotFound, Replaced
from aisfs.running import RunningConfig
from aisfs.staging.state import StateDirectory
from aisfs.store.aistore import connect
from aisfs.vfs.attributes import Kind
from aisfs.vfs.filesystem import Change, Filesystem
from aisfs.vfs.nodes import ROOT, DirectoryNode, FileNode, Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisfs.vfs.handles import Fh

ME = Caller(os.getuid(), os.getgid())
STEP = 64 << 10
"""Bytes of one request when a whole file is read."""


class Shell:
    """What a program does through a `Filesystem`.

    Attributes:
        fs: for what has no shortcut here.
    """

    def __init__(self, fs: Filesystem) -> None:
        self.fs = fs

    # -- names

    async def node(self, path: str) -> Node:
        """Return the node of a path, by one look-up for each component."""
        node = self.fs.node(ROOT)
        for component in path.split("/"):
            if component:
                node = await self.fs.lookup(node.ino, os.fsencode(component))
        return node

    async def file(self, path: str) -> FileNode:
        """Return the node of a file."""
        node = await self.node(path)
        assert isinstance(node, FileNode)
        return node

    async def directory(self, path: str) -> DirectoryNode:
        """Return the node of a directory."""
        node = await self.node(path)
        assert isinstance(node, DirectoryNode)
        return node

    async def exists(self, path: str) -> bool:
        """Tell whether a path leads anywhere."""
        try:
            await self.node(path)
        except NotFound:
            return False
        return True

    async def place(self, path: str) -> tuple[int, bytes]:
        """Return the inode of a path's directory, and its last component."""
        head, _, tail = path.rpartition("/")
        return (await self.node(head)).ino, os.fsencode(tail)

    async def names(self, path: str = "") -> list[str]:
        """Return the names in a directory, in the order in which they come."""
        return [name for name, _ in await self.entries(path)]

    async def entries(self, path: str = "") -> list[tuple[str, Node]]:
        """Read a directory as READDIRPLUS does."""
        fh = await self.fs.opendir((await self.node(path)).ino)
        found = []
        position, before = 0, -1
        while position != before:
            before = position
            for name, node, following in await self.fs.readdir(fh, position):
                assert not isinstance(node, Kind)  # this caller takes no name without attributes
                self.fs.accept(node)
                found.append((os.fsdecode(name), node))
                position = following
        self.fs.releasedir(fh)
        return found

    async def mkdir(self, path: str, mode: int = 0o755) -> Node:
        """mkdir(2)."""
        parent, name = await self.place(path)
        return await self.fs.mkdir(parent, name, mode, ME)

    async def rmdir(self, path: str) -> None:
        """rmdir(2)."""
        await self.fs.rmdir(*await self.place(path))

    async def unlink(self, path: str) -> None:
        """unlink(2)."""
        await self.fs.unlink(*await self.place(path))

    async def rename(self, old: str, new: str, flags: int = 0) -> None:
        """renameat2(2)."""
        await self.fs.rename(*await self.place(old), *await self.place(new), flags)

    async def symlink(self, target: bytes, path: str) -> Node:
        """symlink(2)."""
        parent, name = await self.place(path)
        return await self.fs.symlink(parent, name, target, ME)

    async def chmod(self, path: str, mode: int) -> None:
        """chmod(2)."""
        await self.fs.setattr((await self.node(path)).ino, Change(mode=mode), None)

    async def truncate(self, path: str, size: int) -> None:
        """truncate(2)."""
        await self.fs.setattr((await self.node(path)).ino, Change(size=size), None)

    # -- files

    async def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> Fh:
        """open(2), with O_CREAT as the kernel does it: look up, then CREATE or OPEN, once again."""
        try:
            return await self._open(path, flags, mode)
        except Replaced:
            return await self._open(path, flags, mode)

    async def _open(self, path: str, flags: int, mode: int) -> Fh:
        parent, name = await self.place(path)
        try:
            node = await self.fs.lookup(parent, name)
        except NotFound:
            if not flags & os.O_CREAT:
                raise
            fh, _ = await self.fs.create(parent, name, mode, flags, ME)
            return fh
        if flags & os.O_CREAT and flags & os.O_EXCL:
            fh, _ = await self.fs.create(parent, name, mode, flags, ME)
            return fh
        fh, _ = await self.fs.open(node.ino, flags)
        return fh

    async def close(self, fh: Fh) -> None:
        """close(2): the handle goes even if storing fails."""
        try:
            await self.fs.flush(fh)
        finally:
            await self.fs.release(fh)

    async def write(self, path: str, data: bytes, offset: int = 0) -> None:
        """Write into a file at an offset, making the file if there is none."""
        fh = await self.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            await self.fs.write(fh, offset, data)
        except BaseException:
            await self.fs.release(fh)
            raise
        await self.close(fh)

    async def replace(self, path: str, data: bytes) -> None:
        """Give a file a content, as `>` does."""
        fh = await self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        await self.fs.write(fh, 0, data)
        await self.close(fh)

    async def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file, as `>>` does."""
        fh = await self.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        await self.fs.write(fh, 0, data)
        await self.close(fh)

    async def read(self, path: str) -> bytes:
        """Return the whole content of a file."""
        fh = await self.open(path)
        try:
            return await self.read_open(fh)
        finally:
            await self.close(fh)

    async def read_open(self, fh: Fh, offset: int = 0) -> bytes:
        """Return everything from an offset on."""
        parts = []
        while part := await self.pread(fh, offset, STEP):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    async def pread(self, fh: Fh, offset: int, size: int) -> bytes:
        """pread(2): from memory where that is possible, as the kernel binding does."""
        data = self.fs.read_now(fh, offset, size) or await self.fs.read(fh, offset, size)
        return bytes(data)

    async def kind(self, path: str) -> Kind:
        """Return what a path leads to."""
        return (await self.node(path)).attributes.kind


@asynccontextmanager
async def filesystem(
    endpoint: str,
    source: BucketName | Source,
    state: Path,
    *,
    ttl_s: float = 1.0,
    mount: MountConfig | None = None,
    store: StoreConfig | None = None,
    memory: int = 16 << 20,
    quota: int = 64 << 20,
    stream_after: int = 8 << 20,
    write_back: bool = False,
) -> AsyncIterator[Shell]:
    """Run a filesystem on a bucket; what is dirty at the end of the block is stored.

    Args:
        endpoint: URL of the gateway.
        source: what would be mounted.
        state: directory for staged files.
        ttl_s: of attributes, absences and listings.
        mount: everything else about the mount.
        store: connection with other limits.
        memory: bytes of the page cache.
        quota: bytes of staging.
        stream_after: bytes after which a file is sent while it is written.
        write_back: whether a close returns before the cluster has the content.
    """
    mount = mount or MountConfig(attribute_ttl_s=ttl_s, negative_ttl_s=ttl_s, listing_ttl_s=ttl_s)
    config = Config(
        source=source if isinstance(source, Source) else Source(source),
        mountpoint=Path("/nowhere"),
        store=store or StoreConfig(endpoint=endpoint),
        cache=CacheConfig(memory),
        readahead=ReadaheadConfig(4 << 20),
        staging=StagingConfig(
            str(state), quota, stream_after, write_back=write_back, drain_timeout_s=20.0
        ),
        mount=mount,
    )
    cluster = connect(config.store)
    directory = StateDirectory(state)
    try:
        async with trio.open_nursery() as nursery:
            room = CacheRoom(cluster, PageCache(memory), nursery)
            fs = await build(
                RunningConfig(config), room, directory, Filesystem, lambda _: None, logs.Recent()
            )
            yield Shell(fs)
            await fs.drain()
            nursery.cancel_scope.cancel()
    finally:
        directory.close()
        await cluster.close()
