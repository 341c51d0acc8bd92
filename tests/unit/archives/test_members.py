from __future__ import annotations

import pytest

from aisfs.archives.formats import Format, format_of
from aisfs.archives.members import MEMBER_COST, Kind, Member, Tree, path_of
from aisfs.errors import NoSpace


def file(path: str, size: int = 0) -> Member:
    return Member(path, Kind.FILE, size)


def directory(path: str, mode: int = 0o755) -> Member:
    return Member(path, Kind.DIRECTORY, mode=mode)


def tree_of(*members: Member, limit: int = 1 << 20) -> Tree:
    tree = Tree(limit)
    for member in members:
        tree.add(member)
    return tree


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.tar", Format.TAR),
        ("a/b.tgz", Format.TGZ),
        ("a.tar.gz", Format.TGZ),
        ("a.zip", Format.ZIP),
        ("a.tar.lz4", Format.LZ4),
        ("a.gz", None),
        ("a.lz4", None),
        ("tar", None),
        ("a.tar/b", None),
    ],
)
def test_a_format_is_told_by_the_name(name: str, expected: Format | None) -> None:
    assert format_of(name) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b", "a/b"),
        ("/a//b/", "a/b"),
        ("./a/./b", "a/b"),
        ("./", ""),
        ("", ""),
        ("a/../b", None),
        ("..", None),
        ("a\0b", None),
        ("a/..b", "a/..b"),
        ("n" * 255, "n" * 255),
        ("n" * 256, None),
        ("ö" * 128, None),
        ("\udcff" * 255, "\udcff" * 255),
        ("d/" * 2047 + "d", "d/" * 2047 + "d"),
        ("d/" * 2048 + "d", None),
    ],
)
def test_names_become_paths_that_a_kernel_can_walk(name: str, expected: str | None) -> None:
    assert path_of(name) == expected


def test_directories_above_a_member_are_there_and_listed() -> None:
    tree = tree_of(file("a/b/c", 1), file("a/d", 2), file("e", 3))
    assert list(tree) == ["", "a", "e", "a/b", "a/d", "a/b/c"]
    assert len(tree) == 6
    assert {name: member.size for name, member in tree.children("a").items()} == {"b": 0, "d": 2}
    assert list(tree.children("")) == ["a", "e"]
    assert tree["a/b"].kind is Kind.DIRECTORY
    assert "a/x" not in tree
    assert "e/x" not in tree
    assert tree.left_out == 0


def test_the_last_of_equal_names_counts() -> None:
    tree = tree_of(file("a", 1), file("a", 2))
    assert tree["a"].size == 2
    assert len(tree) == 2


def test_a_directory_that_is_told_again_keeps_its_members() -> None:
    tree = tree_of(file("a/b"), directory("a", 0o700), directory("", 0o711))
    assert tree["a"].mode == 0o700
    assert tree[""].mode == 0o711
    assert "a/b" in tree


def test_a_file_is_no_directory_for_the_sake_of_a_longer_name() -> None:
    tree = tree_of(file("a", 1), file("a/b/c"), Member("l", Kind.LINK, target="a"), file("l/x"))
    assert list(tree) == ["", "a", "l"]
    assert tree.left_out == 2


def test_a_directory_with_members_does_not_become_a_file() -> None:
    tree = tree_of(file("a/b"), file("a", 1), file("", 1))
    assert tree["a"].kind is Kind.DIRECTORY
    assert tree.left_out == 2


def test_an_empty_directory_and_a_file_replace_each_other() -> None:
    tree = tree_of(directory("a"), file("a", 1))
    assert tree["a"].size == 1
    with pytest.raises(KeyError):
        tree.children("a")
    tree.add(directory("a"))
    assert tree.children("a") == {}


def test_a_tree_takes_no_more_memory_than_it_may() -> None:
    tree = tree_of(limit=10 * (MEMBER_COST + 110))
    for number in range(10):
        tree.add(file(str(number)))
    with pytest.raises(NoSpace, match="names in the shard"):
        tree.add(file("x" * 200))
    assert len(tree) == 11


def test_directories_above_members_count_too() -> None:
    with pytest.raises(NoSpace):
        tree_of(file("d/" * 2000 + "f"), limit=100 * MEMBER_COST)


def test_equal_names_do_not_fill_a_tree() -> None:
    tree = tree_of(*[file("a", size) for size in range(100)], limit=2 * MEMBER_COST + 300)
    assert tree["a"].size == 99
