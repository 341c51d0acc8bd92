"""A pytest plugin that counts how the tests of each clause ended; the result can be kept.

With AISFS_TEST_OUTPUT=DIRECTORY it is written there, for tests.conformance.evidence.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from aisfs_sdk import Client
from tests.conformance import evidence
from tests.conformance.semantics import clause_of

if TYPE_CHECKING:
    import pytest

ENDS: dict[str, Counter[str]] = defaultdict(Counter)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    number = clause_of(report.nodeid.rpartition("::")[2])
    if number and (report.when == "call" or report.outcome != "passed"):
        ENDS[f"C{number}"]["not run" if report.skipped else report.outcome] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    worker = hasattr(session.config, "workerinput")  # of `pytest -n`: all reports come together
    if ENDS and "AISFS_TEST_OUTPUT" in os.environ and not worker:
        evidence.write(Path(os.environ["AISFS_TEST_OUTPUT"]), _cluster(), ENDS)


def _cluster() -> str:
    """Name the cluster of this run; AISFS_TEST_CLUSTER does that where it cannot be seen."""
    given = os.environ.get("AISFS_TEST_CLUSTER")
    if given or "AIS_ENDPOINT" not in os.environ:
        return given or "embedded store"
    return f"real {Client(os.environ['AIS_ENDPOINT']).era}"
