"""Renames of directories on a real mount that fail, crash, or meet other work below them (C32)."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.support.crashes import renaming
from tests.support.memory import pss
from tests.support.mount import Mount
from tests.support.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

MEMBERS = 40


@pytest.fixture
def bucket(store: StoreProcess) -> Iterator[Bucket]:
    client = Client(store.endpoint)
    yield client.bucket("b").create()
    client.close()


@pytest.fixture
def mount(store: StoreProcess, bucket: Bucket) -> Iterator[Mount]:
    """Return a mount whose changes go by the gateway, where `hold` finds them."""
    with Mount(store.endpoint, "ais://b", options=["transport=sdk"]) as mounted:
        yield mounted


def fill(directory: Path) -> dict[str, str]:
    """Make a tree and return what its files hold, by their path below the directory."""
    files = {f"s{n % 3}/f{n:02}": f"content {n}\n" for n in range(MEMBERS)}
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    (directory / "empty").mkdir()
    return files


def files_in(directory: Path) -> dict[str, str]:
    """Return what the files below a directory hold."""
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def hold(store: StoreProcess, method: str, path: str, seconds: float = 40.0) -> None:
    """Hold requests up at the gateway: what is killed meanwhile never asks a target."""
    store.faults(
        [
            {
                "method": method,
                "path": f"^/v1/objects/b/{path}$",
                "role": "proxy",
                "action": "delay",
                "seconds": seconds,
            }
        ]
    )


def test_killed_while_copying_it_is_finished_before_the_next_mount_serves(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    files = fill(mount.path / "old")
    (mount.path / "new").mkdir()
    before = {entry.name for entry in bucket.list_all_objects()}
    hold(store, "PUT", "old/s1/f37")
    with renaming(mount.path / "old", mount.path / "new") as rename:
        wait_until(lambda: store.struck() > 0, "one member is being copied")
        assert any(entry.name.startswith("new/s") for entry in bucket.list_all_objects())
        mount.kill()
    assert rename.errno
    store.clear_faults()
    mount.remount()
    after = {entry.name for entry in bucket.list_all_objects()}
    assert after == {name.replace("old/", "new/") for name in before}
    assert files_in(mount.path / "new") == files
    assert (mount.path / "new/empty").is_dir()
    assert [path.name for path in mount.path.iterdir()] == ["new"]
    assert "finishing the interrupted rename of b/old/ to new/" in mount.log
    (mount.path / "new").rename(mount.path / "old")
    assert files_in(mount.path / "old") == files


def test_a_copy_that_comes_after_the_next_mount_makes_no_second_tree(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    """The request was on its way when the daemon was killed, and the cluster took its time."""
    files = fill(mount.path / "old")
    late = {"method": "PUT", "path": "/old/s1/f37$", "role": "target", "times": 1}
    store.faults([{**late, "action": "delay", "seconds": 6}])
    with renaming(mount.path / "old", mount.path / "new"):
        wait_until(lambda: store.struck() > 0, "one member is being copied")
        mount.kill()
    began = time.monotonic()
    mount.remount()
    for moment in ("before it comes", "after it came"):
        names = {entry.name for entry in bucket.list_all_objects()}
        trees = {name.partition("/")[0] for name in names}
        assert len(trees) == 1, f"{moment}: {sorted(names)}"
        assert files_in(mount.path / trees.pop()) == files
        time.sleep(max(0, began + 7 - time.monotonic()))


def test_killed_while_deleting_it_is_finished_before_the_next_mount_serves(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    files = fill(mount.path / "old")
    hold(store, "DELETE", "old/s1/f37")
    with renaming(mount.path / "old", mount.path / "new") as rename:
        wait_until(lambda: store.struck() > 0, "one old name is being deleted")
        mount.kill()
    assert rename.errno
    assert any(entry.name.startswith("old/") for entry in bucket.list_all_objects())
    store.clear_faults()
    mount.remount()
    assert not any(entry.name.startswith("old/") for entry in bucket.list_all_objects())
    assert [path.name for path in mount.path.iterdir()] == ["new"]
    assert files_in(mount.path / "new") == files
    assert (mount.path / "new/empty").is_dir()
    assert "finishing the interrupted rename of b/old/ to new/" in mount.log


def test_a_member_that_cannot_be_copied_gives_its_errno_and_nothing_changes(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    files = fill(mount.path / "old")
    before = {entry.name for entry in bucket.list_all_objects()}
    rule = {"method": "PUT", "path": "/old/s1/f37$", "role": "target", "action": "error"}
    store.faults([{**rule, "status": 507}])
    with pytest.raises(OSError) as failed:  # noqa: PT011 - the errno is what is checked
        (mount.path / "old").rename(mount.path / "new")
    assert failed.value.errno == errno.ENOSPC
    store.clear_faults()
    assert {entry.name for entry in bucket.list_all_objects()} == before
    assert not (mount.path / "new").exists()
    assert files_in(mount.path / "old") == files


def test_old_names_that_cannot_be_deleted_are_told_and_go_in_time(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    files = fill(mount.path / "old")
    store.faults([{"method": "DELETE", "path": "/old/s1/f37$", "action": "error"}])
    with pytest.raises(OSError) as failed:  # noqa: PT011 - the errno is what is checked
        (mount.path / "old").rename(mount.path / "new")
    assert failed.value.errno == errno.EIO
    wait_until(lambda: files_in(mount.path / "new") == files, "the kernel hears of it")
    store.clear_faults()
    wait_until(
        lambda: not any(e.name.startswith("old/") for e in bucket.list_all_objects()),
        "old names are gone",
    )
    wait_until(lambda: [p.name for p in mount.path.iterdir()] == ["new"], "the mount shows it")
    assert files_in(mount.path / "new") == files


def test_what_is_read_and_written_below_meanwhile_follows(
    store: StoreProcess, mount: Mount, bucket: Bucket
) -> None:
    """While a copy is held up: open files go on, changes wait, and all of them end in `new`."""
    files = fill(mount.path / "old")
    body = os.urandom(6 << 20)
    (mount.path / "old/big").write_bytes(body)
    mount.remount()
    reader = os.open(mount.path / "old/big", os.O_RDONLY)
    writer = os.open(mount.path / "old/s0/f00", os.O_RDWR)
    new = os.open(mount.path / "old/s0/made", os.O_RDWR | os.O_CREAT)
    inside = os.open(mount.path / "old/s1", os.O_RDONLY | os.O_DIRECTORY)
    os.pwrite(writer, b"CONTENT", 0)
    os.pwrite(new, b"one", 0)
    assert os.pread(reader, 100, 0) == body[:100]
    hold(store, "PUT", "old/s1/f37", 4.0)
    with renaming(mount.path / "old", mount.path / "new") as rename:
        wait_until(lambda: store.struck() > 0, "one member is being copied")
        os.pwrite(writer, b" and more", 7)
        os.pwrite(new, b"two", 3)
        assert os.pread(writer, 100, 0) == b"CONTENT and more"
        assert os.pread(reader, 1 << 20, 3 << 20) == body[3 << 20 :][: 1 << 20]
        changes = [
            threading.Thread(target=work)
            for work in (
                lambda: os.close(writer),
                lambda: os.fsync(new),
                lambda: os.unlink("f01", dir_fd=inside),
                lambda: os.mkdir("below", dir_fd=inside),
                lambda: os.symlink("f04", "link", dir_fd=inside),
                lambda: os.rename("f04", "f04-renamed", src_dir_fd=inside, dst_dir_fd=inside),
            )
        ]
        for change in changes:
            change.start()
        for change in changes:
            change.join(LIMIT_S)
    assert rename.errno == 0
    os.close(inside)
    assert os.pread(reader, len(body), 0) == body
    os.close(reader)
    os.close(new)
    expected = {**files, "s0/f00": "CONTENT and more", "s0/made": "onetwo"}
    del expected["s1/f01"]
    expected["s1/f04-renamed"] = expected.pop("s1/f04")
    assert (mount.path / "new/big").read_bytes() == body
    for _ in range(2):
        (mount.path / "new/big").unlink(missing_ok=True)
        assert str((mount.path / "new/s1/link").readlink()) == "f04"
        assert (mount.path / "new/s1/below").is_dir()
        assert files_in(mount.path / "new") == expected
        assert [path.name for path in mount.path.iterdir()] == ["new"]
        mount.remount()
    assert not any(entry.name.startswith("old/") for entry in bucket.list_all_objects())


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_large_directory_moves_no_bytes_and_takes_little_memory(
    store: StoreProcess, mount: Mount, bucket: Bucket, rounds: Callable[[int, int], int]
) -> None:
    count, size = rounds(1500, 10_000), 20_000
    for number in range(count):
        bucket.object(f"old/d{number % 7}/f{number}").put_content(b"%06d" % number * (size // 6))
    (mount.path / "old/d0/f0").stat()
    before = pss(mount.daemon_pid)
    store.clear_requests()
    (mount.path / "old").rename(mount.path / "new")
    requests = store.requests()
    assert {e.name for e in bucket.list_all_objects()} == {
        f"new/d{number % 7}/f{number}" for number in range(count)
    }
    objects = [r for r in requests if str(r["path"]).startswith("/v1/objects/")]
    assert sum(int(r["sent"]) + int(r["received"]) for r in objects) < count * size // 20
    assert pss(mount.daemon_pid) - before < 48 << 20
    assert (mount.path / "new/d1/f1").read_bytes() == b"000001" * (size // 6)
