"""Room for what is unpacked, which must be free again after each test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisfs.archives.spool import Room

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    before = open_files()
    made = Room(tmp_path, 64 << 20)
    yield made
    assert made.used == 0
    assert list(tmp_path.glob("tmp*")) == []
    assert open_files() - before == set()


def open_files() -> set[str]:
    """Return the deleted files that this process has open."""
    found = (Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))  # noqa: PTH208
    return {str(fd.readlink()) for fd in found if fd.exists() and "deleted" in str(fd.readlink())}
