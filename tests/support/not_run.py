"""Tests that this machine cannot run: given up one by one, counted together."""

import os

import pytest

MARK = "NOT RUN: "
"""What the reasons of such tests begin with; the end of a run counts them by it."""


def give_up(reason: str) -> None:
    """Skip a test for want of mounts, and count it; fail where all must run."""
    if os.environ.get("AISFS_REQUIRE_FUSE") == "1":
        pytest.fail(f"AISFS_REQUIRE_FUSE=1, but {reason}", pytrace=False)
    leave_out(reason)


def leave_out(reason: str) -> None:
    """Skip a test for want of what no machine has to have, and count it."""
    pytest.skip(MARK + reason)
