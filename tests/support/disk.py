"""What a directory takes on disk while others write there, and disks that are soon full."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def small_disk_at(directory: Path) -> Iterator[Path]:
    """Mount a disk of 24 MiB at a directory that is there; skip the test where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    words = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(directory)]
    if subprocess.run(words, check=False).returncode:
        pytest.skip("may not mount here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def occupy(path: Path) -> Path:
    """Fill a file system to its last byte, and return the file that has to go to make room."""
    status = os.statvfs(path)
    file = path / "somebody's"
    with file.open("wb") as full:
        os.posix_fallocate(full.fileno(), 0, status.f_bavail * status.f_frsize)
    return file


def taken(path: Path) -> int:
    """Return the bytes of all blocks of a directory, as du(1) counts them, at one moment.

    A look during which a file came or went is repeated: it may have seen both of two files that
    never were there together.
    """
    while True:
        names = sorted(path.rglob("*"))
        try:
            total = sum(each.lstat().st_blocks for each in (path, *names)) * 512
        except FileNotFoundError:
            continue
        if sorted(path.rglob("*")) == names:
            return total
