from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from aisfs.config import BucketName
from aisfs.errors import Busy, IoFailure
from aisfs.staging.journal import Owed
from aisfs.staging.state import StateDirectory, default_quota

if TYPE_CHECKING:
    from pathlib import Path


def staged(state: StateDirectory, data: bytes = b"bytes") -> Path:
    path = state.new_staged_path()
    path.write_bytes(data)
    return path


def owed(path: Path, name: str = "o") -> Owed:
    return Owed(path.name, BucketName("b"), name, None, "", 5, "aa", "away", "2026-01-01T00:00:00Z")


def test_a_second_mount_of_the_same_directory_is_refused(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "s")
    with pytest.raises(Busy, match="state-dir"):
        StateDirectory(tmp_path / "s")
    state.close()
    StateDirectory(tmp_path / "s").close()


def test_a_refused_mount_sweeps_nothing(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    path = staged(state)
    with pytest.raises(Busy):
        StateDirectory(tmp_path)
    assert path.exists()
    state.close()


async def test_what_was_never_acknowledged_is_swept(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    path = staged(state)
    assert await state.sweep() == []
    assert not path.exists()
    state.close()


async def test_what_has_a_row_is_kept(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    first, second = staged(state, b"one"), staged(state, b"two")
    await state.journal.owe(owed(first, "1"))
    await state.journal.owe(owed(second, "2"))
    state.close()
    again = StateDirectory(tmp_path)
    assert [row.name for row in await again.sweep()] == ["1", "2"]
    assert [first.read_bytes(), second.read_bytes()] == [b"one", b"two"]
    again.close()


def test_a_damaged_journal_refuses_the_mount_and_frees_the_lock(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    path = staged(state)
    state.close()
    (tmp_path / "journal").write_bytes(b"no database" * 500)
    for _ in range(2):
        with pytest.raises(IoFailure, match=r"the journal .*journal"):
            StateDirectory(tmp_path)
    assert path.exists()


async def test_a_journal_that_cannot_be_read_sweeps_nothing(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    path = staged(state)
    db = sqlite3.connect(tmp_path / "journal")
    db.execute("DROP TABLE uploads")
    db.close()
    with pytest.raises(IoFailure):
        await state.sweep()
    assert path.exists()
    state.close()


async def test_what_an_earlier_release_kept_is_not_swept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = StateDirectory(tmp_path)
    path = staged(state)
    path.with_suffix(".json").write_text("{}")
    assert await state.sweep() == []
    assert path.exists()
    assert str(path) in caplog.text
    state.close()


async def test_paths_are_never_given_twice(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    paths = {staged(state) for _ in range(20)}
    kept = next(iter(paths))
    await state.journal.owe(owed(kept))
    state.close()
    again = StateDirectory(tmp_path)
    await again.sweep()
    assert kept not in {staged(again) for _ in range(40)}
    again.close()


async def test_sizes_of_staged_files_and_of_those_that_are_gone(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    path = staged(state, b"123")
    assert state.size_of(owed(path)) == 3
    path.unlink()
    assert state.size_of(owed(path)) == 0
    state.close()


def test_the_default_quota_leaves_half_of_the_disk(tmp_path: Path) -> None:
    assert 0 < default_quota(tmp_path) <= 10 << 30


@pytest.mark.parametrize(
    ("bucket", "url"),
    [
        (BucketName("b"), "ais://b/d/o"),
        (BucketName("b", "aws"), "aws://b/d/o"),
        (BucketName("b", "ais", "U"), "ais://@U/b/d/o"),
        (BucketName("b", "ais", "", "n"), "ais://#n/b/d/o"),
        (BucketName("b", "ais", "U", "n"), "ais://@U#n/b/d/o"),
    ],
)
def test_object_urls(bucket: BucketName, url: str) -> None:
    assert bucket.url_of("d/o") == url
