"""Listings of remote buckets: the origin's names, with what this store holds of them marked.

The origin makes each page; objects that are here show their own attributes and the flag "cached".
Real AIS 5.0 marks every name of a remote AIS bucket as cached when only names and sizes are asked
for; here the flag is true. What is cached only is listed from the records alone, as in AIS.
"""

from collections.abc import Callable
from typing import Any

from aisfs.server.archives.listing import Row
from aisfs.server.buckets import access
from aisfs.server.buckets.entries import (
    Filler,
    JsonEntry,
    Locate,
    MsgpackEntry,
    encode_page,
    raw_text,
)
from aisfs.server.buckets.list_request import (
    FLAG_CACHED,
    FLAG_DIFF,
    FLAG_NOT_CACHED,
    ListRequest,
    parse_request,
)
from aisfs.server.buckets.listing import list_objects, locator, with_encoding
from aisfs.server.buckets.rows import COLUMNS
from aisfs.server.http.call import Call
from aisfs.server.http.replies import JSON_TYPE, Reply
from aisfs.server.naming import encode_name
from aisfs.server.remote.origin import Listed, Page, PageRequest
from aisfs.server.storage.catalog import Bucket, scan
from aisfs_sdk import const

Pair = tuple[Listed | None, Row | None]

ENTRY_CHANGED = 1024
ENTRY_GONE = 2048
"""Flags of a listing that compares copies with their origin."""


async def list_remote(call: Call, bucket: Bucket, value: Any) -> Reply:
    """Answer one page of a remote bucket."""
    access.check(bucket, access.LIST, call.era)
    request = with_encoding(call, parse_request(value, bucket, call.era))
    if request.flags & FLAG_CACHED:
        return await list_objects(call, bucket, value)
    if request.wants("atime"):
        call.store.catalog.flush_atimes()
    page = await origin_page(call, bucket, _asked(request))
    cached = _cached(call, bucket, request, page)
    merged = _merge(request, page.entries, cached)
    locate = locator(call, bucket) if request.wants("location") else None
    last = encode_name(page.entries[-1].name) if page.more and page.entries else b""
    try:
        body = _encode(request, Writer(request, locate, bytes.decode), merged, last)
    except UnicodeDecodeError:
        body = _encode(request, Writer(request, locate, raw_text(request)), merged, last)
    kind = const.MSGPACK_CONTENT_TYPE if request.msgpack else JSON_TYPE
    return Reply(200, (), body, kind)


def _encode(request: ListRequest, writer: "Writer", merged: list[Pair], last: bytes) -> bytes:
    entries = [writer.entry(listed, row) for listed, row in merged]
    return encode_page(request, entries, more=bool(last), token=writer.text(last) if last else "")


def _asked(request: ListRequest) -> PageRequest:
    props = {"name"} | {prop for prop in _PROPS if request.wants(prop)}
    if request.flags & FLAG_DIFF:
        props |= {"size", "version", "checksum"}
    return PageRequest(
        request.prefix,
        request.after,
        request.limit,
        request.recursive,
        ",".join(sorted(props)),
        request.time_format,
    )


_PROPS = ("size", "version", "checksum", "atime", "copies", "location")


async def origin_page(call: Call, bucket: Bucket, request: PageRequest) -> Page:
    """Ask the origin for a page."""
    remotes = call.store.remotes
    return await remotes.run(remotes.origin(bucket.name).page, request)


def _cached(call: Call, bucket: Bucket, request: ListRequest, page: Page) -> dict[str, Row]:
    """Return the rows of what is here, of the names that the page spans."""
    prefix, after = encode_name(request.prefix), encode_name(request.after)
    low = max(prefix, after + b"\0") if after else prefix
    last = encode_name(page.entries[-1].name) if page.more and page.entries else None
    rows: dict[str, Row] = {}
    for row in scan(call.store.catalog.connection, COLUMNS, bucket.id, prefix, low, -1):
        if last is not None and row[0] > last:
            break
        rows[row[0].decode("utf-8", "surrogateescape")] = row
    return rows


def _merge(request: ListRequest, listed: list[Listed], cached: dict[str, Row]) -> list[Pair]:
    merged: list[Pair] = [(item, cached.get(item.name)) for item in listed]
    if request.flags & FLAG_NOT_CACHED:
        return [pair for pair in merged if pair[1] is None]
    if request.flags & FLAG_DIFF and request.recursive:
        known = {item.name for item in listed}
        merged += [(None, row) for name, row in cached.items() if name not in known]
        merged.sort(key=_name)
    return merged


def _name(pair: Pair) -> bytes:
    listed, row = pair
    if listed is not None:
        return encode_name(listed.name)
    return bytes(row[0]) if row is not None else b""


class Writer:
    """Turns merged entries into what is encoded; `text` turns bytes of names into its texts."""

    def __init__(
        self, request: ListRequest, locate: Locate | None, text: Callable[[bytes], Any]
    ) -> None:
        self.text = text
        self._request = request
        self._fill = Filler(request, locate, text)
        self._kind: Any = MsgpackEntry if request.msgpack else JsonEntry

    def entry(self, listed: Listed | None, row: Row | None) -> Any:
        """Return one entry."""
        if row is not None:
            entry = self._kind(*self._fill(row))
            compare = self._request.flags & FLAG_DIFF
            return _compared(self._request, entry, listed, row) if compare else entry
        assert listed is not None
        name = self.text(encode_name(listed.name))
        if listed.size < 0:
            return self._kind(name, "", "", "", "", "", self._size(0), 0, const.ENTRY_DIRECTORY)
        wants = self._request.wants
        size = listed.size if wants("size") else 0
        return self._kind(
            name,
            listed.checksum if wants("checksum") else "",
            listed.atime if wants("atime") else "",
            listed.version if wants("version") else "",
            listed.location if wants("location") else "",
            "",
            self._size(size),
            listed.copies if wants("copies") else 0,
            0,
        )

    def _size(self, size: int) -> Any:
        return size if self._request.msgpack else (str(size) if size else "")


def _compared(request: ListRequest, entry: Any, listed: Listed | None, row: Row) -> Any:
    """Mark a copy whose origin is gone or another."""
    _, size, version, checksum = row[:4]
    flag = 0
    if listed is None:
        flag = ENTRY_GONE
    elif (listed.size, listed.version) != (size, version) or (
        listed.checksum and listed.checksum != checksum
    ):
        flag = ENTRY_CHANGED
    if request.msgpack:
        entry.f |= flag
    else:
        entry.flags |= flag
    return entry
