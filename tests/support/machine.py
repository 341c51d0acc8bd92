"""A machine within the machine, for what needs /sbin, /etc/fstab or systemd of its own.

Mounts, processes and cgroups are those of namespaces that end with the test. What is written to
/etc, /root, /sbin and /var is seen in there only; everything else, the network too, is shared.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from aisfs.mount_table import mounts
from tests.support.mount import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

START_S = 60.0
LIMIT_S = 120.0

PRIVATE = ("/etc", "/root", "/usr/sbin", "/var")

UNITS = (
    "basic.target", "final.target", "local-fs-pre.target", "local-fs.target", "multi-user.target",
    "network-online.target", "network.target", "nss-lookup.target", "paths.target",
    "poweroff.target", "remote-fs-pre.target", "remote-fs.target", "shutdown.target",
    "slices.target", "sockets.target", "swap.target", "sysinit.target", "systemd-poweroff.service",
    "timers.target", "umount.target",
)  # fmt: skip
"""All that such a machine needs of the distribution's own units."""

_OVERLAYS = r"""
set -eu
own=$1; shift
mount --make-rprivate /
umount -a -l -t fuse.aisfs || :  # of others, which would stay for as long as this lives
mount -t tmpfs tmpfs "$own"
for directory in "$@"; do
    mkdir -p "$own/upper$directory" "$own/work$directory"
    mount -t overlay overlay "$directory" \
        -o "lowerdir=$directory,upperdir=$own/upper$directory,workdir=$own/work$directory"
done
mknod "$own/fuse" c 10 229
chmod 666 "$own/fuse"
mount --bind "$own/fuse" /dev/fuse
"""

_IDLE = r"""
exec sleep infinity
"""

_BOOT = r"""
mount -t tmpfs tmpfs /run
while umount -R /sys/fs/cgroup 2>/dev/null; do :; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "$own/units" "$own/generators"
for unit in $UNITS; do cp "/usr/lib/systemd/system/$unit" "$own/units/"; done
cp /usr/lib/systemd/system-generators/systemd-fstab-generator "$own/generators/"
mount --bind "$own/units" /usr/lib/systemd/system
mount --bind "$own/generators" /usr/lib/systemd/system-generators
rm -rf /etc/systemd/system
for kind in service mount; do
    mkdir -p "/etc/systemd/system/$kind.d"
    printf '[%s]\nStandardError=append:%s\nStandardOutput=append:%s\n' \
        "$(echo $kind | sed 's/^./\U&/')" "$LOG" "$LOG" >/etc/systemd/system/$kind.d/log.conf
done
: >/etc/fstab
export container=aisfs
mount --make-rshared /
exec /lib/systemd/systemd --system --unit=multi-user.target --show-status=no --log-target=console
"""


class Machine:
    """`with Machine(systemd=True) as machine: machine.run("systemctl", "start", …)`.

    Args:
        systemd: whether systemd runs it, or nobody.

    Raises:
        Impossible: on entry, if this process cannot have such a machine.
    """

    def __init__(self, *, systemd: bool = False) -> None:
        self._systemd = systemd
        self._directory = Path(tempfile.mkdtemp(prefix="aisfs-test-machine-"))
        self._log = self._directory / "log"
        self._cgroup: Path | None = None
        self._outer: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            print(f"--- what the machine said\n{self.log}")
        self._end()

    @property
    def log(self) -> str:
        """What systemd and its services wrote."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def path(self, path: str | Path) -> Path:
        """Return by which name this process reaches a file of the machine."""
        return Path(f"/proc/{self._pid}/root{path}")

    def run(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the machine and return its output and exit code."""
        return subprocess.run(
            [*self._enter, *(os.fspath(word) for word in words)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env=clean_environment(**variables),
            timeout=LIMIT_S,
            check=False,
        )

    def must(self, *words: str | Path, **variables: str) -> str:
        """Run a program that has to succeed and return what it printed."""
        ended = self.run(*words, **variables)
        assert ended.returncode == 0, f"{words}: {ended}\n{self.log}"
        return ended.stdout

    def power_off(self) -> None:
        """Shut the machine down as its administrator does; returns when it is off."""
        assert self._outer is not None
        self.run("systemctl", "poweroff")
        self._outer.wait(LIMIT_S)
        self._pid = 0

    def mounted(self, path: Path) -> list[str]:
        """Return the types of the file systems that are mounted at a path, oldest first."""
        table = Path(f"/proc/{self._pid}/mountinfo")
        return [each.kind for each in mounts(table) if each.path == path]

    def daemons(self, path: Path) -> list[int]:
        """Return the processes that serve a mount, by their ids outside; oldest first."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")[:-1]
                ours = b"daemon" in words and words[-1] == os.fsencode(path)
                if ours and (entry / "ns/pid").samefile(f"/proc/{self._pid}/ns/pid"):
                    found.append(int(entry.name))
        return sorted(found)

    # -- the life of it

    @property
    def _enter(self) -> list[str]:
        return ["nsenter", "-t", str(self._pid), "-m", "-p", "-C", "--"]

    def _start(self) -> None:
        if os.geteuid() != 0:
            raise Impossible("only root can have a machine of its own within this one")
        script = _OVERLAYS + (_BOOT if self._systemd else _IDLE)
        enter = ["unshare", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--fork"]
        command = [*enter, "--kill-child", "--mount-proc", "sh", "-c", script, "sh"]
        own = self._directory / "own"
        own.mkdir()
        if self._systemd:
            command = [*self._join_cgroup(), *command]
        with self._log.open("ab") as log:
            self._outer = subprocess.Popen(
                [*command, str(own), *PRIVATE],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(UNITS=" ".join(UNITS), LOG=str(self._log)),
            )
        self._wait_until(self._is_up)

    def _join_cgroup(self) -> list[str]:
        """Return words that put the command behind them into a new cgroup (v2)."""
        if not Path("/lib/systemd/systemd").exists():
            raise Impossible("there is no systemd here")
        roots = [each.path for each in mounts() if each.kind == "cgroup2"]
        if not roots:
            raise Impossible("there is no cgroup2 file system here")
        self._cgroup = roots[0] / self._directory.name
        try:
            self._cgroup.mkdir()
        except OSError as error:
            raise Impossible(f"no cgroup can be made: {error}") from None
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self._cgroup / "cgroup.procs")]

    def _is_up(self) -> bool:
        outer = self._outer
        assert outer is not None
        if outer.poll() is not None:
            raise Impossible(f"no machine could be started here: {self.log.strip()}")
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        if not children:
            return False
        self._pid = int(children[0])
        name = Path(f"/proc/{self._pid}/comm").read_text().strip()
        if not self._systemd or name != "systemd":
            return name == "sleep"
        return self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}

    def _wait_until(self, state: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not state():
            if time.monotonic() > deadline:
                raise Impossible(f"the machine does not come up: {self.log.strip()}")
            time.sleep(0.1)

    def _end(self) -> None:
        """Kill the first process, and with it all others and all mounts."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        if self._outer is not None:
            self._outer.kill()
            self._outer.wait(LIMIT_S)
        if self._cgroup is not None and self._cgroup.exists():
            self._remove_cgroups(self._cgroup)
        shutil.rmtree(self._directory)

    def _remove_cgroups(self, top: Path) -> None:
        """Remove a cgroup with those below it, whose processes may take a moment to be gone."""
        deadline = time.monotonic() + LIMIT_S
        while top.exists() and time.monotonic() < deadline:
            for path in sorted(top.rglob("*/"), key=lambda each: -len(each.parts)):
                with suppress(OSError):
                    path.rmdir()
            with suppress(OSError):
                top.rmdir()
            time.sleep(0.05)


class Impossible(Exception):
    """There can be no such machine here; the text says why."""
