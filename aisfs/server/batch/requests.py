"""GetBatch: many objects and archive members in one archive, in the order they were asked for.

AIS: `GET /v1/ml/moss[/{bucket}]` with a JSON body. The gateway checks it, joins or starts the
bucket's job of kind `get-batch`, and redirects to a target, to which the client sends the body
again. Streamed, the reply is the archive; otherwise
it is multipart, metadata first, and the archive waits in a file until that is known.
"""

import base64
import binascii
import html
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from aisfs.server.archives import formats
from aisfs.server.archives.formats import ArchiveError
from aisfs.server.batch.items import Item, ItemReader, MissingItem, TooManyMissing
from aisfs.server.buckets import access
from aisfs.server.http.call import Call, decode_json
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply
from aisfs.server.http.streams import send_pieces
from aisfs.server.jobs.table import Job
from aisfs.server.naming import (
    NO_BUCKET,
    BucketName,
    is_valid_object_name,
    parse_provider,
    parse_uname,
)
from aisfs.server.objects.writes import blocking_io
from aisfs.server.releases.locations import base36, encoded_path
from aisfs.server.remote.copies import bring_all
from aisfs.server.storage.blobs import BlobWriter, unlink_quietly
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

MAX_ITEMS = 1_000_000
_KIND = "get-batch"
_COLOCATION = {"", "0", "1", "2"}
_MARKED_PARTS = 3
"""Parts that a redirect adds to the path: job, work item, number of targets."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A request; `bucket` is that of the path, if it names one."""

    bucket: BucketName
    items: list[Item]
    kind: str
    goes_on: bool
    with_bucket: bool
    streamed: bool


async def serve_ml(call: Call) -> web.StreamResponse:
    """Answer `/v1/ml`."""
    parts = call.path.split("/")[3:]
    if not parts or parts[0] != "moss":
        raise AisError(400, f"invalid request URI: '{call.method} {call.path}'")
    rest = [part for part in parts[1:] if part]
    if call.node.role == "proxy":
        return await _redirect(call, rest)
    if not call.query.text(const.QPARAM_PROXY_ID) or len(rest) < _MARKED_PARTS:
        raise AisError(401, "direct target access denied")
    batch = await _parse(call, rest[:-_MARKED_PARTS])
    jobs = call.store.jobs
    job = next(iter(jobs.find({rest[-3]}, _KIND)), None) or jobs.join(_KIND, batch.bucket)
    with jobs.working(job):
        return await _answer(call, batch, job, rest[-2])


async def _redirect(call: Call, rest: list[str]) -> Reply:
    """Check a batch at the gateway and send the client to a target."""
    coloc = call.query.text("coloc")
    if coloc not in _COLOCATION:
        raise AisError(400, f"invalid 'coloc={coloc}' (expecting 0, 1, or 2)")
    batch = await _parse(call, rest)
    store = call.store
    first = batch.items[0]
    node = store.owner(first.bucket, first.name)
    work = _work_id(call)
    base = call.path.rstrip("/")
    job = store.jobs.join(_KIND, batch.bucket)
    path = encoded_path(f"{base}/{job.id}/{work}/{len(store.targets)}").path
    markers = [f"pid={store.proxy.id}", f"utm={base36(time.time_ns())}"]
    query = "&".join([pair for pair in call.query_text.split("&") if pair] + markers)
    location = node.url + store.trust.vouch(call, f"{path}?{query}")
    page = f'<a href="{html.escape(location)}">Temporary Redirect</a>.\n\n'
    body = page.encode("utf-8", "replace")
    return Reply(307, [("Location", location)], body, "text/html; charset=utf-8")


# ---- the request --------------------------------------------------------------------------------


async def _parse(call: Call, rest: list[str]) -> Batch:
    data = await call.body()
    if data[:1] not in {b"{", b"n"}:
        found = data[:1].decode("latin-1") or "\0"
        raise AisError(400, f"ReadObjectCB: expect {{ or n, but found {found}")
    fields = decode_json(data, "unmarshalerDecoder: ")
    listed = fields.get("in") if isinstance(fields, dict) else None
    default = await call.store.open_bucket(call.bucket_name(rest[0])) if rest else None
    if not listed:
        raise AisError(400, "moss: empty input")
    if not isinstance(listed, list) or len(listed) > MAX_ITEMS:
        raise AisError(400, f"unmarshalerDecoder: expecting a list of up to {MAX_ITEMS} items")
    items = [await _item(call, entry, default) for entry in listed]
    for bucket in {item.bucket.id: item.bucket for item in items}.values():
        access.check(bucket, access.GET)
    return Batch(
        default.name if default else NO_BUCKET,
        items,
        _kind(call, fields.get("mime") or ""),
        goes_on=bool(fields.get("coer")),
        with_bucket=not fields.get("onob"),
        streamed=bool(fields.get("strm")),
    )


def _work_id(call: Call) -> str:
    return f"{call.store.proxy.id[:7]}-{secrets.token_hex(3)}"


def _kind(call: Call, mime: Any) -> str:
    try:
        return formats.kind_by_mime(str(mime)) if mime else formats.TAR
    except ArchiveError as error:
        path = f"{call.path.rstrip('/')}/noxid/{_work_id(call)}/{len(call.store.targets)}"
        raise AisError(
            400, error.reason, error.tcode, at_target=True, method="POST", url_path=path
        ) from error


async def _item(call: Call, entry: Any, default: Bucket | None) -> Item:
    fields = entry if isinstance(entry, dict) else {}
    name = _text(fields, "objname")
    if not is_valid_object_name(name):
        raise AisError(400, f'unmarshalerDecoder: invalid object name "{name}"')
    archpath = _text(fields, "archpath")
    if archpath and not is_valid_object_name(archpath):
        raise AisError(400, f'unmarshalerDecoder: invalid archpath "{archpath}"')
    start, length = _number(fields, "start"), _number(fields, "length")
    if start < 0 or length < -1 or (start and not length):
        raise AisError(
            400,
            "unmarshalerDecoder: not satisfiable range "
            f'[start={start},length={length} (oname: "{name}")]',
        )
    bucket = await _bucket(call, fields, name, default)
    return Item(bucket, name, archpath, start, length, _opaque(fields))


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise AisError(400, f"unmarshalerDecoder: {key}: expects text")
    return value or ""


def _number(fields: dict[str, Any], key: str) -> int:
    value = fields.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise AisError(400, f"unmarshalerDecoder: {key}: expects a number")
    return value or 0


def _opaque(fields: dict[str, Any]) -> str:
    value = _text(fields, "opaque")
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AisError(400, f"unmarshalerDecoder: opaque: {error}") from error
    return value


async def _bucket(call: Call, fields: dict[str, Any], name: str, default: Bucket | None) -> Bucket:
    if uname := _text(fields, "uname"):
        identity, extra = parse_uname(uname)
        if extra:
            raise AisError(
                400,
                f'parse-uname "{uname}": not expecting object name (got "{identity.uri}/{extra}")',
            )
        return await call.store.open_bucket(identity)
    if bucket := _text(fields, "bucket"):
        provider = parse_provider(_text(fields, "provider"))
        return await call.store.open_bucket(BucketName(bucket, provider))
    if default is None:
        raise AisError(400, f'missing bucket specification for object "{name}"')
    return default


# ---- the answer ---------------------------------------------------------------------------------


async def _answer(call: Call, batch: Batch, job: Job, work: str) -> web.StreamResponse:
    store = call.store
    items = ItemReader(
        batch.items,
        batch.goes_on,
        batch.with_bucket,
        call.node.label,
        store.blobs,
        store.catalog.reader,
    )
    await bring_all(store, [(item.bucket, item.name) for item in batch.items])
    await store.in_thread(items.check_ranges)
    if batch.streamed:
        headers = [("Content-Type", formats.CONTENT_TYPES[batch.kind])]
        pieces = formats.pack(_until_missing(items), batch.kind)
        reply = await send_pieces(call, headers, pieces)
    else:
        reply = await _send_multipart(call, batch, items, (job.id, work))
    job.objects += len(items.metadata)
    job.size += sum(told["size"] for told in items.metadata)
    return reply


def _until_missing(items: ItemReader) -> Iterator[formats.Entry]:
    """Yield entries until too much is missing: as in AIS, the archive then simply ends there."""
    try:
        yield from items.entries()
    except (MissingItem, TooManyMissing):
        return


async def _send_multipart(
    call: Call, batch: Batch, items: ItemReader, ids: tuple[str, str]
) -> web.StreamResponse:
    job, work = ids
    writer = call.store.blobs.create_work()
    try:
        await blocking_io(call, _write_archive, writer, items, batch.kind)
        boundary = secrets.token_hex(30)
        headers = [("Content-Type", f"multipart/mixed; boundary={boundary}")]
        pieces = _multipart(items.metadata, job, boundary, writer.path)
        return await send_pieces(call, headers, pieces)
    except MissingItem as error:
        raise AisError(404, str(error), "ErrNotFound") from error
    except TooManyMissing as error:
        uri = batch.items[0].bucket.name.uri
        raise AisError(
            400, f'x-get-batch[{job}]-{uri}: wid="{work}" exceeded soft-errors limit: 9 (max: 8)'
        ) from error
    except ArchiveError as error:
        raise AisError(400, error.reason, error.tcode) from error
    finally:
        writer.close()
        unlink_quietly(writer.path)


def _write_archive(writer: BlobWriter, items: ItemReader, kind: str) -> None:
    for piece in formats.pack(items.entries(), kind):
        writer.write([piece])


def _multipart(
    metadata: list[dict[str, Any]], job: str, boundary: str, archive: Path
) -> Iterator[bytes]:
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n'.encode()
        + msgspec.json.encode({"uuid": job, "out": metadata})
        + b"\n"
    )
    yield (
        head
        + (
            f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="archive"; '
            f'filename="get-batch[{job}]"\r\nContent-Type: {const.OCTET_STREAM}\r\n\r\n'
        ).encode()
    )
    with archive.open("rb", buffering=0) as file:
        while piece := file.read(formats.PIECE):
            yield piece
    yield f"\r\n--{boundary}--\r\n".encode()
