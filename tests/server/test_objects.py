"""Objects beyond the recording: streaming, broken uploads, overwrites under readers, pieces."""

import hashlib
import json
import os
import socket
from typing import Any

import pytest

from tests.server import wire
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

BIG = os.urandom(1 << 20) * 24


def path(bucket: str, name: str, *query: str) -> str:
    return "?".join((f"/v1/objects/{bucket}/{name}", "&".join(("provider=ais", *query))))


def owner(store: StoreProcess, target: str) -> tuple[str, str]:
    """Return host and target of the second leg."""
    answer = wire.send(store.endpoint.removeprefix("http://"), "GET", target)
    return wire.split_url(answer.get("Location"))


def connect(host: str) -> socket.socket:
    name, _, port = host.partition(":")
    return socket.create_connection((name, int(port)), timeout=wire.TIMEOUT_S)


@pytest.mark.parametrize("size", [0, 1, 128 << 10, (128 << 10) + 1, (4 << 20) + 3, len(BIG)])
def test_what_was_put_is_got(store: StoreProcess, bucket: str, size: int) -> None:
    target = path(bucket, "x")
    md5 = hashlib.md5(BIG[:size]).hexdigest()
    headers = [("Ais-Checksum-Type", "md5"), ("Ais-Checksum-Value", md5)]
    assert wire.follow(store.endpoint, "PUT", target, headers, BIG[:size]).status == 200
    answer = wire.follow(store.endpoint, "GET", target)
    assert answer.body == BIG[:size]
    assert answer.get("Content-Length") == str(size)
    if size > 100:
        headers = [("Range", f"bytes=10-{size - 10}")]
        part = wire.follow(store.endpoint, "GET", target, headers)
        assert (part.status, part.body) == (206, BIG[10 : size - 9])


@pytest.mark.parametrize("header", [("Connection", "close"), ("Expect", "100-continue")])
def test_gateway_redirects_a_put_before_its_body(
    store: StoreProcess, bucket: str, header: tuple[str, str]
) -> None:
    host = store.endpoint.removeprefix("http://")
    headers = [header, ("Content-Length", "5")]
    first = wire.send(host, "PUT", path(bucket, "x"), headers)
    assert (first.status, first.get("Connection")) == (307, "close")
    host, target = wire.split_url(first.get("Location"))
    assert wire.send(host, "PUT", target, [], b"hello").status == 200


def test_target_asks_for_the_body_with_100_continue(store: StoreProcess, bucket: str) -> None:
    host, target = owner(store, path(bucket, "x"))
    with connect(host) as sock:
        head = f"PUT {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
        sock.sendall(head.encode() + b"\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.sendall(b"hello")
        assert wire.receive(sock, "PUT").status == 200


def test_chunked_upload(store: StoreProcess, bucket: str) -> None:
    headers = [("Transfer-Encoding", "chunked")]
    body = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    assert wire.follow(store.endpoint, "PUT", path(bucket, "x"), headers, body).status == 200
    assert wire.follow(store.endpoint, "GET", path(bucket, "x")).body == b"hello world"


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_broken_upload_keeps_the_old_object(store: StoreProcess, bucket: str, framing: str) -> None:
    wire.follow(store.endpoint, "PUT", path(bucket, "x"), [], b"old")
    host, target = owner(store, path(bucket, "x", "pid=p", "utm=1"))
    with connect(host) as sock:
        sock.sendall(f"PUT {target} HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n".encode())
        sock.sendall(b"5\r\nhello\r\n")
    assert wire.follow(store.endpoint, "GET", path(bucket, "x")).body == b"old"
    assert store.requests()[-1]["method"] == "GET"
    assert not list((store.data / "new").iterdir())


def test_reader_gets_the_old_bytes_to_the_end(store: StoreProcess, bucket: str) -> None:
    """A reader that stalls in the middle sees none of the overwrite, and blocks nobody."""
    wire.follow(store.endpoint, "PUT", path(bucket, "x"), [], BIG)
    host, target = owner(store, path(bucket, "x"))
    with connect(host) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        first = sock.recv(1000)
        for body in (b"new", b"newer"):
            assert wire.follow(store.endpoint, "PUT", path(bucket, "x"), [], body).status == 200
        assert wire.follow(store.endpoint, "DELETE", path(bucket, "x")).status == 200
        received = bytearray(first)
        head, _, _ = first.partition(b"\r\n\r\n")
        while len(received) < len(head) + 4 + len(BIG):
            received += sock.recv(1 << 20)
    assert bytes(received[len(head) + 4 :]) == BIG


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
def test_target_wants_the_markers_of_a_redirect(
    store: StoreProcess, bucket: str, method: str
) -> None:
    host, _ = owner(store, path(bucket, "x"))
    answer = wire.send(host, method, path(bucket, "x"), [], b"{}")
    assert answer.status == 400
    assert b"expected to be redirected" in answer.body


def test_write_at_the_wrong_target_is_refused(store: StoreProcess, bucket: str) -> None:
    host, _ = owner(store, path(bucket, "x"))
    urls = [node["public_net"]["direct_url"] for node in store.smap()["tmap"].values()]
    wrong = next(url for url in urls if not url.endswith(host)).removeprefix("http://")
    target = path(bucket, "x", "pid=p", "utm=1")
    assert wire.send(wrong, "PUT", target, [], b"lost").status == 400
    assert wire.follow(store.endpoint, "GET", path(bucket, "x")).status == 404
    assert wire.send(host, "PUT", target, [], b"found").status == 200
    assert wire.send(wrong, "GET", target).status == 404
    assert wire.send(wrong, "DELETE", target).status == 404


def test_append_starts_from_the_object_as_it_was(store: StoreProcess, bucket: str) -> None:
    wire.follow(store.endpoint, "PUT", path(bucket, "x"), [("Ais-Custom-Md", "k=v")], b"old")
    handle = ""
    for piece in (b"+1", b"+2"):
        query = ("append_type=append", f"append_handle={handle}")
        answer = wire.follow(store.endpoint, "PUT", path(bucket, "x", *query), [], piece)
        handle = answer.get("Ais-Append-Handle").replace("|", "%7C")
    assert wire.follow(store.endpoint, "GET", path(bucket, "x")).body == b"old"
    query = ("append_type=flush", f"append_handle={handle}")
    assert wire.follow(store.endpoint, "PUT", path(bucket, "x", *query), [], b"").status == 200
    answer = wire.follow(store.endpoint, "GET", path(bucket, "x"))
    assert (answer.body, answer.get("Ais-Custom-Md")) == (b"old+1+2", "k=v")
    assert not list((store.data / "work").iterdir())


def test_multipart_of_large_parts(store: StoreProcess, bucket: str) -> None:
    target = path(bucket, "x")
    message = b'{"action":"mpt-upload"}'
    upload = wire.follow(store.endpoint, "POST", target, [], message).body.decode()
    for number in (2, 1):
        part = path(bucket, "x", f"uploadId={upload}", f"partNumber={number}")
        assert wire.follow(store.endpoint, "PUT", part, [], BIG[:: 3 - number]).status == 200
    message = b'{"action":"mpt-complete","value":[{"part-number":2},{"part-number":1}]}'
    complete = path(bucket, "x", f"uploadId={upload}")
    assert wire.follow(store.endpoint, "POST", complete, [], message).status == 200
    answer = wire.follow(store.endpoint, "GET", target)
    assert answer.body == BIG[::2] + BIG
    assert not list((store.data / "work").iterdir())


class Upload:
    """A multipart upload of the object `x`."""

    def __init__(self, store: StoreProcess, bucket: str) -> None:
        self.store, self.bucket = store, bucket
        self.id = self._send("POST", [], b'{"action":"mpt-upload"}').body.decode()

    def _send(self, method: str, query: list[str], body: bytes) -> wire.Answer:
        target = path(self.bucket, "x", *query)
        return wire.follow(self.store.endpoint, method, target, [], body)

    def put(self, number: int, body: bytes, *query: str) -> wire.Answer:
        keys = [f"uploadId={self.id}", f"partNumber={number}", *query]
        return self._send("PUT", keys, body)

    def complete(self, value: Any) -> tuple[int, str]:
        """Return the status, and what a refusal says."""
        message = json.dumps({"action": "mpt-complete", "value": value}).encode()
        answer = self._send("POST", [f"uploadId={self.id}"], message)
        said = json.loads(answer.body)["message"] if answer.body else ""
        return answer.status, said

    def result(self) -> wire.Answer:
        return self._send("GET", [], b"")


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"part-number": number, "etag": ""} for number in numbers]


@pytest.mark.parametrize("value", [[], None, numbered(1)])
def test_an_upload_without_parts_is_never_complete(
    store: StoreProcess, bucket: str, value: Any
) -> None:
    wire.follow(store.endpoint, "PUT", path(bucket, "x"), [], b"old")
    upload = Upload(store, bucket)
    assert upload.complete(value) == (400, "no chunks")
    assert upload.result().body == b"old"
    assert upload.put(1, b"new").status == 200
    assert upload.complete(numbered(1)) == (200, "")
    assert upload.result().body == b"new"


def test_an_upload_with_a_gap_is_not_complete_whatever_is_listed(
    store: StoreProcess, bucket: str
) -> None:
    upload = Upload(store, bucket)
    for number in (4, 1, 2):
        upload.put(number, b"%d" % number)
    refused = (400, "chunk at (2) has invalid number 4 (count=3)")
    for value in (numbered(1, 2, 4), numbered(1, 2), numbered(1, 2, 3, 4), [], None):
        assert upload.complete(value) == refused
    assert upload.result().status == 404
    upload.put(3, b"3")
    assert upload.complete(numbered(3, 1, 4, 2)) == (200, "")
    assert upload.result().body == b"1234"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "nil parts list"),
        ([], "partial completion is not allowed: requested 0 parts, have 2"),
        (numbered(2), "partial completion is not allowed: requested 1 parts, have 2"),
        (numbered(1, 2, 2), "partial completion is not allowed: requested 3 parts, have 2"),
        (numbered(1, 1), "parts must be exactly 1..2: got 1 at position 1"),
        (numbered(2, 2), "parts must be exactly 1..2: got 2 at position 0"),
        (numbered(3, 1), "parts must be exactly 1..2: got 3 at position 1"),
        ([{"part-number": 2}, {}], "parts must be exactly 1..2: got 0 at position 0"),
        ([{"part-number": None}, None], "parts must be exactly 1..2: got 0 at position 0"),
    ],
)
def test_a_completion_lists_each_part_once(
    store: StoreProcess, bucket: str, value: Any, said: str
) -> None:
    upload = Upload(store, bucket)
    for number in (1, 2):
        upload.put(number, b"%d" % number)
    assert upload.complete(value) == (400, said)
    assert upload.result().status == 404
    assert upload.complete([{"Part-Number": 2}, {"part-number": 1, "etag": "any"}]) == (200, "")
    assert upload.result().body == b"12"


@pytest.mark.parametrize(
    "value", ["1", {}, [1], [{"part-number": "1"}], [{"PartNumber": 1}], [{"etag": 5}]]
)
def test_a_list_of_parts_is_read_strictly(store: StoreProcess, bucket: str, value: Any) -> None:
    upload = Upload(store, bucket)
    upload.put(1, b"1")
    assert upload.complete(value)[0] == 400
    assert upload.complete(numbered(1)) == (200, "")


def test_an_append_to_an_upload_is_a_part(store: StoreProcess, bucket: str) -> None:
    upload = Upload(store, bucket)
    appended = upload.put(1, b"one", "append_type=append", "append_handle=")
    assert (appended.status, appended.get("Ais-Append-Handle")) == (200, "")
    assert upload.put(2, b"two").status == 200
    assert upload.put(1, b"more", "append_type=append", "append_handle=").status == 400
    flush = upload.put(1, b"", "append_type=flush", "append_handle=")
    assert flush.status == 400
    assert b"put-part invalid size (0)" in flush.body
    assert upload.result().status == 404
    assert upload.complete(numbered(1, 2)) == (200, "")
    assert upload.result().body == b"onetwo"


def test_a_part_goes_before_a_member(store: StoreProcess, bucket: str) -> None:
    upload = Upload(store, bucket)
    assert upload.put(1, b"part", "archpath=m").status == 200
    assert upload.complete(numbered(1)) == (200, "")
    assert upload.result().body == b"part"


def test_an_abort_drops_the_part_that_is_still_coming_in(store: StoreProcess, bucket: str) -> None:
    target = path(bucket, "x")
    upload = wire.follow(store.endpoint, "POST", target, [], b'{"action":"mpt-upload"}').body
    host, _ = owner(store, target)
    part = path(bucket, "x", f"uploadId={upload.decode()}", "partNumber=1", "pid=p", "utm=1")
    with wire.connection(host, "PUT", part, 1 << 20) as sock:
        sock.sendall(BIG[: 1 << 19])
        wait_until(lambda: any((store.data / "work").iterdir()), "the part is coming in")
        abort = path(bucket, "x", f"uploadId={upload.decode()}")
        message = b'{"action":"mpt-abort"}'
        assert wire.follow(store.endpoint, "DELETE", abort, [], message).status == 200
        sock.sendall(BIG[: 1 << 19])
        assert wire.receive(sock, "PUT").status == 404
    assert not list((store.data / "work").iterdir())


def test_rename_replaces_and_loses_nothing(store: StoreProcess, bucket: str) -> None:
    for name in ("a", "dir/b"):
        wire.follow(store.endpoint, "PUT", path(bucket, name), [], name.encode())
    message = b'{"action":"rename-obj","name":"dir/b"}'
    assert wire.follow(store.endpoint, "POST", path(bucket, "a"), [], message).status == 200
    assert wire.follow(store.endpoint, "GET", path(bucket, "dir/b")).body == b"a"
    assert wire.follow(store.endpoint, "GET", path(bucket, "a")).status == 404
    message = b'{"action":"rename-obj","name":"dir"}'
    assert wire.follow(store.endpoint, "POST", path(bucket, "dir/b"), [], message).status == 200
    assert wire.follow(store.endpoint, "GET", path(bucket, "dir")).body == b"a"


def test_object_and_directory_of_one_name_coexist(store: StoreProcess, bucket: str) -> None:
    for name in ("a/b", "a"):
        answer = wire.follow(store.endpoint, "PUT", path(bucket, name), [], name.encode())
        assert answer.status == 200
    for name in ("a/b", "a"):
        assert wire.follow(store.endpoint, "GET", path(bucket, name)).body == name.encode()


def test_no_name_leaves_the_data_directory(store: StoreProcess, bucket: str) -> None:
    before = {entry.name for entry in store.data.parent.iterdir()}
    for name in ("..%2F..%2Fevil", "%2Fetc%2Fevil", "a%00b", "C:%5Cevil", "x%2F..%2F..%2Fy"):
        wire.follow(store.endpoint, "PUT", path(bucket, name), [], b"x")
    assert {entry.name for entry in store.data.parent.iterdir()} == before
    for file in store.data.rglob("*"):
        assert "evil" not in file.name


def test_version_follows_the_one_announced(store: StoreProcess, bucket: str) -> None:
    headers = [("Ais-Version", "77")]
    answer = wire.follow(store.endpoint, "PUT", path(bucket, "x"), headers, b"1")
    assert answer.get("Ais-Version") == "78"
    answer = wire.follow(store.endpoint, "PUT", path(bucket, "x", "skip_vc=true"), [], b"2")
    assert answer.get("Ais-Version") == "1"


def test_reserved_key_stops_the_counting(store: StoreProcess, bucket: str) -> None:
    wire.follow(store.endpoint, "PUT", path(bucket, "x"), [], b"1")
    message = b'{"value":{"source":"web"}}'
    assert wire.follow(store.endpoint, "PATCH", path(bucket, "x"), [], message).status == 200
    answer = wire.follow(store.endpoint, "PUT", path(bucket, "x"), [], b"2")
    assert answer.get("Ais-Version") == "1"
