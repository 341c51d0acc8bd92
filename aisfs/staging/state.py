"""The state directory of one mount: its lock, the staged files, and records of what is unsent.

Serves `daemon` and `uploader`. One directory per (cluster, source); a second process on it is
refused (C11). A staged file without a record was never acknowledged and is swept at start; one with
a record holds bytes that could not be stored and is never removed by aisfs (C10).
"""

from __future__ import annotations

import fcntl
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from aisfs.errors import Busy
from aisfs.staging.journal import Journal

if TYPE_CHECKING:
    from aisfs.config import BucketName

DATA = ".data"
RECORD = ".json"
DRAFT = ".new"


@dataclass(frozen=True, slots=True)
class Unsent:
    """A staged file that the cluster does not have, as its record on disk tells it.

    Attributes:
        data: path of the bytes.
        url: the object that they are meant for.
        reason: why storing them failed.
        when: UTC, ISO 8601.
    """

    data: str
    url: str
    size: int
    reason: str
    when: str


class StateDirectory:
    """A locked directory that holds what a mount must not lose."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.staging = path / "staging"
        self.staging.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._numbers = itertools.count(1)
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise Busy(
                f"another aisfs mount uses {path}: unmount it, or give this one --state-dir"
            ) from None
        self._sweep()
        self.journal = Journal(path / "journal")

    def new_staged_path(self) -> Path:
        """Return a path for a staged file that no other has or had in this directory."""
        while True:
            path = self.staging / f"{os.getpid():x}-{next(self._numbers):06x}{DATA}"
            if not path.exists():
                return path

    def record(self, unsent: Unsent) -> None:
        """Write down durably that a staged file could not be stored.

        Its bytes are made durable first, so this may take as long as the disk needs for them.
        """
        data = Path(unsent.data)
        _sync(data)
        draft = data.with_suffix(DRAFT)
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(unsent))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(data.with_suffix(RECORD))
        _sync(self.staging)

    def forget(self, data: Path) -> None:
        """Remove the record of a staged file that is stored now."""
        data.with_suffix(RECORD).unlink(missing_ok=True)

    def unsent(self) -> list[Unsent]:
        """Return what could not be stored, oldest first."""
        records = sorted(self.staging.glob(f"*{RECORD}"), key=lambda p: p.stat().st_mtime_ns)
        return [_read_record(path) for path in records]

    def _sweep(self) -> None:
        for data in self.staging.glob(f"*{DATA}"):
            if not data.with_suffix(RECORD).exists():
                data.unlink()
        for draft in self.staging.glob(f"*{DRAFT}"):
            draft.unlink()

    def close(self) -> None:
        """Close the journal and release the lock."""
        self.journal.close()
        os.close(self._lock)


def _sync(path: Path) -> None:
    """Make a file, or the names in a directory, durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read_record(path: Path) -> Unsent:
    """Return a record; a damaged one still tells where the bytes are."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Unsent)
    except msgspec.DecodeError as error:
        data = path.with_suffix(DATA)
        size = data.stat().st_size if data.exists() else 0
        return Unsent(str(data), "an object whose name is lost", size, f"its record: {error}", "")


def default_quota(path: Path) -> int:
    """Return the default limit of staged bytes: 10 GiB or half of the free space."""
    free = os.statvfs(path)
    return min(10 << 30, free.f_bavail * free.f_frsize // 2)


def object_url(bucket: BucketName, name: str) -> str:
    """Return how an object is named to people."""
    space = (f"@{bucket.uuid}" if bucket.uuid else "") + (
        f"#{bucket.namespace}" if bucket.namespace else ""
    )
    return f"{bucket.provider}://{space}{'/' if space else ''}{bucket.name}/{name}"
