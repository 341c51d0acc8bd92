"""Daemons that are killed at a certain point, and what they leave in their state directory."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from aisfs.cli import mounts
from tests.support.mount import clean_environment
from tests.support.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.mount import Mount

LET_GO_S = 20.0


def wait_until_let_go(mount: Mount) -> None:
    """Wait until no staged file is left. Kernel: close(2) waits for no RELEASE."""
    staging = mount.state / "staging"
    wait_until(lambda: not list(staging.iterdir()), "the last staged file is let go of", LET_GO_S)


def kill_while_mounting(mount: Mount, reached: Callable[[], object], what: str) -> bool:
    """Mount what was killed again, and kill that daemon, too; tell whether it did not serve yet.

    Args:
        mount: a mount whose daemon is dead.
        reached: tells whether the new daemon is where it is to be killed.
        what: says that in words.
    """
    problem = mounts.unmount(mount.path, lazy=True)
    assert not problem, problem
    with subprocess.Popen(
        [sys.executable, "-m", "aisfs", *mount.arguments],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        wait_until(reached, what)
        in_time = command.poll() is None
        for pid in mounts.daemons(mount.path):
            os.kill(pid, signal.SIGKILL)
            assert mounts.wait_for_exit(pid, LIMIT_S)
        command.wait(LIMIT_S)
    return in_time


def owed(state: Path) -> dict[str, int]:
    """Return how much of what is meant to pass is left in a state directory."""
    with closing(_journal(state)) as journal:
        rows = {
            table: journal.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("uploads", "deletions", "moves", "members")
        }
    left = {"staging": len(list((state / "staging").iterdir())), **rows}
    return {what: count for what, count in left.items() if count}


def phase_of_rename(state: Path) -> str:
    """Return how far the only rename of a directory in the journal is; "" if there is none."""
    with closing(_journal(state)) as journal:
        found = journal.execute("SELECT phase FROM moves").fetchall()
    assert len(found) < 2
    return str(found[0][0]) if found else ""


def deletions(state: Path) -> set[str]:
    """Return the objects that were unlinked while they were open, and are still to be deleted."""
    with closing(_journal(state)) as journal:
        return {name for (name,) in journal.execute("SELECT name FROM deletions")}


def _journal(state: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{state / 'journal'}?mode=ro", uri=True)


class Renaming(threading.Thread):
    """A rename under way, and the errno that it ended with."""

    def __init__(self, old: Path, new: Path) -> None:
        super().__init__()
        self._old, self._new = old, new
        self.errno = 0

    def run(self) -> None:
        """Rename."""
        try:
            self._old.rename(self._new)
        except OSError as error:
            self.errno = error.errno or -1


@contextmanager
def renaming(old: Path, new: Path) -> Iterator[Renaming]:
    """Rename in the background, and wait until that has ended."""
    thread = Renaming(old, new)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(LIMIT_S)
        assert not thread.is_alive()
