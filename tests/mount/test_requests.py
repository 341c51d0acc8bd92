"""What a mount costs the cluster, counted in the store's log."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount

if TYPE_CHECKING:
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse


@pytest.fixture
def bucket(store: StoreProcess) -> Bucket:
    """Return a bucket of a store whose requests are counted."""
    return Client(store.endpoint).bucket("counted").create()


def fill(bucket: Bucket, names: list[str], body: bytes = b"x") -> None:
    """Store objects, a few at a time."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: bucket.object(name).put_content(body), names))


def lists(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the list requests that clients sent."""
    return [
        r
        for r in requests
        if r["node"].startswith("p")
        and r["method"] == "GET"
        and r["path"].startswith("/v1/buckets/")
    ]


def of(requests: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    """Return the requests of one method that clients began: no gateway redirected them."""
    return [r for r in requests if r["method"] == method and "pid=" not in r["query"]]


def test_ls_l_of_ten_thousand_costs_three_lists_and_no_head(
    store: StoreProcess, bucket: Bucket
) -> None:
    fill(bucket, [f"object-{n:05}" for n in range(10_000)])
    store.clear_requests()
    with Mount(store.endpoint, "ais://counted") as mount:
        listing = subprocess.run(
            ["ls", "-l", mount.path], capture_output=True, text=True, check=True, timeout=60
        )
        requests = store.requests()
    assert len(listing.stdout.splitlines()) == 10_001
    assert len(lists(requests)) <= 3, lists(requests)
    assert of(requests, "HEAD") == []


def test_a_lookup_costs_one_head_and_one_list_and_none_within_the_ttl(
    store: StoreProcess, bucket: Bucket
) -> None:
    fill(bucket, ["there", "dir/inside"])
    with Mount(store.endpoint, "ais://counted", options=["attribute-ttl=30s"]) as mount:
        store.clear_requests()
        assert (mount.path / "there").stat().st_size == 1
        requests = store.requests()
        assert len(of(requests, "HEAD")) <= 1
        assert {r["path"] for r in lists(requests)} <= {"/v1/buckets/counted"}
        assert len(lists(requests)) <= 1
        store.clear_requests()
        assert (mount.path / "there").stat().st_size == 1
        assert store.requests() == []


def test_absent_names_are_remembered(store: StoreProcess, bucket: Bucket) -> None:
    fill(bucket, ["there"])
    with Mount(store.endpoint, "ais://counted", options=["negative-ttl=30s"]) as mount:
        assert not (mount.path / "nowhere").exists()
        store.clear_requests()
        for _ in range(5):
            assert not (mount.path / "nowhere").exists()
        assert store.requests() == []


def test_find_over_a_small_tree_asks_for_no_object(store: StoreProcess, bucket: Bucket) -> None:
    fill(bucket, [f"d{n % 5}/s{n % 3}/f{n}" for n in range(60)])
    with Mount(store.endpoint, "ais://counted") as mount:
        store.clear_requests()
        found = subprocess.run(
            ["find", mount.path, "-type", "f"], capture_output=True, text=True, check=True
        )
        requests = store.requests()
    assert len(found.stdout.splitlines()) == 60
    assert of(requests, "HEAD") == []
    assert not [r for r in requests if r["path"].startswith("/v1/objects/")]


def test_random_reads_fetch_what_was_asked_for(store: StoreProcess, bucket: Bucket) -> None:
    size, count = 32 << 20, 40
    bucket.object("big").put_content(bytes(size))
    with Mount(store.endpoint, "ais://counted") as mount:
        store.clear_requests()
        with Path(mount.path / "big").open("rb", buffering=0) as file:
            for number in range(count):
                file.seek((number * 7919 * 4096 + (8 << 20)) % size)
                assert file.read(4096) == bytes(4096)
        sent = sum(r["sent"] for r in store.requests() if r["node"].startswith("t"))
    # The kernel may round a read up to its own readahead the first times.
    assert sent <= count * 4096 * 1.5 + (1 << 20)


def test_reads_go_straight_to_the_owners(store: StoreProcess, bucket: Bucket) -> None:
    names = [f"small-{number}" for number in range(50)]
    fill(bucket, names)
    with Mount(store.endpoint, "ais://counted") as mount:
        list(Path(mount.path).iterdir())
        store.clear_requests()
        assert {(mount.path / name).read_bytes() for name in names} == {b"x"}
        requests = store.requests()
    gets = [r for r in of(requests, "GET") if "/objects/" in r["path"]]
    assert len(gets) == len(names)
    assert all(r["node"].startswith("t") and r["status"] == 200 for r in gets)


def test_one_get_serves_many_readers_of_a_file(store: StoreProcess, bucket: Bucket) -> None:
    bucket.object("shared").put_content(bytes(900 << 10))
    with Mount(store.endpoint, "ais://counted") as mount:
        store.clear_requests()
        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(lambda _: len((mount.path / "shared").read_bytes()), range(8)))
        gets = [r for r in of(store.requests(), "GET") if r["path"].endswith("/shared")]
    assert sizes == [900 << 10] * 8
    assert len(gets) == 1
