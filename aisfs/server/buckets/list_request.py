"""What a listing asks for: the value of the action `list`, understood and checked."""

from dataclasses import dataclass
from typing import Any

from aisfs.server.eras import NEWEST, Era
from aisfs.server.http.call import decode_value
from aisfs.server.http.errors import AisError
from aisfs.server.naming import check_prefix, encode_name
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

DEFAULT_PAGE = 10_000
"""Entries of a page when the client does not say, for ais buckets."""

MAX_PAGE = 1_000_000
"""Entries of a page at most; a reply of this size takes about 10 s and 300 MB to build."""

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
        raise era.said.remote_start_after.error(
            start=start, uri=bucket.name.uri, number=int(bucket.props["bid"])
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
