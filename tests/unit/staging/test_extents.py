from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aisfs.staging.extents import Extents

END = 40
ranges = st.tuples(st.integers(0, END), st.integers(0, END))
actions = st.lists(st.tuples(st.sampled_from(["add", "cut", "drop"]), ranges), max_size=40)


def grown(steps: list[tuple[str, tuple[int, int]]]) -> tuple[Extents, set[int]]:
    """Return extents and the set of bytes that they should cover."""
    extents, model = Extents(), set[int]()
    for action, (start, end) in steps:
        if action == "add":
            extents.add(start, end)
            model |= set(range(start, end))
        elif action == "drop":
            extents.drop(start)
            model = {byte for byte in model if byte >= start}
        else:
            extents.cut(start)
            model = {byte for byte in model if byte < start}
    return extents, model


@given(actions)
def test_extents_cover_what_a_set_of_bytes_would(steps: list[tuple[str, tuple[int, int]]]) -> None:
    extents, model = grown(steps)
    assert {byte for start, end in extents for byte in range(start, end)} == model
    assert extents.size == len(model)


@given(actions)
def test_extents_are_sorted_and_never_touch(steps: list[tuple[str, tuple[int, int]]]) -> None:
    extents, _ = grown(steps)
    assert all(start < end for start, end in extents)
    assert all(before[1] < after[0] for before, after in pairwise(extents))


@given(actions, ranges)
def test_what_is_missing_is_what_is_not_covered(
    steps: list[tuple[str, tuple[int, int]]], asked: tuple[int, int]
) -> None:
    extents, model = grown(steps)
    missing = list(extents.missing(*asked))
    assert {b for start, end in missing for b in range(start, end)} == set(range(*asked)) - model
    assert all(start < end for start, end in missing)
    assert all(before[1] < after[0] for before, after in pairwise(missing))


@given(actions, ranges)
def test_filling_what_is_missing_leaves_nothing_missing(
    steps: list[tuple[str, tuple[int, int]]], asked: tuple[int, int]
) -> None:
    extents, _ = grown(steps)
    for start, end in list(extents.missing(*asked)):
        extents.add(start, end)
    assert list(extents.missing(*asked)) == []
