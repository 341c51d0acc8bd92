"""Public suites on a mount, where they are built: what fails is what docs/posix-suites.md says.

`AISFS_TEST_PJDFSTEST` names the folder of a built pjdfstest, `AISFS_TEST_FSX` the program fsx.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import not_run
from tests.support.mount import Mount

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

PAGE = Path(__file__).parents[2] / "docs" / "posix-suites.md"
ROW = re.compile(r"^\| (\w+/\d+\.t) \| (\d+|gives up) \| (.+) \|$", re.MULTILINE)
REASON = re.compile(r"^\| ([a-z' ]+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
SUMMARY = re.compile(
    r"/tests/(\w+/\d+\.t) +\(Wstat: (\d+)[^)]*?(?:\(exited \d+\) )?Tests: \d+ Failed: (\d+)\)"
)


def failures(report: str) -> dict[str, str]:
    """Return how many checks of which file failed, from what prove(1) says at its end."""
    return {
        name: "gives up" if status != "0" else failed
        for name, status, failed in SUMMARY.findall(report)
    }


def built(variable: str) -> str:
    """Return where a suite is; leaves the test out where it is not built."""
    path = os.environ.get(variable, "")
    if not path:
        not_run.leave_out(f"{variable} does not say where the suite is")
    return path


def test_c40_every_expected_failure_has_a_known_reason() -> None:
    """What public filesystem suites find is published, each failure with its reason
    ([posix-suites](posix-suites.md)).
    """
    text = PAGE.read_text("utf-8")
    known = set(REASON.findall(text)) - {"reason", "file"}
    rows = ROW.findall(text)
    assert len(rows) > 50
    assert {reason for _, _, reasons in rows for reason in reasons.split(", ")} == known


def test_what_prove_says_is_understood() -> None:
    report = (
        "/x/tests/unlink/14.t         (Wstat: 0 Tests: 7 Failed: 2)\n  Failed tests:  4, 7\n"
        "/x/tests/utimensat/09.t      (Wstat: 256 (exited 1) Tests: 1 Failed: 0)\n"
    )
    assert failures(report) == {"unlink/14.t": "2", "utimensat/09.t": "gives up"}


@pytest.mark.long
@pytest.mark.timeout(0)
def test_c40_pjdfstest_fails_where_it_is_expected_to(endpoint: str, bucket: Bucket) -> None:
    suite = built("AISFS_TEST_PJDFSTEST")
    if os.getuid() != 0:
        not_run.leave_out("pjdfstest has to be run by root")
    options = ["allow-other", "persist-owner", "log-level=info"]
    with Mount(endpoint, f"ais://{bucket.name}", options=options) as mount:
        ended = subprocess.run(
            ["prove", "-r", f"{suite}/tests"],
            cwd=mount.path, capture_output=True, text=True, check=False,
        )  # fmt: skip
    expected = {name: count for name, count, _ in ROW.findall(PAGE.read_text("utf-8"))}
    assert failures(ended.stdout) == expected


@pytest.mark.long
@pytest.mark.timeout(0)
def test_c40_fsx_finds_no_difference(
    mount: Mount, tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    fsx = built("AISFS_TEST_FSX")
    count = str(rounds(2000, 100_000))
    words = [fsx, "-N", count, "-c", "200", "-S", "7", "-q", "-P", str(tmp_path), "file"]
    ended = subprocess.run(words, cwd=mount.path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    assert f"All {count} operations completed A-OK!" in ended.stdout
