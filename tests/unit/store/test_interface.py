from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisfs.store.interface import Identity

identities = st.builds(
    Identity,
    st.integers(0, 2),
    st.sampled_from(["", "aa", "bb"]),
    st.sampled_from(["", "xxhash", "xxhash2", "md5"]),
    st.sampled_from(["", "1", "2"]),
)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (Identity(5, "aa", "xxhash2", "1"), Identity(5, "aa", "xxhash2", "9"), True),
        (Identity(5, "aa", "xxhash2"), Identity(6, "aa", "xxhash2"), False),
        (Identity(5, "aa", "xxhash2"), Identity(5, "bb", "xxhash2"), False),
        (Identity(5, "aa", "xxhash"), Identity(5, "aa", "xxhash2"), True),
        (Identity(5, "aa", "md5"), Identity(5, "aa", "xxhash2"), False),
        (Identity(5, "aa", ""), Identity(5, "aa", "md5"), True),
        (Identity(5, "", "", "1"), Identity(5, "", "", "1"), True),
        (Identity(5, "", "", "1"), Identity(5, "", "", "2"), False),
        (Identity(5, "aa", "md5", "1"), Identity(5, "", "", "1"), True),
        (Identity(5, "aa", "md5", "1"), Identity(5, "", "", "2"), False),
        (Identity(5, "aa", "md5", ""), Identity(5, "", "", ""), False),
    ],
)
def test_same_content(one: Identity, two: Identity, same: bool) -> None:
    assert one.same_content(two) is same


@given(identities, identities)
def test_same_content_has_no_direction(one: Identity, two: Identity) -> None:
    assert one.same_content(two) == two.same_content(one)


@given(identities)
def test_everything_is_the_same_as_itself(one: Identity) -> None:
    assert one.same_content(one)


@pytest.mark.parametrize(
    ("pinned", "found", "admitted"),
    [
        (Identity(5), Identity(5, "aa", "xxhash2", "1"), True),
        (Identity(5), Identity(6, "aa", "xxhash2", "1"), False),
        (Identity(5), Identity(5), True),
        (Identity(5, "aa", "xxhash2"), Identity(5), False),
        (Identity(5, "", "", "1"), Identity(5, "aa", "md5", "2"), False),
    ],
)
def test_of_what_only_the_size_is_known_nothing_else_is_compared(
    pinned: Identity, found: Identity, admitted: bool
) -> None:
    assert pinned.admits(found) is admitted
