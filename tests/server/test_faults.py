"""Injected faults do what their rules say, and only to the requests they name."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.server import wire
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

BODY = bytes(range(256)) * 1200


@pytest.fixture
def target(store: StoreProcess, bucket: str) -> Iterator[str]:
    """An object's path; no fault outlives the test."""
    path = f"/v1/objects/{bucket}/x?provider=ais"
    assert wire.follow(store.endpoint, "PUT", path, [], BODY).status == 200
    yield path
    store.clear_faults()


def get(store: StoreProcess, target: str) -> wire.Answer:
    return wire.follow(store.endpoint, "GET", target)


def received(sock: socket.socket) -> bytes:
    """Return what comes until the end of a connection; a reset is an end, too."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(1 << 16):
            data += piece
    return data


def test_error_strikes_so_many_times(store: StoreProcess, target: str) -> None:
    rule = {"action": "error", "status": 503, "role": "target", "method": "GET", "times": 2}
    store.faults([rule])
    assert [get(store, target).status for _ in range(3)] == [503, 503, 200]


def test_error_is_ais_json(store: StoreProcess, target: str) -> None:
    store.faults([{"action": "error", "role": "proxy", "path": "^/v1/objects"}])
    answer = get(store, target)
    assert (answer.status, json.loads(answer.body)["status"]) == (500, 500)
    assert wire.follow(store.endpoint, "GET", "/v1/daemon?what=smap").status == 200


def test_429(store: StoreProcess, target: str) -> None:
    store.faults([{"action": "429"}])
    assert get(store, target).status == 429


@pytest.mark.parametrize("after", [0, 1000, 200_000])
def test_cut_sends_so_much_of_the_body(store: StoreProcess, target: str, after: int) -> None:
    store.faults([{"action": "cut", "role": "target", "after_bytes": after}])
    host, path = wire.split_url(
        wire.send(store.endpoint.removeprefix("http://"), "GET", target).get("Location")
    )
    with wire.connection(host, "GET", path) as sock:
        data = received(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(BODY)}".encode() in head
    assert body == BODY[:after]


@pytest.mark.parametrize("after", [0, 1000])
def test_short_is_a_whole_answer_with_less_in_it(
    store: StoreProcess, target: str, after: int
) -> None:
    whole = get(store, target)
    store.faults([{"action": "short", "role": "target", "after_bytes": after}])
    answer = get(store, target)
    assert (answer.status, answer.body) == (200, BODY[:after])
    assert answer.get("Content-Length") == str(after)
    assert answer.get("Ais-Checksum-Value") == whole.get("Ais-Checksum-Value") != ""


def test_cut_without_a_body_loses_the_answer_but_not_the_work(
    store: StoreProcess, target: str
) -> None:
    store.faults([{"action": "cut", "role": "target", "method": "PUT", "times": 1}])
    assert wire.follow(store.endpoint, "PUT", target, [], b"new").status == 0
    assert get(store, target).body == b"new"


def test_cut_upload_keeps_the_old_object(store: StoreProcess, target: str) -> None:
    rule = {"action": "cut-upload", "role": "target", "method": "PUT", "after_bytes": 10}
    store.faults([{**rule, "times": 1}])
    host = store.endpoint.removeprefix("http://")
    location = wire.send(host, "PUT", target, [], b"").get("Location")
    host, path = wire.split_url(location)
    with wire.connection(host, "PUT", path, 100) as sock:
        sock.sendall(b"x" * 10)
        assert not received(sock)
    assert get(store, target).body == BODY


def test_stall_and_delay_take_their_time(store: StoreProcess, target: str) -> None:
    for rule in (
        {"action": "stall", "role": "target", "after_bytes": 10, "seconds": 0.3},
        {"action": "delay", "role": "target", "seconds": 0.3},
    ):
        store.faults([rule])
        started = time.monotonic()
        assert get(store, target).body == BODY
        assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("answers", [False, True])
def test_held_until_the_rules_are_replaced(store: StoreProcess, target: str, answers: bool) -> None:
    """Neither is another request held, nor does what is held keep it waiting."""
    statuses = []

    def put() -> None:
        statuses.append(wire.follow(store.endpoint, "PUT", target, [], b"new").status)

    putting = threading.Thread(target=put)
    with store.holding(method="PUT", role="target", answers=answers):
        putting.start()
        wait_until(store.held, "the request is held")
        if answers:
            wait_until(lambda: get(store, target).body == b"new", "the work is done")
        else:
            assert get(store, target).body == BODY
        assert statuses == []
    putting.join()
    assert statuses == [200]
    assert get(store, target).body == b"new"


def test_corrupt_changes_one_bit(store: StoreProcess, target: str) -> None:
    store.faults([{"action": "corrupt", "role": "target", "after_bytes": 700}])
    body = get(store, target).body
    assert len(body) == len(BODY)
    assert [i for i, pair in enumerate(zip(body, BODY, strict=True)) if pair[0] != pair[1]] == [700]


def test_wrong_checksum_is_announced_for_the_right_body(store: StoreProcess, target: str) -> None:
    right = get(store, target).get("Ais-Checksum-Value")
    store.faults([{"action": "wrong-checksum", "role": "target"}])
    answer = get(store, target)
    wrong = answer.get("Ais-Checksum-Value")
    assert (answer.body, len(wrong)) == (BODY, len(right))
    assert wrong != right


def test_slow_page_comes_whole_but_late(store: StoreProcess, target: str) -> None:
    listing = target.replace("objects", "buckets").replace("/x", "")
    body = json.dumps({"action": "list", "value": {"uuid": "abcdefghi"}}).encode()
    plain = wire.follow(store.endpoint, "GET", listing, [], body)
    store.faults([{"action": "slow", "path": "^/v1/buckets/", "seconds": 0.3}])
    started = time.monotonic()
    assert wire.follow(store.endpoint, "GET", listing, [], body).body == plain.body
    assert time.monotonic() - started >= 0.3


def test_refused_direct_access_spares_what_was_redirected(store: StoreProcess, target: str) -> None:
    store.faults([{"action": "refuse-direct", "role": "target"}])
    location = wire.send(store.endpoint.removeprefix("http://"), "GET", target).get("Location")
    host, redirected = wire.split_url(location)
    assert wire.send(host, "GET", redirected).body == BODY
    refused = wire.send(host, "GET", target)
    assert (refused.status, b"direct target access denied" in refused.body) == (403, True)


def test_redirect_loop_leads_nowhere_else(store: StoreProcess, target: str) -> None:
    store.faults([{"action": "redirect-loop", "method": "GET", "role": "proxy"}])
    answer = wire.send(store.endpoint.removeprefix("http://"), "GET", target)
    assert answer.get("Location") == store.endpoint + target


def test_probability_is_repeatable(store: StoreProcess, target: str) -> None:
    rule = {"action": "error", "role": "target", "probability": 0.5, "seed": 7}
    runs = []
    for _ in range(2):
        store.faults([rule])
        runs.append([get(store, target).status for _ in range(12)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


@pytest.mark.parametrize(
    "rules",
    [
        '{"action":"cut"}',
        '[{"action":"nope"}]',
        '[{"action":"cut","bogus":1}]',
        '[{"path":"("}]',
        "x",
    ],
)
def test_bad_rules_are_refused_and_old_ones_stay(
    store: StoreProcess, target: str, rules: str
) -> None:
    store.faults([{"action": "error", "role": "target"}])
    answer = wire.follow(store.endpoint, "PUT", "/v1/faults", [], rules.encode())
    assert answer.status == 400
    assert get(store, target).status == 500


def test_faults_are_off_unless_asked_for() -> None:
    with StoreProcess(faults=False) as plain:
        answer = wire.follow(plain.endpoint, "PUT", "/v1/faults", [], b'[{"action":"cut"}]')
        assert answer.status == 400
        plain.create_bucket("b")
