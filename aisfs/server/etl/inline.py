"""Single objects through a transformer: reads, and copies of one object to another.

AIS: `GET /v1/objects/{bucket}/{object}?etl_name=[&etl_args=][&etl_pipeline=]`,
`PUT …?object_to=&etl_name=`.
"""

import asyncio
import html
from collections.abc import AsyncIterator
from urllib.parse import quote_plus

import aiohttp
from aiohttp import web
from yarl import URL

from aisfs.server.etl.calls import (
    NO_HEADERS,
    Result,
    Work,
    escaped_uname,
    fqn_parameter,
    hide_file,
    shown_file,
    transformed,
)
from aisfs.server.etl.code_runner import KEY_HEADER, KEY_PARAMETER
from aisfs.server.etl.registry import Etl, Transfer
from aisfs.server.etl.storing import destination_url, transform_into
from aisfs.server.etl.words import refuse_when_off
from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply
from aisfs.server.http.streams import BareStream
from aisfs.server.naming import decode_name
from aisfs.server.objects.reads import bring_object
from aisfs.server.objects.writes import open_destination
from aisfs.server.state import random_id
from aisfs.server.storage.catalog import Bucket, Record
from aisfs_sdk import const

MIN_LEASE_S = 60.0
"""Seconds for which a file stays whose path a client takes to the process."""

_LOOPBACK = ("127.", "localhost")
"""Clients of a store elsewhere cannot be redirected to its processes: those listen on loopback."""

SNIFFED = 512
_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "host", "authorization", "content-length",
}  # fmt: skip


def running_etl(call: Call, name: str) -> Etl:
    """Return a transformer that is up.

    Raises:
        AisError: 404 in AIS's words, 501 when the store allows no ETL.
    """
    refuse_when_off(call)
    etl = call.store.etls.running(name)
    if etl is None:
        raise call.era.said.unknown_etl.error(name=name, gateway=call.store.proxy.url)
    return etl


def read_pipeline(call: Call) -> tuple[Etl, ...]:
    """Return the further stages that a query names.

    Raises:
        AisError: 400 for one that is not up.
    """
    names = [name for name in call.query.text(const.QPARAM_ETL_PIPELINE).split(",") if name]
    stages = []
    for name in names:
        etl = call.store.etls.running(name)
        if etl is None:
            raise AisError(400, f'[{{node}},etl="{name}"] entry not found in the target', "ErrETL")
        stages.append(etl)
    return tuple(stages)


async def get_transformed(call: Call, bucket: Bucket, name: str) -> web.StreamResponse:
    """Answer GET of an object through a transformer."""
    etl = running_etl(call, call.query.text(const.QPARAM_ETL_NAME))
    record = await bring_object(call, bucket, name)
    call.store.catalog.touch(bucket, record.name)
    pipeline = read_pipeline(call)
    kind = etl.definition.kind
    if kind == "hpull" and pipeline:
        raise AisError(400, "inline transform pipeline not supported for hpull://")
    if kind == "hpull" and call.node.host.startswith(_LOOPBACK):
        return _redirect(call, etl, bucket, record)
    if kind == "hrev":
        return await _reverse(call, etl, bucket, record)
    work = Work(
        etl,
        bucket,
        record,
        args=call.query.text(const.QPARAM_ETL_ARGS),
        pipeline=pipeline,
        as_body=call.query.flag(const.QPARAM_LATEST),
        timeout_s=etl.definition.object_s,
    )
    try:
        async with transformed(call, work) as result:
            return await _send(call, work, result)
    except AisError as error:
        etl.note_error(work.uri, error)
        raise


async def _send(call: Call, work: Work, result: Result) -> web.StreamResponse:
    """Pass a result on as it comes; an error before its first bytes is a proper answer."""
    first = await anext(result.pieces, b"")
    if result.status == 204:
        return Reply(204)
    stream = BareStream(status=result.status)
    stream.headers["Content-Type"] = sniff(first)
    if result.length is not None:
        stream.content_length = result.length
    elif call.request.version >= (1, 1):
        stream.enable_chunked_encoding()
    await stream.prepare(call.request)
    written = 0
    try:
        if first:
            await stream.write(first)
            written += len(first)
        async for piece in result.pieces:
            await stream.write(piece)
            written += len(piece)
    except AisError as error:
        work.etl.note_error(work.uri, error)
        if call.request.transport is not None:
            call.request.transport.abort()
        raise ConnectionResetError(error.message) from error
    await stream.write_eof()
    call.sent += written
    _count(work, written)
    return stream


def _count(work: Work, written: int) -> None:
    work.etl.objects += 1
    work.etl.read += work.record.size
    work.etl.written += written


def sniff(data: bytes) -> str:
    """Return the content type that Go would guess, as far as text and binary go."""
    head = data[:SNIFFED]
    binary = any(byte < 9 or 13 < byte < 27 or 27 < byte < 32 or byte == 11 for byte in head)
    return const.OCTET_STREAM if binary else "text/plain; charset=utf-8"


def _redirect(call: Call, etl: Etl, bucket: Bucket, record: Record) -> Reply:
    """Send the client to the process (hpull)."""
    query = []
    if args := call.query.text(const.QPARAM_ETL_ARGS):
        query.append(f"{const.QPARAM_ETL_ARGS}={quote_plus(args)}")
    if call.era.transformers.reads_files:
        path = shown_file(call, record)
        lease_s = max(MIN_LEASE_S, etl.definition.object_s)
        asyncio.get_running_loop().call_later(lease_s, hide_file, path)
        query.append(fqn_parameter(path))
        if call.query.flag(const.QPARAM_LATEST):
            query.append(f"{const.QPARAM_LATEST}=true")
    if etl.key:
        query.append(f"{KEY_PARAMETER}={etl.key}")
    place = escaped_uname(bucket, decode_name(record.name))
    location = f"{etl.url}/{place}" + ("?" + "&".join(query) if query else "")
    etl.objects += 1
    page = f'<a href="{html.escape(location)}">Temporary Redirect</a>.\n\n'
    headers = [("Location", location)]
    return Reply(307, headers, page.encode("utf-8", "replace"), "text/html; charset=utf-8")


async def _reverse(call: Call, etl: Etl, bucket: Bucket, record: Record) -> web.StreamResponse:
    """Hand the client's request to the process and its answer back (hrev)."""
    work = Work(etl, bucket, record, timeout_s=etl.definition.object_s)
    headers = {
        name: value
        for name, value in call.request.headers.items()
        if name.lower() not in _HOP_BY_HOP
    }
    headers |= {"Host": call.header("Host"), "X-Forwarded-For": "127.0.0.1"}
    if etl.key:
        headers[KEY_HEADER] = etl.key
    url = f"{etl.url}/{escaped_uname(bucket, work.name)}?provider={bucket.name.provider}"
    try:
        async with asyncio.timeout(work.timeout_s or None):
            answer = await call.store.etls.session.get(
                URL(url, encoded=True),
                headers=headers,
                skip_auto_headers=NO_HEADERS,
                allow_redirects=False,
            )
    except TimeoutError:
        error = AisError(400, f'Get "{url}": context deadline exceeded', "Error")
        etl.note_error(work.uri, error)
        raise error from None
    except aiohttp.ClientError as cause:
        raise AisError(400, f'Get "{url}": EOF', "Error") from cause
    try:
        if answer.status >= 400:
            text = (await answer.content.read(4096)).decode("utf-8", "replace")
            error = AisError(answer.status, f"ETL error: {text}")
            etl.note_error(work.uri, error)
            raise error
        pieces = _checked(work, answer)
        return await _send(call, work, Result(answer.status, answer.content_length, pieces))
    finally:
        answer.close()


async def _checked(work: Work, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(work.timeout_s or None):
                piece = await answer.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AisError(400, f"the transformer's answer broke off: {error}") from error
        if not piece:
            return
        yield piece


async def copy_transformed(call: Call, bucket: Bucket, name: str) -> Reply:
    """Transform an object into another: 204 if the process put the result by itself."""
    refuse_when_off(call)
    etl_name = call.query.text(const.QPARAM_ETL_NAME)
    target, target_object = await open_destination(call)
    etl = running_etl(call, etl_name)
    if etl.definition.kind == "ws":
        raise AisError(404, "{node}: ws:// transformers do not copy single objects", "wrapError")
    record = await bring_object(call, bucket, name)
    transfer_id, transfer = random_id(), Transfer(target.name, set())
    pipeline = read_pipeline(call)
    destination = ""
    if (
        call.store.owner(target, target_object) is not call.node
        and call.era.transformers.direct_put
    ):
        destination = destination_url(call, target, target_object, transfer_id)
    work = Work(
        etl,
        bucket,
        record,
        args=call.query.text(const.QPARAM_ETL_ARGS),
        pipeline=pipeline,
        destination=destination,
        as_body=call.query.flag(const.QPARAM_LATEST),
        timeout_s=etl.definition.object_s,
    )
    call.store.etls.transfers[transfer_id] = transfer
    try:
        size, direct = await transform_into(call, work, target, target_object, transfer)
    except AisError as error:
        etl.note_error(work.uri, error)
        raise
    finally:
        del call.store.etls.transfers[transfer_id]
    _count(work, size)
    return Reply(204 if direct else 200)
