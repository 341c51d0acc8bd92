"""The table of evidence fails a run that it is incomplete in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sdk.evidence import CHECKLIST, UNRECORDED, Ledger
from tests.sdk.recorded_requests import recorded, shape

HERE = Path(__file__).parent
COMPLETE = """
from tests.sdk.evidence import CHECKLIST, LEDGER, UNRECORDED

def test_all():
    for member, row in CHECKLIST.items():
        LEDGER.pending |= {(member, "request", ""), (member, "recorded", "5.0")}
        LEDGER.pending |= {(member, "effect", server) for server in LEDGER.servers}
        LEDGER.pending |= {(member, "raises", name) for name in row.exceptions}
    LEDGER.pending.discard(LACKING)
"""


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ((), ""),
        (("Object.get", "request", ""), "evidence of Object.get lacks: request"),
        (("Object.get", "recorded", "5.0"), "lacks: request that a real cluster was recorded"),
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
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1])}, timeout=60,
    )  # fmt: skip
    assert "1 passed" in found.stdout, found.stdout + found.stderr
    assert found.returncode == (pytest.ExitCode.TESTS_FAILED if lacking else pytest.ExitCode.OK)
    assert told in found.stdout


def test_a_part_of_the_tests_may_lack_something() -> None:
    assert len(Ledger().missing()) > 50
    assert not Ledger().complete


def test_every_exemption_is_of_a_member_that_sends_something() -> None:
    assert all(CHECKLIST[member].request for member in UNRECORDED)


def test_shapes() -> None:
    get = shape("GET", "/v1/objects/any/name/at/all?provider=ais&archpath=x", None)
    assert get == ("GET", "/v1/objects/*", ("archpath",), "")
    body = b'{"action":"copy-bck","name":"","value":{"prefix":"p","force":false}}'
    assert shape("POST", "/v1/buckets/b?bck_to=x", body)[3] == "copy-bck(prefix)"
    assert get in recorded("5.0")
    assert shape("GET", "/v1/objects/b/o?no_such_key=1", None) not in recorded("5.0")
