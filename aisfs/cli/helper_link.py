"""The link by which mount(8) finds aisfs: /sbin/mount.aisfs, to the program beside our Python.

Serves `mount --install-helper` and `systemd install`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from aisfs.cli import Failure

HELPER = "/sbin/mount.aisfs"
"""Where mount(8) looks for what mounts the type `aisfs`."""


def program(name: str) -> Path:
    """Return the absolute name of one of our programs, as it is installed with this Python.

    Raises:
        Failure: it is not there.
    """
    beside = Path(sys.executable).with_name(name)
    found = beside if beside.exists() else shutil.which(name)
    if not found:
        raise Failure(f"there is no {beside}: install aisfs with pip, do not run it from a folder")
    return Path(found).absolute()


def install_helper(root: Path) -> list[str]:
    """Make the link below `root` and return what was done, in words.

    Raises:
        Failure: it cannot be made, or something else is there.
    """
    target = program("mount.aisfs")
    link = root / HELPER.lstrip("/")
    if link.is_symlink() and link.readlink() == target:
        return [f"{link} is there already"]
    if link.exists() and not _is_ours(link):
        raise Failure(f"{link} is none of ours: see what it is, and move it away")
    new = link.with_name(".mount.aisfs-new")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.replace(link)
    except OSError as error:
        raise Failure(f"{link} cannot be made ({error.strerror}): do it as root") from None
    return [f"{link} → {target}"]


def remove_helper(root: Path) -> list[str]:
    """Remove the link, if it is ours, and return what was done, in words.

    Raises:
        Failure: it cannot be removed.
    """
    link = root / HELPER.lstrip("/")
    if not _is_ours(link):
        return []
    try:
        link.unlink()
    except OSError as error:
        raise Failure(f"{link} cannot be removed ({error.strerror}): do it as root") from None
    return [f"{link} is removed"]


def _is_ours(link: Path) -> bool:
    return link.is_symlink() and link.readlink().name == link.name
