"""Texts as values of a bucket's properties."""

from __future__ import annotations

from typing import Any

import pytest

from aisfs.errors import Invalid
from aisfs.store.bucket_props import changed_props

PRESENT: dict[str, object] = {
    "access": "771",
    "mirror": {"copies": 1, "enabled": False, "burst": None},
    "lru": {"dont_evict_time": "120m", "ratio": 0.5},
}


@pytest.mark.parametrize(
    ("texts", "props"),
    [
        ({"access": "831"}, {"access": "831"}),
        ({"mirror.copies": "2"}, {"mirror": {"copies": 2}}),
        (
            {"mirror.copies": "2", "mirror.enabled": "Yes", "lru.dont_evict_time": "1h"},
            {"mirror": {"copies": 2, "enabled": True}, "lru": {"dont_evict_time": "1h"}},
        ),
        ({"mirror.enabled": "no", "lru.ratio": "0.25"},
         {"mirror": {"enabled": False}, "lru": {"ratio": 0.25}}),
        ({"mirror.burst": "5"}, {"mirror": {"burst": "5"}}),
    ],
)  # fmt: skip
def test_a_value_has_the_kind_of_the_present_one(
    texts: dict[str, str], props: dict[str, Any]
) -> None:
    changed = changed_props(PRESENT, texts)
    assert changed == props
    assert repr(changed) == repr(props)  # True is no 1


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("mirror.copis", "2", "nearest: mirror.copies"),
        ("mirror", "2", "no property mirror"),
        ("access.more", "2", "no property"),
        ("mirror.copies", "2.5", "no number"),
        ("mirror.enabled", "2", "mirror.enabled=yes"),
    ],
)
def test_what_a_bucket_does_not_have_is_refused(name: str, text: str, word: str) -> None:
    with pytest.raises(Invalid, match=word):
        changed_props(PRESENT, {name: text})
