"""Checksums that AIS keeps of whole objects, computed while their bytes pass."""

from __future__ import annotations

import hashlib
from typing import Protocol

import xxhash


class Digest(Protocol):
    """A running checksum."""

    def update(self, data: bytes | memoryview) -> None:
        """Take in the next bytes."""

    def hexdigest(self) -> str:
        """Return the checksum so far, lower-case hex."""


def new_digest(checksum_type: str) -> Digest | None:
    """Return a running checksum of an AIS type, or None where we cannot compute it (crc32c).

    AIS: objects.md 4.1; `xxhash` and `xxhash2` are both XXH64 with seed 0.
    """
    if checksum_type in {"xxhash", "xxhash2"}:
        return xxhash.xxh64()
    if checksum_type in {"md5", "sha256", "sha512"}:
        return hashlib.new(checksum_type, usedforsecurity=False)
    return None
