"""The control files of a mount: figures, and an order of reads that is announced."""

from __future__ import annotations

import errno
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from aisfs.vfs.orders import MAX_ORDERS
from aisfs_sdk import Client
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

pytestmark = pytest.mark.fuse

DIRECTORIES = 20
EACH = 15


def body(of: str) -> bytes:
    return random.Random(of).randbytes(2000)


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    """Return a store with a bucket of small files in several directories."""
    names = [f"d{d:02d}/f{f:02d}" for d in range(DIRECTORIES) for f in range(EACH)]
    with StoreProcess() as process:
        bucket = Client(process.endpoint).bucket("b").create()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: bucket.object(n).put_content(body(n)), names))
        yield process


@pytest.fixture
def mount(store: StoreProcess) -> Iterator[Mount]:
    with Mount(store.endpoint, "ais://b") as made:
        yield made


def figures(path: Path) -> dict[str, int]:
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return {key: int(value) for key, value in rows}


def wait_for(path: Path, key: str, least: int) -> dict[str, int]:
    """Return the figures once one of them is large enough."""
    end = time.monotonic() + 30
    while (now := figures(path))[key] < least and time.monotonic() < end:
        time.sleep(0.1)
    if now[key] >= least:
        return now
    raise AssertionError(f"{key} stays at {now[key]}, {least} expected: {now}")


def shuffled() -> list[str]:
    names = [f"d{d:02d}/f{f:02d}" for d in range(DIRECTORIES) for f in range(EACH)]
    random.Random(5).shuffle(names)
    return names


def test_an_announced_order_is_fetched_before_it_is_read(mount: Mount, store: StoreProcess) -> None:
    control, names = mount.path / ".aisfs", shuffled()
    (control / "order").write_text("\n".join(["no/such/file", *names]))  # no newline at the end
    stats = wait_for(control / "stats", "fetch_ahead.fetched", len(names))
    assert stats["fetch_ahead.failed"] == 0
    store.clear_requests()
    for name in names:
        assert (mount.path / name).read_bytes() == body(name)
    asked = [e for e in store.requests() if e["path"].startswith("/v1/objects/b/d")]
    assert not [e for e in asked if e["method"] == "GET"]
    assert figures(control / "stats")["fetch_ahead.used"] == len(names)
    order = figures(control / "order")
    assert order["missing"] == 1
    assert order["reached"] == order["wanted"] == len(names) + 1


def test_without_readahead_only_what_is_announced_is_fetched(store: StoreProcess) -> None:
    with Mount(store.endpoint, "ais://b", options=["readahead=0"]) as mount:
        for name in sorted(os.listdir(mount.path / "d00")):  # noqa: PTH208
            assert (mount.path / "d00" / name).read_bytes() == body(f"d00/{name}")
        control = mount.path / ".aisfs"
        assert figures(control / "stats")["fetch_ahead.fetched"] == 0
        (control / "order").write_text("d01/f00\nd01/f01\n")
        wait_for(control / "stats", "fetch_ahead.fetched", 2)


def test_an_order_cut_anywhere_is_the_same_order(mount: Mount) -> None:
    names = shuffled()
    text = "".join(f"{name}\n" for name in names).encode()
    with (mount.path / ".aisfs" / "order").open("wb", buffering=0) as file:
        for start in range(0, len(text), 7):
            assert file.write(text[start : start + 7]) == len(text[start : start + 7])
    wait_for(mount.path / ".aisfs" / "stats", "fetch_ahead.fetched", len(names))
    assert figures(mount.path / ".aisfs" / "order")["missing"] == 0


def write_for_ever(file: FileIO, piece: bytes) -> None:
    while True:
        file.write(piece)


def test_too_long_an_order_is_refused_and_harms_nothing(mount: Mount) -> None:
    piece = (b"x" * 250 + b"/y\n") * 400
    with (
        (mount.path / ".aisfs" / "order").open("wb", buffering=0) as file,
        pytest.raises(OSError, match="No space") as refused,
    ):
        write_for_ever(file, piece)
    assert refused.value.errno == errno.ENOSPC
    assert (mount.path / "d00/f00").read_bytes() == body("d00/f00")


def test_writing_to_an_order_that_made_room_for_others_is_refused(mount: Mount) -> None:
    path = mount.path / ".aisfs" / "order"
    first = os.open(path, os.O_WRONLY)
    others = [os.open(path, os.O_WRONLY) for _ in range(MAX_ORDERS)]
    try:
        with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
            os.write(first, b"a/0\n")
        os.write(others[0], b"a/0\n")
    finally:
        for handle in (first, *others):
            os.close(handle)


def test_the_control_directory_is_found_by_name_only(mount: Mount) -> None:
    assert ".aisfs" not in os.listdir(mount.path)  # noqa: PTH208
    control = os.listdir(mount.path / ".aisfs")  # noqa: PTH208
    assert {"order", "stats", "sync", "warm"} <= set(control)
    stat = (mount.path / ".aisfs" / "stats").stat()
    assert stat.st_size == 0
    assert stat.st_mode & 0o777 == 0o444


@pytest.mark.parametrize(
    "change",
    [
        lambda c: (c / "new").write_text("x"),
        lambda c: (c / "stats").unlink(),
        lambda c: (c / "order").rename(c.parent / "order"),
        lambda c: (c.parent / "d00/f00").rename(c / "stats"),
        lambda c: (c / "order").chmod(0o600),
        lambda c: os.setxattr(c / "order", "user.a", b"b"),
        lambda c: (c / "directory").mkdir(),
        lambda c: c.rmdir(),
        lambda c: c.rename(c.parent / "other"),
    ],
)
def test_control_files_cannot_be_changed(mount: Mount, change: object) -> None:
    with pytest.raises(PermissionError):
        change(mount.path / ".aisfs")  # type: ignore[operator]
    assert (mount.path / "d00/f00").read_bytes() == body("d00/f00")


def test_truncation_and_times_of_control_files_mean_nothing(mount: Mount) -> None:
    os.utime(mount.path / ".aisfs" / "order", (1, 1))
    os.truncate(mount.path / ".aisfs" / "order", 0)
    assert "cache.used_bytes" in figures(mount.path / ".aisfs" / "stats")
