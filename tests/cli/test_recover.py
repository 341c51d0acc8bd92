"""`aisfs recover`: what is unsent can be seen, sent, saved and dropped without a mount."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import Bucket, Client
from tests.support.mount import Mount, clean_environment, run_aisfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

FAILS = {"method": "PUT", "role": "target", "action": "error", "status": 500}


@pytest.fixture
def bucket(store: StoreProcess) -> Bucket:
    return Client(store.endpoint).bucket("b").create()


@pytest.fixture
def left(store: StoreProcess, bucket: Bucket) -> Iterator[Mount]:
    """Return a mount whose daemon was killed when it owed two files."""
    with Mount(store.endpoint, "ais://b", options=["write-back"]) as mount:
        (mount.path / "d").mkdir()
        store.faults([FAILS])
        (mount.path / "d" / "f").write_bytes(b"one")
        (mount.path / "g").write_bytes(b"second")
        mount.kill()
        store.clear_faults()
        yield mount


def rows(state: Path) -> list[dict[str, Any]]:
    ended = run_aisfs("recover", "--state-dir", state, "--json")
    assert ended.returncode == 0, ended.stderr
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found


def test_what_is_unsent_is_listed_oldest_first(left: Mount) -> None:
    assert [(row["object"], row["bytes"]) for row in rows(left.state)] == [
        ("ais://b/d/f", 3),
        ("ais://b/g", 6),
    ]
    lines = run_aisfs("recover", "--state-dir", left.state, "list").stdout.splitlines()
    assert [line.split("\t")[1] for line in lines] == ["ais://b/d/f", "ais://b/g"]


def test_a_terminal_gets_a_table(left: Mount) -> None:
    parent, child = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "aisfs", "recover", "--state-dir", left.state],
        stdout=child,
        env=clean_environment(COLUMNS="200"),
        check=True,
    )
    os.close(child)
    text = os.read(parent, 1 << 16).decode()
    os.close(parent)
    assert "OBJECT" in text
    assert "ais://b/d/f" in text


def test_a_replay_sends_everything(store: StoreProcess, left: Mount, bucket: Bucket) -> None:
    ended = run_aisfs("recover", "--state-dir", left.state, "replay", "--endpoint", store.endpoint)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert bucket.object("d/f").get().read_all() == b"one"
    assert bucket.object("g").get().read_all() == b"second"
    assert rows(left.state) == []
    left.remount()


def test_what_a_replay_cannot_send_stays_and_is_named(
    store: StoreProcess, left: Mount, bucket: Bucket
) -> None:
    store.faults([{**FAILS, "path": "^/v1/objects/b/g"}])
    ended = run_aisfs("recover", "--state-dir", left.state, "replay", "--endpoint", store.endpoint)
    assert ended.returncode == 1
    assert ended.stderr.startswith("aisfs: ais://b/g: storing b/g: ")
    (row,) = rows(left.state)
    assert "injected" in row["reason"]


def test_a_replay_to_another_cluster_is_refused(left: Mount, store: StoreProcess) -> None:
    from tests.support.store import StoreProcess as Another  # noqa: PLC0415 - a second one

    with Another() as other:
        ended = run_aisfs(
            "recover", "--state-dir", left.state, "replay", "--endpoint", other.endpoint
        )
        assert ended.returncode == 1
        assert "another cluster" in ended.stderr
        refused = Mount(other.endpoint, "ais://b", options=[])
        refused.state = left.state
        Client(other.endpoint).bucket("b").create()
        tried = refused.try_mount()
        assert tried.returncode == 32
        assert "another cluster" in tried.stderr
        refused._clean_up()
    assert len(rows(left.state)) == 2


def test_an_export_copies_and_keeps(left: Mount, tmp_path: Path) -> None:
    for _ in range(2):
        ended = run_aisfs("recover", "--state-dir", left.state, "export", tmp_path)
        assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "b" / "d" / "f").read_bytes() == b"one"
    assert (tmp_path / "b" / "g").read_bytes() == b"second"
    assert (tmp_path / "b" / "g.1").read_bytes() == b"second"
    assert len(rows(left.state)) == 2


def test_one_is_dropped_by_its_id(left: Mount) -> None:
    first, second = rows(left.state)
    assert run_aisfs("recover", "--state-dir", left.state, "discard", "nonsense").returncode == 1
    ended = run_aisfs("recover", "--state-dir", left.state, "discard", first["id"])
    assert ended.returncode == 0, ended.stderr
    assert rows(left.state) == [second]
    assert not os.path.lexists(first["file"])


def test_only_reading_is_allowed_while_a_mount_uses_it(store: StoreProcess, left: Mount) -> None:
    store.faults([FAILS])
    left.remount()
    found = rows(left.state)
    assert len(found) == 2
    for words in (("replay",), ("export", "/nowhere"), ("discard", found[0]["id"])):
        ended = run_aisfs("recover", "--state-dir", left.state, *words)
        assert ended.returncode == 1
        assert f"a mount uses {left.state}" in ended.stderr
    store.clear_faults()


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    ended = run_aisfs("recover", "--state-dir", tmp_path)
    assert ended.returncode == 1
    assert "no state directory" in ended.stderr


def test_all_state_directories_of_a_user(left: Mount, tmp_path: Path) -> None:
    place = tmp_path / "aisfs" / "some-place"
    place.parent.mkdir()
    place.symlink_to(left.state)
    ended = run_aisfs("recover", "--json", environment={"XDG_STATE_HOME": str(tmp_path)})
    assert len(json.loads(ended.stdout)) == 2
