"""A real mount by the real command line, for tests: its daemon is a child process, always ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from aisfs.cli import mounts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

START_LIMIT_S = 60.0
END_LIMIT_S = 60.0
TAIL_LINES = 60

EVERYWHERE = os.environ.get("AISFS_TEST_OPTIONS", "").split()
"""Words for -o of every mount of a test run, to try them all another way: `transport=sdk`."""


def clean_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without any setting of aisfs or of the connection."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIS_", "AISFS_"))
    }
    own = {"AISFS_CONFIG": os.devnull, "AISFS_STORE_NO_AIS_CLI": "yes"}
    return kept | own | changes


def run_aisfs(
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limit_s: float = START_LIMIT_S,
) -> subprocess.CompletedProcess[str]:
    """Run the command line `aisfs` in a process of its own and return its output and exit code."""
    return subprocess.run(
        [sys.executable, "-m", "aisfs", *(os.fspath(each) for each in arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env=clean_environment() | dict(environment or {}),
        cwd=cwd,
        timeout=limit_s,
        check=False,
    )


class Mount:
    """`with Mount(store.endpoint, "ais://b") as mount: … mount.path …`.

    Mounts on entry, unmounts on exit whatever happened, and shows the end of the daemon's log when
    the block failed. State and log lie beside the mount point and outlive `unmount` and `kill`, so
    that `remount` finds what a daemon left behind.

    Args:
        endpoint: URL of the gateway.
        source: what to mount; "" for all buckets.
        options: words for -o, such as "ro" or "cache-memory=8MiB".
        environment: variables for the daemon, besides an environment without any of ours.
        cwd: where the command is run.
    """

    def __init__(
        self,
        endpoint: str,
        source: str = "",
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="aisfs-test-mount-")).resolve()
        self.path = self._directory / "mnt"
        self.path.mkdir()
        self.state = self._directory / "state"
        self.log_file = self._directory / "log"
        self.endpoint = endpoint
        self.source = source
        self.options = [*EVERYWHERE, *options]
        self._environment = dict(environment or {})
        self._cwd = cwd
        self.daemon_pid = 0

    def __enter__(self) -> Self:
        try:
            self.mount()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            print(f"--- end of the log of {self.source} at {self.path}\n{self.log_tail()}")
        self._clean_up()

    def mount(self) -> None:
        """Mount, and wait until the mount answers; fails with the command's words."""
        ended = self.try_mount()
        assert ended.returncode == 0, f"{ended.stderr}{self.log_tail()}"
        (self.daemon_pid,) = mounts.daemons(self.path)

    @property
    def arguments(self) -> list[str | Path]:
        """The command line that mounts, without `aisfs`."""
        words = [
            f"endpoint={self.endpoint}",
            f"state-dir={_escape(self.state)}",
            f"log-file={_escape(self.log_file)}",
            "log-level=debug",
            *self.options,
        ]
        source = [self.source] if self.source else []
        return ["mount", *source, self.path, "-o", ",".join(words)]

    def try_mount(self) -> subprocess.CompletedProcess[str]:
        """Run the mount command and return what came of it."""
        return run_aisfs(*self.arguments, environment=self._environment, cwd=self._cwd)

    @property
    def mounted(self) -> bool:
        """Tell whether anything of ours is mounted at the path."""
        return mounts.mounted_at(self.path) is not None

    @property
    def log(self) -> str:
        """The daemon's log so far."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def log_tail(self) -> str:
        """Return the last lines of the daemon's log."""
        return "\n".join(self.log.splitlines()[-TAIL_LINES:])

    def unmount(self) -> None:
        """Unmount as a user does, and wait until the daemon has ended."""
        ended = run_aisfs("umount", self.path, limit_s=END_LIMIT_S)
        assert ended.returncode == 0, f"{ended.stderr}{self.log_tail()}"
        self.daemon_pid = 0

    def kill(self) -> None:
        """Kill the daemon with SIGKILL; the mount stays, and is stale."""
        pid = self.daemon_pid
        os.kill(pid, signal.SIGKILL)
        assert mounts.wait_for_exit(pid, END_LIMIT_S), f"{pid} survived SIGKILL"
        self.daemon_pid = 0

    def remount(self) -> None:
        """Take down what is mounted, stale or not, and mount anew on the same state."""
        if self.mounted and self.daemon_pid:
            self.unmount()
        elif self.mounted:
            problem = mounts.unmount(self.path, lazy=True)
            assert not problem, problem
        self.mount()

    def _clean_up(self) -> None:
        serving = mounts.daemons(self.path)
        while self.mounted:
            problem = mounts.unmount(self.path, lazy=True)
            assert not problem, problem
        stuck = [pid for pid in serving if not mounts.wait_for_exit(pid, END_LIMIT_S)]
        for pid in stuck:
            os.kill(pid, signal.SIGKILL)
        tail = self.log_tail()
        shutil.rmtree(self._directory)
        assert not stuck, f"the daemon did not end after the unmount:\n{tail}"


def _escape(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(",", "\\,")
