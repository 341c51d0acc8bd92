"""B20: the members of shards, read by the archive view."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.mount import readers
from tests.benchmarks.mount.figures import Figure, at_least, per_second

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.mount.bench import Bench
    from tests.benchmarks.mount.readers import Readings

MEMBER = 10 << 10
UNTARRED = "read, untarred, read"


def b20(bench: Bench) -> Iterator[Figure]:
    """Read all members of shards."""
    shards, members = bench.size(20, 3), bench.size(1000, 50)
    names = [f"shards/{number:03}.tar" for number in range(shards)]
    shard = _shard(members)
    for name in names:
        bench.place.bucket.object(name).put_content(shard)
    view = Path(".aisfs", "view", "archive", "ais", bench.place.bucket.name)

    def paths(directory: Path) -> list[str]:
        return [f"{directory / name}/{_member(n)}" for name in names for n in range(members)]

    def untarred() -> Readings:
        with bench.ours.mounted([]) as mounted, tempfile.TemporaryDirectory() as directory:
            start = time.perf_counter()
            for name in names:
                place = Path(directory, name)
                place.mkdir(parents=True)
                subprocess.run(["tar", "-xf", mounted.path / name, "-C", place], check=True)
            spent = time.perf_counter() - start
            found = readers.read(
                [
                    "cat",
                    [f"{directory}/{name}/{_member(n)}" for name in names for n in range(members)],
                ]
            )
            found.seconds += spent
            return found

    yield bench.compare(
        Figure(
            "B20",
            f"{shards} shards of {members:,} x {MEMBER >> 10} KiB, all members in order",
            per_second("files"),
            (at_least(1, UNTARRED),),
        ),
        [],
        lambda path: readers.read(["cat", paths(path / view)]),
        fetched=shards * members * MEMBER,
        references={UNTARRED: untarred},
        contestants=[bench.ours],
    )


def _member(number: int) -> str:
    return f"m{number:05}"


def _shard(members: int) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for number in range(members):
            info = tarfile.TarInfo(_member(number))
            info.size = MEMBER
            tar.addfile(info, io.BytesIO(os.urandom(MEMBER)))
    return data.getvalue()
