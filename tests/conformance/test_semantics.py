"""What the mount promises, one test or more per clause of docs/semantics.md, named by its number.

Runs on the cluster of AIS_ENDPOINT, else on the embedded store. The second client is the SDK.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import re
import stat
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisfs.cli import mounts
from aisfs_sdk import Client
from aisfs_sdk.eras import Feature
from tests.support.disk import taken
from tests.support.memory import pss
from tests.support.mount import Mount, run_aisfs
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

TTL = 1.0


def after_ttl() -> None:
    """Wait until what the mount knows has expired: the clause under test is about this time."""
    time.sleep(TTL + 0.2)


def content(bucket: Bucket, name: str) -> bytes:
    """Return an object's bytes as another client sees them."""
    return bucket.object(name).get().read_all()


def names(bucket: Bucket) -> set[str]:
    """Return the objects that another client sees."""
    return {entry.name for entry in bucket.list_all_objects()}


def raises(number: int) -> re.Pattern[str]:
    """Return what an OSError of this errno says."""
    return re.compile(re.escape(os.strerror(number)))


def test_c01_every_reader_sees_what_was_written_before_close(mount: Mount) -> None:
    """After `write()` returns, every reader on the same mount sees the bytes, before `close`,
    through any descriptor or mapping.
    """
    path = mount.path / "f"
    writer = os.open(path, os.O_CREAT | os.O_RDWR)
    os.write(writer, b"hello world")
    assert path.read_bytes() == b"hello world"
    os.pwrite(writer, b"HE", 0)
    reader = os.open(path, os.O_RDONLY)
    with mmap.mmap(reader, 11, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == b"HEllo world"
    os.close(reader)
    os.close(writer)


def test_c01_overwriting_a_part_keeps_the_rest(mount: Mount, bucket: Bucket) -> None:
    """What is written over a part of an object leaves the rest as it was."""
    body = os.urandom(3 << 20)
    bucket.object("f").put_content(body)
    with (mount.path / "f").open("r+b", buffering=0) as file:
        file.seek(1_500_000)
        file.write(b"XYZ")
        file.seek(1_499_990)
        assert file.read(20) == body[1_499_990:1_500_000] + b"XYZ" + body[1_500_003:1_500_010]
    assert content(bucket, "f") == body[:1_500_000] + b"XYZ" + body[1_500_003:]


def test_c02_an_open_after_close_sees_the_version_anywhere(
    endpoint: str, mount: Mount, bucket: Bucket
) -> None:
    """Once `close()` or `fsync()` returned 0, an `open()` anywhere sees that version or a newer
    one; another mount may go by what it knows of the object for as long as C3 says.
    """
    with Mount(endpoint, f"ais://{bucket.name}") as other:
        (mount.path / "f").write_text("one")
        assert (other.path / "f").read_text() == "one"
        after_ttl()
        (mount.path / "f").write_text("the second, longer")
        after_ttl()
        assert (other.path / "f").read_text() == "the second, longer"


def test_c02_another_content_of_the_same_size_and_time_is_read(
    endpoint: str, bucket: Bucket
) -> None:
    """That holds where size, time and inode number are the same as before, too."""
    # All that stat(2) shows is the same, since a PUT keeps the attributes that we stored.
    with Mount(endpoint, f"ais://{bucket.name}", options=["attribute-ttl=0s"]) as mount:
        path = mount.path / "f"
        path.write_bytes(b"a" * 5000)
        assert path.read_bytes() == b"a" * 5000
        before = path.stat()
        bucket.object("f").put_content(b"b" * 5000)
        now = path.stat()
        assert (now.st_ino, now.st_size, now.st_mtime_ns) == (
            before.st_ino, before.st_size, before.st_mtime_ns,
        )  # fmt: skip
        assert path.read_bytes() == b"b" * 5000


def test_c03_changes_of_others_show_within_the_ttl(mount: Mount, bucket: Bucket) -> None:
    """What `stat`, absent names and listings say is at most 1 s old (`attribute-ttl`,
    `negative-ttl`, `listing-ttl`; 0 is allowed), counted from when the kernel was told.
    """
    bucket.object("d/f").put_content(b"1")
    assert (mount.path / "d/f").stat().st_size == 1
    assert not (mount.path / "d/new").exists()
    assert [p.name for p in (mount.path / "d").iterdir()] == ["f"]
    bucket.object("d/f").put_content(b"four")
    bucket.object("d/new").put_content(b"")
    after_ttl()
    assert (mount.path / "d/f").stat().st_size == 4
    assert (mount.path / "d/new").exists()
    assert {p.name for p in (mount.path / "d").iterdir()} == {"f", "new"}
    bucket.object("d/new").delete()
    after_ttl()
    assert not (mount.path / "d/new").exists()


def test_c03_an_expired_listing_is_renewed_by_one_listing(store: StoreProcess) -> None:
    """An expired listing is renewed by listing again, not name by name. Directories of a tree walk
    are answered from a listing that is at most that old as well.
    """
    bucket = Client(store.endpoint).bucket("b").create()
    wanted = {f"d/e{number % 5}/f{number}" for number in range(50)}
    for name in wanted:
        bucket.object(name).put_content(b"x")
    with Mount(store.endpoint, "ais://b") as mount:
        for _ in range(3):
            after_ttl()
            store.clear_requests()
            found = [path for path in (mount.path / "d").rglob("*") if path.stat().st_size == 1]
            assert {str(path.relative_to(mount.path)) for path in found} == wanted
            asked = {r["path"] for r in store.requests() if r["path"].startswith("/v1/objects/")}
            assert asked <= {"/v1/objects/b/d"}  # nothing of what is in it
        bucket.object("d/e1/new").put_content(b"y")
        after_ttl()
        assert (mount.path / "d/e1/new") in set((mount.path / "d").rglob("*"))


def test_c04_an_open_file_never_mixes_two_versions(endpoint: str, bucket: Bucket) -> None:
    """All bytes read from one descriptor are of one version. If the object changed on the cluster,
    what is cached stays readable and the rest is `ESTALE`; a new `open` sees the new version.
    Where that is shorter, the kernel ends all descriptors at the size that `stat` shows now.
    """
    size, step = 24 << 20, 1 << 20
    bucket.object("f").put_content(b"a" * size)
    small = ["cache-memory=8MiB", "readahead=1MiB"]
    with Mount(endpoint, f"ais://{bucket.name}", options=small) as mount:
        fd = os.open(mount.path / "f", os.O_RDONLY)
        assert os.read(fd, step) == b"a" * step
        time.sleep(1.5)  # the stream that reads ahead closes when nobody goes on
        bucket.object("f").put_content(b"b" * size)
        with pytest.raises(OSError, match=raises(errno.ESTALE)):
            read_all_of(fd, b"a", size, step)
        os.close(fd)
        after_ttl()
        assert (mount.path / "f").read_bytes() == b"b" * size


def test_c04_who_opens_the_new_version_and_who_has_the_old_one_open_share_nothing(
    mount: Mount, bucket: Bucket
) -> None:
    """Whoever opens a new version while the old one is open here opens another file."""
    size = 256 << 10
    bucket.object("f").put_content(b"a" * size)
    old, path = os.open(mount.path / "f", os.O_RDONLY), mount.path / "f"
    try:
        assert os.pread(old, size, 0) == b"a" * size
        bucket.object("f").put_content(b"b" * size)
        after_ttl()
        with path.open("rb", buffering=0) as new:
            assert os.pread(old, size, 0) == b"a" * size
            assert new.read(size) == b"b" * size
            assert os.pread(old, size, 0) == b"a" * size
            assert os.fstat(new.fileno()).st_ino != os.fstat(old).st_ino
    finally:
        os.close(old)
    assert path.read_bytes() == b"b" * size


def test_c04_an_open_file_that_others_remove_is_stale_and_not_absent(
    endpoint: str, bucket: Bucket
) -> None:
    """What others removed is `ESTALE` for who has it open, not absent."""
    size, step = 24 << 20, 1 << 20
    bucket.object("f").put_content(b"a" * size)
    options = ["attribute-ttl=0s", "negative-ttl=0s", "listing-ttl=0s", "readahead=0"]
    with Mount(endpoint, f"ais://{bucket.name}", options=options) as mount:
        fd = os.open(mount.path / "f", os.O_RDONLY)
        assert os.pread(fd, step, 0) == b"a" * step
        bucket.object("f").delete()
        with pytest.raises(FileNotFoundError):
            (mount.path / "f").stat()
        assert os.fstat(fd).st_size == size
        assert os.pread(fd, step, 0) == b"a" * step
        with pytest.raises(OSError, match=raises(errno.ESTALE)):
            os.pread(fd, step, size // 2)
        os.close(fd)


def read_all_of(fd: int, letter: bytes, size: int, step: int) -> None:
    """Read a whole file that must consist of one letter."""
    for offset in range(0, size, step):
        assert os.pread(fd, step, offset) == letter * step


def test_c05_others_see_the_old_object_or_the_whole_new_one(mount: Mount, bucket: Bucket) -> None:
    """Other clients see the old object or the whole new one."""
    (mount.path / "f").write_bytes(b"o" * 1000)
    fd = os.open(mount.path / "f", os.O_WRONLY | os.O_TRUNC)
    for _ in range(10):
        os.write(fd, b"n" * 1000)
        assert content(bucket, "f") == b"o" * 1000
    os.close(fd)
    assert content(bucket, "f") == b"n" * 10_000


def test_c06_a_lost_update_is_refused_and_our_bytes_are_kept(mount: Mount, bucket: Bucket) -> None:
    """If the object changed on the cluster after it was opened here, `close`/`fsync` fail with
    `ESTALE`, the other client's version stays, and our bytes are stored beside it as
    `NAME.aisfs-conflict-TIME-ID` (not those of a file larger than staging, C15: they are lost).
    AIS has no conditional requests: a window of one round-trip between the check and the PUT
    remains. A name that was new when it was created here is not checked.
    """
    (mount.path / "f").write_bytes(b"base")
    fd = os.open(mount.path / "f", os.O_RDWR)
    os.write(fd, b"mine")
    bucket.object("f").put_content(b"theirs, meanwhile")
    with pytest.raises(OSError, match=raises(errno.ESTALE)):
        os.close(fd)
    assert content(bucket, "f") == b"theirs, meanwhile"
    (kept,) = [name for name in names(bucket) if name.startswith("f.aisfs-conflict-")]
    assert content(bucket, kept) == b"mine"
    after_ttl()
    assert (mount.path / "f").read_bytes() == b"theirs, meanwhile"


def test_c07_open_waits_for_a_commit_under_way(store: StoreProcess) -> None:
    """Opening a file that is being stored, and changing its attributes, wait until that has
    ended.
    """
    # Who opens it finds it stored, and changes that content.
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b") as mount, ThreadPoolExecutor(2) as pool:
        path = mount.path / "f"
        fd = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"the first content")
        store.faults([{"method": "PUT", "role": "target", "action": "delay", "seconds": 3}])
        closing = pool.submit(os.close, fd)
        wait_until(store.struck, "the content is being sent")
        changing = pool.submit(path.chmod, 0o604)
        again = os.open(path, os.O_RDWR)
        assert content(bucket, "f") == b"the first content"
        changing.result()
        store.clear_faults()
        assert os.pread(again, 100, 0) == b"the first content"
        os.pwrite(again, b"AND", 0)
        os.close(again)
        closing.result()
        assert content(bucket, "f") == b"AND first content"
        mount.remount()
        assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_c08_fsync_means_that_the_cluster_has_it(mount: Mount, bucket: Bucket) -> None:
    """`fsync` returns 0 only when the cluster acknowledged the present content. What that means is
    the bucket's affair (by default: in the page cache of one target). Writing may go on after it.
    """
    fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"first")
    os.fsync(fd)
    assert content(bucket, "f") == b"first"
    os.write(fd, b" and second")
    os.fsync(fd)
    assert content(bucket, "f") == b"first and second"
    os.close(fd)


def test_c09_close_stores(mount: Mount, bucket: Bucket) -> None:
    """`close` stores the content and returns the error."""
    (mount.path / "f").write_bytes(b"x")
    assert content(bucket, "f") == b"x"


def test_c10_what_could_not_be_stored_is_told_kept_and_tried_again(store: StoreProcess) -> None:
    """A failed upload is not dropped, unless its file is larger than staging (C15): the bytes stay
    in the state directory with a row in its journal, and are sent again by the next `fsync` or
    `close`.
    """
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b") as mount:
        fd = os.open(mount.path / "f", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"precious")
        store.faults([{"method": "PUT", "role": "target", "action": "error", "status": 500}])
        for _ in range(2):
            with pytest.raises(OSError, match=raises(errno.EIO)):
                os.fsync(fd)
        assert os.pread(fd, 100, 0) == b"precious"
        store.clear_faults()
        os.fsync(fd)
        assert content(bucket, "f") == b"precious"
        os.close(fd)


def test_c09_close_under_write_back_promises_and_fsync_still_waits(
    endpoint: str, bucket: Bucket
) -> None:
    """With `write-back` it returns when the content is durable on the local disk, with a row in
    the journal, and the upload follows; `fsync` still waits for the cluster.
    """
    with Mount(endpoint, f"ais://{bucket.name}", options=["write-back"]) as mount:
        with (mount.path / "f").open("wb", buffering=0) as file:
            file.write(b"synced")
            os.fsync(file.fileno())
            assert content(bucket, "f") == b"synced"
        for number in range(20):
            (mount.path / f"g{number}").write_bytes(b"%d" % number)
            assert (mount.path / f"g{number}").read_bytes() == b"%d" % number
        ended = run_aisfs("sync", mount.path)
        assert ended.returncode == 0, ended.stderr
        assert {f"g{number}" for number in range(20)} <= names(bucket)


def test_c10_each_descriptor_is_told_of_a_failed_upload_and_it_is_stored_later(
    store: StoreProcess,
) -> None:
    """They are sent again in the background, too, with pauses up to a minute; `user.ais.state` and
    `aisfs status` show it. A failure in the background is returned once by the next `fsync` or
    `close` of each descriptor that was open, unless the content is stored by then.
    """
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b", options=["write-back"]) as mount:
        path = mount.path / "f"
        first, second = (os.open(path, os.O_CREAT | os.O_WRONLY) for _ in range(2))
        store.faults([{"method": "PUT", "role": "target", "action": "error", "status": 500}])
        os.write(first, b"precious")
        os.close(os.dup(first))
        wait_for_state(path, "failed:EIO")
        for fd in (first, second):
            with pytest.raises(OSError, match=raises(errno.EIO)):
                os.close(os.dup(fd))
            os.close(fd)  # told once
        assert path.read_bytes() == b"precious"
        store.clear_faults()
        wait_for_state(path, "clean")
        assert content(bucket, "f") == b"precious"


def wait_for_state(path: Path, wanted: str) -> None:
    """Wait until a file is in a state of `user.ais.state`."""
    wait_until(lambda: os.getxattr(path, "user.ais.state") == wanted.encode(), f"it is {wanted}")


def test_c11_what_close_promised_survives_the_daemon(endpoint: str, bucket: Bucket) -> None:
    """`kill -9` and power loss lose nothing that `fsync`, or `close` under `write-back`,
    acknowledged: the next mount sends what is owed before it serves, with the check of C6.
    """
    # The daemon is killed at once: some is stored already, the rest by the next mount.
    with Mount(endpoint, f"ais://{bucket.name}", options=["write-back"]) as mount:
        for number in range(30):
            (mount.path / f"f{number}").write_bytes(b"%d" % number * 10_000)
        mount.kill()
        mount.remount()
        for number in range(30):
            assert content(bucket, f"f{number}") == b"%d" % number * 10_000
            assert (mount.path / f"f{number}").read_bytes() == b"%d" % number * 10_000
        assert {f"f{number}" for number in range(30)} == names(bucket)  # and no conflict copies


def test_c11_what_others_wrote_after_the_crash_stays(store: StoreProcess) -> None:
    """What others wrote meanwhile stays, and ours is beside it."""
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b", options=["write-back"]) as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "error", "status": 500}])
        (mount.path / "f").write_bytes(b"ours")
        mount.kill()
        store.clear_faults()
        bucket.object("f").put_content(b"theirs")
        mount.remount()
        (copy,) = names(bucket) - {"f"}
        assert copy.startswith("f.aisfs-conflict-")
        assert (content(bucket, "f"), content(bucket, copy)) == (b"theirs", b"ours")


def test_c11_what_the_cluster_refuses_is_tried_again_and_the_mount_serves(
    store: StoreProcess,
) -> None:
    """What the cluster refuses stays and is tried again, while the mount serves."""
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b", options=["write-back"]) as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "error", "status": 500}])
        (mount.path / "f").write_bytes(b"ours")
        mount.kill()
        assert not mounts.unmount(mount.path, lazy=True)
        ended = mount.try_mount()
        assert ended.returncode == 0
        assert "aisfs: sending 1 files (4 bytes) of an earlier mount" in ended.stderr
        assert list(mount.path.iterdir()) == []
        store.clear_faults()
        assert run_aisfs("sync", mount.path).returncode == 0
        assert content(bucket, "f") == b"ours"
        after_ttl()
        assert (mount.path / "f").read_bytes() == b"ours"


def test_c11_bytes_that_changed_in_the_state_directory_are_kept_and_not_sent(
    store: StoreProcess,
) -> None:
    """Staged bytes that are not as they were written down are kept and never sent."""
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b", options=["write-back"]) as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "error", "status": 500}])
        (mount.path / "f").write_bytes(b"ours")
        mount.kill()
        store.clear_faults()
        (data,) = (mount.state / "staging").iterdir()
        data.write_bytes(b"our")
        mount.remount()
        assert names(bucket) == set()
        assert data.read_bytes() == b"our"
        assert "has 3 bytes instead of 4" in mount.log
        assert run_aisfs("umount", mount.path).returncode == 1


def test_c11_a_second_process_on_the_state_is_refused(mount: Mount, tmp_path: Path) -> None:
    """A second process on the same state directory is refused, and so is another cluster while
    something is owed.
    """
    other = Mount(mount.endpoint, mount.source)
    other.state = mount.state
    ended = other.try_mount()
    assert ended.returncode == 32
    assert "--state-dir" in ended.stderr
    assert not other.mounted


def test_c12_unmounting_stores_what_is_open(mount: Mount, bucket: Bucket) -> None:
    """Unmounting and SIGTERM store what is still open, queued or failed, within `drain-timeout`;
    the rest stays in the journal.
    """
    fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"not yet closed")
    assert "f" not in names(bucket)
    os.kill(mount.daemon_pid, 15)
    wait_until(lambda: "f" in names(bucket), "what was open is stored")
    assert content(bucket, "f") == b"not yet closed"
    try:
        os.close(fd)
    except OSError as error:
        assert error.errno == errno.ENOTCONN  # noqa: PT017 - either is right: stored, or told so


def test_c12_umount_waits_for_the_queue_and_tells_what_is_unsent(store: StoreProcess) -> None:
    """`aisfs umount` waits for it and fails if anything is unsent."""
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b", options=["write-back"]) as mount:
        put = {"method": "PUT", "role": "target", "path": "^/v1/objects"}
        store.faults(
            [
                {**put, "path": "/bad$", "action": "error", "status": 500},
                {**put, "action": "delay", "seconds": 0.5},
            ]
        )
        for name in ("good1", "good2", "bad"):
            (mount.path / name).write_bytes(b"x")
        ended = run_aisfs("umount", mount.path)
        assert ended.returncode == 1
        assert "not everything is stored: 1 files" in ended.stderr
        assert names(bucket) == {"good1", "good2"}
        store.clear_faults()
        mount.mount()
        assert names(bucket) == {"good1", "good2", "bad"}


def test_c13_a_damaged_body_is_eio_and_never_data(store: StoreProcess) -> None:
    """An object read from start to end is compared with the checksum that the cluster keeps: a
    damaged one is `EIO`, never data.
    """
    bucket = Client(store.endpoint).bucket("b").create()
    for name, size in (("small", 100_000), ("large", 5 << 20)):
        body = os.urandom(size)
        bucket.object(name).put_content(body)
        rule = {"method": "GET", "role": "target", "action": "corrupt", "after_bytes": 70_000}
        with Mount(store.endpoint, "ais://b") as mount:
            store.faults([rule])
            with pytest.raises(OSError, match=raises(errno.EIO)):
                (mount.path / name).read_bytes()
            store.faults([])
            assert (mount.path / name).read_bytes() == body


def test_c13_a_small_body_damaged_on_its_way_is_fetched_again(store: StoreProcess) -> None:
    """A small one is fetched once more before."""
    bucket = Client(store.endpoint).bucket("b").create()
    body = os.urandom(100_000)
    bucket.object("small").put_content(body)
    with Mount(store.endpoint, "ais://b") as mount:
        rule = {"method": "GET", "role": "target", "action": "corrupt", "after_bytes": 70_000}
        store.faults([{**rule, "times": 1}])
        assert (mount.path / "small").read_bytes() == body
        assert store.struck() == 1


def test_c13_a_cut_body_is_resumed(store: StoreProcess) -> None:
    """A torn body is resumed."""
    bucket = Client(store.endpoint).bucket("b").create()
    body = os.urandom(5 << 20)
    bucket.object("f").put_content(body)
    with Mount(store.endpoint, "ais://b") as mount:
        store.faults([{"method": "GET", "role": "target", "action": "cut", "after_bytes": 700_000}])
        assert (mount.path / "f").read_bytes() == body
        store.faults([{"method": "GET", "role": "target", "action": "cut", "after_bytes": 0}])
        mount.remount()
        with pytest.raises(OSError, match=raises(errno.EIO)):
            (mount.path / "f").read_bytes()
        store.faults([])
        assert (mount.path / "f").read_bytes() == body


def test_c13_a_put_that_arrives_damaged_is_refused(mount: Mount, bucket: Bucket) -> None:
    """Each PUT carries the checksum of what was written."""
    import xxhash  # noqa: PLC0415

    body = os.urandom(100_000)
    (mount.path / "f").write_bytes(body)
    props = bucket.object("f").props
    assert props.checksum_value == xxhash.xxh64(body).hexdigest()


@pytest.mark.parametrize("action", ["delay", "stall"])
def test_c14_a_silent_cluster_is_an_errno(store: StoreProcess, action: str) -> None:
    """Every request has limits (3 s to connect, 20 s without a byte, 25 s for control calls with
    all retries): a silent cluster gives `ETIMEDOUT` or `EIO`, and the mount goes on when it
    answers again. An object whose target is gone is `EHOSTUNREACH`, not absent
    ([operations](operations.md)).
    """
    # Whether it does not begin to answer or stops in the middle.
    bucket = Client(store.endpoint).bucket("b").create()
    body = os.urandom(3 << 20)
    bucket.object("f").put_content(body)
    limits = ["timeout=1s", "idle-timeout=1s"]
    with Mount(store.endpoint, "ais://b", options=limits) as mount:
        silent = {"method": "GET", "path": "^/v1/objects/", "action": action, "seconds": 100}
        store.faults([{**silent, "after_bytes": 5000}])
        with pytest.raises(OSError) as failed:  # noqa: PT011 - two are right
            (mount.path / "f").read_bytes()
        assert failed.value.errno in {errno.ETIMEDOUT, errno.EIO}
        store.faults([{"method": method, "action": "delay", "seconds": 100} for method in METHODS])
        for refused in (
            (mount.path / "unknown").stat,
            lambda: (mount.path / "new").write_bytes(b"x"),
            (mount.path / "d").mkdir,
            lambda: (mount.path / "f").rename(mount.path / "g"),
        ):
            with pytest.raises(OSError) as failed:  # noqa: PT011 - two are right
                refused()
            assert failed.value.errno in {errno.ETIMEDOUT, errno.EIO}
        store.clear_faults()
        assert (mount.path / "f").read_bytes() == body


METHODS = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE")


def test_c15_a_large_file_is_sent_while_it_is_written(store: StoreProcess) -> None:
    """A new or truncated file that is written in order is sent to the cluster while it is written,
    once 8 MiB are there (`stream-after`), with bounded memory.
    """
    bucket = Client(store.endpoint).bucket("b").create()
    body = os.urandom(24 << 20)
    with Mount(store.endpoint, "ais://b") as mount:
        fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
        os.write(fd, body[: 16 << 20])
        wait_until(store.receives, "bytes are sent while half of it is written")
        os.write(fd, body[16 << 20 :])
        os.close(fd)
        (put,) = [r for r in store.requests() if r["method"] == "PUT" and r["status"] == 200]
        assert put["received"] == len(body)
    assert content(bucket, "f") == body


@pytest.mark.parametrize("ending", ["as written", "seek back", "cut", "flushed before"])
def test_c15_others_see_nothing_of_it_before_it_is_whole(
    mount: Mount, bucket: Bucket, ending: str
) -> None:
    """Others see the old object, or none, until `close` or `fsync`. What was sent is compared by
    checksum; a writer that changes it again, pauses for 10 s or is cut off costs another PUT of
    the whole.
    """
    bucket.object("f").put_content(b"old")
    body = bytearray(os.urandom(20 << 20))
    fd = os.open(mount.path / "f", os.O_WRONLY | os.O_TRUNC)
    for at in range(0, len(body), 1 << 20):
        os.write(fd, body[at : at + (1 << 20)])
        if ending == "flushed before" and at == 15 << 20:
            os.close(os.dup(fd))
            assert content(bucket, "f") == body[: 16 << 20]
    if ending != "flushed before":
        assert content(bucket, "f") == b"old"
    if ending == "seek back":
        os.pwrite(fd, b"header", 4)
        body[4:10] = b"header"
    elif ending == "cut":
        os.ftruncate(fd, 5 << 20)
        del body[5 << 20 :]
    os.close(fd)
    assert content(bucket, "f") == body
    assert (mount.path / "f").read_bytes() == body
    assert names(bucket) == {"f"}


def test_c15_a_mount_that_dies_meanwhile_leaves_the_old_object(
    mount: Mount, bucket: Bucket
) -> None:
    """A mount that dies meanwhile leaves the old object."""
    bucket.object("f").put_content(b"old")
    fd = os.open(mount.path / "f", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, bytes(20 << 20))
    mount.kill()
    with contextlib.suppress(OSError):
        os.close(fd)
    assert content(bucket, "f") == b"old"


@pytest.fixture
def little_room(endpoint: str, bucket: Bucket) -> Iterator[Mount]:
    """Return a mount that may keep 32 MiB of what is not stored yet."""
    with Mount(endpoint, f"ais://{bucket.name}", options=["staging-quota=32MiB"]) as mounted:
        yield mounted


def test_c15_a_file_larger_than_staging_is_sent_in_parts(
    little_room: Mount, bucket: Bucket
) -> None:
    """Such a file may be larger than staging on AIS 4.0 and newer, in its own buckets with XXH64
    checksums: when the room is used up it goes on as a multipart upload, and what a part
    acknowledged is freed here. Then its first bytes cannot be read or changed before it is closed
    (`ESPIPE`), a failure on the way loses what is not stored and every further `write`, `fsync`
    and `close` says so, and a write after an `fsync` is `EFBIG` ([write path](write-path.md)). On
    3.17 the writer gets `ENOSPC` when the room is used up.
    """
    piece, mount = os.urandom(1 << 20), little_room
    fd = os.open(mount.path / "f", os.O_CREAT | os.O_RDWR)
    for _ in range(32):
        os.write(fd, piece)
    if not bucket.bound_client.era.has(Feature.MULTIPART):
        with pytest.raises(OSError, match=raises(errno.ENOSPC)):
            os.write(fd, piece)
        os.close(fd)
        assert content(bucket, "f") == piece * 32
        return
    for _ in range(68):
        os.write(fd, piece)
        assert taken(mount.state / "staging") <= (32 << 20) + (64 << 10)
    assert names(bucket) == set()
    for use in (lambda: os.pread(fd, 1, 0), lambda: os.pwrite(fd, b"x", 0)):
        with pytest.raises(OSError, match=raises(errno.ESPIPE)):
            use()
    os.fchmod(fd, 0o640)
    os.close(fd)
    assert content(bucket, "f") == piece * 100
    after_ttl()
    assert stat.S_IMODE((mount.path / "f").stat().st_mode) == 0o640
    assert (mount.path / "f").read_bytes() == piece * 100


@pytest.mark.parametrize("ending", ["death", "conflict"])
def test_c15_what_was_sent_in_parts_replaces_nothing_before_it_is_whole(
    little_room: Mount, bucket: Bucket, ending: str
) -> None:
    """Parts replace nothing before the file is whole, nor what others stored meanwhile."""
    if not bucket.bound_client.era.has(Feature.MULTIPART):
        pytest.skip("this cluster takes no parts")
    bucket.object("f").put_content(b"old")
    fd = os.open(little_room.path / "f", os.O_WRONLY | os.O_TRUNC)
    for _ in range(48):
        os.write(fd, bytes(1 << 20))
    assert content(bucket, "f") == b"old"
    if ending == "death":
        little_room.kill()
        with contextlib.suppress(OSError):
            os.close(fd)
        assert content(bucket, "f") == b"old"
    else:
        bucket.object("f").put_content(b"theirs")
        with pytest.raises(OSError, match=raises(errno.ESTALE)):
            os.close(fd)
        assert content(bucket, "f") == b"theirs"
    assert names(bucket) == {"f"}


def test_c16_an_append_brings_nothing_of_the_object_here(mount: Mount, bucket: Bucket) -> None:
    """Bytes written behind the end of an object of at least 64 KiB move alone: the cluster copies
    the rest on its side. On AIS 5.0, in its own buckets without a remote one behind them, for
    objects with checksum and version that were not stored in parts; elsewhere the whole object is
    stored again.
    """
    # What is not fetched cannot be sent again either.
    body = os.urandom(12 << 20)
    bucket.object("f").put_content(body)
    fd = os.open(mount.path / "f", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"1" * 1024)
    os.fsync(fd)
    os.write(fd, b"2" * 1024)
    os.fsync(fd)
    (staged,) = (mount.state / "staging").glob("*.data")
    held = taken(staged)
    os.close(fd)
    assert content(bucket, "f") == body + b"1" * 1024 + b"2" * 1024
    if appends(bucket):
        assert held < 64 << 10
        assert bucket.object("f").props.obj_version == "3"
    after_ttl()
    assert (mount.path / "f").stat().st_size == len(body) + 2048


def appends(bucket: Bucket) -> bool:
    """Tell whether the cluster keeps what an object holds that is appended to."""
    return bucket.bound_client.era.has(Feature.APPEND_CONTINUES)


def test_c16_a_kilobyte_behind_a_large_object_moves_less_than_64_kib(store: StoreProcess) -> None:
    """Of such an object size and version are checked afterwards, as nobody here knows the checksum
    of the whole.
    """
    bucket = Client(store.endpoint).bucket("b").create()
    with tempfile.TemporaryFile() as file:
        os.truncate(file.fileno(), 1 << 30)
        bucket.object("f").get_writer().put(file, 1 << 30)
    with Mount(store.endpoint, "ais://b") as mount:
        store.clear_requests()
        with (mount.path / "f").open("ab") as appended:
            appended.write(b"x" * 1024)
        moved = sum(request["sent"] + request["received"] for request in store.requests())
    assert moved < 64 << 10
    props = bucket.object("f").props
    assert (props.size, props.obj_version) == ((1 << 30) + 1024, "2")
    assert bucket.object("f").get(byte_range="bytes=-2000").read_all() == bytes(976) + b"x" * 1024


@pytest.mark.parametrize("theirs", [b"theirs", b"t" * (1 << 20)], ids=["shorter", "as-long"])
def test_c16_an_append_keeps_what_others_wrote_meanwhile(
    mount: Mount, bucket: Bucket, theirs: bytes
) -> None:
    """If another client changed the object meanwhile, that is `ESTALE` as in C6, but only the new
    bytes are kept, in the state directory: the rest was never here.
    """
    bucket.object("f").put_content(bytes(1 << 20))
    fd = os.open(mount.path / "f", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"a line")
    bucket.object("f").put_content(theirs)
    with pytest.raises(OSError, match=raises(errno.ESTALE)):
        os.close(fd)
    assert content(bucket, "f") == theirs
    (staged,) = (mount.state / "staging").glob("*.data")
    assert staged.read_bytes().endswith(b"a line")


def test_c17_sparse_files_truncation_and_shared_mappings(mount: Mount, bucket: Bucket) -> None:
    """Random writes, truncation both ways, sparse files and shared writable mappings work within
    the staging quota. `O_TRUNC` downloads nothing.
    """
    fd = os.open(mount.path / "f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"end", 5_000_000)
    os.ftruncate(fd, 6_000_000)
    assert os.pread(fd, 10, 4_999_995) == b"\0\0\0\0\0end\0\0"
    with mmap.mmap(fd, 6_000_000) as mapped:
        mapped[10:15] = b"mmap!"
        mapped.flush()
    os.ftruncate(fd, 100)
    os.ftruncate(fd, 200)
    os.close(fd)
    assert content(bucket, "f") == (b"\0" * 10 + b"mmap!").ljust(200, b"\0")
    os.truncate(mount.path / "f", 12)
    assert content(bucket, "f") == b"\0" * 10 + b"mm"


def test_c17_fallocate_is_refused(mount: Mount) -> None:
    """`fallocate` is `EOPNOTSUPP`."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(mount.path / "f", os.O_CREAT | os.O_RDWR)
    assert libc.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(4096)) == -1
    assert ctypes.get_errno() == errno.EOPNOTSUPP
    os.close(fd)


def test_c18_writers_share_one_file_in_order(mount: Mount, bucket: Bucket) -> None:
    """Several writers on one mount share one file, in POSIX order."""

    def append(letter: str) -> None:
        with (mount.path / "log").open("ab", buffering=0) as file:
            for _ in range(50):
                file.write(letter.encode() * 10)

    (mount.path / "log").touch()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, "abcd"))
    stored = content(bucket, "log")
    assert len(stored) == 4 * 50 * 10
    assert {stored[n : n + 10] for n in range(0, len(stored), 10)} == {
        letter * 10 for letter in (b"a", b"b", b"c", b"d")
    }


def test_c19_open_descriptors_outlive_their_name(mount: Mount, bucket: Bucket) -> None:
    """After `unlink`, open descriptors go on with the old content (fetched first up to 256 MiB
    when the name is reused).
    """
    (mount.path / "f").write_bytes(b"old content")
    with (mount.path / "f").open("r+b", buffering=0) as file:
        (mount.path / "f").unlink()
        assert not (mount.path / "f").exists()
        assert list(mount.path.iterdir()) == []
        assert file.read() == b"old content"
        assert os.fstat(file.fileno()).st_nlink == 0
        file.write(b", more")
        (mount.path / "f").write_bytes(b"another file")
        assert os.pread(file.fileno(), 100, 0) == b"old content, more"
    assert content(bucket, "f") == b"another file"


def test_c19_an_unlinked_file_goes_at_last_close_unless_it_was_replaced(
    mount: Mount, bucket: Bucket
) -> None:
    """The object is deleted at the last close, if it still is the same."""
    for name in ("gone", "replaced"):
        (mount.path / name).write_bytes(b"x")
    descriptors = [os.open(mount.path / name, os.O_RDONLY) for name in ("gone", "replaced")]
    for name in ("gone", "replaced"):
        (mount.path / name).unlink()
    bucket.object("replaced").put_content(b"by somebody else")
    for fd in descriptors:
        os.close(fd)
    wait_until(lambda: "gone" not in names(bucket), "the object is deleted")
    assert content(bucket, "replaced") == b"by somebody else"


def test_c19_a_file_unlinked_while_open_goes_although_the_daemon_dies(
    mount: Mount, bucket: Bucket
) -> None:
    """If the daemon dies before, or the cluster refuses, the next mount does it, under the same
    condition.
    """
    for name in ("gone", "replaced"):
        (mount.path / name).write_bytes(b"x")
    descriptors = [os.open(mount.path / name, os.O_RDONLY) for name in ("gone", "replaced")]
    for name in ("gone", "replaced"):
        (mount.path / name).unlink()
    mount.kill()
    for fd in descriptors:
        with contextlib.suppress(OSError):
            os.close(fd)
    bucket.object("replaced").put_content(b"by somebody else")
    assert "gone" in names(bucket)
    mount.remount()
    assert names(bucket) == {"replaced"}
    assert content(bucket, "replaced") == b"by somebody else"


def test_c19_renaming_over_an_open_file_keeps_its_content(mount: Mount) -> None:
    """A rename over an open file leaves its descriptors the old content as well."""
    (mount.path / "old").write_bytes(b"o" * 300_000)
    (mount.path / "new").write_bytes(b"n" * 300_000)
    with (mount.path / "old").open("rb", buffering=0) as file:
        (mount.path / "new").rename(mount.path / "old")
        assert file.read() == b"o" * 300_000
    assert (mount.path / "old").read_bytes() == b"n" * 300_000


def test_c20_exclusive_create(mount: Mount, bucket: Bucket) -> None:
    """`O_CREAT|O_EXCL` is exact within one mount; between mounts it is a HEAD at create."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    with ThreadPoolExecutor(8) as pool:

        def attempt(_: int) -> int:
            try:
                return os.open(mount.path / "lock", flags)
            except FileExistsError:
                return -1

        winners = [fd for fd in pool.map(attempt, range(8)) if fd >= 0]
    assert len(winners) == 1
    os.close(winners[0])
    bucket.object("theirs").put_content(b"")
    with pytest.raises(FileExistsError):
        os.open(mount.path / "theirs", flags)


def test_c21_creating_and_closing_leaves_an_empty_object(mount: Mount, bucket: Bucket) -> None:
    """Creating and closing leaves an empty object."""
    (mount.path / "touched").touch()
    subprocess.run(["touch", mount.path / "by touch"], check=True)
    assert content(bucket, "touched") == b""
    assert content(bucket, "by touch") == b""


def test_c22_attributes_persist_and_come_back_in_listings(mount: Mount) -> None:
    """Modification time (ns), mode, owner, symbolic links and small `user.*` attributes persist
    with the object, in one custom key `aisfs`, and come back in listings.
    """
    file, link = mount.path / "f", mount.path / "l"
    file.write_text("x")
    file.chmod(0o640)
    os.utime(file, ns=(0, 1_234_567_890_123_456_789))
    os.setxattr(file, "user.colour", b"blue \xff:,=]")
    link.symlink_to("../elsewhere and more")
    os.utime(link, ns=(0, 1_111_111_111_111_111_111), follow_symlinks=False)
    (mount.path / "d").mkdir(mode=0o711)
    os.utime(mount.path / "d", ns=(0, 999_999_999_999_999_999))
    mount.remount()
    with os.scandir(mount.path) as entries:
        found = {e.name: e.stat(follow_symlinks=False) for e in entries}
    assert stat.filemode(found["f"].st_mode) == "-rw-r-----"
    assert found["f"].st_mtime_ns == 1_234_567_890_123_456_789
    assert found["l"].st_mtime_ns == 1_111_111_111_111_111_111
    assert stat.filemode(found["d"].st_mode) == "drwx--x--x"
    assert found["d"].st_mtime_ns == 999_999_999_999_999_999
    assert os.getxattr(file, "user.colour") == b"blue \xff:,=]"
    assert os.listxattr(file) == ["user.colour"]
    assert link.readlink() == Path("../elsewhere and more")


def test_c22_attributes_survive_storing_the_same_bytes_again(mount: Mount) -> None:
    """Storing the same bytes again keeps them."""
    # AIS drops the headers of a PUT of identical bytes.
    file = mount.path / "f"
    file.write_text("same")
    os.utime(file, ns=(0, 1_000_000_000_000_000_000))
    file.write_text("same")
    file.chmod(0o600)
    before = file.stat()
    mount.remount()
    assert file.stat().st_mtime_ns == before.st_mtime_ns > 1_000_000_000_000_000_000
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_c22_attributes_that_do_not_fit_are_enospc(mount: Mount) -> None:
    """There are 2 KB for them; more is `ENOSPC`."""
    file = mount.path / "f"
    file.write_text("x")
    with pytest.raises(OSError, match=raises(errno.ENOSPC)):
        os.setxattr(file, "user.big", b"x" * 2000)
    assert os.listxattr(file) == []


def test_c22_xattr_refusals(mount: Mount) -> None:
    """Other namespaces than `user.` are refused; what is named `user.ais.` tells of the object and
    is not listed.
    """
    file = mount.path / "f"
    file.write_text("x")
    # The kernel itself keeps others than root from trusted attributes.
    refused = errno.EOPNOTSUPP if os.getuid() == 0 else errno.EPERM
    with pytest.raises(OSError, match=raises(refused)):
        os.setxattr(file, "trusted.x", b"1")
    with pytest.raises(OSError, match=raises(errno.ENODATA)):
        os.getxattr(file, "user.none")
    with pytest.raises(OSError, match=raises(errno.EOPNOTSUPP)):
        os.setxattr(file, "user.ais.checksum", b"1")
    assert len(os.getxattr(file, "user.ais.checksum")) == 16
    assert os.listxattr(file) == []


def test_c23_objects_of_others_have_stable_times(mount: Mount, bucket: Bucket) -> None:
    """Objects of other clients show a stable time: the bucket's creation plus the version in
    seconds, nanoseconds of the checksum. It changes with the content.
    """
    bucket.object("f").put_content(b"1")
    by_head = (mount.path / "f").stat()
    mount.remount()
    with os.scandir(mount.path) as entries:
        (by_listing,) = [e.stat() for e in entries]
    assert by_listing.st_mtime_ns == by_head.st_mtime_ns == by_head.st_ctime_ns
    bucket.object("f").put_content(b"2")
    after_ttl()
    assert (mount.path / "f").stat().st_mtime_ns != by_head.st_mtime_ns


def test_c23_configured_owner_and_modes(endpoint: str, bucket: Bucket) -> None:
    """They show the configured owner and modes (`uid`, `gid`, `umask`, `file-mode`, `dir-mode`)."""
    bucket.object("d/f").put_content(b"1")
    options = ["uid=1234", "gid=4321", "umask=002"]
    with Mount(endpoint, f"ais://{bucket.name}", options=options) as mount:
        file, directory = (mount.path / "d/f").stat(), (mount.path / "d").stat()
    assert (file.st_uid, file.st_gid, stat.filemode(file.st_mode)) == (1234, 4321, "-rw-rw-r--")
    assert stat.filemode(directory.st_mode) == "drwxrwxr-x"


def test_c24_modes_times_and_owners_persist(endpoint: str, bucket: Bucket) -> None:
    """`chmod`, `chown` and `utimes` persist. Everything shows the mounter's owner unless
    `persist-owner` is set.
    """
    uid, gid = (1234, 4321) if os.getuid() == 0 else (os.getuid(), os.getgid())
    with Mount(endpoint, f"ais://{bucket.name}", options=["persist-owner"]) as mount:
        (mount.path / "f").write_text("x")
        (mount.path / "d").mkdir()
        (mount.path / "l").symlink_to("f")
        for name in ("f", "d", "l"):
            path = mount.path / name
            os.chown(path, uid, gid, follow_symlinks=False)
            os.utime(path, ns=(0, 1_300_000_000_000_000_007), follow_symlinks=False)
        (mount.path / "f").chmod(0o4751)
        (mount.path / "d").chmod(0o1730)
        mount.remount()
        for name, mode in (("f", "-rwsr-x--x"), ("d", "drwx-wx--T"), ("l", "lrwxrwxrwx")):
            found = (mount.path / name).lstat()
            assert (found.st_uid, found.st_gid) == (uid, gid)
            assert found.st_mtime_ns == 1_300_000_000_000_000_007
            assert stat.filemode(found.st_mode) == mode
    with Mount(endpoint, f"ais://{bucket.name}") as mount:
        for name in ("f", "d", "l"):
            found = (mount.path / name).lstat()
            assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())


def test_c25_statfs_shows_the_cluster(mount: Mount) -> None:
    """`statfs` shows the cluster's capacity."""
    room = os.statvfs(mount.path)
    assert room.f_blocks * room.f_frsize > 1 << 30
    assert 0 < room.f_bavail <= room.f_blocks


def test_c26_empty_directories_persist_and_markers_are_hidden(mount: Mount, bucket: Bucket) -> None:
    """Empty directories persist, by a hidden marker object `DIR/.aisfs-dir`. Names that begin with
    `.aisfs` are reserved (`EPERM`). In the root, `.aisfs` is the control directory and hides what
    the bucket has of that name, unless the mount has `control=off`.
    """
    (mount.path / "a/b").mkdir(parents=True)
    bucket.object("implicit/x").put_content(b"")
    mount.remount()
    assert {p.name for p in mount.path.iterdir()} == {"a", "implicit"}
    assert list((mount.path / "a/b").iterdir()) == []
    (mount.path / "implicit/x").unlink()
    mount.remount()
    assert list((mount.path / "implicit").iterdir()) == []
    with pytest.raises(PermissionError):
        (mount.path / "a/.aisfs-dir").touch()


def test_c27_rmdir_refuses_what_is_not_empty(mount: Mount, bucket: Bucket) -> None:
    """`rmdir` is `ENOTEMPTY` if a fresh recursive listing shows anything but the marker."""
    (mount.path / "d").mkdir()
    bucket.object("d/deep/down").put_content(b"")
    with pytest.raises(OSError, match=raises(errno.ENOTEMPTY)):
        (mount.path / "d").rmdir()
    bucket.object("d/deep/down").delete()
    (mount.path / "d").rmdir()
    assert not (mount.path / "d").exists()
    assert list(mount.path.iterdir()) == []
    (mount.path / "d").mkdir()
    assert [p.name for p in mount.path.iterdir()] == ["d"]


def test_c28_a_name_that_is_object_and_directory(store: StoreProcess) -> None:
    """Every object is reachable by exactly one path: beside objects `a/b`, an object `a` shows as
    `a.aisfs-object`.
    """
    # Real clusters keep both only where they fall on different disks.
    bucket = Client(store.endpoint).bucket("b").create()
    bucket.object("a").put_content(b"the object")
    bucket.object("a/b").put_content(b"inside")
    with Mount(store.endpoint, "ais://b") as mount:
        assert {p.name for p in mount.path.iterdir()} == {"a", "a.aisfs-object"}
        assert (mount.path / "a/b").read_text() == "inside"
        assert (mount.path / "a.aisfs-object").read_text() == "the object"
        mount.remount()
        with contextlib.suppress(NotADirectoryError):  # a HEAD answers at once, a LIST corrects it
            (mount.path / "a/b").stat()
        wait_until((mount.path / "a").is_dir, "the listing corrected it")
        assert (mount.path / "a/b").read_text() == "inside"


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("tab\there", errno.EINVAL),
        ("new\nline", errno.EINVAL),
        ("\udcff", errno.EINVAL),
        ("x" * 256, errno.ENAMETOOLONG),
        (".aisfs-mine", errno.EPERM),
        ("x.aisfs-object", errno.EPERM),
    ],
)
def test_c28_names_that_cannot_be_stored(mount: Mount, name: str, number: int) -> None:
    """Names that AIS refuses or mangles cannot be created: `EINVAL` for control characters and
    what is not UTF-8 (on 3.17 also `# & ' " < >`), `ENAMETOOLONG` above 255 bytes a component,
    also for looking it up where nothing has the name.
    """
    with pytest.raises(OSError, match=raises(number)):
        (mount.path / name).touch()
    with pytest.raises(OSError, match=raises(number)):
        (mount.path / name).mkdir()
    absent = errno.ENAMETOOLONG if number == errno.ENAMETOOLONG else errno.ENOENT
    with pytest.raises(OSError, match=raises(absent)):
        (mount.path / name).stat()


def test_c28_unusual_names_reach_other_clients_unchanged(mount: Mount, bucket: Bucket) -> None:
    """All others reach other clients unchanged."""
    odd = ["with blank", "ünï", "-dash", "a=b+c@d", "~tilde", "trailing.", "\u202e", "日本"]
    for name in odd:
        (mount.path / name).write_text(name)
    assert names(bucket) == set(odd)
    mount.remount()
    assert {p.name: p.read_text() for p in mount.path.iterdir()} == {name: name for name in odd}


def test_c29_a_directory_is_listed_completely(mount: Mount, bucket: Bucket) -> None:
    """Listings stream in batches with attributes: no duplicates, nothing lost."""
    # 2,500 names of several kinds, so that batches border on directories.
    wanted = {f"n{n}/f" for n in range(500)} | {f"n{n}.txt" for n in range(1000)}
    wanted |= {f"n{n}-x" for n in range(1000)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: bucket.object(name).put_content(b""), wanted))
    with os.scandir(mount.path) as entries:
        found = [entry.name for entry in entries]
    assert len(found) == len(set(found)) == 2500
    assert set(found) == {name.partition("/")[0] for name in wanted}


def test_c29_rewinding_and_seeking(mount: Mount) -> None:
    """They can be rewound and sought in."""
    for number in range(30):
        (mount.path / f"f{number}").touch()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    directory = ctypes.c_void_p(libc.opendir(os.fsencode(mount.path)))

    def rest() -> list[bytes]:
        found = []
        while entry := libc.readdir(directory):
            found.append(ctypes.string_at(entry + 19))
        return found

    libc.telldir.restype = ctypes.c_long
    first = rest()
    libc.rewinddir(directory)
    libc.readdir(directory)
    position = libc.telldir(directory)
    second = rest()
    libc.seekdir(directory, ctypes.c_long(position))
    assert rest() == second == first[1:]
    libc.closedir(directory)


def test_c30_a_lookup_costs_a_head_and_a_list_and_nothing_again(store: StoreProcess) -> None:
    """A look-up costs at most one HEAD (asked again at a gateway where a target has nothing) and
    one LIST, and nothing within the TTL or right after readdir.
    """
    bucket = Client(store.endpoint).bucket("b").create()
    bucket.object("d/f").put_content(b"x")
    bucket.object("d/e/f").put_content(b"x")
    options = [f"{name}-ttl=1m" for name in ("attribute", "negative", "listing")]

    def asked() -> list[str]:
        """Return what was asked for; a target that has nothing is no answer without a gateway's."""
        questions = {
            (r["method"], r["path"])
            for r in store.requests()
            if r["path"].startswith(("/v1/buckets/", "/v1/objects/"))
        }
        store.clear_requests()
        return sorted(method for method, _ in questions)

    with Mount(store.endpoint, "ais://b", options=options) as mount:
        (mount.path / "d").stat()
        for name in ("f", "absent", "e"):
            asked()
            for again in range(2):
                with contextlib.suppress(FileNotFoundError):
                    (mount.path / "d" / name).stat()
                time.sleep(1)  # an answer may have come before all that was asked for
                assert asked() in ([[]] if again else [["GET", "HEAD"], ["GET"], ["HEAD"]])
        mount.remount()
        assert sorted(path.name for path in (mount.path / "d").iterdir()) == ["e", "f"]
        asked()
        assert (mount.path / "d/f").stat().st_size == 1
        assert (mount.path / "d/e").is_dir()
        assert not (mount.path / "d/absent").exists()
        assert asked() == []


def test_c31_rename_keeps_content_and_attributes(mount: Mount, bucket: Bucket) -> None:
    """Renaming a file is a copy on the cluster, verified, then a delete: no bytes come here (but
    on 3.17, and for names with `%`, `?` or `#`, to which a cluster copies wrongly). A crash
    between the two leaves the file whole under both names.
    """
    (mount.path / "d").mkdir()
    old, new = mount.path / "old", mount.path / "d/new"
    old.write_text("content")
    os.utime(old, ns=(0, 1_222_333_444_555_666_777))
    old.chmod(0o604)
    new.write_text("to be replaced")
    old.rename(new)
    assert names(bucket) == {"d/.aisfs-dir", "d/new"}
    mount.remount()
    assert new.read_text() == "content"
    assert new.stat().st_mtime_ns == 1_222_333_444_555_666_777
    assert stat.S_IMODE(new.stat().st_mode) == 0o604


def test_c31_an_object_of_others_keeps_its_time(mount: Mount, bucket: Bucket) -> None:
    """What others stored keeps the time that it showed."""
    bucket.object("f").put_content(b"1")
    bucket.object("f").put_content(b"22")
    before = (mount.path / "f").stat().st_mtime_ns
    (mount.path / "f").rename(mount.path / "g")
    mount.remount()
    assert (mount.path / "g").stat().st_mtime_ns == before


def test_c31_noreplace_and_exchange(mount: Mount) -> None:
    """`RENAME_NOREPLACE` holds, `RENAME_EXCHANGE` is `EINVAL`."""
    (mount.path / "a").write_text("a")
    (mount.path / "b").write_text("b")
    libc = ctypes.CDLL(None, use_errno=True)

    def rename(flags: int) -> int:
        a, b = (os.fsencode(mount.path / name) for name in ("a", "b"))
        return ctypes.get_errno() if libc.renameat2(-100, a, -100, b, flags) else 0

    assert rename(1) == errno.EEXIST
    assert rename(2) == errno.EINVAL
    assert rename(0) == 0
    assert (mount.path / "b").read_text() == "a"


def test_c31_special_names_survive_a_rename(mount: Mount, bucket: Bucket) -> None:
    # A copy on the cluster would cut `?` and `#` and replace another object.
    (mount.path / "t").write_text("precious")
    names_ = ["t=1", "t+x", "t x"]
    for name in names_:
        (mount.path / "tmp").write_text(name)
        (mount.path / "tmp").rename(mount.path / name)
    assert (mount.path / "t").read_text() == "precious"
    assert names(bucket) == {"t", *names_}


def test_c32_rename_of_a_directory(mount: Mount, bucket: Bucket) -> None:
    """Renaming a directory of any size copies and verifies every member before anything is
    deleted, and is written down in the state directory. What is stored or removed below the
    directory meanwhile waits.
    """
    for number in range(30):
        directory = mount.path / "old" / f"sub{number % 3}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_text(str(number))
    (mount.path / "new").mkdir()
    (mount.path / "old").rename(mount.path / "new")
    assert not (mount.path / "old").exists()
    assert (mount.path / "new/sub1/f4").read_text() == "4"
    mount.remount()
    assert [p.name for p in mount.path.iterdir()] == ["new"]
    found = [p for p in (mount.path / "new").rglob("*") if p.is_file()]
    assert {p.name: p.read_text() for p in found} == {f"f{n}": str(n) for n in range(30)}
    (mount.path / "full").mkdir()
    (mount.path / "full/x").touch()
    with pytest.raises(OSError, match=raises(errno.ENOTEMPTY)):
        (mount.path / "new").rename(mount.path / "full")


def test_c32_a_crash_leaves_one_whole_tree(mount: Mount, bucket: Bucket) -> None:
    """After a crash the next mount on the same state finishes it before it serves, whatever the
    cluster still carries out of what it was asked for before; it undoes it only if others changed a
    member or stored something under its new name meanwhile, or if the cluster refuses. Other mounts
    see both trees in between.
    """
    # kill -9 at moments that are as they come: the next mount shows the old tree or the new.
    wanted = {}
    for number in range(60):
        name = f"s{number % 4}/f{number}"
        (mount.path / "0" / name).parent.mkdir(parents=True, exist_ok=True)
        (mount.path / "0" / name).write_text(name)
        wanted[name] = name
    now = "0"
    for turn, moment in enumerate((0.05, 0.15, 0.3, 0.6), 1):
        with ThreadPoolExecutor(1) as pool:
            renaming = pool.submit((mount.path / now).rename, mount.path / str(turn))
            time.sleep(moment)  # the moment is the point
            mount.kill()
            with contextlib.suppress(OSError):
                renaming.result()
        mount.remount()
        (left,) = [path.name for path in mount.path.iterdir()]
        assert left in {now, str(turn)}
        now = left
        found = [path for path in (mount.path / now).rglob("*") if path.is_file()]
        assert {str(p.relative_to(mount.path / now)): p.read_text() for p in found} == wanted
        assert all(name.startswith(f"{now}/") for name in names(bucket))


def test_c32_a_member_that_cannot_be_copied_gives_its_errno(store: StoreProcess) -> None:
    """A member that cannot be copied gives its errno, and nothing has changed. Where old names
    cannot be deleted the errno says so; everything is under the new name then, and they go as soon
    as the cluster lets the mount.
    """
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b") as mount:
        (mount.path / "old").mkdir()
        for number in range(20):
            (mount.path / f"old/{number}").touch()
        before = names(bucket)
        store.faults([{"method": "PUT", "path": "/old/7$", "action": "error", "status": 507}])
        with pytest.raises(OSError, match=raises(errno.ENOSPC)):
            (mount.path / "old").rename(mount.path / "new")
        store.clear_faults()
        assert names(bucket) == before
        assert not (mount.path / "new").exists()
        assert len(list((mount.path / "old").iterdir())) == 20


def test_c33_hard_links_and_special_files_are_eperm_and_locks_work(mount: Mount) -> None:
    """Hard links and special files are `EPERM`. Locks (`flock`, `fcntl`) are exact on one host."""
    file = mount.path / "f"
    file.touch()
    with pytest.raises(PermissionError):
        (mount.path / "link").hardlink_to(file)
    with pytest.raises(PermissionError):
        os.mkfifo(mount.path / "fifo")
    with file.open() as one, file.open() as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_c34_memory_staging_and_handles_are_bounded(endpoint: str, bucket: Bucket) -> None:
    """Memory, the cache on disk, staging and requests under way have limits
    ([concurrency](concurrency.md)). Beyond that of staging a writer waits up to 10 s, while large
    files are sent in parts (C15), and gets `ENOSPC`, or `EFBIG` at once for what never fits;
    readers are read ahead less.
    """
    body = os.urandom(1 << 20)
    bucket.object("f").put_content(body * 64)
    options = ["cache-memory=8MiB", "staging-quota=16MiB"]
    with Mount(endpoint, f"ais://{bucket.name}", options=options) as mount:
        before = pss(mount.daemon_pid)
        descriptors = [os.open(mount.path / "f", os.O_RDONLY) for _ in range(500)]
        with ThreadPoolExecutor(8) as pool:
            for part in pool.map(lambda n: os.pread(descriptors[n], 1 << 20, n << 20), range(64)):
                assert part == body
        for fd in descriptors:
            os.close(fd)
        assert pss(mount.daemon_pid) - before < 64 << 20
        fd = os.open(mount.path / "large", os.O_CREAT | os.O_WRONLY)
        for at in (1, 0, *range(2, 16)):  # not in order, so that it cannot be sent in parts
            os.pwrite(fd, body, at << 20)
        with pytest.raises(OSError, match=raises(errno.ENOSPC)):
            os.pwrite(fd, body, 16 << 20)
        os.close(fd)
        assert content(bucket, "large") == body * 16
        with pytest.raises(OSError, match=raises(errno.EFBIG)):
            os.truncate(mount.path / "large", 17 << 20)
        (mount.path / "after").write_bytes(body * 16)
    assert content(bucket, "after") == body * 16


def disk_figures(mount: Mount) -> dict[str, int]:
    """Return what the cache on disk did, once everything that was read is written."""
    end = time.monotonic() + 30
    while True:
        lines = (mount.path / ".aisfs/stats").read_text().splitlines()
        now = {name: int(value) for name, value in (line.split() for line in lines)}
        if now["disk.written"] >= now["disk.misses"]:
            return now
        assert time.monotonic() < end, "what was read is not kept"
        time.sleep(0.05)


def test_c13_a_page_that_changed_on_disk_is_fetched_again(
    endpoint: str, bucket: Bucket, tmp_path: Path
) -> None:
    """Each page on disk has a checksum of its own, compared whenever it is loaded; one that
    changed is fetched again.
    """
    body = os.urandom(3 << 20)
    bucket.object("f").put_content(body)
    with Mount(endpoint, f"ais://{bucket.name}", options=[f"cache-dir={tmp_path}"]) as mount:
        assert (mount.path / "f").read_bytes() == body
        assert disk_figures(mount)["disk.written"] == 3
        mount.unmount()
        (file,) = tmp_path.glob("*/*.pages")
        kept = bytearray(file.read_bytes())
        for page in range(3):
            kept[kept.index(body[page << 20 :][:100]) + 5000] ^= 1
        file.write_bytes(kept)
        mount.remount()
        assert (mount.path / "f").read_bytes() == body
        assert disk_figures(mount)["disk.corrupt"] == 3


def test_c35_what_was_read_outlives_the_mount_as_long_as_it_is_the_same(
    endpoint: str, bucket: Bucket, tmp_path: Path
) -> None:
    """The cache on disk (`cache-dir`) is keyed by cluster, bucket, name, checksum and size: what
    another content had is never read, what has no checksum is not kept. It survives the mount,
    `kill -9` included.
    """
    old, new = os.urandom(3 << 20), os.urandom(3 << 20)
    bucket.object("f").put_content(old)
    bucket.object("g").put_content(old[:5000])
    with Mount(endpoint, f"ais://{bucket.name}", options=[f"cache-dir={tmp_path}"]) as mount:
        for end in (mount.kill, mount.unmount):
            for _ in range(2):
                assert (mount.path / "f").read_bytes() == old
                assert (mount.path / "g").read_bytes() == old[:5000]
            disk_figures(mount)
            end()
            mount.remount()
        assert (mount.path / "f").read_bytes() == old
        assert (mount.path / "g").read_bytes() == old[:5000]
        again = disk_figures(mount)
        assert (again["disk.hits"], again["disk.misses"]) == (4, 0)
        bucket.object("f").put_content(new)
        mount.remount()
        assert (mount.path / "f").read_bytes() == new
        assert disk_figures(mount)["disk.hits"] == 0


def test_c35_the_quota_holds(endpoint: str, bucket: Bucket, tmp_path: Path) -> None:
    """It never takes more than `cache-size`, leaves `cache-free` free, and a disk that is full or
    fails is done without.
    """
    body = os.urandom(24 << 20)
    bucket.object("f").put_content(body)
    options = [f"cache-dir={tmp_path}", "cache-size=8MiB"]
    with Mount(endpoint, f"ais://{bucket.name}", options=options) as mount:
        for _ in range(2):
            assert (mount.path / "f").read_bytes() == body
            assert 1 << 20 < taken(tmp_path) <= 8 << 20


def test_c36_a_read_only_mount_is_erofs(endpoint: str, bucket: Bucket) -> None:
    """A read-only mount is `EROFS`."""
    bucket.object("f").put_content(b"x")
    with Mount(endpoint, f"ais://{bucket.name}", options=["ro"]) as mount:
        assert (mount.path / "f").read_bytes() == b"x"
        with pytest.raises(OSError, match=raises(errno.EROFS)):
            (mount.path / "f").write_bytes(b"y")
        with pytest.raises(OSError, match=raises(errno.EROFS)):
            (mount.path / "f").unlink()


def test_c36_without_deletion_names_stay(endpoint: str, bucket: Bucket) -> None:
    """With `no-delete`, names stay: unlink, rmdir and a rename over something are `EPERM`."""
    bucket.object("d/f").put_content(b"stored")
    with Mount(endpoint, f"ais://{bucket.name}", options=["no-delete"]) as mount:
        (mount.path / "empty").mkdir()
        (mount.path / "new").write_text("new")
        for refused in (
            (mount.path / "d/f").unlink,
            (mount.path / "empty").rmdir,
            lambda: (mount.path / "new").rename(mount.path / "d/f"),
            lambda: (mount.path / "d").rename(mount.path / "empty"),
        ):
            with pytest.raises(OSError, match=raises(errno.EPERM)):
                refused()
        assert "d/f is not removed: this mount has no-delete" in mount.log
        (mount.path / "new").write_text("newer")
        (mount.path / "new").rename(mount.path / "d/other")
    assert names(bucket) == {"d/f", "d/other", "empty/.aisfs-dir"}
    assert content(bucket, "d/other") == b"newer"


def test_c36_without_overwriting_what_is_stored_keeps_its_content(
    endpoint: str, bucket: Bucket
) -> None:
    """With `no-overwrite`, what is stored keeps its content: opening it for writing, truncating it
    and a rename over it are `EPERM`; new files can be made, and written until they are closed.
    """
    bucket.object("f").put_content(b"stored")
    with Mount(endpoint, f"ais://{bucket.name}", options=["no-overwrite"]) as mount:
        file = mount.path / "f"
        with (mount.path / "new").open("wb", buffering=0) as new:
            new.write(b"first, ")
            os.fsync(new.fileno())
            new.write(b"second")
            new.truncate(12)
        for refused in (
            lambda: file.write_text("other"),
            lambda: file.open("ab"),
            lambda: file.open("r+b"),
            lambda: os.open(file, os.O_RDONLY | os.O_TRUNC),
            lambda: os.truncate(file, 3),
            lambda: (mount.path / "new").write_text("again"),
            lambda: (mount.path / "new").rename(file),
        ):
            with pytest.raises(OSError, match=raises(errno.EPERM)):
                refused()
        assert "f keeps its content: this mount has no-overwrite" in mount.log
        file.chmod(0o600)
        (mount.path / "new").rename(mount.path / "renamed")
        (mount.path / "gone").touch()
        (mount.path / "gone").unlink()
    assert names(bucket) == {"f", "renamed"}
    assert content(bucket, "f") == b"stored"
    assert content(bucket, "renamed") == b"first, secon"


def test_c37_each_setting_comes_from_where_it_says(
    endpoint: str, bucket: Bucket, tmp_path: Path
) -> None:
    """A setting is what the command line says, else the environment (with the names of AIS and its
    SDK, too), else a configuration file, else what AIS's own command line is set up for, else its
    default ([configuration](configuration.md)). `aisfs config` shows each value in effect and where
    it is from.
    """
    toml = tmp_path / "config.toml"
    toml.write_text(
        '[cache]\nmemory = "32MiB"\n[staging]\nquota = "64MiB"\n[readahead]\nwindow = "4MiB"'
    )
    environment = {
        "AISFS_CONFIG": str(toml), "AISFS_CACHE_MEMORY": "16MiB", "AISFS_STAGING_QUOTA": "48MiB",
    }  # fmt: skip
    options = ["cache-memory=8MiB"]
    source = f"ais://{bucket.name}"
    with Mount(endpoint, source, options=options, environment=environment) as mount:
        ended = run_aisfs("config", "--json", mount.path)
        told = {name: tuple(found.values()) for name, found in json.loads(ended.stdout).items()}
        assert told["cache.memory"] == ("8MiB", "-o")
        assert told["staging.quota"] == ("48MiB", "AISFS_STAGING_QUOTA")
        assert told["readahead.window"] == ("4MiB", str(toml))
        assert told["mount.attribute_ttl"] == ("1s", "default")


@pytest.mark.parametrize("where", ["file", "-o"])
def test_c37_an_unknown_setting_is_an_error_that_names_it(
    endpoint: str, bucket: Bucket, tmp_path: Path, where: str
) -> None:
    """Unknown settings are errors that name them."""
    toml = tmp_path / "config.toml"
    toml.write_text('[cache]\nmemroy = "8MiB"' if where == "file" else "")
    mount = Mount(
        endpoint, f"ais://{bucket.name}",
        options=["cache-memroy=8MiB"] if where == "-o" else [],
        environment={"AISFS_CONFIG": str(toml)},
    )  # fmt: skip
    ended = mount.try_mount()
    assert ended.returncode == 32
    assert "memroy" in ended.stderr
    assert "nearest: cache" in ended.stderr
    assert not mount.mounted


def test_c37_limits_change_while_the_mount_runs(
    endpoint: str, bucket: Bucket, tmp_path: Path
) -> None:
    """Limits and the log's level change without a remount, by SIGHUP or `aisfs config --reload`."""
    toml = tmp_path / "config.toml"
    toml.write_text("")
    environment = {"AISFS_CONFIG": str(toml)}
    with Mount(endpoint, f"ais://{bucket.name}", environment=environment) as mount:
        (mount.path / "kept").write_bytes(b"x" * 1000)
        toml.write_text('[staging]\nquota = "5MiB"')
        ended = run_aisfs("config", "--reload", mount.path)
        assert ended.returncode == 0, ended.stderr
        with pytest.raises(OSError, match=raises(errno.EFBIG)):
            os.truncate(mount.path / "kept", 6 << 20)
        assert (mount.path / "kept").read_bytes() == b"x" * 1000


def test_c38_what_happens_is_counted_and_what_is_slow_is_logged(
    endpoint: str, bucket: Bucket
) -> None:
    """Every request of the kernel is counted by operation and errno, every one to the cluster by
    method and status: in `.aisfs/metrics`, for Prometheus at `metrics-listen`, and in `aisfs
    status`. What takes longer than `log-slow` is logged with what it waited for
    ([monitoring](monitoring.md)).
    """
    options = ["log-slow=1ms"]
    with Mount(endpoint, f"ais://{bucket.name}", options=options) as mount:

        def counted(metric: str) -> float:
            text = (mount.path / ".aisfs/metrics").read_text()
            found = (line for line in text.splitlines() if line.startswith(metric))
            return sum(float(line.split()[-1]) for line in found)

        (mount.path / "f").write_bytes(b"x" * (9 << 20))
        with pytest.raises(OSError, match=raises(errno.ENODATA)):
            os.getxattr(mount.path / "f", "user.absent")
        assert counted('aisfs_operations_total{operation="getxattr",errno="ENODATA"}') >= 1
        assert counted('aisfs_operations_total{operation="create",errno="OK"}') == 1
        assert counted("aisfs_written_bytes_total") == 9 << 20
        assert counted('aisfs_http_requests_total{method="PUT"') >= 1
        assert re.search(r"lookup of f took \d+\.\d s: \d+\.\d s for the cluster", mount.log)


def test_c39_objects_stay_plain(mount: Mount, bucket: Bucket) -> None:
    """Objects stay plain objects that any client can read; removing aisfs leaves only its markers
    behind."""
    (mount.path / "d").mkdir()
    (mount.path / "d/f").write_bytes(b"plain bytes")
    assert content(bucket, "d/f") == b"plain bytes"
    assert names(bucket) == {"d/f", "d/.aisfs-dir"}


def test_c39_one_command_removes_the_markers(mount: Mount, bucket: Bucket) -> None:
    """`aisfs purge-markers BUCKET` removes those, and nothing else."""
    (mount.path / "d/empty").mkdir(parents=True)
    (mount.path / "d/f").write_bytes(b"x")
    mount.unmount()
    ended = run_aisfs("purge-markers", bucket.name, "--endpoint", mount.endpoint)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "d/.aisfs-dir\nd/empty/.aisfs-dir\n"
    assert names(bucket) == {"d/f"}


def test_all_buckets_and_prefixes(endpoint: str, bucket: Bucket) -> None:
    """SOURCE: all buckets below one root, or the objects below one prefix."""
    bucket.object("p/q/f").put_content(b"x")
    with Mount(endpoint) as mount:
        assert bucket.name in {p.name for p in mount.path.iterdir()}
        assert (mount.path / bucket.name / "p/q/f").read_bytes() == b"x"
        (mount.path / bucket.name / "new").write_text("y")
        with pytest.raises(PermissionError):
            (mount.path / "a-new-bucket").mkdir()
        with pytest.raises(PermissionError):
            (mount.path / bucket.name).rmdir()
        assert content(bucket, "new") == b"y"
    with Mount(endpoint, f"ais://{bucket.name}/p/q") as mount:
        assert [p.name for p in mount.path.iterdir()] == ["f"]
        (mount.path / "g").write_text("z")
    assert content(bucket, "p/q/g") == b"z"
