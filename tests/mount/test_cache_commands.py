"""The control directory `cache`: what was read is dropped, doubted, or stored on command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.mount import Mount
from tests.support.store import StoreProcess, bucket_with
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

LONG = "3600s"
BODIES = {"d/one": b"1" * 5000, "d/two": b"2" * 3_000_000, "other": b"3" * 70_000}


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    with StoreProcess() as process:
        yield process


@pytest.fixture
def bucket(store: StoreProcess) -> Iterator[Bucket]:
    with bucket_with(store, BODIES) as filled:
        yield filled


@pytest.fixture(params=["memory", "disk"])
def mount(
    request: pytest.FixtureRequest, store: StoreProcess, bucket: Bucket, tmp_path: Path
) -> Iterator[Mount]:
    """Return a mount that believes what it knows, with and without a cache on disk."""
    options = [f"attribute-ttl={LONG}", f"listing-ttl={LONG}", f"negative-ttl={LONG}"]
    if request.param == "disk":
        options.append(f"cache-dir={tmp_path / 'cache'}")
    with Mount(store.endpoint, f"ais://{bucket.name}", options=options) as mounted:
        yield mounted


def tell(mount: Mount, line: str) -> None:
    fd = os.open(mount.path / ".aisfs" / "cache" / "ctl", os.O_WRONLY)
    try:
        assert os.write(fd, line.encode()) == len(line)
    finally:
        os.close(fd)


def figures(mount: Mount) -> dict[str, int]:
    lines = (mount.path / ".aisfs" / "cache" / "stats").read_text().splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def read(mount: Mount, name: str) -> None:
    assert (mount.path / name).read_bytes() == BODIES[name]


def fetched(store: StoreProcess) -> set[str]:
    """Return the objects whose bytes the store was asked for, and forget that it was."""
    found = {
        entry["path"].split("/", 4)[4]
        for entry in store.requests()
        if entry["method"] == "GET" and entry["path"].startswith("/v1/objects/")
    }
    store.clear_requests()
    return found


def read_all(mount: Mount) -> None:
    for name in BODIES:
        read(mount, name)
    wait_until(lambda: is_kept(figures(mount)), "what was read is on disk")


def is_kept(now: dict[str, int]) -> bool:
    return not now["disk.capacity_bytes"] or now["disk.written"] >= now["disk.misses"]


def test_what_is_dropped_is_fetched_again(store: StoreProcess, mount: Mount) -> None:
    read_all(mount)
    assert fetched(store) == set(BODIES)
    read_all(mount)
    assert fetched(store) == set()
    tell(mount, "drop d\n")
    read_all(mount)
    assert fetched(store) == {"d/one", "d/two"}
    tell(mount, "drop other\n")
    read_all(mount)
    assert fetched(store) == {"other"}
    tell(mount, "drop\n")
    assert figures(mount)["cache.used_bytes"] == 0
    read_all(mount)
    assert fetched(store) == set(BODIES)


def test_an_open_file_is_read_on_after_a_drop(mount: Mount) -> None:
    with (mount.path / "d/two").open("rb", buffering=0) as file:
        assert file.read(1000) == BODIES["d/two"][:1000]
        tell(mount, "drop")
        assert b"".join(iter(lambda: file.read(1 << 20), b"")) == BODIES["d/two"][1000:]


def test_nothing_dropped_comes_back_with_the_next_mount(store: StoreProcess, mount: Mount) -> None:
    read_all(mount)
    tell(mount, "drop\n")
    mount.kill()
    store.clear_requests()
    mount.remount()
    read_all(mount)
    assert fetched(store) == set(BODIES)


def test_what_is_doubted_is_asked_for_again(bucket: Bucket, mount: Mount) -> None:
    assert sorted(entry.name for entry in mount.path.iterdir()) == ["d", "other"]
    assert not (mount.path / "d/new").exists()
    bucket.object("d/new").put_content(b"new")
    bucket.object("other").put_content(b"another content")
    bucket.object("top").put_content(b"")
    assert not (mount.path / "d/new").exists()
    assert (mount.path / "other").stat().st_size == len(BODIES["other"])
    tell(mount, "invalidate d\n")
    assert (mount.path / "d/new").read_bytes() == b"new"
    assert (mount.path / "other").stat().st_size == len(BODIES["other"])
    tell(mount, "invalidate other\n")
    assert (mount.path / "other").read_bytes() == b"another content"
    tell(mount, "invalidate\n")
    assert sorted(entry.name for entry in mount.path.iterdir()) == ["d", "other", "top"]


def test_a_flush_stores_what_waits(store: StoreProcess, bucket: Bucket) -> None:
    with Mount(store.endpoint, f"ais://{bucket.name}", options=["write-back"]) as mount:
        rule = {"method": "PUT", "role": "target", "action": "delay", "seconds": 1}
        store.faults([rule])
        (mount.path / "d/late").write_bytes(b"late")
        (mount.path / "late").write_bytes(b"later")
        tell(mount, "flush d\n")
        assert bucket.object("d/late").get().read_all() == b"late"
        tell(mount, "flush\n")
        assert bucket.object("late").get().read_all() == b"later"
        store.faults([{"method": "PUT", "role": "target", "action": "error", "status": 507}])
        (mount.path / "never").write_bytes(b"never")
        with pytest.raises(OSError, match="No space"):
            tell(mount, "flush never\n")
        store.clear_faults()


@pytest.mark.parametrize(
    "line", ["drop a b", "dropp", "flush x=1", "invalidate ais://", "drop ../x"]
)
def test_what_is_no_command_is_refused(mount: Mount, line: str) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        tell(mount, line)
    assert line in (mount.path / ".aisfs" / "last").read_text()


def test_it_needs_no_leave_to_command_the_cluster(store: StoreProcess, bucket: Bucket) -> None:
    options = ["commands=none"]
    with Mount(store.endpoint, f"ais://{bucket.name}", options=options) as mount:
        read(mount, "other")
        store.clear_requests()
        tell(mount, "drop other")
        read(mount, "other")
        assert fetched(store) == {"other"}
