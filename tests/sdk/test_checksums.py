from __future__ import annotations

import hashlib

import pytest
import xxhash

from aisfs_sdk.checksums import new_digest

DATA = b"0123456789" * 1000


@pytest.mark.parametrize(
    ("checksum_type", "expected"),
    [
        ("xxhash", xxhash.xxh64(DATA).hexdigest()),
        ("xxhash2", xxhash.xxh64(DATA).hexdigest()),
        ("md5", hashlib.md5(DATA).hexdigest()),
        ("sha256", hashlib.sha256(DATA).hexdigest()),
        ("sha512", hashlib.sha512(DATA).hexdigest()),
    ],
)
def test_a_running_checksum_is_that_of_the_whole(checksum_type: str, expected: str) -> None:
    digest = new_digest(checksum_type)
    assert digest is not None
    for start in range(0, len(DATA), 777):
        digest.update(memoryview(DATA)[start : start + 777])
    assert digest.hexdigest() == expected


@pytest.mark.parametrize("checksum_type", ["", "none", "crc32c", "future"])
def test_what_cannot_be_computed_is_left_out(checksum_type: str) -> None:
    assert new_digest(checksum_type) is None
