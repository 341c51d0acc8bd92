"""Replies as AIS sends them: bare, JSON, text, errors, and object bytes straight from a file.

aiohttp adds headers of its own (`Server`); AIS sends none of these, so they are taken out again.
"""

import asyncio
import os
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, BinaryIO

import msgspec
from aiohttp import web

from aisfs.server.http.errors import PlainError

JSON_TYPE = "application/json; charset=utf-8"
TEXT_TYPE = "text/plain; charset=utf-8"
SMALL_BODY = 128 << 10
"""Bodies up to this go out with the headers in one write; above it sendfile is cheaper
(measured on loopback: the two cross between 64 and 256 KiB)."""

Headers = Iterable[tuple[str, str]]


class Reply(web.Response):
    """A reply whose body is in memory."""

    def __init__(
        self, status: int = 200, headers: Headers = (), body: bytes = b"", content_type: str = ""
    ) -> None:
        super().__init__(status=status, body=body or None)
        for name, value in headers:
            self.headers.add(name, value)
        if content_type:
            self.headers["Content-Type"] = content_type
        self._typed = "Content-Type" in self.headers

    @property
    def content(self) -> bytes:
        """The body, empty if there is none."""
        return self.body if isinstance(self.body, bytes) else b""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)
        if not self._typed and not self.content:
            self.headers.popall("Content-Type", None)


class FileReply(web.StreamResponse):
    """A reply whose body is a range of an open file; `send` streams it and ends the reply."""

    def __init__(self, status: int, headers: Headers, length: int) -> None:
        super().__init__(status=status)
        for name, value in headers:
            self.headers.add(name, value)
        self.content_length = length

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)

    async def send(self, request: web.BaseRequest, fd: int, offset: int, size: int) -> None:
        """Send `size` bytes of the file from `offset`.

        Raises:
            ConnectionError: the client went away.
        """
        await self.prepare(request)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        loop = asyncio.get_running_loop()
        with _file_of(fd) as file:
            await loop.sendfile(transport, file, offset, size)
        await self.write_eof()


def _file_of(fd: int) -> BinaryIO:
    """Return a file object for a descriptor that stays the caller's."""
    return open(fd, "rb", buffering=0, closefd=False)


def json_reply(value: Any, headers: Headers = ()) -> Reply:
    """Return compact JSON with a trailing newline, as AIS writes it."""
    return Reply(200, headers, msgspec.json.encode(value) + b"\n", JSON_TYPE)


def text_reply(text: str, status: int = 200) -> Reply:
    """Return bare text: job ids, versions."""
    return Reply(status, (), text.encode("utf-8", "surrogateescape"), TEXT_TYPE)


def plain_error(error: PlainError) -> Reply:
    """Return the refusal of the HTTP layer; the connection closes after it."""
    text = f"{error.status} {HTTPStatus(error.status).phrase}"
    reply = text_reply(text, error.status)
    reply.force_close()
    return reply


def header_text(value: str) -> str:
    """Return a value that a header can carry: line ends and NUL become blanks, as in AIS."""
    return value.replace("\r", " ").replace("\n", " ").replace("\0", " ")


def read_at(fd: int, offset: int, size: int) -> bytes:
    """Read exactly `size` bytes of an open file from `offset` (fewer only at its end)."""
    data = os.pread(fd, size, offset)
    while len(data) < size:
        more = os.pread(fd, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data
