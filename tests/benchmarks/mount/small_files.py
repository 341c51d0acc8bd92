"""B4: many small files."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.benchmarks.mount import curl, readers
from tests.benchmarks.mount.figures import Figure, at_least, limit, per_second
from tests.benchmarks.mount.sets import FileSet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.mount.bench import Bench
    from tests.benchmarks.mount.figures import Run
    from tests.benchmarks.mount.readers import Readings

KIB = 1 << 10
BATCH = 1024
IN_FLIGHT = 32


def b4(bench: Bench) -> Iterator[Figure]:
    """Read whole directories of small files."""

    def cost(run: Run) -> float:
        return (run.daemon_cpu + run.reader_cpu) / run.operations * 1e6

    for size in (4 * KIB, 64 * KIB):
        files = FileSet(f"small-{size // KIB}k", bench.size(10_000, 100), size)
        urls = [bench.place.url(name) for name in files.names()]
        for shuffled in (False, True):
            for count in (1, 4, 8):

                def work(
                    path: Path,
                    files: FileSet = files,
                    count: int = count,
                    shuffled: bool = shuffled,
                ) -> Readings:
                    return readers.cat(path / files.prefix, count, shuffled=shuffled)

                def by_curl(files: FileSet = files, urls: list[str] = urls) -> Readings:
                    lines = bench.place.curl
                    return curl.listed(urls, files.size, at_once=IN_FLIGHT, lines=lines)

                def by_batch(files: FileSet = files) -> Readings:
                    return batches(bench, files)

                order = "shuffled" if shuffled else "listing order"
                goals = () if shuffled else (at_least(0.3, "null"),)
                yield bench.compare(
                    Figure(
                        "B4",
                        f"{files.count:,} x {size // KIB} KiB, {count} reader"
                        f"{'s' if count > 1 else ''}, {order}",
                        per_second("files"),
                        (*goals, limit("us of CPU per file", cost, 250)),
                    ),
                    [files],
                    work,
                    fetched=files.bytes,
                    references={f"curl x{IN_FLIGHT}": by_curl, "SDK batches": by_batch},
                )


def batches(bench: Bench, files: FileSet) -> Readings:
    """Read a set by the SDK's batches, one after the other: what one stream of them gives."""
    names = files.names()
    client = bench.place.far_client
    bucket = client.bucket(bench.place.bucket.name)
    start, cpu = time.perf_counter(), os.times()
    found = 0
    for at in range(0, len(names), BATCH):
        batch = client.batch(names[at : at + BATCH], bucket=bucket)
        found += sum(len(data) for _, data in batch.get())
    end = os.times()
    if found != files.bytes:
        raise RuntimeError(f"the batches had {found} bytes, not {files.bytes}")
    spent = end.user - cpu.user + end.system - cpu.system
    return readers.Readings(time.perf_counter() - start, len(names), found, cpu=spent)
