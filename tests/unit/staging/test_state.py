from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aisfs.config import BucketName
from aisfs.errors import Busy
from aisfs.staging.state import StateDirectory, Unsent, default_quota, object_url

if TYPE_CHECKING:
    from pathlib import Path


def staged(state: StateDirectory, data: bytes = b"bytes") -> Path:
    path = state.new_staged_path()
    path.write_bytes(data)
    return path


def unsent(path: Path, name: str = "o") -> Unsent:
    return Unsent(str(path), f"ais://b/{name}", 5, "the cluster is away", "2026-01-01T00:00:00Z")


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


def test_what_was_never_acknowledged_is_swept(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    path = staged(state)
    (state.staging / "half.new").write_bytes(b"{")
    state.close()
    StateDirectory(tmp_path).close()
    assert not path.exists()
    assert list((tmp_path / "staging").iterdir()) == []


def test_what_has_a_record_is_kept(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    first, second = staged(state, b"one"), staged(state, b"two")
    state.record(unsent(first, "1"))
    state.record(unsent(second, "2"))
    state.close()
    again = StateDirectory(tmp_path)
    assert [entry.url for entry in again.unsent()] == ["ais://b/1", "ais://b/2"]
    assert [first.read_bytes(), second.read_bytes()] == [b"one", b"two"]
    again.close()


def test_recording_again_replaces_the_record(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    path = staged(state)
    state.record(unsent(path, "1"))
    state.record(unsent(path, "2"))
    assert [entry.url for entry in state.unsent()] == ["ais://b/2"]
    state.forget(path)
    assert state.unsent() == []
    state.forget(path)
    state.close()


def test_a_damaged_record_keeps_its_bytes_and_lets_the_mount_start(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    path = staged(state)
    state.record(unsent(path))
    path.with_suffix(".json").write_bytes(b"\0\0")
    state.close()
    again = StateDirectory(tmp_path)
    (entry,) = again.unsent()
    assert entry.data == str(path)
    assert path.exists()
    again.close()


def test_paths_are_never_given_twice(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    paths = {staged(state) for _ in range(20)}
    kept = next(iter(paths))
    state.record(unsent(kept))
    state.close()
    again = StateDirectory(tmp_path)
    assert kept not in {staged(again) for _ in range(40)}
    again.close()


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
    assert object_url(bucket, "d/o") == url
