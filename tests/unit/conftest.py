"""A store that all unit tests share, and a bucket of each test's own."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from aisfs.config import BucketName, StoreConfig
from aisfs.store.aistore import connect
from aisfs_sdk import Bucket, Client
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aisfs.store.aistore import AISStore


@pytest.fixture(scope="session")
def _process() -> Iterator[StoreProcess]:
    with StoreProcess() as process:
        yield process


@pytest.fixture
def cluster(_process: StoreProcess) -> Iterator[StoreProcess]:
    """Return a running store without faults, its request log empty."""
    _process.clear_faults()
    _process.clear_requests()
    yield _process
    _process.clear_faults()


@pytest.fixture
def other(cluster: StoreProcess) -> Iterator[Bucket]:
    """Return the test's bucket as another client of the cluster sees it."""
    client = Client(cluster.endpoint)
    yield client.bucket(f"unit-{uuid.uuid4().hex[:12]}").create()
    client.close()


@pytest.fixture
def bucket(other: Bucket) -> BucketName:
    """Return the test's bucket, which is empty."""
    return BucketName(other.name)


@pytest.fixture
async def aistore(cluster: StoreProcess) -> AsyncIterator[AISStore]:
    """Return the store as the mount uses it, with limits that tests can wait for."""
    config = StoreConfig(
        cluster.endpoint, connect_timeout_s=1.0, first_byte_timeout_s=0.7, idle_timeout_s=0.7
    )
    made = connect(config)
    yield made
    await made.close()
