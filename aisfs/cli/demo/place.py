"""Where a demo lives: a directory of its own, locked while it runs, and how a dead one is removed.

A demo holds an flock on its directory. Whoever gets that lock knows that the demo has died,
whatever killed it, and may remove what it left: its processes, its mount, its bucket on another
cluster, its files. The directory gets its final name only after it was locked, so a living demo is
never mistaken for a dead one, and two demos of one user do not meet.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aisfs.cli import Failure, mounts
from aisfs.cli.umount import end_quietly

if TYPE_CHECKING:
    from collections.abc import Iterator

_END_LIMIT_S = 30.0
_KILL_LIMIT_S = 10.0
_NEW = ".new"
_NEW_LIMIT_S = 60.0
"""A demo locks its directory at once after making it; one that has not by then never will."""

_BUCKET_RECORD = "bucket.json"


@dataclass(frozen=True, slots=True)
class Place:
    """A demo's directory.

    Attributes:
        keep: leave everything in place at the end.
    """

    path: Path
    keep: bool

    @property
    def mountpoint(self) -> Path:
        """Where the demo mounts its bucket."""
        return self.path / "mnt"

    @classmethod
    @contextlib.contextmanager
    def make(cls, *, keep: bool) -> Iterator[Place]:
        """Make a directory for a demo, and remove it with all that belongs to it at the end.

        Raises:
            Failure: there is no room for it.
        """
        try:
            new = Path(tempfile.mkdtemp(prefix=_prefix(), suffix=_NEW, dir=_bases()[0]))
        except OSError as error:
            raise Failure(f"no directory for the demo: {error}") from None
        lock = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        here = cls(new.rename(new.with_name(new.name.removesuffix(_NEW))).resolve(), keep)
        here.mountpoint.mkdir()
        try:
            yield here
        finally:
            if keep:
                print(f"kept: {here.path} (the next demo removes it)", file=sys.stderr)
            else:
                shutil.rmtree(here.path)
            os.close(lock)

    def unmount(self) -> None:
        """Take the mount down, if there is one, and wait for its daemon."""
        end_quietly(self.mountpoint, _END_LIMIT_S)

    def record_bucket(self, endpoint: str, bucket: str) -> None:
        """Note a bucket on another cluster, so that it is removed even if this demo is killed."""
        record = {"endpoint": endpoint, "bucket": bucket}
        (self.path / _BUCKET_RECORD).write_text(json.dumps(record), encoding="utf-8")


def _prefix() -> str:
    return f"aisfs-demo-{os.getuid()}-"


def _bases() -> list[Path]:
    """Where demos may lie, the preferred one first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    usable = runtime.startswith("/") and os.access(runtime, os.W_OK | os.X_OK)
    return [*([Path(runtime)] if usable else []), Path(tempfile.gettempdir())]


def clean_up_dead() -> None:
    """Remove what killed demos of this user have left."""
    for base in _bases():
        for path in base.glob(_prefix() + "*"):
            with contextlib.suppress(OSError):
                _clean_up_if_dead(path)


def _clean_up_if_dead(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return
    if path.name.endswith(_NEW) and time.time() - found.st_mtime < _NEW_LIMIT_S:
        return
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _kill_processes(path)
        mountpoint = path / "mnt"
        while mounts.mounted_at(mountpoint) and not mounts.unmount(mountpoint, lazy=True):
            pass
        _remove_bucket(path)
        if not mounts.mounted_at(mountpoint):
            shutil.rmtree(path)
    finally:
        os.close(lock)


def _kill_processes(path: Path) -> None:
    """Kill the store and the daemon of a dead demo: programs of ours that work below its path."""
    below = os.fsencode(path) + b"/"
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if words[2:4] == [b"-m", b"aisfs"] and any(w.startswith(below) for w in words):
                    os.kill(int(entry.name), signal.SIGKILL)
                    mounts.wait_for_exit(int(entry.name), _KILL_LIMIT_S)


def _remove_bucket(path: Path) -> None:
    import requests  # noqa: PLC0415 - late: only after a killed demo on another cluster

    from aisfs_sdk import AISError, Client  # noqa: PLC0415

    with contextlib.suppress(FileNotFoundError):
        record = json.loads((path / _BUCKET_RECORD).read_text("utf-8"))
        try:
            Client(record["endpoint"]).bucket(record["bucket"]).delete(missing_ok=True)
        except (AISError, requests.RequestException) as error:
            name = f"ais://{record['bucket']}"
            print(f"aisfs: {name} of a killed demo is still there: {error}", file=sys.stderr)
