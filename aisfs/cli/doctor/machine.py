"""What the machine itself has to offer: FUSE, the right to mount, room on its disks."""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
import subprocess
from pathlib import Path

from aisfs.cli import mounts
from aisfs.cli.doctor.findings import Case, Fact, Finding, broken, not_checked, ok, warning
from aisfs.cli.sizes import in_words

_SECURITY = Path("/sys/kernel/security/apparmor/profiles")
_APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
_OWN_PROFILE = Path("/proc/self/attr/current")
_NO_MOUNT_PROFILES = re.compile(
    r"(docker-default|cri-containerd|containers-default)\S* \(enforce\)"
)
"""Profiles of container engines that refuse mount(2), whatever capabilities there are."""

_LITTLE = 1 << 30
"""Free bytes below which a disk is soon full: large files wait there until they are stored."""


def kernel(case: Case) -> Finding:  # noqa: ARG001 - as all checks
    """Tell which kernel serves the mounts."""
    release = platform.release()
    if platform.system() != "Linux":
        words = f"{platform.system()} {release} has no FUSE as aisfs needs it"
        return broken("kernel", "no-linux", words, "use a Linux machine")
    return ok("kernel", f"Linux {release}", release=release)


def fuse(case: Case) -> Finding:  # noqa: ARG001
    """Look for /dev/fuse, for fusermount3 and for the right to use them."""
    if problem := mounts.fuse_problem():
        denied = "cannot be opened" in problem.cause or "may not mount" in problem.cause
        cause = "fuse-not-permitted" if denied else "no-fuse"
        return broken("fuse", cause, problem.cause, problem.remedy)
    helper = shutil.which("fusermount3")
    if helper is None:
        words = "this process may mount by itself, but there is no fusermount3 to unmount with"
        return warning("fuse", "no-fusermount3", words, "install it: 'apt-get install fuse3'")
    if os.geteuid() != 0 and not _runs_as_root(helper):
        remedy = f"as root: 'chown root {helper}; chmod u+s {helper}'"
        words = f"{helper} does not run as root, so it cannot mount for this user"
        return warning("fuse", "fusermount3-not-setuid", words, remedy)
    return ok("fuse", f"/dev/fuse can be used, and {helper} is there")


def _runs_as_root(helper: str) -> bool:
    if Path(helper).stat().st_mode & stat.S_ISUID:
        return True
    try:
        return bool(os.getxattr(helper, "security.capability"))
    except OSError:
        return False


def apparmor(case: Case) -> Finding:
    """Look whether AppArmor keeps this process, or fusermount3, from the mount point."""
    if _read(_APPARMOR).strip() != "Y":
        return ok("apparmor", "AppArmor is not in force")
    own = _read(_OWN_PROFILE).strip("\0\n ")
    if found := _NO_MOUNT_PROFILES.search(own):
        words = f"the container's AppArmor profile {found[0]} refuses every mount"
        remedy = "start the container with --security-opt apparmor=unconfined"
        return broken("apparmor", "apparmor", words, remedy)
    denial = refused_by_apparmor(_kernel_log(), str(case.mountpoint or ""))
    if denial:
        words = f"AppArmor has refused a mount here: {denial}"
        remedy = (
            "take a mount point that the profile allows (below your home directory, /mnt or /tmp), "
            "or add a rule to /etc/apparmor.d/local/fusermount3"
        )
        return broken("apparmor", "apparmor", words, remedy)
    profiles = _read(_SECURITY)
    if not profiles:
        why = "AppArmor is in force, and only root may read its profiles"
        remedy = "if a mount is refused: 'sudo dmesg | grep DENIED' tells whether AppArmor did it"
        return not_checked("apparmor", why, remedy)
    if os.geteuid() != 0 and "fusermount3 (enforce)" in profiles:
        words = "AppArmor has a profile for fusermount3, which allows some mount points only"
        remedy = "if a mount is refused, take one below your home directory, /mnt or /tmp"
        return warning("apparmor", "apparmor-profile", words, remedy)
    return ok("apparmor", "AppArmor has refused nothing that could be seen")


def refused_by_apparmor(log: str, mountpoint: str) -> str:
    """Return the newest line of a kernel log by which a mount at a path was refused, or ""."""
    for line in reversed(log.splitlines()):
        denied = 'apparmor="DENIED"' in line and 'operation="mount"' in line
        if denied and mountpoint and f'name="{mountpoint.rstrip("/")}/"' in line:
            return line.partition("apparmor=")[1] + line.partition("apparmor=")[2]
    return ""


def _kernel_log() -> str:
    """Return what the kernel said so far, "" where this user may not read it."""
    try:
        ended = subprocess.run(
            ["dmesg"],  # noqa: S607 - found by PATH, as a user does
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout.decode("utf-8", "replace")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def state_room(case: Case) -> Finding:
    """Look whether unsent data has room in the state directory."""
    assert case.config is not None  # the table of checks sees to it
    path = case.config.state_directory
    holder = _holder(path / "lock") if case.there is None else 0
    if holder:
        words = f"another mount of aisfs (pid {holder}) uses {path}"
        remedy = "unmount it, or name another directory: -o state-dir=DIR"
        return broken("state-dir", "state-dir-in-use", words, remedy, pid=holder)
    return _room("state-dir", path)


def _holder(lock: Path) -> int:
    """Return the process that has locked a file, 0 if none has. Kernel: /proc/locks."""
    try:
        found = lock.stat()
    except OSError:
        return 0
    name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    lines = [line.split() for line in _read(Path("/proc/locks")).splitlines()]
    return next((int(words[4]) for words in lines if name in words), 0)


def cache_room(case: Case) -> Finding:
    """Look whether the cache has room on its disk."""
    assert case.config is not None
    chosen = case.config.cache.dir
    if not chosen:
        return ok("cache-dir", "not in use: what is read is kept in memory only")
    return _room("cache-dir", Path(chosen))


def _room(check: str, path: Path) -> Finding:
    """Tell whether a directory that need not exist yet can be made and written, and its room."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        words = f"{path} cannot be written: {there} is not a directory of yours"
        return broken(check, f"{check}-not-writable", words, f"name another one: -o {check}=DIR")
    disk = os.statvfs(there)
    free = disk.f_bavail * disk.f_frsize
    facts: dict[str, Fact] = {"path": str(path), "free_bytes": free}
    if disk.f_files and not disk.f_favail:
        free = 0  # no further file can be made
    if free < _LITTLE:
        words = f"the disk of {path} has only {in_words(free)} free"
        remedy = f"free some, or name a directory on another disk: -o {check}=DIR"
        state = broken if free < 1 << 20 else warning
        return state(check, f"{check}-full", words, remedy, **facts)
    return ok(check, f"{path}: {in_words(free)} free", **facts)
