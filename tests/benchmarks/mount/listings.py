"""B6, B6t, B6m: names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.benchmarks.mount import readers
from tests.benchmarks.mount.figures import OURS, SECONDS, Figure, at_most, limit
from tests.benchmarks.mount.sets import FileSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.benchmarks.mount.bench import Bench
    from tests.benchmarks.mount.figures import Goal, Run
    from tests.benchmarks.mount.readers import Readings

MIB = 1 << 20
PROPS = "name,size,version,checksum,custom"
"""What a mount asks for, too."""


def requests(kind: str) -> Callable[[Run], float]:
    """Return how many requests of a kind a run sent."""
    return lambda run: float(run.requests.get(kind, 0))


def native(bench: Bench, files: FileSet) -> Readings:
    """List a set by the SDK, flat."""
    start = time.perf_counter()
    bucket = bench.place.far_client.bucket(bench.place.bucket.name)
    found = bucket.list_all_objects(prefix=f"{files.prefix}/", props=PROPS)
    if len(found) != files.count:
        raise RuntimeError(f"the listing has {len(found)} names, not {files.count}")
    return readers.Readings(time.perf_counter() - start, files.count)


def named(bench: Bench, row: str, title: str, files: FileSet, words: list[str]) -> Figure:
    """Run a command that names files on everybody's mount of a set."""
    goals: tuple[Goal, ...] = ()
    if row == "B6t":
        goals = (at_most(2, "SDK listing"), limit("list requests", requests("LIST"), 30))
    elif files.count >= 100_000 and words[:2] == ["ls", "-l"]:
        goals = (
            at_most(2.5, "null"),
            limit("list requests", requests("LIST"), 12),
            limit("HEAD requests", requests("HEAD"), 0),
        )
    return bench.compare(
        Figure(row, f"{title} of {files.count:,} names", SECONDS, goals),
        [files],
        lambda path: readers.command([*words, path / files.prefix], files.count),
        fetched=files.count,  # at the very least: a name takes more than a byte
        references={"SDK listing": lambda: native(bench, files)},
    )


def b6(bench: Bench) -> Iterator[Figure]:
    """Commands on one directory."""
    for count in (bench.size(10_000, 100), bench.size(100_000, 1000)):
        files = FileSet(f"names-{count}", count, 1)
        for title, words in (("ls -l", ["ls", "-l"]), ("ls -f", ["ls", "-f"]), ("find", ["find"])):
            yield named(bench, "B6", title, files, words)


def b6t(bench: Bench) -> Iterator[Figure]:
    """Commands on a tree."""
    count, each = bench.size(1000, 10), 100
    files = FileSet(f"tree-{count}", count * each, 1, per_directory=each)
    # A shell, because -type follows the directory.
    find = ["sh", "-c", 'exec find "$0" -type f']
    yield named(bench, "B6t", f"find -type f in {count:,} directories", files, find)
    yield named(bench, "B6t", f"ls -lR of {count:,} directories", files, ["ls", "-lR"])


def b6m(bench: Bench, names: int = 0) -> Iterator[Figure]:
    """One huge directory."""
    count = names or bench.size(1_000_000, 2000)
    files = FileSet(f"huge-{count}", count, 1)

    def first_name(path: Path) -> Readings:
        line: list[str | Path] = [
            "sh",
            "-c",
            'ls -f "$0" | head -n 3',
            path / files.prefix,
        ]  # after . and ..
        return readers.command(line, 3)

    def whole(path: Path) -> Readings:
        return readers.command(["ls", "-f", path / files.prefix], count)

    def growth(run: Run) -> float:
        return (run.pss - run.pss_before) / MIB

    listing = {"SDK listing": lambda: native(bench, files)}
    full = bench.compare(
        Figure(
            "B6m",
            f"ls -f of {count:,} names",
            SECONDS,
            (limit("MiB of memory more", growth, 64),),
        ),
        [files],
        whole,
        fetched=count,
        references=listing,
        contestants=[bench.ours, *bench.peers],
    )
    yield full
    wire = full.median(OURS, lambda run: run.wire)

    def part(run: Run) -> float | None:
        return None if run.wire is None or not wire else run.wire / wire

    yield bench.compare(
        Figure(
            "B6m",
            f"ls -f | head of {count:,} names",
            SECONDS,
            (
                limit("seconds", lambda run: run.seconds, 0.3),
                limit("of the bytes of all names", part, 0.1),
            ),
        ),
        [files],
        first_name,
        fetched=1,
        contestants=[bench.ours, *bench.peers],
    )
