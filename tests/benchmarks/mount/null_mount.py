"""A mount with nothing behind it: `python -m tests.benchmarks.mount.null_mount DIRECTORY SETS`.

Shows the files of `sets.FileSet`s (SETS: a JSON file), all zeros, from structures made before the
start: what pyfuse3, our request loop and the kernel cost by themselves. Mounted, tuned and served
by the same `Session` as the real mount. Prints `ready` when the kernel has initialised the mount.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pyfuse3
import trio

from aisfs.fuse import request_loop
from aisfs.fuse.attributes import DIRECTORY_IO_SIZE, IO_SIZE
from aisfs.fuse.session import Session
from tests.benchmarks.mount.sets import FileSet

LIFETIME_S = 300.0
ZEROS = memoryview(mmap.mmap(-1, IO_SIZE))


class Tree(pyfuse3.Operations):
    """A tree of files that is complete before it is shown."""

    enable_writeback_cache = False

    def __init__(self, sets: list[FileSet]) -> None:
        super().__init__()
        self.initialised = trio.Event()
        self._entries: dict[int, pyfuse3.EntryAttributes] = {}
        self._children: dict[int, dict[bytes, int]] = {}
        self._listed: dict[int, list[tuple[bytes, pyfuse3.EntryAttributes]]] = {}
        self._add_directory(pyfuse3.ROOT_INODE)
        for files in sets:
            for name in files.names():
                self._add(name, files.size)
        for ino, children in self._children.items():
            self._listed[ino] = [(name, self._entries[child]) for name, child in children.items()]

    def _add(self, name: str, size: int) -> None:
        *directories, last = name.encode().split(b"/")
        at = pyfuse3.ROOT_INODE
        for directory in directories:
            if directory not in self._children[at]:
                ino = self._children[at][directory] = len(self._entries) + 1
                self._add_directory(ino)
            at = self._children[at][directory]
        ino = self._children[at][last] = len(self._entries) + 1
        self._entries[ino] = self._entry(ino, stat.S_IFREG | 0o644, size, IO_SIZE)

    def _add_directory(self, ino: int) -> None:
        self._children[ino] = {}
        self._entries[ino] = self._entry(ino, stat.S_IFDIR | 0o755, 0, DIRECTORY_IO_SIZE)

    def _entry(self, ino: int, mode: int, size: int, block: int) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino, entry.st_mode, entry.st_size, entry.st_blksize = ino, mode, size, block
        entry.st_nlink = 1
        entry.st_blocks = -(-size // 512)
        entry.st_uid, entry.st_gid = os.getuid(), os.getgid()
        entry.entry_timeout = entry.attr_timeout = LIFETIME_S
        return entry

    def init(self) -> None:
        self.initialised.set()
        print("ready", flush=True)

    async def lookup(self, parent: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        try:
            return self._entries[self._children[parent][name]]
        except KeyError:
            raise pyfuse3.FUSEError(errno.ENOENT) from None

    async def forget(self, inodes: Any) -> None: ...

    async def getattr(self, ino: int, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._entries[ino]

    async def opendir(self, ino: int, ctx: Any) -> int:
        return ino

    async def readdir(self, fh: int, start: int, token: Any) -> None:
        listed = self._listed[fh]
        for position in range(start, len(listed)):
            name, entry = listed[position]
            if not pyfuse3.readdir_reply(token, name, entry, position + 1):
                return

    async def releasedir(self, fh: int) -> None: ...

    async def open(self, ino: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=ino, keep_cache=True)

    async def read(self, fh: int, offset: int, size: int) -> bytes:
        left = self._entries[fh].st_size - offset
        return ZEROS[: max(0, min(size, left))]  # type: ignore[return-value]  # no copy

    async def flush(self, fh: int) -> None: ...

    async def release(self, fh: int) -> None: ...


def main() -> None:
    """Mount, and serve until the directory is unmounted."""
    directory, sets = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    instruments = request_loop.install()
    operations = Tree([FileSet(**one) for one in sets])
    options = {"fsname=null", "subtype=null", "default_permissions", "ro"}
    session = Session(operations, directory, options)  # type: ignore[arg-type]

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.tune)
            await session.serve()

    try:
        trio.run(serve, instruments=instruments)
    finally:
        session.close()


if __name__ == "__main__":
    main()
