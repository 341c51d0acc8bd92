"""Rows of a listing as clients get them: entries, and pages in JSON or msgpack."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from aisfs.server.archives.listing import IN_ARCHIVE, IS_ARCHIVE, Row
from aisfs.server.buckets.list_request import FLAG_NOT_CACHED, ListRequest
from aisfs.server.gotime import format_time
from aisfs.server.naming import decode_name, encode_name
from aisfs_sdk import const

Locate = Callable[[str], str]


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


def entries_of(
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
