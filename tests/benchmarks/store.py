"""`python -m tests.benchmarks.store`: the embedded store beside nginx, and what a listing costs.

nginx serves the very same file with sendfile from one worker process; both are asked by `curl`, in
turn, so that the ratio means something on a noisy machine. Without nginx on the machine that row
is left out, and said so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from aisfs_sdk import Client
from tests.benchmarks.timing import cpu_seconds, run, timed
from tests.support.store import StoreProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs_sdk import Bucket

CONFIGURATION = """\
user root;
worker_processes 1;
daemon off;
pid {root}/pid;
error_log {root}/errors;
events {{ worker_connections 64; }}
http {{
    access_log off;
    sendfile on;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextlib.contextmanager
def nginx(root: Path) -> Iterator[str]:
    """Serve a directory; yields the URL."""
    port = free_port()
    configuration = root / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(root=root, port=port))
    with subprocess.Popen(
        ["nginx", "-p", root, "-e", root / "errors", "-c", configuration],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            while subprocess.run(
                ["curl", "-so", "/dev/null", f"http://127.0.0.1:{port}/"], check=False
            ).returncode:
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def compare_get(endpoint: str, bucket: Bucket, size: int, rounds: int) -> tuple[float, list[float]]:
    """Return our median rate in MB/s, and the ratios of ours to nginx's in each round."""
    ours, ratios = [], []
    with tempfile.TemporaryDirectory(prefix="aisfs-bench-") as name:
        root = Path(name)
        root.chmod(0o755)
        file = root / "big"
        with file.open("wb") as output:
            for _ in range(size):
                output.write(os.urandom(1 << 20))
        bucket.object("big").put_file(file)
        curl = ("curl", "-sfL", "-o", "/dev/null")
        with nginx(root) as url:
            for _ in range(rounds):
                theirs = timed(lambda: run(*curl, f"{url}/big"))
                mine = timed(lambda: run(*curl, f"{endpoint}/v1/objects/{bucket.name}/big"))
                ours.append((size << 20) / 1e6 / mine)
                ratios.append(theirs / mine)
    return statistics.median(ours), sorted(ratios)


def import_names(root: Path, count: int) -> None:
    """Make a tree of so many empty files, to be imported as a bucket."""
    for number in range(count):
        directory = root / "many" / f"d{number // 1000:04}"
        if number % 1000 == 0:
            directory.mkdir(parents=True)
        (directory / f"{number:08}").touch()


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.store", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large object")
    parser.add_argument("--names", type=int, default=100_000, help="objects that are listed")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    table = Table("work", "embedded store", "beside")
    with tempfile.TemporaryDirectory(prefix="aisfs-bench-") as tree:
        import_names(Path(tree), asked.names)
        with StoreProcess(faults=False, extra=("--import", tree)) as store:
            bucket = Client(store.endpoint).bucket("bench").create()
            if shutil.which("nginx"):
                rate, ratios = compare_get(store.endpoint, bucket, asked.size, asked.rounds)
                shown = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
                table.add_row(f"GET of {asked.size} MiB", f"{rate:,.0f} MB/s", f"{shown} of nginx")
            else:
                table.add_row("GET of a large object", "not measured", "needs nginx")
            many = Client(store.endpoint).bucket("many")
            for props in ("name", "name,size,version,checksum,atime,custom,location"):
                before = cpu_seconds(store.pid)
                found = len(many.list_all_objects(props=props))
                spent = cpu_seconds(store.pid) - before
                table.add_row(f"listing {found:,} names ({props})", f"{spent:.2f} s of its CPU", "")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
