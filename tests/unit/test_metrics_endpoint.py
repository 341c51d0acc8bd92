"""Scraping over HTTP: one path, and clients that harm nobody but themselves."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from aisfs import metrics_endpoint
from aisfs.config import ConfigError, parse_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TEXT = "# TYPE a counter\na 1\n" * 5000


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
async def port(nursery: trio.Nursery) -> AsyncIterator[int]:
    number = free_port()
    listeners = await metrics_endpoint.listen(f"{number}")
    nursery.start_soon(metrics_endpoint.serve, listeners, lambda: TEXT)
    yield number
    nursery.cancel_scope.cancel()


async def ask(port: int, request: bytes) -> bytes:
    """Return all that comes in answer to a request."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(request)
        answer = b""
        while part := await stream.receive_some():
            answer += bytes(part)
        return answer


GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_metrics_are_what_is_shown(port: int) -> None:
    head, _, body = (await ask(port, GET)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"text/plain; version=0.0.4" in head
    assert body.decode() == TEXT
    assert (await ask(port, GET.replace(b"/metrics", b"/metrics?a=b"))).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../etc HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * (1 << 16), 400),
    ],
)
async def test_anything_else_is_refused(port: int, request_: bytes, status: int) -> None:
    try:
        answer = await ask(port, request_)
    except (trio.BrokenResourceError, OSError):
        answer = b""  # what was too much is not read, and the connection is reset
    assert answer.startswith(b"HTTP/1.1 %d " % status) or (not answer and len(request_) > 1 << 15)
    assert (await ask(port, GET)).endswith(TEXT.encode())


async def test_silent_clients_keep_nobody_out_for_long(port: int) -> None:
    silent = [
        await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3 * metrics_endpoint.CLIENTS)
    ]
    with trio.fail_after(6 * metrics_endpoint.LIMIT_S):
        while True:
            try:
                if (await ask(port, GET)).endswith(TEXT.encode()):
                    break
            except (trio.BrokenResourceError, OSError):
                pass
            await trio.sleep(0.2)
    for stream in silent:
        await stream.aclose()


async def test_a_client_that_goes_in_the_middle_harms_nobody(port: int) -> None:
    for _ in range(20):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(GET)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await trio.aclose_forcefully(stream)
    assert (await ask(port, GET)).endswith(TEXT.encode())


async def test_a_port_in_use_is_told_in_words() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"{address} \(.*in use.*\): give a free port"):
            await metrics_endpoint.listen(address)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9101", ("127.0.0.1", 9101)),
        (":9101", ("127.0.0.1", 9101)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:9101", ("::1", 9101)),
        ("host-1.example:9", ("host-1.example", 9)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["", "host", "host:", "1:2:3", "host:0", "host:65536", "h:1/x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        parse_address(text)
