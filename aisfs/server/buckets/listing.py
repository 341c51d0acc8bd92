"""Listing objects: one page at a time, in bytewise order of the entries, complete.

AIS: `GET /v1/buckets/{bucket}`, action `list`. The token of a page is its last name, so any name
may be a token and a listing keeps no state. What real servers do wrong is not copied: no name is
lost at a page's border, a prefix is a plain string prefix, emptied directories are not listed,
and directories obey token and `start_after` like objects.

A page is a range scan over the records. Without recursion a directory costs one seek, whatever
it holds: after its first name the scan goes on at `dir0`, the first name after all `dir/…`.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from aisfs.server.archives.formats import kind_by_name
from aisfs.server.archives.listing import IN_ARCHIVE, IS_ARCHIVE, ArchiveExpander, Row
from aisfs.server.buckets import access
from aisfs.server.eras import NEWEST, Era
from aisfs.server.gotime import format_time
from aisfs.server.http.call import Call, decode_value
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import JSON_TYPE, Reply
from aisfs.server.naming import check_prefix, decode_name, encode_name
from aisfs.server.state import random_id
from aisfs.server.storage.blobs import Blobs
from aisfs.server.storage.catalog import Bucket, scan
from aisfs_sdk import const

DEFAULT_PAGE = 10_000
"""Entries of a page when the client does not say, for ais buckets."""

MAX_PAGE = 1_000_000
"""Entries of a page at most; a reply of this size takes about 10 s and 300 MB to build."""

THREAD_PAGE = 1_000
"""Pages that may be longer than this are built in a worker thread on a connection of their own,
so that others are served meanwhile; the hop costs more than it gains for shorter ones."""

FLAG_ARCH_DIR = 8
FLAG_NAME_ONLY = 16
FLAG_NAME_SIZE = 32
FLAG_CACHED = 1
FLAG_NOT_CACHED = 512
FLAG_NO_RECURSION = 2048
FLAG_DIFF = 4096
FLAG_INVENTORY = 32768

_KEYS: dict[str, type | tuple[type, ...]] = {
    "prefix": str,
    "props": str,
    "pagesize": int,
    "continuation_token": str,
    "uuid": str,
    "flags": str,
    "start_after": str,
    "time_format": str,
    "target": str,
    "hdr": dict,
}
_SLASH = ord("/")
COLUMNS = "name, size, version, checksum, atime, custom, chunks"


class MsgpackEntry(msgspec.Struct, omit_defaults=True):
    """An entry in msgpack."""

    n: Any
    cs: str = ""
    a: str = ""
    v: str = ""
    t: str = ""
    m: Any = ""
    s: int = 0
    c: int = 0
    f: int = 0


class JsonEntry(msgspec.Struct, omit_defaults=True):
    """An entry in JSON."""

    name: Any
    checksum: str = ""
    atime: str = ""
    version: str = ""
    location: str = ""
    custom: Any = msgspec.field(default="", name="custom-md")
    size: str = ""
    copies: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A listing as it was asked for. `limit` is the number of entries of the page."""

    prefix: str = ""
    after: str = ""
    limit: int = DEFAULT_PAGE
    flags: int = 0
    props: str = ""
    uuid: str = ""
    time_format: str = ""
    target: str = ""
    msgpack: bool = False
    era: Era = NEWEST

    @property
    def recursive(self) -> bool:
        """Whether names below subdirectories are listed themselves."""
        return not self.flags & FLAG_NO_RECURSION

    def wants(self, prop: str) -> bool:
        """Whether a property is to be filled in; AIS looks for it as a substring."""
        if self.flags & FLAG_NAME_ONLY:
            return False
        if self.props:
            return prop in self.props
        extra = {"checksum", "atime"} if self.flags & FLAG_CACHED else set()
        return prop in {"size", *extra}


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


def _build_elsewhere(
    call: Call, bucket: int, request: ListRequest, locate: "Locate | None"
) -> bytes:
    connection = call.store.catalog.reader()
    try:
        return build_page(connection, bucket, request, locate, call.store.blobs)
    finally:
        connection.close()


def parse_request(value: Any, bucket: Bucket, era: Era = NEWEST) -> ListRequest:
    """Return the request that a `list` message's value makes.

    Raises:
        AisError: 400 for keys, types, flags or prefixes that the release refuses.
    """
    fields = decode_value(value, const.ACT_LIST, _KEYS)
    prefix = fields.get("prefix", "")
    if era.prefixes_checked:
        prefix = prefix.removesuffix("*")
        check_prefix(prefix)
    flags = _flags(fields.get("flags", "0"), bucket, era)
    limit = fields.get("pagesize", 0)
    if limit < 0:
        raise era.said.negative_page.error(size=limit)
    token, start = fields.get("continuation_token", ""), fields.get("start_after", "")
    if start and bucket.remote:
        raise AisError(
            400,
            f"list-objects option --start_after ({start}) not yet supported for remote buckets "
            f"({bucket.name.uri}({int(bucket.props['bid']):#x}))",
        )
    return ListRequest(
        prefix=prefix,
        after=max(token, start, key=encode_name),
        limit=min(limit or DEFAULT_PAGE, MAX_PAGE),
        flags=flags,
        props=fields.get("props", ""),
        uuid=fields.get("uuid", ""),
        time_format=fields.get("time_format", ""),
        target=fields.get("target", ""),
        era=era,
    )


def _flags(text: str, bucket: Bucket, era: Era) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise AisError(
            400,
            "{node}: failed to unmarshal list (map[string]interface {}), err: "
            f"Flags: unexpected value {text!r}",
        )
    flags, uri = int(text), bucket.name.uri
    if not era.refused_list_flags:
        return flags
    if flags & FLAG_NOT_CACHED and not bucket.remote:
        raise AisError(400, f"{uri} is not a remote bucket - cannot list 'not cached' objects")
    if flags & FLAG_DIFF and not bucket.remote:
        raise AisError(
            400,
            "cannot perform remote versions check (or diff vs remote bucket): "
            f"bucket {uri} does not provide remote versioning info",
        )
    if flags & FLAG_INVENTORY:
        raise AisError(400, f'bucket "{uri}" has no inventories', at_target=True)
    return flags


# ---- building a page ----------------------------------------------------------------------------

Locate = Callable[[str], str]


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
        before = _shards_before(db, bucket, request)
        rows = expander.expand(before, rows, encode_name(request.after), request.limit)
    mirrored = mirrored_names(db, bucket, rows) if request.wants("copies") else frozenset()
    try:
        entries = _entries(rows, request, locate, bytes.decode, mirrored)
    except UnicodeDecodeError:
        entries = _entries(rows, request, locate, raw_text(request), mirrored)
    return encode_page(request, entries, more=bool(rows) and len(rows) >= request.limit)


def encode_page(request: ListRequest, entries: list[Any], *, more: bool, token: Any = "") -> bytes:
    """Return a page as it is sent; the token is the last entry's name unless another is given."""
    if more and not token:
        token = entries[-1].n if request.msgpack else entries[-1].name
    if request.msgpack:
        page = {"UUID": request.uuid, "ContinuationToken": token, "Entries": entries, "Flags": 0}
        return msgspec.msgpack.encode(page)
    page = {
        "uuid": request.uuid,
        "continuation_token": token,
        "entries": entries or None,
        "flags": 0,
    }
    return msgspec.json.encode(page) + b"\n"


def mirrored_names(db: sqlite3.Connection, bucket: int, rows: list[Row]) -> frozenset[bytes]:
    """Return those of a page's names that have a second copy."""
    if not rows:
        return frozenset()
    found = db.execute(
        "SELECT name FROM objects WHERE bucket=? AND copies > 1 AND name >= ? AND name <= ?",
        (bucket, rows[0][0], rows[-1][0]),
    )
    return frozenset(name for (name,) in found)


def rows_of_page(db: sqlite3.Connection, bucket: int, request: ListRequest) -> list[Row]:
    """Return the rows of a page before archives are expanded; directories have size −1."""
    prefix, after = encode_name(request.prefix), encode_name(request.after)
    low = max(prefix, after + b"\0") if after else prefix
    if request.recursive:
        return list(scan(db, COLUMNS, bucket, prefix, low, request.limit))
    if request.era.directory_slash:
        return list(islice(_level(db, bucket, prefix, after), request.limit))
    walk = _level_without_slashes(db, bucket, prefix, after)
    rows = list(islice(walk, request.limit))
    return rows + [row for row in islice(walk, 1) if rows and row[0] == rows[-1][0]]


def _level(db: sqlite3.Connection, bucket: int, prefix: bytes, after: bytes) -> Iterator[Row]:
    """Walk one level: names without a further slash, and each directory once."""
    base = prefix.rfind(b"/") + 1
    low = max(prefix, after + b"\0") if after else prefix
    while True:
        for row in scan(db, COLUMNS, bucket, prefix, low, -1):
            slash = row[0].find(b"/", max(base, len(prefix)))
            if slash < 0:
                yield row
                continue
            directory = row[0][: slash + 1]
            if directory > after:
                yield (directory, -1, "", "", 0, "", 0)
            low = directory[:-1] + b"0"
            break
        else:
            return


def _level_without_slashes(
    db: sqlite3.Connection, bucket: int, prefix: bytes, after: bytes
) -> Iterator[Row]:
    """Walk one level with directories as AIS 3.17 shows and sorts them: without a slash.

    So a directory `a` comes before `a-x`, though the names in it come after. Where an entry has
    beginnings that may be such directories, they are looked up before it. An object and a
    directory of one name follow each other, the object first.
    """
    base = max(prefix.rfind(b"/") + 1, len(prefix), 1)
    seen: set[bytes] = set()
    for row in _level(db, bucket, prefix, after):
        name = row[0].rstrip(b"/") if row[1] < 0 else row[0]
        for end in range(base, len(name)):
            start = name[:end]
            if name[end] >= _SLASH or start in seen or start <= after:
                continue
            seen.add(start)
            below = start + b"/"
            if next(scan(db, "name", bucket, below, below, 1), None):
                yield (start, -1, "", "", 0, "", 0)
        if row[1] >= 0:
            yield row
        elif name not in seen and name > after:
            seen.add(name)
            yield (name, *row[1:])


def _shards_before(db: sqlite3.Connection, bucket: int, request: ListRequest) -> list[Row]:
    """Return the archives at or before the page's start whose members may lie after it."""
    prefix, after = encode_name(request.prefix), encode_name(request.after)
    base = len(prefix[: prefix.rfind(b"/") + 1])
    found: list[Row] = []
    for end in range(max(len(prefix), 1), len(after) + 1):
        name = after[:end]
        hidden = not request.recursive and b"/" in name[base:]
        if not name.startswith(prefix) or hidden or not kind_by_name(decode_name(name)):
            continue
        rows = scan(db, COLUMNS, bucket, name, name, 1)
        found += [row for row in rows if row[0] == name]
    return found


def _entries(
    rows: list[Row],
    request: ListRequest,
    locate: Locate | None,
    text: Callable[[bytes], Any],
    mirrored: frozenset[bytes],
) -> list[Any]:
    """Return entries to encode; `text` turns name bytes into what the encoder takes."""
    kind: Any = MsgpackEntry if request.msgpack else JsonEntry
    if not any(
        map(request.wants, ("checksum", "atime", "version", "custom", "copies", "location"))
    ):
        return _short_entries(rows, request, kind, text)
    fill = Filler(request, locate, text, mirrored)
    return [kind(*fill(row)) for row in rows]


def _short_entries(
    rows: list[Row], request: ListRequest, kind: Any, text: Callable[[bytes], Any]
) -> list[Any]:
    """Return entries of names, or names and sizes; apart because most listings are these."""
    flags = _flagger(request)
    if request.wants("size"):
        size: Callable[[int], Any] = int if request.msgpack else _quoted
        return [
            kind(text(row[0]), "", "", "", "", "", size(max(row[1], 0)), 0, flags(row))
            for row in rows
        ]
    nothing: Any = 0 if request.msgpack else ""
    return [kind(text(row[0]), "", "", "", "", "", nothing, 0, flags(row)) for row in rows]


def _quoted(size: int) -> str:
    return str(size) if size else ""


def _flagger(request: ListRequest) -> Callable[[Row], int]:
    """Return a function for the flags of an entry."""
    # AIS 3.17 takes "not cached" as "do not ask what is cached".
    cached = 0 if request.flags & FLAG_NOT_CACHED else const.ENTRY_CACHED
    marks = {IN_ARCHIVE: const.ENTRY_IN_ARCHIVE, IS_ARCHIVE: request.era.shard_flag}

    def flags(row: Row) -> int:
        if row[1] < 0:
            return const.ENTRY_DIRECTORY
        if row[6] < 0:
            return cached | marks[row[6]]
        return cached | const.ENTRY_CHUNKED if row[6] else cached

    return flags


class Filler:
    """Turns a row into the fields of an entry, by the properties that were asked for."""

    def __init__(
        self,
        request: ListRequest,
        locate: Locate | None,
        text: Callable[[bytes], Any],
        mirrored: frozenset[bytes] = frozenset(),
    ) -> None:
        self._text = text
        self._mirrored = mirrored
        self._locate = locate
        self._layout = request.time_format
        self._msgpack = request.msgpack
        self._flags = _flagger(request)
        self._shown_custom = request.era.custom_display
        wants = request.wants
        self._size, self._checksum = wants("size"), wants("checksum")
        self._atime, self._version = wants("atime"), wants("version")
        self._custom, self._copies = wants("custom"), wants("copies")

    def __call__(self, row: Row) -> tuple[Any, ...]:
        """Return an entry's fields in order."""
        name, size, version, checksum, atime, custom, chunks = row
        flags = self._flags(row)
        shown_size = max(size, 0) if self._size else 0
        if size < 0 or chunks == IN_ARCHIVE:
            shown = shown_size if self._msgpack else _quoted(shown_size)
            return (self._text(name), "", "", "", "", "", shown, 0, flags)
        return (
            self._text(name),
            checksum if self._checksum else "",
            format_time(atime, self._layout) if self._atime else "",
            version if self._version else "",
            self._locate(decode_name(name)) if self._locate else "",
            self._display(custom) if self._custom and custom else "",
            shown_size if self._msgpack else _quoted(shown_size),
            (2 if name in self._mirrored else 1) if self._copies else 0,
            flags,
        )

    def _display(self, custom: str) -> Any:
        """Return custom metadata as AIS displays it: `[key:value key:value]`, `map[…]` of old."""
        pairs = json.loads(custom).items()
        text = f"{self._shown_custom}[" + " ".join(f"{key}:{value}" for key, value in pairs) + "]"
        if text.isascii():
            return text
        return self._text(encode_name(text))


def raw_text(request: ListRequest) -> Callable[[bytes], Any]:
    """Return a function for pages with names that are not UTF-8: their bytes go out as they are."""
    return _raw_msgpack if request.msgpack else _raw_json


def _raw_msgpack(data: bytes) -> msgspec.Raw:
    size = len(data)
    if size < 32:
        head = bytes((0xA0 | size,))
    elif size < 256:
        head = bytes((0xD9, size))
    else:
        head = b"\xda" + size.to_bytes(2) if size < 65536 else b"\xdb" + size.to_bytes(4)
    return msgspec.Raw(head + data)


def _raw_json(data: bytes) -> msgspec.Raw:
    text = msgspec.json.encode(data.decode("latin-1")).decode().encode("latin-1")
    return msgspec.Raw(text)
