from __future__ import annotations

from aisfs.config import BucketName
from aisfs.store.interface import Identity, ObjectInfo
from aisfs.vfs.attributes import Attributes, Kind
from aisfs.vfs.inodes import REMEMBERED, InodeTable
from aisfs.vfs.nodes import ROOT, Contents, DirectoryNode, FileNode
from aisfs.vfs.paths import SHADOWED

BUCKET = BucketName("b")
FILE = Attributes(Kind.FILE, 0o644, 0, 0, 0)
DIRECTORY = FILE.but(kind=Kind.DIRECTORY)


def table() -> InodeTable:
    return InodeTable(DirectoryNode(ROOT, BUCKET, "", DIRECTORY))


def directory(nodes: InodeTable, name: str) -> DirectoryNode:
    node = nodes.add(BUCKET, name, DIRECTORY)
    assert isinstance(node, DirectoryNode)
    return node


def file(nodes: InodeTable, name: str) -> FileNode:
    node = nodes.add(BUCKET, name, FILE)
    assert isinstance(node, FileNode)
    return node


def info(name: str) -> ObjectInfo:
    return ObjectInfo(name, Identity(1, "aa"))


def contents(count: int, started: float = 0.0) -> Contents:
    return Contents({str(index): info(str(index)) for index in range(count)}, started, started, 1)


def test_numbers_are_never_used_again() -> None:
    nodes = table()
    seen = {ROOT}
    for _ in range(10):
        node = file(nodes, "f")
        assert node.ino not in seen
        seen.add(node.ino)
        assert nodes.forget_if_unused(node)


def test_a_node_is_found_by_number_and_by_place() -> None:
    nodes = table()
    node = file(nodes, "f")
    assert nodes.get(node.ino) is nodes.find(BUCKET, "f") is node
    assert nodes.find(BucketName("c"), "f") is None
    assert nodes.find(BUCKET, "f/") is None


def test_a_node_that_somebody_needs_stays() -> None:
    nodes = table()
    node = file(nodes, "f")
    node.lookups = 1
    assert not nodes.forget_if_unused(node)
    node.lookups, node.opens = 0, 1
    assert not nodes.forget_if_unused(node)
    node.opens, node.attributes_dirty = 0, True
    assert not nodes.forget_if_unused(node)
    node.detached = True
    assert nodes.forget_if_unused(node)
    nodes.root.lookups = 0
    assert not nodes.forget_if_unused(nodes.root)


def test_a_node_moves_and_takes_the_place() -> None:
    nodes = table()
    one, two = file(nodes, "one"), file(nodes, "two")
    nodes.relocate(one, "two")
    assert nodes.find(BUCKET, "two") is one
    assert nodes.find(BUCKET, "one") is None
    nodes.detach_location(two)  # it has none any more
    assert nodes.find(BUCKET, "two") is one
    assert nodes.get(two.ino) is two


def test_what_lies_below_a_directory() -> None:
    nodes = table()
    top = directory(nodes, "d/")
    inside = [file(nodes, "d/f"), directory(nodes, "d/e/"), file(nodes, "d/e/g")]
    file(nodes, "dx")
    file(nodes, "d")
    nodes.detach_location(file(nodes, "d/gone"))
    assert nodes.below(top) == inside


async def test_listings_are_remembered_within_a_bound() -> None:
    nodes = table()
    tops = [directory(nodes, f"{index}/") for index in range(12)]
    for top in tops:
        nodes.remember(top, contents(REMEMBERED // 8))
    kept = [top for top in tops if top.contents is not None]
    assert kept == tops[-7:]
    nodes.remember(tops[0], contents(REMEMBERED))
    assert tops[0].contents is None


async def test_a_listing_clears_what_it_answers() -> None:
    nodes = table()
    top = directory(nodes, "d/")
    top.note_absent("f")
    when = top.removed["f"]
    nodes.remember(top, contents(0, when - 1))
    assert "f" in top.removed
    nodes.remember(top, contents(0, when + 1))
    assert "f" not in top.removed
    assert "f" not in top.absent


async def test_own_changes_show_in_a_remembered_listing() -> None:
    nodes = table()
    top = directory(nodes, "")
    nodes.remember(top, Contents({"f": info("f"), "d": None}, 0, 0, 1))
    top.note_absent("f")
    top.note_present("g", info("g"))
    top.note_present("e", None)
    top.note_present("d", info("d"))
    assert top.contents is not None
    assert top.contents.entries == {
        "d": None, "g": info("g"), "e": None, f"d{SHADOWED}": info("d"),
    }  # fmt: skip
