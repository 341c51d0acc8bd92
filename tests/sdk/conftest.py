"""A cluster for the SDK's tests: the one named by AIS_ENDPOINT, else a store of their own."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs_sdk import Bucket

AIS_ENDPOINT = os.environ.get("AIS_ENDPOINT", "")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AIS_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    if AIS_ENDPOINT:
        yield AIS_ENDPOINT
    else:
        with StoreProcess() as store:
            yield store.endpoint


@pytest.fixture(scope="session")
def faulty() -> Iterator[StoreProcess]:
    """A store of our own, whatever AIS_ENDPOINT says: it fails on request."""
    with StoreProcess() as store:
        yield store


@pytest.fixture
def store(faulty: StoreProcess) -> Iterator[StoreProcess]:
    faulty.clear_faults()
    faulty.clear_requests()
    yield faulty
    faulty.clear_faults()


@pytest.fixture
def client(endpoint: str) -> Iterator[Client]:
    made = Client(endpoint)
    yield made
    made.close()


@pytest.fixture
def bucket(client: Client) -> Iterator[Bucket]:
    made = client.bucket(f"sdk-{uuid.uuid4().hex[:12]}").create()
    yield made
    made.delete(missing_ok=True)
