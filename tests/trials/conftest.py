"""The fixtures of the mount tests, for these are mounts, too; and a cluster that may be killed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.mount.conftest import bucket, endpoint, mount
from tests.support.nodes import Machine, wait_for_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["bucket", "endpoint", "mount"]


@pytest.fixture
def machine(endpoint: str) -> Iterator[Machine]:
    if "AIS_ENDPOINT" not in os.environ:
        pytest.skip("needs AIS_ENDPOINT, a real cluster")
    found = Machine(endpoint)
    yield found
    found.mend()
    client = Client(endpoint)
    wait_for_cluster(client.cluster().is_aistore_running, "well in the end")
    client.close()
