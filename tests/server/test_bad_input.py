"""Input that breaks servers is refused, and the store goes on serving."""

import json
import socket

import pytest

from tests.server import wire
from tests.support.store import StoreProcess


@pytest.fixture
def host(store: StoreProcess, bucket: str) -> str:
    put = f"/v1/objects/{bucket}/x?provider=ais"
    assert wire.follow(store.endpoint, "PUT", put, [], b"hello").status == 200
    return store.endpoint.removeprefix("http://")


def alive(store: StoreProcess, bucket: str) -> bool:
    return wire.follow(store.endpoint, "GET", f"/v1/objects/{bucket}/x").body == b"hello"


def list_status(host: str, bucket: str, body: bytes) -> int:
    return wire.send(host, "GET", f"/v1/buckets/{bucket}", [], body).status


@pytest.mark.parametrize(
    "value",
    [
        '{"pagesize":-1}', '{"pagesize":"5"}', '{"pagesize":1.5}', '{"pagesize":true}',
        '{"flags":0}', '{"flags":"-1"}', '{"flags":"²"}',
        '{"props":["name"]}', '{"prefix":7}', '{"prefix":"a/../b"}', '{"nope":1}', "[]", '"x"', "7",
    ],
)  # fmt: skip
def test_bad_list_values(store: StoreProcess, bucket: str, host: str, value: str) -> None:
    assert list_status(host, bucket, f'{{"action":"list","value":{value}}}'.encode()) == 400
    assert alive(store, bucket)


@pytest.mark.parametrize(
    "value",
    ["{}", '{"pagesize":0}', '{"pagesize":9999999999}', '{"pagesize":99999999999999999999999}'],
)
def test_odd_list_values_that_are_fine(bucket: str, host: str, value: str) -> None:
    assert list_status(host, bucket, f'{{"action":"list","value":{value}}}'.encode()) == 200


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"action":7}', b'{"action":"list","name":[]}',
        b'{"action":"list","value":{"prefix":"\xff"}}',
    ],
)  # fmt: skip
def test_bad_messages(store: StoreProcess, bucket: str, host: str, body: bytes) -> None:
    answer = wire.send(host, "POST", f"/v1/buckets/{bucket}", [], body)
    assert answer.status == 400
    assert json.loads(answer.body)["status"] == 400
    assert alive(store, bucket)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("bytes=", 200), ("bytes=,", 200), ("bytes=-", 416), ("bytes=9-", 416), ("bytes=1-0", 416),
        ("bytes=" + "9" * 5000 + "-", 416), ("bytes=0-" + "9" * 30, 416), ("bytes=²-3", 416),
        ("bytes=0-0," * 1000, 416), ("bytes=-" + "9" * 18, 206),
    ],
)  # fmt: skip
def test_ranges(store: StoreProcess, bucket: str, host: str, header: str, status: int) -> None:
    target = f"/v1/objects/{bucket}/x"
    answer = wire.follow(store.endpoint, "GET", target, [("Range", header)])
    assert answer.status == status
    assert wire.follow(store.endpoint, "PUT", target, [], b"hello").status == 200


def raw(host: str, data: bytes) -> bytes:
    """Send bytes and return what comes until the connection ends."""
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=wire.TIMEOUT_S) as sock:
        sock.sendall(data)
        received = b""
        while piece := sock.recv(1 << 16):
            received += piece
        return received


@pytest.mark.parametrize(
    "data",
    [
        b"\0\1\2\3\r\n\r\n",
        b"GET /v1/buckets HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n",
        b"GET /v1/buckets HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(
    store: StoreProcess, bucket: str, host: str, data: bytes
) -> None:
    assert raw(host, data)[:10] in {b"HTTP/1.1 4", b"HTTP/1.0 4"}
    assert alive(store, bucket)


def test_a_body_that_cannot_fit_is_refused_at_once(
    store: StoreProcess, bucket: str, host: str
) -> None:
    target = f"/v1/objects/{bucket}/x?provider=ais"
    owner, path = wire.split_url(wire.send(host, "PUT", target, [], b"").get("Location"))
    with wire.connection(owner, "PUT", path, 1 << 60) as sock:
        answer = wire.receive(sock, "PUT")
    assert (answer.status, json.loads(answer.body)["tcode"]) == (507, "ErrCapExceeded")
    assert alive(store, bucket)


def test_clients_that_go_away_leave_no_trace(store: StoreProcess, bucket: str, host: str) -> None:
    target = f"/v1/objects/{bucket}/x?provider=ais"
    owner, path = wire.split_url(wire.send(host, "PUT", target, [], b"").get("Location"))
    with wire.connection(owner, "PUT", path, 1000) as sock:
        sock.sendall(b"part")
    assert alive(store, bucket)
    assert store.stderr() == ""


@pytest.mark.parametrize(
    "custom", ["a\x01b=c", "=v", "novalue", "k=" + "v" * 2048, "é" * 1024 + "=v"]
)
def test_bad_custom_metadata(store: StoreProcess, bucket: str, host: str, custom: str) -> None:
    headers = [("Ais-Custom-Md", custom)]
    target = f"/v1/objects/{bucket}/y?provider=ais"
    assert wire.follow(store.endpoint, "PUT", target, headers, b"x").status == 400
    assert wire.follow(store.endpoint, "GET", target).status == 404


def test_header_values_cannot_inject_headers(store: StoreProcess, bucket: str, host: str) -> None:
    target = f"/v1/objects/{bucket}/x?provider=ais"
    message = json.dumps({"value": {"k": "a\r\nX-Injected: 1"}}).encode()
    assert wire.follow(store.endpoint, "PATCH", target, [], message).status == 200
    answer = wire.follow(store.endpoint, "HEAD", target)
    assert answer.get("X-Injected") == ""
    assert answer.get("Ais-Custom-Md") == "k=a  X-Injected: 1"
