"""`aisfs warm`: which paths it takes, and what it prints."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisfs.cli.control_handle import outermost
from aisfs.cli.warm import Report, _overflow
from aisfs_sdk import Client
from tests.support.mount import Mount, clean_environment, run_aisfs

if TYPE_CHECKING:
    from tests.support.store import StoreProcess


def fill(store: StoreProcess, bucket: str) -> None:
    made = Client(store.endpoint).bucket(bucket).create()
    for name, body in {"d/a": b"1" * 2000, "d/b": b"2" * 3000, "c c": b"3"}.items():
        made.object(name).put_content(body)


def test_a_path_is_needed() -> None:
    ended = run_aisfs("warm")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1


def test_a_path_outside_of_every_mount_is_refused(tmp_path: Path) -> None:
    ended = run_aisfs("warm", tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"aisfs: {tmp_path} is not in a mount of aisfs: 'aisfs status' lists them\n"
    )


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = run_aisfs("warm", tmp_path / "none")
    assert ended.returncode == 1
    assert ended.stderr == f"aisfs: {tmp_path / 'none'}: No such file or directory\n"


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["a", "b", "a"], ["a", "b"]),
        (["a/b/c", "a", "ab", "a/d"], ["a", "ab"]),
        (["a", "", "b"], [""]),
        (["b/a", "b/c"], ["b/a", "b/c"]),
    ],
)
def test_nothing_is_named_twice(paths: list[str], kept: list[str]) -> None:
    assert outermost(paths) == kept


def test_a_report_takes_figures_it_does_not_know() -> None:
    text = "state\tfilling\nfiles\t3\nnew\t4\nwarning\tslow\nfailure\td/a\tgone\n"
    report = Report.read(text, Path("/mnt"))
    assert (report.state, report.figures["files"], report.figures["new"]) == ("filling", 3, 4)
    assert (report.warnings, report.failures) == (["slow"], [("/mnt/d/a", "gone")])


def test_what_does_not_fit_is_told_with_what_helps() -> None:
    figures = {"files": 9, "bytes": 5 << 30, "does_not_fit": 6, "does_not_fit_bytes": 3 << 30}
    of_size = _overflow({**figures, "capacity_bytes": 5 << 29, "capacity_files": 9})
    assert of_size == "2.0 GiB of 5.0 GiB (3 of 9 files) fit the cache of 2.5 GiB: raise cache-size"
    of_count = _overflow({**figures, "capacity_bytes": 5 << 29, "capacity_files": 3})
    assert of_count.startswith("2.0 GiB of 5.0 GiB (3 of 9 files) fit: the cache remembers no more")


@pytest.mark.fuse
def test_relative_paths_links_and_several_mounts_at_once(
    store: StoreProcess, tmp_path: Path
) -> None:
    fill(store, "one")
    fill(store, "two")
    with Mount(store.endpoint, "ais://one") as one, Mount(store.endpoint, "ais://two") as two:
        (tmp_path / "link").symlink_to(two.path / "c c")
        ended = run_aisfs("warm", "../d", "../d/a", tmp_path / "link", cwd=one.path / "d")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == "3 files, 4.9 KiB in the cache\n"
        store.clear_requests()
        assert (one.path / "d/a").read_bytes() == b"1" * 2000
        assert (two.path / "c c").read_bytes() == b"3"
        assert not [
            e for e in store.requests() if "/objects/" in e["path"] and e["method"] == "GET"
        ]
        assert (two.path / "d/a").read_bytes() == b"1" * 2000  # was not named
        assert [e for e in store.requests() if "/objects/two/d/a" in e["path"]]


@pytest.mark.fuse
def test_json_is_one_object(store: StoreProcess) -> None:
    fill(store, "b")
    with Mount(store.endpoint, "ais://b") as mount:
        ended = run_aisfs("warm", "--json", mount.path)
        assert (ended.returncode, ended.stderr) == (0, "")
        told = json.loads(ended.stdout)
        assert told["complete"] is True
        assert (told["files"], told["files_done"], told["bytes_done"]) == (3, 3, 5001)
        assert (told["warnings"], told["failures"]) == ([], [])


@pytest.mark.fuse
def test_a_terminal_gets_a_bar_and_then_the_summary(store: StoreProcess) -> None:
    fill(store, "b")
    slow = {"action": "delay", "path": "/v1/objects/b/d", "method": "GET", "seconds": 0.6}
    with Mount(store.endpoint, "ais://b") as mount:
        store.faults([slow])
        leader, follower = pty.openpty()
        ended = subprocess.run(
            [sys.executable, "-m", "aisfs", "warm", mount.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=follower,
            env=clean_environment(TERM="xterm", COLUMNS="120"),
            timeout=30,
            check=False,
        )
        os.close(follower)
        shown = os.read(leader, 1 << 20).decode()
        os.close(leader)
        assert (ended.returncode, ended.stdout) == (0, b"3 files, 4.9 KiB in the cache\n")
        assert "/3 files" in shown
        assert "filling" in shown


@pytest.mark.fuse
def test_a_mount_that_does_not_answer_is_told(store: StoreProcess) -> None:
    fill(store, "b")
    with Mount(store.endpoint, "ais://b") as mount:
        os.kill(mount.daemon_pid, signal.SIGSTOP)
        try:
            ended = run_aisfs("warm", mount.path)
        finally:
            os.kill(mount.daemon_pid, signal.SIGCONT)
        assert ended.returncode == 1
        assert "does not answer" in ended.stderr
