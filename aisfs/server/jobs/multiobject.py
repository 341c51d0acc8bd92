"""Selections of many objects: lists of names, and templates with ranges.

AIS: `delete-listrange`, `copy-listrange`; `value` is `{"objnames": […]}` or `{"template": "…"}`.
A template without a range is a prefix.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from aisfs.server.eras import Feature
from aisfs.server.http.call import Call, decode_value
from aisfs.server.http.errors import AisError, not_implemented
from aisfs.server.jobs.table import Job
from aisfs.server.naming import (
    BucketName,
    bucket_in_message,
    check_object_name,
    decode_name,
    encode_name,
)
from aisfs.server.objects.writes import put_copies
from aisfs.server.remote.copies import bring, delete
from aisfs.server.remote.origin import PageRequest
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
    """Start deleting the selected objects; of a remote bucket at the origin, too.

    Raises:
        AisError: 400 for a selection that is none.
    """
    action = const.ACT_DELETE_OBJECTS
    fields = decode_selection(call, value, action)
    nothing = call.era.jobs.empty_selects_none and not _selects(fields)
    if call.era.has(Feature.TEMPLATE_CHECK):
        check_selection(fields, action)

    async def remove(job: Job) -> None:
        if nothing:
            raise AisError(400, "empty range template")
        async for names in select_all(call, bucket, fields, action):
            if bucket.remote:
                await _delete_remote(call, job, bucket, fields, names)
            else:
                drop_records(call, job, bucket, fields, names)
            await step(call, job)

    return call.store.jobs.start(action, bucket.name, remove)


def drop_records(
    call: Call, job: Job, bucket: Bucket, fields: dict[str, Any], names: list[bytes]
) -> None:
    """Delete what is here of the named objects, noting the named ones that are not."""
    found = [call.store.catalog.get(bucket, name) for name in names]
    for name, record in zip(names, found, strict=True):
        if record is None:
            note_missing(call, job, bucket, fields, name)
    job.size += sum(record.size for record in found if record)
    job.objects += call.store.catalog.delete(bucket, names)


async def _delete_remote(
    call: Call, job: Job, bucket: Bucket, fields: dict[str, Any], names: list[bytes]
) -> None:
    for name in names:
        record = call.store.catalog.get(bucket, name)
        if await delete(call.store, bucket, decode_name(name)):
            job.objects += 1
            job.size += record.size if record else 0
        else:
            note_missing(call, job, bucket, fields, name)


async def copy_listrange(
    call: Call,
    bucket: Bucket,
    value: Any,
    open_bucket: Callable[[BucketName], Awaitable[Bucket]],
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
    fields = decode_value(value, action, call.era.jobs.keys(action, _COPY_KEYS))
    if fields.get("id"):
        raise not_implemented("copy-listrange with id")
    naming = Naming.of(fields)
    target = await open_bucket(bucket_from_json(fields.get("tobck")))
    copier = Copier(call, bucket, None if fields.get("dry_run") else target, naming, fields)
    fields = whole_if_empty(fields)
    check_names(fields, action)

    async def copy(job: Job) -> None:
        # All batches at once: a copy within the bucket must not see the names it makes.
        batches = [names async for names in select_all(call, bucket, fields, action)]
        for names in batches:
            await copier.copy(job, names)
            await step(call, job)

    return call.store.jobs.start(action, target.name, copy, bucket.name)


@dataclass(frozen=True, slots=True)
class Naming:
    """How copies are named: extensions replaced, then text put in front."""

    prepend: bytes = b""
    extensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Naming":
        """Read it from a copy message.

        Raises:
            AisError: 400 for what makes no names, and for `prepend` with `synchronize`.
        """
        prepend, mapping = fields.get("prepend", ""), fields.get("ext") or {}
        if prepend:
            check_object_name(f"{prepend}x")
            if fields.get("synchronize"):
                text = f'prepend option ("{prepend}") is incompatible with the request to '
                raise AisError(400, f"{text}synchronize buckets")
        if not all(isinstance(text, str) for text in mapping.values()):
            raise AisError(400, "{node}: failed to unmarshal ext: expecting text")
        pairs = tuple((old, new.removeprefix(".")) for old, new in mapping.items())
        return cls(encode_name(prepend), pairs)

    def __call__(self, name: bytes) -> bytes:
        """Return the name of an object's copy."""
        stem, dot, extension = name.rpartition(b".")
        for old, new in self.extensions if dot else ():
            if encode_name(old) == extension:
                name = stem + dot + encode_name(new)
                break
        return self.prepend + name


class Copier:
    """Copies objects of one bucket into another; without a target it only counts."""

    def __init__(
        self,
        call: Call,
        source: Bucket,
        target: Bucket | None,
        naming: Naming,
        fields: dict[str, Any],
    ) -> None:
        self._call = call
        self._source = source
        self._target = target
        self._naming = naming
        self._fields = fields
        self._latest = bool(fields.get("latest-ver") or fields.get("synchronize"))

    async def copy(self, job: Job, names: list[bytes]) -> None:
        """Copy the named objects, noting those that are missing or that an origin refuses."""
        pairs: list[tuple[Record, bytes]] = []
        for name in names:
            record = await self._record(job, name)
            if record is None:
                continue
            copy_name = self._naming(name)
            check_object_name(decode_name(copy_name))
            pairs.append((record, copy_name))
            if self._source.remote or (self._target and self._target.remote):
                await self._put(pairs)  # one by one: each costs a request, and may be evicted
                pairs = []
        await self._put(pairs)

    async def _record(self, job: Job, name: bytes) -> Record | None:
        if self._target is None and self._source.remote:
            job.objects += 1  # a dry run fetches nothing
            return None
        record = self._call.store.catalog.get(self._source, name)
        if self._source.remote:
            record = await self._bring(job, name)
        elif record is None:
            note_missing(self._call, job, self._source, self._fields, name)
        if record is not None:
            job.objects += 1
            job.size += record.size
        return record

    async def _bring(self, job: Job, name: bytes) -> Record | None:
        shown, store = decode_name(name), self._call.store
        try:
            return await bring(store, self._source, shown, latest=self._latest)
        except AisError as error:
            if error.status != 404:
                raise
            if self._fields.get("objnames"):
                label = store.owner(self._source, shown).label
                job.note_error(error.message.replace("{node}", label), missing=True)
            return None

    async def _put(self, pairs: list[tuple[Record, bytes]]) -> None:
        if self._target is not None and pairs:
            self._call.store.check_still_there(self._target)
            await put_copies(self._call, self._target, pairs)

    async def follow_deletions(self, prefix: bytes) -> None:
        """Delete copies of objects that were here and whose origin is gone (`synchronize`)."""
        if not self._source.remote or self._target is None:
            return
        store = self._call.store
        gone: set[bytes] = set()
        after = b""
        while records := store.catalog.records(self._source, prefix, after, SCAN_BATCH):
            after = records[-1].name
            gone |= {record.name for record in records}
        async for names in by_prefix(self._call, self._source, prefix):
            gone -= set(names)
        for name in gone:
            store.catalog.delete(self._source, [name])
            await delete(store, self._target, decode_name(self._naming(name)))


async def step(call: Call, job: Job) -> None:
    """Record a job's progress and let others run; the place where an abort takes hold."""
    call.store.jobs.save(job)
    await asyncio.sleep(0)


def note_missing(call: Call, job: Job, bucket: Bucket, fields: dict[str, Any], name: bytes) -> None:
    """Name an object that a list has and the bucket has not; ranges may have holes."""
    if not fields.get("objnames"):
        return
    shown = decode_name(name)
    label = call.store.owner(bucket, shown).label
    job.note_error(f"{label}: {bucket.name.uri}/{shown} does not exist", missing=True)


def bucket_from_json(value: Any) -> BucketName:
    """Return the bucket that a message names.

    Raises:
        AisError: 400 when it names none.
    """
    name = bucket_in_message(value)
    if name is None:
        raise AisError(400, "bucket name is missing")
    return name


def decode_selection(call: Call, value: Any, action: str) -> dict[str, Any]:
    """Return the keys of a bare selection.

    Raises:
        AisError: 400 for an unknown key or a wrong type.
    """
    try:
        return decode_value(value, action, call.era.jobs.keys(action, SELECTION_KEYS))
    except AisError as error:
        if call.era.said.bad_selection:  # found out at a target
            error.message = call.era.said.bad_selection.replace("{action}", action) + error.message
            error.at_target = True
        raise


def whole_if_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the selection of the whole bucket for an empty one; copying takes nothing away."""
    if _selects(fields):
        return fields
    return {**fields, "objnames": None, "template": ""}


def _selects(fields: dict[str, Any]) -> bool:
    return bool(fields.get("objnames") or fields.get("template"))


def check_names(fields: dict[str, Any], action: str) -> None:
    """Refuse a selection that is none.

    Raises:
        AisError: 400.
    """
    names = fields.get("objnames")
    if names is not None and not all(isinstance(name, str) for name in names):
        raise AisError(400, f"{{node}}: failed to unmarshal {action}: objnames")
    if names is None and fields.get("template") is None:
        raise AisError(400, f'{{node}} failed to "{action}": neither names nor template')


def check_selection(fields: dict[str, Any], action: str) -> None:
    """Refuse a selection that is none, and a bad template.

    Raises:
        AisError: 400.
    """
    check_names(fields, action)
    template = fields.get("template")
    if fields.get("objnames") is None and template is not None and not _is_prefix(template):
        next(expand(template, action), None)


def select(
    call: Call, bucket: Bucket, fields: dict[str, Any], action: str
) -> Iterator[list[bytes]]:
    """Yield the names of a selection in batches, looked up as the batches are asked for.

    A prefix stands for what is here; `select_all` also finds what only the origin has.

    Raises:
        AisError: 400 for a selection that is none; for a bad template once a batch is asked for.
    """
    check_names(fields, action)
    return _batches(call, bucket, fields, action)


async def select_all(
    call: Call, bucket: Bucket, fields: dict[str, Any], action: str
) -> AsyncIterator[list[bytes]]:
    """Yield the names of a selection in batches; a prefix of a remote bucket asks the origin."""
    template = fields.get("template")
    if fields.get("objnames") is None and (template is None or _is_prefix(template)):
        async for names in by_prefix(call, bucket, encode_name(template or "")):
            yield names
        return
    for names in select(call, bucket, fields, action):
        yield names


async def by_prefix(call: Call, bucket: Bucket, prefix: bytes) -> AsyncIterator[list[bytes]]:
    """Yield all names with a prefix in batches; those of a remote bucket as its origin has them."""
    if not bucket.remote:
        for names in _by_prefix(call, bucket, prefix):
            yield names
        return
    remotes, after = call.store.remotes, ""
    while True:
        request = PageRequest(decode_name(prefix), after, SCAN_BATCH, props="name")
        page = await remotes.run(remotes.origin(bucket.name).page, request)
        if page.entries:
            after = page.entries[-1].name
            yield [encode_name(entry.name) for entry in page.entries]
        if not page.more:
            return


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
