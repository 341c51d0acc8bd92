"""Selections of many objects: lists of names, and templates with ranges.

AIS: `delete-listrange`, `copy-listrange`; `value` is `{"objnames": […]}` or `{"template": "…"}`.
A template without a range is a prefix.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from aisfs.server.call import Call, decode_value
from aisfs.server.catalog import Bucket, Record
from aisfs.server.errors import AisError, not_implemented
from aisfs.server.naming import BucketName, check_object_name, encode_name, parse_provider
from aisfs.server.writes import linked_copies

MAX_NAMES = 1_000_000
"""Names that a template may stand for; a larger one is refused before it is expanded."""

SCAN_BATCH = 1000

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)(?:\.\.(\d+))?\}")
_SELECTION: dict[str, type | tuple[type, ...]] = {
    "objnames": list,
    "template": str,
    "coer": bool,
    "latest-ver": bool,
    "num-workers": int,
    "non-recurs": bool,
}
_COPY_KEYS: dict[str, type | tuple[type, ...]] = {
    **_SELECTION,
    "tobck": dict,
    "prepend": str,
    "prefix": str,
    "dry_run": bool,
    "force": bool,
    "synchronize": bool,
    "ext": dict,
    "id": str,
    "request_timeout": (str, int),
}


async def delete_listrange(call: Call, bucket: Bucket, value: Any) -> int:
    """Delete the selected objects; returns how many there were. Missing names are no error."""
    fields = decode_value(value, "delete-listrange", _SELECTION)
    count = 0
    for names in _batches(call, bucket, fields, "delete-listrange"):
        count += call.store.catalog.delete(bucket, names)
        await asyncio.sleep(0)
    return count


async def copy_listrange(
    call: Call, bucket: Bucket, value: Any, open_bucket: Callable[[BucketName], Bucket]
) -> tuple[BucketName, int]:
    """Copy the selected objects into another bucket.

    Args:
        call: The request.
        bucket: Source.
        value: The message's value.
        open_bucket: Returns the destination, creating it if need be.

    Raises:
        AisError: 404 when a named object is missing and `coer` is not set.
    """
    fields = decode_value(value, "copy-listrange", _COPY_KEYS)
    if fields.get("ext") or fields.get("id") or fields.get("synchronize"):
        raise not_implemented("copy-listrange with ext, id or synchronize")
    target = open_bucket(_bucket_from_json(fields.get("tobck")))
    prepend = encode_name(fields.get("prepend", ""))
    count = 0
    # All batches at once: a copy within the bucket must not see the names it makes.
    for names in list(_batches(call, bucket, fields, "copy-listrange")):
        found = [call.store.catalog.get(bucket, name) for name in names]
        records = [record for record in found if record is not None]
        if not fields.get("dry_run"):
            _copy(call, target, records, prepend)
        count += len(records)
        await asyncio.sleep(0)
    return target.name, count


def _copy(call: Call, target: Bucket, records: list[Record], prepend: bytes) -> None:
    pairs = [(record, prepend + record.name) for record in records]
    for _, name in pairs:
        check_object_name(name.decode("utf-8", "surrogateescape"))
    call.store.catalog.put_many(target, linked_copies(call, pairs))


def _bucket_from_json(value: Any) -> BucketName:
    if not isinstance(value, dict) or not value.get("name"):
        raise AisError(400, "bucket name is missing")
    namespace = value.get("namespace") or {}
    return BucketName(
        str(value["name"]),
        parse_provider(str(value.get("provider") or "")),
        str(namespace.get("uuid") or ""),
        str(namespace.get("name") or ""),
    )


def _batches(
    call: Call, bucket: Bucket, fields: dict[str, Any], action: str
) -> Iterator[list[bytes]]:
    """Yield the names of a selection in batches."""
    template = fields.get("template")
    names = fields.get("objnames")
    if names is not None:
        if not all(isinstance(name, str) for name in names):
            raise AisError(400, f"{{node}}: failed to unmarshal {action}: objnames")
        yield [encode_name(name) for name in names]
    elif template is None:
        raise AisError(400, f'{{node}} failed to "{action}": neither names nor template')
    elif _is_prefix(template):
        yield from _by_prefix(call, bucket, encode_name(template))
    else:
        expanded = [encode_name(name) for name in expand(template, action)]
        for start in range(0, len(expanded), SCAN_BATCH):
            yield expanded[start : start + SCAN_BATCH]


def _is_prefix(template: str) -> bool:
    return "{" not in template and "}" not in template


def _by_prefix(call: Call, bucket: Bucket, prefix: bytes) -> Iterator[list[bytes]]:
    after = b""
    while records := call.store.catalog.records(bucket, prefix, after, SCAN_BATCH):
        after = records[-1].name
        yield [record.name for record in records]


def expand(template: str, action: str) -> Iterator[str]:
    """Expand a bash-style template, `shard-{000..127..2}.tar`; leading zeros set the width.

    Raises:
        AisError: 400 errTemplateInvalid for anything else in braces, or too many names.
    """
    head = f'{{node}} failed to "{action}" List/Range: invalid \'bash\' template "{template}": '
    parts = _RANGE.split(template)
    if any("{" in text or "}" in text for text in parts[::4]):
        raise AisError(400, f"{head}unexpected braces", "errTemplateInvalid", at_target=True)
    ranges = [_numbers(parts[index : index + 3], head) for index in range(1, len(parts), 4)]
    total = 1
    for numbers in ranges:
        total *= len(numbers)
    if total > MAX_NAMES:
        raise AisError(400, f"{head}more than {MAX_NAMES} names", "errTemplateInvalid")
    widths = [len(parts[index]) for index in range(1, len(parts), 4)]
    for combination in product(*ranges):
        pieces = [parts[0]]
        for place, number in enumerate(combination):
            pieces += [f"{number:0{widths[place]}d}", parts[4 * place + 4]]
        yield "".join(pieces)


def _numbers(bounds: list[str], head: str) -> range:
    start, end, step = int(bounds[0]), int(bounds[1]), int(bounds[2] or 1)
    if start > end:
        message = f"{head}'start' cannot be greater than 'end'"
        raise AisError(400, message, "errTemplateInvalid", at_target=True)
    if step < 1:
        raise AisError(400, f"{head}'step' must be positive", "errTemplateInvalid", at_target=True)
    return range(start, end + 1, step)
