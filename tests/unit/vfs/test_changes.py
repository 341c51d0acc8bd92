from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from aisfs.config import BucketName
from aisfs.vfs.attributes import Attributes, Kind
from aisfs.vfs.changes import Changes
from aisfs.vfs.nodes import DirectoryNode, FileNode, Ino

if TYPE_CHECKING:
    from aisfs.vfs.nodes import Node

BUCKET = BucketName("b")


def directory(name: str, bucket: BucketName = BUCKET) -> DirectoryNode:
    return DirectoryNode(Ino(2), bucket, name, Attributes(Kind.DIRECTORY, 0o755, 0, 0, 0))


def file(name: str) -> FileNode:
    return FileNode(Ino(3), BUCKET, name, Attributes(Kind.FILE, 0o644, 0, 0, 0))


class Log:
    """Changes and halts that say when they are on."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.on: list[str] = []

    async def change(self, name: str, ends: trio.Event, *nodes: Node) -> None:
        async with self.changes.of(*nodes):
            self.on.append(name)
            await ends.wait()
            self.on.remove(name)

    async def halt(self, name: str, ends: trio.Event, *prefixes: str) -> None:
        async with self.changes.halted(BUCKET, *prefixes):
            self.on.append(name)
            await ends.wait()
            self.on.remove(name)


@pytest.fixture
def log() -> Log:
    return Log()


async def test_what_begins_below_a_halted_directory_waits_for_its_end(
    log: Log, nursery: trio.Nursery
) -> None:
    end, never = trio.Event(), trio.Event()
    nursery.start_soon(log.halt, "halt", end, "d/", "n/")
    await wait_all_tasks_blocked()
    for name, nodes in (
        ("file", [file("d/x")]),
        ("directory", [directory("n/")]),
        ("one of two", [directory("a/"), directory("d/e/")]),
        ("beside", [directory("dd/"), file("d")]),
        ("elsewhere", [directory("d/", BucketName("other"))]),
    ):
        nursery.start_soon(log.change, name, never, *nodes)
    await wait_all_tasks_blocked()
    assert sorted(log.on) == ["beside", "elsewhere", "halt"]
    end.set()
    await wait_all_tasks_blocked()
    assert sorted(log.on) == ["beside", "directory", "elsewhere", "file", "one of two"]
    nursery.cancel_scope.cancel()


async def test_a_halt_waits_for_what_has_begun_below(log: Log, nursery: trio.Nursery) -> None:
    ends = [trio.Event() for _ in range(3)]
    nursery.start_soon(log.change, "first", ends[0], file("d/x"))
    nursery.start_soon(log.change, "second", ends[1], directory("d/"), directory("e/"))
    nursery.start_soon(log.change, "beside", trio.Event(), directory(""))
    await wait_all_tasks_blocked()
    nursery.start_soon(log.halt, "halt", ends[2], "d/")
    await wait_all_tasks_blocked()
    assert "halt" not in log.on
    ends[0].set()
    await wait_all_tasks_blocked()
    assert "halt" not in log.on
    ends[1].set()
    await wait_all_tasks_blocked()
    assert sorted(log.on) == ["beside", "halt"]
    nursery.cancel_scope.cancel()


async def test_who_halts_may_change_and_a_change_may_hold_another(log: Log) -> None:
    with trio.fail_after(1):
        async with log.changes.of(directory("")), log.changes.halted(BUCKET, "d/"):
            async with log.changes.of(file("d/x")):
                pass
            async with log.changes.of(file("d/y")):
                pass


async def test_nothing_is_left_of_who_was_cancelled(log: Log, nursery: trio.Nursery) -> None:
    with trio.move_on_after(0):
        async with log.changes.halted(BUCKET, "d/"):
            await trio.sleep_forever()
    end = trio.Event()
    nursery.start_soon(log.change, "change", end, file("d/x"))
    await wait_all_tasks_blocked()
    assert log.on == ["change"]
    with trio.move_on_after(0):
        async with log.changes.halted(BUCKET, "d/"):
            raise AssertionError("the change is still on")
    end.set()
    nursery.start_soon(log.change, "another", trio.Event(), file("d/x"))
    await wait_all_tasks_blocked()
    assert log.on == ["another"]
    nursery.cancel_scope.cancel()
