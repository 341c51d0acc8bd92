"""B1, B2, B3, B5, B13, B18: large objects."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tests.benchmarks.mount import curl, readers
from tests.benchmarks.mount.figures import (
    MB_S,
    MS,
    MS_P99,
    Figure,
    at_least,
    at_most,
    limit,
    per_second,
)
from tests.benchmarks.mount.readers import Readings
from tests.benchmarks.mount.sets import FileSet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.mount.bench import Bench
    from tests.benchmarks.mount.figures import Run

KIB, MIB = 1 << 10, 1 << 20


def large(bench: Bench) -> FileSet:
    """The one large object."""
    return FileSet("large", 1, bench.size(1024, 32) * MIB)


def quarters(bench: Bench) -> FileSet:
    """Four objects that together are as large as the large one."""
    return FileSet("quarters", 4, bench.size(256, 8) * MIB)


def stream(paths: list[Path], size: int, *, direct: bool = False) -> Readings:
    """Read files to their end, each by a reader of its own."""
    return readers.read(*(["stream", str(path), MIB, direct, 0, size] for path in paths))


def b1(bench: Bench) -> Iterator[Figure]:
    """Sequential: one reader, one with O_DIRECT, four."""
    big, four = large(bench), quarters(bench)
    for title, files, direct, goal in (
        ("one reader, buffered", big, False, 0.6),
        ("one reader, O_DIRECT, reads of 1 MiB", big, True, 0.9),
        ("4 readers of 4 objects, buffered", four, False, 0.6),
    ):
        names = files.names()

        def work(
            path: Path, files: FileSet = files, direct: bool = direct, names: list[str] = names
        ) -> Readings:
            return stream([path / name for name in names], files.size, direct=direct)

        def by_curl(files: FileSet = files, names: list[str] = names) -> Readings:
            return curl.whole([bench.place.url(name) for name in names], files.size)

        yield bench.compare(
            Figure("B1", f"{files.bytes // MIB} MiB, {title}", MB_S, (at_least(goal, "curl"),)),
            [files],
            work,
            fetched=files.bytes,
            references={"curl": by_curl},
        )


def b2(bench: Bench) -> Iterator[Figure]:
    """Random reads: few large ones, many small ones, one reader and four."""
    files = large(bench)
    (name,) = files.names()

    def wire(run: Run) -> float | None:
        return None if run.wire is None else run.wire / run.bytes

    goals = (
        *(at_least(2, peer.name) for peer in bench.peers),
        limit("bytes on the wire / bytes asked", wire, 1.5),
    )
    for size, count, at_once in (
        (4 * KIB, bench.size(4000, 100), 1),
        (4 * KIB, bench.size(4000, 100), 4),
        (256 * KIB, bench.size(1000, 20), 1),
    ):
        each = count // at_once

        def work(
            path: Path, size: int = size, each: int = each, at_once: int = at_once
        ) -> Readings:
            return readers.read(
                *(["random", str(path / name), size, each, seed] for seed in range(at_once))
            )

        def by_curl(size: int = size, count: int = count, at_once: int = at_once) -> Readings:
            places = random.Random(readers.SEED).sample(range(0, files.size - size, size), count)
            urls = [bench.place.url(name)] * count
            return curl.listed(urls, size, ranges=places, at_once=at_once)

        yield bench.compare(
            Figure(
                "B2",
                f"random {size // KIB} KiB, {at_once} reader{'s' if at_once > 1 else ''}",
                per_second("reads"),
                goals,
            ),
            [files],
            work,
            fetched=size * each * at_once,
            references={"curl": by_curl},
        )


def b3(bench: Bench) -> Iterator[Figure]:
    """Read long parts with gaps between them."""
    files = large(bench)
    (name,) = files.names()
    part, gap = bench.size(256, 8) * MIB, 17 * MIB
    starts = range(0, files.size, part + gap)
    lengths = [min(part, files.size - start) for start in starts]

    def by_curl() -> Readings:
        urls = [bench.place.url(name)] * len(lengths)
        total = Readings(0, len(urls), sum(lengths))
        for url, start, length in zip(urls, starts, lengths, strict=True):
            total.seconds += curl.listed([url], length, ranges=[start]).seconds
        return total

    def without_gaps(path: Path) -> Readings:
        return stream([path / name], files.size)

    figure = Figure(
        "B3",
        f"read {part // MIB} MiB, skip {gap // MIB} MiB, repeat",
        MB_S,
        (at_least(0.8, "B1"),),
    )
    for _ in range(bench.rounds):  # B1 in the same round, for the ratio
        once = bench.compare(
            Figure("B1", "", MB_S), [files], without_gaps, contestants=[bench.ours], rounds=1
        )
        figure.add("B1", once.runs[bench.ours.name][0])
        bench.compare(
            figure,
            [files],
            lambda path: readers.read(["skip", str(path / name), MIB, part, gap]),
            fetched=sum(lengths),
            references={"curl": by_curl},
            rounds=1,
        )
    yield figure


def b5(bench: Bench) -> Iterator[Figure]:
    """The first byte."""
    files = large(bench)
    (name,) = files.names()

    def first(path: Path) -> Readings:
        found = readers.read(["first", str(path / name)])
        found.seconds = found.ns[0] / 1e9  # opening and reading, not the reader's own start
        return found

    yield bench.compare(
        Figure("B5", f"first byte of {files.size // MIB} MiB", MS, (at_most(1.5, "curl"),)),
        [files],
        first,
        fetched=1,
        references={"curl": lambda: curl.first_byte(bench.place.url(name))},
        before=lambda path: (path / name).stat(),
    )


def b13(bench: Bench) -> Iterator[Figure]:
    """Many readers at once."""
    count = bench.size(64, 8)
    files = FileSet("many-large", count, bench.size(16, 1) * MIB)
    names = files.names()
    cap = 256 + 64

    yield bench.compare(
        Figure(
            "B13",
            f"{count} readers of {files.size // MIB} MiB",
            MB_S,
            (limit("MiB of memory (PSS)", lambda run: run.pss / MIB, cap),),
        ),
        [files],
        lambda path: stream([path / name for name in names], files.size),
        fetched=files.bytes,
        references={"curl": lambda: curl.whole([bench.place.url(n) for n in names], files.size)},
    )


def b18(bench: Bench) -> Iterator[Figure]:
    """Small requests while four readers stream."""
    four = quarters(bench)
    small = FileSet("probed", bench.size(300, 30), 4 * KIB)
    paths = small.names()
    for verb, title, most in (("stat", "stat", 5), ("head", "open and read 4 KiB", 20)):

        def work(path: Path, verb: str = verb) -> Readings:
            with readers.streaming([path / name for name in four.names()]):
                time.sleep(bench.size(1000, 200) / 1e3)  # until all four are at full speed
                return readers.read([verb, [str(path / name) for name in paths], 0.01])

        yield bench.compare(
            Figure(
                "B18",
                f"{title} of unknown files while 4 readers stream",
                MS_P99,
                (limit("p99 ms", lambda run: run.p99 * 1e3, most),),
            ),
            [four, small],
            work,
        )
