"""What a mount costs the cluster, counted in the store's log."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount
from tests.support.waiting import wait_until

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
    """Some of the last names are told without attributes, and looked up."""
    fill(bucket, [f"object-{n:05}" for n in range(10_900)])
    store.clear_requests()
    with Mount(store.endpoint, "ais://counted") as mount:
        listing = subprocess.run(
            ["ls", "-l", mount.path], capture_output=True, text=True, check=True, timeout=60
        )
        requests = store.requests()
    assert len(listing.stdout.splitlines()) == 10_901
    assert "?" not in listing.stdout
    assert len(lists(requests)) <= 3, lists(requests)
    assert of(requests, "HEAD") == []


def test_a_lookup_costs_one_head_and_one_list_and_none_within_the_ttl(
    store: StoreProcess, bucket: Bucket
) -> None:
    fill(bucket, ["there", "dir/inside"])
    with Mount(store.endpoint, "ais://counted", options=["attribute-ttl=30s"]) as mount:
        store.clear_requests()
        assert (mount.path / "there").stat().st_size == 1
        # The HEAD answers at once, and the LIST may come later.
        wait_until(lambda: lists(store.requests()), "the directory is listed")
        requests = store.requests()
        assert len(of(requests, "HEAD")) <= 1
        assert {r["path"] for r in lists(requests)} <= {"/v1/buckets/counted"}
        assert len(lists(requests)) <= 1
        store.clear_requests()
        assert (mount.path / "there").stat().st_size == 1
        requests = store.requests()
        assert (of(requests, "HEAD"), lists(requests)) == ([], [])


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


def tree(bucket: Bucket, directories: int, each: int) -> list[str]:
    """Store files in directories side by side, and return their names."""
    names = [f"tree/{d:03}/{f:02}" for d in range(directories) for f in range(each)]
    fill(bucket, names)
    return names


def run(*words: str | Path) -> list[str]:
    """Run a command and return its lines."""
    return subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()


def files_in(top: Path, directories: list[Path]) -> set[str]:
    """Return the names of all files below directories that are still there."""
    return {
        str(path.relative_to(top))
        for directory in directories
        if directory.is_dir()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("words", "lines"),
    [(["find", "-type", "f"], 2000), (["ls", "-lR"], 2802), (["du"], 201)],
)
def test_a_walk_costs_requests_for_pages_not_for_directories(
    store: StoreProcess, bucket: Bucket, words: list[str], lines: int
) -> None:
    tree(bucket, 200, 10)
    # Long enough that a slow machine counts the same.
    lasting = ["listing-ttl=30s", "attribute-ttl=30s"]
    with Mount(store.endpoint, "ais://counted", options=lasting) as mount:
        store.clear_requests()
        command, *rest = words
        assert len(run(command, mount.path / "tree", *rest)) == lines
        requests = store.requests()
    # Only the way down to the tree and a directory of it are looked up, at owner and gateway.
    assert len(of(requests, "HEAD")) <= 6, of(requests, "HEAD")
    assert len(lists(requests)) <= 20, lists(requests)


def test_directories_are_not_asked_for_after_their_parent_was_read(
    store: StoreProcess, bucket: Bucket
) -> None:
    tree(bucket, 200, 10)
    with Mount(store.endpoint, "ais://counted") as mount:
        store.clear_requests()
        assert len(run("ls", "-l", mount.path / "tree")) == 201
        requests = store.requests()
    assert len(lists(requests)) <= 12, lists(requests)


def test_without_a_listing_ttl_each_directory_is_listed(
    store: StoreProcess, bucket: Bucket
) -> None:
    tree(bucket, 20, 1)
    with Mount(store.endpoint, "ais://counted", options=["listing-ttl=0s"]) as mount:
        store.clear_requests()
        assert len(run("find", mount.path / "tree", "-type", "f")) == 20
        assert len(lists(store.requests())) >= 20


def test_a_walk_sees_what_this_mount_changes_on_the_way(
    store: StoreProcess, bucket: Bucket
) -> None:
    names = set(tree(bucket, 60, 5))
    with Mount(store.endpoint, "ais://counted", options=["listing-ttl=60s"]) as mount:
        top = mount.path / "tree"
        directories = sorted(top.iterdir())
        found = files_in(mount.path, directories[:10])
        # The window holds all that follows.
        (top / "030" / "00").unlink()
        (top / "031" / "new").write_text("x")
        (top / "032" / "made").mkdir()
        (top / "032" / "made" / "deep").write_text("x")
        (top / "033" / "00").rename(top / "034" / "moved")
        (top / "035").rename(top / "036" / "inner")
        with (top / "037" / "00").open():
            (top / "037" / "00").unlink()
            found |= files_in(mount.path, directories[10:])
    names -= {"tree/030/00", "tree/033/00", "tree/037/00", *(f"tree/035/{n:02}" for n in range(5))}
    names |= {"tree/031/new", "tree/032/made/deep", "tree/034/moved"}
    assert found == names | {f"tree/036/inner/{n:02}" for n in range(5)}


def test_a_walk_sees_what_others_change_after_a_second(store: StoreProcess, bucket: Bucket) -> None:
    tree(bucket, 30, 2)
    with Mount(store.endpoint, "ais://counted") as mount:
        top = mount.path / "tree"
        for number in range(5):
            assert len(list((top / f"{number:03}").iterdir())) == 2
        bucket.object("tree/020/new").put_content(b"x")
        bucket.object("tree/021/00").delete()
        time.sleep(1.2)
        assert {p.name for p in (top / "020").iterdir()} == {"00", "01", "new"}
        assert {p.name for p in (top / "021").iterdir()} == {"01"}


def test_labels_and_acls_are_not_supported_so_that_ls_asks_once(
    store: StoreProcess, bucket: Bucket
) -> None:
    fill(bucket, ["f"])
    with Mount(store.endpoint, "ais://counted") as mount:
        for name in ("security.selinux", "system.posix_acl_access"):
            with pytest.raises(OSError, match=re.escape(os.strerror(errno.EOPNOTSUPP))):
                os.getxattr(mount.path / "f", name)
