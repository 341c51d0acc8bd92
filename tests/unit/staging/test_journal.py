from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aisfs.config import BucketName
from aisfs.errors import Invalid, IoFailure, NoSpace
from aisfs.staging.journal import Deletion, Journal, Move, Owed, Phase
from aisfs.store.interface import Identity
from tests.support.disk import occupy, small_disk_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUCKET = BucketName("b", "ais", "U", "n")
IDENTITY = Identity(3, "aabb", "xxhash2", "7")
OWED = Owed(
    "1-1.data", BUCKET, "d/ö", IDENTITY, "1.x", 3, "cc", "", "2026-01-01T00:00:00.000+00:00"
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal")
    yield made
    made.close()


def reopened(journal: Journal, path: Path) -> Journal:
    journal.close()
    return Journal(path / "journal")


async def test_what_is_owed_comes_back_as_it_was_oldest_first(
    journal: Journal, tmp_path: Path
) -> None:
    later = replace(
        OWED, data="1-2.data", expected=None, since="2026-01-02T00:00:00.000+00:00",
        tried=(IDENTITY, Identity(4, "dd", "xxhash")),
    )  # fmt: skip
    await journal.owe(later)
    await journal.owe(OWED)
    again = reopened(journal, tmp_path)
    assert await again.owed() == [OWED, later]
    await again.settle(OWED.data)
    await again.settle(OWED.data)
    assert await again.owed() == [later]
    again.close()


async def test_what_was_written_down_is_on_the_disk(journal: Journal) -> None:
    """A test cannot cut the power. SQLite: in WAL mode only FULL (2) syncs each commit."""
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_a_row_is_replaced_by_one_of_the_same_staged_file(journal: Journal) -> None:
    await journal.owe(OWED)
    again = replace(OWED, reason="the cluster is away")
    await journal.owe(again)
    assert await journal.owed() == [again]


async def test_a_row_takes_the_place_of_another(journal: Journal) -> None:
    await journal.owe(OWED)
    later = replace(OWED, data="1-2.data")
    await journal.owe(later, OWED.data)
    assert await journal.owed() == [later]


async def test_deletions(journal: Journal, tmp_path: Path) -> None:
    first = await journal.doom(BUCKET, "f", IDENTITY)
    second = await journal.doom(BUCKET, "g", IDENTITY)
    again = reopened(journal, tmp_path)
    assert await again.deletions() == [
        Deletion(first, BUCKET, "f", IDENTITY),
        Deletion(second, BUCKET, "g", IDENTITY),
    ]
    await again.bury(first)
    assert [each.number for each in await again.deletions()] == [second]
    again.close()


async def test_moves(journal: Journal, tmp_path: Path) -> None:
    move = await journal.begin_move(BUCKET, "a/", "b/")
    number = move.number
    await journal.add_members(number, [("a/1", IDENTITY), ("a/2", IDENTITY)])
    assert await journal.moves() == [move]
    assert move.phase is Phase.LISTING
    assert await journal.all_listed(move) == replace(move, phase=Phase.COPYING)
    assert await journal.give_up(move) == replace(move, phase=Phase.UNDOING)
    await journal.all_copied(move)
    again = reopened(journal, tmp_path)
    assert await again.moves() == [Move(number, BUCKET, "a/", "b/", Phase.DELETING)]
    assert await again.members(number, "", 10) == [("a/1", IDENTITY), ("a/2", IDENTITY)]
    await again.end_move(number)
    assert (await again.moves(), await again.members(number, "", 10)) == ([], [])
    again.close()


async def test_everything_that_is_unfinished_is_counted(journal: Journal) -> None:
    await journal.owe(OWED)
    await journal.doom(BUCKET, "f", IDENTITY)
    await journal.begin_move(BUCKET, "a/", "b/")
    assert await journal.unfinished() == 3


async def test_a_journal_belongs_to_one_cluster_while_something_is_owed(journal: Journal) -> None:
    await journal.claim("one")
    await journal.claim("two")  # nothing is owed to the first
    await journal.owe(OWED)
    await journal.claim("two")
    await journal.claim("")
    with pytest.raises(Invalid, match=r"another cluster \(two, this is one\)"):
        await journal.claim("one")
    await journal.settle(OWED.data)
    await journal.claim("one")


def test_a_journal_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "journal")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(IoFailure, match="later aisfs"):
        Journal(tmp_path / "journal")


@pytest.mark.parametrize(
    ("then", "now"), [("copying", Phase.UNDOING), ("deleting", Phase.DELETING)]
)
async def test_a_journal_of_the_first_format_is_read(
    journal: Journal, tmp_path: Path, then: str, now: Phase
) -> None:
    """A rename in it may lack members, an upload does not tell what was tried."""
    move = await journal.begin_move(BUCKET, "a/", "b/")
    await journal.owe(OWED)
    journal._db.execute("UPDATE moves SET phase = ?", (then,))
    journal._db.execute("ALTER TABLE uploads DROP COLUMN tried")
    journal._db.execute("PRAGMA user_version=1")
    for _ in range(2):
        journal = reopened(journal, tmp_path)
        assert await journal.moves() == [replace(move, phase=now)]
        assert await journal.owed() == [OWED]
    journal.close()


async def test_a_database_that_fails_is_an_io_failure(journal: Journal) -> None:
    journal.close()
    with pytest.raises(IoFailure, match="the journal"):
        await journal.owe(OWED)


async def test_a_full_disk_is_no_space_and_changes_nothing(tmp_path: Path) -> None:
    with small_disk_at(tmp_path):
        journal = Journal(tmp_path / "journal")
        await journal.owe(OWED)
        move = await journal.begin_move(BUCKET, "a/", "b/")
        in_the_way = occupy(tmp_path)
        members = [(f"a/{number:05}", IDENTITY) for number in range(5000)]
        with pytest.raises(NoSpace, match="full"):
            await journal.add_members(move.number, members)
        assert await journal.owed() == [OWED]
        assert await journal.members(move.number, "", 10) == []
        in_the_way.unlink()
        await journal.add_members(move.number, members)
        journal.close()
