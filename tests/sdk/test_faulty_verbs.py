"""Uploads, listings, batches, direct reads and deadlines on a store that fails to order."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from aisfs_sdk import Client, RetryConfig, errors
from aisfs_sdk.retry import deadline
from tests.support.store import StoreProcess

BODY = bytes(range(250)) * 400
OBJECTS, BUCKETS, BATCHES = "^/v1/objects/", "^/v1/buckets/", "^/v1/ml/moss"
TRIES = 3
NAMES = [f"o{number}" for number in range(5)]


@pytest.fixture
def client(store: StoreProcess) -> Client:
    made = Client(
        store.endpoint, retry_config=RetryConfig(TRIES, 0.01, 0.02), timeout=(3, 0.3),
        direct_reads=False,
    )  # fmt: skip
    bucket = made.bucket("verbs").create(exist_ok=True)
    for name in NAMES:
        bucket.object(name).put_content(BODY + name.encode())
    return made


def put(client: Client) -> None:
    client.bucket("verbs").object("new").put_content(BODY)


def listed(client: Client) -> list[str]:
    return [entry.name for entry in client.bucket("verbs").list_all_objects()]


STAYING: list[tuple[Callable[[Client], object], dict[str, Any], type[Exception], int]] = [
    (put, {"method": "PUT", "action": "429"}, errors.UnavailableError, TRIES),
    (put, {"method": "PUT", "action": "error", "status": 503}, errors.UnavailableError, TRIES),
    (put, {"method": "PUT", "action": "error", "status": 403}, errors.AISError, 1),
    (put, {"method": "PUT", "action": "delay", "seconds": 1.0}, requests.Timeout, TRIES),
    (put, {"method": "PUT", "action": "cut-upload", "after_bytes": 999},
     requests.ConnectionError, TRIES),
    (listed, {"path": BUCKETS, "role": "proxy", "action": "429"}, errors.UnavailableError, TRIES),
    # A listing is read by the client itself, so that one that broke off is asked for again.
    (listed, {"path": BUCKETS, "role": "proxy", "action": "cut", "after_bytes": 50},
     requests.RequestException, TRIES),
    (listed, {"path": BUCKETS, "role": "proxy", "action": "corrupt"}, errors.IntegrityError, 1),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "rule", "kind", "tries"), STAYING)
def test_a_fault_that_stays(
    client: Client,
    store: StoreProcess,
    verb: Callable[[Client], object],
    rule: dict[str, Any],
    kind: type[Exception],
    tries: int,
) -> None:
    store.faults([{"method": "GET", "path": OBJECTS, "role": "target", **rule}])
    with pytest.raises(kind, match="verbs"):
        verb(client)
    assert store.struck() == tries


@pytest.mark.parametrize("rule", [
    {"action": "429"}, {"action": "error", "status": 503}, {"action": "cut"},
    {"action": "cut-upload", "after_bytes": 999},
], ids=lambda rule: "-".join(map(str, rule.values())))  # fmt: skip
def test_an_upload_that_fails_once_is_stored_whole(
    client: Client, store: StoreProcess, rule: dict[str, Any]
) -> None:
    item = client.bucket("verbs").object(f"once-{'-'.join(map(str, rule.values()))}")
    store.faults([{"method": "PUT", "path": OBJECTS, "role": "target", "times": 1, **rule}])
    item.put_content(BODY)
    assert store.struck() == 1
    assert item.get().read_all() == BODY


def test_an_upload_that_breaks_leaves_what_was_there(client: Client, store: StoreProcess) -> None:
    item = client.bucket("verbs").object("o0")
    store.faults([{"method": "PUT", "path": OBJECTS, "role": "target", "action": "cut-upload",
                   "after_bytes": 999}])  # fmt: skip
    with pytest.raises(requests.ConnectionError):
        item.put_content(b"other" * 10_000)
    assert item.get().read_all() == BODY + b"o0"


@pytest.mark.parametrize("rule", [
    {"action": "cut", "after_bytes": 150_000}, {"action": "corrupt"},
    {"action": "error", "status": 400},
], ids=lambda rule: "-".join(map(str, rule.values())))  # fmt: skip
def test_a_batch_that_breaks_is_completed(
    client: Client, store: StoreProcess, rule: dict[str, Any]
) -> None:
    store.faults([{"method": "GET", "path": BATCHES, "times": 1, **rule}])
    batch = client.batch(NAMES, client.bucket("verbs"))
    assert [data for _, data in batch.get()] == [BODY + name.encode() for name in NAMES]
    assert store.struck() == 1


def test_direct_reads_that_fail_go_by_the_gateway(client: Client, store: StoreProcess) -> None:
    direct = Client(store.endpoint, retry_config=RetryConfig(TRIES, 0.01, 0.02), timeout=(3, 0.3))
    direct.cluster().get_info()
    item = direct.bucket("verbs").object("o1")
    store.faults([{"method": "GET", "path": OBJECTS, "role": "target", "action": "error",
                   "status": 503, "times": 1}])  # fmt: skip
    assert item.get().read_all() == BODY + b"o1"
    store.faults([{"method": "GET", "path": OBJECTS, "role": "target", "action": "error",
                   "status": 503}])  # fmt: skip
    with pytest.raises(errors.UnavailableError):
        item.get()
    # Each try asks the owner, and then the gateway, which sends it there again.
    assert store.struck() == 2 * TRIES


@pytest.mark.parametrize("rule", [
    {"action": "429"}, {"action": "delay", "seconds": 1.0},
], ids=lambda rule: str(rule["action"]))  # fmt: skip
def test_a_deadline_ends_the_tries(store: StoreProcess, rule: dict[str, Any]) -> None:
    patient = Client(store.endpoint, retry_config=RetryConfig(1000, 0.05, 0.05))
    item = patient.bucket("verbs").create(exist_ok=True).object("o1")
    store.faults([{"method": "GET", "path": OBJECTS, "role": "target", **rule}])
    began = time.monotonic()
    with deadline(0.5), pytest.raises((errors.UnavailableError, requests.RequestException)):
        item.get()
    assert time.monotonic() - began < 5
    assert 1 <= store.struck() < 30
