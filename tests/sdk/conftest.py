"""A cluster for the SDK's tests: the one named by AIS_ENDPOINT, else a store of their own."""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import TYPE_CHECKING

import pytest
import requests

from aisfs_sdk import Client
from tests.sdk.evidence import LEDGER
from tests.sdk.servers import Server
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs_sdk import Bucket

AIS_ENDPOINT = os.environ.get("AIS_ENDPOINT", "")
SETTLE_S = 60


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AIS_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _settled(request: pytest.FixtureRequest) -> None:
    """Give a real cluster time to end the rebalancing that a renamed bucket leaves.

    Clusters of 2023 refuse copies and renaming meanwhile. It may go on for minutes: whether that
    matters, the test shows.
    """
    if not AIS_ENDPOINT or not {"endpoint", "server"} & set(request.fixturenames):
        return
    question = {"kind": "rebalance", "node": "", "show_active": True}
    end = time.monotonic() + SETTLE_S
    while (
        time.monotonic() < end
        and requests.get(
            f"{AIS_ENDPOINT}/v1/cluster?what=running_all", data=json.dumps(question), timeout=30
        ).json()
    ):
        time.sleep(0.5)


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


@pytest.fixture(scope="module", params=LEDGER.servers)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A cluster of each release that runs everything, or the one that AIS_ENDPOINT names."""
    LEDGER.server = request.param
    if AIS_ENDPOINT:
        release = "5.0" if Client(AIS_ENDPOINT).era.version >= (4, 0) else "3.17"
        yield Server(AIS_ENDPOINT, release)
        return
    folder, cloud = tmp_path_factory.mktemp("promoted"), tmp_path_factory.mktemp("cloud")
    extra = (
        "--compat", request.param, "--allow-etl", "--promote-root", str(folder),
        "--remote", f"aws://cloud={cloud}",
    )  # fmt: skip
    with StoreProcess(extra=extra) as store:
        token = (store.data / "token").read_text().strip()
        yield Server(store.endpoint, request.param, token, folder, cloud)


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of `server` where a test asks for it, else of `endpoint`."""
    if "server" in request.fixturenames:
        server: Server = request.getfixturevalue("server")
        made = Client(server.endpoint, token=server.token)
    else:
        made = Client(request.getfixturevalue("endpoint"))
    yield made
    made.close()


@pytest.fixture
def bucket(client: Client) -> Iterator[Bucket]:
    made = client.bucket(f"sdk-{uuid.uuid4().hex[:12]}").create()
    yield made
    made.delete(missing_ok=True)
