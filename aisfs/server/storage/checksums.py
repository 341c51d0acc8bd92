"""Checksums of object bytes, by the names AIS gives them."""

import hashlib
from collections.abc import Callable
from typing import Protocol

import xxhash

CHECKSUM_TYPES = ("crc32c", "md5", "sha256", "sha512", "xxhash", "xxhash2", "none")
"""In the order AIS lists them in messages."""


class Hasher(Protocol):
    """The part of hashlib's interface that is used here."""

    def update(self, data: bytes, /) -> object:
        """Feed bytes."""

    def hexdigest(self) -> str:
        """Return the lower-case hexadecimal value of everything fed."""


def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


class Crc32c:
    """CRC-32C (Castagnoli) in plain Python.

    About 10 MB/s: buckets of this checksum type are rare and small, and the standard library has
    no faster one (zlib's CRC is another polynomial).
    """

    _table: list[int] = _crc32c_table()

    def __init__(self) -> None:
        self._value = 0xFFFFFFFF

    def update(self, data: bytes, /) -> None:
        """Feed bytes."""
        value, table = self._value, self._table
        for byte in data:
            value = table[(value ^ byte) & 0xFF] ^ value >> 8
        self._value = value

    def hexdigest(self) -> str:
        """Return eight hexadecimal digits."""
        return f"{self._value ^ 0xFFFFFFFF:08x}"


class NoChecksum:
    """Stands in where a bucket keeps no checksums."""

    def update(self, data: bytes, /) -> None:
        """Ignore bytes."""

    def hexdigest(self) -> str:
        """Return the empty value."""
        return ""


_HASHERS: dict[str, Callable[[], Hasher]] = {
    "crc32c": Crc32c,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "xxhash": xxhash.xxh64,
    "xxhash2": xxhash.xxh64,
    "none": NoChecksum,
}


def new_hasher(kind: str) -> Hasher:
    """Return a fresh hasher; `xxhash` and `xxhash2` are both XXH64 with seed 0.

    Raises:
        KeyError: for a type that AIS does not have.
    """
    return _HASHERS[kind]()


def digest(kind: str, data: bytes) -> str:
    """Return the checksum value of one piece of bytes."""
    hasher = new_hasher(kind)
    hasher.update(data)
    return hasher.hexdigest()
