"""A store that fails to order: the right exception, the right number of tries, no false data."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from aisfs_sdk import Client, RetryConfig, errors
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Callable

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


FAULTS: list[tuple[dict[str, Any], type[Exception], int]] = [
    ({"action": "429"}, errors.UnavailableError, TRIES),
    ({"action": "error", "status": 503}, errors.UnavailableError, TRIES),
    ({"action": "error", "status": 403}, errors.AISError, 1),
    # Nothing came yet, so the request is sent again.
    ({"action": "delay", "seconds": 1.0}, requests.Timeout, TRIES),
    ({"action": "stall", "seconds": 1.0}, requests.Timeout, 1),
    ({"action": "stall", "seconds": 1.0, "after_bytes": 1000}, requests.Timeout, 1),
    ({"action": "cut", "after_bytes": 1000}, errors.IntegrityError, 1),
    ({"action": "corrupt", "after_bytes": 1000}, errors.ChecksumError, 1),
    ({"action": "wrong-checksum"}, errors.ChecksumError, 1),
]


@pytest.mark.parametrize(("rule", "kind", "tries"), FAULTS, ids=lambda one: str(one)[:40])
def test_a_fault_that_stays(
    client: Client, store: StoreProcess, rule: dict[str, Any], kind: type[Exception], tries: int
) -> None:
    store.faults([{"method": "GET", "path": PATH, "role": "target", **rule}])
    began = time.monotonic()
    with pytest.raises(kind):
        read(client)
    assert time.monotonic() - began < 30
    assert store.struck() == tries
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


@pytest.mark.parametrize("how", ["pieces", "file", "into"])
def test_a_changed_byte_is_noticed_however_it_is_read(
    client: Client, store: StoreProcess, how: str
) -> None:
    store.faults([{"method": "GET", "path": PATH, "role": "target", "action": "corrupt"}])
    reader = client.bucket("faults").object("o").get(chunk_size=1000)
    ways: dict[str, Callable[[], object]] = {
        "pieces": lambda: list(reader),
        "file": lambda: reader.as_file().read(),
        "into": lambda: reader.readinto(bytearray(len(BODY))),
    }
    with pytest.raises(errors.ChecksumError, match="GET ais://faults/o"):
        ways[how]()
    assert store.struck() == 1
    # Who does not want to know does not pay.
    assert len(client.bucket("faults").object("o").get(verify=False).read_all()) == len(BODY)


def test_a_listing_that_takes_too_long_goes_on_in_smaller_pages(
    client: Client, store: StoreProcess
) -> None:
    store.faults([{"method": "GET", "path": "^/v1/buckets/", "role": "proxy", "action": "delay",
                   "seconds": 1.0, "times": TRIES}])  # fmt: skip
    assert [entry.name for entry in client.bucket("faults").list_all_objects()] == ["o"]
    assert store.struck() == TRIES
    store.faults([{"method": "GET", "path": "^/v1/buckets/", "action": "delay", "seconds": 1.0}])
    with pytest.raises(requests.Timeout):
        client.bucket("faults").list_all_objects(page_size=1000)
    assert store.struck() == TRIES


def test_redirects_without_end(client: Client, store: StoreProcess) -> None:
    store.faults([{"method": "GET", "path": PATH, "role": "proxy", "action": "redirect-loop"}])
    with pytest.raises(requests.TooManyRedirects):
        read(client)
    assert store.struck() < 40


def test_a_map_that_the_cluster_has_left_behind(tmp_path: Path) -> None:
    with StoreProcess(tmp_path / "data", targets=4) as store:
        client = Client(store.endpoint, retry_config=RetryConfig(TRIES, 0.01, 0.02))
        bucket = client.bucket("moved").create()
        names = [f"o{number}" for number in range(20)]
        for name in names:
            bucket.object(name).put_content(name.encode())
        client.cluster().get_info()
        store.restart(targets=1)
        store.clear_requests()
        assert [bucket.object(name).get().read_all().decode() for name in names] == names
        (target,) = store.smap()["tmap"]
        seen = [one for one in store.requests() if one["path"].startswith("/v1/objects/moved/")]
        assert {one["node"] for one in seen if one["status"] == 200} == {target}
        # The read that found its target gone went by the gateway; the next one renewed the map.
        assert sum(one["status"] == 301 for one in seen) == 1


def test_a_token_that_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    current, ours = tmp_path / "current", tmp_path / "ours"
    for file in (current, ours):
        file.write_text("first-token-" + "1" * 32)
        file.chmod(0o600)
    monkeypatch.setenv("AIS_AUTHN_TOKEN_FILE", str(ours))
    arguments = ("--require-token", "--token-file", str(current))
    with StoreProcess(tmp_path / "data", extra=arguments, faults=False) as store:
        client = Client(store.endpoint, retry_config=RetryConfig(TRIES, 0.01, 0.02))
        bucket = client.bucket("guarded").create()
        bucket.object("o").put_content(BODY)
        current.write_text("second-token-" + "2" * 32)
        store.restart()
        store.log_path.write_text("")
        with pytest.raises(errors.AuthError) as caught:
            bucket.object("o").get()
        assert "token-1" not in str(caught.value)
        assert statuses(store) == [401]
        ours.write_text(current.read_text())
        assert bucket.object("o").get().read_all() == BODY
        assert statuses(store).count(401) == 1


def statuses(store: StoreProcess) -> list[int]:
    """Return what requests for objects were answered with."""
    lines = [json.loads(line) for line in store.log_path.read_text().splitlines()]
    return [one["status"] for one in lines if one["path"].startswith("/v1/objects/")]


def test_a_target_that_refuses_direct_reads(client: Client, store: StoreProcess) -> None:
    direct = Client(store.endpoint, retry_config=RetryConfig(TRIES, 0.01, 0.02))
    direct.cluster().get_info()
    store.faults([{"method": "GET", "path": PATH, "role": "target", "action": "refuse-direct"}])
    assert read(direct) == BODY
