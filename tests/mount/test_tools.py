"""Programs that people run on a mount, unchanged."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from aisfs_sdk.eras import Feature
from tests.support import not_run
from tests.support.memory import pss

if TYPE_CHECKING:
    from collections.abc import Callable
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
def need() -> Callable[[str], None]:
    """Return `need(program)`: leaves the test out where the program is not installed."""

    def check(program: str) -> None:
        if shutil.which(program) is None:
            not_run.leave_out(f"there is no {program} on this machine")

    return check


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
    run("git", "gc", "-q", "--prune=now", cwd=clone)
    mount.remount()
    run("git", "fsck", "--strict", "--full", cwd=clone)
    assert run("git", "rev-list", "--count", "HEAD", cwd=clone) == "4\n"
    assert run("git", "status", "--porcelain", cwd=clone) == ""


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


def test_sqlite_rolls_back_what_a_killed_program_left(mount: Mount) -> None:
    import sqlite3  # noqa: PLC0415

    path = mount.path / "db.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (n integer primary key, s text)")
        connection.executemany("insert into t (s) values (?)", [("old",)] * 2000)
    connection.close()
    program = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("pragma cache_size=1")  # so that pages reach the file before the commit
connection.execute("begin")
connection.execute("update t set s = 'newer and longer'")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == -9
    assert (mount.path / "db.sqlite-journal").exists()
    mount.remount()
    connection = sqlite3.connect(path)
    assert connection.execute("select count(*) from t where s = 'old'").fetchone() == (2000,)
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()
    assert [file.name for file in mount.path.iterdir()] == ["db.sqlite"]


def test_vim_saves_and_leaves_nothing_behind(mount: Mount, need: Callable[[str], None]) -> None:
    need("vim")
    file = mount.path / "notes"
    file.write_text("one\ntwo\n")
    file.chmod(0o640)
    for option in ("backupcopy=no", "backupcopy=yes"):
        run(
            "vim", "-es", "-u", "NONE", "-c", f"set writebackup {option}",
            "-c", "%s/two/two and more/", "-c", "wq", file,
        )  # fmt: skip
    mount.remount()
    assert file.read_text() == "one\ntwo and more and more\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in mount.path.iterdir()] == ["notes"]


MAKEFILE = """
program: main.o part.o libpart.a
\tcc -o program main.o -L. -lpart
libpart.a: part.o
\tar rcs libpart.a part.o
%.o: %.c part.h
\tcc -c -o $@ $<
"""


def test_a_project_is_built_in_place(mount: Mount, need: Callable[[str], None]) -> None:
    need("make")
    need("cc")
    (mount.path / "Makefile").write_text(MAKEFILE)
    (mount.path / "part.h").write_text("int part(int);\n")
    (mount.path / "part.c").write_text('#include "part.h"\nint part(int n) { return n + 1; }\n')
    (mount.path / "main.c").write_text(
        '#include <stdio.h>\n#include "part.h"\nint main() { printf("%d\\n", part(41)); }\n'
    )
    run("make", "-j2", cwd=mount.path)
    assert run(mount.path / "program") == "42\n"
    mount.remount()
    assert run(mount.path / "program") == "42\n"
    assert "up to date" in run("make", cwd=mount.path)
    (mount.path / "part.c").write_text('#include "part.h"\nint part(int n) { return n + 2; }\n')
    run("make", cwd=mount.path)
    assert run(mount.path / "program") == "43\n"


def make_wheel(folder: Path) -> tuple[Path, dict[str, bytes]]:
    """Make a wheel of 200 modules and return it with its files."""
    files = {f"demo/part{n % 10}/m{n}.py": b"number = %d\n" % n for n in range(200)}
    files |= {"demo/__init__.py": b"", **{f"demo/part{n}/__init__.py": b"" for n in range(10)}}
    told = "demo-1.dist-info"
    kept = files | {
        f"{told}/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1\n",
        f"{told}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{told}/RECORD,,\n"
    for name, body in kept.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(body)}\n"
    path = folder / "demo-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, body in (kept | {f"{told}/RECORD": record.encode()}).items():
            wheel.writestr(name, body)
    return path, files


def test_pip_installs_into_a_directory(mount: Mount, tmp_path: Path) -> None:
    wheel, files = make_wheel(tmp_path)
    site = mount.path / "site"
    run(
        sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check",
        "--no-index", "--target", site, wheel,
    )  # fmt: skip
    mount.remount()
    assert {name: (site / name).read_bytes() for name in files} == files
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import demo.part7.m7 as m; print(m.number)"
    )
    assert run(sys.executable, "-c", program, site) == "7\n"


def test_zip_and_unzip(
    mount: Mount, tmp_path: Path, special: str, need: Callable[[str], None]
) -> None:
    need("zip")
    need("unzip")
    make_tree(tmp_path / "tree", special)
    shutil.copytree(tmp_path / "tree", mount.path / "tree", symlinks=True)
    run("zip", "-qry", mount.path / "t.zip", "tree", cwd=mount.path)
    mount.remount()
    run("unzip", "-tq", mount.path / "t.zip")
    run("unzip", "-q", mount.path / "t.zip", "-d", mount.path / "again")
    assert run("diff", "-r", "--no-dereference", tmp_path / "tree", mount.path / "again/tree") == ""


def test_shutil_copies_and_moves_trees(mount: Mount, tmp_path: Path, special: str) -> None:
    make_tree(tmp_path / "tree", special)
    shutil.copytree(tmp_path / "tree", mount.path / "copy", symlinks=True)
    shutil.copytree(mount.path / "copy", mount.path / "second", symlinks=True)
    shutil.move(mount.path / "second", mount.path / "moved")
    mount.remount()
    difference = ("rsync", "-nca", "--delete", "--itemize-changes")
    for name in ("copy", "moved"):
        assert run(*difference, f"{tmp_path}/tree/", f"{mount.path}/{name}/") == ""
    shutil.rmtree(mount.path / "moved")
    assert [path.name for path in mount.path.iterdir()] == ["copy"]


def test_numpy_changes_a_mapped_array_in_place(mount: Mount) -> None:
    import numpy as np  # noqa: PLC0415

    path = mount.path / "array.npy"
    expected = np.arange(500_000, dtype=np.int64)
    np.save(path, expected)
    mount.remount()
    mapped = np.load(path, mmap_mode="r+")
    mapped[::1000] *= -1
    mapped[-5:] = 7
    mapped.flush()
    del mapped
    expected[::1000] *= -1
    expected[-5:] = 7
    mount.remount()
    assert np.array_equal(np.load(path), expected)
    made = np.memmap(mount.path / "raw", dtype=np.uint8, mode="w+", shape=(300_000,))
    made[123_456:] = 9
    made.flush()
    del made
    mount.remount()
    assert (mount.path / "raw").read_bytes() == bytes(123_456) + b"\x09" * (300_000 - 123_456)


def test_hdf5_files_are_made_and_changed(mount: Mount) -> None:
    import h5py  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    path = mount.path / "data.h5"
    values = np.arange(200_000, dtype=np.float64).reshape(1000, 200)
    with h5py.File(path, "w") as file:
        file.create_dataset("g/values", data=values, chunks=(100, 50), compression="gzip")
        file["g"].attrs["unit"] = "m"
    mount.remount()
    with h5py.File(path, "r+") as file:
        file["g/values"][10:20, 5] = -1
        file.create_dataset("more", data=np.arange(10))
    values[10:20, 5] = -1
    mount.remount()
    with h5py.File(path, "r") as file:
        assert np.array_equal(file["g/values"][:], values)
        assert list(file["more"]) == list(range(10))
        assert file["g"].attrs["unit"] == "m"


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
