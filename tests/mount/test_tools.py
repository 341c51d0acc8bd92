"""Programs that people run on a mount, unchanged."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from aisfs_sdk.eras import Feature
from tests.support.memory import pss

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.mount import Mount

pytestmark = pytest.mark.fuse


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program that must succeed and return what it printed."""
    ended = subprocess.run(
        [os.fspath(word) for word in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
    )
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def make_repository(path: Path) -> None:
    """Make a git repository with a few commits of a few files."""
    run("git", "init", "-q", "-b", "main", path)
    for number in range(3):
        (path / f"dir{number}").mkdir()
        for name in ("a.txt", "b.txt"):
            (path / f"dir{number}" / name).write_text(f"{number} {name}\n" * 200)
        (path / "run.sh").write_text(f"echo {number}\n")
        (path / "run.sh").chmod(0o755)
        run("git", "add", ".", cwd=path)
        run(
            "git", "-c", "user.name=t", "-c", "user.email=t@localhost",
            "commit", "-qm", f"commit {number}", cwd=path,
        )  # fmt: skip


def make_tree(path: Path, special: str) -> None:
    """Make a tree with links, modes, times, empty files and directories, and an unusual name."""
    rng = random.Random(7)
    path.mkdir()
    for number in range(20):
        directory = path / f"d{number % 4}" / f"sub {number}"
        directory.mkdir(parents=True)
        file = directory / f"file-{number}.bin"
        file.write_bytes(rng.randbytes(number * 1000))
        file.chmod((0o600, 0o644, 0o755, 0o444)[number % 4])
        os.utime(file, ns=(0, 1_500_000_000_123_456_789 + number))
        (directory / "link").symlink_to(file.name)
    (path / f"ünïcode{special}.txt").write_text("names\n")
    (path / "dangling").symlink_to("nowhere/at all")
    (path / "empty").touch()
    (path / "emptydir").mkdir(mode=0o700)
    for directory in sorted(path.rglob("*"), reverse=True):
        if directory.is_dir() and not directory.is_symlink():
            os.utime(directory, ns=(0, 1_400_000_000_000_000_000))


@pytest.fixture
def special(endpoint: str) -> str:
    """Return characters that this cluster's release keeps in names."""
    era = Client(endpoint).era
    return " & 100% #1?" if era.has(Feature.SPECIAL_NAMES) else " 100% =1 +"


def test_git_clone_fsck_and_clean_status_after_remount(mount: Mount, tmp_path: Path) -> None:
    make_repository(tmp_path / "origin")
    clone = mount.path / "clone"
    run("git", "clone", "-q", tmp_path / "origin", clone)
    run("git", "fsck", "--strict", cwd=clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    mount.remount()
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    run("git", "fsck", "--strict", cwd=clone)
    (clone / "run.sh").write_text("changed\n")
    assert run("git", "status", "--porcelain", cwd=clone) == " M run.sh\n"
    run(
        "git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qam", "x", cwd=clone
    )
    assert run("git", "log", "--format=%s", "-1", cwd=clone) == "x\n"


def test_cp_a_shows_rsync_no_difference_after_remount(
    mount: Mount, tmp_path: Path, special: str
) -> None:
    make_tree(tmp_path / "tree", special)
    run("cp", "-a", f"{tmp_path}/tree/.", mount.path)
    mount.remount()
    difference = ("rsync", "-nca", "--delete", "--itemize-changes")
    assert run(*difference, f"{tmp_path}/tree/", f"{mount.path}/") == ""
    (tmp_path / "tree" / "empty").write_text("x")
    assert "empty" in run(*difference, f"{tmp_path}/tree/", f"{mount.path}/")


def test_rsync_twice_transfers_nothing_the_second_time(
    mount: Mount, tmp_path: Path, special: str
) -> None:
    make_tree(tmp_path / "tree", special)
    run("rsync", "-a", f"{tmp_path}/tree/", f"{mount.path}/copy/")
    second = run("rsync", "-a", "--itemize-changes", f"{tmp_path}/tree/", f"{mount.path}/copy/")
    assert second == ""


def test_tar_in_and_out(mount: Mount, tmp_path: Path, special: str) -> None:
    make_tree(tmp_path / "tree", special)
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        archive.add(tmp_path / "tree", "tree")
    run("tar", "xpf", tmp_path / "t.tar", "-C", mount.path)
    run("tar", "df", tmp_path / "t.tar", "-C", mount.path)
    run("tar", "cf", mount.path / "again.tar", "-C", mount.path, "tree")
    run("tar", "df", mount.path / "again.tar", "-C", tmp_path)


def test_sed_in_place_and_mv_over(mount: Mount) -> None:
    file = mount.path / "conf"
    file.write_text("one\ntwo\n")
    file.chmod(0o640)
    run("sed", "-i", "s/two/three/", file)
    assert file.read_text() == "one\nthree\n"
    (mount.path / "new").write_text("newer\n")
    run("mv", mount.path / "new", file)
    assert file.read_text() == "newer\n"
    assert [file.name for file in mount.path.iterdir()] == ["conf"]


def test_sqlite_with_a_rollback_journal(mount: Mount) -> None:
    import sqlite3  # noqa: PLC0415

    path = mount.path / "db.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (n integer primary key, s text)")
        connection.executemany("insert into t (s) values (?)", [(f"row {n}",) for n in range(500)])
    connection.close()
    mount.remount()
    connection = sqlite3.connect(path)
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    assert connection.execute("select count(*) from t").fetchone() == (500,)
    connection.close()


def test_a_big_file_survives_a_remount_in_bounded_memory(mount: Mount) -> None:
    """1 GiB by dd, the daemon's PSS below 400 MiB all the while."""
    size, step = 1 << 30, 4 << 20
    block = random.Random(1).randbytes(step)
    digest = hashlib.sha256()
    peak = 0
    with (mount.path / "big").open("wb", buffering=0) as file:
        for number in range(size // step):
            data = number.to_bytes(8, "big") + block[8:]
            digest.update(data)
            file.write(data)
            peak = max(peak, pss(mount.daemon_pid))
    peak = max(peak, pss(mount.daemon_pid))
    mount.remount()
    found = hashlib.sha256()
    with (mount.path / "big").open("rb", buffering=0) as file:
        while data := file.read(step):
            found.update(data)
            peak = max(peak, pss(mount.daemon_pid))
    assert found.hexdigest() == digest.hexdigest()
    assert peak < 400 << 20
