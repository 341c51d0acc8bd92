"""A pytest plugin that keeps the table of evidence, and fails a whole run that lacks some of it.

With `pytest -n` the tests run in worker processes, and the one that started them has the table.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.sdk.evidence import LEDGER

if TYPE_CHECKING:
    from collections.abc import Generator

if os.environ.get("AIS_ENDPOINT"):
    LEDGER.servers = ("cluster",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--evidence", metavar="FILE", help="write what tests/sdk showed of the SDK")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "setup":
        LEDGER.pending.clear()
    if call.when == "call" and report.passed:
        LEDGER.shown |= LEDGER.pending
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    here = Path(__file__).parent
    chosen = {item.path for item in session.items}
    options = session.config.option
    last_failed = getattr(options, "lf", False)  # absent without the cache plugin
    narrowed = options.keyword or options.markexpr or options.deselect or last_failed
    parts = any("::" in argument for argument in session.config.args)
    LEDGER.complete = not (narrowed or parts) and chosen >= set(here.glob("test_*.py"))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    LEDGER.merge(getattr(node, "workeroutput", {}).get("ledger"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["ledger"] = LEDGER.as_data()
    elif LEDGER.complete and exitstatus == 0 and LEDGER.missing():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if path := config.getoption("--evidence"):
        Path(path).write_text("\n".join([*LEDGER.lines(), LEDGER.counts(), ""]))
    if not LEDGER.complete:
        return
    terminalreporter.write_line(LEDGER.counts())
    for member, lacking in LEDGER.missing().items():
        terminalreporter.write_line(f"evidence of {member} lacks: {', '.join(lacking)}", red=True)
