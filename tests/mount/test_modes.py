"""The same reads on every way to reach a store (`tests/support/modes.py`): each byte is compared.

The first test shows that the mount really went that way, by what the store saw.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import const
from tests.support.blocks import body, origins, read_fully
from tests.support.modes import MODES
from tests.support.mount import Mount

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from aisfs_sdk import Bucket
    from tests.support.modes import Mode
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

FILES = 60
SMALL = 3000
LARGE = (5 << 20) + 4321
STEP = 64 << 10
CUT_ONCE = {"method": "GET", "role": "target", "action": "cut", "after_bytes": 1000, "times": 1}
FRESH = ("attribute-ttl=0s", "listing-ttl=0s")
numbers = itertools.count()


@pytest.fixture(scope="module", params=[name for name in MODES if name != "plain"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return MODES[request.param]


@pytest.fixture(scope="module")
def store(mode: Mode) -> Iterator[StoreProcess]:
    with mode.store() as process:
        yield process


@pytest.fixture(scope="module")
def bucket(mode: Mode, store: StoreProcess) -> Bucket:
    """Return a bucket with a directory of small files; from then on the store is in its mode."""
    bucket = mode.client(store).bucket("b").create()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: put(bucket, name, SMALL), names()))
    store.faults(list(mode.rules))
    return bucket


def mount_in(mode: Mode, store: StoreProcess, *options: str) -> Mount:
    return Mount(store.endpoint, "ais://b", options=[*options, *mode.options(store)])


@pytest.fixture(scope="module")
def mounted(mode: Mode, store: StoreProcess, bucket: Bucket) -> Iterator[Mount]:
    with mount_in(mode, store, *FRESH) as mount:
        yield mount


def names() -> list[str]:
    return [f"d/f{index:04d}" for index in range(FILES)]


def put(bucket: Bucket, name: str, size: int, version: int = 1) -> bytes:
    """Store a version of an object and return it."""
    content = body(name, version, size)
    bucket.object(name).put_content(content)
    return content


def at_targets(store: StoreProcess) -> list[dict[str, Any]]:
    """Return the reads of objects that targets answered."""
    return [
        entry
        for entry in store.requests()
        if entry["node"].startswith("t")
        and entry["method"] == "GET"
        and entry["path"].startswith("/v1/objects/")
    ]


def came_straight(entry: dict[str, Any]) -> bool:
    """Tell whether no gateway sent this request to its target."""
    return f"{const.QPARAM_PROXY_ID}=" not in entry["query"]


def refusal(mount: Mount) -> str:
    """Return the words of a mount command that fails."""
    ended = mount.try_mount()
    mount.__exit__(None, None, None)
    assert ended.returncode != 0
    return ended.stderr


# ---- it is that mode ----------------------------------------------------------------------------


def test_the_mount_goes_that_way(mode: Mode, store: StoreProcess, bucket: Bucket) -> None:
    store.clear_requests()
    with mount_in(mode, store) as mount:
        read_small(mount, names()[:40])
        content = put(bucket, "sequential", LARGE)
        assert (mount.path / "sequential").read_bytes() == content
        seen = at_targets(store)
        assert sum(entry["status"] in {200, 206} for entry in seen) >= 40
        WAYS[mode.name](mode, store, mount, seen)


def check_the_detour(seen: list[dict[str, Any]], refused_with: int) -> None:
    """Several requests are under way when a target refuses its first; the large file came later."""
    straight = [entry for entry in seen if came_straight(entry)]
    assert {entry["status"] for entry in straight} == {refused_with}
    assert not [entry for entry in straight if entry["path"].endswith("/sequential")]


def refused(_: Mode, __: StoreProcess, mount: Mount, seen: list[dict[str, Any]]) -> None:
    check_the_detour(seen, 403)
    assert "refuses direct access" in mount.log


def https(mode: Mode, store: StoreProcess, _: Mount, seen: list[dict[str, Any]]) -> None:
    """Nothing of the store speaks anything else, and the authority is what makes it trusted."""
    assert sum(came_straight(entry) for entry in seen) >= 40
    smap = mode.client(store).cluster().get_info()
    nodes = [*smap.pmap.values(), *smap.tmap.values()]
    for url in [store.endpoint, *(node.public_net.direct_url for node in nodes)]:
        assert url.startswith("https:")
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(f"http:{url.removeprefix('https:')}/v1/health", timeout=10)
    assert "certificate" in refusal(Mount(store.endpoint, "ais://b")).lower()


def token(_: Mode, store: StoreProcess, mount: Mount, seen: list[dict[str, Any]]) -> None:
    check_the_detour(seen, 401)
    secret = store.token_file.read_text().strip()
    assert secret not in mount.log + store.log_path.read_text() + store.stderr()
    words = refusal(Mount(store.endpoint, "ais://b"))
    assert "token required" in words
    assert secret not in words


def sdk(mode: Mode, store: StoreProcess, mount: Mount, _: list[dict[str, Any]]) -> None:
    """A body that is cut makes the sockets of the loop say that the SDK takes over."""
    content = put(mode.client(store).bucket("b"), "alone", SMALL)
    with Mount(store.endpoint, "ais://b") as plain:
        for reader, takes_over in ((mount, False), (plain, True)):
            store.faults([CUT_ONCE])
            assert (reader.path / "alone").read_bytes() == content
            assert store.struck() == 1
            assert ("reading b/alone goes by the SDK" in reader.log) == takes_over
    store.clear_faults()


WAYS = {"refused": refused, "https": https, "token": token, "sdk": sdk}


# ---- small files --------------------------------------------------------------------------------


def read_small(mount: Mount, some: list[str]) -> None:
    for name in some:
        data = (mount.path / name).read_bytes()
        assert data == body(name, 1, SMALL), f"{name}: {origins(data)}"


def test_small_files_one_after_the_other(mounted: Mount) -> None:
    listed = sorted(os.listdir(mounted.path / "d"))  # noqa: PTH208 - names are all that is wanted
    assert [f"d/{name}" for name in listed] == names()
    read_small(mounted, names())


def test_small_files_shuffled_by_four_readers(
    mode: Mode, store: StoreProcess, bucket: Bucket, seeded: random.Random
) -> None:
    assert bucket.name == "b"
    with mount_in(mode, store) as mount, ThreadPoolExecutor(4) as pool:
        os.listdir(mount.path / "d")  # noqa: PTH208 - what makes fetching ahead possible
        orders = [seeded.sample(names(), FILES) for _ in range(4)]
        list(pool.map(read_small, [mount] * 4, orders))


def test_an_order_that_is_announced(
    mode: Mode, store: StoreProcess, bucket: Bucket, seeded: random.Random
) -> None:
    assert bucket.name == "b"
    order = seeded.sample(names(), FILES)
    with mount_in(mode, store) as mount:
        control = mount.path / ".aisfs"
        (control / "order").write_text("\n".join(order))
        fetched = failed = 0
        end = time.monotonic() + 30
        while fetched + failed < FILES:
            assert time.monotonic() < end, (control / "stats").read_text()
            stats = dict(re.findall(r"(\S+)\t(\d+)", (control / "stats").read_text()))
            fetched, failed = (int(stats[f"fetch_ahead.{key}"]) for key in ("fetched", "failed"))
        store.clear_requests()
        read_small(mount, order)
        assert len([entry for entry in at_targets(store) if entry["status"] < 300]) <= failed
        assert failed == 0


# ---- one file -----------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0, os.O_DIRECT], ids=["buffered", "O_DIRECT"])
@pytest.mark.parametrize("order", ["sequential", "shuffled", "sparse"])
def test_a_large_file(
    mounted: Mount, bucket: Bucket, seeded: random.Random, flags: int, order: str
) -> None:
    name = f"large-{next(numbers)}"
    content = put(bucket, name, LARGE)
    offsets = list(range(0, LARGE, STEP))
    if order == "shuffled":
        seeded.shuffle(offsets)
    elif order == "sparse":
        offsets = offsets[::17]
    fd = os.open(mounted.path / name, os.O_RDONLY | flags)
    try:
        for offset in offsets:
            data = read_fully(fd, STEP, offset)
            assert data == content[offset : offset + STEP], f"at {offset}: {origins(data)}"
        assert os.pread(fd, STEP, LARGE) == b""
        assert os.pread(fd, STEP, LARGE + (1 << 30)) == b""
    finally:
        os.close(fd)


@pytest.mark.parametrize("size", [0, 1, SMALL, LARGE])
def test_a_file_ends_where_it_ends(mounted: Mount, bucket: Bucket, size: int) -> None:
    name = f"ends-{next(numbers)}"
    content = put(bucket, name, size)
    with (mounted.path / name).open("rb") as file:
        file.seek(max(size - 7, 0))
        assert file.read() == content[-7:]
        assert file.read() == b""


def test_an_overwritten_file_is_new_at_the_next_open(mounted: Mount, bucket: Bucket) -> None:
    for size in (SMALL, LARGE):
        name = f"overwritten-{next(numbers)}"
        for version in (1, 2):
            content = put(bucket, name, size, version)
            assert (mounted.path / name).read_bytes() == content


@pytest.mark.parametrize("size", [LARGE, LARGE + 1])
def test_a_file_replaced_while_it_is_open_is_stale(
    mounted: Mount, bucket: Bucket, size: int
) -> None:
    """What was read stays, the rest is ESTALE: nothing of the new content (C4)."""
    name = f"replaced-{next(numbers)}"
    old = put(bucket, name, LARGE)
    fd = os.open(mounted.path / name, os.O_RDONLY)
    try:
        assert read_fully(fd, STEP, 0) == old[:STEP]
        new = put(bucket, name, size, 2)
        with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
            read_fully(fd, STEP, LARGE - STEP)
        assert read_fully(fd, STEP, 0) == old[:STEP]
    finally:
        os.close(fd)
    assert (mounted.path / name).read_bytes() == new


@pytest.mark.parametrize("size", [LARGE // 2, 0])
def test_a_file_that_became_shorter_while_it_is_open(
    mounted: Mount, bucket: Bucket, size: int
) -> None:
    """The kernel ends every descriptor at the size that stat shows now; no byte is another's."""
    name = f"shorter-{next(numbers)}"
    old = put(bucket, name, LARGE)
    fd = os.open(mounted.path / name, os.O_RDONLY)
    try:
        assert read_fully(fd, STEP, 0) == old[:STEP]
        new = put(bucket, name, size, 2)
        for offset in range(0, LARGE, STEP):
            try:
                data = read_fully(fd, STEP, offset)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
            else:
                assert data in {old[offset : offset + STEP], old[offset : max(size, offset)]}
    finally:
        os.close(fd)
    assert (mounted.path / name).read_bytes() == new


def test_missing_names(mounted: Mount) -> None:
    for missing in ("nothing", "d/nothing", "nothing/at/all"):
        with pytest.raises(FileNotFoundError):
            (mounted.path / missing).read_bytes()
