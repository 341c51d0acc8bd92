"""The mount point: whether something can be mounted there, or how what is there does."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from aisfs.cli import mounts
from aisfs.cli.doctor.findings import Case, Fact, Finding, broken, not_checked, ok, warning, within
from aisfs.staging.journal import Unsent, unsent
from aisfs.staging.state import JOURNAL

if TYPE_CHECKING:
    from pathlib import Path

_CHECK = "mount point"
_ENTERED_S = 2.0


def mount_point(case: Case) -> Finding:
    """Look at the mount point."""
    path = case.mountpoint
    if path is None:
        return not_checked(
            _CHECK, "none was named", "'aisfs doctor [SOURCE] MOUNTPOINT' looks at it"
        )
    if case.there is not None:
        return _mounted(path, case.there)
    nonempty = case.config is not None and case.config.mount.nonempty
    if problem := mounts.directory_problem(path, nonempty=nonempty):
        causes = {"not yours": "mount-point-not-yours", "cannot be read": "mount-point-not-yours"}
        cause = next((causes[each] for each in causes if each in problem.cause), "mount-point")
        return broken(_CHECK, cause, problem.cause, problem.remedy)
    if os.geteuid() != 0 and _sticky_of_others(path):
        words = f"mount point {path} is not yours, and lies where only owners may change things"
        return broken(_CHECK, "mount-point-not-yours", words, "name a directory of yours")
    return ok(_CHECK, f"{path} is free to mount at")


def _sticky_of_others(path: Path) -> bool:
    """Tell whether fusermount3 refuses the directory: mount(8) of FUSE, sticky directories."""
    found = path.stat()
    return bool(found.st_mode & 0o1000) and found.st_uid != os.geteuid()


def _mounted(path: Path, there: mounts.MountedSource) -> Finding:
    """Look at a mount of ours."""
    code = mounts.probe(path) or _refusal(path)
    daemon = next(reversed(mounts.daemons(path)), None)
    facts: dict[str, Fact] = {"source": there.source}
    if daemon is not None:
        facts["pid"] = daemon
    if code == 0:
        return _answers(path, there.source, daemon, facts)
    if mounts.is_stale(code):
        words = (
            f"{path} is a stale mount: its daemon has died, so every access is "
            "'Transport endpoint is not connected' (ENOTCONN)"
        )
        remedy = (
            f"'fusermount3 -uz {path}', then mount again: what was acknowledged and not yet "
            "stored is sent then ('aisfs recover list' shows it)"
        )
        return broken(_CHECK, "stale-mount", words, remedy, **facts)
    if code == mounts.NO_ANSWER:
        words = f"{path} does not answer within 2 s"
        who = f"kill -USR1 {daemon}" if daemon else "kill -USR1 PID"
        remedy = (
            "see what is said of the cluster below; "
            f"'{who}' writes what the daemon waits for to its log"
        )
        return broken(_CHECK, "mount-hangs", words, remedy, **facts)
    words = f"{path} refuses: {os.strerror(code)}"
    remedy = "see the mount's log"
    if code == errno.EACCES:
        remedy = "only who mounted it may enter: be that user, or mount with -o allow-other"
    return broken(_CHECK, "mount-refuses", words, remedy, **facts)


def _refusal(path: Path) -> int:
    """Return with which errno a mount that answers keeps this user out, 0 if it does not.

    Whom FUSE does not let in gets its statistics all the same, by which `probe` asks.
    """
    try:
        within(_ENTERED_S, path.stat)
    except TimeoutError:
        return mounts.NO_ANSWER
    except OSError as error:
        return error.errno or 0
    return 0


def _answers(path: Path, source: str, daemon: int | None, facts: dict[str, Fact]) -> Finding:
    """Look at what a mount that answers could not store."""
    state = None if daemon is None else mounts.state_directory(daemon)
    left = unsent(state / JOURNAL) if state is not None else Unsent()
    if left.failed:
        facts |= {"failed": left.failed, "bytes": left.size}
        words = f"{path} answers, but {left.failed} files could not be stored: {left.reason}"
        remedy = f"mend what it names; 'aisfs sync {path}' sends them at once"
        return warning(_CHECK, "unsent", words, remedy, **facts)
    return ok(_CHECK, f"{path} shows {source}, and answers", **facts)


def allow_other(case: Case) -> Finding:
    """Look whether other users can be let in, where that is asked for."""
    assert case.config is not None  # the table of checks sees to it
    if not case.config.mount.allow_other:
        return ok("allow-other", "not asked for: only who mounts sees the files")
    if problem := mounts.others_problem():
        return broken("allow-other", "user-allow-other-missing", problem.cause, problem.remedy)
    return ok("allow-other", "other users can be let in")
