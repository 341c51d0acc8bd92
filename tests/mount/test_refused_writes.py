"""Writes, deletions and renames that are refused: which call says so, and what is left.

Each is refused by something that really refuses: a bucket's access rights, a disk that is full on
the cluster's side or here, the staging quota. What was refused is kept, shown and never half there.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import Client
from tests.support.crashes import owed
from tests.support.disk import occupy, small_disk_at
from tests.support.mount import Mount, run_aisfs
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

MIB = 1 << 20

EVERYTHING = (1 << 64) - 1
NO_PUT, NO_DELETE = EVERYTHING & ~4, EVERYTHING & ~16
"""AIS's bits of a bucket's property `access`."""

SMALL, STREAMED = 20, 3 * MIB
OPTIONS = ["stream-after=1MiB"]


@pytest.fixture
def bucket(store: StoreProcess) -> Iterator[Bucket]:
    client = Client(store.endpoint)
    yield client.bucket("b").create()
    client.close()


@pytest.fixture
def mount(store: StoreProcess, bucket: Bucket) -> Iterator[Mount]:
    with Mount(store.endpoint, "ais://b", options=OPTIONS) as mounted:
        yield mounted


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_at(tmp_path) as path:
        yield path


def content(bucket: Bucket, name: str) -> bytes:
    """Return an object's bytes as another client sees them."""
    return bucket.object(name).get().read_all()


def permit(store: StoreProcess, access: int) -> None:
    """Set what may be done. A mount that did it before may go on for a minute: `sdk/grants.py`."""
    store.set_bucket_props("b", {"access": str(access)})


def names(bucket: Bucket) -> set[str]:
    return {entry.name for entry in bucket.list_all_objects()}


@contextmanager
def refused(number: int) -> Iterator[None]:
    """Check that a call fails with an errno."""
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        yield


def state_of(path: Path) -> str:
    return os.getxattr(path, "user.ais.state").decode()


def unsent(mount: Mount) -> list[dict[str, Any]]:
    """Return what `aisfs recover` shows, which it may while the mount is in use."""
    ended = run_aisfs("recover", "--state-dir", mount.state, "--json", "list")
    assert ended.returncode == 0, ended.stderr
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found


# -- the cluster refuses what is stored


@pytest.mark.parametrize("size", [SMALL, STREAMED], ids=["small", "streamed"])
def test_a_put_that_is_not_permitted_fails_fsync_and_close_and_can_be_recovered(
    store: StoreProcess, mount: Mount, bucket: Bucket, tmp_path: Path, size: int
) -> None:
    path, body = mount.path / "f", random.Random(size).randbytes(size)
    bucket.object("f").put_content(b"what was there before")
    permit(store, NO_PUT)
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    for start in range(0, size, MIB):
        os.write(fd, body[start : start + MIB])
    with refused(errno.EACCES):
        os.fsync(fd)
    assert state_of(path) == "failed:EACCES"
    with refused(errno.EACCES):
        os.close(fd)
    assert state_of(path) == "failed:EACCES"
    assert path.read_bytes() == body
    assert content(bucket, "f") == b"what was there before"
    (row,) = unsent(mount)
    assert (row["object"], row["bytes"], row["complete"]) == ("ais://b/f", size, True)
    assert "PUT access denied" in row["reason"]
    mount.kill()
    ended = run_aisfs("recover", "--state-dir", mount.state, "export", tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "b" / "f").read_bytes() == body
    permit(store, EVERYTHING)
    mount.remount()
    assert content(bucket, "f") == body
    assert unsent(mount) == []


def test_a_full_cluster_fails_fsync_and_close_and_gets_the_bytes_when_it_has_room(
    small_disk: Path,
) -> None:
    with StoreProcess(small_disk / "data") as store:
        bucket = Client(store.endpoint).bucket("b").create()
        with Mount(store.endpoint, "ais://b", options=OPTIONS) as mount:
            (mount.path / "kept").write_bytes(b"k" * MIB)
            in_the_way = occupy(small_disk)
            bodies = {"small": b"s" * 100_000, "streamed": b"l" * STREAMED, "kept": b"n" * STREAMED}
            for name, body in bodies.items():
                path = mount.path / name
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.write(fd, body)
                with refused(errno.ENOSPC):
                    os.fsync(fd)
                with refused(errno.ENOSPC):
                    os.close(fd)
                assert state_of(path) == "failed:ENOSPC"
                assert path.read_bytes() == body
            assert names(bucket) == {"kept"}
            assert content(bucket, "kept") == b"k" * MIB
            rows = unsent(mount)
            assert {row["object"]: row["bytes"] for row in rows} == {
                f"ais://b/{name}": len(body) for name, body in bodies.items()
            }
            assert all("out of space" in row["reason"] for row in rows)
            in_the_way.unlink()
            ended = run_aisfs("sync", mount.path)
            assert ended.returncode == 0, ended.stderr
            for name, body in bodies.items():
                assert content(bucket, name) == body
                assert state_of(mount.path / name) == "clean"
            assert unsent(mount) == []


# -- there is no room here


def test_a_full_quota_refuses_one_write_and_the_mount_goes_on(
    store: StoreProcess, bucket: Bucket
) -> None:
    options = ["staging-quota=4MiB", "stream-after=0"]
    with Mount(store.endpoint, "ais://b", options=options) as mount:
        (mount.path / "before").write_bytes(b"stored")
        large = os.open(mount.path / "large", os.O_CREAT | os.O_WRONLY)
        small = os.open(mount.path / "small", os.O_CREAT | os.O_WRONLY)
        for half in (MIB // 2, 0):  # not in order, so that it cannot be sent in parts
            os.pwrite(small, b"s" * (MIB // 2), half)
        os.write(large, b"l" * 3 * MIB)
        with refused(errno.ENOSPC):
            os.pwrite(small, b"s", MIB)
        assert (mount.path / "before").read_bytes() == b"stored"
        (mount.path / "before").rename(mount.path / "d")
        (mount.path / "d").unlink()
        assert (mount.path / "small").read_bytes() == b"s" * MIB
        os.close(large)
        os.pwrite(small, b"t" * MIB, MIB)
        os.close(small)
        assert content(bucket, "large") == b"l" * 3 * MIB
        assert content(bucket, "small") == b"s" * MIB + b"t" * MIB
        assert owed(mount.state) == {}


@contextmanager
def mounted_on(disk: Path, store: StoreProcess, *options: str) -> Iterator[Mount]:
    """Mount with the state directory on a small disk, and a quota that is larger than it."""
    mount = Mount(store.endpoint, "ais://b", options=["staging-quota=1GiB", *options])
    mount.state = disk / "state"
    with mount:
        yield mount


def test_a_full_local_disk_refuses_the_write_and_nothing_else(
    store: StoreProcess, bucket: Bucket, small_disk: Path
) -> None:
    bucket.object("old").put_content(b"o" * 100_000)
    with mounted_on(small_disk, store) as mount:
        fd = os.open(mount.path / "f", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"f" * MIB)
        in_the_way = occupy(small_disk)
        with refused(errno.ENOSPC):
            for _ in range(2):  # what still fits of the first one is a short write
                os.write(fd, b"x" * MIB)
        os.ftruncate(fd, MIB)
        assert (mount.path / "old").read_bytes() == b"o" * 100_000
        os.fsync(fd)
        assert content(bucket, "f") == b"f" * MIB
        (mount.path / "d").mkdir()
        (mount.path / "f").chmod(0o600)
        (mount.path / "old").rename(mount.path / "d" / "new")
        assert (mount.path / "d" / "new").read_bytes() == b"o" * 100_000
        (mount.path / "d" / "new").unlink()
        (mount.path / "d").rmdir()
        in_the_way.unlink()
        os.pwrite(fd, b"g" * MIB, MIB)
        os.close(fd)
        assert content(bucket, "f") == b"f" * MIB + b"g" * MIB
        mount.remount()
        assert owed(mount.state) == {}


def test_a_full_local_disk_refuses_the_rename_of_a_directory_and_nothing_of_it_is_done(
    store: StoreProcess, bucket: Bucket, small_disk: Path
) -> None:
    """Its members have to be written down first, and that is more than what the journal has."""
    for number in range(300):
        bucket.object(f"d/{number:03}-{'long' * 40}").put_content(b"%d" % number)
    before = names(bucket)
    with mounted_on(small_disk, store) as mount:
        in_the_way = occupy(small_disk)
        with refused(errno.ENOSPC):
            (mount.path / "d").rename(mount.path / "e")
        assert names(bucket) == before
        assert len(list((mount.path / "d").iterdir())) == 300
        assert not (mount.path / "e").exists()
        in_the_way.unlink()
        assert owed(mount.state) == {}
        (mount.path / "d").rename(mount.path / "e")
        assert len(list((mount.path / "e").iterdir())) == 300
        assert owed(mount.state) == {}


def test_a_full_local_disk_makes_a_close_store_at_once(
    store: StoreProcess, bucket: Bucket, small_disk: Path
) -> None:
    """Under write-back: a promise could not be written down (C9)."""
    with mounted_on(small_disk, store, "write-back") as mount:
        fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"f" * MIB)
        occupy(small_disk)
        os.close(fd)
        mount.kill()
    assert content(bucket, "f") == b"f" * MIB


# -- the cluster does not let names go


def test_an_unlink_that_is_not_permitted_says_so_and_the_file_stays(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    (mount.path / "f").write_bytes(b"f")
    permit(store, NO_DELETE)
    with refused(errno.EACCES):
        (mount.path / "f").unlink()
    assert content(bucket, "f") == b"f"
    assert (mount.path / "f").read_bytes() == b"f"
    assert [path.name for path in mount.path.iterdir()] == ["f"]
    (mount.path / "f").write_bytes(b"still written")
    assert content(bucket, "f") == b"still written"
    permit(store, EVERYTHING)
    (mount.path / "f").unlink()
    assert names(bucket) == set()


def test_a_rename_whose_old_name_may_not_go_says_so_and_leaves_both_whole(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    body = random.Random("old").randbytes(8 * MIB)
    bucket.object("old").put_content(body)
    (mount.path / "new").write_bytes(b"to be replaced")
    permit(store, NO_DELETE)
    with (mount.path / "old").open("rb", buffering=0) as old:
        assert old.read(100) == body[:100]
        with refused(errno.EACCES):
            (mount.path / "old").rename(mount.path / "new")
        assert content(bucket, "old") == content(bucket, "new") == body
        wait_until(lambda: (mount.path / "new").read_bytes() == body, "the mount shows it")
        # Two files now, and each goes its own way.
        (mount.path / "new").write_bytes(b"another content")
        assert os.pread(old.fileno(), MIB, 5 * MIB) == body[5 * MIB : 6 * MIB]
    assert (mount.path / "old").read_bytes() == body
    assert (mount.path / "new").read_bytes() == b"another content"
    permit(store, EVERYTHING)
    (mount.path / "old").rename(mount.path / "new")
    assert names(bucket) == {"new"}
    assert (mount.path / "new").read_bytes() == body
