"""Reading objects at a target: GET with ranges, HEAD in both forms.

AIS: `GET /v1/objects/{bucket}/{object}`, `HEAD` of it, `HEAD …?props=`.
"""

import os
from collections.abc import Callable
from email.utils import formatdate

from aiohttp import web

from aisfs.server.eras import Era, Feature
from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError, not_implemented
from aisfs.server.http.replies import SMALL_BODY, FileReply, Reply, header_text, read_at
from aisfs.server.naming import decode_name, encode_name
from aisfs.server.objects.ranges import parse_range
from aisfs.server.objects.refusals import object_missing
from aisfs.server.releases.content_types import SNIFFED, sniff
from aisfs.server.releases.locations import base36
from aisfs.server.remote.copies import bring
from aisfs.server.storage.catalog import Bucket, Record
from aisfs.server.storage.checksums import digest
from aisfs_sdk import const

_EXISTENCE_ONLY = {1, 3}
_NO_PROPS = 1
_PRESENT_ONLY = {2, 3, 4}
_OUTSIDE = 5
_SILENT_PROPS = {"name", "size", "ec"}


def find_object(call: Call, bucket: Bucket, name: str) -> Record:
    """Return the record of an object that this target owns.

    Raises:
        AisError: 404 when it does not exist or another target owns it.
    """
    record = call.store.catalog.get(bucket, encode_name(name))
    if record is None or call.store.owner(bucket, name) is not call.node:
        said, uri = call.era.said, f"{bucket.name.uri}/{name}"
        other = {"HEAD": said.head_missing, "PATCH": said.patch_missing}.get(call.method)
        raise other.error(uri=uri) if other is not None else object_missing(bucket, name)
    return record


async def get_object(call: Call, bucket: Bucket, name: str) -> web.StreamResponse:
    """Answer GET of an object or of one range of it."""
    uri = f"{bucket.name.uri}/{name}"
    refuse_transforms(call)
    record = await bring_object(call, bucket, name)
    span = parse_range(call.header("Range"), record.size, uri, call.era)
    offset, length = span or (0, record.size)
    fd = call.store.blobs.open(record.blob)
    try:
        headers = attribute_headers(record, call.era)
        if span is not None and bucket.props["checksum"]["enable_read_range"]:
            data = await call.store.in_thread(read_at, fd, offset, length)
            value = digest(record.checksum_type, data)
            headers = [pair for pair in headers if pair[0] != const.HEADER_CHECKSUM_VALUE]
            headers.append((const.HEADER_CHECKSUM_VALUE, value))
        headers += content_type(call, lambda: read_at(fd, offset, min(length, SNIFFED)))
        if span is not None:
            content_range = f"bytes {offset}-{offset + length - 1}/{record.size}"
            headers += [("Accept-Ranges", "bytes"), ("Content-Range", content_range)]
        call.store.catalog.touch(bucket, record.name)
        status = 200 if span is None else call.era.range_status
        return await send_file(call, fd, (status, headers), (offset, length))
    finally:
        os.close(fd)


def content_type(call: Call, read: Callable[[], bytes]) -> list[tuple[str, str]]:
    """Return the header that tells the type of bytes; `read` returns the first of them."""
    kind = sniff(read()) if call.era.sniffs_types else const.OCTET_STREAM
    return [("Content-Type", kind)] if kind else []


async def send_file(
    call: Call, fd: int, head: tuple[int, list[tuple[str, str]]], span: tuple[int, int]
) -> web.StreamResponse:
    """Send a range of an open blob: small ones from memory, others by sendfile."""
    status, headers = head
    offset, length = span
    if length <= SMALL_BODY or call.fault is not None:
        reply = Reply(status, headers, read_at(fd, offset, length))
        if not length:
            reply.headers["Content-Length"] = "0"
        return reply
    stream = FileReply(status, headers, length)
    await stream.send(call.request, fd, offset, length)
    call.sent += length
    return stream


async def bring_object(call: Call, bucket: Bucket, name: str) -> Record:
    """Return the record of an object that this target owns, fetching a remote one first.

    Raises:
        AisError: 404 when it does not exist or another target owns it; what the origin refuses.
    """
    by_blob = call.header(const.HEADER_BLOB_DOWNLOAD) and call.era.has(Feature.BLOB_DOWNLOAD)
    if by_blob and not bucket.remote:
        raise AisError(
            400, f"blob-downloader is not supported for local buckets: {bucket.name.uri}"
        )
    if not bucket.remote:
        return find_object(call, bucket, name)
    if call.store.owner(bucket, name) is not call.node:
        raise object_missing(bucket, name)
    latest = call.query.flag(const.QPARAM_LATEST)
    return await bring(call.store, bucket, name, latest=latest)


async def bring_if_any(call: Call, bucket: Bucket, name: str) -> Record | None:
    """Return the record of an object, fetching a remote one first; None if there is none."""
    if bucket.remote:
        try:
            return await bring(call.store, bucket, name)
        except AisError as error:
            if error.status != 404:
                raise
    return call.store.catalog.get(bucket, encode_name(name))


def refuse_transforms(call: Call) -> None:
    """Refuse what GET can do to bytes in AIS but not here."""
    if call.query.text(const.QPARAM_ETL_NAME):
        raise not_implemented("etl_name with archpath")
    if call.query.text(const.QPARAM_ETL_PIPELINE):
        raise AisError(400, "etl_pipeline without etl_name: name the first transformer")


def attribute_headers(record: Record, era: Era) -> list[tuple[str, str]]:
    """Return the headers that GET, HEAD and PUT replies have in common."""
    headers = [(const.HEADER_ATIME, str(record.atime)), *_checksum_headers(record)]
    headers += custom_headers(record)
    if record.version:
        headers.append((const.HEADER_VERSION, record.version))
    etag = record.custom.get("ETag")
    if etag and era.etag_from_custom:
        headers.append((const.HEADER_ETAG, header_text(etag)))
    return headers


def _checksum_headers(record: Record) -> list[tuple[str, str]]:
    if not record.checksum:
        return []
    return [
        (const.HEADER_CHECKSUM_TYPE, record.checksum_type),
        (const.HEADER_CHECKSUM_VALUE, record.checksum),
    ]


def custom_headers(record: Record) -> list[tuple[str, str]]:
    """Return one header line per custom key."""
    return [
        (const.HEADER_CUSTOM_MD, header_text(f"{key}={value}"))
        for key, value in record.custom.items()
    ]


async def head_object(call: Call, bucket: Bucket, name: str) -> Reply:
    """Answer HEAD of an object."""
    presence = _presence(call)
    if bucket.remote and call.store.owner(bucket, name) is call.node:
        if call.store.catalog.get(bucket, encode_name(name)) is None:
            return await _head_absent(call, bucket, name, presence)
        if call.query.flag(const.QPARAM_LATEST):
            await _check_latest(call, bucket, name)
    record = find_object(call, bucket, name)
    if presence == _OUTSIDE:
        raise call.era.said.is_present.error(uri=f"{bucket.name.uri}/{name}")
    if presence in _EXISTENCE_ONLY:
        return Reply()
    props = call.query.text(const.QPARAM_PROPS)
    if props and call.era.has(Feature.HEAD_PROPS):
        headers = [(const.HEADER_PRESENT, "true")]
        for prop in props.split(","):
            headers += _prop_headers(call, record, prop)
    else:
        headers = _full_headers(call, bucket, record)
    if record.size:
        headers.append(("Content-Length", str(record.size)))
    return Reply(200, headers)


async def _head_absent(call: Call, bucket: Bucket, name: str, presence: int) -> Reply:
    """Answer HEAD of a remote object that is not here."""
    if presence in _PRESENT_ONLY:
        raise call.era.said.head_missing.error(uri=f"{bucket.name.uri}/{name}")
    remotes = call.store.remotes
    found = await remotes.run(remotes.origin(bucket.name).stat, name)
    if presence == _NO_PROPS:
        return Reply()
    kind, value = found.checksum_type, found.checksum
    record = Record(
        encode_name(name), found.size, found.version, kind, value, 0, 0, "", found.custom
    )
    if props := call.query.text(const.QPARAM_PROPS):
        headers = [(const.HEADER_PRESENT, "false")]
        for prop in props.split(","):
            headers += _prop_headers(call, record, prop)
    else:
        headers = [
            pair for pair in attribute_headers(record, call.era) if pair[0] != const.HEADER_ATIME
        ]
        headers += [
            *_bucket_headers(bucket),
            (const.HEADER_MIRROR_COPIES, "0"),
            (const.HEADER_MIRROR_PATHS, "[]"),
            (const.HEADER_NAME, header_text(name)),
            (const.HEADER_PRESENT, "false"),
        ]
    if record.size:
        headers.append(("Content-Length", str(record.size)))
    return Reply(200, headers)


async def _check_latest(call: Call, bucket: Bucket, name: str) -> None:
    """Refuse to describe a copy whose origin has changed or is gone.

    Raises:
        AisError: 409 or 410.
    """
    remotes = call.store.remotes
    try:
        now = await remotes.run(remotes.origin(bucket.name).stat, name)
    except AisError as error:
        if error.status == 404:
            error.status = 410
        raise
    record = call.store.catalog.get(bucket, encode_name(name))
    if record is not None and (difference := now.describe(record)):
        message = f"metadata mismatch: {difference}"
        raise AisError(409, message, "ErrRemoteMetadataMismatch")


def _presence(call: Call) -> int:
    text = call.query.text(const.QPARAM_FLT_PRESENCE)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0


def _full_headers(call: Call, bucket: Bucket, record: Record) -> list[tuple[str, str]]:
    return [
        *attribute_headers(record, call.era),
        *_bucket_headers(bucket),
        (const.HEADER_LOCATION_PROPS, f"{call.node.label}:{call.store.disk_label()}"),
        (const.HEADER_MIRROR_COPIES, str(record.copies)),
        (const.HEADER_MIRROR_PATHS, f"[{_mountpaths(call, record)}]"),
        (const.HEADER_NAME, header_text(decode_name(record.name))),
        (const.HEADER_PRESENT, "true"),
    ]


def _bucket_headers(bucket: Bucket) -> list[tuple[str, str]]:
    name = bucket.name
    headers = [(const.HEADER_BUCKET_NAME, name.name), (const.HEADER_BUCKET_PROVIDER, name.provider)]
    if name.uuid:
        headers.append((const.HEADER_BUCKET_NAMESPACE_UUID, name.uuid))
    if name.namespace:
        headers.append(("Ais-Bucket-Namespace-Name", name.namespace))
    return headers


def _prop_headers(call: Call, record: Record, prop: str) -> list[tuple[str, str]]:
    """Return the headers of one property of a `props=` request.

    Raises:
        AisError: 400 for a property that AIS 5.0 does not have here.
    """
    if prop in _SILENT_PROPS:
        return []
    if prop not in _PROPS:
        raise AisError(
            400,
            f'invalid property "{prop}" in props list',
            headers={const.HEADER_PRESENT: "true" if record.blob else "false"},
        )
    return _PROPS[prop](call, record)


def _version_headers(_: Call, record: Record) -> list[tuple[str, str]]:
    return [(const.HEADER_VERSION, record.version)] if record.version else []


def _last_modified(_: Call, record: Record) -> list[tuple[str, str]]:
    return [(const.HEADER_LAST_MODIFIED, formatdate(record.mtime // 10**9, usegmt=True))]


def _location(call: Call, _: Record) -> list[tuple[str, str]]:
    return [(const.HEADER_LOCATION_PROPS, f"{call.node.label}:{call.store.disk_label()}")]


def _mountpaths(call: Call, record: Record) -> str:
    paths = (call.store.blobs.root, call.store.blobs.mirror)
    return " ".join(str(path) for path in paths[: record.copies])


def _copies(call: Call, record: Record) -> list[tuple[str, str]]:
    return [
        (const.HEADER_MIRROR_COPIES, str(record.copies)),
        (const.HEADER_MIRROR_PATHS, _mountpaths(call, record)),
    ]


def _chunked(_: Call, record: Record) -> list[tuple[str, str]]:
    if not record.chunks:
        return []
    return [
        (const.HEADER_CHUNKS_COUNT, str(record.chunks)),
        (const.HEADER_CHUNKS_MAX_SIZE, str(record.chunk_size)),
    ]


def _etag(record: Record) -> str:
    if custom := record.custom.get("ETag"):
        return f'"{header_text(custom)}"'
    if record.checksum_type == "md5" and record.checksum:
        return f'"{record.checksum}"'
    return f'"v1-{record.checksum}-{base36(record.mtime)}"'


_PROPS: dict[str, Callable[[Call, Record], list[tuple[str, str]]]] = {
    "checksum": lambda _, record: _checksum_headers(record),
    "atime": lambda _, record: [(const.HEADER_ATIME, str(record.atime))],
    "version": _version_headers,
    "custom": lambda _, record: custom_headers(record),
    "last-modified": _last_modified,
    "etag": lambda _, record: [(const.HEADER_ETAG, _etag(record))],
    "location": _location,
    "copies": _copies,
    "chunked": _chunked,
}
