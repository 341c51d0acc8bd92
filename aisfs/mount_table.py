"""What a process sees mounted: /proc/PID/mountinfo, whose names may be any bytes (proc(5)).

Serves `cli/mounts` and `fuse/session`. Nothing here touches a mount: one that hangs would hang us.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = Path("/proc/self/mountinfo")


class Mounted(NamedTuple):
    """One line of the table.

    Attributes:
        device: st_dev of what is mounted.
        path: where.
        kind: type of the file system.
        source: what was mounted, as the file system says.
    """

    device: int
    path: Path
    kind: str
    source: str


def mounts(table: Path = OWN) -> Iterator[Mounted]:
    """Yield what is mounted, oldest first."""
    for line in table.read_bytes().splitlines():
        where, _, what = line.partition(b" - ")
        _, _, device, _, path, *_ = where.split(b" ")
        kind, source, *_ = what.split(b" ")
        major, minor = device.split(b":")
        number = os.makedev(int(major), int(minor))
        yield Mounted(number, Path(_unescape(path)), os.fsdecode(kind), _unescape(source))


def _unescape(text: bytes) -> str:
    """Undo the octal escapes of blanks and backslashes."""
    return os.fsdecode(re.sub(rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8)]), text))
