from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import trio

from aisfs.config import BucketName
from aisfs.store.interface import Identity, ObjectInfo
from aisfs.vfs.attributes import Attributes, Kind
from aisfs.vfs.inodes import InodeTable
from aisfs.vfs.nodes import ROOT, Contents, DirectoryNode
from aisfs.vfs.scans import LAST_WINDOW, Scans

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aisfs.cache.fetch_ahead import FetchAhead, Guess
    from aisfs.vfs.nodes import FileNode
    from aisfs.vfs.resolver import Resolver

BUCKET = BucketName("b")
FILES = 4000


class Recorder:
    """What is wanted, without fetching it. There is no room for a whole directory."""

    room_left = FILES // 2

    def __init__(self) -> None:
        self.wanted: list[str] = []
        self.given_up = 0

    def want(self, guess: Guess, bucket: BucketName, objects: Iterable[ObjectInfo]) -> int:
        names = [info.name for info in objects]
        self.wanted += names
        return len(names)

    def give_up(self, guess: Guess) -> None:
        self.given_up += 1


class Directory:
    """A directory that was listed, and its readers."""

    def __init__(self) -> None:
        self.fetched = Recorder()
        shown = Attributes(Kind.DIRECTORY, 0o755, 0, 0, 0, 0)
        table = InodeTable(DirectoryNode(ROOT, BUCKET, "", shown))
        directory = cast("DirectoryNode", table.add(BUCKET, "d/", shown))
        entries = {name(n): ObjectInfo(f"d/{name(n)}", Identity(1, "aa"), "") for n in range(FILES)}
        now = trio.current_time()
        directory.contents = Contents(dict(entries), now, now, 1)
        resolver = cast("Resolver", SimpleNamespace(table=table))
        self._scans = Scans(resolver, cast("FetchAhead", self.fetched), lambda: True)

    def read(self, place: int) -> None:
        node = SimpleNamespace(bucket=BUCKET, name=f"d/{name(place)}")
        self._scans.reads(cast("FileNode", node))


def name(place: int) -> str:
    return f"{place:05}"


@pytest.fixture
async def directory() -> Directory:
    return Directory()


async def test_readers_of_one_order_may_drift_apart(directory: Directory) -> None:
    """Every eighth file is a slow reader's: he stays behind, and the others' run goes on."""
    slow = iter(range(0, FILES, 8))
    for place in range(FILES - 1):
        if place % 8:
            directory.read(place)
        if place > LAST_WINDOW // 2 and place % 8 == 0:
            directory.read(next(slow))
    assert len(directory.fetched.wanted) <= FILES
    assert len(set(directory.fetched.wanted)) >= FILES - 8
    assert directory.fetched.given_up == 0


async def test_a_reader_of_every_fourth_file_makes_a_run(directory: Directory) -> None:
    for place in range(1000, 1400, 4):
        directory.read(place)
    assert {name(p) for p in range(1040, 1400)} <= {n[2:] for n in directory.fetched.wanted}


async def test_far_reads_do_not_end_a_run_that_is_followed(directory: Directory) -> None:
    for turn in range(200):
        directory.read(turn)
        directory.read(FILES - 1 - 15 * turn)
    assert {name(p) for p in range(20, 300)} <= {n[2:] for n in directory.fetched.wanted}
