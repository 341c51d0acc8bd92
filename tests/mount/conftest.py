"""Mounts on a bucket of the test's own: of the cluster at AIS_ENDPOINT, else of one store."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Bucket, Client
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """Return the gateway that these tests mount from."""
    given = os.environ.get("AIS_ENDPOINT")
    if given:
        yield given
        return
    with StoreProcess() as process:
        yield process.endpoint


@pytest.fixture
def bucket(endpoint: str) -> Iterator[Bucket]:
    """Return an empty bucket that only this test uses."""
    client = Client(endpoint)
    bucket = client.bucket(f"mount-{uuid.uuid4().hex[:12]}").create()
    yield bucket
    bucket.delete(missing_ok=True)
    client.close()


@pytest.fixture
def mount(endpoint: str, bucket: Bucket) -> Iterator[Mount]:
    """Return a mount of the test's bucket."""
    with Mount(endpoint, f"ais://{bucket.name}") as mounted:
        yield mounted
