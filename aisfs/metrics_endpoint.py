"""An address where metrics can be scraped: `GET /metrics` and nothing else.

Serves `daemon`, which opens it before it mounts: an address that cannot be had is an error in
words. A client may be slow, send anything and come in any number: each has `LIMIT_S` and `HEAD`
bytes, at most `CLIENTS` are served at a time, and none is waited for. Beside Prometheus's text
there is nothing to tell, so this is the least of HTTP/1.1 and not a server of a library.
"""

from __future__ import annotations

import errno
import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from aisfs.config import ConfigError, parse_address
from aisfs.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

CLIENTS = 8
LIMIT_S = 5.0
HEAD = 8 << 10


async def listen(address: str) -> list[trio.SocketListener]:
    """Take an address.

    Raises:
        ConfigError: it cannot be had.
    """
    host, port = parse_address(address)
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        advice = "give a free port" if error.errno == errno.EADDRINUSE else "give another one"
        raise ConfigError(
            f"metrics-listen: cannot listen at {address} ({error.strerror}): {advice}, or leave it "
            "out and read .aisfs/metrics in the mount"
        ) from error


async def serve(listeners: list[trio.SocketListener], shown: Callable[[], str]) -> None:
    """Answer scrapes with what `shown` returns, until cancelled. Never raises else."""
    room = trio.CapacityLimiter(CLIENTS)
    await trio.serve_listeners(partial(_serve_one, shown, room), listeners)


async def _serve_one(
    shown: Callable[[], str], room: trio.CapacityLimiter, stream: trio.SocketStream
) -> None:
    """Answer one client; its trouble is its own."""
    try:
        with trio.move_on_after(LIMIT_S):
            room.acquire_on_behalf_of_nowait(stream)
            try:
                await stream.send_all(_answer(await _head(stream), shown))
                await stream.send_eof()
            finally:
                room.release_on_behalf_of(stream)
    except (trio.WouldBlock, trio.BrokenResourceError, OSError) as error:
        log.debug("a client of the metrics was not served: %r", error)
    except Exception:
        log.exception("serving metrics")
    finally:
        await trio.aclose_forcefully(stream)


async def _head(stream: trio.SocketStream) -> bytes:
    """Receive a request up to its empty line, or as much as anybody may send."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < HEAD:
        part = await stream.receive_some(HEAD - len(head))
        if not part:
            break
        head += bytes(part)
    return head


def _answer(head: bytes, shown: Callable[[], str]) -> bytes:
    words = head.partition(b"\r\n")[0].split(b" ")
    if b"\r\n\r\n" not in head or len(words) != 3:
        return _reply("400 Bad Request", "this is no request that can be answered here\n")
    if words[1].partition(b"?")[0] != b"/metrics":
        return _reply("404 Not Found", "there is only /metrics here\n")
    if words[0] != b"GET":
        return _reply("405 Method Not Allowed", "metrics can be read only\n", "Allow: GET\r\n")
    return _reply("200 OK", shown())


def _reply(status: str, text: str, headers: str = "") -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
        f"{headers}Connection: close\r\n\r\n"
    )
    return head.encode() + body
