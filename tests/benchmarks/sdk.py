"""`python -m tests.benchmarks.sdk [--old URL]`: our SDK beside the official one.

The newest official SDK is compared on the cluster of AIS_ENDPOINT, else on the embedded store; with
`--old` (a 3.17 cluster, or `aisfs serve --compat 3.17`) also release 1.2.2, in an environment made
for it. Every measurement is a process of its own; the two SDKs take turns, also in who comes first,
and the ratio of each round counts. The settings of each are in `sdk_worker.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from aisfs_sdk import Client
from tests.benchmarks.sdk_worker import SETTINGS, SMALL, SMALL_BODY
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from aisfs_sdk import Bucket

OLD = "1.2.2"
TASKS = {
    "get_large": "read a large object, keeping nothing",
    "get_whole": "read a large object into memory",
    "get_small": f"read {len(SMALL)} x 64 KiB, 8 threads",
    "put_small": f"write {len(SMALL)} x 64 KiB, 8 threads",
    "list_names": "list names with size, version, checksum",
    "get_batch": f"read {len(SMALL)} x 64 KiB in a batch",
}
WORKER = Path(__file__).with_name("sdk_worker.py")


def measure(python: str, flavour: str, task: str, endpoint: str, bucket: str) -> list[float]:
    """Return the seconds that a task took in a process of its own, and its CPU seconds."""
    command = [python, str(WORKER), flavour, task, endpoint, bucket]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds: list[float] = json.loads(output)
    return seconds


def fill(bucket: Bucket, size: int, names: int) -> None:
    """Store what is read and listed."""
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(size):
            file.write(os.urandom(1 << 20))
        file.flush()
        bucket.object("big").put_file(file.name)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: bucket.object(name).put_content(SMALL_BODY), SMALL))
        listed = (f"many/{number:07}" for number in range(names))
        list(pool.map(lambda name: bucket.object(name).put_content(b""), listed))


def old_environment(root: Path) -> str:
    """Install the old SDK; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", root], check=True)
    python = root / "bin" / "python"
    # With what was there in its time: later releases of urllib3 refuse answers to its uploads.
    wanted = [f"aistore=={OLD}", "urllib3<2"]
    subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    return str(python)


@dataclass(frozen=True)
class Rival:
    """An official SDK: its interpreter, what the worker calls it, and its cluster."""

    python: str
    flavour: str
    endpoint: str


def measured_pair(
    rival: Rival, task: str, place: tuple[str, str], *, ours_first: bool
) -> tuple[list[float], list[float]]:
    """Measure both SDKs in one round; who comes first may find colder caches."""
    if ours_first:
        ours = measure(sys.executable, "ours", task, *place)
        return ours, measure(rival.python, rival.flavour, task, *place)
    theirs = measure(rival.python, rival.flavour, task, *place)
    return measure(sys.executable, "ours", task, *place), theirs


def compare(table: Table, rival: Rival, asked: argparse.Namespace) -> None:
    """Measure all tasks on a cluster and add their rows."""
    bucket = Client(rival.endpoint).bucket(f"bench-{uuid.uuid4().hex[:8]}").create()
    place = (rival.endpoint, bucket.name)
    try:
        fill(bucket, asked.size, asked.names)
        for task, title in TASKS.items():
            if task == "get_batch" and rival.flavour == "oldest":
                continue  # it came later
            pairs = [
                measured_pair(rival, task, place, ours_first=number % 2 == 0)
                for number in range(asked.rounds)
            ]
            row = [title]
            for which, name in ((0, ""), (1, f" ({rival.flavour})")):
                wall, busy = (statistics.median(pair[which][i] for pair in pairs) for i in (0, 1))
                row.append(f"{wall:.2f} s, CPU {busy:.2f}{name}")
            for i in (0, 1):
                ratios = sorted(theirs[i] / ours[i] for ours, theirs in pairs)
                middle = statistics.median(ratios)
                row.append(f"{middle:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})")
            table.add_row(*row)
    finally:
        bucket.delete()


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sdk", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large object")
    parser.add_argument("--names", type=int, default=100_000, help="objects that are listed")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--old", help="URL of a 3.17 cluster, for the old official SDK")
    asked = parser.parse_args()
    table = Table("work", "ours", "official", "official / ours", "the same of CPU")
    with contextlib.ExitStack() as stack:
        endpoint = os.environ.get("AIS_ENDPOINT")
        if not endpoint:
            endpoint = stack.enter_context(StoreProcess(faults=False)).endpoint
        compare(table, Rival(sys.executable, "newest", endpoint), asked)
        if asked.old:
            root = stack.enter_context(tempfile.TemporaryDirectory(prefix="aisfs-bench-"))
            compare(table, Rival(old_environment(Path(root)), "oldest", asked.old), asked)
    console = Console()
    console.print(table)
    for flavour, settings in SETTINGS.items():
        console.print(f"{flavour}: {settings}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
