"""`aisfs sync`: returns when the cluster has everything, or says what it has not."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Bucket, Client
from tests.support.mount import Mount, run_aisfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.store import StoreProcess

FAILS = {"method": "PUT", "role": "target", "action": "error", "path": "^/v1/objects/b/bad"}
SLOW = {"method": "PUT", "role": "target", "action": "delay", "seconds": 0.4, "times": 4}


@pytest.fixture
def bucket(store: StoreProcess) -> Bucket:
    return Client(store.endpoint).bucket("b").create()


@pytest.fixture
def mount(store: StoreProcess, bucket: Bucket) -> Iterator[Mount]:
    with Mount(store.endpoint, "ais://b", options=["write-back"]) as made:
        yield made
        store.clear_faults()


def names(bucket: Bucket) -> set[str]:
    return {entry.name for entry in bucket.list_all_objects()}


def test_a_path_outside_of_every_mount_is_refused(tmp_path: Path) -> None:
    ended = run_aisfs("sync", tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "is not in a mount of aisfs" in ended.stderr


@pytest.mark.fuse
def test_what_waits_is_on_the_cluster_on_return(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    (mount.path / "d").mkdir()
    store.faults([SLOW])
    for number in range(4):
        (mount.path / "d" / f"f{number}").write_bytes(b"x")
    ended = run_aisfs("sync", mount.path / "d")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("everything is on the cluster; ")
    assert {f"d/f{number}" for number in range(4)} <= names(bucket)


@pytest.mark.fuse
def test_what_is_open_is_stored_as_it_is(mount: Mount, bucket: Bucket) -> None:
    fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"so far")
    ended = run_aisfs("sync", mount.path)
    assert ended.returncode == 0, ended.stderr
    assert bucket.object("f").get().read_all() == b"so far"
    os.close(fd)


@pytest.mark.fuse
def test_only_what_is_named_is_waited_for(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    store.faults([FAILS])
    (mount.path / "bad").write_bytes(b"x")
    (mount.path / "good").write_bytes(b"x")
    assert run_aisfs("sync", mount.path / "good").returncode == 0
    assert "good" in names(bucket)


@pytest.mark.fuse
def test_what_cannot_be_stored_is_named_with_the_reason(store: StoreProcess, mount: Mount) -> None:
    store.faults([FAILS])
    (mount.path / "bad").write_bytes(b"x")
    ended = run_aisfs("sync", mount.path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"aisfs: {mount.path / 'bad'}: storing b/bad: ")
    told = json.loads(run_aisfs("sync", "--json", mount.path).stdout)
    assert told["failed"] == 1
    assert told["failures"][0]["path"] == str(mount.path / "bad")


@pytest.mark.fuse
def test_what_an_earlier_mount_left_belongs_to_its_path(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    store.faults([FAILS])
    (mount.path / "bad").write_bytes(b"x")
    mount.kill()
    mount.remount()
    ended = run_aisfs("sync", mount.path)
    assert ended.returncode == 1
    assert str(mount.path / "bad") in ended.stderr
    store.clear_faults()
    assert run_aisfs("sync", mount.path).returncode == 0
    assert names(bucket) == {"bad"}


@pytest.mark.fuse
def test_a_read_only_mount_has_nothing_to_sync(store: StoreProcess, bucket: Bucket) -> None:
    with Mount(store.endpoint, "ais://b", options=["ro"]) as mount:
        ended = run_aisfs("sync", mount.path)
        assert ended.returncode == 1
        assert "read-only" in ended.stderr
