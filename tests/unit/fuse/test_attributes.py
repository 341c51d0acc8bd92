from __future__ import annotations

import stat

import pytest

from aisfs.fuse.attributes import absent_entry, entry_of, statvfs_of
from aisfs.store.interface import Capacity
from aisfs.vfs.attributes import Attributes, Kind
from aisfs.vfs.nodes import FileNode, Ino


@pytest.mark.parametrize(
    ("kind", "check"),
    [(Kind.FILE, stat.S_ISREG), (Kind.SYMLINK, stat.S_ISLNK), (Kind.DIRECTORY, stat.S_ISDIR)],
)
def test_an_entry_shows_the_attributes(kind: Kind, check: object) -> None:
    node = FileNode(Ino(9), None, "f", Attributes(kind, 0o641, 5, 6, 1_234_567_890_123, 1025))
    entry = entry_of(node, 0.5)
    assert callable(check)
    assert check(entry.st_mode)
    assert stat.S_IMODE(entry.st_mode) == 0o641
    assert (entry.st_ino, entry.st_uid, entry.st_gid, entry.st_size) == (9, 5, 6, 1025)
    assert entry.st_blocks == 3
    assert entry.st_nlink == 1
    assert entry.st_mtime_ns == entry.st_ctime_ns == 1_234_567_890_123
    assert entry.entry_timeout == entry.attr_timeout == 0.5


def test_a_file_whose_name_is_gone_has_no_link() -> None:
    node = FileNode(Ino(9), None, "f", Attributes(Kind.FILE, 0o644, 5, 6, 0))
    node.detached = True
    assert entry_of(node, 0.5).st_nlink == 0


def test_an_absent_entry_has_no_inode() -> None:
    entry = absent_entry(2.0)
    assert (entry.st_ino, entry.entry_timeout) == (0, 2.0)


def test_capacity_is_told_in_blocks() -> None:
    data = statvfs_of(Capacity(total=1 << 40, used=1 << 39))
    assert data.f_blocks * data.f_frsize == 1 << 40
    assert data.f_bfree == data.f_bavail == (1 << 39) // 4096
    assert data.f_ffree > 0
    assert statvfs_of(Capacity(total=10, used=20)).f_bfree == 0
