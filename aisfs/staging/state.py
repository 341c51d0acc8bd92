"""The state directory of one mount: its lock, its journal and the staged files.

Serves `daemon`, `uploader` and `aisfs recover`. One directory per (cluster, source); a second
process on it is refused (C11). A staged file without a row in the journal was never acknowledged
and is swept at start; one with a row holds bytes that the cluster lacks and is never removed by
aisfs before it is stored (C10).
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import secrets
from typing import TYPE_CHECKING

from aisfs.errors import Busy, FsError
from aisfs.staging.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from aisfs.staging.journal import Owed

log = logging.getLogger(__name__)

DATA = ".data"
JOURNAL = "journal"


class StateDirectory:
    """A locked directory that holds what a mount must not lose.

    Attributes:
        staging: where the staged files lie.
        journal: which of them the cluster lacks, and what else is owed to it.

    Raises:
        Busy: another process uses it.
        IoFailure: its journal cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.staging = path / "staging"
        self.staging.mkdir(parents=True, exist_ok=True, mode=0o700)
        for directory in (path, path.parent):
            _sync(directory)  # what is promised in it must not be lost with its name
        self._series = secrets.token_hex(6)  # of this mount alone
        self._numbers = itertools.count(1)
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.journal = Journal(path / JOURNAL)
        except BlockingIOError:
            os.close(self._lock)
            raise Busy(
                f"another aisfs mount uses {path}: unmount it, or give this one --state-dir"
            ) from None
        except FsError:
            os.close(self._lock)
            raise

    def new_staged_path(self) -> Path:
        """Return a path for a staged file that no other has or had in this directory."""
        return self.staging / f"{self._series}-{next(self._numbers):06x}{DATA}"

    def path_of(self, owed: Owed) -> Path:
        """Return where the bytes are that a row of the journal names."""
        return self.staging / owed.data

    def size_of(self, owed: Owed) -> int:
        """Return how large a row's staged file is; 0 if it is gone."""
        try:
            return self.path_of(owed).stat().st_size
        except FileNotFoundError:
            return 0

    def sync(self, data: Path) -> None:
        """Make a staged file and its name durable; takes as long as the disk needs.

        Raises:
            OSError: the disk fails, or is full.
        """
        _sync(data)
        _sync(self.staging)

    async def sweep(self) -> list[Owed]:
        """Remove the staged files that nobody was promised; return what earlier mounts owe.

        Raises:
            IoFailure: the journal cannot be read; then nothing is removed.
        """
        owed = await self.journal.owed()
        named = {each.data for each in owed}
        for data in self.staging.glob(f"*{DATA}"):
            if data.with_suffix(".json").exists():  # how releases before the journal kept them
                log.error("%s was not stored by an earlier release: its .json says what", data)
            elif data.name not in named:
                data.unlink()
        return owed

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


def default_quota(path: Path) -> int:
    """Return the default limit of staged bytes: 10 GiB or half of the free space."""
    free = os.statvfs(path)
    return min(10 << 30, free.f_bavail * free.f_frsize // 2)
