"""Several processes change names and contents at random, on a mount and on local directories.

`./run long storm` does it for ten minutes; with AIS_ENDPOINT on a real cluster, where files and
directories have names apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.crashes import owed
from tests.support.storm import SHARED
from tests.support.twins import difference

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.support.mount import Mount

pytestmark = pytest.mark.fuse

PROCESSES = 4
QUIET_S = 60.0
ROOT = Path(__file__).parents[2]


def held(pid: int) -> tuple[int, int]:
    """Return how many descriptors but sockets, and how many threads, a process has."""
    descriptors = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            descriptors += not os.fspath(link.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue  # closed meanwhile
    return descriptors, len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.mark.long
def test_a_storm_leaves_the_same_tree_and_nothing_else(
    mount: Mount,
    tmp_path: Path,
    seeded: random.Random,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    names = [f"p{number}" for number in range(PROCESSES)]
    for root in (mount.path, tmp_path):
        for name in (*names, SHARED):
            (root / name).mkdir()
    before = held(mount.daemon_pid)
    storms = [
        subprocess.Popen(
            [
                sys.executable, "-m", "tests.support.storm", mount.path, tmp_path,
                name, str(seeded.randrange(1 << 30)), str(rounds(10, 600)),
                *(["apart"] if "AIS_ENDPOINT" in os.environ else []),
            ],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )
        for name in names
    ]  # fmt: skip
    ended = [(storm.communicate()[0], storm.returncode) for storm in storms]
    for told, code in ended:
        assert code == 0, told
        for word in told.split():
            verb, _, count = word.partition("=")
            tally(verb, int(count))
    assert difference(mount.path, tmp_path) == ""
    end = time.monotonic() + QUIET_S
    while owed(mount.state) or any(
        now > then for now, then in zip(held(mount.daemon_pid), before, strict=True)
    ):
        assert time.monotonic() < end, (owed(mount.state), held(mount.daemon_pid), before)
        time.sleep(0.2)
    mount.remount()
    assert difference(mount.path, tmp_path) == ""
