"""Files that are larger than the room for what waits: sent in parts, and freed part by part."""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import pytest
import xxhash

from aisfs.cli import mounts
from aisfs_sdk import Client
from tests.support.crashes import wait_until_let_go
from tests.support.disk import taken
from tests.support.memory import pss
from tests.support.mount import Mount
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

MIB = 1 << 20
QUOTA = 32 * MIB
OPTIONS = ["staging-quota=32MiB", "stream-after=8MiB"]
SLACK = 64 << 10
"""Bytes of disk that the directory of the staged files takes itself."""

WAIT_S = 20.0


@pytest.fixture
def bucket(store: StoreProcess) -> Bucket:
    """Return a bucket of a store whose requests are counted."""
    return Client(store.endpoint).bucket("b").create()


@pytest.fixture
def mount(store: StoreProcess, bucket: Bucket) -> Iterator[Mount]:
    """Return a mount with little room."""
    with Mount(store.endpoint, "ais://b", options=OPTIONS) as mounted:
        store.clear_requests()
        yield mounted


def raises(number: int) -> re.Pattern[str]:
    """Return what an OSError of this errno says."""
    return re.compile(re.escape(os.strerror(number)))


def create(path: Path, flags: int = os.O_TRUNC) -> int:
    """Open a file for writing."""
    return os.open(path, os.O_CREAT | os.O_RDWR | flags)


def body_of(size: int) -> bytes:
    """Return bytes that are nowhere alike, made faster than by the kernel."""
    block = os.urandom(MIB)
    return b"".join(block[n * 997 :] + block[: n * 997] for n in range(size // MIB))


def write(fd: int, body: bytes) -> None:
    """Write in order, in pieces as programs do."""
    for at in range(0, len(body), 128 << 10):
        os.write(fd, body[at : at + (128 << 10)])


def content(bucket: Bucket, name: str = "f") -> bytes:
    """Return an object's bytes as another client sees them."""
    return bucket.object(name).get().read_all()


def names(bucket: Bucket) -> set[str]:
    """Return the objects that another client sees."""
    return {entry.name for entry in bucket.list_all_objects()}


def parts(store: StoreProcess) -> list[dict[str, Any]]:
    """Return the parts that reached a target."""
    return [
        r for r in store.requests() if "partNumber=" in r["query"] and not r["node"].startswith("p")
    ]


def left_over(store: StoreProcess) -> list[Path]:
    """Return what the store keeps of uploads that are not completed."""
    return [file for file in store.data.rglob("work/*") if file.is_file()]


def nothing_is_left(store: StoreProcess) -> bool:
    """Wait until the store has dropped what was given up."""
    until = time.monotonic() + WAIT_S
    while left_over(store) and time.monotonic() < until:
        time.sleep(0.05)
    return not left_over(store)


def fail(store: StoreProcess, method: str, action: str = "error", **more: Any) -> None:
    """Have targets fail requests of the files of these tests."""
    rule = {"action": action, "role": "target", "path": "/f$", "method": method, **more}
    store.faults([rule])


def started(path: Path, size: int = 48 * MIB) -> tuple[int, bytes]:
    """Write a file until its first bytes are not here any more."""
    body = body_of(size)
    fd = create(path)
    write(fd, body)
    return fd, body


def state(path: Path) -> str:
    """Return what the mount says of a file."""
    return os.getxattr(path, "user.ais.state").decode()


class Watch:
    """Looks all the while how much disk staged files take."""

    def __init__(self, mount: Mount) -> None:
        self._staging = mount.state / "staging"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self.most = max(self.most, taken(self._staging))


def test_a_file_larger_than_its_room_is_stored(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    body = body_of(200 * MIB)
    before = pss(mount.daemon_pid)
    with Watch(mount) as watch:
        fd = create(mount.path / "f")
        write(fd, body)
        assert state(mount.path / "f") == "dirty"
        assert names(bucket) == set()
        os.close(fd)
    assert content(bucket) == body
    assert (mount.path / "f").read_bytes() == body
    assert state(mount.path / "f") == "clean"
    props = bucket.object("f").props
    assert props.checksum_value == xxhash.xxh64(body).hexdigest()
    assert props.custom_metadata["aisfs"]
    assert QUOTA / 2 < watch.most <= QUOTA + SLACK
    assert pss(mount.daemon_pid) - before < 64 * MIB
    assert sum(part["received"] for part in parts(store)) == len(body)
    wait_until_let_go(mount)
    assert nothing_is_left(store)


def test_what_fits_is_kept_here_until_it_is_stored(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    fd, body = started(mount.path / "f", QUOTA)
    assert os.pread(fd, 100, 0) == body[:100]
    os.pwrite(fd, b"header", 0)
    os.close(fd)
    assert content(bucket) == b"header" + body[6:]
    assert parts(store) == []


def test_what_was_freed_cannot_be_had_back_and_the_file_goes_on(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    fd, body = started(mount.path / "f")
    for use in (
        lambda: os.pread(fd, 100, 0),
        lambda: os.pwrite(fd, b"header", 0),
        lambda: os.pwrite(fd, b"footer", len(body) - 6),
        lambda: os.ftruncate(fd, 100),
        lambda: os.ftruncate(fd, len(body) - 1),
    ):
        with pytest.raises(OSError, match=raises(errno.ESPIPE)):
            use()
    fail(store, "PUT", "delay", seconds=3)  # what comes now is here for so long at least
    os.write(fd, body[:100])
    assert os.pread(fd, 100, len(body)) == body[:100]
    store.clear_faults()
    os.write(fd, body)
    os.close(fd)
    assert content(bucket) == body + body[:100] + body
    assert nothing_is_left(store)


def test_a_hole_behind_it_is_zeros(store: StoreProcess, mount: Mount, bucket: Bucket) -> None:
    fd, body = started(mount.path / "f")
    os.pwrite(fd, b"end", len(body) + MIB)
    os.ftruncate(fd, len(body) + 2 * MIB)
    os.close(fd)
    assert content(bucket) == body + bytes(MIB) + b"end" + bytes(MIB - 3)
    assert len(parts(store)) > 2


@pytest.mark.parametrize("how", ["ftruncate", "open"])
def test_a_file_that_is_emptied_begins_anew(
    store: StoreProcess, mount: Mount, bucket: Bucket, how: str
) -> None:
    fd, _ = started(mount.path / "f")
    if how == "ftruncate":
        os.ftruncate(fd, 0)
    else:
        os.close(create(mount.path / "f"))
    assert nothing_is_left(store)
    body = body_of(40 * MIB)
    os.lseek(fd, 0, os.SEEK_SET)
    write(fd, body)
    os.close(fd)
    assert content(bucket) == body
    assert nothing_is_left(store)


def test_a_removed_file_leaves_nothing(store: StoreProcess, mount: Mount, bucket: Bucket) -> None:
    fd, _ = started(mount.path / "f")
    assert left_over(store)
    (mount.path / "f").unlink()
    assert nothing_is_left(store)
    os.close(fd)
    assert names(bucket) == set()
    fd, body = started(mount.path / "g")  # and there is room again
    os.close(fd)
    assert content(bucket, "g") == body


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("action", ["error", "cut", "cut-upload"])
def test_a_part_that_fails_loses_the_file_and_says_so(
    store: StoreProcess, mount: Mount, bucket: Bucket, old: bytes | None, action: str
) -> None:
    path = mount.path / "f"
    if old is not None:
        bucket.object("f").put_content(old)
    fd, body = started(path)
    fail(store, "PUT", action)
    with pytest.raises(OSError, match=raises(errno.EIO)):
        write(fd, body)
    assert state(path) in {"dirty", "failed:EIO"}
    with pytest.raises(OSError, match=raises(errno.EIO)):
        os.pread(fd, 100, 0)
    with pytest.raises(OSError, match=raises(errno.EIO)):
        os.fsync(fd)
    assert state(path) == "failed:EIO"
    with pytest.raises(OSError, match=raises(errno.EIO)):
        os.close(fd)
    store.clear_faults()
    assert nothing_is_left(store)
    assert names(bucket) == ({"f"} if old else set())
    assert path.exists() == (old is not None)
    if old is not None:
        assert path.read_bytes() == old
    path.write_bytes(b"new")
    assert content(bucket) == b"new"
    wait_until_let_go(mount)
    mount.unmount()


def test_a_first_part_that_fails_costs_nothing(store: StoreProcess, bucket: Bucket) -> None:
    """All bytes are here still, so the upload is begun again."""
    with Mount(store.endpoint, "ais://b", options=[*OPTIONS, "stream-after=0"]) as mount:
        fail(store, "PUT", times=1)
        fd, body = started(mount.path / "f")
        os.close(fd)
        assert store.struck() == 1
        assert content(bucket) == body
        assert nothing_is_left(store)


def test_another_clients_change_is_a_conflict_and_nothing_of_ours_is_stored(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    bucket.object("f").put_content(b"old")
    fd, _ = started(mount.path / "f")
    bucket.object("f").put_content(b"theirs")
    with pytest.raises(OSError, match=raises(errno.ESTALE)):
        os.close(fd)
    assert (names(bucket), content(bucket)) == ({"f"}, b"theirs")
    assert nothing_is_left(store)
    time.sleep(1.2)
    assert (mount.path / "f").read_bytes() == b"theirs"


def test_an_object_in_parts_goes_no_further_than_its_room(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    fd, body = started(mount.path / "f")
    os.fsync(fd)
    assert content(bucket) == body
    assert state(mount.path / "f") == "clean"
    assert os.pread(fd, 100, 0) == body[:100]
    assert os.pread(fd, 100, len(body) - 50) == body[-50:]
    with pytest.raises(OSError, match=raises(errno.EFBIG)):
        os.write(fd, b"more")
    os.close(fd)
    assert content(bucket) == body
    assert (mount.path / "f").read_bytes() == body


@pytest.mark.parametrize("done", [True, False])
def test_a_completion_without_an_answer_is_looked_after(
    store: StoreProcess, mount: Mount, bucket: Bucket, done: bool
) -> None:
    """`cut` does the work and closes; `error` does nothing. The parts are there for another try."""
    fd, body = started(mount.path / "f")
    fail(store, "POST", "cut" if done else "error", times=1)
    if done:
        os.fsync(fd)
    else:
        with pytest.raises(OSError, match=raises(errno.EIO)):
            os.fsync(fd)
    os.close(fd)
    assert store.struck() == 1
    assert content(bucket) == body
    assert nothing_is_left(store)


def test_an_object_that_is_not_what_was_sent_is_told(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    """It has the right size, and another checksum; the bytes are not here any more."""
    fd, _ = started(mount.path / "f")
    store.faults([{"action": "wrong-checksum", "method": "HEAD", "role": "target", "path": "/f$"}])
    with pytest.raises(OSError, match=raises(errno.EIO)):
        os.close(fd)
    assert "the cluster holds other bytes than were sent" in mount.log


def test_a_refused_completion_is_made_up_for_in_the_background(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    fd, body = started(mount.path / "f")
    fail(store, "POST", times=2)  # of close, and of the release that follows
    with pytest.raises(OSError, match=raises(errno.EIO)):
        os.close(fd)
    wait_until(lambda: names(bucket), "it is stored")
    assert content(bucket) == body
    assert (mount.path / "f").read_bytes() == body
    mount.unmount()
    assert list((mount.state / "staging").iterdir()) == []


def test_a_mount_that_dies_leaves_the_old_object(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    bucket.object("f").put_content(b"old")
    fd, _ = started(mount.path / "f")
    mount.kill()
    with pytest.raises(OSError, match=raises(errno.ENOTCONN)):
        os.close(fd)
    assert (names(bucket), content(bucket)) == ({"f"}, b"old")
    assert left_over(store)
    mount.remount()
    assert nothing_is_left(store)
    assert (mount.path / "f").read_bytes() == b"old"
    assert list((mount.state / "staging").iterdir()) == []


def test_a_mount_that_ends_stores_what_was_written(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    fd, body = started(mount.path / "f")
    os.kill(mount.daemon_pid, 15)
    assert mounts.wait_for_exit(mount.daemon_pid, WAIT_S)
    with pytest.raises(OSError, match=raises(errno.ENOTCONN)):
        os.close(fd)
    assert content(bucket) == body
    assert nothing_is_left(store)


@pytest.mark.parametrize("where", ["file", "directory"])
def test_a_rename_meanwhile_stores_it(
    store: StoreProcess, mount: Mount, bucket: Bucket, where: str
) -> None:
    (mount.path / "d").mkdir()
    fd, body = started(mount.path / "d/f")
    if where == "file":
        (mount.path / "d/f").rename(mount.path / "d/g")
    else:
        (mount.path / "d").rename(mount.path / "e")
    os.close(fd)
    now = "d/g" if where == "file" else "e/f"
    assert content(bucket, now) == body
    assert (mount.path / now).read_bytes() == body
    assert nothing_is_left(store)


def test_several_files_share_the_room(store: StoreProcess, mount: Mount, bucket: Bucket) -> None:
    bodies = {f"f{n}": body_of(24 * MIB) for n in range(6)}

    def store_one(item: tuple[str, bytes]) -> None:
        fd = create(mount.path / item[0])
        write(fd, item[1])
        os.close(fd)

    with Watch(mount) as watch, ThreadPoolExecutor(6) as pool:
        list(pool.map(store_one, bodies.items()))
    for name, body in bodies.items():
        assert content(bucket, name) == body
    assert watch.most <= QUOTA + QUOTA // 8  # one is freed between two looks at others
    assert nothing_is_left(store)


def test_with_write_back_it_waits_for_the_cluster(store: StoreProcess, bucket: Bucket) -> None:
    with Mount(store.endpoint, "ais://b", options=[*OPTIONS, "write-back"]) as mount:
        fd, body = started(mount.path / "f")
        os.close(fd)
        assert content(bucket) == body


@pytest.mark.parametrize("why", ["3.17", "md5"])
def test_elsewhere_the_room_is_the_limit(why: str) -> None:
    with StoreProcess(extra=("--compat", "3.17") if why == "3.17" else ()) as store:
        bucket = Client(store.endpoint).bucket("b").create()
        if why == "md5":
            store.set_bucket_props("b", {"checksum": {"type": "md5"}})
        with Mount(store.endpoint, "ais://b", options=OPTIONS) as mount:
            fd, body = started(mount.path / "f", QUOTA)
            with pytest.raises(OSError, match=raises(errno.ENOSPC)):
                os.write(fd, b"more")
            os.close(fd)
            assert content(bucket) == body
