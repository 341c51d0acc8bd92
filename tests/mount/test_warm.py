"""`aisfs warm` on real mounts: what is brought, what is not and why, and how it is stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount, clean_environment, run_aisfs
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.fuse

SMALL = 2000
MIB = 1 << 20


def body(of: str) -> bytes:
    return random.Random(of).randbytes(64 * MIB if of == "large" else 3000)


@pytest.fixture(scope="module")
def shared() -> Iterator[StoreProcess]:
    """Return a store with a directory of small files and one of 64 MiB beside it."""
    with StoreProcess() as process:
        bucket = Client(process.endpoint).bucket("b").create()
        with ThreadPoolExecutor(4) as pool:
            names = [f"d/f{i:04d}" for i in range(SMALL)]
            list(pool.map(lambda n: bucket.object(n).put_content(body(n)), [*names, "large"]))
        yield process


@pytest.fixture
def store(shared: StoreProcess) -> Iterator[StoreProcess]:
    """Return it without faults."""
    yield shared
    shared.clear_faults()


def reads(store: StoreProcess) -> list[str]:
    return [
        entry["path"]
        for entry in store.requests()
        if entry["method"] == "GET" and entry["path"].startswith("/v1/objects/")
    ]


def test_what_was_warmed_is_read_without_a_request(store: StoreProcess) -> None:
    with Mount(store.endpoint, "ais://b", options=["cache-memory=128MiB"]) as mount:
        ended = run_aisfs("warm", mount.path / "d", mount.path / "large")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == "2001 files, 69.7 MiB in the cache\n"
        store.clear_requests()
        for name in [*(f"d/f{i:04d}" for i in range(SMALL)), "large"]:
            assert (mount.path / name).read_bytes() == body(name)
        assert reads(store) == []


def test_what_was_warmed_to_disk_outlives_the_mount_and_its_memory(
    store: StoreProcess, tmp_path: Path
) -> None:
    options = ["cache-memory=16MiB", "cache-size=128MiB", f"cache-dir={tmp_path / 'cache'}"]
    with Mount(store.endpoint, "ais://b", options=options) as mount:
        ended = run_aisfs("warm", mount.path)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == "2001 files, 69.7 MiB in the cache\n"
    store.clear_requests()
    with Mount(store.endpoint, "ais://b", options=options) as mount:
        for name in [*(f"d/f{i:04d}" for i in range(SMALL)), "large"]:
            assert (mount.path / name).read_bytes() == body(name)
    assert reads(store) == []


def test_more_than_the_cache_holds_is_told_and_what_was_brought_stays(store: StoreProcess) -> None:
    with Mount(store.endpoint, "ais://b", options=["cache-memory=32MiB"]) as mount:
        ended = run_aisfs("warm", mount.path)
        assert ended.returncode == 1
        assert ended.stdout == "2000 files, 5.7 MiB in the cache\n"
        assert ended.stderr == (
            "aisfs: does not fit: 5.7 MiB of 69.7 MiB (2000 of 2001 files) fit the cache of "
            "32.0 MiB: raise cache-size\n"
        )
        store.clear_requests()
        for name in (f"d/f{i:04d}" for i in range(SMALL)):
            assert (mount.path / name).read_bytes() == body(name)
        assert reads(store) == []


def test_what_could_not_be_brought_is_named_with_its_reason(store: StoreProcess) -> None:
    with Mount(store.endpoint, "ais://b") as mount:
        bad = "/v1/objects/b/d/f00[0-4]"
        store.faults(
            [
                {"action": "error", "status": 403, "path": f"{bad}1$", "method": "GET"},
                {"action": "corrupt", "after_bytes": 5, "path": f"{bad}2$", "method": "GET"},
            ]
        )
        ended = run_aisfs("warm", mount.path / "d")
        lines = ended.stderr.splitlines()
        assert ended.returncode == 1
        assert ended.stdout.startswith("1990 files")
        assert len(lines) == 10
        assert any(f"{mount.path}/d/f0001: " in line for line in lines)
        (corrupt,) = [line for line in lines if "/d/f0012: " in line]
        assert "checksum" in corrupt
        store.faults([{"action": "error", "status": 403, "path": "/d/f0[0-3]", "method": "GET"}])
    with Mount(store.endpoint, "ais://b") as mount:
        many = run_aisfs("warm", mount.path / "d")
        assert len(many.stderr.splitlines()) == 21
        assert many.stderr.endswith("aisfs: and 380 more could not be brought\n")


def test_interrupting_the_command_stops_the_daemon(store: StoreProcess) -> None:
    slow = {"action": "slow", "path": "/v1/objects/", "after_bytes": 10, "seconds": 1}
    with Mount(store.endpoint, "ais://b") as mount:
        store.faults([slow])
        command = subprocess.Popen(
            [sys.executable, "-m", "aisfs", "warm", mount.path],
            stderr=subprocess.PIPE,
            env=clean_environment(),
        )
        control = mount.path / ".aisfs" / "warm"
        wait_until(lambda: "tasks\t1" in control.read_text(), "the task runs")
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=20)
        assert (command.returncode, said) == (130, b"aisfs: interrupted\n")
        assert "tasks\t0" in control.read_text()
        time.sleep(1.5)
        store.clear_requests()
        time.sleep(0.5)
        assert reads(store) == []


def test_a_daemon_that_dies_meanwhile_is_told(store: StoreProcess) -> None:
    slow = {"action": "slow", "path": "/v1/objects/", "after_bytes": 10, "seconds": 2}
    with Mount(store.endpoint, "ais://b") as mount:
        store.faults([slow])
        command = subprocess.Popen(
            [sys.executable, "-m", "aisfs", "warm", mount.path],
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        control = mount.path / ".aisfs" / "warm"
        wait_until(lambda: "tasks\t1" in control.read_text(), "the task runs")
        mount.kill()
        _, said = command.communicate(timeout=20)
        assert command.returncode == 1
        assert said.startswith("aisfs: the mount does not answer any more: ")
        stale = run_aisfs("warm", mount.path)
        assert stale.returncode == 1
        assert "stale mount" in stale.stderr


def test_a_read_only_mount_is_filled_by_reading_it(store: StoreProcess) -> None:
    with Mount(store.endpoint, "ais://b", options=["ro", "cache-memory=32MiB"]) as mount:
        store.faults([{"action": "error", "status": 403, "path": "f0007$", "method": "GET"}])
        ended = run_aisfs("warm", mount.path, "--json")
        told = json.loads(ended.stdout)
        assert ended.returncode == 1
        assert (told["files"], told["files_done"], told["does_not_fit"]) == (2001, 1999, 1)
        assert told["failures"] == [
            {"path": f"{mount.path}/d/f0007", "reason": "Permission denied"}
        ]
        store.clear_requests()
        for name in (f"d/f{i:04d}" for i in range(SMALL) if i != 7):
            assert (mount.path / name).read_bytes() == body(name)
        assert reads(store) == []


def test_a_remote_bucket_is_prefetched_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for i in range(30):
        (tmp_path / "d" / f"{i}").write_bytes(os.urandom(2000))
    extra = ("--remote", f"aws://cloud={tmp_path}")
    options = ["attribute-ttl=1h", "listing-ttl=1h"]  # nobody looks for what is removed below
    with (
        StoreProcess(extra=extra) as near,
        Mount(near.endpoint, "s3://cloud", options=options) as mount,
    ):
        near.clear_requests()
        ended = run_aisfs("warm", mount.path / "d", "--json")
        told = json.loads(ended.stdout)
        assert (ended.returncode, told["files_done"], told["prefetched"]) == (0, 30, 30)
        asked = [entry for entry in near.requests() if entry["method"] in {"GET", "POST"}]
        kinds = ["read" if "/objects/" in entry["path"] else entry["method"] for entry in asked]
        assert kinds.count("POST") == 1
        assert kinds.count("read") == 30
        assert kinds.index("POST") < kinds.index("read")
        for i in range(30):
            (tmp_path / "d" / f"{i}").unlink()  # the copies are the cluster's and the mount's now
            assert len((mount.path / "d" / f"{i}").read_bytes()) == 2000
