"""One process that reads or writes, as cheap as Python allows: `python -I -S reader.py`.

Prints `ready`, takes one line of JSON, does that, prints one line of JSON. Reads go into one buffer
made before, by one system call each, so that a read costs little besides the kernel and the mount:
0.4 µs of loop and clock, against 15 µs of the cheapest FUSE request.

Works, as `[verb, argument…]`:
    ["stream", path, size, direct, offset, length]   read on and on in reads of `size`
    ["skip", path, size, length, gap]                read `length`, skip `gap`, to the end
    ["random", path, size, count, seed]              `count` reads at random multiples of 4 KiB
    ["cat", [path…]]                                 open, read to the end, close each
    ["first", path]                                  open, read the first byte
    ["loop", path]                                   stream over and over until killed
    ["stat", [path…], pause_s]                       stat each, with pauses
    ["head", [path…], pause_s]                       open, read 4 KiB, close each, with pauses
    ["write", path, size, length]                    make a file in writes of `size`, fsync it
    ["create", [path…], size]                        create, write `size` at once, close each
    ["append", path, size]                           open, append `size` at once, close
    ["rename", old, new]                             rename

Answer: `end` (CLOCK_MONOTONIC, seconds), `cpu` (seconds of this process for the work), `bytes` and
`ns`, the duration of each operation: a read, or a file.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import sys
import time

MIB = 1 << 20


class Reader:
    """Counts bytes and times operations."""

    def __init__(self) -> None:
        self.bytes = 0
        self.ns: list[int] = []

    def _read(self, fd: int, buffer: memoryview, offset: int) -> int:
        start = time.perf_counter_ns()
        count = os.preadv(fd, [buffer], offset)
        self.ns.append(time.perf_counter_ns() - start)
        self.bytes += count
        return count

    def stream(self, path: str, size: int, direct: bool, offset: int, length: int) -> None:
        """Read a part of a file in order."""
        fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
        buffer = memoryview(mmap.mmap(-1, size))  # page-aligned, as O_DIRECT needs it
        end = offset + length
        while offset < end:
            count = self._read(fd, buffer, offset)
            if not count:
                raise SystemExit(f"{path} ends at {offset}, not at {end}")
            offset += count
        os.close(fd)

    def skip(self, path: str, size: int, length: int, gap: int) -> None:
        """Read parts of a file in order."""
        end = os.stat(path).st_size  # noqa: PTH116 - as cheap as can be
        for offset in range(0, end, length + gap):
            self.stream(path, size, False, offset, min(length, end - offset))

    def random(self, path: str, size: int, count: int, seed: int) -> None:
        """Read at random places, none of them twice."""
        fd = os.open(path, os.O_RDONLY)
        buffer = memoryview(mmap.mmap(-1, size))
        places = range(0, os.fstat(fd).st_size - size, max(size, 4096))
        for offset in random.Random(seed).sample(places, min(count, len(places))):
            self._read(fd, buffer, offset)
        os.close(fd)

    def cat(self, paths: list[str]) -> None:
        """Read whole files."""
        buffers = [memoryview(mmap.mmap(-1, MIB))]
        clock, total = time.perf_counter_ns, 0
        for path in paths:
            start = clock()
            fd = os.open(path, os.O_RDONLY)
            while True:
                count = os.readv(fd, buffers)
                total += count
                if count < MIB:
                    break
            os.close(fd)
            self.ns.append(clock() - start)
        self.bytes += total

    def first(self, path: str) -> None:
        """Read one byte; closing does not count."""
        buffer = memoryview(mmap.mmap(-1, 1))
        start = time.perf_counter_ns()
        fd = os.open(path, os.O_RDONLY)
        self.bytes += os.preadv(fd, [buffer], 0)
        self.ns.append(time.perf_counter_ns() - start)
        os.close(fd)

    def loop(self, path: str) -> None:
        """Stream for ever, each time anew from the store: O_DIRECT leaves the page cache empty."""
        while True:
            self.stream(path, MIB, True, 0, os.stat(path).st_size)  # noqa: PTH116 - as cheap as can be
            self.ns.clear()

    def stat(self, paths: list[str], pause: float) -> None:
        """Look files up."""
        for path in paths:
            start = time.perf_counter_ns()
            os.stat(path)  # noqa: PTH116 - as cheap as can be
            self.ns.append(time.perf_counter_ns() - start)
            time.sleep(pause)

    def head(self, paths: list[str], pause: float) -> None:
        """Read the start of files."""
        buffer = memoryview(mmap.mmap(-1, 4096))
        for path in paths:
            start = time.perf_counter_ns()
            fd = os.open(path, os.O_RDONLY)
            self.bytes += os.preadv(fd, [buffer], 0)
            os.close(fd)
            self.ns.append(time.perf_counter_ns() - start)
            time.sleep(pause)

    def write(self, path: str, size: int, length: int) -> None:
        """Write a file in order, until it is stored: the last operation is fsync and close."""
        clock = time.perf_counter_ns
        data = os.urandom(size)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        while self.bytes < length:
            start = clock()
            self.bytes += os.write(fd, data)
            self.ns.append(clock() - start)
        start = clock()
        os.fsync(fd)
        os.close(fd)  # some peers store it here
        self.ns.append(clock() - start)

    def create(self, paths: list[str], size: int) -> None:
        """Make small files."""
        clock = time.perf_counter_ns
        data = os.urandom(size)
        for path in paths:
            start = clock()
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            self.bytes += os.write(fd, data)
            os.close(fd)
            self.ns.append(clock() - start)

    def append(self, path: str, size: int) -> None:
        """Append to a file."""
        data = os.urandom(size)
        start = time.perf_counter_ns()
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.bytes += os.write(fd, data)
        os.close(fd)
        self.ns.append(time.perf_counter_ns() - start)

    def rename(self, old: str, new: str) -> None:
        """Rename a file or directory."""
        start = time.perf_counter_ns()
        os.rename(old, new)  # noqa: PTH104 - as cheap as can be
        self.ns.append(time.perf_counter_ns() - start)


def main() -> None:
    """Do one piece of work."""
    print("ready", flush=True)
    verb, *arguments = json.loads(sys.stdin.readline())
    reader = Reader()
    before = time.process_time()
    getattr(reader, verb)(*arguments)
    end, cpu = time.perf_counter(), time.process_time() - before
    print(json.dumps({"end": end, "cpu": cpu, "bytes": reader.bytes, "ns": reader.ns}))


if __name__ == "__main__":
    main()
