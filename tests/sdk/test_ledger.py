"""The table of evidence fails a run that it is incomplete in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sdk.evidence import Ledger

HERE = Path(__file__).parent
COMPLETE = """
from tests.sdk.evidence import CHECKLIST, LEDGER

def show(members):
    for member, row in members:
        for kind in ("request", "effect"):
            LEDGER.pending |= {(member, kind, server) for server in LEDGER.servers}
        LEDGER.pending |= {(member, "raises", name) for name in row.exceptions}
    LEDGER.pending.discard(LACKING)

def test_all():
    show(CHECKLIST.items())
    CHECKLIST.pop(LACKING[0] if LACKING[1:] == ("row",) else "", None)
"""
HALVES = (
    COMPLETE.partition("def test_all")[0]
    + """
def test_one_half():
    show(list(CHECKLIST.items())[::2])

def test_other_half():
    show(list(CHECKLIST.items())[1::2])
"""
)


def run_with_the_table(
    directory: Path, test: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run a test with the table's own hooks."""
    shutil.copy(HERE / "ledger.py", directory / "conftest.py")
    (directory / "test_one.py").write_text(test)
    words = ["-q", "-p", "no:cacheprovider", "--rootdir", ".", *options]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=directory, check=False, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1]), "AIS_ENDPOINT": ""}, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ((), ""),
        (("Object.get", "request", "5.0"), "evidence of Object.get lacks: request 5.0"),
        (("Object.get", "row"), "evidence of Object.get lacks: a row of the table"),
        (("Object.get", "effect", "3.17"), "evidence of Object.get lacks: effect 3.17"),
        (("Bucket.create", "raises", "ValueError"), "Bucket.create lacks: raises ValueError"),
    ],
)
def test_one_fact_less_fails_the_run(tmp_path: Path, lacking: tuple[str, ...], told: str) -> None:
    found = run_with_the_table(tmp_path, COMPLETE.replace("LACKING", repr(lacking)))
    assert "1 passed" in found.stdout, found.stdout + found.stderr
    assert found.returncode == (pytest.ExitCode.TESTS_FAILED if lacking else pytest.ExitCode.OK)
    assert told in found.stdout


@pytest.mark.parametrize("lacking", [(), ("Object.get", "effect", "3.17")])
def test_what_two_processes_saw_counts_together(tmp_path: Path, lacking: tuple[str, ...]) -> None:
    found = run_with_the_table(tmp_path, HALVES.replace("LACKING", repr(lacking)), "-n", "2")
    assert "2 passed" in found.stdout, found.stdout + found.stderr
    assert found.returncode == (pytest.ExitCode.TESTS_FAILED if lacking else pytest.ExitCode.OK)
    assert ("Object.get lacks: effect 3.17" in found.stdout) == bool(lacking)


def test_a_part_of_the_tests_may_lack_something() -> None:
    assert len(Ledger().missing()) > 50
    assert not Ledger().complete
