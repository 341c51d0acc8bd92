"""One node's HTTP face: from a request to its handler, from its outcome to a reply.

Built on aiohttp's low-level server: AIS paths need no router, and a router would normalise what
AIS takes literally (`//`, `..`, percent escapes). Every reply passes through here, so the request
log and injected faults see all of them.
"""

import asyncio
import errno
import json
import logging
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod
from aiohttp.web_protocol import RequestHandler

from aisfs.server.batch.requests import serve_ml
from aisfs.server.buckets import requests as buckets
from aisfs.server.eras import Era, Feature
from aisfs.server.etl.requests import serve_etl
from aisfs.server.http.call import Call, decode_json, decode_path
from aisfs.server.http.errors import AisError, PlainError, no_space, not_implemented
from aisfs.server.http.injection import serve_with_fault
from aisfs.server.http.metrics import serve_metrics
from aisfs.server.http.replies import Reply, header_text, json_reply, plain_error, text_reply
from aisfs.server.nodes import bucket_posts, cluster, gateway, targets
from aisfs.server.peers import owner_of
from aisfs.server.state import Node, Store
from aisfs.server.trust import without_signature
from aisfs_sdk import const

MAX_TARGET = 128 << 10
"""Bytes of a request line; AIS takes 100 KB."""

MAX_FIELD = 64 << 10
MAX_FIELDS = 1024
READ_BUFFER = 1 << 20
"""Bytes that aiohttp buffers per connection; larger pieces mean fewer hops to worker threads."""

LINGER_S = 5.0
"""Seconds for which the rest of an unwanted body is read and dropped before closing."""

_log = logging.getLogger(__name__)
_SECRET_PATH = re.compile(r"(/v1/etl/_object/).*", re.DOTALL)
_FULL = {errno.ENOSPC, errno.EDQUOT}

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


async def _favicon(_: Call) -> Reply:
    return Reply()


def _missing(what: str) -> Handler:
    async def refuse(_: Call) -> Reply:
        raise not_implemented(what)

    return refuse


async def _serve_faults(call: Call) -> Reply:
    """Answer `/v1/faults`: PUT replaces the rules, DELETE clears them, GET tells who was met."""
    if not call.store.faults.enabled:
        raise AisError(400, "fault injection is off: start the server with --faults")
    if call.method == "GET":
        return json_reply({"struck": call.store.faults.struck(), "held": call.store.faults.held})
    if call.method == "DELETE":
        call.store.faults.replace([])
        return Reply()
    rules = decode_json(await call.body(), "invalid fault rules: ")
    call.store.faults.replace(rules)
    return json_reply({"rules": len(rules)})


_ROOT: dict[str, Handler] = {"/favicon.ico": _favicon, "/metrics": serve_metrics}
_OBJECT_ALLOW = "DELETE, GET, HEAD, POST, PUT"
_BUCKET_ALLOW = "DELETE, GET, HEAD, PATCH, POST"
_SHARED: dict[str, tuple[Handler, str]] = {
    "daemon": (cluster.serve_daemon, ""),
    "health": (cluster.serve_health, "GET, HEAD"),
    "etl": (serve_etl, "DELETE, GET, POST, PUT"),
    "sort": (_missing("dSort"), "DELETE, GET, POST"),
    "download": (_missing("the downloader"), "DELETE, GET, POST"),
    "xactions": (_missing("/v1/xactions"), "GET"),
    "tokens": (_missing("AuthN"), "DELETE"),
    "ml": (serve_ml, "GET"),
    "reverse": (_missing("/v1/reverse at a target"), "DELETE, GET, PATCH, POST, PUT"),
}
_PROXY: dict[str, tuple[Handler, str]] = {
    **_SHARED,
    "objects": (gateway.serve_object, _OBJECT_ALLOW),
    "buckets": (buckets.serve_buckets, _BUCKET_ALLOW),
    "cluster": (cluster.serve_cluster, "DELETE, GET, POST, PUT"),
    "faults": (_serve_faults, "DELETE, GET, PUT"),
}
_TARGET: dict[str, tuple[Handler, str]] = {
    **_SHARED,
    "objects": (targets.serve_object, _OBJECT_ALLOW),
    "buckets": (targets.serve_buckets, _BUCKET_ALLOW),
}
_ELSEWHERE = {"s3": "the S3 front end", "ais": "easy URLs", "gs": "easy URLs", "az": "easy URLs"}
_FEATURES = {"ml": Feature.GET_BATCH}
"""Paths that not every release has."""

_UNLISTED = {"objects": {"PATCH"}, "buckets": {"PUT"}}
"""Verbs that work although `Allow` does not name them, as in AIS."""


class NodeApp:
    """Serves the requests of one node."""

    def __init__(self, store: Store, node: Node) -> None:
        self.store = store
        self.node = node
        self._table = _PROXY if node.role == "proxy" else _TARGET

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle one request. A cancelled handler leaves no object half changed."""
        call = Call(self.store, self.node, request)
        started = time.perf_counter()
        status = 0
        self.store.metrics.active += 1
        try:
            reply = await self._serve(call)
            status = reply.status
            if isinstance(reply, Reply):
                call.sent += 0 if call.method == "HEAD" else len(reply.content)
            return reply
        finally:
            self.store.metrics.active -= 1
            seconds = time.perf_counter() - started
            self.store.metrics.count(call, status, seconds)
            self._write_log(call, status, seconds)

    async def _serve(self, call: Call) -> web.StreamResponse:
        faults = self.store.faults
        if faults.enabled and not call.raw_path.startswith("/v1/faults"):
            target = call.raw_path
            call.fault = faults.strike(call.method, target, self.node.role)
        if call.fault is None:
            return await self.answer(call)
        return await serve_with_fault(self, call, call.fault)

    async def answer(self, call: Call) -> web.StreamResponse:
        """Run the handler and turn refusals into replies."""
        try:
            call.path = decode_path(call.raw_path)
            self.store.trust.admit(call)
            return await self._route(call)
        except AisError as error:
            return self.error_reply(call, error)
        except PlainError as error:
            return plain_error(error)
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, ConnectionError):
                raise
            return self.error_reply(call, _disk_error(error))

    async def _route(self, call: Call) -> web.StreamResponse:
        parts = call.path.split("/")
        if call.path in _ROOT and call.method == "GET":
            return await _ROOT[call.path](call)
        family = parts[2] if len(parts) > 2 and parts[1] == "v1" else ""
        if parts[1] in _ELSEWHERE:
            raise not_implemented(_ELSEWHERE[parts[1]])
        feature = _FEATURES.get(family)
        if family not in self._table or (feature is not None and not call.era.has(feature)):
            asked = f"{call.path}?{call.query_text}" if call.query_text else call.path
            raise call.era.said.unknown_path.error(
                method=call.method, path=call.path, asked=asked, remote=call.remote_addr
            )
        handler, allow = self._table[family]
        allow = call.era.node_verbs if family == "daemon" else allow
        if call.method == "OPTIONS":
            return Reply(200, [("Allow", allow)])
        if call.method not in allow.split(", ") and call.method not in _UNLISTED.get(family, ()):
            return _not_allowed(allow)
        caller = call.header(const.HEADER_CALLER_ID)
        if caller and call.era.foreign_caller_refused:
            name = const.HEADER_CALLER_ID
            raise AisError(403, f"unexpected intra-cluster header on pub: '{name}={caller}'")
        if family == "reverse" and self.node.role == "proxy":
            return await self._reverse(call)
        if family == "objects" and call.method == "POST":
            return await self._post_object(call, parts)
        return await handler(call)

    async def _reverse(self, call: Call) -> web.StreamResponse:
        """Let the node that a header names answer: `/v1/reverse/daemon` is its `/v1/daemon`."""
        call.path = call.path.replace("/reverse", "", 1)
        wanted = call.header(const.HEADER_NODE_ID)
        if not wanted:
            raise AisError(400, "missing node ID")
        nodes = {node.id: node for node in (self.store.proxy, *self.store.targets)}
        if wanted not in nodes:
            raise call.era.said.unknown_hop.error(target=wanted, version=self.store.smap_version)
        call.node = nodes[wanted]
        return await NodeApp(self.store, call.node)._route(call)

    async def _post_object(self, call: Call, parts: list[str]) -> web.StreamResponse:
        """Tell `POST /v1/objects/{bucket}` from a POST on an object."""
        at_gateway = self.node.role == "proxy"
        if len(parts) == 4 and parts[3]:
            serve = bucket_posts.serve_bucket_post if at_gateway else targets.serve_bucket_post
            return await serve(call, parts[3])
        return await (gateway.serve_object(call) if at_gateway else targets.serve_object(call))

    def error_reply(self, call: Call, error: AisError) -> Reply:
        """Return the reply AIS gives for an error: JSON in the body, or in a header for HEAD."""
        store = self.store
        node = store.targets[0] if error.at_target else self.node
        fields: dict[str, object] = {"tcode": error.tcode} if error.tcode else {}
        fields.update(
            message=error.message.replace("{node}", node.label),
            method=error.method or call.method,
            url_path=error.url_path or _without_secret(call.path),
            remote_addr=call.remote_addr,
            caller=self.node.label if error.at_target else "",
            node=error.node or node.label,
            status=error.status,
        )
        headers = [*error.headers.items(), ("X-Content-Type-Options", "nosniff")]
        text = _to_json(fields)
        if call.method == "HEAD":
            headers.append((const.HEADER_ERROR, header_text(text)))
            return Reply(error.status, headers, content_type=const.JSON_CONTENT_TYPE)
        body = text.encode() + b"\n"
        announced = error.headers.get("Content-Length")
        if announced is None:
            return Reply(error.status, headers, body, const.JSON_CONTENT_TYPE)
        fitting = body if len(body) <= int(announced) else b""
        reply = Reply(error.status, headers, fitting, const.JSON_CONTENT_TYPE)
        reply.force_close()
        return reply

    def _write_log(self, call: Call, status: int, seconds: float) -> None:
        if not self.store.log.enabled:
            return
        self.store.log.write(
            {
                "node": self.node.id,
                "method": call.method,
                "path": _without_secret(call.raw_path),
                "query": without_signature(call.query_text),
                "status": status,
                "sent": call.sent,
                "received": call.request.content.total_bytes,
                "ms": round(seconds * 1000, 3),
            }
        )


def _without_secret(path: str) -> str:
    """Return a path to be shown; that of a transformer's own requests contains a secret."""
    return _SECRET_PATH.sub(r"\1…", path)


def _to_json(fields: dict[str, object]) -> str:
    try:
        return msgspec.json.encode(fields).decode()
    except UnicodeEncodeError:
        return json.dumps(fields, separators=(",", ":"))


def _not_allowed(allow: str) -> Reply:
    reply = text_reply("Method Not Allowed\n", 405)
    reply.headers["Allow"] = allow
    return reply


def _disk_error(error: Exception) -> AisError:
    full = isinstance(error, OSError) and error.errno in _FULL
    if full or "is full" in str(error):
        return no_space(str(error))
    _log.error("disk or catalog failed: %s", error)
    return AisError(500, f"{{node}}: {error}", type(error).__name__)


# ---- protocol errors ----------------------------------------------------------------------------


class _Protocol(RequestHandler):
    """aiohttp's protocol with AIS's answers to what is no proper HTTP.

    Attributes:
        owner: The uid of the process at the other end, None if unknown.
    """

    __slots__ = ("_era", "owner")

    def __init__(self, manager: web.Server, era: Era, **options: Any) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), **options)
        self._era = era

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer, here = (transport.get_extra_info(name) for name in ("peername", "sockname"))
        self.owner = owner_of(peer, here) if peer and here else None
        super().connection_made(transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, BadHttpMethod):
            refusal = self._era.said.unknown_verb
            reply = text_reply(refusal.text, refusal.status) if refusal.text else Reply(400)
            if refusal.status == 405:
                reply.headers["Allow"] = ""
            reply.force_close()
            return reply
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionResetError
        if status >= 500:
            _log.error("request failed: %s", message, exc_info=exc)
        return plain_error(PlainError(status))


class NodeServer(web.Server):
    """aiohttp's server for one node."""

    def __init__(self, store: Store, node: Node) -> None:
        super().__init__(NodeApp(store, node))
        self._era = store.era

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return _Protocol(
            self,
            self._era,
            access_log=None,
            max_line_size=MAX_TARGET,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            lingering_time=LINGER_S,
            read_bufsize=READ_BUFFER,
            auto_decompress=False,
        )
