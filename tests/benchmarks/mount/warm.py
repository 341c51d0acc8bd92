"""B16: reading again what was read before, from each place where it may be kept."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.mount import curl
from tests.benchmarks.mount.figures import MB_S, Figure, at_least
from tests.benchmarks.mount.mounts import Ours
from tests.benchmarks.mount.sets import FileSet
from tests.benchmarks.mount.streams import stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.mount.bench import Bench
    from tests.benchmarks.mount.readers import Readings

MIB = 1 << 20


def forget_pages(path: Path) -> None:
    """Make the kernel forget the pages of a file that nobody has open."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def b16(bench: Bench) -> Iterator[Figure]:
    """The kernel's pages, our memory, the disk."""
    files = FileSet("warm", 1, bench.size(128, 8) * MIB)
    (name,) = files.names()
    size = files.size

    def by_curl() -> Readings:
        return curl.whole([bench.place.url(name)], size)

    def read(path: Path, *, direct: bool = False) -> Readings:
        return stream([path / name], size, direct=direct)

    def read_and_forget(path: Path) -> None:
        read(path)
        forget_pages(path / name)

    yield bench.compare(
        Figure("B16", f"{size // MIB} MiB again, from the kernel's pages", MB_S,
               (at_least(0.8, "null"),)),
        [files], read, references={"curl": by_curl}, before=read,
    )  # fmt: skip
    yield bench.compare(
        Figure("B16", f"{size // MIB} MiB again, O_DIRECT, from our memory", MB_S,
               (at_least(0.8, "null"),)),
        [files], lambda path: read(path, direct=True),
        references={"curl": by_curl}, before=lambda path: read(path, direct=True),
    )  # fmt: skip
    yield bench.compare(
        Figure("B16", f"{size // MIB} MiB again, kernel's pages dropped, from our memory", MB_S,
               (at_least(0.8, "null"),)),
        [files], read, references={"curl": by_curl}, before=read_and_forget,
    )  # fmt: skip
    yield from from_disk(bench, files)


def from_disk(bench: Bench, files: FileSet) -> Iterator[Figure]:
    """Read what an earlier mount left on disk, with and without the kernel's memory of the disk.

    A run that asked the store for bytes does not count.
    """
    title = f"{files.size // MIB} MiB again, by a new mount, from disk"
    bench.place.fill(files)
    (name,) = files.names()
    directory = tempfile.mkdtemp(prefix="aisfs-bench-disk-")
    try:
        kept = Ours(
            bench.place.entrance,
            bench.place.bucket.name,
            (*bench.ours.options, f"cache-dir={directory}"),
        )
        with kept.mounted([files]) as first:
            stream([first.path / name], files.size)

        def forget(_: Path) -> None:
            for file in Path(directory).glob("*/*.pages"):
                os.sync()
                forget_pages(file)

        for figure, before in (
            (Figure("B16", title, MB_S, (at_least(0.5, "null"),)), None),
            (Figure("B16", f"{title}, that the kernel has forgotten", MB_S), forget),
        ):
            bench.compare(
                figure,
                [files],
                lambda path: stream([path / name], files.size),
                contestants=[kept, bench.null],
                before=before,
            )
            for run in figure.runs[kept.name]:
                if run.requests.get("GET", 0):
                    run.problem = "not from disk: bytes came from the store"
            yield figure
    finally:
        shutil.rmtree(directory)
