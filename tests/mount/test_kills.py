"""What is killed at random moments must not take the mount with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

READER = """
import os, random, sys
paths, rng = sys.argv[2:], random.Random(int(sys.argv[1]))
print("go", flush=True)
while True:
    with open(rng.choice(paths), "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for _ in range(rng.randrange(1, 20)):
            file.seek(rng.randrange(size))
            file.read(rng.choice((1, 4096, 100_000, 3_000_000)))
"""


def stat_seconds(path: Path) -> float:
    """Return how long a stat(1) took; it fails the test instead of hanging it."""
    start = time.monotonic()
    subprocess.run(["stat", path], stdout=subprocess.DEVNULL, check=True, timeout=20)
    return time.monotonic() - start


@pytest.mark.long
def test_killed_readers_leave_the_mount_answering(
    mount: Mount,
    bucket: Bucket,
    seeded: random.Random,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    """kill -9 of readers at random moments; after each a stat answers within 1 s."""
    for number in range(6):
        bucket.object(f"f{number}").put_content(seeded.randbytes(3 << 20))
    paths = [str(mount.path / f"f{number}") for number in range(6)]
    kills = rounds(15, 100)
    for _ in range(kills):
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, str(seeded.randrange(1 << 30)), *paths],
            stdout=subprocess.PIPE,
        )
        assert reader.stdout is not None
        assert reader.stdout.read(2) == b"go"
        time.sleep(seeded.random() * 0.1)  # the random moment is the point
        reader.send_signal(signal.SIGKILL)
        reader.wait(10)
        reader.stdout.close()
        assert stat_seconds(Path(paths[0])) < 1.0
    tally("readers killed", kills)


def test_a_killed_store_gives_an_errno_and_not_a_hang(store: StoreProcess, tmp_path: Path) -> None:
    """The store dies in the middle of a copy: cp fails in time, the mount lives and recovers."""
    Client(store.endpoint).bucket("b").create()
    (tmp_path / "big").write_bytes(os.urandom(64 << 20))
    with Mount(store.endpoint, "ais://b") as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "delay", "seconds": 30}])
        copy = subprocess.Popen(
            ["cp", tmp_path / "big", mount.path / "copy"], stderr=subprocess.PIPE
        )
        wait_until_staged(mount, 64 << 20)
        store.kill()
        start = time.monotonic()
        _, message = copy.communicate(timeout=60)
        assert copy.returncode == 1, "cp said that all was well"
        assert b"copy" in message
        assert time.monotonic() - start < 60
        assert stat_seconds(mount.path) < 1.0
        store.restart()
        (mount.path / "after").write_text("alive")
        assert (mount.path / "after").read_text() == "alive"
        shutil.copy(tmp_path / "big", mount.path / "again")
        mount.remount()
        assert (mount.path / "again").stat().st_size == 64 << 20


def wait_until_staged(mount: Mount, size: int) -> None:
    """Wait until the daemon holds the whole copy, so that the store dies while it is being sent."""
    files = (mount.state / "staging").glob
    wait_until(lambda: any(file.stat().st_size >= size for file in files("*.data")), "it is staged")


def test_bytes_that_could_not_be_stored_are_stored_by_the_next_mount(store: StoreProcess) -> None:
    """A failed close leaves the bytes with a row, and a mount sends them before it serves (C11)."""
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b") as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "error", "status": 500}])
        with pytest.raises(OSError, match="Input/output"):
            (mount.path / "precious").write_bytes(b"do not lose me")
        assert (mount.path / "precious").read_bytes() == b"do not lose me"
        mount.kill()
        (data,) = (mount.state / "staging").glob("*.data")
        assert data.read_bytes() == b"do not lose me"
        store.faults([])
        mount.remount()
        assert bucket.object("precious").get().read_all() == b"do not lose me"
        assert (mount.path / "precious").read_bytes() == b"do not lose me"
        assert not data.exists()
        assert "ais://b/precious of an earlier mount is stored now" in mount.log


def test_kill_of_the_daemon_loses_nothing_that_close_acknowledged(mount: Mount) -> None:
    for number in range(20):
        (mount.path / f"file{number}").write_text(f"content {number}")
    mount.kill()
    mount.remount()
    for number in range(20):
        assert (mount.path / f"file{number}").read_text() == f"content {number}"
