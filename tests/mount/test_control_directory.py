"""Whether a mount has a control directory, and whether it is listed."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount, run_aisfs
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.fuse

OBJECTS = ["a", "d/e", "z"]


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    """Return a store with a bucket of some objects, and one where the control directory's name
    is taken."""
    with StoreProcess() as process:
        client = Client(process.endpoint)
        for name in ("plain", "taken"):
            bucket = client.bucket(name).create()
            for each in OBJECTS:
                bucket.object(each).put_content(each.encode())
        for name in ("sync", "warm", "x"):
            client.bucket("taken").object(f".aisfs/{name}").put_content(b"an object")
        yield process


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))  # noqa: PTH208


@pytest.mark.parametrize("source", ["ais://plain", ""])
def test_visible_is_listed_and_the_same_otherwise(store: StoreProcess, source: str) -> None:
    with Mount(store.endpoint, source, options=["control=visible"]) as mount:
        others = ["a", "d", "z"] if source else ["plain", "taken"]
        assert names(mount.path) == [".aisfs", *others]
        assert [e.name for e in os.scandir(mount.path) if e.is_dir()].count(".aisfs") == 1
        inode = (mount.path / ".aisfs").stat().st_ino
        found = subprocess.run(
            ["find", mount.path, "-maxdepth", "1", "-printf", "%i %f\n"],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout.splitlines()  # fmt: skip
        assert f"{inode} .aisfs" in found
        assert "README" in names(mount.path / ".aisfs")
        assert (mount.path / ".aisfs/version").read_text().startswith("aisfs\t")


def test_a_long_root_lists_each_name_once(store: StoreProcess) -> None:
    bucket = Client(store.endpoint).bucket("long").create()
    wanted = [f"{number:05d}" for number in range(2500)]
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: bucket.object(name).put_content(b""), wanted))
        for control in ("visible", "hidden"):
            with Mount(store.endpoint, "ais://long", options=[f"control={control}"]) as mount:
                expected = [".aisfs", *wanted] if control == "visible" else wanted
                assert names(mount.path) == expected
    finally:
        bucket.delete()


@pytest.mark.parametrize("control", ["hidden", "visible"])
def test_the_control_directory_takes_the_name_from_objects(
    store: StoreProcess, control: str
) -> None:
    with Mount(store.endpoint, "ais://taken", options=[f"control={control}"]) as mount:
        listed = names(mount.path)
        assert listed == ([".aisfs"] if control == "visible" else []) + ["a", "d", "z"]
        assert "README" in names(mount.path / ".aisfs")
        assert not (mount.path / ".aisfs/x").exists()


@pytest.mark.parametrize("source", ["ais://plain", ""])
def test_off_has_no_such_name(store: StoreProcess, source: str) -> None:
    with Mount(store.endpoint, source, options=["control=off"]) as mount:
        assert ".aisfs" not in names(mount.path)
        with pytest.raises(FileNotFoundError):
            (mount.path / ".aisfs").stat()
        with pytest.raises(FileNotFoundError):
            (mount.path / ".aisfs/README").read_text()
        with pytest.raises(OSError, match=rf"\[Errno {errno.EPERM}\]"):
            (mount.path / ".aisfs").mkdir()


def test_off_shows_what_the_bucket_has_of_the_name(store: StoreProcess) -> None:
    with Mount(store.endpoint, "ais://taken", options=["control=off"]) as mount:
        assert names(mount.path) == [".aisfs", "a", "d", "z"]
        assert names(mount.path / ".aisfs") == ["sync", "warm", "x"]
        assert (mount.path / ".aisfs/x").read_bytes() == b"an object"


@pytest.mark.parametrize("verb", ["warm", "sync"])
@pytest.mark.parametrize("bucket", ["plain", "taken"])
def test_commands_say_that_it_is_off(store: StoreProcess, bucket: str, verb: str) -> None:
    with Mount(store.endpoint, f"ais://{bucket}", options=["control=off"]) as mount:
        done = run_aisfs(verb, mount.path / "d")
        assert done.returncode == 1
        assert re.search(rf"has no \.aisfs/{verb}: .*control=off", done.stderr), done.stderr
        status = run_aisfs("status")
        assert str(mount.path) in status.stdout
    held = Client(store.endpoint).bucket("taken").object(f".aisfs/{verb}")
    assert held.get_reader().read_all() == b"an object"


def test_a_bad_word_is_an_error_of_the_mount(store: StoreProcess) -> None:
    mount = Mount(store.endpoint, "ais://plain", options=["control=some"])
    done = mount.try_mount()
    assert done.returncode == 32
    assert "control: 'some' is not hidden, visible or off" in done.stderr
