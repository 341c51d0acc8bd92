"""A store that is down in the middle of a copy: the copy succeeds, or fails and its bytes are kept.

`./run long outage` lets it be down for 30 s, the sample for 2.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount, run_aisfs
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

FILES = 24
SIZE = 3 << 20
LARGE = 160 << 20


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a directory of files."""
    (tmp_path / "small").mkdir()
    for number in range(FILES):
        (tmp_path / "small" / f"{number:02}").write_bytes(os.urandom(SIZE))
    return tmp_path / "small"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Return a directory with one file, which is sent while it is written."""
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "file").write_bytes(os.urandom(LARGE))
    return tmp_path / "large"


@pytest.mark.long
@pytest.mark.parametrize("kind", ["small", "large"])
@pytest.mark.parametrize("options", [[], ["write-back"]], ids=["plain", "write-back"])
def test_a_store_that_is_down_in_the_middle_of_a_copy(
    store: StoreProcess,
    request: pytest.FixtureRequest,
    kind: str,
    options: list[str],
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    source: Path = request.getfixturevalue(kind)
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b", options=options) as mount:
        copy = subprocess.Popen(
            ["cp", "-r", source, mount.path / "copy"], stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda: begun(mount, bucket), "the copy has begun")
        store.kill()
        time.sleep(rounds(2, 30))
        store.restart()
        _, said = copy.communicate(timeout=120)
        tally("files that cp could not store", len(said.splitlines()))
        assert (copy.returncode == 0) == (not said), said
        # What could not be stored is listed, and is sent as soon as the store is back.
        assert run_aisfs("sync", mount.path, limit_s=180).returncode == 0
        listed = run_aisfs("recover", "--state-dir", mount.state, "--json", "list")
        assert json.loads(listed.stdout) == []
    refused = {line.split("'")[1].rpartition("/")[2] for line in said.splitlines()}
    stored = {entry.name for entry in bucket.list_all_objects()}
    for file in source.iterdir():
        name = f"copy/{file.name}"
        if name in stored:  # also of those that cp was told of: kept, and sent in the end
            assert bucket.object(name).get().read_all() == file.read_bytes()
        else:
            assert file.name in refused, said  # not even made


def begun(mount: Mount, bucket: Bucket) -> bool:
    """Tell whether the copy is in its middle: something is stored, or being sent."""
    sizes = [path.stat().st_size for path in (mount.state / "staging").glob("*.data")]
    return max(sizes, default=0) > LARGE // 3 or len(list(bucket.list_all_objects())) > FILES // 3
