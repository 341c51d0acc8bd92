"""Listing objects: one page at a time, in bytewise order of the entries, complete.

AIS: `GET /v1/buckets/{bucket}`, action `list`. The token of a page is its last name, so any name
may be a token and a listing keeps no state. What real servers do wrong is not copied: no name is
lost at a page's border, a prefix is a plain string prefix, emptied directories are not listed,
and directories obey token and `start_after` like objects.
"""

import sqlite3
from typing import Any

from aisfs.server.archives.listing import ArchiveExpander
from aisfs.server.buckets import access
from aisfs.server.buckets.entries import Locate, encode_page, entries_of, raw_text
from aisfs.server.buckets.list_request import FLAG_ARCH_DIR, ListRequest, parse_request
from aisfs.server.buckets.rows import mirrored_names, rows_of_page, shards_before
from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import JSON_TYPE, Reply
from aisfs.server.naming import encode_name
from aisfs.server.state import random_id
from aisfs.server.storage.blobs import Blobs
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

THREAD_PAGE = 1_000
"""Pages that may be longer than this are built in a worker thread on a connection of their own,
so that others are served meanwhile; the hop costs more than it gains for shorter ones."""


async def list_objects(call: Call, bucket: Bucket, value: Any) -> Reply:
    """Answer one page."""
    access.check(bucket, access.LIST, call.era)
    asked = parse_request(value, bucket, call.era)
    if asked.uuid and call.era.list_ids_checked and asked.uuid not in call.store.listings:
        raise AisError(404, f"x-[{asked.uuid}] not found ({call.store.proxy.id}(*))")
    if asked.target and asked.target not in {target.id for target in call.store.targets}:
        error = call.era.said.unknown_list_target.error(
            target=asked.target, version=call.store.smap_version
        )
        error.at_target = True
        raise error
    request = with_encoding(call, asked)
    call.store.note_listing(request.uuid)
    if request.wants("atime"):
        call.store.catalog.flush_atimes()
    locate = locator(call, bucket) if request.wants("location") else None
    if request.limit <= THREAD_PAGE and not request.flags & FLAG_ARCH_DIR:
        body = build_page(call.store.catalog.connection, bucket.id, request, locate)
    else:
        body = await call.store.in_thread(_build_elsewhere, call, bucket.id, request, locate)
    kind = const.MSGPACK_CONTENT_TYPE if request.msgpack else JSON_TYPE
    return Reply(200, (), body, kind)


def with_encoding(call: Call, request: ListRequest) -> ListRequest:
    """Complete a request by the encoding that the client accepts, and an id."""
    msgpack = const.MSGPACK_CONTENT_TYPE in call.header("Accept")
    fields = {name: getattr(request, name) for name in ListRequest.__slots__}
    return ListRequest(**{**fields, "msgpack": msgpack, "uuid": request.uuid or random_id()})


def _build_elsewhere(call: Call, bucket: int, request: ListRequest, locate: Locate | None) -> bytes:
    connection = call.store.catalog.reader()
    try:
        return build_page(connection, bucket, request, locate, call.store.blobs)
    finally:
        connection.close()


def locator(call: Call, bucket: Bucket) -> Locate:
    """Return a function that tells on which disk of which target an object is."""
    disk = call.store.disk_label()
    return lambda name: f"{call.store.owner(bucket, name).label}:{disk}"


def build_page(
    db: sqlite3.Connection,
    bucket: int,
    request: ListRequest,
    locate: Locate | None,
    blobs: Blobs | None = None,
) -> bytes:
    """Return the encoded page; archives are expanded with `blobs`, which blocks."""
    rows = rows_of_page(db, bucket, request)
    if request.flags & FLAG_ARCH_DIR and blobs is not None:
        expander = ArchiveExpander(db, bucket, blobs)
        before = shards_before(db, bucket, request)
        rows = expander.expand(before, rows, encode_name(request.after), request.limit)
    mirrored = mirrored_names(db, bucket, rows) if request.wants("copies") else frozenset()
    try:
        entries = entries_of(rows, request, locate, bytes.decode, mirrored)
    except UnicodeDecodeError:
        entries = entries_of(rows, request, locate, raw_text(request), mirrored)
    return encode_page(request, entries, more=bool(rows) and len(rows) >= request.limit)
