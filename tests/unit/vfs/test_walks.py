from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import trio

from aisfs.config import BucketName
from aisfs.errors import IoFailure
from aisfs.store.interface import Identity, Listing, ObjectInfo
from aisfs.vfs import walks
from aisfs.vfs.paths import MARKER, SHADOWED
from aisfs.vfs.walks import MAX_PAGES, WORTH, Walks

if TYPE_CHECKING:
    from aisfs.store.interface import ObjectStore

BUCKET = BucketName("b")
NEVER = float("-inf")


class Flat:
    """A store that lists its names, at most 1000 a page whatever is asked for."""

    def __init__(self, names: list[str]) -> None:
        self.names = sorted(names)
        self.asked: list[str] = []
        self.fails = False

    async def list(
        self, bucket: BucketName, prefix: str, token: str, size: int, *, recursive: bool
    ) -> Listing:
        assert recursive
        self.asked.append(token)
        await trio.sleep(0.01)
        if self.fails:
            raise IoFailure("told to")
        found = [n for n in self.names if n.startswith(prefix) and n > token]
        page = found[:1000]
        objects = [ObjectInfo(name, Identity(1, "aa"), "") for name in page]
        return Listing(objects, [], page[-1] if len(found) > len(page) else "")


def tree(directories: int, each: int) -> list[str]:
    return [f"t/{d:03}/{f:03}" for d in range(directories) for f in range(each)]


def begun(store: Flat, nursery: trio.Nursery, lifetime_s: float = 1.0) -> Walks:
    """Return the walks of a mount on which somebody opened the first two directories."""
    made = Walks(cast("ObjectStore", store), nursery, lifetime_s)
    made.visits(BUCKET, "t/000/")
    made.visits(BUCKET, "t/001/")
    return made


async def names(made: Walks, directory: str, changed_at: float = NEVER) -> list[str] | None:
    part = await made.part(BUCKET, directory, changed_at)
    return None if part is None else [entry.name for entry in part.entries]


async def test_siblings_make_a_walk_and_one_directory_does_not(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    store = Flat(tree(3, 2))
    alone = Walks(cast("ObjectStore", store), nursery, 1.0)
    alone.visits(BUCKET, "t/000/")
    alone.visits(BUCKET, "t/000/")
    assert await names(alone, "t/000/") is None
    assert store.asked == []
    assert await names(begun(store, nursery), "t/001/") == ["000", "001"]


async def test_slow_siblings_make_no_walk(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    made = Walks(cast("ObjectStore", Flat(tree(3, 2))), nursery, 1.0)
    made.visits(BUCKET, "t/000/")
    await trio.sleep(walks.SIBLING_S + 0.1)
    made.visits(BUCKET, "t/001/")
    assert await names(made, "t/001/") is None


async def test_a_tree_costs_a_request_for_each_page(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    store = Flat(tree(100, 70))  # pages end within directories
    made = begun(store, nursery)
    for number in range(1, 100):
        assert await names(made, f"t/{number:03}/") == [f"{f:03}" for f in range(70)]
    assert len(store.asked) == 7


async def test_no_more_than_a_page_is_fetched_ahead(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    store = Flat(tree(100, 100))
    made = begun(store, nursery)
    for number in range(1, 9):
        await names(made, f"t/{number:03}/")
    await trio.sleep(0.5)
    assert len(store.asked) == 2


async def test_a_page_is_believed_for_its_time_and_then_let_go(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    store = Flat(tree(9, 2))
    made = begun(store, nursery)
    await names(made, "t/001/")
    store.names.append("t/002/new")
    await trio.sleep(0.9)
    assert await names(made, "t/002/") == ["000", "001"]
    await trio.sleep(0.2)
    assert await names(made, "t/002/") in (None, ["000", "001", "new"])
    await trio.sleep(3)
    assert await names(made, "t/003/") is None  # the walk ended: nobody came
    assert not made._walks


async def test_what_this_mount_changed_since_is_not_believed(nursery: trio.Nursery) -> None:
    made = begun(Flat(tree(5, 2)), nursery)
    assert await names(made, "t/001/") == ["000", "001"]
    assert await names(made, "t/002/", trio.current_time()) is None
    assert await names(made, "t/003/") == ["000", "001"]


async def test_a_walk_tells_attributes_of_directories_and_shadowed_names(
    nursery: trio.Nursery,
) -> None:
    store = Flat(
        ["t/000/x", f"t/001/{MARKER}", "t/001/a", "t/001/a-b", "t/001/a/deep", f"t/001/k/{MARKER}"]
    )
    part = await begun(store, nursery).part(BUCKET, "t/001/", NEVER)
    assert part is not None
    assert [(e.name, e.is_directory, e.stored) for e in part.entries] == [
        ("a", True, ""),
        ("k", True, ""),
        ("a" + SHADOWED, False, None),
        ("a-b", False, None),
    ]
    assert part.stored == ""


async def test_a_directory_longer_than_the_window_is_not_answered(nursery: trio.Nursery) -> None:
    store = Flat([*tree(3, 2), *(f"t/001/big/{n:05}" for n in range(9000)), "t/004/x"])
    made = begun(store, nursery)
    for _ in range(5):
        assert await names(made, "t/001/") is None
    assert len(store.asked) <= MAX_PAGES
    assert await names(made, "t/004/") == ["x"]


async def test_an_absent_directory_is_not_said_to_be_empty(nursery: trio.Nursery) -> None:
    made = begun(Flat(tree(5, 2)), nursery)
    await names(made, "t/001/")
    assert await names(made, "t/0015/") is None


async def test_a_walk_that_is_none_ends(nursery: trio.Nursery) -> None:
    store = Flat(tree(900, 10))
    made = begun(store, nursery)
    for number in (800, 1, 700, 2, 600, 3):
        await names(made, f"t/{number:03}/")
    assert len(store.asked) <= WORTH


async def test_a_failure_ends_the_walk_and_no_reader(nursery: trio.Nursery) -> None:
    store = Flat(tree(9, 2))
    made = begun(store, nursery)
    store.fails = True
    assert await names(made, "t/001/") is None
    assert await names(made, "t/002/") is None
    assert len(store.asked) == 1


async def test_names_that_python_orders_otherwise_end_the_walk(nursery: trio.Nursery) -> None:
    store = Flat(tree(3, 2))
    store.names = ["t/001/b", "t/001/a", "t/002/x"]
    assert await names(begun(store, nursery), "t/001/") is None


async def test_two_walkers_share_a_request(nursery: trio.Nursery) -> None:
    store = Flat(tree(9, 2))
    made = begun(store, nursery)
    async with trio.open_nursery() as both:
        both.start_soon(names, made, "t/001/")
        both.start_soon(names, made, "t/001/")
    assert len(store.asked) == 1


async def test_with_no_lifetime_there_is_no_walk(nursery: trio.Nursery) -> None:
    assert await names(begun(Flat(tree(3, 2)), nursery, 0.0), "t/001/") is None


@pytest.mark.parametrize("directory", ["", "t/"])
async def test_the_top_of_a_walk_is_listed(directory: str, nursery: trio.Nursery) -> None:
    made = begun(Flat(tree(3, 2)), nursery)
    made.visits(BUCKET, directory)
    assert await names(made, directory) is None
