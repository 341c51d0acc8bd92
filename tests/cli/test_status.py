"""`aisfs status`: every mount, never a hang."""

import json
import os
import signal
import time

import pytest

from tests.support.mount import Mount, run_aisfs
from tests.support.store import StoreProcess


def row_of(mount: Mount) -> dict[str, object]:
    ended = run_aisfs("status", "--json")
    assert ended.returncode == 0, ended.stderr
    (row,) = [row for row in json.loads(ended.stdout) if row["mountpoint"] == str(mount.path)]
    assert isinstance(row, dict)
    return row


@pytest.mark.fuse
def test_mount_that_answers_is_ok(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        expected = {
            "source": "ais://b",
            "mountpoint": str(mount.path),
            "pid": mount.daemon_pid,
            "state": "ok",
            "queued": 0,
            "failed": 0,
            "bytes": 0,
        }
        assert row_of(mount) == expected
        lines = run_aisfs("status").stdout.splitlines()
        assert "\t".join(str(value) for value in expected.values()) in lines


@pytest.mark.fuse
def test_mount_whose_daemon_died_is_stale(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        mount.kill()
        row = row_of(mount)
        assert (row["pid"], row["state"]) == (None, "stale")
        assert (row["queued"], row["failed"], row["bytes"]) == (None, None, None)


@pytest.mark.fuse
def test_what_is_unsent_is_counted(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "error"}])
        for name in ("f", "g"):
            with pytest.raises(OSError, match="Input/output"):
                (mount.path / name).write_bytes(b"12345")
        row = row_of(mount)
        assert (row["queued"], row["failed"], row["bytes"]) == (0, 2, 10)
        store.clear_faults()


@pytest.mark.fuse
def test_mount_that_hangs_is_told_in_time(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        os.kill(mount.daemon_pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert row_of(mount)["state"] == "no answer"
            assert time.monotonic() - began < 10
        finally:
            os.kill(mount.daemon_pid, signal.SIGCONT)


@pytest.mark.fuse
def test_odd_names_are_shown_as_they_are(store: StoreProcess) -> None:
    store.create_bucket("b")
    mount = Mount(store.endpoint, "ais://b")
    odd = mount.path.with_name("a b\\c")
    mount.path.rename(odd)
    mount.path = odd
    with mount:
        assert row_of(mount)["state"] == "ok"
