"""What differs between AIS releases, in one table.

A cluster says which release it is when asked for its node status. That is asked once per client,
before the first request for data, for clusters of 2023 answer a query key that they do not know
with an empty success: a read returns no bytes, a write stores nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from aisfs_sdk.errors import UnsupportedError
from aisfs_sdk.list_object_flag import ListObjectFlag

if TYPE_CHECKING:
    from collections.abc import Iterable


class Feature(Enum):
    """What a cluster may be able to do: since which release, and in words."""

    BUCKET_INFO = (3, 18), "the summary of remote buckets with their properties"
    LATEST = (3, 22), "reading the latest remote version"
    COPY_LATEST = (3, 22), "copying the latest remote versions"
    NODE_STATUS = (3, 23), "the status of a node under its name of today"
    ARCHIVE_PATTERN = (3, 23), "reading the members of an archive by a pattern"
    ARCHIVE_CREATE = (3, 23), "making an archive by its first member"
    ETL_ARGS = (3, 27), "arguments for a transformer"
    ETL_BY_NAME = (3, 29), "transformers that run a container image"
    COPY_EXT = (3, 30), "new name endings while copying a bucket"
    OBJECT_COPY = (3, 30), "copying one object within the cluster"
    SPECIAL_NAMES = (3, 30), "names with any of & ' \" < > #"
    IGNORES_UNKNOWN_KEYS = (4, 0), "unknown query keys"
    ETL_PIPELINE = (4, 0), "pipelines of transformers"
    MULTIPART = (4, 0), "multipart upload"
    NUM_WORKERS = (4, 0), "a number of workers"
    BLOB_DOWNLOAD = (3, 23), "downloading an object in parts"
    GET_BATCH = (4, 0), "reading many objects in one request"
    HEAD_PROPS = (4, 3), "selected properties of an object"
    INVENTORY = (4, 3), "stored listings of a bucket"
    APPEND_CONTINUES = (5, 0), "appending to what an object holds"

    @property
    def since(self) -> tuple[int, int]:
        """First release that has it."""
        return self.value[0]

    @property
    def words(self) -> str:
        """What it is, for error texts."""
        return self.value[1]


_NEW_LIST_FLAGS = (3, 27)

# Bits 6, 7 and 9 changed their meaning. Where the new releases have no such flag there is no bit:
# leaving out what only saved the cluster a request changes no result.
_LIST_FLAG_BITS_NOW = {
    ListObjectFlag.DONT_HEAD_REMOTE: 1 << 7,
    ListObjectFlag.TRY_HEAD_REMOTE: 0,
    ListObjectFlag.USE_CACHE: 0,
}


@dataclass(frozen=True, slots=True)
class Era:
    """The release that a cluster runs.

    Attributes:
        version: major and minor number; (0, 0) if the cluster does not tell this caller. Such a
            cluster is used as if it were of 2023, for what works there works everywhere.
    """

    version: tuple[int, int]

    def __str__(self) -> str:
        return (
            "AIS of unknown release" if not any(self.version) else "AIS {}.{}".format(*self.version)
        )

    def has(self, feature: Feature) -> bool:
        """Tell whether the cluster can do something."""
        return self.version >= feature.since

    def require(self, feature: Feature, request: str) -> None:
        """Refuse what the cluster cannot do.

        Args:
            feature: what is needed.
            request: method and object, for the error's text.

        Raises:
            UnsupportedError: the cluster is too old for it.
        """
        if not self.has(feature):
            since = "{}.{}".format(*feature.since)
            raise UnsupportedError(
                0, f"{feature.words} needs AIS {since} or newer, this is {self}", request
            )

    @property
    def max_custom_bytes(self) -> int:
        """Largest sum of custom keys and values in bytes.

        Newer clusters refuse more. Older ones accept more than their disks can keep (about 3,950
        bytes on ext4) and then cannot read the object any more, so the limit stays below that.
        """
        return 2048 if self.version >= (4, 2) else 3500

    def clock(self, nanoseconds: int) -> str:
        """Return a Unix time as the cluster's gateways write it into redirects."""
        return str(nanoseconds) if self.version < (4, 1) else _base_36(nanoseconds)

    def list_flags(self, flags: Iterable[ListObjectFlag]) -> int:
        """Return the flags of a listing as the cluster at hand numbers them."""
        if self.version < _NEW_LIST_FLAGS:
            return ListObjectFlag.join_flags(flags)
        total = 0
        for flag in flags:
            total |= _LIST_FLAG_BITS_NOW.get(flag, 1 << flag.value)
        return total


def _base_36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


UNKNOWN_ERA = Era((0, 0))


def parse_version(text: str) -> Era:
    """Return the era of a release, from what the cluster calls `ais_version`.

    Args:
        text: such as "5.0." or "3.17.abcdef"; what does not begin with two numbers is unknown.
    """
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return Era((int(found[1]), int(found[2]))) if found else UNKNOWN_ERA
