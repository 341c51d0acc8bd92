"""The models of what AIS answers: typed structs, decoded straight from the wire.

Names of persons and files are bytes to the cluster. Where they are no UTF-8, they appear here with
surrogate escapes (as `os.fsdecode` makes them), in listings as in custom metadata; such a name goes
back to the cluster as the bytes that it came from.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import msgspec

from aisfs_sdk import const
from aisfs_sdk.etl_types import ETLDetails, ETLInfo
from aisfs_sdk.job_types import AggregatedJobSnap, JobSnap, JobSnapshot, JobStatus, WaitResult
from aisfs_sdk.namespace import Namespace
from aisfs_sdk.smap import NetInfo, Smap, Snode

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ActionMsg",
    "AggregatedJobSnap",
    "BucketEntry",
    "BucketList",
    "BucketModel",
    "ETLDetails",
    "ETLInfo",
    "JobSnap",
    "JobSnapshot",
    "JobStatus",
    "Namespace",
    "NetInfo",
    "Smap",
    "Snode",
    "WaitResult",
    "decode_buckets",
    "decode_listing",
    "encode_message",
    "parse_custom",
]


class ActionMsg(msgspec.Struct, frozen=True):
    """A control message: what to do, to which name, with which arguments."""

    action: str
    name: str = ""
    value: Any = None


class BucketModel(msgspec.Struct, frozen=True):
    """A bucket's identity; usable as a key."""

    name: str
    provider: str = const.PROVIDER_AIS
    namespace: Namespace | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, without a namespace where there is none."""
        form: dict[str, Any] = {"name": self.name, "provider": self.provider}
        if self.namespace is not None:
            form["namespace"] = {"uuid": self.namespace.uuid, "name": self.namespace.name}
        return form


# Entries hold strings and numbers only, so the cycle collector need not look at them: with it, a
# list of 100,000 takes three times as long to build.
class BucketEntry(msgspec.Struct, gc=False):
    """One entry of a listing. What was not asked for is empty or 0.

    Attributes:
        name: of the object; directories of a listing without recursion end in "/" (newer clusters).
        size: in bytes.
        checksum: value only; its type is the bucket's.
        atime: time of last access as text, in minutes.
        version: of the object's content.
        location: node and disk.
        custom: custom metadata as AIS displays it; `custom_metadata` takes it apart.
        copies: number of local copies.
        flags: bits, see `is_dir` and its neighbours.
    """

    name: str = msgspec.field(default="", name="n")
    checksum: str = msgspec.field(default="", name="cs")
    atime: str = msgspec.field(default="", name="a")
    version: str = msgspec.field(default="", name="v")
    location: str = msgspec.field(default="", name="t")
    custom: str = msgspec.field(default="", name="m")
    size: int = msgspec.field(default=0, name="s")
    copies: int = msgspec.field(default=0, name="c")
    flags: int = msgspec.field(default=0, name="f")

    @property
    def target_url(self) -> str:
        """The location, under the name that AIS documented in 2023."""
        return self.location

    @property
    def custom_metadata(self) -> dict[str, str]:
        """Custom metadata by key; right for keys and values without blanks, ":" and "]"."""
        return parse_custom(self.custom)

    def is_cached(self) -> bool:
        """Whether the object is in the cluster."""
        return bool(self.flags & const.ENTRY_CACHED)

    def is_ok(self) -> bool:
        """Whether the object is where it belongs."""
        return not self.flags & const.ENTRY_STATUS_MASK

    def is_dir(self) -> bool:
        """Whether the entry stands for a virtual directory."""
        return bool(self.flags & const.ENTRY_DIRECTORY)


class BucketList(msgspec.Struct):
    """One page of a listing.

    Attributes:
        uuid: id of the listing job; the next page of a remote bucket needs it.
        entries: in bytewise order of their names.
        continuation_token: where the next page starts, "" on the last.
        flags: 1 while the cluster moves objects, so that some may be missing.
    """

    uuid: str = msgspec.field(default="", name="UUID")
    entries: list[BucketEntry] = msgspec.field(default_factory=list, name="Entries")
    continuation_token: str = msgspec.field(default="", name="ContinuationToken")
    flags: int = msgspec.field(default=0, name="Flags")

    def get_entries(self) -> list[BucketEntry]:
        """Return the entries."""
        return self.entries


class _RawEntry(msgspec.Struct, gc=False):
    """An entry whose texts are still as they came, for pages that hold undecodable names."""

    n: msgspec.Raw = msgspec.Raw()
    cs: str = ""
    a: str = ""
    v: str = ""
    t: msgspec.Raw = msgspec.Raw()
    m: msgspec.Raw = msgspec.Raw()
    s: int = 0
    c: int = 0
    f: int = 0


class _RawList(msgspec.Struct):
    UUID: str = ""
    Entries: list[_RawEntry] | None = None
    ContinuationToken: msgspec.Raw = msgspec.Raw()
    Flags: int = 0


class _OptionalList(BucketList):
    """A page as it may come: without entries there may be null."""

    entries: list[BucketEntry] | None = msgspec.field(  # type: ignore[assignment]
        default=None, name="Entries"
    )


_decode_page = msgspec.msgpack.Decoder(_OptionalList).decode
_decode_raw_page = msgspec.msgpack.Decoder(_RawList).decode

_MSGPACK_STR_HEADERS = {0xD9: 2, 0xDA: 3, 0xDB: 5}


def _text(raw: msgspec.Raw) -> str:
    """Decode one msgpack string; its length stands in 1, 2, 3 or 5 bytes before it."""
    data = bytes(raw)
    if not data or data[0] == 0xC0:  # msgpack's nil
        return ""
    header = _MSGPACK_STR_HEADERS.get(data[0], 1)
    return data[header:].decode(const.UTF_ENCODING, "surrogateescape")


def _tolerant_page(data: bytes) -> BucketList:
    page = _decode_raw_page(data)
    entries = [
        BucketEntry(_text(e.n), e.cs, e.a, e.v, _text(e.t), _text(e.m), e.s, e.c, e.f)
        for e in page.Entries or ()
    ]
    return BucketList(page.UUID, entries, _text(page.ContinuationToken), page.Flags)


def _json_page(data: bytes) -> BucketList:
    page = json.loads(data.decode(const.UTF_ENCODING, "surrogateescape"))
    entries = [
        BucketEntry(
            name=entry.get("name", ""),
            checksum=entry.get("checksum", ""),
            atime=entry.get("atime", ""),
            version=entry.get("version", ""),
            location=entry.get("location") or entry.get("target_url", ""),
            custom=entry.get("custom-md", ""),
            size=int(entry.get("size", 0)),
            copies=int(entry.get("copies", 0)),
            flags=int(entry.get("flags", 0)),
        )
        for entry in page.get("entries") or ()
    ]
    return BucketList(
        page.get("uuid", ""), entries, page.get("continuation_token", ""), int(page.get("flags", 0))
    )


def decode_listing(data: bytes, content_type: str) -> BucketList:
    """Return the page that a listing's reply holds.

    Never fails on names or metadata that are no UTF-8.

    Args:
        data: body of the reply.
        content_type: of the reply; whatever is not msgpack is read as JSON.

    Raises:
        ValueError: the body is no listing.
    """
    if const.MSGPACK_CONTENT_TYPE not in content_type:
        try:
            return _json_page(data)
        except (AttributeError, TypeError) as error:
            msg = f"no page of a listing: {error}"
            raise ValueError(msg) from error
    try:
        page = _decode_page(data)
    except (msgspec.DecodeError, UnicodeDecodeError):  # msgspec says the former from 0.23 on
        return _tolerant_page(data)
    if page.entries is None:
        page.entries = []
    return page


def parse_custom(display: str) -> dict[str, str]:
    """Return custom metadata by key, from the display form of listings.

    AIS writes `[color:red source:web]`, before 2024 `map[color:red source:web]`. The form is
    ambiguous for keys or values that hold blanks, ":" or "]".
    """
    inner = display.removeprefix("map").removeprefix("[").removesuffix("]")
    pairs = (item.partition(":") for item in inner.split(" ") if item)
    return {key: value for key, colon, value in pairs if colon}


def decode_buckets(data: bytes) -> list[BucketModel]:
    """Return the buckets that a list of buckets names; their namespace is None if it is global."""
    found = msgspec.json.decode(data, type=list[BucketModel] | None) or []
    return [
        msgspec.structs.replace(bucket, namespace=None)
        if bucket.namespace == Namespace()
        else bucket
        for bucket in found
    ]


def encode_message(message: ActionMsg | Mapping[str, Any]) -> bytes:
    """Return the JSON form of a message; surrogate escapes become the bytes they stand for."""
    try:
        return msgspec.json.encode(message)
    except UnicodeEncodeError:
        form = cast("Any", msgspec.to_builtins(message))
        return json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode(
            const.UTF_ENCODING, "surrogateescape"
        )
