"""A store for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.support.store import StoreProcess


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    with StoreProcess() as process:
        yield process


@pytest.fixture
def bucket(store: StoreProcess, request: pytest.FixtureRequest) -> str:
    """An empty bucket for one test."""
    name = f"b{abs(hash(request.node.nodeid)) % 10**12}"
    store.create_bucket(name)
    return name
