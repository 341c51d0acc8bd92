"""Commands are split as a shell splits them."""

from __future__ import annotations

import contextlib
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisfs.control.grammar import Words, parse
from aisfs.errors import Invalid


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("evict ais://b/o", Words("evict", ("ais://b/o",), {})),
        ("copy 'a b' \"c d\" etl=x\n", Words("copy", ("a b", "c d"), {"etl": "x"})),
        ("copy a\\ b c", Words("copy", ("a b", "c"), {})),
        ("promote /p /q recursive=yes # all", Words("promote", ("/p", "/q"), {"recursive": "yes"})),
        ("copy ./a=b c", Words("copy", ("./a=b", "c"), {})),
        ("evict K=v", Words("evict", ("K=v",), {})),
        ("archive s from=", Words("archive", ("s",), {"from": ""})),
        ("start 'x=y z'", Words("start", (), {"x": "y z"})),
    ],
)
def test_words(line: str, words: Words) -> None:
    assert parse(line) == words


@pytest.mark.parametrize("line", ["", "\n", "   \t\n", "# nothing", "  # nothing\r\n"])
def test_lines_without_a_command(line: str) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(
    "line", ["evict 'a", 'evict "a', "evict a\\", "a\0b", "a k=1 k=2", "a\x1b["]
)
def test_lines_that_are_no_command(line: str) -> None:
    with pytest.raises(Invalid):
        parse(line)


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1), max_size=5))
def test_quoted_words_come_back(operands: list[str]) -> None:
    kept = [word if "=" not in word else f"./{word}" for word in operands]
    found = parse(shlex.join(["verb", *kept]))
    assert found == Words("verb", tuple(kept), {})


@given(st.text(max_size=200))
def test_no_line_does_worse_than_being_refused(line: str) -> None:
    with contextlib.suppress(Invalid):
        parse(line)
