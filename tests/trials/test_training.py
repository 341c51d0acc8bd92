"""Training over a mount whose disk tier holds the dataset: the second epoch asks for no bytes.

`AISFS_TEST_PYTHON=…` names a Python that has torch, where that of the tests has none.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount, clean_environment
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.fuse

MIB = 1 << 20
MEMORY = 16 * MIB
CLASSES = 8
SCRIPT = Path(__file__).with_name("training.py")


class Job:
    """The training job, in a process of its own."""

    def __init__(self, directory: Path) -> None:
        python = os.environ.get("AISFS_TEST_PYTHON", sys.executable)
        self._process = subprocess.Popen(
            [python, SCRIPT, directory, "2"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment(),
        )  # fmt: skip

    def epoch(self) -> dict[str, Any]:
        """Wait for what an epoch brought."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the job ended: {self._process.wait()}"
        return json.loads(line)  # type: ignore[no-any-return]

    def go_on(self) -> None:
        """Let the next epoch begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def forget_what_the_kernel_has(directory: Path) -> None:
    """Drop the kernel's caches; who may not do that drops those of the files alone."""
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        for path in directory.rglob("*.jpg"):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def asked(store: StoreProcess) -> Counter[str]:
    """Return how often targets and gateways were asked for bytes and for names; forget it."""
    kinds: Counter[str] = Counter()
    for entry in store.requests():
        if entry["method"] == "GET" and entry["path"].startswith("/v1/objects/"):
            kinds["data"] += 1
        elif entry["path"].startswith("/v1/buckets/") and entry["method"] == "GET":
            kinds["list"] += 1
    store.clear_requests()
    return kinds


def wait_until_kept(mount: Mount) -> None:
    """Wait until the disk tier has written what it took: for a second, nothing more comes."""
    written, since = "", time.monotonic()
    while time.monotonic() < since + 1:
        lines = (mount.path / ".aisfs/cache/stats").read_text().splitlines()
        now = dict(line.split("\t") for line in lines)["disk.written"]
        if now != written:
            written, since = now, time.monotonic()
        time.sleep(0.05)


@pytest.mark.long
def test_the_second_epoch_asks_for_no_bytes(
    rounds: Callable[[int, int], int], tmp_path: Path
) -> None:
    count = rounds(320, 3200)
    dice = random.Random(count)
    bodies = {
        f"class-{n % CLASSES}/{n:05}.jpg": dice.randbytes(dice.randrange(60_000, 160_000))
        for n in range(count)
    }
    total = sum(map(len, bodies.values()))
    assert total >= 2 * MEMORY
    digests = sorted(hashlib.sha256(body).hexdigest() for body in bodies.values())
    content = hashlib.sha256("".join(digests).encode()).hexdigest()
    with StoreProcess() as store:
        bucket = Client(store.endpoint).bucket("train").create()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda pair: bucket.object(pair[0]).put_content(pair[1]), bodies.items()))
        options = [f"cache-memory={MEMORY}", f"cache-dir={tmp_path / 'cache'}", "cache-size=4GiB"]
        with Mount(store.endpoint, "ais://train", options=options) as mount:
            store.clear_requests()
            job = Job(mount.path)
            try:
                first = job.epoch()
                wait_until_kept(mount)
                before = asked(store)
                forget_what_the_kernel_has(mount.path)
                job.go_on()
                second = job.epoch()
            finally:
                job.end()
            after = asked(store)
            for told in (first, second):
                assert (told["samples"], told["content"]) == (count, content)
            print(
                f"{count} samples, {total / MIB:.0f} MiB, {MEMORY / MIB:.0f} MiB of memory, "
                f"loader: {first['loader']}: epoch 1: {before['data']} data requests, "
                f"{before['list']} lists; epoch 2: {after['data']} data requests, "
                f"{after['list']} lists"
            )
            assert before["data"] >= count
            assert after["data"] == 0
