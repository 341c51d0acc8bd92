"""From the mount's attributes to the kernel's structures."""

from __future__ import annotations

import ctypes
import stat
from typing import TYPE_CHECKING

import pyfuse3

from aisfs.vfs.attributes import Kind
from aisfs.vfs.nodes import FileNode

if TYPE_CHECKING:
    from aisfs.store.interface import Capacity
    from aisfs.vfs.nodes import Node

IO_SIZE = 1 << 20
"""st_blksize: Python, cat and cp take it as the size of their reads and writes."""

DIRECTORY_IO_SIZE = 4096
"""st_blksize of directories: the C library takes it as the size of its getdents buffer. With 1 MiB
`ls -l` reads six thousand names before it looks at the first, when all have expired (measured)."""

UNKNOWN_INO = 0xFFFFFFFF
"""libfuse: what directory entries show that have no inode number yet."""

_TYPE = {
    Kind.FILE: stat.S_IFREG,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.DIRECTORY: stat.S_IFDIR,
}


def entry_of(node: Node, lifetime_s: float) -> pyfuse3.EntryAttributes:
    """Return what LOOKUP, GETATTR and READDIRPLUS answer for a node.

    Directories have one link and no size (find and du take that as "unknown"); an open file whose
    name is gone has none.
    """
    a = node.attributes
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = node.ino
    entry.generation = 0
    entry.entry_timeout = lifetime_s
    entry.attr_timeout = lifetime_s
    entry.st_mode = _TYPE[a.kind] | a.mode
    entry.st_nlink = 0 if isinstance(node, FileNode) and node.detached else 1
    entry.st_uid = a.uid
    entry.st_gid = a.gid
    entry.st_rdev = 0
    entry.st_size = a.size
    entry.st_blksize = DIRECTORY_IO_SIZE if a.kind is Kind.DIRECTORY else IO_SIZE
    entry.st_blocks = -(-a.size // 512)
    entry.st_atime_ns = a.mtime_ns
    entry.st_mtime_ns = a.mtime_ns
    entry.st_ctime_ns = a.mtime_ns
    return entry


def bare_entry(kind: Kind) -> pyfuse3.EntryAttributes | None:
    """Return what READDIRPLUS answers for a name of which only the type is told.

    Kernel: fs/fuse/readdir.c makes no inode for an entry whose node id is 0, but shows its name
    with the inode number and type of the directory entry. pyfuse3 sets both numbers together, so
    the node id, which is the first word of libfuse's `fuse_entry_param`, is cleared in place.

    Returns:
        None where pyfuse3's structure is not the one that is known.
    """
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = UNKNOWN_INO
    entry.st_mode = _TYPE[kind]
    size = type(entry).__basicsize__ // 8
    words = (ctypes.c_uint64 * size).from_address(id(entry))
    places = [place for place in range(size) if words[place] == UNKNOWN_INO]
    if len(places) != 2:  # of the node, and in its attributes
        return None
    words[places[0]] = 0
    return entry if entry.st_ino == 0 else None


def absent_entry(lifetime_s: float) -> pyfuse3.EntryAttributes:
    """Return the answer that lets the kernel remember that a name is absent."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = lifetime_s
    return entry


def statvfs_of(capacity: Capacity) -> pyfuse3.StatvfsData:
    """Return what statfs(2) shows, in 4 KiB units: df's arithmetic must not round to zero."""
    unit = 4096
    data = pyfuse3.StatvfsData()
    data.f_bsize = IO_SIZE
    data.f_frsize = unit
    data.f_blocks = capacity.total // unit
    data.f_bfree = data.f_bavail = max(capacity.total - capacity.used, 0) // unit
    # An object store has no inodes to run out of; zero would make tools report "full".
    data.f_files = data.f_ffree = data.f_favail = 1 << 32
    data.f_namemax = 255
    return data
