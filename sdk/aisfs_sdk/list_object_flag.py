"""Flags of a listing: what to include, and how much to tell of it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ListObjectFlag(Enum):
    """What a listing includes. Values are the bit positions that AIS documented in 2023.

    AIS has since given three of them other meanings; `aisfs_sdk.eras` turns members into the bits
    that the cluster at hand understands.
    """

    CACHED = 0
    """Only objects that are in the cluster."""
    ALL = 1
    """Also copies and misplaced objects."""
    DELETED = 2
    """Also objects marked for deletion."""
    ARCH_DIR = 3
    """List the members of archives, too."""
    NAME_ONLY = 4
    """Names and nothing else."""
    NAME_SIZE = 5
    """Names and sizes."""
    DONT_HEAD_REMOTE = 6
    """Do not ask whether a remote bucket exists."""
    TRY_HEAD_REMOTE = 7
    """Ask whether a remote bucket exists, and go on if that fails."""
    DONT_ADD_REMOTE = 8
    """Do not add a remote bucket to the cluster's metadata."""
    USE_CACHE = 9
    """Let the gateway answer from its cache of listings (releases of 2023)."""
    ONLY_REMOTE_PROPS = 10
    """Only what the remote backend knows of an object."""
    NO_RECURSION = 11
    """Only one level; what lies deeper shows as directories."""
    DIFF = 12
    """Compare with the remote bucket (remote buckets of newer clusters)."""
    NO_DIRS = 13
    """No entries for directories (remote buckets)."""

    @staticmethod
    def join_flags(flags: Iterable[ListObjectFlag]) -> int:
        """Return the sum of the flags' bits by their positions of 2023."""
        total = 0
        for flag in flags:
            total |= 1 << flag.value
        return total
