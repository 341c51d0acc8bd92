"""A store that fails to order: the right exception, the right number of tries, no false data."""

import time
from typing import Any

import pytest
import requests

from aisfs_sdk import Client, RetryConfig, errors
from tests.support.store import StoreProcess

BODY = bytes(range(250)) * 400
PATH = "^/v1/objects/"
TRIES = 3


@pytest.fixture
def client(store: StoreProcess) -> Client:
    made = Client(
        store.endpoint, retry_config=RetryConfig(TRIES, 0.01, 0.02), timeout=(3, 0.3),
        direct_reads=False,
    )  # fmt: skip
    made.bucket("faults").create(exist_ok=True).object("o").put_content(BODY)
    return made


def read(client: Client) -> bytes:
    return client.bucket("faults").object("o").get().read_all()


def tried(store: StoreProcess) -> int:
    """Return how often the target was asked: the gateway answers with redirects."""
    asked = [one for one in store.requests() if one["path"].startswith("/v1/objects/")]
    return sum(one["status"] not in {301, 307} for one in asked)


FAULTS: list[tuple[dict[str, Any], type[Exception], int]] = [
    ({"action": "429"}, errors.UnavailableError, TRIES),
    ({"action": "error", "status": 503}, errors.UnavailableError, TRIES),
    ({"action": "error", "status": 403}, errors.AISError, 1),
    ({"action": "stall", "seconds": 1.0}, requests.RequestException, TRIES),
]


@pytest.mark.parametrize(("rule", "kind", "tries"), FAULTS, ids=lambda one: str(one)[:40])
def test_a_fault_that_stays(
    client: Client, store: StoreProcess, rule: dict[str, Any], kind: type[Exception], tries: int
) -> None:
    store.clear_requests()
    store.faults([{"method": "GET", "path": PATH, "role": "target", **rule}])
    began = time.monotonic()
    with pytest.raises(kind):
        read(client)
    assert time.monotonic() - began < 30
    if rule["action"] != "stall":
        assert tried(store) == tries
    store.clear_faults()
    assert read(client) == BODY


@pytest.mark.parametrize("rule", [
    {"action": "429"}, {"action": "error", "status": 503}, {"action": "cut"},
    {"action": "cut", "after_bytes": 1000},
], ids=lambda rule: "-".join(map(str, rule.values())))  # fmt: skip
def test_a_fault_that_passes(client: Client, store: StoreProcess, rule: dict[str, Any]) -> None:
    store.faults([{"method": "GET", "path": PATH, "role": "target", "times": 1, **rule}])
    try:
        assert read(client) == BODY
    except (errors.IntegrityError, requests.ConnectionError):
        # What began to arrive is not asked for again behind the reader's back.
        assert rule["action"] == "cut"
    assert read(client) == BODY


@pytest.mark.parametrize("at", [0, 1000])
def test_a_body_that_is_always_cut_is_never_whole(
    client: Client, store: StoreProcess, at: int
) -> None:
    store.faults([{"method": "GET", "path": PATH, "role": "target", "action": "cut",
                   "after_bytes": at}])  # fmt: skip
    with pytest.raises((errors.IntegrityError, requests.ConnectionError)):
        read(client)


def test_redirects_without_end(client: Client, store: StoreProcess) -> None:
    store.faults([{"method": "GET", "path": PATH, "role": "proxy", "action": "redirect-loop"}])
    with pytest.raises(requests.TooManyRedirects):
        read(client)


def test_a_target_that_refuses_direct_reads(client: Client, store: StoreProcess) -> None:
    direct = Client(store.endpoint, retry_config=RetryConfig(TRIES, 0.01, 0.02))
    direct.cluster().get_info()
    store.faults([{"method": "GET", "path": PATH, "role": "target", "action": "refuse-direct"}])
    assert read(direct) == BODY
