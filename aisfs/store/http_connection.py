"""The least of HTTP/1.1 that small requests need, on non-blocking sockets of the event loop.

Serves `loop_client` and what goes by it. Bodies have a known length and are received straight into
their buffer; whatever else a server may do is `Malformed`, or not asked for.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from aisfs_sdk import const

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD_SIZE = 64 << 10
"""Bytes of a receive that has no place in a page yet: heads, and small bodies with them."""

_STEP = 128 << 10
"""Most bytes of one receive: a first read is answered when so much is there."""


class Malformed(ValueError):
    """What came is no answer of HTTP/1.1 that can be read here."""


class Head(dict[str, str]):
    """Status and headers of an answer; names in any case.

    Attributes:
        status: HTTP status.
        length: bytes of the body, -1 if that is not announced.
    """

    def __init__(self, data: bytes) -> None:
        first, *rows = data.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if version != "HTTP/1.1" or not rest[:3].isdigit():
            raise Malformed(f"no answer of HTTP/1.1: {first[:40]!r}")
        self.status = int(rest[:3])
        self._repeated: dict[str, list[str]] = {}
        fields: dict[str, str] = {}
        for row in rows:
            name, colon, value = row.partition(":")
            if not colon:
                raise Malformed(f"no header: {row[:40]!r}")
            key, value = name.lower(), value.strip()
            if key in fields:
                self._repeated.setdefault(key, [fields[key]]).append(value)
            else:
                fields[key] = value
        super().__init__(fields)
        length = self.get(const.HEADER_CONTENT_LENGTH, "")
        self.length = int(length) if length.isascii() and length.isdigit() else -1

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        """Return a header's value; of one that is repeated, the first."""
        return super().get(name.lower(), default)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def getlist(self, name: str) -> list[str]:
        """Return each line of a header that may be repeated, in the order received."""
        key = name.lower()
        if key in self._repeated:
            return self._repeated[key]
        return [self[key]] if key in self else []


class Connection:
    """One connection to one node: a request, its head, its body, and again.

    Attributes:
        base: URL of the node.
        rested_at: when it became idle.
    """

    def __init__(self, sock: socket.socket, base: str) -> None:
        self.base = base
        self.rested_at = 0.0
        self._sock = sock
        self._own_headers = (
            f"Host: {urlsplit(base).netloc}\r\n{const.HEADER_USER_AGENT}: {const.USER_AGENT}\r\n"
        )
        self._received = bytearray(_HEAD_SIZE)
        self._begin = 0
        self._end = 0

    @classmethod
    async def open(cls, base: str, context: ssl.SSLContext) -> Connection:
        """Connect to a node. `OSError` if it cannot be reached or trusted."""
        parts = urlsplit(base)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        sock = await _connect(host, port)
        if not secure:
            return cls(sock, base)
        secured = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        try:
            await _when_ready(secured, secured.do_handshake)
        except BaseException:
            secured.close()
            raise
        return cls(secured, base)

    def request(self, target: str, headers: str, method: str = "GET") -> str:
        """Return a request as it is sent."""
        return f"{method} {target} HTTP/1.1\r\n{self._own_headers}{headers}\r\n"

    async def send(self, requests: str, body: bytes = b"") -> None:
        """Send one request with its body, or several without whose answers come in their order."""
        left = memoryview(requests.encode("latin-1") + body)
        while left:
            part = left[:]
            left = left[await _when_ready(self._sock, lambda: self._sock.send(part), write=True) :]  # noqa: B023

    async def head(self) -> Head:
        """Receive the head of the next answer."""
        received = self._received
        searched = self._begin
        while True:
            at = received.find(b"\r\n\r\n", searched, self._end)
            if at >= 0:
                head = Head(bytes(received[self._begin : at]))
                self._begin = at + 4
                return head
            searched = max(self._end - 3, self._begin)
            if self._end == len(received):
                if self._begin == 0:
                    raise Malformed("the head is too long")
                received[: self._end - self._begin] = received[self._begin : self._end]
                self._end -= self._begin
                searched -= self._begin
                self._begin = 0
            self._end += await self._receive(memoryview(received)[self._end :])

    async def body(self, buffer: memoryview, progress: Callable[[int], None] | None = None) -> None:
        """Receive a body that fills the buffer. `OSError` if it ends early."""
        here = min(self._end - self._begin, len(buffer))
        buffer[:here] = memoryview(self._received)[self._begin : self._begin + here]
        self._begin += here
        if self._begin == self._end:
            self._begin = self._end = 0
        while here < len(buffer):
            if progress is not None and here:
                progress(here)
                await trio.lowlevel.checkpoint()  # whoever waits for these bytes has them first
            here += await self._receive(buffer[here : here + _STEP])

    @property
    def received(self) -> int:
        """Bytes that came beyond what was read of the answers."""
        return self._end - self._begin

    @property
    def at_rest(self) -> bool:
        """Whether nothing came beyond the answers that were read."""
        return self._begin == self._end

    async def _receive(self, into: memoryview) -> int:
        count = await _when_ready(self._sock, lambda: self._sock.recv_into(into))
        if count == 0:
            raise OSError("the connection was closed")
        return count

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


async def _connect(host: str, port: int) -> socket.socket:
    """Return a non-blocking socket that is connected.

    Cluster maps give addresses more often than names; trio's race between the addresses of a name
    costs several turns of the loop before it sends anything.
    """
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        stream = await trio.open_tcp_stream(host, port)
        sock = socket.socket(fileno=stream.socket.detach())
        sock.setblocking(False)
        return sock
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex((host, port))
        if code == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


async def _when_ready(
    sock: socket.socket, operation: Callable[[], int | None], *, write: bool = False
) -> int:
    """Do a socket operation as soon as that is possible; without waiting if it is now."""
    while True:
        try:
            return operation() or 0
        except ssl.SSLWantReadError:
            write = False
        except ssl.SSLWantWriteError:
            write = True
        except BlockingIOError:
            pass
        if write:
            await trio.lowlevel.wait_writable(sock)
        else:
            await trio.lowlevel.wait_readable(sock)
