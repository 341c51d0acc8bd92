from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from aisfs.cache.pages import PAGE_SIZE, REUSE_S, SMALL, Page, PageCache

MIB = 1 << 20


def made(cache: PageCache, index: int, size: int = PAGE_SIZE, content: int = 1) -> Page:
    """Return a new complete page."""
    page = cache.allocate((content, index), size)
    assert page is not None
    page.valid = size
    return page


def resident() -> int:
    """Return how many bytes of memory this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_page_is_found_by_its_key() -> None:
    cache = PageCache(8 * MIB)
    page = made(cache, 3)
    assert cache.get((1, 3)) is page
    assert cache.get((1, 4)) is None
    assert cache.get((2, 3)) is None


def test_a_page_has_the_size_that_was_asked_for() -> None:
    cache = PageCache(8 * MIB)
    for index, size in enumerate([1, SMALL, SMALL + 1, PAGE_SIZE]):
        page = cache.allocate((1, index), size)
        assert page is not None
        assert len(page.view) == page.size == size
        assert not page.complete


def test_the_least_recently_used_goes_first() -> None:
    cache = PageCache(4 * MIB)
    for index in range(4):
        made(cache, index)
    cache.get((1, 0))
    made(cache, 4)
    assert cache.get((1, 1)) is None
    assert cache.get((1, 0)) is not None


@pytest.mark.parametrize("size", [100, PAGE_SIZE])
def test_memory_that_is_held_is_not_used_again(size: int) -> None:
    cache = PageCache(4 * MIB)
    page = made(cache, 0, size)
    cache.hold(page)
    page.view[:4] = b"held"
    for index in range(1, 10):
        made(cache, index)
    assert cache.get((1, 0)) is page  # not reclaimed
    cache.discard(page.key)
    used = cache.used
    for index in range(10, 20):
        made(cache, index).view[:4] = b"else"
    assert bytes(page.view[:4]) == b"held"
    cache.release(page)
    assert cache.used == used - size


def test_a_held_page_that_is_not_forgotten_stays_when_released() -> None:
    cache = PageCache(4 * MIB)
    page = made(cache, 0)
    cache.hold(page)
    used = cache.used
    cache.release(page)
    assert cache.get((1, 0)) is page
    assert cache.used == used


def test_pages_that_are_filled_or_awaited_stay() -> None:
    cache = PageCache(4 * MIB)
    pages = [made(cache, index) for index in range(4)]
    pages[0].filling = True
    pages[1].changed = trio.Event()
    made(cache, 4)
    made(cache, 5)
    assert [cache.get((1, index)) is not None for index in range(6)] == [
        True, True, False, False, True, True,
    ]  # fmt: skip


def test_none_when_every_page_is_in_use() -> None:
    cache = PageCache(4 * MIB)
    for index in range(4):
        made(cache, index).filling = True
    assert cache.allocate((1, 9), PAGE_SIZE) is None
    assert cache.allocate((1, 9), 10) is None


def test_one_large_page_makes_room_for_many_small_ones() -> None:
    cache = PageCache(4 * MIB)
    for index in range(4):
        made(cache, index)
    for index in range(PAGE_SIZE // SMALL):
        made(cache, index, SMALL, content=2)
    assert cache.used == cache.capacity
    assert cache.get((1, 1)) is not None


def test_a_page_keeps_its_bytes_while_others_come_and_go() -> None:
    cache = PageCache(8 * MIB)
    page = made(cache, 0)
    page.view[:] = b"k" * PAGE_SIZE
    page.filling = True
    for index in range(1, 40):
        made(cache, index).view[:] = bytes([index]) * PAGE_SIZE
    assert bytes(page.view) == b"k" * PAGE_SIZE


def test_what_is_read_again_and_again_is_no_room_and_needs_none() -> None:
    clock = Clock()
    cache = PageCache(8 * MIB, clock)
    made(cache, 0, content=1)
    made(cache, 1, SMALL, content=1)
    made(cache, 0, content=2)
    size = PAGE_SIZE + SMALL
    assert (cache.room, cache.needs(1, size)) == (8 * MIB, size)
    cache.get((1, 0))
    clock.now += 2 * REUSE_S
    cache.get((1, 0))
    assert (cache.room, cache.needs(1, size)) == (7 * MIB, SMALL)
    assert cache.needs(2, PAGE_SIZE) == MIB


def test_a_large_page_needs_a_whole_slot() -> None:
    cache = PageCache(8 * MIB)
    assert cache.needs(1, SMALL + 1) == MIB
    assert cache.needs(1, MIB + 1) == MIB + 1
    assert cache.needs(1, 0) == 0
    assert cache.needs(1, 1 << 50) == 1 << 50


def test_drop_content_leaves_other_contents_and_pages_in_use() -> None:
    cache = PageCache(8 * MIB)
    made(cache, 0)
    made(cache, 1).filling = True
    made(cache, 0, content=2)
    cache.drop_content(1, 2)
    assert cache.get((1, 0)) is None
    assert cache.get((1, 1)) is not None
    assert cache.get((2, 0)) is not None


def test_discarding_twice_gives_back_once() -> None:
    cache = PageCache(4 * MIB)
    made(cache, 0)
    made(cache, 1, SMALL)
    for _ in range(2):
        cache.discard((1, 0))
        cache.discard((1, 1))
    assert cache.used == 0


Actions = st.lists(
    st.tuples(
        st.sampled_from(["allocate", "get", "discard", "fill", "settle", "drop"]),
        st.integers(0, 3),
        st.integers(0, 9),
        st.sampled_from([1, 4096, SMALL, SMALL + 1, PAGE_SIZE]),
    ),
    max_size=200,
)


@given(Actions)
def test_the_bound_is_never_exceeded(actions: list[tuple[str, int, int, int]]) -> None:
    cache = PageCache(4 * MIB)
    pages: dict[tuple[int, int], Page] = {}
    for action, content, index, size in actions:
        key = (content, index)
        page = cache.get(key)
        assert page is None or page is pages[key]
        if action == "allocate" and page is None:
            new = cache.allocate(key, size)
            if new is not None:
                pages[key] = new
        elif action == "discard":
            cache.discard(key)
        elif action in {"fill", "settle"} and page is not None:
            page.filling = action == "fill"
        elif action == "drop":
            cache.drop_content(content, 10)
        held = [p for k in pages if (p := cache.get(k)) is not None]
        large = sum(PAGE_SIZE for p in held if p.size > SMALL)
        assert cache.used == large + sum(p.size for p in held if p.size <= SMALL)
        assert cache.used <= cache.capacity
        assert len({p.slot for p in held if p.slot >= 0}) == large // PAGE_SIZE


def test_memory_moves_from_large_pages_to_small_ones() -> None:
    """What the process holds is bounded, not only what the cache counts."""
    cache = PageCache(64 * MIB)
    for index in range(64):
        made(cache, index).view[:] = b"x" * PAGE_SIZE
    before = resident()
    cache.drop_content(1, 64)
    for index in range(512):
        made(cache, index, SMALL, content=2).view[:] = b"y" * SMALL
    assert resident() - before < 8 * MIB


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_scan_leaves_what_was_read_again() -> None:
    clock = Clock()
    cache = PageCache(8 * MIB, clock)
    for index in range(3):
        made(cache, index, content=7)
        cache.get((7, index))
    clock.now += REUSE_S + 0.1
    for index in range(3):
        cache.get((7, index))
    for index in range(80):
        made(cache, index)
        for _ in range(8):  # the requests of one reader that passes by
            cache.get((1, index))
            clock.now += 0.01
    assert all(cache.peek((7, index)) is not None for index in range(3))


def test_one_pass_in_many_requests_is_one_use() -> None:
    clock = Clock()
    cache = PageCache(4 * MIB, clock)
    made(cache, 0, content=7)
    for _ in range(8):
        cache.get((7, 0))
        clock.now += REUSE_S / 2
    for index in range(4):
        made(cache, index)
    assert cache.peek((7, 0)) is None


def test_protected_pages_leave_room_for_new_ones() -> None:
    clock = Clock()
    cache = PageCache(8 * MIB, clock)
    for index in range(8):
        made(cache, index)
    for _ in range(3):
        clock.now += 2 * REUSE_S
        for index in range(8):
            cache.get((1, index))
    made(cache, 8)
    made(cache, 9)
    assert cache.peek((1, 8)) is not None
    assert sum(cache.peek((1, index)) is not None for index in range(8)) == 6


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["get", "make", "fill", "end", "drop", "wait"]),
            st.integers(0, 12),
            st.sampled_from([1, SMALL, SMALL + 1, PAGE_SIZE]),
        ),
        max_size=120,
    )
)
def test_the_limit_holds_whatever_is_done(steps: list[tuple[str, int, int]]) -> None:
    clock = Clock()
    cache = PageCache(4 * MIB, clock)
    filling: dict[int, Page] = {}
    for what, index, size in steps:
        if what == "get":
            cache.get((1, index))
        elif what in {"make", "fill"} and cache.peek((1, index)) is None:
            page = cache.allocate((1, index), size)
            if page is not None and what == "fill":
                page.filling = True
                filling[index] = page
        elif what == "end" and index in filling:
            filling.pop(index).filling = False
        elif what == "drop" and index not in filling:
            cache.discard((1, index))
        elif what == "wait":
            clock.now += REUSE_S
        assert cache.used <= cache.capacity
        assert all(cache.peek((1, kept)) is page for kept, page in filling.items())
