"""Tests that this machine cannot run: given up one by one, counted together."""

import os

import pytest

COUNT = pytest.StashKey[list[str]]()
"""On the configuration: the tests given up so far."""


def give_up(item: pytest.Item, reason: str) -> None:
    """Skip a test that this machine cannot run, and count it; fail where all must run."""
    if os.environ.get("AISFS_REQUIRE_FUSE") == "1":
        pytest.fail(f"AISFS_REQUIRE_FUSE=1, but {reason}", pytrace=False)
    item.config.stash[COUNT].append(item.nodeid)
    pytest.skip(f"NOT RUN: {reason}")
