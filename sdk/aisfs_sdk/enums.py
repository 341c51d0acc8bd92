"""Small choices that calls take by name."""

from __future__ import annotations

from enum import Enum, IntEnum

from aisfs_sdk.provider import Provider

__all__ = ["Colocation", "FLTPresence", "LogSeverity", "NodeFilter", "Provider"]


class FLTPresence(IntEnum):
    """Which buckets or objects count, by whether they are in the cluster."""

    FLT_EXISTS = 0
    """Wherever they are."""
    FLT_EXISTS_NO_PROPS = 1
    """The same, without details."""
    FLT_PRESENT = 2
    """In the cluster."""
    FLT_PRESENT_NO_PROPS = 3
    """The same, without details."""
    FLT_PRESENT_CLUSTER = 4
    """Anywhere in the cluster, in any form."""
    FLT_EXISTS_OUTSIDE = 5
    """Not in the cluster."""


class Colocation(IntEnum):
    """What a batch's caller knows of where its objects lie."""

    NONE = 0
    TARGET_AWARE = 1
    """Many lie on one target."""
    TARGET_AND_SHARD_AWARE = 2
    """… and in one archive (not offered yet)."""


class LogSeverity(Enum):
    """Which log of a node."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class NodeFilter(Enum):
    """Which nodes."""

    ALL = "all"
    PROXY = "proxy"
    TARGET = "target"
