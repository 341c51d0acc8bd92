"""Selections of many objects: lists of names, and templates with ranges.

AIS: `delete-listrange`, `copy-listrange`; `value` is `{"objnames": […]}` or `{"template": "…"}`.
A template without a range is a prefix.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from aisfs.server.http.call import Call, decode_value
from aisfs.server.http.errors import AisError, not_implemented
from aisfs.server.jobs.table import Job
from aisfs.server.naming import (
    BucketName,
    check_object_name,
    decode_name,
    encode_name,
    parse_provider,
)
from aisfs.server.objects.writes import linked_copies, still_there
from aisfs.server.storage.catalog import Bucket, Record
from aisfs_sdk import const

MAX_NAMES = 1_000_000
"""Names that a template may stand for; a larger one is refused before it is expanded."""

SCAN_BATCH = 1000

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)(?:\.\.(\d+))?\}")
SELECTION_KEYS: dict[str, type | tuple[type, ...]] = {
    "objnames": list,
    "template": str,
    "coer": bool,
    "latest-ver": bool,
    "num-workers": int,
    "non-recurs": bool,
}
_COPY_KEYS: dict[str, type | tuple[type, ...]] = {
    **SELECTION_KEYS,
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


async def delete_listrange(call: Call, bucket: Bucket, value: Any) -> Job:
    """Start deleting the selected objects.

    Raises:
        AisError: 400 for a selection that is none.
    """
    action = const.ACT_DELETE_OBJECTS
    fields = decode_value(value, action, SELECTION_KEYS)
    batches = select(call, bucket, fields, action)
    template = fields.get("template")
    if fields.get("objnames") is None and template is not None and not _is_prefix(template):
        next(expand(template, action), None)

    async def delete(job: Job) -> None:
        for names in batches:
            found = [call.store.catalog.get(bucket, name) for name in names]
            _note_missing(call, job, bucket, fields, (names, found))
            job.size += sum(record.size for record in found if record)
            job.objects += call.store.catalog.delete(bucket, names)
            await step(call, job)

    return call.store.jobs.start(action, bucket.name, delete)


async def copy_listrange(
    call: Call, bucket: Bucket, value: Any, open_bucket: Callable[[BucketName], Bucket]
) -> Job:
    """Start copying the selected objects into another bucket.

    Args:
        call: The request.
        bucket: Source.
        value: The message's value.
        open_bucket: Returns the destination, creating it if need be.

    Raises:
        AisError: 400 without a destination, 501 for options that are not built.
    """
    action = const.ACT_COPY_OBJECTS
    fields = decode_value(value, action, _COPY_KEYS)
    if fields.get("ext") or fields.get("id") or fields.get("synchronize"):
        raise not_implemented("copy-listrange with ext, id or synchronize")
    target = open_bucket(bucket_from_json(fields.get("tobck")))
    prepend = encode_name(fields.get("prepend", ""))

    async def copy(job: Job) -> None:
        # All batches at once: a copy within the bucket must not see the names it makes.
        for names in list(select(call, bucket, fields, action)):
            found = [call.store.catalog.get(bucket, name) for name in names]
            _note_missing(call, job, bucket, fields, (names, found))
            records = [record for record in found if record is not None]
            if not fields.get("dry_run"):
                _copy(call, target, records, prepend)
            job.objects += len(records)
            job.size += sum(record.size for record in records)
            await step(call, job)

    return call.store.jobs.start(action, target.name, copy, bucket.name)


async def step(call: Call, job: Job) -> None:
    """Record a job's progress and let others run; the place where an abort takes hold."""
    call.store.jobs.save(job)
    await asyncio.sleep(0)


def _note_missing(
    call: Call,
    job: Job,
    bucket: Bucket,
    fields: dict[str, Any],
    batch: tuple[list[bytes], list[Record | None]],
) -> None:
    """Name the objects that a list has and the bucket has not; ranges may have holes."""
    if fields.get("objnames") is None:
        return
    for name, record in zip(*batch, strict=True):
        if record is None:
            shown = decode_name(name)
            label = call.store.owner(bucket, shown).label
            job.note_error(f"{label}: {bucket.name.uri}/{shown} does not exist")


def _copy(call: Call, target: Bucket, records: list[Record], prepend: bytes) -> None:
    still_there(call, target)
    pairs = [(record, prepend + record.name) for record in records]
    for _, name in pairs:
        check_object_name(name.decode("utf-8", "surrogateescape"))
    call.store.catalog.put_many(target, linked_copies(call, pairs))


def bucket_from_json(value: Any) -> BucketName:
    """Return the bucket that a message names.

    Raises:
        AisError: 400 when it names none.
    """
    if not isinstance(value, dict) or not value.get("name"):
        raise AisError(400, "bucket name is missing")
    namespace = value.get("namespace") or {}
    return BucketName(
        str(value["name"]),
        parse_provider(str(value.get("provider") or "")),
        str(namespace.get("uuid") or ""),
        str(namespace.get("name") or ""),
    )


def select(
    call: Call, bucket: Bucket, fields: dict[str, Any], action: str
) -> Iterator[list[bytes]]:
    """Yield the names of a selection in batches, looked up as the batches are asked for.

    Raises:
        AisError: 400 for a selection that is none; for a bad template once a batch is asked for.
    """
    names = fields.get("objnames")
    if names is not None and not all(isinstance(name, str) for name in names):
        raise AisError(400, f"{{node}}: failed to unmarshal {action}: objnames")
    if names is None and fields.get("template") is None:
        raise AisError(400, f'{{node}} failed to "{action}": neither names nor template')
    return _batches(call, bucket, fields, action)


def _batches(
    call: Call, bucket: Bucket, fields: dict[str, Any], action: str
) -> Iterator[list[bytes]]:
    template = fields.get("template")
    names = fields.get("objnames")
    if names is not None:
        for start in range(0, len(names), SCAN_BATCH):
            yield [encode_name(name) for name in names[start : start + SCAN_BATCH]]
    elif template is None or _is_prefix(template):
        yield from _by_prefix(call, bucket, encode_name(template or ""))
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
