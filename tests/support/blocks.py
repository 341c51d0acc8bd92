"""Bodies in which every piece says where it belongs, and reading them as programs do.

body("f", 7, 8192) = ("f v000007 @0" padded to 512 bytes) × 8, ("f v000007 @4096" …) × 8
"""

from __future__ import annotations

import functools
import os
import re

BLOCK = 4096
_LABEL = 512
_VERSION = b" v------ "
_FOUND = re.compile(rb"(\S+ v\d+ @\d+) ")


def body(name: str, version: int, size: int) -> bytes:
    """Return the content of a version of an object.

    Args:
        name: without blanks; at most 40 of its last characters are used.
        version: below a million.
        size: bytes; the last block may be cut.
    """
    return (b" v%06d " % version).join(_around_versions(name[-40:], size))[:size]


@functools.lru_cache(16)
def _around_versions(name: str, size: int) -> list[bytes]:
    """Return what lies between the versions: to put them in costs a tenth of making the labels."""
    labels = (b"%b%b@%d" % (name.encode(), _VERSION, offset) for offset in range(0, size, BLOCK))
    return b"".join(label.ljust(_LABEL) * (BLOCK // _LABEL) for label in labels).split(_VERSION)


def read_fully(fd: int, size: int, offset: int) -> bytes:
    """Read as pread(2) does, again where the kernel cut it short; short only at the file's end.

    It does that after a failure where the first pages of a read were cached.
    """
    data = b""
    while len(data) < size:
        more = os.pread(fd, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def origins(data: bytes, limit: int = 6) -> str:
    """Return what the blocks of some bytes say of themselves, for a failing test's words."""
    found = list(dict.fromkeys(match.decode() for match in _FOUND.findall(data)))
    return f"{len(data)} bytes of {', '.join(found[:limit]) or 'nothing known'}"
