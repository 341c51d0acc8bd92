"""`aisfs status`: every mount, never a hang."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.mount import Mount, clean_environment, run_aisfs
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
            "memory": 0,
            "disk": 0,
            "jobs": 0,
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
        assert (row["memory"], row["disk"], row["jobs"]) == (None, None, None)


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
            row = row_of(mount)
            assert (row["state"], row["memory"]) == ("no answer", None)
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


@pytest.mark.fuse
def test_what_the_cache_holds_is_told(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        (mount.path / "f").write_bytes(b"x" * 50_000)
        assert len((mount.path / "f").read_bytes()) == 50_000
        assert row_of(mount)["memory"] == 50_000


@pytest.mark.fuse
def test_a_mount_without_control_files_is_listed_all_the_same(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b", options=["control=off"]) as mount:
        row = row_of(mount)
        assert (row["state"], row["queued"]) == ("ok", 0)
        assert (row["memory"], row["disk"], row["jobs"]) == (None, None, None)


@pytest.mark.fuse
def test_a_cluster_that_does_not_tell_its_jobs_keeps_nobody_waiting(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        os.statvfs(mount.path)  # is known for 10 s
        store.faults([{"path": "/v1/cluster", "action": "delay", "seconds": 20.0}])
        began = time.monotonic()
        row = row_of(mount)
        assert time.monotonic() - began < 15
        assert (row["state"], row["memory"], row["jobs"]) == ("ok", 0, None)
        store.clear_faults()


def watched(words: list[str], terminal: int | None = None) -> subprocess.Popen[bytes]:
    output = subprocess.PIPE if terminal is None else terminal
    return subprocess.Popen(
        [sys.executable, "-m", "aisfs", "status", "--watch", *words],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        env=clean_environment(TERM="xterm", COLUMNS="250"),
    )


@pytest.mark.fuse
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_watching_into_a_pipe_gives_plain_lines(store: StoreProcess, words: list[str]) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount, watched(words) as process:
        assert process.stdout is not None
        mine = os.fsencode(mount.path)
        found: list[bytes] = []
        while len(found) < 2:
            line = process.stdout.readline()
            assert line
            assert b"\x1b" not in line
            found += [line] if mine in line else []
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    if words:
        assert all(isinstance(json.loads(line), list) for line in found)
    else:
        assert found[0].split(b"\t")[3] == b"ok"


@pytest.mark.fuse
def test_watching_on_a_terminal_shows_a_table_anew(store: StoreProcess) -> None:
    store.create_bucket("b")
    ours, theirs = os.openpty()
    with Mount(store.endpoint, "ais://b"), watched([], theirs) as process:
        os.close(theirs)
        shown = b""
        while shown.count(b"MOUNTPOINT") < 2:
            shown += os.read(ours, 1 << 16)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    os.close(ours)
    assert shown.count(b"\x1b[H\x1b[J") >= 2
