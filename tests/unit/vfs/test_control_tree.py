"""The tree of control files: names, inode numbers, and how often a cluster is asked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio

from aisfs.assembly import presentation_of
from aisfs.config import MountConfig
from aisfs.control.files import ControlDirectory, ControlFile
from aisfs.errors import Forbidden, IsADirectory, NotADirectory, NotFound, TimedOut
from aisfs.vfs.control_tree import BELIEVED_S, ControlTree
from aisfs.vfs.nodes import ROOT, Ino
from tests.support.filesystem import ME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisfs.control.files import ControlEntry
    from aisfs.vfs.control_tree import ControlNode
    from tests.support.filesystem import Shell


class Lister:
    """Lists names, counts how often, and has one that it does not list."""

    def __init__(self) -> None:
        self.names = {"one", "two"}
        self.lists = self.finds = self.shows = 0
        self.away = False

    async def show(self) -> str:
        self.shows += 1
        return f"{self.shows}\n"

    def thing(self, name: str) -> ControlDirectory:
        return ControlDirectory(name, (ControlFile("info", self.show),))

    async def listed(self) -> Mapping[str, ControlEntry]:
        self.lists += 1
        if self.away:
            raise TimedOut("the cluster is away")
        return {name: self.thing(name) for name in self.names}

    async def find(self, name: str) -> ControlEntry | None:
        self.finds += 1
        return self.thing(name) if name == "unlisted" else None


@pytest.fixture
def lister() -> Lister:
    return Lister()


@pytest.fixture
def tree(lister: Lister) -> ControlTree:
    return ControlTree(
        presentation_of(MountConfig()),
        [
            ControlFile("file", lister.show),
            ControlDirectory("things", (ControlFile("list", lister.show),), lister.listed),
            ControlDirectory("more", (), lister.listed, lister.find),
        ],
    )


async def find(tree: ControlTree, path: str) -> ControlNode:
    """Look a path up as the kernel does, and leave it with a look-up each."""
    node = tree.directory
    for name in path.split("/"):
        found = await tree.find(node.ino, name)
        assert found is not None
        found.lookups += 1
        node = found
    return node


def forget(tree: ControlTree, node: ControlNode) -> None:
    node.lookups = 0
    tree.let_go(node)


async def names(tree: ControlTree, node: ControlNode) -> list[str]:
    listing = await tree.open_directory(node.ino)
    assert listing is not None
    return [name.decode() for name, _, _ in tree.read_directory(listing, 0)]


async def test_a_path_has_one_number_while_it_is_known(tree: ControlTree) -> None:
    things = await find(tree, "things")
    one = await find(tree, "things/one")
    assert await find(tree, "things/one") is one
    assert await find(tree, "things") is things
    assert tree.get(one.ino) is one
    listing = await tree.open_directory(things.ino)
    assert listing is not None
    shown = {name: node for name, node, _ in tree.read_directory(listing, 0)}
    assert shown[b"one"] is one
    number = one.ino
    forget(tree, one)
    assert tree.get(number) is None
    assert (await find(tree, "things/one")).ino > number  # none is ever used again


async def test_what_nobody_refers_to_is_forgotten(tree: ControlTree) -> None:
    before = len(tree)
    info = await find(tree, "things/one/info")
    things = await find(tree, "things")
    assert sorted(await names(tree, things)) == ["list", "one", "two"]
    assert len(tree) == before + 5
    handle = await tree.open(info.ino, os.O_RDONLY, ME)
    assert handle is not None
    info.opens += 1
    for node in [tree.get(Ino(ino)) for ino in range(tree.directory.ino + 1, info.ino + 10)]:
        if node is not None:
            forget(tree, node)
    assert tree.get(info.ino) is info  # it is open
    info.opens -= 1
    tree.let_go(info)
    assert len(tree) == before
    tree.let_go(tree.directory)
    assert tree.get(tree.directory.ino) is tree.directory


async def test_listing_a_directory_makes_no_node_before_it_is_read(tree: ControlTree) -> None:
    things = await find(tree, "things")
    before = len(tree)
    listing = await tree.open_directory(things.ino)
    assert listing is not None
    assert len(tree) == before
    next(tree.read_directory(listing, 1))
    assert len(tree) == before + 1


async def test_a_walk_asks_once_for_each_directory(
    tree: ControlTree, lister: Lister, autojump_clock: trio.testing.MockClock
) -> None:
    things = await find(tree, "things")
    await names(tree, things)
    for name in ("one", "two", "one", "list"):
        await find(tree, f"things/{name}")
    assert lister.lists == 1
    await names(tree, things)
    assert lister.lists == 2  # who lists gets what is there now
    await trio.sleep(BELIEVED_S + 1)
    await find(tree, "things/one")
    assert lister.lists == 3
    assert lister.shows == 0


async def test_an_unknown_name_is_asked_for(tree: ControlTree, lister: Lister) -> None:
    with pytest.raises(NotFound):
        await find(tree, "things/three")
    lister.names.add("three")
    await find(tree, "things/three")
    assert lister.lists == 2
    lister.names.remove("one")
    await names(tree, await find(tree, "things"))
    with pytest.raises(NotFound):
        await find(tree, "things/one")


async def test_what_is_not_listed_may_be_found(tree: ControlTree, lister: Lister) -> None:
    await find(tree, "more/unlisted/info")
    with pytest.raises(NotFound):
        await find(tree, "more/none")
    assert (lister.lists, lister.finds) == (0, 2)


async def test_names_that_no_file_can_have_are_left_out(tree: ControlTree, lister: Lister) -> None:
    lister.names |= {"", ".", "..", "a/b", "a\0b", "list"}
    things = await find(tree, "things")
    assert await names(tree, things) == ["list", "one", "two"]
    listed = await find(tree, "things/list")
    assert isinstance(listed.entry, ControlFile)  # what is always there comes first


async def test_a_cluster_that_is_away_makes_nothing_absent(
    tree: ControlTree, lister: Lister
) -> None:
    things = await find(tree, "things")
    lister.away = True
    for ask in (tree.open_directory(things.ino), tree.find(things.ino, "one")):
        with pytest.raises(TimedOut):
            await ask
    assert await tree.find(things.ino, "list") is not None


async def test_content_is_rendered_once_for_each_handle(tree: ControlTree) -> None:
    file = await find(tree, "file")
    first = await tree.open(file.ino, os.O_RDONLY, ME)
    second = await tree.open(file.ino, os.O_RDONLY, ME)
    assert first is not None
    assert second is not None
    assert (second.read(0, 9), first.read(0, 9)) == (b"2\n", b"1\n")
    assert (first.read(0, 9), first.read(1, 9), first.read(2, 9)) == (b"1\n", b"\n", b"")


async def test_files_and_directories_are_not_mixed_up(tree: ControlTree) -> None:
    file, things = await find(tree, "file"), await find(tree, "things")
    with pytest.raises(NotADirectory):
        await tree.find(file.ino, "x")
    with pytest.raises(NotADirectory):
        await tree.open_directory(file.ino)
    with pytest.raises(IsADirectory):
        await tree.open(things.ino, os.O_RDONLY, ME)
    with pytest.raises(Forbidden):
        await tree.open(file.ino, os.O_RDWR, ME)
    assert await tree.find(ROOT, "file") is None
    assert await tree.open_directory(ROOT) is None
    assert await tree.open(ROOT, os.O_RDONLY, ME) is None


async def test_the_kernel_forgets_and_so_does_the_mount(shell: Shell) -> None:
    def known() -> int:
        return shell.fs.figures()["inodes.control"]

    before = known()
    for _ in range(3):
        found = [node for _, node in await shell.entries(".aisfs/cluster/nodes")]
        paths = ("", "/cluster", "/cluster/nodes", "/cluster/map.json", "/jobs/list", "/jobs")
        found += [await shell.node(f".aisfs{path}") for path in paths]
        assert known() == before + 3 + 1 + 5  # targets, a gateway, and the paths below .aisfs
        for node in found:
            shell.fs.forget(node.ino, node.lookups)
        assert known() == before
