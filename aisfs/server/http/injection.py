"""Serving a request as an injected fault says (faults.py has the rules)."""

import asyncio
from collections.abc import Iterator
from typing import Protocol

from aiohttp import web

from aisfs.server.http.call import Call, decode_path
from aisfs.server.http.errors import AisError
from aisfs.server.http.faults import Rule, corrupt
from aisfs.server.http.replies import Reply
from aisfs.server.state import Node
from aisfs_sdk import const

SLOW_PIECES = 10
"""Parts in which a slow body comes."""


class App(Protocol):
    """What serves requests properly."""

    node: Node

    async def answer(self, call: Call) -> web.StreamResponse:
        """Serve a request."""

    def error_reply(self, call: Call, error: AisError) -> Reply:
        """Return the reply for an error."""


async def serve_with_fault(app: App, call: Call, rule: Rule) -> web.StreamResponse:
    """Serve a request as a rule says."""
    release = call.store.faults.replaced
    if _is_refused(call, rule):
        return _refusal(app, call, rule)
    if rule.action in {"delay", "hold", "refuse-direct"}:
        if rule.action == "hold":
            await call.store.faults.hold(release)
        await asyncio.sleep(rule.seconds)
        call.fault = None
        return await app.answer(call)
    if rule.action == "cut-upload":
        await _read_some(call, rule.after_bytes)
        _abort(call)
    reply = await app.answer(call)
    if not isinstance(reply, Reply):
        return reply
    if rule.action == "hold-answer":
        await call.store.faults.hold(release)
    elif rule.action == "corrupt":
        reply.body = corrupt(reply.content, rule.after_bytes) or None
    elif rule.action == "short":
        reply.body = reply.content[: rule.after_bytes] or None
    elif rule.action == "wrong-checksum":
        _falsify_checksum(reply)
    else:
        return await _partial(call, reply, rule)
    return reply


def _is_refused(call: Call, rule: Rule) -> bool:
    if rule.action == "refuse-direct":
        return const.QPARAM_PROXY_ID not in call.query_text
    return rule.action in {"error", "429", "redirect-loop"}


def _refusal(app: App, call: Call, rule: Rule) -> Reply:
    call.path = decode_path(call.raw_path)
    if rule.action == "redirect-loop":
        status = 301 if call.method == "GET" else 307
        location = f"{app.node.url}{call.raw_path}?{call.query_text}"
        return Reply(status, [("Location", location)])
    if rule.action == "refuse-direct":
        return app.error_reply(call, AisError(403, "direct target access denied"))
    if rule.action == "429":
        return app.error_reply(call, AisError(429, "too many requests", "ErrTooManyRequests"))
    return app.error_reply(call, AisError(rule.status, "injected fault"))


def _falsify_checksum(reply: Reply) -> None:
    """Change the last digit of the checksum that a reply announces."""
    value = reply.headers.get(const.HEADER_CHECKSUM_VALUE, "")
    if value:
        last = "0" if value[-1] != "0" else "1"
        reply.headers[const.HEADER_CHECKSUM_VALUE] = value[:-1] + last


async def _read_some(call: Call, size: int) -> None:
    read = 0
    while read < size:
        piece = await call.request.content.read(min(size - read, 1 << 16))
        if not piece:
            return
        read += len(piece)


async def _partial(call: Call, reply: Reply, rule: Rule) -> web.StreamResponse:
    """Send the head and some of the body, then cut, stall, or go on slowly."""
    body = reply.content
    if not body or call.method == "HEAD":
        if rule.action == "cut":
            _abort(call)
        await asyncio.sleep(rule.seconds)
        return reply
    stream = web.StreamResponse(status=reply.status, headers=reply.headers)
    stream.content_length = len(body)
    await stream.prepare(call.request)
    await _send(call, stream, body[: rule.after_bytes])
    if rule.action == "cut":
        _abort(call, flush=True)
    pieces = SLOW_PIECES if rule.action == "slow" else 1
    for piece in _parts(body[rule.after_bytes :], pieces):
        await asyncio.sleep(rule.seconds / pieces)
        await _send(call, stream, piece)
    await stream.write_eof()
    return stream


async def _send(call: Call, stream: web.StreamResponse, data: bytes) -> None:
    await stream.write(data)
    call.sent += len(data)


def _parts(data: bytes, count: int) -> Iterator[bytes]:
    size = -(-len(data) // count) or 1
    for start in range(0, max(len(data), 1), size):
        yield data[start : start + size]


def _abort(call: Call, *, flush: bool = False) -> None:
    """Close the connection now; what is buffered goes out first if `flush`.

    Raises:
        ConnectionResetError: always; there is nothing left to answer.
    """
    transport = call.request.transport
    if transport is not None:
        if flush:
            transport.close()
        else:
            transport.abort()
    raise ConnectionResetError
