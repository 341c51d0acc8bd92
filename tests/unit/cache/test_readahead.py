from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aisfs.cache.readahead import FIRST_WINDOW, REORDERED, AccessPattern, OpeningGuess

MAX_WINDOW = 16 << 20
KIB = 1 << 10
MIB = 1 << 20


def observed(reads: list[tuple[int, int]], max_window: int = MAX_WINDOW) -> AccessPattern:
    pattern = AccessPattern(max_window)
    for start, end in reads:
        pattern.observe(start, end)
    return pattern


def test_a_new_file_is_presumed_sequential_but_not_established() -> None:
    pattern = AccessPattern(MAX_WINDOW)
    assert pattern.sequential
    assert not pattern.established
    assert pattern.window == FIRST_WINDOW


def test_a_look_into_the_head_reads_no_further() -> None:
    assert not observed([(0, 4096)]).established


def test_the_second_read_in_order_establishes_a_stream() -> None:
    assert observed([(0, 128 * KIB), (128 * KIB, 256 * KIB)]).established


def test_the_window_doubles_up_to_its_limit() -> None:
    pattern = AccessPattern(MAX_WINDOW)
    windows = []
    for index in range(12):
        pattern.observe(index * MIB, (index + 1) * MIB)
        windows.append(pattern.window)
    assert all(later in {earlier, earlier * 2} for earlier, later in pairwise(windows))
    assert windows[-1] == MAX_WINDOW


def test_a_limit_below_the_first_window_is_raised_to_it() -> None:
    pattern = observed([(i * MIB, (i + 1) * MIB) for i in range(5)], max_window=1)
    assert pattern.window == FIRST_WINDOW


def test_a_jump_makes_the_pattern_random() -> None:
    pattern = observed([(i * MIB, (i + 1) * MIB) for i in range(5)])
    pattern.observe(500 * MIB, 500 * MIB + 4096)
    assert not pattern.sequential
    assert not pattern.established
    assert pattern.window == FIRST_WINDOW


def test_two_reads_that_follow_each_other_after_a_jump_are_sequential_again() -> None:
    reads = [(0, MIB), (500 * MIB, 501 * MIB), (501 * MIB, 502 * MIB), (502 * MIB, 503 * MIB)]
    assert not observed(reads[:3]).sequential
    assert observed(reads).sequential
    assert observed(reads).established


@given(
    st.integers(1, 8).map(lambda size: size * 128 * KIB),
    st.lists(st.integers(0, 7), min_size=24, max_size=64),
)
def test_reads_in_flight_may_be_shuffled(size: int, picks: list[int]) -> None:
    """The kernel has up to eight reads of one reader in flight; they arrive in any order."""
    waiting = list(range(len(picks)))
    pattern = AccessPattern(MAX_WINDOW)
    for pick in picks:
        in_flight = [index for index in waiting if index < waiting[0] + 8]
        index = in_flight[min(pick, len(in_flight) - 1)]
        waiting.remove(index)
        pattern.observe(index * size, (index + 1) * size)
        assert pattern.sequential
    assert pattern.established


@given(st.lists(st.integers(0, 10_000), min_size=3, max_size=50, unique=True))
def test_reads_far_from_each_other_are_random(places: list[int]) -> None:
    stride = 4096 * (REORDERED + 2)
    pattern = AccessPattern(MAX_WINDOW)
    pattern.observe(1 << 40, (1 << 40) + 4096)
    for place in places:
        pattern.observe(place * stride, place * stride + 4096)
        assert not pattern.established
        assert not pattern.sequential


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, MIB)), max_size=60))
def test_the_window_stays_within_its_bounds(reads: list[tuple[int, int]]) -> None:
    pattern = AccessPattern(MAX_WINDOW)
    for start, size in reads:
        pattern.observe(start, start + size)
        assert FIRST_WINDOW <= pattern.window <= MAX_WINDOW
        assert pattern.sequential or not pattern.established


def test_files_are_expected_to_be_read_until_some_are_not() -> None:
    guess = OpeningGuess()
    assert guess.likely
    for _ in range(OpeningGuess.MOST // OpeningGuess.MISS):
        guess.observe(from_start=False)
    assert not guess.likely


def test_files_that_are_read_again_are_expected_again() -> None:
    guess = OpeningGuess()
    for _ in range(100):
        guess.observe(from_start=False)
    for _ in range(OpeningGuess.MOST + 1):
        guess.observe(from_start=True)
    assert guess.likely
