"""The ten rules that prevent disasters with FUSE, each seen on a real mount."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyfuse3
import pytest

import aisfs
from aisfs.cli import mounts
from aisfs.config import Config, LogConfig, Source, StagingConfig, StoreConfig
from aisfs.fuse.operations import Operations
from aisfs.fuse.session import READ_AHEAD_KB
from aisfs_sdk import Client
from tests.support.mount import Mount
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

ENDED = re.compile("timed out|Input/output")

ROOT = Path(aisfs.__file__).parent.parent


@contextlib.contextmanager
def odd_mount(kind: str, endpoint: str, bucket: Bucket, directory: Path) -> Iterator[Path]:
    """Mount with a filesystem of `tests/support/odd_mount.py`, in a child process."""
    path = directory / "mnt"
    path.mkdir()
    config = Config(
        Source.parse(f"ais://{bucket.name}"),
        path,
        StoreConfig(endpoint),
        staging=StagingConfig(str(directory / "state")),
        log=LogConfig(file=str(directory / "log")),
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.odd_mount", kind, directory / "requests"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(config.to_json())
        child.stdin.close()
        assert child.stdout.readline() == b"ready\n"
        yield path
    finally:
        subprocess.run(["fusermount3", "-uzq", path], check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(20)
        child.kill()
        child.wait()
        child.stdout.close()


def test_rule_01_an_unexpected_error_is_eio_for_one_call_and_the_mount_lives(
    endpoint: str, bucket: Bucket, tmp_path: Path
) -> None:
    with odd_mount("raising", endpoint, bucket, tmp_path) as path:
        for name in ("runtime", "os", "overflow", "group", "type"):
            with pytest.raises(OSError, match="Input/output error"):
                (path / f"boom-{name}").stat()
        (path / "fine").write_text("still alive")
        assert (path / "fine").read_text() == "still alive"
    assert "Traceback" in (tmp_path / "log").read_text()


def test_rule_01_every_handler_goes_through_the_wrapper() -> None:
    exempt = {"init", "forget", "release"}
    ours = {n for n in vars(Operations) if not n.startswith("_")} - exempt
    handlers = ours & set(vars(pyfuse3.Operations))
    handlers -= {"supports_dot_lookup", "enable_writeback_cache", "enable_acl"}
    assert len(handlers) > 20
    assert {n for n in handlers if not hasattr(getattr(Operations, n), "__wrapped__")} == set()


def test_rule_02_the_kernel_device_is_non_blocking(mount: Mount) -> None:
    """The kill test (`test_kills.py`) shows the effect; this one that it is no accident."""
    flags = [
        int(line.split()[1], 8)
        for fd in Path(f"/proc/{mount.daemon_pid}/fd").iterdir()
        if fd.readlink() == Path("/dev/fuse")
        for line in Path(f"/proc/{mount.daemon_pid}/fdinfo/{fd.name}").read_text().splitlines()
        if line.startswith("flags:")
    ]
    assert flags
    assert all(flag & os.O_NONBLOCK for flag in flags)


def test_rule_03_lookups_after_a_listing_do_not_wait_for_the_network(store: StoreProcess) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    for number in range(50):
        bucket.object(f"f{number}").put_content(b"x")
    with Mount(
        store.endpoint, "ais://b", options=["listing-ttl=60s", "attribute-ttl=60s"]
    ) as mount:
        names = list(mount.path.iterdir())
        store.faults([{"action": "delay", "seconds": 5}])
        start = time.monotonic()
        assert len([name.stat() for name in names]) == 50
        assert not (mount.path / "absent").exists()
        assert time.monotonic() - start < 4
        store.faults([])


def test_rule_04_commits_in_flush_once_per_change(store: StoreProcess) -> None:
    """Each close of a duplicate flushes: unchanged content is not stored again, changed is."""
    Client(store.endpoint).bucket("b").create()

    def stored() -> list[int]:
        return [
            r["received"]
            for r in store.requests()
            if r["node"].startswith("t") and r["method"] == "PUT" and r["status"] == 200
        ]

    with Mount(store.endpoint, "ais://b") as mount:
        fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"one")
        os.close(os.dup(fd))
        assert stored() == [3]
        os.close(os.dup(fd))
        assert stored() == [3]
        os.write(fd, b"two")
        subprocess.run(["true"], pass_fds=[fd], check=True)  # a child that exits flushes, too
        assert stored() == [3, 6]
        os.close(fd)
        assert stored() == [3, 6]
        subprocess.run(["sh", "-c", f"echo shell > {mount.path}/g"], check=True)
        assert (mount.path / "g").read_text() == "shell\n"


def test_rule_04_an_error_reaches_close(store: StoreProcess) -> None:
    Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b") as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "error", "status": 507}])
        fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
        assert os.write(fd, b"x") == 1
        with pytest.raises(OSError, match="No space left on device"):
            os.close(fd)
        store.faults([])


def test_rule_05_truncation_comes_with_open_and_downloads_nothing(store: StoreProcess) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    bucket.object("f").put_content(b"a long content to be dropped")
    with Mount(store.endpoint, "ais://b") as mount:
        store.clear_requests()
        with (mount.path / "f").open("w") as file:
            file.write("new")
        requests = store.requests()
    assert bucket.object("f").get().read_all() == b"new"
    assert not [r for r in requests if r["method"] == "GET" and r["path"].endswith("/b/f")]


def test_rule_06_kernel_invalidation_is_never_called_on_the_loop() -> None:
    """It would deadlock beyond SIGKILL; whoever needs it writes it into a thread and here."""
    in_threads = {"entry_forgotten"}
    for source in (ROOT / "aisfs").rglob("*.py"):
        tree = ast.parse(source.read_text())
        threaded = [
            function
            for function in ast.walk(tree)
            if isinstance(function, ast.AsyncFunctionDef) and function.name in in_threads
        ]
        assert all("trio.to_thread.run_sync" in ast.unparse(each) for each in threaded), source
        known = {id(node) for function in threaded for node in ast.walk(function)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and id(node) not in known:
                assert node.attr not in {"invalidate_inode", "invalidate_entry"}, source


def test_rule_07_a_silent_cluster_ends_in_an_errno(store: StoreProcess) -> None:
    """Callers cannot be interrupted while they wait, so every wait has an end."""
    bucket = Client(store.endpoint).bucket("b").create()
    bucket.object("f").put_content(bytes(3 << 20))
    with Mount(store.endpoint, "ais://b", options=["timeout=1s", "attribute-ttl=0s"]) as mount:
        fd = os.open(mount.path / "f", os.O_RDONLY)
        store.faults([{"action": "stall", "path": "^/v1/objects/", "seconds": 60}])
        start = time.monotonic()
        with pytest.raises(OSError, match=ENDED):
            os.read(fd, 4096)
        with pytest.raises(OSError, match=ENDED):
            (mount.path / "other").stat()
        assert time.monotonic() - start < 30
        store.faults([])
        assert os.pread(fd, 3, 0) == bytes(3)
        os.close(fd)


def test_rule_08_the_daemon_does_not_touch_its_own_mount_point(
    endpoint: str, bucket: Bucket, tmp_path: Path
) -> None:
    with odd_mount("recording", endpoint, bucket, tmp_path) as path:
        time.sleep(0.5)  # whatever it does after the start, it has done it now
        early = (tmp_path / "requests").read_text().split()
        assert set(early) <= {"figures", "metrics"}  # handed on, and asked for by nobody yet
        path.stat()
        assert "getattr" in (tmp_path / "requests").read_text()


def test_rule_09_a_dead_daemon_leaves_an_error_and_not_a_hang(mount: Mount) -> None:
    """No forked child keeps the kernel's device open."""
    (mount.path / "f").write_text("x")
    mount.kill()
    with pytest.raises(OSError, match="not connected"):
        mount.path.stat()


def test_rule_10_an_old_daemon_does_not_unmount_a_newer_mount(
    endpoint: str, bucket: Bucket, mount: Mount, tmp_path: Path
) -> None:
    (mount.path / "held").write_text("x")
    old = mount.daemon_pid
    with (mount.path / "held").open() as held:
        subprocess.run(["fusermount3", "-uz", mount.path], check=True)
        mount.state = tmp_path / "state"
        assert mount.try_mount().returncode == 0
        os.kill(old, signal.SIGTERM)
        assert held.read() == "x"
    wait_for_end(old)
    (mount.daemon_pid,) = mounts.daemons(mount.path)
    assert (mount.path / "held").read_text() == "x"


def wait_for_end(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), f"{pid} has ended")


def test_the_kernel_reads_ahead_as_far_as_it_is_told_to(endpoint: str, bucket: Bucket) -> None:
    """It lowers that when it takes a mount into service: told before, one mount in six kept it."""
    for _ in range(8):
        with Mount(endpoint, f"ais://{bucket.name}") as mount:
            device = mount.path.stat().st_dev
            setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
            if not os.access(setting, os.W_OK):
                pytest.skip(f"{setting} is not ours to change")
            wait_until(partial(is_set, setting), "the kernel reads ahead as far")
            time.sleep(0.1)  # nothing lowers it again
            assert is_set(setting)


def is_set(setting: Path) -> bool:
    return int(setting.read_text()) == READ_AHEAD_KB
