"""A tiny HTTP server that misbehaves to order.

Each request is given to a function of the test, which returns what to send, byte for byte, and what
to do with the connection afterwards. Questions for the release are answered here, so that tests see
only the requests they are about.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

RELEASE = b'{"ais_version":"5.0."}'


@dataclass
class Request:
    """What came: `body` holds as many bytes as were announced, if the function wants them."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Reply:
    """Bytes to send, then: "keep" or "close" the connection, or "hang" until the end."""

    data: bytes
    then: str = "keep"


def http(
    status: int, body: bytes = b"", *headers: str, length: int | None = None, then: str = "keep"
) -> Reply:
    """Return a reply; `length` announces another one than the body has."""
    lines = [
        f"HTTP/1.1 {status} Status",
        f"Content-Length: {len(body) if length is None else length}",
    ]
    return Reply("\r\n".join([*lines, *headers, "", ""]).encode() + body, then)


@dataclass
class Wire:
    """The server: `with Wire(function) as wire: Client(wire.endpoint) …`.

    Attributes:
        reads_body: tells for a request whether its body is to be read before the function is asked.
        requests: all that came, but questions for the release.
    """

    answer: Callable[[Request], Reply]
    release: bytes | None = RELEASE
    context: ssl.SSLContext | None = None
    reads_body: Callable[[Request], bool] = lambda request: True
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if self.context else "http"
        self.endpoint = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        # A blocked accept(2) wakes up by a shutdown, not by a close.
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in self._open:
            _shut(connection)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listener.close()

    def _start(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            with connection.makefile("rb") as reader:
                while (request := self._read(reader)) is not None:
                    reply = self._reply(request)
                    connection.sendall(reply.data)
                    if reply.then == "hang":
                        self._over.wait()
                    if reply.then != "keep":
                        break
        except OSError:
            pass  # the client went away
        finally:
            _shut(connection)
            connection.close()

    def _read(self, reader: object) -> Request | None:
        line = reader.readline()  # type: ignore[attr-defined]
        if not line:
            return None
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = {}
        while (line := reader.readline().rstrip()) != b"":  # type: ignore[attr-defined]
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        request = Request(method, target, headers)
        if self.reads_body(request):
            request.body = reader.read(int(headers.get("content-length", 0)))  # type: ignore[attr-defined]
        return request

    def _reply(self, request: Request) -> Reply:
        if self.release is not None and "/v1/daemon?what=node_status" in request.target:
            return http(200, self.release)
        self.requests.append(request)
        return self.answer(request)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
