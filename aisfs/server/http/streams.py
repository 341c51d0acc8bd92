"""Reply bodies that are made piece by piece in worker threads.

A piece is asked for when the one before went out, so a slow reader holds no thread and at most
one piece in memory.
"""

import asyncio
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from aiohttp import web

from aisfs.server.http.call import Call
from aisfs.server.http.replies import Headers

Result = TypeVar("Result")


class BareStream(web.StreamResponse):
    """A streamed reply without aiohttp's own headers."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


async def to_its_end(call: Call, function: Callable[..., Result], *arguments: object) -> Result:
    """Run blocking work in a worker thread; a cancelled caller still waits for its end.

    So files that the work uses may be closed afterwards.
    """
    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(call.store.workers, function, *arguments)
    try:
        await asyncio.wait([running])
    finally:
        if not running.done():
            await asyncio.wait([running])
            running.exception()  # seen; the caller is cancelled and hears of nothing else
    return running.result()


async def send_pieces(
    call: Call, headers: Headers, pieces: Iterator[bytes], length: int | None = None
) -> web.StreamResponse:
    """Send pieces as the body of a 200, chunked unless the length is known.

    Nothing is sent before the first piece exists, so an error until then is a proper answer. An
    error afterwards cuts the connection, as the body would be taken for whole otherwise.
    """
    try:
        piece = await to_its_end(call, next, pieces, b"")
        stream = BareStream(status=200)
        for name, value in headers:
            stream.headers.add(name, value)
        if length is not None:
            stream.content_length = length
        elif call.request.version >= (1, 1):
            stream.enable_chunked_encoding()
        await stream.prepare(call.request)
        try:
            while piece:
                await stream.write(piece)
                call.sent += len(piece)
                piece = await to_its_end(call, next, pieces, b"")
            await stream.write_eof()
        except (Exception, asyncio.CancelledError) as error:
            if call.request.transport is not None:
                call.request.transport.abort()
            raise ConnectionResetError(str(error)) from error
        return stream
    finally:
        if isinstance(pieces, Generator):
            await to_its_end(call, pieces.close)
