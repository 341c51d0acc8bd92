"""What this machine has mounted, what keeps it from mounting, and how a mount is taken down.

Serves the commands; knows of mounts only what /proc and fusermount3 tell. A mount whose daemon
hangs makes every system call on its path hang as well, unkillably, so nothing here touches such a
path in this process: mounts are found in /proc, and asked by a child that can be left behind.
"""

from __future__ import annotations

import errno
import os
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aisfs import mount_table

TYPE = "fuse.aisfs"
"""File system type of our mounts in /proc/self/mountinfo."""

NO_ANSWER = -1
"""What `probe` returns when nothing came in time."""

_PROBE = "import os,sys\ntry: os.statvfs(sys.argv[1])\nexcept OSError as e: sys.exit(e.errno)"
_CAP_SYS_ADMIN = 1 << 21
_DEVICE = "/dev/fuse"
_DEVICE_NUMBER = os.makedev(10, 229)  # Kernel: FUSE_MINOR in <linux/miscdevice.h>
_YOURS = "name a directory of yours"
_UNMOUNT_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class MountedSource:
    """One mount of ours: what it shows, and where."""

    source: str
    path: Path


def mounted() -> list[MountedSource]:
    """Return the mounts of aisfs that this process can see, oldest first."""
    return [
        MountedSource(each.source, each.path) for each in mount_table.mounts() if each.kind == TYPE
    ]


def automounted(path: Path) -> bool:
    """Tell whether an automounter waits at an absolute path, maybe below a mount."""
    return any(each.kind == "autofs" and each.path == path for each in mount_table.mounts())


def mounted_at(path: Path) -> MountedSource | None:
    """Return the topmost mount of aisfs at an absolute path without links."""
    return next((mount for mount in reversed(mounted()) if mount.path == path), None)


def resolve(text: str) -> Path:
    """Make a mount point's name absolute and free of links, without touching a mount of ours.

    Raises:
        OSError: a directory on the way cannot be entered.
    """
    given = Path(text).absolute()
    path = given.parent.resolve() / given.name if given.name not in {"", ".."} else given.resolve()
    return path if mounted_at(path) else path.resolve()


def probe(path: Path, limit_s: float = 2.0) -> int:
    """Ask a mount for its statistics, in a child, and wait at most `limit_s`.

    Returns:
        0 when it answers, the errno when it refuses (ENOTCONN: its daemon has died), `NO_ANSWER`
        when it hangs. A child that hangs is left behind; it ends when the mount does.
    """
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in range(3)]
    arguments = [sys.executable, "-I", "-S", "-c", _PROBE, os.fspath(path)]
    pid = os.posix_spawn(sys.executable, arguments, os.environ, file_actions=null)
    if not wait_for_exit(pid, limit_s):
        os.kill(pid, signal.SIGKILL)
        return NO_ANSWER
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_for_exit(pid: int, limit_s: float) -> bool:
    """Wait until a process has ended; tell whether it did within `limit_s`."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], limit_s)[0])
    finally:
        os.close(descriptor)


DAEMON_WORDS = ("-m", "aisfs", "daemon")
"""By these, and its mount point as last word, the command line of a mount's daemon is known."""


def daemons(mountpoint: Path) -> list[int]:
    """Return the processes that serve, or still upload for, a mount at this path; newest last.

    Only those that this user may look at. There can be two when a mount was taken down lazily.
    """
    found = []
    words = tuple(word.encode() for word in DAEMON_WORDS)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")[:-1]
                started = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[19])
            except OSError:
                continue
            ours = tuple(arguments[2:5]) == words
            if ours and arguments[-1] == os.fsencode(mountpoint):
                found.append((started, int(entry.name)))
    return [pid for _, pid in sorted(found)]


def state_directory(pid: int) -> Path | None:
    """Return where a daemon keeps what is unsent: the directory whose journal it has open.

    None if this user may not look at the process, or it has just ended.
    """
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                path = link.readlink()
                if path.name == "journal" and path.is_absolute():
                    return path.parent
    return None


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps this machine from mounting, and what a user can do about it."""

    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.remedy}"


_GIVE_DEVICE = "start the container with --device /dev/fuse --cap-add SYS_ADMIN"
_NO_HELPER = Problem("there is no fusermount3", "install it with 'apt-get install fuse3'")


def fuse_problem() -> Problem | None:
    """Say why this process cannot mount anything and how to change that; None if it can."""
    if problem := _device_problem():
        return problem
    if mounts_itself():
        return None
    if shutil.which("fusermount3") is None:
        return _NO_HELPER
    if _status().get("NoNewPrivs") == "1" or os.geteuid() == 0:
        return Problem("this process may not mount (no CAP_SYS_ADMIN)", _GIVE_DEVICE)
    return None


def _device_problem() -> Problem | None:
    try:
        device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return Problem(
            f"there is no {_DEVICE}", f"load the module with 'modprobe fuse', or {_GIVE_DEVICE}"
        )
    except OSError as error:
        if error.errno in {errno.ENODEV, errno.ENXIO}:
            return Problem("the kernel has no FUSE", "load the module with 'modprobe fuse'")
        return Problem(
            f"{_DEVICE} cannot be opened ({error.strerror})",
            f"give this user access to it, or {_GIVE_DEVICE}",
        )
    try:
        if os.fstat(device).st_rdev == _DEVICE_NUMBER:
            return None
    finally:
        os.close(device)
    return Problem(
        f"{_DEVICE} is not the FUSE device",
        f"as root: 'rm {_DEVICE}; mknod -m 666 {_DEVICE} c 10 229', or {_GIVE_DEVICE}",
    )


def directory_problem(path: Path, *, nonempty: bool) -> Problem | None:
    """Say why nothing can be mounted at a path that no mount of ours is at; None if it can."""
    try:
        with os.scandir(path) as entries:
            empty = next(entries, None) is None
    except FileNotFoundError:
        return Problem(f"mount point {path} does not exist", f"'mkdir -p {path}' first")
    except NotADirectoryError:
        return Problem(f"mount point {path} is not a directory", "name an empty directory")
    except OSError as error:
        hint = f"'fusermount3 -uz {path}' first" if is_stale(error.errno or 0) else _YOURS
        return Problem(f"mount point {path} cannot be read ({error.strerror})", hint)
    if not empty and not nonempty:
        return Problem(
            f"mount point {path} is not empty", "name an empty directory, or add -o nonempty"
        )
    if not os.access(path, os.W_OK) and not mounts_itself():
        return Problem(f"mount point {path} is not yours to write", _YOURS)
    return None


def others_problem() -> Problem | None:
    """Say why this user may not let other users into a mount; None if they may."""
    if os.geteuid() == 0:
        return None
    try:
        lines = Path("/etc/fuse.conf").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    if "user_allow_other" in (line.strip() for line in lines):
        return None
    return Problem(
        "allow-other needs the line 'user_allow_other' in /etc/fuse.conf", "add it as root"
    )


def mounts_itself() -> bool:
    """Tell whether this process may mount without fusermount3, wherever it likes."""
    return bool(int(_status()["CapEff"], 16) & _CAP_SYS_ADMIN)


def _status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def clean_stale(path: Path) -> str:
    """Take down what died at an absolute path; a mount that answers, or hangs, stays.

    Returns:
        "" when nothing stale is there any more, else what kept it up, in words.
    """
    while mounted_at(path) and is_stale(probe(path)):
        if problem := unmount(path, lazy=True):
            return f"{path} is a stale mount, and could not be taken down: {problem}"
    return ""


def unmount(path: Path, *, lazy: bool = False) -> str:
    """Take a mount down as fusermount3 -u does; lazy takes its name away even while it is in use.

    Returns:
        "" when it is down, else what kept it up, in words.
    """
    helper = shutil.which("fusermount3")
    command = [helper, "-u"] if helper else ["umount"]
    if lazy:
        command.append("-z" if helper else "-l")
    try:
        ended = subprocess.run(  # noqa: S603 - a fixed program, a path behind "--"
            [*command, "--", os.fspath(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_UNMOUNT_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "the mount does not answer"
    except FileNotFoundError:
        return str(_NO_HELPER)
    if ended.returncode == 0:
        return ""
    said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1] if said else f"{command[0]} ended with {ended.returncode}"


def is_stale(code: int) -> bool:
    """Tell whether `probe` found a mount whose daemon has died."""
    return code in {errno.ENOTCONN, errno.ECONNABORTED}
