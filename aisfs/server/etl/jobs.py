"""Many objects through a transformer: a bucket, or a selection of its objects.

AIS: `POST /v1/buckets/{bucket}?bck_to=` with `etl-bck`, `POST /v1/buckets/{bucket}` with
`etl-listrange`. Every request is a job of its own.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aisfs.server.etl.calls import Work, transformed
from aisfs.server.etl.durations import parse_duration
from aisfs.server.etl.registry import Etl, Transfer
from aisfs.server.etl.storing import destination_url, transform_into
from aisfs.server.etl.words import missing, refuse_when_off
from aisfs.server.http.call import Call, Message, decode_value
from aisfs.server.http.errors import AisError, not_implemented
from aisfs.server.jobs.multiobject import (
    SELECTION_KEYS,
    bucket_from_json,
    by_prefix,
    select_all,
    step,
)
from aisfs.server.jobs.table import Job
from aisfs.server.naming import BucketName, check_object_name, decode_name, encode_name, parse_uname
from aisfs.server.objects.refusals import object_missing
from aisfs.server.remote.copies import bring_all
from aisfs.server.storage.catalog import Bucket, Record
from aisfs_sdk import const

WORKERS = 4
"""Objects on their way at once, unless the request says otherwise."""

MAX_WORKERS = 64
BATCH = 500
Open = Callable[[BucketName], Awaitable[Bucket]]
Kinds = dict[str, type | tuple[type, ...]]

_KEYS: Kinds = {
    "prefix": str,
    "prepend": str,
    "dry_run": bool,
    "force": bool,
    "ext": dict,
    "id": str,
    "request_timeout": (str, int),
}
_NEW_KEYS: Kinds = {
    "latest-ver": bool,
    "synchronize": bool,
    "num-workers": int,
    "non-recurs": bool,
    "coer": bool,
    "pipeline": list,
}
_SINCE_2024 = {"latest-ver", "num-workers", "non-recurs"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a job does to each object.

    Attributes:
        etl: The transformer.
        pipeline: Further ones.
        source: Bucket of the objects.
        target: Bucket of the results, None to throw them away (dry run).
        prepend: Text before the names of results.
        extensions: New extensions by old ones.
        timeout_s: Seconds per object.
        tolerant: Go on after errors.
        as_body: Send objects instead of naming their files.
        workers: Objects at once.
    """

    etl: Etl
    pipeline: tuple[Etl, ...]
    source: Bucket
    target: Bucket | None
    prepend: str
    extensions: dict[str, str]
    timeout_s: float
    tolerant: bool
    as_body: bool
    workers: int

    def result_name(self, name: str) -> str:
        """Return the name of an object's result: extension replaced, then text before it."""
        stem, dot, extension = name.rpartition(".")
        if dot and extension in self.extensions:
            name = f"{stem}.{self.extensions[extension].removeprefix('.')}"
        return self.prepend + name


def _keys(call: Call, *, selection: bool) -> Kinds:
    """Return the keys that the release takes; it refuses others."""
    new = call.era.transformers.newer_keys
    keys = {**_KEYS, **(_NEW_KEYS if new else {})}
    if selection:
        given = {key: kind for key, kind in SELECTION_KEYS.items() if new or key not in _SINCE_2024}
        keys = {**keys, **given, "tobck": dict}
    return keys


# ---- reading requests ---------------------------------------------------------------------------


async def transform_bucket(call: Call, name: str, message: Message, open_bucket: Open) -> Job:
    """Start transforming a bucket.

    Args:
        call: The request.
        name: The source bucket's name in the path.
        message: The control message.
        open_bucket: Returns the destination, creating it if need be.

    Raises:
        AisError: 400 and 404 as AIS has them.
    """
    refuse_when_off(call, 404)
    source = await call.store.open_bucket(call.bucket_name(name))
    text = call.query.text(const.QPARAM_BUCKET_TO)
    if not text:
        raise AisError(400, 'missing "bck_to" query parameter')
    fields = decode_value(message.value, message.action, _keys(call, selection=False))
    identity, _ = parse_uname(text)
    dry = bool(fields.get("dry_run"))
    if identity == source.name and not (dry and call.era.transformers.dry_onto_itself):
        raise AisError(400, f'cannot {message.action} bucket "{source.name.uri}" onto itself')
    etl, pipeline = _stages(call, name, fields)
    target = None if dry else await open_bucket(identity)
    recipe = _recipe(fields, (etl, pipeline), (source, target))
    prefix = encode_name(fields.get("prefix", ""))
    shallow = bool(fields.get("non-recurs"))

    async def batches() -> AsyncIterator[list[bytes]]:
        async for names in by_prefix(call, source, prefix):
            yield [n for n in names if not (shallow and b"/" in n[len(prefix) :])]

    return _start(call, (message.action, identity), recipe, batches, named=False)


async def transform_selected(call: Call, name: str, message: Message, open_bucket: Open) -> Job:
    """Start transforming selected objects; arguments and errors as `transform_bucket`."""
    refuse_when_off(call, 404)
    source = await call.store.open_bucket(call.bucket_name(name))
    action = message.action
    fields = decode_value(message.value, action, _keys(call, selection=True))
    identity = bucket_from_json(fields.get("tobck"))
    etl, pipeline = _stages(call, name, fields)
    if fields.get("objnames") is None and fields.get("template") is None:
        fields["template"] = ""  # an empty selection is the whole bucket
    chosen = [names async for names in select_all(call, source, fields, action)]
    dry = bool(fields.get("dry_run"))
    target = None if dry else await open_bucket(identity)
    recipe = _recipe(fields, (etl, pipeline), (source, target))
    named = fields.get("objnames") is not None

    async def batches() -> AsyncIterator[list[bytes]]:
        for names in chosen:
            yield names

    return _start(call, (action, identity), recipe, batches, named=named)


def _stages(call: Call, bucket: str, fields: dict[str, Any]) -> tuple[Etl, tuple[Etl, ...]]:
    names = [fields.get("id", ""), *map(str, fields.get("pipeline") or [])]
    first, *others = [_stage(call, bucket, name) for name in names]
    return first, tuple(others)


def _stage(call: Call, bucket: str, name: str) -> Etl:
    new = call.era.transformers.missing_job_refused
    if not name:
        text = (
            'ETL name "" is empty'
            if call.era.transformers.newer_words
            else "ETL name can't be empty"
        )
        raise AisError(404 if new else 400, text)
    etl = call.store.etls.find(name)
    if etl is None and new:
        raise AisError(404, f"ETL {name} doesn't exist")
    running = call.store.etls.running(name)
    if running is None:
        error = missing(call, name, at_target=True, url_path=f"/v1/txn/{bucket}/begin")
        error.status = 404 if new else 400
        raise error
    return running


def _recipe(
    fields: dict[str, Any],
    stages: tuple[Etl, tuple[Etl, ...]],
    buckets: tuple[Bucket, Bucket | None],
) -> Recipe:
    if fields.get("synchronize"):
        raise not_implemented("transforming with synchronize")
    etl, pipeline = stages
    wanted = fields.get("num-workers", 0)
    workers = 1 if wanted < 0 else min(wanted or WORKERS, MAX_WORKERS)
    extensions = {str(old): str(new) for old, new in (fields.get("ext") or {}).items()}
    prepend = fields.get("prepend", "")
    if prepend:
        check_object_name(f"{prepend}x")
    return Recipe(
        etl,
        pipeline,
        *buckets,
        prepend=prepend,
        extensions=extensions,
        timeout_s=_timeout(fields, etl),
        tolerant=bool(fields.get("coer")),
        as_body=bool(fields.get("latest-ver")),
        workers=workers,
    )


def _timeout(fields: dict[str, Any], etl: Etl) -> float:
    value = fields.get("request_timeout") or 0
    if isinstance(value, int):
        return value / 1e9 or etl.definition.object_s
    try:
        return parse_duration(value) or etl.definition.object_s
    except ValueError as error:
        head = "{node}: failed to unmarshal etl-bck (map[string]interface {}), err: "
        raise AisError(400, f"{head}{error}") from error


# ---- the job ------------------------------------------------------------------------------------


class _Failed(Exception):
    """An object failed, and the job is not to go on."""


def _start(
    call: Call,
    what: tuple[str, BucketName],
    recipe: Recipe,
    batches: Callable[[], AsyncIterator[list[bytes]]],
    *,
    named: bool,
) -> Job:
    action, identity = what
    transfer = Transfer(identity, set())
    etls = call.store.etls

    async def run(job: Job) -> None:
        etls.transfers[job.id] = transfer
        try:
            await _run(_Worker(call, job, recipe, transfer, named=named), batches())
        except _Failed:
            job.aborted = True
        finally:
            etls.transfers.pop(job.id, None)

    job = call.store.jobs.start(action, identity, run, recipe.source.name)
    job.transformers = frozenset(etl.name for etl in (recipe.etl, *recipe.pipeline))
    return job


async def _run(worker: "_Worker", batches: AsyncIterator[list[bytes]]) -> None:
    """Let the workers take names until there are no more; the first failure ends them all."""
    names = _names(worker, batches)
    lock = asyncio.Lock()

    async def take() -> None:
        while True:
            async with lock:
                name = await anext(names, None)
            if name is None:
                return
            await worker.one(name)

    tasks = [asyncio.ensure_future(take()) for _ in range(worker.recipe.workers)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await names.aclose()


async def _names(
    worker: "_Worker", batches: AsyncIterator[list[bytes]]
) -> AsyncGenerator[bytes, None]:
    async for batch in batches:
        for name in batch:
            yield name
        await step(worker.call, worker.job)


@dataclass(slots=True)
class _Worker:
    """Transforms objects of one job."""

    call: Call
    job: Job
    recipe: Recipe
    transfer: Transfer
    named: bool

    async def one(self, key: bytes) -> None:
        """Transform one object, and note how it went.

        Raises:
            _Failed: it failed and errors are not tolerated.
        """
        name = decode_name(key)
        uri = f"{self.recipe.source.name.uri}/{name}"
        try:
            await bring_all(self.call.store, [(self.recipe.source, name)])
            record = self.call.store.catalog.get(self.recipe.source, key)
            if record is None:
                if self.named:
                    label = self.call.store.owner(self.recipe.source, name).label
                    text = object_missing(self.recipe.source, name).message
                    self.job.note_error(text.replace("{node}", label), missing=True)
                return
            size = await self._transform(record, name)
        except AisError as error:
            self.recipe.etl.note_error(uri, error, self.job.id)
            if error.status == 404:
                return
            self.job.note_error(error.message)
            if not self.recipe.tolerant:
                raise _Failed from error
            return
        self.job.objects += 1
        self.job.size += size

    async def _transform(self, record: Record, name: str) -> int:
        recipe, target = self.recipe, self.recipe.target
        result_name = recipe.result_name(name)
        work = Work(
            recipe.etl,
            recipe.source,
            record,
            pipeline=recipe.pipeline,
            as_body=recipe.as_body,
            timeout_s=recipe.timeout_s,
            job_id=self.job.id,
        )
        if target is None:
            async with transformed(self.call, work) as result:
                return sum([len(piece) async for piece in result.pieces])
        check_object_name(result_name)
        owners = (
            self.call.store.owner(recipe.source, name),
            self.call.store.owner(target, result_name),
        )
        if owners[0] is not owners[1] and self.call.era.transformers.direct_put:
            work.destination = destination_url(self.call, target, result_name, self.job.id)
        size, _ = await transform_into(self.call, work, target, result_name, self.transfer)
        return size
