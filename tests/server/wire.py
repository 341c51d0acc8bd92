"""HTTP as tests want it: target and headers go out as given, the answer comes back raw."""

import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

TIMEOUT_S = 20.0


@dataclass
class Answer:
    """A reply; `status` 0 means that the connection ended without one.

    `short`: the connection ended before as many bytes came as were announced.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    short: bool = False

    def get(self, name: str) -> str:
        """Return a header, empty if absent."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


def send(
    host: str,
    method: str,
    target: str,
    headers: list[tuple[str, str]] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Send one request on a connection of its own.

    `body` None sends no length; with a Transfer-Encoding header the body goes out as it is.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers or []]
    chunked = any(name.lower() == "transfer-encoding" for name, _ in headers or [])
    if body is not None and not chunked:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=TIMEOUT_S) as sock:
        sock.sendall(head + (body or b""))
        return receive(sock, method)


def receive(sock: socket.socket, method: str) -> Answer:
    """Read one reply from a connection."""
    reply = http.client.HTTPResponse(sock, method=method)
    short = False
    try:
        reply.begin()
        body, short = _read_body(reply)
    except (http.client.HTTPException, ConnectionError) as error:
        return Answer(0, [], repr(error).encode())
    headers = [
        (name, value.encode("latin-1").decode("utf-8", "surrogateescape"))
        for name, value in reply.getheaders()
    ]
    return Answer(reply.status, headers, body, short)


def _read_body(reply: http.client.HTTPResponse) -> tuple[bytes, bool]:
    """Return what comes of a body, and whether it ends before its announced length."""
    length = reply.length
    try:
        return reply.read(), False
    except http.client.IncompleteRead as error:
        if length is None:  # chunked: no end is no answer
            raise
        return error.partial, True


def follow(
    endpoint: str,
    method: str,
    target: str,
    headers: list[tuple[str, str]] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Send a request and follow its redirects; returns the last answer."""
    return hops(endpoint, method, target, headers, body)[-1]


def hops(
    endpoint: str,
    method: str,
    target: str,
    headers: list[tuple[str, str]] | None = None,
    body: bytes | None = None,
) -> list[Answer]:
    """Send a request and follow its redirects, blanks encoded as HTTP libraries do.

    Returns all answers.
    """
    host = endpoint.removeprefix("http://")
    answers = [send(host, method, target, headers, body)]
    while answers[-1].status in {301, 307} and len(answers) < 5:
        host, target = split_url(answers[-1].get("Location"))
        target = target.replace(" ", "%20")
        answers.append(send(host, method, target, headers, body))
    return answers


def follow_by_markers(endpoint: str, method: str, target: str, body: bytes | None = None) -> Answer:
    """Send a request and follow one redirect, of which only host and markers are taken.

    So gateways of 3.17 can be used for all names, whose redirects have the name unencoded.
    """
    answer = send(endpoint.removeprefix("http://"), method, target, [], body)
    if answer.status not in {301, 307}:
        return answer
    host, location = split_url(answer.get("Location"))
    markers = re.findall(r"[?&]((?:pid|utm)=[^&]*)", location)
    separator = "&" if "?" in target else "?"
    return send(host, method, f"{target}{separator}{'&'.join(markers)}", [], body)


def wait_for_job(endpoint: str, job: str) -> dict[str, Any]:
    """Wait until a job has ended and return its status."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        query = json.dumps({"ID": job}).encode()
        answer = follow(endpoint, "GET", "/v1/cluster?what=status", [], query)
        if answer.status == 400 and job.encode() in answer.body:  # 3.17: it failed
            return {"err": json.loads(answer.body)["message"], "end_time": 1, "aborted": False}
        assert answer.status == 200, answer
        status: dict[str, Any] = json.loads(answer.body)
        if status["end_time"]:
            return status
        time.sleep(0.01)
    raise AssertionError(f"job {job} does not end")


def split_url(url: str) -> tuple[str, str]:
    """Return host:port and request target of an http URL, nothing decoded."""
    host, slash, rest = url.removeprefix("http://").partition("/")
    return host, slash + rest


def unquoted(name: str) -> str:
    """Return a percent-encoded name decoded, bytes that are no UTF-8 as surrogates."""
    return unquote(name, errors="surrogateescape")


@contextlib.contextmanager
def connection(host: str, method: str, target: str, length: int = 0) -> Iterator[socket.socket]:
    """Open a connection and send the head of a request that announces a body of `length`."""
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=TIMEOUT_S) as sock:
        sock.sendall(
            f"{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        yield sock
