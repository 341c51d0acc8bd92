"""GetBatch beyond the recording: formats, sizes, order, what is missing or out of bounds."""

import json
import os
import time
from typing import Any

import pytest

from tests.server import samples, wire
from tests.support.store import StoreProcess


def put(store: StoreProcess, bucket: str, name: str, body: bytes) -> None:
    target = f"/v1/objects/{bucket}/{name}?provider=ais"
    assert wire.follow(store.endpoint, "PUT", target, [], body).status == 200


def batch(
    store: StoreProcess, bucket: str, items: list[dict[str, Any]], **keys: Any
) -> wire.Answer:
    message = json.dumps({"strm": True, **keys, "in": items}).encode()
    return wire.follow(store.endpoint, "GET", f"/v1/ml/moss/{bucket}", [], message)


@pytest.mark.parametrize("mime", [".tar", ".tgz", ".tar.gz", ".zip", ".tar.lz4"])
def test_order_is_that_of_the_request(store: StoreProcess, bucket: str, mime: str) -> None:
    bodies = {f"o{number:03}": os.urandom(number * 37) for number in range(60)}
    for name, body in bodies.items():
        put(store, bucket, name, body)
    names = sorted(bodies, reverse=True)
    items: list[dict[str, Any]] = [{"objname": name} for name in names]
    answer = batch(store, bucket, items, mime=mime, onob=True)
    assert samples.members_of(answer.body) == [(name, bodies[name]) for name in names]


@pytest.mark.parametrize("suffix", [".tar", ".tgz", ".zip", ".tar.lz4"])
def test_ranges_of_members_of_every_format(store: StoreProcess, bucket: str, suffix: str) -> None:
    put(store, bucket, f"s{suffix}", samples.archive_of(suffix))
    item: dict[str, Any] = {"objname": f"s{suffix}", "archpath": "img/1.json"}
    items: list[dict[str, Any]] = [
        item,
        {**item, "start": 1, "length": 3},
        {**item, "start": 5, "length": -1},
    ]
    answer = batch(store, bucket, items, onob=True)
    assert answer.status == 200, answer
    bodies = [body for _, body in samples.members_of(answer.body)]
    assert bodies == [b'{"a":1}', b'"a"', b"1}"]


def test_large_objects_are_streamed_and_multipart_alike(store: StoreProcess, bucket: str) -> None:
    big = os.urandom(1 << 20) * 30
    put(store, bucket, "big", big)
    items: list[dict[str, Any]] = [
        {"objname": "big"},
        {"objname": "big", "start": 5, "length": 1 << 20},
    ]
    expected = [("big", big), ("big", big[5 : 5 + (1 << 20)])]
    streamed = batch(store, bucket, items, onob=True)
    assert samples.members_of(streamed.body) == expected
    whole = batch(store, bucket, items, onob=True, strm=False)
    boundary = whole.get("Content-Type").partition("boundary=")[2].encode()
    parts = whole.body.split(b"--" + boundary)
    assert samples.members_of(parts[2].partition(b"\r\n\r\n")[2][:-2]) == expected


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("coer", [True, False])
@pytest.mark.parametrize(("start", "length"), [(2, 400), (11, -1), (400, -1), (0, 12)])
def test_ranges_out_of_bounds_are_refused(
    store: StoreProcess, bucket: str, streamed: bool, coer: bool, start: int, length: int
) -> None:
    put(store, bucket, "a", b"hello world")
    items: list[dict[str, Any]] = [
        {"objname": "a"},
        {"objname": "a", "start": start, "length": length},
    ]
    answer = batch(store, bucket, items, strm=streamed, coer=coer)
    assert answer.status == 400
    assert json.loads(answer.body)["tcode"] == "ErrRangeNotSatisfiable"


def test_broken_archive_is_a_missing_item(store: StoreProcess, bucket: str) -> None:
    put(store, bucket, "bad.tar", b"x" * 2000)
    put(store, bucket, "good", b"y")
    items: list[dict[str, Any]] = [{"objname": "bad.tar", "archpath": "m"}, {"objname": "good"}]
    answer = batch(store, bucket, items, coer=True, onob=True)
    assert samples.members_of(answer.body) == [("__404__/bad.tar/m", b""), ("good", b"y")]


@pytest.mark.parametrize(
    "body",
    [b"[]", b'{"in":5}', b'{"in":[5]}', b'{"in":[{"objname":5}]}', b'{"in":[{"objname":"a"', b"nul",
     b'{"in":[{"objname":"a","opaque":"*"}]}', b'{"in":[{"objname":"a","start":"1"}]}',
     b'{"in":[{"objname":"a","archpath":"../x"}]}', b'{"in":[{"objname":"a","start":-1}]}'],
)  # fmt: skip
def test_bad_requests_are_refused(store: StoreProcess, bucket: str, body: bytes) -> None:
    answer = wire.follow(store.endpoint, "GET", f"/v1/ml/moss/{bucket}", [], body)
    assert answer.status == 400


def ask(store: StoreProcess, what: str, **query: Any) -> Any:
    body = json.dumps(query).encode()
    answer = wire.follow(store.endpoint, "GET", f"/v1/cluster?what={what}", [], body)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def snapshots(store: StoreProcess, bucket: str) -> list[dict[str, Any]]:
    """Return what is told of the jobs that read batches from a bucket (empty: from any)."""
    found = ask(store, "qryxstats", Kind="get-batch").values()
    return [snap for snaps in found for snap in snaps if snap["bck"]["name"] == bucket]


def stop(store: StoreProcess, job: str) -> None:
    message = json.dumps({"action": "stop", "value": {"ID": job, "Kind": "get-batch"}}).encode()
    assert wire.follow(store.endpoint, "PUT", "/v1/cluster", [], message).status == 200


def test_batches_of_a_bucket_are_one_job_while_it_is_alive(
    store: StoreProcess, bucket: str
) -> None:
    put(store, bucket, "a", b"12345")
    assert snapshots(store, bucket) == []
    items: list[dict[str, Any]] = [{"objname": "a"}, {"objname": "a"}]
    assert batch(store, bucket, items).status == 200
    answer = batch(store, bucket, items, strm=False)
    (snap,) = snapshots(store, bucket)
    job = snap["id"]
    assert job.startswith("gbt-")
    assert f'"uuid":"{job}"'.encode() in answer.body
    assert f"get-batch[{job}]" in ask(store, "running_all", kind="get-batch")
    assert (snap["end-time"], snap["is_idle"]) == ("0001-01-01T00:00:00Z", True)
    assert (snap["stats"]["loc-objs"], snap["stats"]["loc-bytes"]) == ("4", "20")
    batch(store, "", [{"objname": "a", "bucket": bucket}])
    (without,) = snapshots(store, "")
    assert without["id"] != job
    stop(store, job)
    (snap,) = snapshots(store, bucket)
    assert (snap["aborted"], snap["abort-err"]) == (True, "user abort")
    assert f"get-batch[{job}]" not in ask(store, "running_all")
    batch(store, bucket, [{"objname": "a"}])
    assert len(snapshots(store, bucket)) == 2


def test_a_redirect_of_an_aborted_job_is_refused(store: StoreProcess, bucket: str) -> None:
    put(store, bucket, "a", b"12345")
    message = b'{"strm":true,"in":[{"objname":"a"}]}'
    host = store.endpoint.removeprefix("http://")
    answer = wire.send(host, "GET", f"/v1/ml/moss/{bucket}", [], message)
    (snap,) = snapshots(store, bucket)
    assert snap["id"] in answer.get("Location")
    stop(store, snap["id"])
    target, path = wire.split_url(answer.get("Location"))
    refused = wire.send(target, "GET", path, [], message)
    assert (refused.status, json.loads(refused.body)["message"]) == (400, "user abort")


def test_an_abort_cuts_the_batch_that_is_being_sent(store: StoreProcess, bucket: str) -> None:
    put(store, bucket, "big", bytes(32 << 20))
    message = b'{"strm":true,"in":[{"objname":"big"},{"objname":"big"}]}'
    host = store.endpoint.removeprefix("http://")
    answer = wire.send(host, "GET", f"/v1/ml/moss/{bucket}", [], message)
    target, path = wire.split_url(answer.get("Location"))
    with wire.connection(target, "GET", path, len(message)) as sock:
        sock.sendall(message)
        assert sock.recv(1 << 10).startswith(b"HTTP/1.1 200")
        (snap,) = snapshots(store, bucket)
        assert (snap["is_idle"], snap["aborted"]) == (False, False)
        stop(store, snap["id"])
        received = 0
        try:
            while piece := sock.recv(1 << 20):
                received += len(piece)
        except ConnectionResetError:
            pass
        assert received < 32 << 20
    deadline = time.monotonic() + wire.TIMEOUT_S
    while not snap["is_idle"] and time.monotonic() < deadline:
        (snap,) = snapshots(store, bucket)
    assert (snap["aborted"], snap["abort-err"]) == (True, "user abort")
