from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisfs.config import BucketName
from aisfs.errors import Invalid, NameTooLong, NotPermitted
from aisfs.store.interface import NameRules
from aisfs.vfs.paths import (
    MARKER,
    SHADOWED,
    bucket_directory,
    check_new,
    is_presentable,
    shadowed_name,
    split,
    to_bytes,
    to_text,
)

MODERN = NameRules()
OLD = NameRules("#&'\"<>", 242)

components = st.text(st.characters(blacklist_characters="/\0"), min_size=1).filter(
    lambda text: text not in {".", ".."} and text.isprintable()
)


@given(st.binary())
def test_any_bytes_survive_as_text(name: bytes) -> None:
    assert to_bytes(to_text(name)) == name


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_any_text_survives_as_bytes(name: str) -> None:
    assert to_text(to_bytes(name)) == name


@given(st.lists(components, max_size=4), components)
def test_an_object_name_splits_into_directory_and_file(parents: list[str], base: str) -> None:
    prefix = "".join(f"{parent}/" for parent in parents)
    assert split(prefix + base) == (prefix, base)
    assert split(f"{prefix}{base}/") == (prefix, base)


words = st.sampled_from(["", "a", "b", "n1", "u.x"])


@given(*[st.builds(BucketName, st.sampled_from(["a", "b"]), st.sampled_from(["ais", "aws"]), words,
                   words)] * 2)  # fmt: skip
def test_every_bucket_has_a_directory_of_its_own(one: BucketName, two: BucketName) -> None:
    assert (bucket_directory(one) == bucket_directory(two)) == (one == two)


@pytest.mark.parametrize(
    ("bucket", "name"),
    [
        (BucketName("b"), "b"),
        (BucketName("b", "aws"), "aws:b"),
        (BucketName("b", "ais", "U"), "ais@U:b"),
        (BucketName("b", "ais", "", "n"), "ais#n:b"),
        (BucketName("b", "ais", "U", "n"), "ais@U#n:b"),
    ],
)
def test_names_of_bucket_directories(bucket: BucketName, name: str) -> None:
    assert bucket_directory(bucket) == name


@pytest.mark.parametrize("component", ["", ".", "..", "a\0b"])
def test_what_the_kernel_would_refuse_is_left_out(component: str) -> None:
    assert not is_presentable(component)


@given(components)
def test_a_shadowed_name_is_read_back(component: str) -> None:
    assert shadowed_name(component + SHADOWED) == component


def test_other_names_are_not_shadowed() -> None:
    assert shadowed_name("a") is None


@pytest.mark.parametrize(
    ("component", "reason"),
    [(".aisfs.x", "begin with .aisfs"), ("x.aisfs-object", "-object marks")],
)
def test_who_is_refused_a_reserved_name_is_told_why(component: str, reason: str) -> None:
    with pytest.raises(NotPermitted, match=reason):
        check_new("", component, MODERN)


@given(components)
def test_what_may_be_made_is_reachable_again(component: str) -> None:
    """A name that passes is neither reserved, nor a shadow, nor changed by the cluster."""
    try:
        check_new("", component, OLD)
    except (Invalid, NameTooLong, NotPermitted):
        return
    assert not component.startswith(".aisfs")
    assert shadowed_name(component) is None
    assert len(component.encode()) <= 242
    assert not set(component) & set(OLD.mangled)
    check_new("", component, MODERN)


@pytest.mark.parametrize(
    "component", ["a", "ä€😀", "a b", "#&'\"<>", "~", "-", "a:b", " ", "x" * 255]
)
def test_good_names(component: str) -> None:
    check_new("d/", component, MODERN)


@pytest.mark.parametrize(
    ("prefix", "component", "rules", "refusal"),
    [
        ("", MARKER, MODERN, NotPermitted),
        ("d/", ".aisfs", MODERN, NotPermitted),
        ("d/", "a" + SHADOWED, MODERN, NotPermitted),
        ("", "a\nb", MODERN, Invalid),
        ("", "a\x7f", MODERN, Invalid),
        ("", to_text(b"\xff"), MODERN, Invalid),
        ("", "~", MODERN, Invalid),
        ("", "x" * 256, MODERN, NameTooLong),
        ("", "ä" * 128, MODERN, NameTooLong),
        ("", "x" * 243, OLD, NameTooLong),
        ("", "a&b", OLD, Invalid),
        ("", "a#", OLD, Invalid),
    ],
)
def test_names_that_cannot_be_made(
    prefix: str, component: str, rules: NameRules, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        check_new(prefix, component, rules)
