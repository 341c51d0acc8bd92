"""The cache on disk, seen from programs, the store's request log and the disk itself (C35)."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.disk import occupy, small_disk_at, taken
from tests.support.mount import Mount
from tests.support.store import StoreProcess, bucket_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

KIB, MIB = 1 << 10, 1 << 20
BODIES = {
    "big": random.Random("big").randbytes(20 * MIB + 12345),
    "medium": random.Random("medium").randbytes(300 * KIB),
    **{f"d/f{n:03d}": random.Random(n).randbytes(4 * KIB + n) for n in range(120)},
}
LIMIT_S = 30.0


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    with StoreProcess() as process:
        yield process


@pytest.fixture
def bucket(store: StoreProcess) -> Iterator[Bucket]:
    """Return a bucket of the test's own, with objects of all sizes."""
    with bucket_with(store, BODIES) as filled:
        yield filled


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def mounter(store: StoreProcess, bucket: Bucket, directory: Path) -> Callable[..., Mount]:
    """Return what makes mounts of the bucket that keep pages in the directory."""

    def made(*options: str) -> Mount:
        words = [f"cache-dir={directory}", *options]
        return Mount(store.endpoint, f"ais://{bucket.name}", options=words)

    return made


def gets(store: StoreProcess) -> int:
    """Return how often the store was asked for the bytes of an object."""
    return sum(
        entry["method"] == "GET" and entry["path"].startswith("/v1/objects/")
        for entry in store.requests()
    )


def figures(mount: Mount) -> dict[str, int]:
    lines = (mount.path / ".aisfs" / "stats").read_text().splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def settled(mount: Mount) -> dict[str, int]:
    """Return the figures once everything that was read is on disk."""
    deadline = time.monotonic() + LIMIT_S
    while (now := figures(mount))["disk.written"] < now["disk.misses"]:
        assert time.monotonic() < deadline, f"not everything is kept: {now}"
        time.sleep(0.02)
    return now


def read_all(mount: Mount) -> None:
    for name, body in BODIES.items():
        assert (mount.path / name).read_bytes() == body, name


@pytest.mark.parametrize("end", [Mount.kill, Mount.unmount])
def test_what_was_read_is_not_asked_for_again(
    store: StoreProcess, mounter: Callable[..., Mount], end: Callable[[Mount], None]
) -> None:
    with mounter() as mount:
        read_all(mount)
        first = settled(mount)
        end(mount)
        store.clear_requests()
        mount.remount()
        read_all(mount)
        assert gets(store) == 0
        again = figures(mount)
        assert again["disk.hits"] == first["disk.written"] == 21 + 1 + 120
        assert again["disk.misses"] == again["disk.written"] == again["disk.corrupt"] == 0


def test_a_daemon_killed_while_it_writes_leaves_nothing_wrong(
    store: StoreProcess, mounter: Callable[..., Mount], seeded: random.Random
) -> None:
    with mounter("cache-size=16MiB") as mount:
        for _ in range(4):
            reader = threading.Thread(target=_read_until_it_fails, args=(mount,))
            reader.start()
            time.sleep(seeded.uniform(0.02, 0.3))
            mount.kill()
            reader.join()
            mount.remount()
        read_all(mount)
        assert figures(mount)["disk.corrupt"] == 0


def _read_until_it_fails(mount: Mount) -> None:
    try:
        while True:
            read_all(mount)
    except OSError:
        pass


def test_an_object_replaced_meanwhile_is_read_as_it_is_now(
    bucket: Bucket, mounter: Callable[..., Mount]
) -> None:
    changed = {name: body[:-1] + b"!" for name, body in BODIES.items()}  # of the same size
    with mounter() as mount:
        read_all(mount)
        settled(mount)
        mount.kill()
        for name, body in changed.items():
            bucket.object(name).put_content(body)
        mount.remount()
        for name, body in changed.items():
            assert (mount.path / name).read_bytes() == body, name
        assert figures(mount)["disk.hits"] == 0


def test_flipped_bits_are_fetched_again(
    store: StoreProcess, mounter: Callable[..., Mount], directory: Path
) -> None:
    with mounter("log-level=warning") as mount:
        read_all(mount)
        kept = settled(mount)["disk.written"]
        mount.unmount()
        for path in directory.glob("*/*.pages"):
            body = bytearray(path.read_bytes())
            body[20 * KIB :: 4 * KIB] = bytes(b ^ 1 for b in body[20 * KIB :: 4 * KIB])
            path.write_bytes(body)
        store.clear_requests()
        mount.remount()
        read_all(mount)
        found = settled(mount)
        assert found["disk.corrupt"] > 0
        assert found["disk.hits"] + found["disk.misses"] == kept
        assert gets(store) > 0
        assert "has changed on disk: it is fetched again" in mount.log
        mount.unmount()
        store.clear_requests()
        mount.remount()
        read_all(mount)  # what was fetched again is kept again
        assert gets(store) == 0


def test_only_what_is_missing_is_fetched(
    store: StoreProcess, mounter: Callable[..., Mount]
) -> None:
    """Two pieces are on disk; one sequential read fetches what lies before, between and behind."""
    with mounter() as mount:
        with (mount.path / "big").open("rb", buffering=0) as file:
            for page in (3, 12):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                assert os.pread(file.fileno(), MIB, page * MIB) == BODIES["big"][page * MIB :][:MIB]
        kept = settled(mount)["disk.written"]
        assert kept >= 2
        mount.unmount()
        store.clear_requests()
        mount.remount()
        assert (mount.path / "big").read_bytes() == BODIES["big"]
        found = settled(mount)
        assert found["disk.hits"] >= kept  # the last of them may have come after it was asked for
        assert found["disk.hits"] + found["disk.misses"] == 21
        sent = sum(entry["sent"] for entry in store.requests() if entry["node"].startswith("t"))
        assert sent <= found["disk.misses"] * MIB + 12345


def test_a_random_read_uses_what_is_on_disk(
    store: StoreProcess, mounter: Callable[..., Mount], seeded: random.Random
) -> None:
    with mounter() as mount:
        read_all(mount)
        settled(mount)
        mount.unmount()
        store.clear_requests()
        mount.remount()
        with (mount.path / "big").open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for _ in range(50):
                at = seeded.randrange(len(BODIES["big"]))
                assert os.pread(file.fileno(), 5000, at) == BODIES["big"][at : at + 5000]
        assert gets(store) == 0


def test_the_quota_is_never_exceeded(
    bucket: Bucket, mounter: Callable[..., Mount], directory: Path
) -> None:
    body = random.Random(1).randbytes(64 * MIB)
    bucket.object("more").put_content(body)
    with mounter("cache-size=8MiB") as mount:
        seen = []
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                seen.append(taken(directory))

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert (mount.path / "more").read_bytes() == body
        read_all(mount)
        done.set()
        watcher.join()
        now = figures(mount)
        assert now["disk.capacity_bytes"] == 8 * MIB
        assert 0 < now["disk.used_bytes"] <= 8 * MIB
        assert now["disk.written"] > 8
    assert MIB < max(seen) <= 8 * MIB


@pytest.fixture
def small_disk(directory: Path) -> Iterator[Path]:
    """Mount a disk of 24 MiB at the cache's directory."""
    directory.mkdir()
    with small_disk_at(directory) as path:
        yield path


@pytest.mark.parametrize("when", ["before the mount", "while it reads"])
def test_a_full_disk_keeps_nothing_and_reads_go_on(
    mounter: Callable[..., Mount], small_disk: Path, when: str
) -> None:
    if when == "before the mount":
        occupy(small_disk)
    with mounter("cache-size=1GiB", "cache-memory=8MiB") as mount:
        if when == "while it reads":
            assert (mount.path / "medium").read_bytes() == BODIES["medium"]
            settled(mount)
            occupy(small_disk)
        read_all(mount)
        read_all(mount)
        (small_disk / "somebody's").unlink()
        read_all(mount)


def test_a_disk_that_turned_read_only_is_done_without(
    mounter: Callable[..., Mount], small_disk: Path
) -> None:
    with mounter("cache-memory=8MiB") as mount:
        assert (mount.path / "medium").read_bytes() == BODIES["medium"]
        settled(mount)
        mount.unmount()
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        mount.remount()
        read_all(mount)
        assert figures(mount)["disk.capacity_bytes"] == 0
        assert mount.log.count("nothing is kept in cache-dir") == 1


def test_a_directory_that_cannot_be_one_is_refused_in_words(
    store: StoreProcess, bucket: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    options = [f"cache-dir={tmp_path / 'file'}"]
    with (
        pytest.raises(AssertionError, match="name a directory that you may write"),
        Mount(store.endpoint, f"ais://{bucket.name}", options=options),
    ):
        pass


def test_two_mounts_of_one_source_do_not_share_a_folder(mounter: Callable[..., Mount]) -> None:
    with mounter() as mount:
        with (
            pytest.raises(AssertionError, match="give this one another --cache-dir"),
            mounter(),
        ):
            pass
        read_all(mount)


def test_mounts_of_other_sources_have_folders_of_their_own(
    store: StoreProcess, bucket: Bucket, mounter: Callable[..., Mount], directory: Path
) -> None:
    part = Mount(store.endpoint, f"ais://{bucket.name}/d", options=[f"cache-dir={directory}"])
    with mounter() as whole, part:
        read_all(whole)
        for name, body in BODIES.items():
            if name.startswith("d/"):
                assert (part.path / name[2:]).read_bytes() == body
        assert settled(part)["disk.written"] == 120
        assert len(list(directory.iterdir())) == 2


def test_nothing_is_kept_where_no_directory_is_given(store: StoreProcess, bucket: Bucket) -> None:
    with Mount(store.endpoint, f"ais://{bucket.name}", options=["cache-size=16MiB"]) as mount:
        read_all(mount)
        now = figures(mount)
        assert {value for name, value in now.items() if name.startswith("disk.")} == {0}
        assert now["cache.capacity_bytes"] == 16 * MIB


def test_bytes_that_prove_wrong_at_the_end_are_not_kept(
    store: StoreProcess, mounter: Callable[..., Mount]
) -> None:
    """A body that is damaged on its way is found out by its whole checksum, after it was kept."""
    rule = {"action": "corrupt", "method": "GET", "role": "target", "path": "/big$"}
    with mounter() as mount:
        store.faults([{**rule, "after_bytes": 9 * MIB}])
        try:
            with pytest.raises(OSError, match="Input/output"):
                (mount.path / "big").read_bytes()
        finally:
            store.clear_faults()
        mount.kill()
        mount.remount()
        assert (mount.path / "big").read_bytes() == BODIES["big"]
