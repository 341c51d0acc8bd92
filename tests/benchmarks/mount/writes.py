"""B7, B8, B9, B10: what is written, renamed and appended to.

Of the peers rclone takes part, without its cache of writes: close returns when they are stored. The
S3 side of AIS 5.0 has to have the feature S3-Reverse-Proxy: rclone 1.60 does not send a small body
again where it is redirected. s3fs 1.90 gets EIO for what it writes, also with it.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.mount import curl, readers
from tests.benchmarks.mount.figures import MB_S, MS, Figure, at_least, at_most, limit, per_second
from tests.benchmarks.mount.readers import Readings
from tests.benchmarks.mount.sets import FileSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.mount.bench import Bench
    from tests.benchmarks.mount.figures import Run

KIB, MIB = 1 << 10, 1 << 20
AT_ONCE = 16


def b7(bench: Bench) -> Iterator[Figure]:
    """Write one large file, to the end of its fsync."""
    size = bench.size(1024, 32) * MIB
    name = "written-large"

    def gone(_: Path | None = None) -> None:
        if name in {entry.name for entry in bench.place.bucket.list_all_objects(prefix=name)}:
            bench.place.bucket.object(name).delete()
        os.sync()  # nobody is to wait for the disk because of what others wrote

    with tempfile.NamedTemporaryFile() as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
        file.flush()

        def by_curl() -> Readings:
            gone()
            return curl.stored([bench.place.put_url(name)], Path(file.name))

        yield bench.compare(
            Figure(
                "B7",
                f"write {size // MIB} MiB in order, fsync",
                MB_S,
                (at_least(2, "rclone"), at_least(0.7, "curl -T")),
            ),
            [],
            lambda path: readers.read(["write", str(path / name), MIB, size]),
            references={"curl -T": by_curl},
            contestants=bench.writers,
            before=gone,
        )
    gone()


def b8(bench: Bench) -> Iterator[Figure]:
    """Create small files in one directory."""
    count, size = bench.size(2000, 40), 4 * KIB
    runs = itertools.count()
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(size))
        file.flush()
        fresh: list[Path] = []

        def make(path: Path) -> None:
            fresh[:] = [path / f"created-{next(runs)}"]
            fresh[0].mkdir()

        for writers in (1, 8):

            def work(_: Path, writers: int = writers) -> Readings:
                names = FileSet(str(fresh[0]), count, size).names()
                return readers.read(*(["create", names[n::writers], size] for n in range(writers)))

            def by_curl(writers: int = writers) -> Readings:
                names = FileSet(f"created-{next(runs)}", count, size).names()
                urls = [bench.place.put_url(name) for name in names]
                return curl.stored(urls, Path(file.name), at_once=writers)

            yield bench.compare(
                Figure(
                    "B8",
                    f"{count:,} x {size // KIB} KiB created, {writers} writer"
                    f"{'s' if writers > 1 else ''}",
                    per_second("files"),
                    (at_least({1: 3, 8: 4}[writers], "rclone"),),
                ),
                [],
                work,
                references={"curl -T": by_curl},
                contestants=bench.writers,
                before=make,
            )


def b9(bench: Bench) -> Iterator[Figure]:
    """Rename a directory."""
    count, size = bench.size(500, 20), 64 * KIB
    runs = itertools.count()
    files = FileSet("", 0, 0)

    def fill(_: Path | None = None) -> None:
        nonlocal files
        files = FileSet(f"renamed-{next(runs)}", count, size)
        bench.place.fill(files)

    def work(path: Path) -> Readings:
        old = path / files.prefix
        found = readers.read(["rename", str(old), f"{old}-new"])
        left, moved = (
            len(bench.place.bucket.list_all_objects(f"{prefix}/"))
            for prefix in (files.prefix, f"{files.prefix}-new")
        )
        if left or moved < count:
            raise RuntimeError(f"{path}: a rename that succeeded moved {moved} files, left {left}")
        return Readings(found.ns[0] / 1e9, count, cpu=found.cpu)

    def by_sdk() -> Readings:
        fill()
        bucket = bench.place.far_client.bucket(bench.place.bucket.name)

        def move(name: str) -> None:
            bucket.object(name).copy(bucket.object(f"new/{name}"))
            bucket.object(name).delete()

        start = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(move, files.names()))
        return Readings(time.perf_counter() - start, count)

    def by_curl() -> Readings:
        fill()
        names = files.names()
        copies = [bench.place.copy_url(name, f"new/{name}") for name in names]
        copied = curl.listed(copies, 0, at_once=AT_ONCE, lines=['request = "PUT"'])
        old = [bench.place.put_url(name) for name in names]
        deleted = curl.listed(old, 0, at_once=AT_ONCE, lines=['request = "DELETE"'])
        return Readings(copied.seconds + deleted.seconds, count)

    yield bench.compare(
        Figure(
            "B9",
            f"rename a directory of {count} x {size // KIB} KiB",
            per_second("files"),
            (at_least(3, "rclone"),),
        ),
        [],
        work,
        references={
            f"SDK copy, delete x{AT_ONCE}": by_sdk,
            f"curl copy, delete x{AT_ONCE}": by_curl,
        },
        contestants=bench.writers,
        before=fill,
    )


def b10(bench: Bench) -> Iterator[Figure]:
    """Append a little to a large object."""
    files = FileSet("appended", 1, bench.size(1024, 32) * MIB)
    (name,) = files.names()
    size = KIB

    def work(path: Path) -> Readings:
        found = readers.read(["append", str(path / name), size])
        return Readings(found.ns[0] / 1e9, 1, size, cpu=found.cpu)

    def by_sdk() -> Readings:
        bucket = bench.place.far_client.bucket(bench.place.bucket.name)
        start = time.perf_counter()
        bucket.object(name).get_writer().append_content(os.urandom(size), flush=True)
        return Readings(time.perf_counter() - start, 1, size)

    yield bench.compare(
        Figure(
            "B10",
            f"append {size // KIB} KiB to {files.size // MIB} MiB",
            MS,
            (at_most(1.2, "SDK append"), limit("KiB on the wire, both ways", wire_kib, 64)),
        ),
        [files],
        work,
        references={"SDK append": by_sdk},
        contestants=[bench.ours],
    )


def wire_kib(run: Run) -> float | None:
    """Return what went either way, in KiB."""
    return None if run.wire is None or run.sent is None else (run.wire + run.sent) / KIB
