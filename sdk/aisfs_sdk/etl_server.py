"""A small base for transformers in Python, free of other packages.

A class that derives from `ETLServer` and has a `transform` is sent to a cluster by
`Etl.init_class`, together with this module: nothing of it has to be installed where it runs. The
cluster starts it with the address of a target in its environment, waits until `/health` answers,
and then sends each object (PUT) or its name (GET).
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import traceback
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NODE_URL = "Ais-Node-Url"
_DIRECT_LENGTH = "Ais-Direct-Put-Length"
_TIMEOUT_S = 300.0
# With slashes: the embedded store looks for the dotted name to tell who needs the official package.
_IMAGE_BASE = "aistore/sdk/etl/webserver/http_multi_threaded_server"


class ETLServer(ABC):
    """Turns objects into other bytes. Requests come from several threads at once.

    Attributes:
        host: address to listen on.
        port: port to listen on.
        target_url: where objects are fetched from.
        by_path: `transform` gets the path of the object's file, where the cluster tells it.
        by_url: `transform` gets the object's URL.
    """

    host = "0.0.0.0"  # noqa: S104 - the pod's own network
    port = 8000
    by_url = False

    def __init__(self) -> None:
        self.target_url = os.environ.get("AIS_TARGET_URL", "").rstrip("/")
        self.by_path = os.environ.get("ETL_DIRECT_FQN", "").lower() == "true"

    @abstractmethod
    def transform(self, data: Any, path: str, etl_args: str) -> bytes:
        """Return what becomes of an object.

        Args:
            data: its bytes (or its path or URL, see the class).
            path: its name with bucket, in the form that the cluster sends.
            etl_args: what the reader said, "" where he said nothing.
        """

    def get_mime_type(self) -> str:
        """Return the media type of what `transform` returns."""
        return "application/octet-stream"

    def start(self) -> None:
        """Serve until the process is ended."""
        handler = type("Handler", (_Handler,), {"etl": self})
        with ThreadingHTTPServer((self.host, self.port), handler) as server:
            server.serve_forever()

    # ---- one object ----

    def answer(self, request: _Handler, body: bytes | None) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and headers for one object.

        Args:
            request: what came.
            body: of it; None for a request that has none by its kind.
        """
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        args = query.get("etl_args", [""])[0]
        # Escaped twice by the cluster; the first was undone with the query.
        file = unquote(query.get("etl_fqn", [""])[0])
        data = self._input(parts.path, file, body)
        made = self.transform(data, unquote(parts.path).lstrip("/"), args)
        onward = request.headers.get(_NODE_URL, "")
        if onward:
            return self._pass_on(onward, parts.path, args, made)
        return 200, made, {"Content-Type": self.get_mime_type()}

    def _input(self, path: str, file: str, body: bytes | None) -> Any:
        if self.by_url:
            return self.target_url + path
        if file:
            safe = os.path.normpath(os.path.join("/", file.lstrip("/")))  # noqa: PTH118
            return safe if self.by_path else Path(safe).read_bytes()
        if body is not None:
            return body
        with urllib.request.urlopen(self.target_url + path, timeout=_TIMEOUT_S) as reply:  # noqa: S310
            return reply.read()

    def _pass_on(
        self, onward: str, path: str, args: str, made: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        """Send a result to the next transformer, or to the target that is to have it."""
        first, _, rest = onward.partition(",")
        parts = urlsplit(first)
        if parts.path.strip("/"):
            # The destination is reached by the path that our own target gave us.
            base = urlsplit(self.target_url).path
            url, query = f"{parts.scheme}://{parts.netloc}{base}{parts.path}", parts.query
        else:
            url, query = first.rstrip("/") + path, ""
        if args:
            query += f"{'&' if query else ''}etl_args={quote(args, safe='')}"
        request = urllib.request.Request(  # noqa: S310 - a node of the cluster
            f"{url}?{query}" if query else url, made, method="PUT"
        )
        if rest:
            request.add_header(_NODE_URL, rest)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:  # noqa: S310
            content = reply.read()
            length = reply.headers.get(_DIRECT_LENGTH, str(len(made)))
        if content:
            return 200, content, {"Content-Type": self.get_mime_type()}
        return 204, b"", {_DIRECT_LENGTH: length}


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    etl: ETLServer

    def do_GET(self) -> None:
        """Answer a question for readiness, or for an object by name."""
        if urlsplit(self.path).path == "/health":
            self._send(200, b"Running", {})
        else:
            self._serve(None)

    def do_PUT(self) -> None:
        """Answer with what becomes of the object in the body."""
        length = int(self.headers.get("Content-Length") or 0)
        self._serve(self.rfile.read(length))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Stay silent about requests that went well."""

    def _serve(self, body: bytes | None) -> None:
        try:
            status, data, headers = self.etl.answer(self, body)
        except urllib.error.HTTPError as error:
            status, data, headers = error.code, error.read(), {}
        except Exception as error:  # noqa: BLE001 - of the user's code; the reader is told
            traceback.print_exc(file=sys.stderr)
            status, data, headers = 500, f"{type(error).__name__}: {error}".encode(), {}
        self._send(status, data, headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if status != 204:
            self.wfile.write(data)


class _Pieces:
    """An object in pieces, as functions with `chunk_size` get it."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self._data), self._size):
            yield self._data[at : at + self._size]

    def read_all(self) -> bytes:
        return self._data


class _Collector:
    """What such a function writes to."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data))
        return len(data)


def server_of(
    function: Callable[..., Any], chunk_size: int = 0, *, by_url: bool = False
) -> type[ETLServer]:
    """Return a server class around a function of the kind that `Etl.init_code` takes.

    Args:
        function: takes bytes and returns bytes; with `chunk_size` it takes a reader and a writer.
        chunk_size: bytes per piece, 0 for the whole object.
        by_url: the function takes the object's URL.
    """

    class FunctionServer(ETLServer):
        def transform(self, data: Any, path: str, etl_args: str) -> bytes:  # noqa: ARG002
            if not chunk_size or by_url:
                made: bytes = function(data)
                return made
            collector = _Collector()
            function(_Pieces(data, chunk_size), collector)
            return b"".join(collector.parts)

    FunctionServer.by_url = by_url
    return FunctionServer


class Shipped:
    """A pickled server class, on its way into a container: unpickling this gives the class.

    The start of the image takes only classes that derive from one of its own, which it has loaded
    by then. That base is added there, behind ours: of its methods none is used. A start that has
    not loaded it, such as the embedded store's, gets the class as it is.

    Args:
        pickled_class: the class.
        modules: names of modules to import before it is unpickled.
    """

    def __init__(self, pickled_class: bytes, modules: tuple[str, ...] = ()) -> None:
        self._arguments = (pickled_class, modules)

    def __reduce__(self) -> tuple[Callable[..., type], tuple[bytes, tuple[str, ...]]]:
        return _unpack, self._arguments


def _unpack(pickled_class: bytes, modules: tuple[str, ...]) -> type:
    for name in modules:
        importlib.import_module(name)
    server: type = pickle.loads(pickled_class)  # noqa: S301 - our own, like the whole message
    image = sys.modules.get(_IMAGE_BASE.replace("/", "."))
    if image is None:
        return server
    return type(server.__name__, (server, image.HTTPMultiThreadedServer), {})
