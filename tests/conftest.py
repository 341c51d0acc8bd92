"""What all tests share: which can run here, how often the long ones repeat, and a store.

Tests marked `fuse` mount for real. Where this process cannot mount they are NOT RUN, counted, and
reported in the last lines; with AISFS_REQUIRE_FUSE=1 they fail instead. Tests marked `long` run a
small sample unless `--long` is given. What the last lines tell comes by the tests' reports, for it
may have been in other processes that they ran (`pytest -n`).
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from aisfs.cli import mounts
from tests.support import not_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.store import StoreProcess

pytest_plugins = ["tests.conformance.ends", "tests.sdk.ledger"]

SEED = int(os.environ.get("AISFS_SEED") or random.SystemRandom().randrange(1 << 32))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="repeat tests marked long in full, without time limit"
    )


def pytest_configure(config: pytest.Config) -> None:
    # In the background a shell makes its children ignore Ctrl-C, which tests send on purpose.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["AISFS_SEED"] = str(SEED)  # of all processes


def pytest_report_header() -> str:
    return f"AISFS_SEED={SEED}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.timeout(0))


def pytest_runtest_setup(item: pytest.Item) -> None:
    problem = item.get_closest_marker("fuse") and mounts.fuse_problem()
    if problem:
        not_run.give_up(str(problem))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # the last words before pytest's closing line
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    yield
    ends = terminalreporter.stats
    for report in (*ends.get("passed", []), *ends.get("failed", [])):
        counts: Counter[str] = Counter()
        for what, count in report.user_properties:
            counts[what] += count
        if counts:
            text = ", ".join(f"{count} {what}" for what, count in counts.items())
            terminalreporter.write_line(f"{report.nodeid}: {text} (AISFS_SEED={SEED})")
    missed = [report for report in ends.get("skipped", []) if not_run.MARK in str(report.longrepr)]
    if missed:
        reason = mounts.fuse_problem() or "this machine lacks what they need"
        terminalreporter.write_line(f"{len(missed)} tests NOT RUN: {reason}", yellow=True)


@pytest.fixture
def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Return random numbers that AISFS_SEED and the test's name decide."""
    return random.Random(f"{SEED} {request.node.nodeid}")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Return `rounds(sample, full)`: how often a test marked long repeats in this run."""
    full_run = bool(request.config.getoption("--long"))
    return lambda sample, full: full if full_run else sample


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[[str, int], None]:
    """Return `tally(what, count)`: adds to a count that the end of the run prints."""
    properties = request.node.user_properties
    return lambda what, count: properties.append((what, count))


@pytest.fixture
def store() -> Iterator[StoreProcess]:
    """Return an embedded store in a child process, of this test alone."""
    from tests.support.store import StoreProcess  # noqa: PLC0415 - only where it is used

    with StoreProcess() as process:
        yield process
