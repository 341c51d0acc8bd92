"""`aisfs purge-markers`: what it removes, what it leaves, what it says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount, run_aisfs

if TYPE_CHECKING:
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

MARKERS = ["a/.aisfs-dir", "a/b/.aisfs-dir", "c/.aisfs-dir"]
OTHERS = ["a/f", "c/x.aisfs-dir", "c/.aisfs-dir-not", "d/.aisfs-dir"]
"""The last has bytes: no marker has."""


@pytest.fixture
def bucket(store: StoreProcess) -> Bucket:
    made = Client(store.endpoint).bucket("b").create()
    for name in MARKERS:
        made.object(name).put_content(b"")
    for name in OTHERS:
        made.object(name).put_content(b"bytes")
    return made


def names(bucket: Bucket) -> list[str]:
    return [entry.name for entry in bucket.list_all_objects()]


@pytest.mark.parametrize("source", ["b", "ais://b", "ais://b/"])
def test_markers_go_and_nothing_else(store: StoreProcess, bucket: Bucket, source: str) -> None:
    ended = run_aisfs("purge-markers", source, "--endpoint", store.endpoint)
    assert (ended.returncode, ended.stderr) == (0, "3 directory markers removed\n")
    assert ended.stdout.splitlines() == MARKERS
    assert names(bucket) == sorted(OTHERS)


def test_a_prefix_is_a_folder(store: StoreProcess, bucket: Bucket) -> None:
    words = ["purge-markers", "b", "--endpoint", store.endpoint, "--prefix"]
    assert run_aisfs(*words, "a/b/").stdout == "a/b/.aisfs-dir\n"
    assert run_aisfs(*words, "a").stdout == "a/.aisfs-dir\n"
    assert names(bucket) == sorted([*OTHERS, "c/.aisfs-dir"])


def test_a_dry_run_removes_nothing(store: StoreProcess, bucket: Bucket) -> None:
    ended = run_aisfs("purge-markers", "b", "-n", "--json", "--endpoint", store.endpoint)
    assert json.loads(ended.stdout) == {"dry_run": True, "markers": MARKERS, "failed": {}}
    assert names(bucket) == sorted(MARKERS + OTHERS)


def test_what_fails_is_told_and_the_rest_is_done(store: StoreProcess, bucket: Bucket) -> None:
    store.faults([{"method": "DELETE", "path": "/a/b/", "action": "error"}])
    ended = run_aisfs("purge-markers", "b", "--json", "--endpoint", store.endpoint)
    store.clear_faults()
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    assert told["markers"] == ["a/.aisfs-dir", "c/.aisfs-dir"]
    assert list(told["failed"]) == ["a/b/.aisfs-dir"]
    assert "1 markers could not be removed, among them a/b/.aisfs-dir" in ended.stderr
    assert names(bucket) == sorted([*OTHERS, "a/b/.aisfs-dir"])


def test_a_bucket_that_is_not_there_is_one_line(store: StoreProcess) -> None:
    for source in ("none", "http://127.0.0.1:1", "xx://b"):
        ended = run_aisfs("purge-markers", source, "--endpoint", store.endpoint)
        assert ended.returncode == 1
        assert len(ended.stderr.splitlines()) == 1, ended.stderr


@pytest.mark.fuse
def test_after_a_mount_only_objects_are_left(store: StoreProcess) -> None:
    bucket = Client(store.endpoint).bucket("m").create()
    with Mount(store.endpoint, "ais://m") as mount:
        (mount.path / "d/e").mkdir(parents=True)
        (mount.path / "d/f").write_text("x")
        (mount.path / "d").chmod(0o700)
        mount.path.chmod(0o755)
    assert run_aisfs("purge-markers", "m", "--endpoint", store.endpoint).returncode == 0
    assert names(bucket) == ["d/f"]
