"""The connections: one pool of them per client, how bodies go out, and TLS.

`request_client.py` alone uses it. The pool belongs to a `requests.Session` whose environment is not
trusted (`REQUESTS_CA_BUNDLE`, `.netrc` and proxy variables would otherwise win over what the client
was told), so that callers who need a plain session share its connections. Requests of this package
take the short way past it, straight to the pool: half the cost of `Session.request`.
"""

from __future__ import annotations

import io
import os
import ssl
import threading
from typing import IO, TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3 import exceptions as lib
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Timeout

from aisfs_sdk import const
from aisfs_sdk.errors import IntegrityError
from aisfs_sdk.traffic import NO_ANSWER, Traffic

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    from urllib3 import BaseHTTPResponse

    from aisfs_sdk.retry import Deadline

BLOCK = 1 << 20
"""Bytes per send. Larger ones are no faster on loopback, smaller ones cost CPU (256 KiB: +10 %)."""

_SENDFILE_SLICE = 16 << 20
"""Bytes per sendfile(2) call, between looks at the deadline."""

_HOSTS = 1024
"""Nodes whose connections are kept: above the size of any cluster."""


CHUNKED = "chunked"
"""What stands for a length that is not known yet: such a body is sent in chunks.

As the value of `Content-Length`, because urllib3 leaves bodies alone that have one, and would put
the bytes of others into chunks by itself, through two copies.
"""


class _Sending(HTTPConnection):
    """A connection that lets bodies of its own kind write themselves."""

    def __str__(self) -> str:
        # Stands in the texts of errors.
        return f"{self.host}:{self.port}"

    def putheader(self, header: str | bytes, *values: Any) -> None:
        """Send a header."""
        super().putheader(*_framing(header, values))

    def send(self, data: Any) -> None:
        """Send a block, or let a body part send itself."""
        if isinstance(data, _Part):
            assert self.sock is not None  # the headers went out just before
            data.send_to(self.sock)
        else:
            super().send(data)


class _SendingTLS(HTTPSConnection):
    """The same over TLS."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def putheader(self, header: str | bytes, *values: Any) -> None:
        """Send a header."""
        super().putheader(*_framing(header, values))

    def send(self, data: Any) -> None:
        """Send a block, or let a body part send itself."""
        if isinstance(data, _Part):
            assert self.sock is not None  # the headers went out just before
            data.send_to(self.sock)
        else:
            super().send(data)


def _framing(header: str | bytes, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a header as it goes out."""
    if values == (CHUNKED,) and header == const.HEADER_CONTENT_LENGTH:
        return const.HEADER_TRANSFER_ENCODING, CHUNKED
    return header, *values


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Sending


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _SendingTLS

    def _validate_conn(self, conn: Any) -> None:
        # As above, but for the warning with every request: who switched verification off knows.
        if conn.is_closed:
            conn.connect()


class Body:
    """What a request uploads: bytes, or a part of a seekable file.

    It can be sent again: each sending starts at the same place of the source.

    Attributes:
        size: in bytes; None if it is not known yet.
    """

    def __init__(self, source: bytes | bytearray | memoryview | IO[bytes], size: int) -> None:
        """Take what is to be sent; a file from its current position."""
        self.size: int | None = size
        if isinstance(source, bytes | bytearray | memoryview):
            self._view: memoryview | None = memoryview(source).cast("B")
            self._file: IO[bytes] | None = None
            self._start = 0
            if len(self._view) != size:
                msg = f"the body has {len(self._view)} bytes, not {size}"
                raise ValueError(msg)
        else:
            self._view = None
            self._file = source
            self._start = source.tell()

    @property
    def length(self) -> str:
        """What to announce as its length."""
        return str(self.size)

    def part(self, idle_s: float | None, deadline: Deadline) -> _Part:
        """Return the body ready to be sent once.

        Args:
            idle_s: longest time in which the peer takes no byte.
            deadline: when sending is to end.
        """
        return _Part(self, idle_s, deadline)


class GrowingBody(Body):
    """What a request uploads of a file to which somebody else still writes, from its start.

    Attributes:
        sent: bytes that went out in the last sending.
    """

    def __init__(self, source: IO[bytes], available: Callable[[int], int | None]) -> None:
        """Take what is to be sent.

        Args:
            source: the file.
            available: called with how many bytes went out, waits until there are more, and returns
                how many there are from the start; None if that was all. What it raises cuts the
                connection, so that the cluster drops what it got.
        """
        super().__init__(source, 0)
        self.size = None
        self._start = 0
        self.sent = 0
        self._available = available

    @property
    def length(self) -> str:
        """What to announce as its length."""
        return CHUNKED

    def part(self, idle_s: float | None, deadline: Deadline) -> _Part:
        """Return the body ready to be sent once; see `Body.part`."""
        return _GrowingPart(self, idle_s, deadline)


class _Part:
    """One sending of a body. Sockets are written with their own timeout per block, not in all."""

    def __init__(self, body: Body, idle_s: float | None, deadline: Deadline) -> None:
        self._body = body
        self._idle_s = idle_s
        self._deadline = deadline

    @property
    def sent(self) -> int:
        """Bytes of a body that went out whole."""
        return self._body.size or 0

    def send_to(self, sock: socket.socket) -> None:
        """Write everything; raise `TimeoutError` when the peer takes nothing for too long."""
        body = self._body
        assert body.size is not None  # a growing one has a part of its own
        if body._view is not None:
            left = body._view
            while left:
                some = self._may_send(sock, min(len(left), BLOCK))
                sock.sendall(left[:some])
                left = left[some:]
        elif body._file is not None:
            self._send_file(sock, body._file, body._start, body.size)

    def _send_file(self, sock: socket.socket, file: IO[bytes], offset: int, size: int) -> None:
        if _sendfile_works(sock, file):
            self._sendfile(sock, file, offset, size)
        else:
            self._send_blocks(sock, file, offset, size)

    def _may_send(self, sock: socket.socket, most: int) -> int:
        """Wait until some bytes may be sent, make the socket ready, and return how many."""
        some = self._deadline.let_pass(most)
        self._arm(sock)
        return some

    def _arm(self, sock: socket.socket) -> None:
        if self._deadline.over:
            msg = "the deadline is over"
            raise TimeoutError(msg)
        sock.settimeout(self._deadline.limit(self._idle_s))

    def _sendfile(self, sock: socket.socket, file: IO[bytes], offset: int, size: int) -> None:
        left = size
        while left:
            some = self._may_send(sock, min(left, _SENDFILE_SLICE))
            sent = sock.sendfile(file, offset, some)
            if not sent:
                raise self._short(left, size)
            offset += sent
            left -= sent

    def _send_blocks(self, sock: socket.socket, file: IO[bytes], offset: int, size: int) -> None:
        left = size
        file.seek(offset)
        while left:
            block = file.read(self._may_send(sock, min(left, BLOCK)))
            if not block:
                raise self._short(left, size)
            sock.sendall(block)
            left -= len(block)

    @staticmethod
    def _short(left: int, size: int) -> IntegrityError:
        # The announced length is not reached and the connection is cut: the cluster drops the body.
        return IntegrityError(0, f"the source ended {left} of {size} bytes early")


class _GrowingPart(_Part):
    """One sending of a body that still grows."""

    _body: GrowingBody

    @property
    def sent(self) -> int:
        """Bytes that went out."""
        return self._body.sent

    def send_to(self, sock: socket.socket) -> None:
        """Write chunk by chunk what becomes available, and the last chunk only when all is there.

        HTTP: RFC 9112, 7.1.
        """
        body = self._body
        assert body._file is not None
        body.sent = 0
        while (end := body._available(body.sent)) is not None:
            size = end - body.sent
            self._arm(sock)
            sock.sendall(b"%x\r\n" % size)
            self._send_file(sock, body._file, body.sent, size)
            sock.sendall(b"\r\n")
            body.sent = end
        self._arm(sock)
        sock.sendall(b"0\r\n\r\n")


def _sendfile_works(sock: socket.socket, file: IO[bytes]) -> bool:
    if isinstance(sock, ssl.SSLSocket):
        return False
    try:
        file.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return False
    return True


class _Adapter(HTTPAdapter):
    """Requests' way to the pool, with our connections and our one TLS context."""

    def __init__(self, pool_size: int, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=_HOSTS, pool_maxsize=pool_size)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any
    ) -> None:
        """Make the pool; the number of connections in use is not limited, only those kept."""
        self._tls(pool_kwargs)
        super().init_poolmanager(connections, maxsize, block=block, **pool_kwargs)
        self._ours(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Make the pool of connections through one proxy."""
        if proxy not in self.proxy_manager:
            self._tls(proxy_kwargs)
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        self._ours(manager)
        return manager

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave trust to the context: requests would add its own bundle of authorities."""

    def get_connection_with_tls_context(
        self,
        request: Any,
        verify: Any,  # noqa: ARG002 - the context decides
        proxies: Any = None,
        cert: Any = None,  # noqa: ARG002 - the context has it
    ) -> HTTPConnectionPool:
        """Return the pool for a request of a plain session."""
        return self.pool(request.url, proxies)[0]

    def pool(self, url: str, proxies: Mapping[str, str] | None) -> tuple[HTTPConnectionPool, bool]:
        """Return the pool for a URL, and whether requests in it name the whole URL."""
        proxy = select_proxy(url, dict(proxies)) if proxies else None
        if proxy:
            manager = self.proxy_manager_for(proxy)
            return manager.connection_from_url(url), url.startswith("http:")
        return self.poolmanager.connection_from_url(url), False

    def _tls(self, options: dict[str, Any]) -> None:
        options["ssl_context"] = self._context
        # urllib3 sets the context's mode from this; a context alone would be made to verify again.
        options["cert_reqs"] = self._context.verify_mode
        if not self._context.check_hostname:
            options["assert_hostname"] = False

    @staticmethod
    def _ours(manager: Any) -> None:
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}


def tls_context(
    *, skip_verify: bool, ca_cert: str | None, client_cert: tuple[str, str | None] | None
) -> ssl.SSLContext:
    """Return the context of all TLS connections of a client.

    Args:
        skip_verify: trust any certificate.
        ca_cert: file of authorities to trust instead of the system's.
        client_cert: files of our own certificate and its key.

    Raises:
        OSError: a file cannot be read or does not hold what it should.
    """
    context = ssl.create_default_context(cafile=None if skip_verify else ca_cert)
    if skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_cert is not None:
        context.load_cert_chain(*client_cert)
    return context


class Transport:
    """One process's connections to one cluster.

    Thread-safe. After fork(2) the child makes its own connections: sockets must not be shared.

    Attributes:
        traffic: counts what goes over them.
    """

    def __init__(self, pool_size: int, context: ssl.SSLContext) -> None:
        self._pool_size = pool_size
        self.context = context
        self.traffic = Traffic()
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        session = requests.Session()
        session.trust_env = False
        session.verify = self.context.verify_mode is not ssl.CERT_NONE
        self._adapter = _Adapter(self._pool_size, self.context)
        session.mount("http://", self._adapter)
        session.mount("https://", self._adapter)
        self._session = session
        self._pools: dict[str, HTTPConnectionPool] = {}
        self._pid = os.getpid()

    @property
    def session(self) -> requests.Session:
        """The session that owns the connections of this process."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._start()
        return self._session

    def close(self) -> None:
        """Close idle connections; those in use are closed when they are given back."""
        self.session.close()
        self._pools.clear()

    def exchange(
        self,
        method: str,
        base: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | _Part | None,
        timeout: tuple[float | None, float | None],
    ) -> BaseHTTPResponse:
        """Send one request and return the answer with its body unread.

        Args:
            method: HTTP method.
            base: scheme, host and port of the node.
            target: path and query, encoded.
            headers: may hold one name several times (`urllib3.HTTPHeaderDict`).
            body: bytes, a part that writes itself, or nothing.
            timeout: seconds to connect, and seconds without a byte from the peer.

        Raises:
            urllib3.exceptions.HTTPError, OSError: `request_client.network_error` translates them.
        """
        session = self.session
        pool = self._pools.get(base) if not session.proxies else None
        whole_url = False
        if pool is None:
            pool, whole_url = self._adapter.pool(base, session.proxies)
            if not session.proxies:
                self._pools[base] = pool
        status = NO_ANSWER
        try:
            raw = pool.urlopen(
                method,
                base + target if whole_url else target,
                body=[body] if isinstance(body, _Part) else body,  # type: ignore[list-item]
                headers=headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=Timeout(connect=timeout[0], read=timeout[1]),
                preload_content=False,
                decode_content=False,
            )
            status = raw.status
        except lib.ClosedPoolError:
            self._pools.pop(base, None)
            raise
        finally:
            self.traffic.answered(method, target, status)
        self.traffic.sent(body.sent if isinstance(body, _Part) else len(body or b""))
        return raw

    @property
    def idle_connections(self) -> int:
        """How many connections wait for a request."""
        queues = [pool.pool for pool in tuple(self._pools.values())]
        return sum(
            sum(each is not None for each in tuple(queue.queue)) for queue in queues if queue
        )

    def as_response(
        self, method: str, url: str, raw: BaseHTTPResponse, content: bytes | None
    ) -> requests.Response:
        """Return an answer in the form that requests hands out.

        Args:
            method: HTTP method of the request.
            url: where the answer came from.
            raw: the answer.
            content: the body, if it was read already.
        """
        request = requests.PreparedRequest()
        request.method, request.url = method, url
        # Without the headers that were sent: they may hold the token.
        request.headers = requests.structures.CaseInsensitiveDict()
        request._cookies = self._session.cookies  # type: ignore[attr-defined]
        response = self._adapter.build_response(request, raw)
        if content is not None:
            response._content = content
            response._content_consumed = True  # type: ignore[attr-defined]
        return response


def lines(headers: Any, name: str) -> Iterator[str]:
    """Yield each line of a header that may be repeated, in the order received."""
    if hasattr(headers, "getlist"):
        yield from headers.getlist(name)
    elif name in headers:
        yield from headers[name].split(",")
