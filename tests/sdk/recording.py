"""Records which requests a client sends for each documented member.

The calls of `scene` are made by the official clients of 2023 and by ours. A proxy in front of
the gateway keeps what came and what was answered; targets are reached without it.

As a program, run where an official client is installed, it adds what is not there yet to a file:

    python -m tests.sdk.recording http://gateway:8080 3.17 tests/sdk/recorded/requests.jsonl
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tests.sdk.scene import CALLS, Scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

TIMEOUT_S = 60
_ID = re.compile(r"[\w-]{5,40}")
"""A reply that is the id of a job."""


class Recorder:
    """A proxy: `with Recorder(endpoint) as recorder: Client(recorder.endpoint) …`.

    Attributes:
        endpoint: of the proxy.
        seen: requests in their order: method, path, query, body (JSON or text) and status.
        given: texts of this run and what stands for them in `seen`.
    """

    def __init__(self, gateway: str, token: str = "") -> None:
        self.gateway = gateway
        self.seen: list[dict[str, Any]] = []
        self.given: dict[str, str] = {}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._headers = headers
        smap = json.loads(self.raw("GET", "daemon?what=smap"))
        self._primary: str = smap["proxy_si"]["public_net"]["direct_url"]

    def raw(self, method: str, path: str, body: Any = None) -> bytes:
        """Send a request below /v1/ past the proxy and return the body of its answer."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        url = f"{self.gateway}/v1/{path}"
        for _ in range(3):
            parts = urlsplit(url)
            connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
            with contextlib.closing(connection):
                connection.request(method, f"{parts.path}?{parts.query}", data, self._headers)
                reply = connection.getresponse()
                if reply.status in {301, 302, 307}:
                    url = reply.headers["Location"]
                    continue
                # What 2023 answers to a PUT announces a body that never comes.
                return b"" if method in {"PUT", "HEAD"} and path.startswith("o") else reply.read()
        raise OSError(f"{url} leads in a circle")

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"recorder": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def pass_on(
        self, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Ask the gateway, keep what was asked, and return its answer."""
        parts = urlsplit(self.gateway)
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request(method, target, body or None, {**headers, **self._headers})
            reply = connection.getresponse()
            data = reply.read()
        self._keep(method, target, body, reply.status)
        for text in (data.decode("utf-8", "replace"), reply.headers.get("Ais-Xaction-Id", "")):
            if reply.status in {200, 202} and _ID.fullmatch(text):
                self.given[text] = "<JOB>"
        # The primary is asked through the proxy, too.
        data = data.replace(self._primary.encode(), self.endpoint.encode())
        return reply.status, reply.getheaders(), data

    def _keep(self, method: str, target: str, body: bytes, status: int) -> None:
        text = body.decode("utf-8", "replace")
        for name, meaning in self.given.items():
            target, text = target.replace(quote(name), quote(meaning)), text.replace(name, meaning)
        parts = urlsplit(target)
        try:
            content = json.loads(text) if text else None
        except ValueError:
            content = text
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        path = unquote(parts.path)
        found = {"method": method, "path": path, "query": query, "body": content, "status": status}
        self.seen.append(found)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    recorder: Recorder

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        ours = {"host", "content-length", "connection", "accept-encoding"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ours}
        status, found, data = self.recorder.pass_on(self.command, self.path, body, headers)
        self.send_response_only(status)
        for name, value in found:
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815 - as the base wants

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Keep quiet."""


def record(
    member: str, recorder: Recorder, make_client: Callable[[str], Any]
) -> tuple[list[dict[str, Any]], Exception | None]:
    """Return the requests of a member's call, repetitions (of polls) left out, and its error."""
    with Scene(recorder, make_client) as scene:
        recorder.seen = []
        error = None
        try:
            CALLS[member](scene)
        except Exception as caught:  # noqa: BLE001 - a refusal has its status in the recording
            error = caught
    return without_repetitions(recorder.seen), error


def without_repetitions(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return requests without those equal to the one before, whatever they were answered."""
    kept: list[dict[str, Any]] = []
    for request in requests:
        if kept and {**kept[-1], "status": 0} == {**request, "status": 0}:
            kept[-1] = request
        else:
            kept.append(request)
    return kept


def main(gateway: str, release: str, path: str) -> None:
    """Record the installed official client."""
    from importlib.metadata import version  # noqa: PLC0415 - only for the program

    from aistore.sdk import Client  # noqa: PLC0415

    file = Path(path)
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    there = {(one["member"], one["release"]) for one in map(json.loads, lines)}
    with Recorder(gateway) as recorder:
        for member in CALLS:
            if (member, release) in there:
                continue
            requests, error = record(member, recorder, Client)
            print(member, [one["status"] for one in requests], repr(error)[:150])
            if requests and not isinstance(error, AttributeError | TypeError):
                source = f"aistore {version('aistore')}"
                lines.append(json.dumps({
                    "member": member, "release": release, "source": source, "requests": requests,
                }))  # fmt: skip
    file.write_text("\n".join([*lines, ""]), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
