"""The same fixtures as for the mount tests: these are mounts, too. What they show can be kept."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from aisfs_sdk import Client
from tests.conformance import evidence
from tests.mount.conftest import bucket, endpoint, mount

if TYPE_CHECKING:
    import pytest

__all__ = ["bucket", "endpoint", "mount"]

ENDS: dict[str, Counter[str]] = defaultdict(Counter)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    clause = evidence.clause_of(report.nodeid.rpartition("::")[2])
    if clause and (report.when == "call" or report.outcome != "passed"):
        ENDS[clause]["not run" if report.skipped else report.outcome] += 1


def pytest_sessionfinish() -> None:
    if ENDS and "AISFS_TEST_OUTPUT" in os.environ:
        evidence.write(Path(os.environ["AISFS_TEST_OUTPUT"]), _cluster(), ENDS)


def _cluster() -> str:
    """Name the cluster of this run; AISFS_TEST_CLUSTER does that where it cannot be seen."""
    given = os.environ.get("AISFS_TEST_CLUSTER")
    if given or "AIS_ENDPOINT" not in os.environ:
        return given or "embedded store"
    return f"real {Client(os.environ['AIS_ENDPOINT']).era}"
