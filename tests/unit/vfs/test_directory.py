from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from aisfs.config import BucketName
from aisfs.errors import Incomplete, NotFound
from aisfs.store.interface import LONG_PAGE, MAX_PAGE, Identity, Listing, ObjectInfo
from aisfs.vfs.attributes import Attributes, Kind, encode
from aisfs.vfs.directory import (
    FIRST_BATCH,
    SLICE,
    TOLD,
    Cursor,
    DirectoryStream,
    Entry,
    page_size,
    prove_directories,
)
from aisfs.vfs.paths import MARKER, SHADOWED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aisfs.store.aistore import AISStore
    from aisfs.store.interface import ObjectStore
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

BUCKET = BucketName("b")


def info(name: str) -> ObjectInfo:
    return ObjectInfo(name, Identity(1, "aa"))


def pages(names: Iterable[str], prefix: str, size: int) -> Iterator[Listing]:
    """Return what a cluster answers that lists `prefix` without recursion."""
    level = set()
    for name in names:
        if name.startswith(prefix):
            first, slash, _ = name[len(prefix) :].partition("/")
            level.add(prefix + first + slash)
    entries = sorted(level)
    for start in range(0, max(len(entries), 1), size):
        batch = entries[start : start + size]
        token = batch[-1] if start + size < len(entries) else ""
        objects = [info(name) for name in batch if not name.endswith("/")]
        yield Listing(objects, [name for name in batch if name.endswith("/")], token)


def stream(prefix: str) -> DirectoryStream:
    return DirectoryStream(cast("ObjectStore", None), BUCKET, prefix)


async def read(names: Iterable[str], prefix: str = "", size: int = 1000) -> list[Entry]:
    found = []
    source = stream(prefix)
    for listing in pages(names, prefix, size):
        assert not source.done
        twin = source.fork()
        batch = source.take(listing)
        assert twin.take(listing) == batch
        found += batch
    assert source.done
    return found


def expected(names: set[str], prefix: str) -> dict[str, str | None]:
    """Return what a directory shows: name → object, None for a directory."""
    hidden = {"", ".", "..", MARKER}
    below = [name[len(prefix) :] for name in names if name.startswith(prefix)]
    below = [name for name in below if name.split("/")[0] not in hidden]
    shown: dict[str, str | None] = {name.split("/")[0]: None for name in below if "/" in name}
    for name in below:
        if "/" not in name:
            shown[name + SHADOWED if name in shown else name] = prefix + name
    return shown


components = st.sampled_from(["a", "a!", "a-", "a0", "aa", "b", "ä", "z", ".", "..", " "])
parents = st.lists(components, max_size=2).map(lambda parts: "".join(f"{p}/" for p in parts))
object_names = st.builds(str.__add__, parents, components | st.just(MARKER))


@given(st.sets(object_names, max_size=25), st.sampled_from(["", "a/", "a/b/"]), st.integers(1, 6))
@example({"a", "a/b", "a!", "a-"}, "", 1)
@example({"a", "a/b"}, "", 1)
def test_every_object_shows_exactly_once_however_it_is_cut(
    names: set[str], prefix: str, size: int
) -> None:
    entries = trio.run(read, names, prefix, size)
    shown = [(e.name, e.info.name if e.info is not None else None) for e in entries]
    assert sorted(n for n, _ in shown) == sorted(expected(names, prefix))
    assert dict(shown) == expected(names, prefix)
    assert all(e.is_directory == (e.info is None) for e in entries)


async def test_the_marker_is_hidden_and_kept() -> None:
    source = stream("d/")
    source.take(next(pages(["d/x", f"d/{MARKER}"], "d/", 10)))
    assert source.marker == info(f"d/{MARKER}")


async def test_names_that_no_file_can_have_are_left_out() -> None:
    listing = Listing([info("d/"), info("d/x")], ["d//", "d/./", "d/e/"], "")
    assert [entry.name for entry in stream("d/").take(listing)] == ["e", "x"]


async def test_a_listing_that_lacks_names_is_never_done() -> None:
    source = stream("")
    assert [e.name for e in source.take(Listing([info("a")], [], "b", lacking=True))] == ["a"]
    source.take(Listing([info("c")], [], ""))
    assert source.passed("d")
    assert not source.done
    with pytest.raises(Incomplete):
        await source.next()


async def test_names_that_came_already_do_not_come_again() -> None:
    source = stream("")
    first = source.take(Listing([info("a"), info("c")], ["b/"], "c"))
    second = source.take(Listing([info("c"), info("d")], ["b/", "e/"], ""))
    assert [entry.name for entry in first + second] == ["b", "a", "e", "c", "d"]


async def test_passed_names() -> None:
    source = stream("")
    assert not source.passed("a")
    source.take(Listing([info("a"), info("c")], [], "c"))
    assert source.passed("b")
    assert not source.passed("d")
    source.take(Listing([], [], ""))
    assert source.passed("d")


# -- cursors


class Batches:
    """A source of fixed batches, which counts how often it is asked."""

    def __init__(self, batches: list[list[str]], position: int = 0) -> None:
        self.batches = batches
        self.position = position
        self.started_at = self.arrived_at = 0.0
        self.ahead: list[int] = []

    @property
    def done(self) -> bool:
        return self.position == len(self.batches)

    def fork(self) -> Batches:
        return Batches(self.batches, self.position)

    def fetch_ahead(self) -> None:
        self.ahead.append(self.position)

    async def next(self) -> list[Entry]:
        self.position += 1
        return [Entry(name) for name in self.batches[self.position - 1]]


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.lists(st.one_of(st.none(), st.integers(0, 25)), max_size=20),
)
def test_a_cursor_goes_anywhere(sizes: list[int], jumps: list[int | None]) -> None:
    names = [str(number) for number in range(sum(sizes))]
    batches = [names[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]

    async def run() -> None:
        cursor = Cursor(Batches(batches))
        index = 0
        for jump in jumps:
            if jump is not None:
                index = min(jump, len(names))
            found = [entry.name for entry in await cursor.at(index)]
            assert found == names[index : index + len(found)]
            assert found or index == len(names)
            index += len(found)

    trio.run(run)


async def test_long_batches_are_given_whole_in_slices() -> None:
    names = [f"{number:05}" for number in range(3 * SLICE + 1)]
    cursor = Cursor(Batches([names[:SLICE], names[SLICE:]]))
    found: list[str] = []
    while entries := await cursor.at(len(found)):
        assert len(entries) <= SLICE
        found += [entry.name for entry in entries]
    assert found == names


async def test_a_cursor_holds_one_batch() -> None:
    cursor = Cursor(Batches([[str(i) for i in range(100)] for _ in range(50)]))
    index = 0
    while entries := await cursor.at(index):
        assert len(entries) == 100
        index += 100
    assert index == 5000


async def test_the_next_batch_is_fetched_ahead_from_the_middle_of_one() -> None:
    source = Batches([[str(i) for i in range(100)] for _ in range(3)])
    cursor = Cursor(source)
    await cursor.at(0)
    await cursor.at(49)
    assert source.ahead == []
    await cursor.at(50)
    assert source.ahead == [1]


async def test_a_batch_fetched_ahead_is_asked_for_once(
    cluster: StoreProcess, aistore: AISStore, other: Bucket, nursery: trio.Nursery
) -> None:
    other.object("f").put_content(b"x")
    stream = DirectoryStream(aistore, BucketName(other.name), "")
    cluster.clear_requests()
    stream.fetch_ahead(nursery)
    stream.fetch_ahead(nursery)
    assert [entry.name for entry in await stream.next()] == ["f"]
    assert stream.done
    stream.fetch_ahead(nursery)
    asked = [r for r in cluster.requests() if str(r["path"]).startswith("/v1/buckets/")]
    assert len([r for r in asked if r["node"].startswith("p")]) == 1


async def test_a_batch_fetched_ahead_fails_when_it_is_wanted(
    aistore: AISStore, nursery: trio.Nursery
) -> None:
    stream = DirectoryStream(aistore, BucketName("there-is-no-such-bucket"), "")
    stream.fetch_ahead(nursery)
    with pytest.raises(NotFound):
        await stream.next()


def test_long_listings_of_the_clusters_own_buckets_come_in_long_batches() -> None:
    assert [page_size(BucketName("b"), n) for n in (0, 1, 2)] == [FIRST_BATCH, MAX_PAGE, LONG_PAGE]
    for foreign in (BucketName("b", "aws"), BucketName("b", "ais", "uuid")):
        assert page_size(foreign, 2) == MAX_PAGE


# -- names that are told without attributes


async def names_told(cursor: Cursor, start: int, looks: bool) -> tuple[int, int]:
    """Read some names as `ls` does, with -l or without; return their end and how many are told."""
    entries = await cursor.at(start)
    told = 0
    for index, entry in enumerate(entries, start):
        if cursor.tells(index):
            told += 1
        elif looks:
            assert cursor.find(entry.name) is entry
    return start + len(entries), told


@pytest.mark.parametrize("looks", [False, True])
async def test_names_are_told_with_attributes_while_somebody_looks(looks: bool) -> None:
    batches = [[f"{b}-{i}" for i in range(10_000)] for b in range(8)]
    cursor = Cursor(Batches(batches))
    index, told = 0, 0
    while index < 80_000:
        index, more = await names_told(cursor, index, looks)
        told += more
    assert told > 79_800 if looks else TOLD * 0.99 < told <= TOLD


async def test_names_of_the_batch_before_are_found() -> None:
    cursor = Cursor(Batches([["a", "b"], ["c"], ["d"]]))
    await cursor.at(0)
    await cursor.at(2)
    assert cursor.find("b") == Entry("b")
    assert cursor.find("c") == Entry("c")
    await cursor.at(3)
    assert cursor.find("b") is None


def test_a_short_directory_is_told_whole() -> None:
    cursor = Cursor(Batches([]))
    assert all(cursor.tells(index) for index in range(TOLD // 2))
    assert not cursor.left_out


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (Entry("f", info("f")), Kind.FILE),
        (Entry("d"), Kind.DIRECTORY),
        (
            Entry("l", ObjectInfo("l", Identity(1), encode(Attributes(Kind.SYMLINK, 0, 0, 0, 0)))),
            Kind.SYMLINK,
        ),
    ],
)
def test_an_entry_tells_its_kind(entry: Entry, kind: Kind) -> None:
    assert entry.kind is kind


# -- which directories hold something


def nothing(info: ObjectInfo) -> bool:
    return False


async def test_a_directory_that_holds_something_is_proved(aistore: AISStore, other: Bucket) -> None:
    for name in ("p/full/x", "p/deep/a/b/c", f"p/kept/{MARKER}", "p/file"):
        other.object(name).put_content(b"x")
    names = ["full", "deep", "kept", "emptied"]
    proof = await prove_directories(aistore, BucketName(other.name), "p/", names, nothing)
    assert proof.stored == {"full": "", "deep": "", "kept": ""}
    assert proof.refuted == {"emptied"}


async def test_what_is_gone_for_this_mount_proves_nothing(aistore: AISStore, other: Bucket) -> None:
    for name in ("p/full/x", "p/left/x"):
        other.object(name).put_content(b"x")
    names = ["full", "left"]
    proof = await prove_directories(
        aistore, BucketName(other.name), "p/", names, lambda info: info.name == "p/left/x"
    )
    assert proof.stored == {"full": ""}
    assert proof.refuted == {"left"}


async def test_what_lies_behind_the_batch_stays_open(aistore: AISStore, other: Bucket) -> None:
    async with trio.open_nursery() as nursery:
        limit = trio.CapacityLimiter(8)

        async def put(name: str) -> None:
            await trio.to_thread.run_sync(other.object(name).put_content, b"", limiter=limit)

        for index in range(1005):
            nursery.start_soon(put, f"p/big/{index:04}")
    other.object("p/late/x").put_content(b"x")
    other.object(f"p/big/{MARKER}").get_writer().put(b"", custom={"aisfs": "1.m"})
    names = ["absent", "big", "later", "late"]
    proof = await prove_directories(aistore, BucketName(other.name), "p/", names, nothing)
    assert proof.stored == {"big": "1.m"}
    assert proof.refuted == {"absent"}
