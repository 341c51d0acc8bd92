"""Files fetched before they are read, seen from the store's request log."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = 300


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    """Return a store with a bucket of small files."""
    with StoreProcess() as process:
        bucket = Client(process.endpoint).bucket("b").create()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: bucket.object(n).put_content(body(n)), map(name, range(FILES))))
        yield process


def name(index: int) -> str:
    return f"d/f{index:04d}"


def body(of: str) -> bytes:
    return random.Random(of).randbytes(3000)


def gets(store: StoreProcess) -> list[str]:
    return [
        entry["path"]
        for entry in store.requests()
        if entry["method"] == "GET" and entry["path"].startswith("/v1/objects/")
    ]


def read_all(mount: Mount, names: list[str]) -> None:
    for each in names:
        assert (mount.path / "d" / each).read_bytes() == body(f"d/{each}")


@pytest.mark.parametrize("transport", ["direct", "sdk"])
def test_a_scan_fetches_each_file_once_and_ahead(store: StoreProcess, transport: str) -> None:
    with Mount(store.endpoint, "ais://b", options=[f"transport={transport}"]) as mount:
        names = sorted(os.listdir(mount.path / "d"))  # noqa: PTH208 - names are all that is wanted
        assert len(names) == FILES
        store.clear_requests()
        read_all(mount, names[:20])
        assert len(gets(store)) > 30
        read_all(mount, names[20:])
        asked = gets(store)
        assert len(set(asked)) == FILES
        assert len(asked) <= FILES + 3  # the first ones may be asked for by their reader


def test_readers_beside_each_other(store: StoreProcess) -> None:
    with Mount(store.endpoint, "ais://b") as mount:
        names = sorted(os.listdir(mount.path / "d"))  # noqa: PTH208
        store.clear_requests()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: read_all(mount, names[n::4]), range(4)))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: read_all(mount, names[n * 75 : n * 75 + 75]), range(4)))
        assert len(gets(store)) <= FILES + 10


def test_a_directory_that_is_read_all_over_is_fetched_whole(store: StoreProcess) -> None:
    with Mount(store.endpoint, "ais://b") as mount:
        names = sorted(os.listdir(mount.path / "d"))  # noqa: PTH208
        random.Random(3).shuffle(names)
        store.clear_requests()
        read_all(mount, names)
        asked = gets(store)
        assert len(set(asked)) == FILES
        assert len(asked) <= FILES + 40
        store.clear_requests()
        random.Random(4).shuffle(names)
        read_all(mount, names)
        assert gets(store) == []


def test_single_files_fetch_nothing_else(store: StoreProcess) -> None:
    with Mount(store.endpoint, "ais://b") as mount:
        names = sorted(os.listdir(mount.path / "d"))  # noqa: PTH208
        store.clear_requests()
        read_all(mount, [names[100], names[7]])
        assert len(gets(store)) == 2


def test_files_overwritten_while_they_are_fetched_ahead(store: StoreProcess) -> None:
    bucket = Client(store.endpoint).bucket("changing").create()
    for index in range(200):
        bucket.object(f"f{index:03d}").put_content(b"old %d" % index)
    with Mount(
        store.endpoint, "ais://changing", options=["attribute-ttl=0", "listing-ttl=0"]
    ) as mount:
        names = sorted(os.listdir(mount.path))  # noqa: PTH208
        for index, each in enumerate(names):
            if index == 20:  # by now the rest is fetched, or under way
                for later in range(21, 200):
                    bucket.object(f"f{later:03d}").put_content(b"newer %d" % later)
            word = b"old" if index <= 20 else b"newer"
            assert (mount.path / each).read_bytes() == b"%s %d" % (word, index)
