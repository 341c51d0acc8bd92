"""What a mount takes of memory: its cache and 64 MiB, whatever is read, and by how many.

`./run long memory` reads 64 files of 16 MiB and 10,000 small ones, the sample an eighth of it.
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.benchmarks.mount import measure
from tests.support.blocks import BLOCK, body, origins, read_fully
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.fuse

MIB = 1 << 20
BESIDES = 64 * MIB
"""What the daemon may take beside its cache: program, threads, requests under way, names."""

READERS = 64
SMALL = 4096
STEP = MIB
SAMPLE_S = 0.1


class Files:
    """Large and small objects in a bucket `b`, each unlike the others."""

    def __init__(self, endpoint: str, large_size: int, small_count: int) -> None:
        self.large_size = large_size
        self.small_count = small_count
        bucket = Client(endpoint).bucket("b").create()
        with ThreadPoolExecutor(4) as pool:
            for numbers, name, content in (
                (range(READERS), self.large_name, self.large),
                (range(small_count), self.small_name, self.small),
            ):
                list(pool.map(lambda n: bucket.object(name(n)).put_content(content(n)), numbers))  # noqa: B023

    def large_name(self, number: int) -> str:
        return f"large/{number}"

    def small_name(self, number: int) -> str:
        return f"small/{number:05}"

    def large(self, number: int) -> bytes:
        return body("large", number, self.large_size)

    def small(self, number: int) -> bytes:
        return body("small", number, SMALL)


@pytest.fixture(scope="module")
def files(request: pytest.FixtureRequest) -> Iterator[tuple[StoreProcess, Files]]:
    full = request.config.getoption("--long")
    with StoreProcess() as store:
        yield store, Files(store.endpoint, *((16 * MIB, 10_000) if full else (2 * MIB, 1250)))


def stream(files: Files, path: Path, number: int) -> None:
    """Read a large file from start to end."""
    content = files.large(number)
    fd = os.open(path / files.large_name(number), os.O_RDONLY)
    try:
        for offset in range(0, files.large_size, STEP):
            compare(read_fully(fd, STEP, offset), content[offset : offset + STEP])
    finally:
        os.close(fd)


def scatter(files: Files, path: Path, number: int) -> None:
    """Read pieces of a large file in no order."""
    content, dice = files.large(number), random.Random(number)
    fd = os.open(path / files.large_name(number), os.O_RDONLY)
    try:
        for _ in range(files.large_size // MIB * 16):
            offset = dice.randrange(files.large_size // BLOCK) * BLOCK
            compare(read_fully(fd, BLOCK, offset), content[offset : offset + BLOCK])
    finally:
        os.close(fd)


def small_ones(files: Files, path: Path, number: int) -> None:
    """Read this reader's part of the small files."""
    for index in range(number, files.small_count, READERS):
        compare((path / files.small_name(index)).read_bytes(), files.small(index))


def compare(found: bytes, right: bytes) -> None:
    assert found == right, f"{origins(found)}, not {origins(right)}"


@pytest.mark.long
@pytest.mark.parametrize("cap", [256, 8])
@pytest.mark.parametrize("work", [stream, scatter, small_ones])
def test_memory_stays_within_the_cache_and_64_mib(
    files: tuple[StoreProcess, Files],
    work: Callable[[Files, Path, int], None],
    cap: int,
    tally: Callable[[str, int], None],
) -> None:
    store, read = files
    with (
        Mount(store.endpoint, "ais://b", options=[f"cache-memory={cap}MiB", "log-level=info"]) as m,
        ThreadPoolExecutor(READERS) as pool,
        measure.PeakMemory(m.daemon_pid, SAMPLE_S) as memory,
    ):
        os.listdir(m.path / "small")  # noqa: PTH208 - what makes fetching ahead possible
        list(pool.map(lambda number: work(read, m.path, number), range(READERS)))
    tally("MiB before", memory.before // MIB)
    tally("MiB at most", memory.peak // MIB)
    assert memory.peak <= cap * MIB + BESIDES
