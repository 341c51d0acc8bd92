"""HTTP with another AIS cluster: one request on a connection of its own, redirects followed.

Blocking, for the threads of registry.py. A body goes out only to the node that takes it: the
gateway is asked first with headers alone, as AIS's own clients do.
"""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisfs.server.http.errors import AisError

TIMEOUT_S = 20.0
"""Seconds that a remote node may be silent."""

CONNECT_TIMEOUT_S = 3.0
PIECE = 1 << 20
_MAX_HOPS = 4
_REDIRECTS = {301, 302, 307, 308}


@dataclass(slots=True)
class Answer:
    """A reply whose body is not read yet. `headers` have lower-case names; the first counts."""

    status: int
    headers: dict[str, str]
    reply: http.client.HTTPResponse
    exchange: "Exchange"

    def body(self) -> bytes:
        """Read the body.

        Raises:
            AisError: 410, the connection broke.
        """
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield the body.

        Raises:
            AisError: 410, the connection broke or the body ended early.
        """
        try:
            while piece := self.reply.read(PIECE):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise self.exchange.offline(error) from error


class Exchange:
    """Speaks with the nodes of one cluster.

    Attributes:
        url: Base URL of its gateway.
        label: The cluster, for messages.
    """

    def __init__(self, url: str, label: str) -> None:
        self.url = url.rstrip("/")
        self.label = label
        self._open: set[http.client.HTTPConnection] = set()

    def close(self) -> None:
        """Break all connections, so that threads that wait for answers end."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                if connection.sock is not None:
                    connection.sock.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def request(
        self,
        method: str,
        target: str,
        message: Mapping[str, Any] | None = None,
        *,
        source: Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Answer]:
        """Send a request and yield the last answer.

        Args:
            method: HTTP method.
            target: Path and query, encoded.
            message: JSON body.
            source: File to send as the body instead.
            headers: More headers.

        Raises:
            AisError: 410, the cluster cannot be reached or breaks off.
        """
        body = b"" if message is None else json.dumps(message).encode()
        request = _Request(method, target, headers or {}, source, body)
        try:
            connection, reply = self._final_reply(request)
        except (OSError, http.client.HTTPException) as error:
            raise self.offline(error) from error
        try:
            fields: dict[str, str] = {}
            for name, value in reply.getheaders():
                fields.setdefault(name.lower(), _text(value))
            yield Answer(reply.status, fields, reply, self)
        finally:
            self._drop(connection)

    def _final_reply(
        self, request: "_Request"
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send to the gateway, then to where it redirects to."""
        url, target = self.url, request.target
        for hop in range(_MAX_HOPS):
            connection = self._connect(url)
            try:
                reply = request.send(connection, target, last=hop > 0 or request.source is None)
                location = reply.getheader("Location")
                if reply.status not in _REDIRECTS or not location:
                    return connection, reply
            except BaseException:
                self._drop(connection)
                raise
            self._drop(connection)
            url, target = _redirected(location, request.target)
        raise ConnectionError("too many redirects")

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        self._open.discard(connection)
        connection.close()

    def _connect(self, url: str) -> http.client.HTTPConnection:
        scheme, _, rest = url.partition("://")
        host = rest.partition("/")[0]
        kinds: dict[str, type[http.client.HTTPConnection]] = {
            "http": http.client.HTTPConnection,
            "https": http.client.HTTPSConnection,
        }
        if scheme not in kinds:
            raise ConnectionError(f"no http address: {url}")
        connection = kinds[scheme](host, timeout=CONNECT_TIMEOUT_S)
        connection.connect()
        connection.sock.settimeout(TIMEOUT_S)
        self._open.add(connection)
        return connection

    def offline(self, error: Exception) -> AisError:
        """Return the refusal for a cluster that does not answer."""
        return AisError(
            410, f"{self.label}: cannot reach {self.url}: {error}", "ErrRemoteBucketOffline"
        )


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    target: str
    headers: Mapping[str, str]
    source: Path | None
    body: bytes

    def send(
        self, connection: http.client.HTTPConnection, target: str, *, last: bool
    ) -> http.client.HTTPResponse:
        """Send head and body; of a file only the head until the request is where it belongs."""
        connection.putrequest(self.method, target, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        size = len(self.body) if self.source is None else self.source.stat().st_size
        if size or self.source is not None:
            connection.putheader("Content-Length", str(size))
        connection.putheader("Connection", "close")
        connection.endheaders(self.body or None)
        if self.source is not None and last:
            with self.source.open("rb", buffering=0) as file:
                while piece := file.read(PIECE):
                    connection.send(piece)
        return connection.getresponse()


def _redirected(location: str, target: str) -> tuple[str, str]:
    """Return where to go on: the node and its markers are the redirect's, the path stays ours.

    AIS 3.17 mangles names in the paths of its redirects.
    """
    scheme, _, rest = location.partition("://")
    host, _, path = rest.partition("/")
    query = path.partition("?")[2].split("&")
    markers = [pair for pair in query if pair.startswith(("pid=", "utm="))]
    separator = "&" if "?" in target else "?"
    return f"{scheme}://{host}", target + separator + "&".join(markers)


def _text(value: str) -> str:
    """Return a header's value as text; http.client decodes as latin-1 what AIS sends as UTF-8."""
    return value.encode("latin-1").decode("utf-8", "surrogateescape")
