"""Tests that this machine cannot run: given up one by one, counted together."""

import os

import pytest

COUNT = pytest.StashKey[list[str]]()
"""On the configuration: the tests given up so far."""


def give_up(item: pytest.Item, reason: str) -> None:
    """Skip a test for want of mounts, and count it; fail where all must run."""
    if os.environ.get("AISFS_REQUIRE_FUSE") == "1":
        pytest.fail(f"AISFS_REQUIRE_FUSE=1, but {reason}", pytrace=False)
    leave_out(item, reason)


def leave_out(item: pytest.Item, reason: str) -> None:
    """Skip a test for want of what no machine has to have, and count it."""
    item.config.stash[COUNT].append(item.nodeid)
    pytest.skip(f"NOT RUN: {reason}")
