"""Which archives can be looked into, told by their names."""

from __future__ import annotations

import enum


class Format(enum.Enum):
    """A format of shards. AIS: the ones that it reads and writes."""

    TAR = "tar"
    TGZ = "tgz"
    ZIP = "zip"
    LZ4 = "tar.lz4"


_SUFFIXES = {
    ".tar": Format.TAR,
    ".tgz": Format.TGZ,
    ".tar.gz": Format.TGZ,
    ".zip": Format.ZIP,
    ".tar.lz4": Format.LZ4,
}


def format_of(name: str) -> Format | None:
    """Return the format that an object's name means, None if it is no shard."""
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), None)
