"""One object through a transformer: the requests that AIS's targets make of the process.

AIS 5.0: hpush `PUT /bucket/object?etl_fqn=…` without a body (3.17: with one), hpull and hrev
`GET /escaped-uname`, ws two messages. Results are streamed; nothing here holds a whole object but
the websocket, whose messages are whole.
"""

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import aiohttp
from yarl import URL

from aisfs.server.etl.code_runner import KEY_HEADER, KEY_PARAMETER
from aisfs.server.etl.registry import Etl
from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError
from aisfs.server.naming import encode_name
from aisfs.server.storage.blobs import unlink_quietly
from aisfs.server.storage.catalog import Bucket, Record
from aisfs_sdk import const

NODE_URL = "Ais-Node-Url"
PUT_LENGTH = "Ais-Direct-Put-Length"
RETRY_REASON = "Ais-Etl-Retry-Reason"
TRANSIENT = "direct-put-transient"
USER_AGENT = "Go-http-client/1.1"
RETRY_AFTER_S = 1.0
RETRIES = 3
MAX_ERROR = 4096
"""Bytes of an error text of a process that are passed on."""

MAX_MESSAGE = 1 << 30
"""Bytes of a websocket message, which has to fit into memory."""

_LONGEST_NAME = 255
"""Bytes of a file's name."""

_SEGMENT = "$&+=:@-_.~"
_PATH = "$&+,/:;=@-_.~"
NO_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


@dataclass(slots=True)
class Work:
    """One object to transform.

    Attributes:
        etl: The first transformer.
        bucket: Where the object is.
        record: The object as it was looked up.
        args: `etl_args`.
        pipeline: Further transformers.
        destination: URL that the last process may PUT the result to, empty to have it back.
        as_body: Send the object instead of naming its file.
        timeout_s: Seconds until the answer begins, and between two pieces of it.
        job_id: The job that it is part of, if any.
    """

    etl: Etl
    bucket: Bucket
    record: Record
    args: str = ""
    pipeline: tuple[Etl, ...] = ()
    destination: str = ""
    as_body: bool = False
    timeout_s: float = 0.0
    job_id: str = ""

    @property
    def name(self) -> str:
        """The object's name."""
        return self.record.name.decode("utf-8", "surrogateescape")

    @property
    def uri(self) -> str:
        """The object as messages name it."""
        return f"{self.bucket.name.uri}/{self.name}"


@dataclass(slots=True)
class Result:
    """What came back. `pieces` raises AisError when it breaks off."""

    status: int
    length: int | None
    pieces: AsyncIterator[bytes]


def escaped_uname(bucket: Bucket, name: str) -> str:
    """Return the full name of an object as one path segment."""
    return quote(encode_name(bucket.name.uname + name), safe=_SEGMENT)


def shown_file(call: Call, record: Record) -> Path:
    """Return a path to an object's bytes that stays until `hide_file`, made read-only.

    As in AIS, its last part is that of the object's name, which code looks at.
    """
    last = record.name.rpartition(b"/")[2][-_LONGEST_NAME:]
    directory = call.store.etls.files / secrets.token_hex(8)
    linked = call.store.blobs.link_work(record.blob)
    linked.chmod(0o400)
    directory.mkdir()
    return linked.rename(directory / os.fsdecode(last))


def hide_file(path: Path) -> None:
    """Delete what `shown_file` made."""
    unlink_quietly(path)
    with contextlib.suppress(OSError):
        path.parent.rmdir()


def fqn_parameter(path: Path) -> str:
    """Return `etl_fqn=…`, escaped twice as AIS does."""
    return f"etl_fqn={quote_plus(quote(os.fsencode(path), safe=_SEGMENT))}"


@asynccontextmanager
async def transformed(call: Call, work: Work) -> AsyncIterator[Result]:
    """Send an object through its transformer and give the answer out.

    Raises:
        AisError: the process answered with an error, hangs, or is gone; with AIS's words.
    """
    path = None
    if call.era.transformers.reads_files and not work.as_body:
        path = shown_file(call, work.record)
    try:
        opener = _websocket if work.etl.definition.kind == "ws" else _http
        async with opener(call, work, path) as result:
            yield result
    finally:
        if path is not None:
            hide_file(path)


def _next_nodes(work: Work) -> str:
    """Return the value of `Ais-Node-Url`: the further stages, then the destination."""
    stages = [_stage_url(etl) for etl in work.pipeline]
    return ",".join([*stages, *filter(None, [work.destination])])


def _stage_url(etl: Etl) -> str:
    return f"{etl.url}?{KEY_PARAMETER}={etl.key}" if etl.key else etl.url


def _headers(work: Work) -> dict[str, str]:
    headers = {"User-Agent": USER_AGENT}
    if nodes := _next_nodes(work):
        headers[NODE_URL] = nodes
    if work.etl.key:
        headers[KEY_HEADER] = work.etl.key
    return headers


def _target(work: Work, path: Path | None) -> tuple[str, str]:
    """Return method and URL of the request."""
    push = work.etl.definition.kind in {"hpush", "io"}
    if push:
        place = quote(encode_name(f"{work.bucket.name.name}/{work.name}"), safe=_PATH)
    else:
        place = escaped_uname(work.bucket, work.name)
    query = []
    if work.args:
        query.append(f"{const.QPARAM_ETL_ARGS}={quote_plus(work.args)}")
    if path is not None:
        query.append(fqn_parameter(path))
    url = f"{work.etl.url}/{place}" + ("?" + "&".join(query) if query else "")
    return ("PUT" if push else "GET"), url


@asynccontextmanager
async def _http(call: Call, work: Work, path: Path | None) -> AsyncIterator[Result]:
    method, url = _target(work, path)
    as_body = method == "PUT" and path is None
    for attempt in range(RETRIES + 1):
        answer = await _send(call, work, (method, url), as_body=as_body)
        try:
            again = (
                as_body
                and attempt < RETRIES
                and answer.status == 503
                and answer.headers.get(RETRY_REASON) == TRANSIENT
            )
            if not again:
                if answer.status >= 400:
                    raise await _refusal(answer)
                shown = f'{method.capitalize()} "{url}"'
                yield Result(answer.status, answer.content_length, _pieces(work, answer, shown))
                return
        finally:
            answer.close()
        await asyncio.sleep(RETRY_AFTER_S)


async def _send(
    call: Call, work: Work, target: tuple[str, str], *, as_body: bool
) -> aiohttp.ClientResponse:
    method, url = target
    headers = _headers(work)
    file = None
    if as_body:
        headers["Content-Length"] = str(work.record.size)
        if call.era.transformers.names_type:
            headers["Content-Type"] = const.OCTET_STREAM
        file = os.fdopen(call.store.blobs.open(work.record.blob), "rb")
    elif method == "PUT":
        headers["Content-Length"] = "0"
    shown = f'{method.capitalize()} "{url}"'
    try:
        async with asyncio.timeout(work.timeout_s or None):
            return await call.store.etls.session.request(
                method,
                URL(url, encoded=True),
                data=file,
                headers=headers,
                skip_auto_headers=NO_HEADERS,
                allow_redirects=False,
            )
    except TimeoutError:
        raise AisError(
            400,
            f"{shown}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            "Error",
        ) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise AisError(400, f"{shown}: {_reason(error)}", "Error") from error
    finally:
        if file is not None:
            file.close()


def _reason(error: Exception) -> str:
    """Return why a call failed, in Go's words where a process ended under it."""
    if isinstance(error, aiohttp.ClientConnectionError):
        return "EOF"
    return str(error) or type(error).__name__


async def _refusal(answer: aiohttp.ClientResponse) -> AisError:
    """Return the error for an answer that is one."""
    text = b""
    try:
        async with asyncio.timeout(5):
            text = await answer.content.read(MAX_ERROR)
    except (aiohttp.ClientError, TimeoutError):
        text = text or b"(no text)"
    return AisError(answer.status, f"ETL error: {text.decode('utf-8', 'replace').strip()}")


async def _pieces(work: Work, answer: aiohttp.ClientResponse, shown: str) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(work.timeout_s or None):
                piece = await answer.content.readany()
        except TimeoutError:
            raise AisError(400, f"{shown}: context deadline exceeded", "Error") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise AisError(400, f"{shown}: the answer broke off: {error}", "Error") from error
        if not piece:
            return
        yield piece


@asynccontextmanager
async def _websocket(call: Call, work: Work, path: Path | None) -> AsyncIterator[Result]:
    """Two messages out, one back: text acknowledges a direct put, binary is the result."""
    fields = {
        "pipeline": _next_nodes(work),
        "etl_args": work.args,
        "fqn": quote(os.fsencode(path), safe=_SEGMENT) if path is not None else "",
        "path": work.name,
    }
    control = json.dumps({key: value for key, value in fields.items() if value})
    url = f"{work.etl.url}/ws"
    try:
        async with (
            asyncio.timeout(work.timeout_s or None),
            call.store.etls.session.ws_connect(url, max_msg_size=MAX_MESSAGE) as socket,
        ):
            await socket.send_bytes(control.encode("utf-8", "surrogateescape"))
            if path is None:
                await socket.send_bytes(await _whole(call, work.record))
            message = await socket.receive()
    except TimeoutError:
        raise AisError(400, f'ws "{url}": context deadline exceeded', "Error") from None
    except (aiohttp.ClientError, OSError) as error:
        raise AisError(400, f'ws "{url}": {_reason(error)}', "Error") from error
    if message.type is aiohttp.WSMsgType.BINARY:
        yield Result(200, len(message.data), _one(message.data))
    elif message.type is aiohttp.WSMsgType.TEXT:
        yield Result(204, 0, _one(b""))
    else:
        raise AisError(400, f'ws "{url}": closed by the process', "Error")


async def _whole(call: Call, record: Record) -> bytes:
    if record.size > MAX_MESSAGE:
        raise AisError(400, f"ws: the object has {record.size} bytes, at most {MAX_MESSAGE} fit")
    path = call.store.blobs.link_work(record.blob)
    try:
        data: bytes = await call.store.in_thread(path.read_bytes)
        return data
    finally:
        unlink_quietly(path)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data
