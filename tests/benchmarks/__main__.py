"""`./run bench [--size MiB] [--files N] [--rounds N]`: the mount beside the raw protocol.

Every row is a ratio of two things measured in the same round on the same bytes, so that it means
something on a noisy machine: what a program gets through the mount, and what `curl` or the SDK gets
straight from the store. The mount is cold in each round (remounted). Runs on the cluster of
AIS_ENDPOINT, else on the embedded store. CPU seconds are the daemon's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from aisfs_sdk import Client
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aisfs_sdk import Bucket

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Row:
    """One kind of work: seconds through the mount, seconds of the reference, in each round."""

    name: str
    reference: str
    unit: str
    amount: float
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        """Return the row's texts: rates, ratio (median, range), CPU of the daemon."""
        ratios = sorted(b / a for a, b in zip(self.ours, self.theirs, strict=True))
        return [
            self.name,
            f"{self.amount / statistics.median(self.ours):,.0f} {self.unit}",
            f"{self.amount / statistics.median(self.theirs):,.0f} {self.unit} ({self.reference})",
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})",
            f"{statistics.median(self.cpu):.2f}",
        ]


@contextlib.contextmanager
def place() -> Iterator[tuple[str, Bucket]]:
    """Return an endpoint and an empty bucket, which goes afterwards."""
    with contextlib.ExitStack() as stack:
        endpoint = os.environ.get("AIS_ENDPOINT")
        if not endpoint:
            endpoint = stack.enter_context(StoreProcess()).endpoint
        bucket = Client(endpoint).bucket(f"bench-{uuid.uuid4().hex[:8]}").create()
        stack.callback(bucket.delete)
        yield endpoint, bucket


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run(*command: str | Path) -> None:
    """Run a program whose output does not matter."""
    subprocess.run([os.fspath(word) for word in command], stdout=subprocess.DEVNULL, check=True)


class Bench:
    """The rows, and the rounds that fill them."""

    def __init__(self, endpoint: str, bucket: Bucket, size: int, files: int) -> None:
        self._endpoint = endpoint
        self._bucket = bucket
        self._size = size << 20
        self._names = [f"small/{number:06}" for number in range(files)]
        self.big = Row("read a large object, buffered", "curl", "MB/s", self._size / 1e6)
        self.direct = Row("the same with O_DIRECT", "curl", "MB/s", self._size / 1e6)
        self.small = Row("read files of 16 KiB one by one", "SDK", "files/s", files)
        self.listing = Row("ls -l of a directory", "SDK listing", "names/s", files)
        self.write = Row("write a large object to close", "curl", "MB/s", self._size / 1e6)
        self.create = Row("create files of 1 KiB", "SDK", "files/s", files / 10)

    @property
    def rows(self) -> list[Row]:
        """All rows in the order in which they are measured."""
        return [self.big, self.direct, self.small, self.listing, self.write, self.create]

    def fill(self, directory: Path) -> None:
        """Store what is read."""
        source = directory / "big"
        with source.open("wb") as file:
            for _ in range(self._size >> 20):
                file.write(os.urandom(1 << 20))
        self._bucket.object("big").put_file(source)
        body = os.urandom(16 << 10)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: self._bucket.object(n).put_content(body), self._names))

    def _url(self, name: str) -> str:
        return f"{self._endpoint}/v1/objects/{self._bucket.name}/{name}?provider=ais"

    def _through(self, row: Row, work: Callable[[Path], object]) -> None:
        """Measure something on a cold mount."""
        with Mount(self._endpoint, f"ais://{self._bucket.name}", options=["log-level=info"]) as m:
            before = cpu_seconds(m.daemon_pid)
            row.ours.append(timed(lambda: work(m.path)))
            row.cpu.append(cpu_seconds(m.daemon_pid) - before)

    def round(self, directory: Path) -> None:
        """Measure every row once, the mount and its reference side by side."""
        url, source = self._url("big"), directory / "big"
        dd = ("dd", "of=/dev/null", "bs=1M", "status=none")
        self._through(self.big, lambda p: run(*dd, f"if={p}/big"))
        self.big.theirs.append(timed(lambda: run("curl", "-sfL", "-o", "/dev/null", url)))
        self._through(self.direct, lambda p: run(*dd, f"if={p}/big", "iflag=direct"))
        self.direct.theirs.append(timed(lambda: run("curl", "-sfL", "-o", "/dev/null", url)))
        self._through(self.small, lambda p: [(p / name).read_bytes() for name in self._names])
        get = self._bucket.object
        self.small.theirs.append(timed(lambda: [get(n).get().read_all() for n in self._names]))
        self._through(self.listing, lambda p: run("ls", "-l", p / "small"))
        self.listing.theirs.append(
            timed(lambda: self._bucket.list_all_objects(prefix="small/", props="name,size,custom"))
        )
        self._through(self.write, lambda p: shutil.copyfile(source, p / "copy"))
        put = ("curl", "-sfL", "-o", "/dev/null", "-H", "Expect: 100-continue", "-T", source)
        self.write.theirs.append(timed(lambda: run(*put, self._url("copy-by-curl"))))
        few = [f"new-{uuid.uuid4().hex}-{n}" for n in range(int(self.create.amount))]
        body = b"x" * 1024
        self._through(self.create, lambda p: [(p / name).write_bytes(body) for name in few])
        self.create.theirs.append(
            timed(lambda: [get(f"sdk-{name}").put_content(body) for name in few])
        )


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="MiB of the large object")
    parser.add_argument("--files", type=int, default=2000, help="small files")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    console = Console()
    with place() as (endpoint, bucket):
        bench = Bench(endpoint, bucket, asked.size, asked.files)
        directory = Path(os.environ.get("TMPDIR", "/tmp")) / f"aisfs-bench-{os.getpid()}"
        directory.mkdir()
        try:
            with console.status("storing what is read"):
                bench.fill(directory)
            for number in range(asked.rounds):
                with console.status(f"round {number + 1} of {asked.rounds}"):
                    bench.round(directory)
        finally:
            shutil.rmtree(directory)
    table = Table("work, cold", "mount", "reference", "mount / reference", "CPU s of the daemon")
    for row in bench.rows:
        table.add_row(*row.cells())
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
