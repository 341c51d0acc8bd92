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

def test_all():
    for member, row in CHECKLIST.items():
        for kind in ("request", "effect"):
            LEDGER.pending |= {(member, kind, server) for server in LEDGER.servers}
        LEDGER.pending |= {(member, "raises", name) for name in row.exceptions}
    LEDGER.pending.discard(LACKING)
    CHECKLIST.pop(LACKING[0] if LACKING[1:] == ("row",) else "", None)
"""


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
    # The folder's own hooks, and nothing but one test that shows what it is told to.
    shutil.copy(HERE / "conftest.py", tmp_path)
    (tmp_path / "test_one.py").write_text(COMPLETE.replace("LACKING", repr(lacking)))
    options = ["-q", "-p", "no:cacheprovider", "-p", "tests.conftest", "--rootdir", "."]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=tmp_path, check=False,
        capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1]), "AIS_ENDPOINT": ""}, timeout=60,
    )  # fmt: skip
    assert "1 passed" in found.stdout, found.stdout + found.stderr
    assert found.returncode == (pytest.ExitCode.TESTS_FAILED if lacking else pytest.ExitCode.OK)
    assert told in found.stdout


def test_a_part_of_the_tests_may_lack_something() -> None:
    assert len(Ledger().missing()) > 50
    assert not Ledger().complete
