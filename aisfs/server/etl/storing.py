"""Results that become objects: received from a process, or put by it.

AIS: offline transforms, `object_to` with `etl_name`, and the routes that processes themselves call:
`GET|PUT <target>/v1/etl/_object/<etl>/<secret>/<escaped uname>` (3.17: without the name).
"""

import hmac
import os
from collections.abc import AsyncIterator

from aiohttp import web

from aisfs.server.etl.calls import Result, Work, escaped_uname, transformed
from aisfs.server.etl.registry import Etl, Transfer
from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply
from aisfs.server.http.streams import to_its_end
from aisfs.server.naming import check_object_name, encode_name, parse_uname
from aisfs.server.objects.ranges import parse_range
from aisfs.server.objects.reads import bring_if_any, send_file
from aisfs.server.objects.refusals import object_missing
from aisfs.server.objects.writes import (
    PIECE,
    Intake,
    check_room,
    new_record,
)
from aisfs.server.remote.copies import commit
from aisfs.server.storage.blobs import BlobWriter
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

OBJECT_ROUTE = "_object"
WRITE_TRANSFORMED = "3"
"""`owt` of a direct put: the reason for which an object is written."""


def object_url(call: Call, etl: str) -> str:
    """Return the base of `AIS_TARGET_URL`, to which the secret is added."""
    base = f"{call.store.targets[0].url}/v1/etl/{OBJECT_ROUTE}"
    return f"{base}/{etl}" if call.era.transformers.named_objects else base


def destination_url(call: Call, target: Bucket, name: str, transfer_id: str) -> str:
    """Return where a process may put a result that belongs to another target."""
    owner = call.store.owner(target, name)
    return f"{owner.url}/{escaped_uname(target, name)}?owt={WRITE_TRANSFORMED}&uuid={transfer_id}"


async def transform_into(
    call: Call, work: Work, target: Bucket, name: str, transfer: Transfer
) -> tuple[int, bool]:
    """Transform an object and store the result.

    Args:
        call: The request that asked for it.
        work: The object and its way.
        target: Bucket of the result.
        name: Name of the result.
        transfer: Where direct puts of it are noted.

    Returns:
        Bytes of the result, and whether the process put it by itself.

    Raises:
        AisError: it failed; nothing is stored then.
    """
    transfer.arrived.pop(name, None)
    transfer.names.add(name)
    try:
        async with transformed(call, work) as result:
            size = await _take(call, result, target, name, transfer)
    finally:
        transfer.names.discard(name)
    return size


async def _take(
    call: Call, result: Result, target: Bucket, name: str, transfer: Transfer
) -> tuple[int, bool]:
    if result.status == 204:
        arrived = transfer.arrived.get(name)
        if arrived is None:
            raise AisError(
                500, "ETL error: the process says that it put the result, but nothing came"
            )
        return arrived, True
    if result.status >= 300:
        raise AisError(500, f"ETL error: the process answered {result.status}, not with a result")
    size = await store_pieces(call, target, name, result.pieces, arrived=transfer.arrived)
    return size, name in transfer.arrived


async def store_pieces(
    call: Call,
    bucket: Bucket,
    name: str,
    pieces: AsyncIterator[bytes],
    arrived: dict[str, int] | None = None,
) -> int:
    """Store bytes as an object; all of them or nothing. Returns their number.

    Args:
        call: The request that asked for it.
        bucket: Where to.
        name: The object's name.
        pieces: The bytes.
        arrived: Direct puts; one of this name is not undone by an empty answer.

    Raises:
        AisError: 404 the bucket is gone, 507 the disk is full.
    """
    intake = Intake(bucket)
    writer = call.store.blobs.create(intake.hashers)
    try:
        await _write(call, writer, pieces)
        call.store.check_still_there(bucket)
        if not writer.size and arrived and name in arrived:
            writer.discard()
            return arrived[name]
        key = encode_name(name)
        old = call.store.catalog.get(bucket, key)
        record = new_record(bucket, key, writer, intake.checksum, (old, {}))
        writer.close()
        await commit(call.store, bucket, record)
    except BaseException:
        writer.discard()
        raise
    return writer.size


async def _write(call: Call, writer: BlobWriter, pieces: AsyncIterator[bytes]) -> None:
    held: list[bytes] = []
    size = 0
    async for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= PIECE:
            check_room(call, size)
            await to_its_end(call, writer.write, held)
            held, size = [], 0
    if held:
        check_room(call, size)
        await to_its_end(call, writer.write, held)


# ---- what processes ask for ---------------------------------------------------------------------


async def serve_object_route(call: Call) -> web.StreamResponse:
    """Answer a process that fetches an object or puts a result.

    Raises:
        AisError: 403 without the secret of a transformer that is up.
    """
    etl, uname = _check_secret(call)
    bucket_name, name = parse_uname(uname)
    bucket = await call.store.open_bucket(bucket_name)
    if call.method == "GET":
        return await _send_object(call, bucket, name)
    if call.method != "PUT":
        raise AisError(400, f"invalid request URI: '{call.method} /v1/etl/{OBJECT_ROUTE}'")
    transfer = call.store.etls.transfers.get(call.query.text(const.QPARAM_UUID))
    if transfer is None or transfer.bucket != bucket_name or name not in transfer.names:
        raise AisError(400, f"{etl.name}: {bucket_name.uri}/{name} is not expected (any more)")
    check_object_name(name)
    pieces = call.request.content.iter_any()
    size = await store_pieces(call, bucket, name, pieces)
    transfer.arrived[name] = size
    return Reply()


def _check_secret(call: Call) -> tuple[Etl, str]:
    parts = call.path.split("/", 4)[4]
    first, _, rest = parts.partition("/")
    named = call.store.etls.find(first)
    if named is not None:
        secret, _, uname = rest.partition("/")
        candidates = [named]
    else:
        secret, uname = first, rest
        candidates = call.store.etls.all()
    for etl in candidates:
        if etl.secret and hmac.compare_digest(secret.encode(), etl.secret.encode()):
            return etl, uname
    raise AisError(403, "invalid or expired secret of a transformer", url_path="/v1/etl/_object")


async def _send_object(call: Call, bucket: Bucket, name: str) -> web.StreamResponse:
    record = await bring_if_any(call, bucket, name)
    if record is None:
        raise object_missing(bucket, name)
    span = parse_range(call.header("Range"), record.size, f"{bucket.name.uri}/{name}")
    offset, length = span or (0, record.size)
    headers = [("Content-Type", const.OCTET_STREAM)]
    if span is not None:
        headers.append(("Content-Range", f"bytes {offset}-{offset + length - 1}/{record.size}"))
    fd = call.store.blobs.open(record.blob)
    try:
        status = 200 if span is None else 206
        return await send_file(call, fd, (status, headers), (offset, length))
    finally:
        os.close(fd)
