"""How the bytes of a written file get to the cluster: when, how many, and in which requests."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

MIB = 1 << 20
AFTER = 2 * MIB
"""What the mounts of these tests wait for before they send a file that is written."""

WAIT_S = 20.0


@pytest.fixture
def bucket(store: StoreProcess) -> Bucket:
    """Return a bucket of a store whose requests are counted."""
    return Client(store.endpoint).bucket("b").create()


@pytest.fixture
def mount(store: StoreProcess, bucket: Bucket) -> Iterator[Mount]:
    """Return a mount that sends files soon."""
    with Mount(store.endpoint, "ais://b", options=["stream-after=2MiB"]) as mounted:
        store.clear_requests()
        yield mounted


def puts(store: StoreProcess, name: str = "f") -> list[dict[str, Any]]:
    """Return the PUTs of an object at its target, in the order in which they ended."""
    return [
        r
        for r in store.requests()
        if r["method"] == "PUT" and r["path"].endswith(f"/{name}") and not r["node"].startswith("p")
    ]


def began(request: dict[str, Any]) -> float:
    """Return when a request began, in seconds since the epoch."""
    at: float = request["t"] - request["ms"] / 1000
    return at


def content(bucket: Bucket, name: str = "f") -> bytes:
    """Return an object's bytes as another client sees them."""
    return bucket.object(name).get().read_all()


def names(bucket: Bucket) -> set[str]:
    """Return the objects that another client sees."""
    return {entry.name for entry in bucket.list_all_objects()}


def write(fd: int, body: bytes | bytearray) -> None:
    """Write in order, in pieces as programs do."""
    for at in range(0, len(body), 128 << 10):
        os.write(fd, body[at : at + (128 << 10)])


def create(path: Path, flags: int = os.O_TRUNC) -> int:
    """Open a file for writing."""
    return os.open(path, os.O_CREAT | os.O_RDWR | flags)


def wait_until_sent(store: StoreProcess) -> None:
    """Wait until bytes arrive: the daemon sends what it has when it comes to it."""
    wait_until(store.receives, "bytes arrive")


# -- while it is written


def test_a_large_file_is_sent_while_it_is_written(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    body = os.urandom(9 * MIB + 5)
    fd = create(mount.path / "f")
    write(fd, body[: 5 * MIB])
    assert names(bucket) == set()
    wait_until_sent(store)
    second_half = time.time()
    write(fd, body[5 * MIB :])
    os.close(fd)
    assert content(bucket) == body
    (put,) = puts(store)
    assert put["received"] == len(body)
    assert began(put) < second_half
    assert (mount.path / "f").read_bytes() == body


def test_its_attributes_are_stored_with_it(store: StoreProcess, mount: Mount) -> None:
    path = mount.path / "f"
    fd = create(path)
    os.fchmod(fd, 0o640)
    write(fd, bytes(4 * MIB))
    os.utime(fd, ns=(1_000_000_000, 1_234_567_890))
    os.close(fd)
    mount.remount()
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_mtime_ns == 1_234_567_890


def test_an_object_that_is_truncated_is_replaced_at_the_end_only(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    bucket.object("f").put_content(b"old" * 1000)
    body = os.urandom(6 * MIB)
    store.clear_requests()
    fd = create(mount.path / "f")
    write(fd, body)
    assert content(bucket) == b"old" * 1000
    os.close(fd)
    assert content(bucket) == body
    assert [r["received"] for r in puts(store)] == [len(body)]


def test_another_clients_object_is_not_replaced(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    bucket.object("f").put_content(b"old")
    body = os.urandom(6 * MIB)
    fd = create(mount.path / "f")
    write(fd, body)
    bucket.object("f").put_content(b"theirs")
    with pytest.raises(OSError, match="Stale"):
        os.close(fd)
    assert content(bucket) == b"theirs"
    (kept,) = names(bucket) - {"f"}
    assert content(bucket, kept) == body


@pytest.mark.parametrize("change", ["overwrite", "truncate", "extend"])
def test_bytes_that_are_changed_later_are_stored_as_they_are_at_the_end(
    store: StoreProcess, mount: Mount, bucket: Bucket, change: str
) -> None:
    body = bytearray(os.urandom(6 * MIB))
    fd = create(mount.path / "f")
    write(fd, body)
    if change == "overwrite":
        os.pwrite(fd, b"header", 100)
        body[100:106] = b"header"
    elif change == "truncate":
        os.ftruncate(fd, MIB)
        body = body[:MIB]
    else:
        os.ftruncate(fd, 8 * MIB)
        body += bytes(2 * MIB)
    os.close(fd)
    assert content(bucket) == body
    ended = [r for r in puts(store) if r["status"] == 200]
    assert [r["received"] for r in ended] == [len(body)]


def test_a_seeking_writer_costs_one_put_more_and_no_half_file(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    fd = create(mount.path / "f")
    write(fd, b"a" * (4 * MIB))
    os.pwrite(fd, b"b", 0)
    os.fsync(fd)
    assert content(bucket) == b"b" + b"a" * (4 * MIB - 1)
    os.close(fd)
    assert len(names(bucket)) == 1


def test_a_file_that_goes_away_is_never_seen(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    fd = create(mount.path / "f")
    write(fd, bytes(4 * MIB))
    (mount.path / "f").unlink()
    write(fd, bytes(4 * MIB))
    os.close(fd)
    assert names(bucket) == set()
    assert [r for r in puts(store) if r["status"] == 200] == []


def test_a_file_that_is_renamed_is_stored_under_its_new_name(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    body = os.urandom(4 * MIB)
    fd = create(mount.path / "f")
    write(fd, body)
    (mount.path / "f").rename(mount.path / "g")
    write(fd, body)
    os.close(fd)
    assert names(bucket) == {"g"}
    assert content(bucket, "g") == body + body


def test_a_mount_that_is_killed_leaves_the_old_object(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    bucket.object("f").put_content(b"old")
    fd = create(mount.path / "f")
    write(fd, bytes(6 * MIB))
    mount.kill()
    with pytest.raises(OSError, match="not connected"):
        os.close(fd)
    assert content(bucket) == b"old"
    mount.remount()
    assert (mount.path / "f").read_bytes() == b"old"


@pytest.mark.parametrize("after", [0, 3 * MIB])
def test_a_connection_that_breaks_costs_another_put(
    store: StoreProcess, mount: Mount, bucket: Bucket, after: int
) -> None:
    rule = {"action": "cut-upload", "method": "PUT", "role": "target", "after_bytes": after}
    store.faults([{**rule, "times": 1}])
    body = os.urandom(9 * MIB)
    fd = create(mount.path / "f")
    write(fd, body)
    os.close(fd)
    assert store.struck() == 1
    assert content(bucket) == body
    assert [r["received"] for r in puts(store) if r["status"] == 200] == [len(body)]


def test_a_target_that_stalls_keeps_nobody_but_the_end_waiting(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    body = os.urandom(24 * MIB)
    with store.holding(method="PUT", role="target"):
        fd = create(mount.path / "f")
        write(fd, body)
        wait_until(store.held, "the file is being sent")
        assert puts(store) == []
    os.close(fd)
    (put,) = puts(store)
    assert put["received"] == len(body)
    assert content(bucket) == body


def test_a_lost_answer_is_no_conflict(store: StoreProcess, mount: Mount, bucket: Bucket) -> None:
    """The object is stored, and the mount is not told: it finds its own bytes there."""
    bucket.object("f").put_content(b"old")
    store.faults([{"action": "cut", "method": "PUT", "role": "target", "times": 1}])
    body = os.urandom(4 * MIB)
    fd = create(mount.path / "f")
    write(fd, body)
    os.close(fd)
    assert store.struck() == 1
    assert content(bucket) == body
    assert names(bucket) == {"f"}


def test_bytes_that_arrive_as_others_are_stored_again(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    store.faults([{"action": "wrong-checksum", "method": "PUT", "role": "target", "times": 1}])
    body = os.urandom(4 * MIB)
    fd = create(mount.path / "f")
    write(fd, body)
    os.close(fd)
    assert store.struck() == 1
    assert content(bucket) == body
    assert len(puts(store)) == 2


def test_an_object_that_is_not_where_it_should_be_is_stored_again(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    """The cluster changed while the file was written: a gateway does not find what was stored."""
    body = os.urandom(4 * MIB)
    fd = create(mount.path / "f")
    rule = {"action": "error", "status": 404, "method": "HEAD", "role": "proxy", "path": "/f$"}
    store.faults([{**rule, "times": 1}])
    write(fd, body)
    os.close(fd)
    assert store.struck() == 1
    assert len(puts(store)) == 2
    assert content(bucket) == body


def test_each_flush_makes_a_whole_object(store: StoreProcess, mount: Mount, bucket: Bucket) -> None:
    """As a shell does: children inherit the descriptor and close it when they end."""
    body = b""
    fd = create(mount.path / "f")
    for number in range(5):
        piece = bytes([number]) * (3 * MIB)
        write(fd, piece)
        body += piece
        os.close(os.dup(fd))
        assert content(bucket) == body
    os.close(fd)
    assert content(bucket) == body


def test_a_writer_that_pauses_gives_the_connection_up(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    body = os.urandom(4 * MIB)
    fd = create(mount.path / "f")
    write(fd, body)
    what = "the request is given up"
    wait_until(lambda: puts(store), what, pause_s=0.5, told=mount.log_tail)
    assert names(bucket) == set()
    write(fd, b"end")
    os.close(fd)
    assert content(bucket) == body + b"end"


def test_memory_does_not_grow_with_the_file(mount: Mount, bucket: Bucket) -> None:
    fd = create(mount.path / "f")
    piece = os.urandom(MIB)
    write(fd, piece * 8)
    before = resident(mount.daemon_pid)
    for _ in range(200):
        write(fd, piece)
    os.close(fd)
    assert bucket.object("f").props.size == 208 * MIB
    assert resident(mount.daemon_pid) - before < 32 * MIB


def resident(pid: int) -> int:
    """Return the most memory that a process has used, in bytes."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        (line,) = [each for each in status if each.startswith("VmHWM")]
    return int(line.split()[1]) << 10


def test_it_can_be_switched_off(store: StoreProcess, bucket: Bucket) -> None:
    with Mount(store.endpoint, "ais://b", options=["stream-after=0"]) as mount:
        fd = create(mount.path / "f")
        write(fd, bytes(12 * MIB))
        written = time.time()
        os.close(fd)
        (put,) = puts(store)
        assert began(put) > written


def test_a_cluster_of_2023_gets_it_so_too(tmp_path: Path) -> None:
    with StoreProcess(extra=("--compat", "3.17")) as store:
        bucket = Client(store.endpoint).bucket("b").create()
        with Mount(store.endpoint, "ais://b", options=["stream-after=2MiB"]) as mount:
            body = os.urandom(9 * MIB)
            fd = create(mount.path / "f")
            write(fd, body)
            wait_until_sent(store)
            written = time.time()
            os.close(fd)
            (put,) = puts(store)
            assert began(put) < written
            assert content(bucket) == body


def test_a_bucket_with_other_checksums_gets_whole_puts(store: StoreProcess, bucket: Bucket) -> None:
    """What arrived could not be compared with what was written."""
    store.set_bucket_props("b", {"checksum": {"type": "md5"}})
    with Mount(store.endpoint, "ais://b", options=["stream-after=2MiB"]) as mount:
        body = os.urandom(4 * MIB)
        fd = create(mount.path / "f")
        write(fd, body)
        written = time.time()
        os.close(fd)
        (put,) = puts(store)
        assert began(put) > written
        assert content(bucket) == body


# -- behind what is stored

OLD = 3 * MIB + 77
TAIL = b"a line\n" * 100


@pytest.fixture
def old(bucket: Bucket) -> bytes:
    """Return the content of an object `f` that is there before the mount."""
    body = os.urandom(OLD)
    bucket.object("f").put_content(body)
    return body


def moved(store: StoreProcess, name: str = "f") -> int:
    """Return how many bytes of bodies about an object went either way."""
    about = [r for r in store.requests() if r["path"].endswith(f"/{name}")]
    return sum(r["received"] + r["sent"] for r in about)


def append(path: Path, body: bytes = TAIL) -> None:
    """Append as programs do."""
    with path.open("ab", buffering=0) as file:
        file.write(body)


def kinds(store: StoreProcess) -> list[str]:
    """Tell what the PUTs of `f` were at its target."""
    known = ("append_type=append", "append_type=flush")
    return [next((k[12:] for k in known if k in r["query"]), "whole") for r in puts(store)]


def test_an_append_moves_the_new_bytes_only(
    store: StoreProcess, old: bytes, mount: Mount, bucket: Bucket
) -> None:
    append(mount.path / "f", b"x" * 1024)
    assert kinds(store) == ["append", "flush"]
    assert moved(store) < 8 << 10
    assert bucket.object("f").props.obj_version == "2"
    assert content(bucket) == old + b"x" * 1024
    assert (mount.path / "f").read_bytes() == old + b"x" * 1024


def test_writing_at_the_end_is_an_append_however_it_is_opened(
    store: StoreProcess, old: bytes, mount: Mount, bucket: Bucket
) -> None:
    fd = create(mount.path / "f", flags=0)
    os.pwrite(fd, TAIL, OLD)
    os.ftruncate(fd, OLD + 2000)
    os.close(fd)
    assert kinds(store) == ["append", "flush"]
    assert content(bucket) == old + TAIL.ljust(2000, b"\0")


def test_its_modification_time_is_stored(store: StoreProcess, old: bytes, mount: Mount) -> None:
    append(mount.path / "f")
    shown = (mount.path / "f").stat()
    mount.remount()
    assert (mount.path / "f").stat().st_mtime_ns == shown.st_mtime_ns
    assert abs(shown.st_mtime_ns / 1e9 - time.time()) < 60
    assert shown.st_size == OLD + len(TAIL)


def test_each_fsync_of_a_log_appends(
    store: StoreProcess, old: bytes, mount: Mount, bucket: Bucket
) -> None:
    fd = os.open(mount.path / "f", os.O_WRONLY | os.O_APPEND)
    for number in range(3):
        os.write(fd, b"%d" % number)
        os.fsync(fd)
        assert content(bucket) == old + b"012"[: number + 1]
    os.close(fd)
    assert kinds(store) == ["append", "flush"] * 3


def test_bytes_below_can_be_read_and_changed_after_an_append(
    store: StoreProcess, old: bytes, mount: Mount, bucket: Bucket
) -> None:
    fd = create(mount.path / "f", flags=0)
    os.pwrite(fd, TAIL, OLD)
    os.fsync(fd)
    assert os.pread(fd, 100, 2 * MIB) == old[2 * MIB : 2 * MIB + 100]
    os.pwrite(fd, b"below", 10)
    os.close(fd)
    assert kinds(store) == ["append", "flush", "whole"]
    assert content(bucket) == old[:10] + b"below" + old[15:] + TAIL


def test_a_change_below_is_no_append(
    store: StoreProcess, old: bytes, mount: Mount, bucket: Bucket
) -> None:
    fd = create(mount.path / "f", flags=0)
    os.pwrite(fd, b"below", 10)
    os.pwrite(fd, TAIL, OLD)
    os.close(fd)
    assert kinds(store) == ["whole"]
    assert content(bucket) == old[:10] + b"below" + old[15:] + TAIL


def test_cutting_and_appending_is_no_append(
    store: StoreProcess, old: bytes, mount: Mount, bucket: Bucket
) -> None:
    fd = create(mount.path / "f", flags=0)
    os.ftruncate(fd, OLD - 10)
    os.pwrite(fd, TAIL, OLD - 10)
    os.close(fd)
    assert kinds(store) == ["whole"]
    assert content(bucket) == old[:-10] + TAIL


def test_others_are_not_appended_to(
    store: StoreProcess, old: bytes, mount: Mount, bucket: Bucket
) -> None:
    """The tail is not made visible; without the old content no copy can be made of ours."""
    fd = os.open(mount.path / "f", os.O_WRONLY | os.O_APPEND)
    os.write(fd, TAIL)
    bucket.object("f").put_content(b"theirs")
    with pytest.raises(OSError, match="Stale"):
        os.close(fd)
    assert content(bucket) == b"theirs"
    assert "flush" not in kinds(store)
    (kept,) = (mount.state / "staging").glob("*.data")
    assert kept.read_bytes()[OLD:] == TAIL


def test_somebody_elses_write_at_the_same_time_is_told(
    store: StoreProcess, old: bytes, mount: Mount, bucket: Bucket
) -> None:
    """It falls between the last look and the flush, and shows in the version."""
    fd = os.open(mount.path / "f", os.O_WRONLY | os.O_APPEND)
    os.write(fd, TAIL)
    rule = {"method": "PUT", "role": "target", "path": "/f$", "times": 1}
    store.faults([{**rule, "action": "delay"}, {**rule, "action": "hold"}])
    closing = threading.Thread(target=lambda: errors.append(failure_of(fd)))
    errors: list[int] = []
    closing.start()
    wait_until(lambda: store.struck() == 2, "the append is to be flushed")
    bucket.object("f").put_content(b"theirs")
    store.clear_faults()
    closing.join()
    assert errors == [errno.ESTALE]
    assert list((mount.state / "staging").glob("*.data"))


def failure_of(fd: int) -> int:
    """Close a descriptor and return the errno, 0 if that went well."""
    try:
        os.close(fd)
    except OSError as error:
        return error.errno or -1
    return 0


@pytest.mark.parametrize("lost", ["append", "flush"])
def test_a_lost_answer_appends_once(
    store: StoreProcess, old: bytes, mount: Mount, bucket: Bucket, lost: str
) -> None:
    rule = {"method": "PUT", "role": "target", "path": "/f$", "times": 1}
    rules = [{**rule, "action": "cut"}]
    if lost == "flush":
        rules.insert(0, {**rule, "action": "delay"})
    store.faults(rules)
    append(mount.path / "f")
    assert store.struck() == len(rules)
    assert content(bucket) == old + TAIL
    assert kinds(store) == (
        ["append", "append", "flush"] if lost == "append" else ["append", "flush"]
    )


def test_a_flush_that_fails_is_followed_by_a_whole_put(
    store: StoreProcess, old: bytes, mount: Mount, bucket: Bucket
) -> None:
    rule = {"method": "PUT", "role": "target", "path": "/f$", "times": 1}
    store.faults([{**rule, "action": "delay"}, {**rule, "action": "error"}])
    append(mount.path / "f")
    assert content(bucket) == old + TAIL
    assert kinds(store) == ["append", "flush", "whole"]


def test_attributes_that_fail_do_not_append_again(
    store: StoreProcess, old: bytes, mount: Mount, bucket: Bucket
) -> None:
    fd = os.open(mount.path / "f", os.O_WRONLY | os.O_APPEND)
    os.write(fd, TAIL)
    store.faults([{"method": "PATCH", "action": "error", "status": 500}])
    with pytest.raises(OSError, match="Input/output"):
        os.fsync(fd)
    store.clear_faults()
    os.fsync(fd)
    os.write(fd, b"more")
    os.close(fd)
    assert content(bucket) == old + TAIL + b"more"
    assert kinds(store) == ["append", "flush", "append", "flush"]


def test_small_objects_are_stored_whole(store: StoreProcess, bucket: Bucket, mount: Mount) -> None:
    bucket.object("f").put_content(b"small")
    store.clear_requests()
    append(mount.path / "f")
    assert kinds(store) == ["whole"]
    assert content(bucket) == b"small" + TAIL


def test_an_object_stored_in_parts_is_not_appended_to(
    store: StoreProcess, bucket: Bucket, mount: Mount
) -> None:
    """The cluster would keep its first part only."""
    upload = bucket.object("f").multipart_upload().create()
    for number in (1, 2):
        upload.add_part(number).put_content(bytes([number]) * MIB)
    upload.complete()
    store.clear_requests()
    append(mount.path / "f")
    assert kinds(store) == ["whole"]
    assert content(bucket) == b"\1" * MIB + b"\2" * MIB + TAIL


def test_a_cluster_of_2023_gets_the_whole() -> None:
    """It would keep nothing of what was there."""
    with StoreProcess(extra=("--compat", "3.17")) as store:
        bucket = Client(store.endpoint).bucket("b").create()
        bucket.object("f").put_content(b"o" * MIB)
        with Mount(store.endpoint, "ais://b") as mount:
            store.clear_requests()
            append(mount.path / "f")
            assert kinds(store) == ["whole"]
            assert content(bucket) == b"o" * MIB + TAIL


def test_a_remote_bucket_gets_the_whole(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"o" * MIB)
    with (
        StoreProcess(extra=("--remote", f"aws://cloud={tmp_path}")) as store,
        Mount(store.endpoint, "aws://cloud") as mount,
    ):
        append(mount.path / "f")
        assert kinds(store) == ["whole"]
        assert (tmp_path / "f").read_bytes() == b"o" * MIB + TAIL
