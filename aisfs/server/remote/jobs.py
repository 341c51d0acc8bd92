"""Jobs that bring copies of remote objects here and take them away again.

AIS: `prefetch-listrange`, `evict-listrange`, `blob-download`. An empty selection is the whole
bucket, as in AIS: nothing can be lost by it.
"""

import asyncio
from typing import Any

from aisfs.server.http.call import Call, decode_value
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply, text_reply
from aisfs.server.jobs.multiobject import (
    SELECTION_KEYS,
    check_selection,
    decode_selection,
    drop_records,
    select,
    select_all,
    step,
)
from aisfs.server.jobs.table import Job
from aisfs.server.naming import check_object_name, decode_name, encode_name
from aisfs.server.objects.refusals import not_remote
from aisfs.server.remote.copies import bring
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

MIN_BLOB_THRESHOLD = 1 << 20
PARALLEL = 8
"""Objects that one job fetches at a time."""

_PREFETCH_KEYS: dict[str, type | tuple[type, ...]] = {
    **SELECTION_KEYS,
    "blob-threshold": (int, str),
    "blob-chunk-size": (int, str),
    "blob-num-workers": int,
}
_BLOB_KEYS: dict[str, type | tuple[type, ...]] = {
    "chunk-size": (int, str),
    "full-size": (int, str),
    "num-workers": int,
    "latest-ver": bool,
    "range-size": (int, str),
}


def _selected(fields: dict[str, Any], action: str) -> dict[str, Any]:
    if not fields.get("objnames") and not fields.get("template"):
        fields = {**fields, "objnames": None, "template": ""}
    if fields.get("template"):
        fields = {**fields, "template": fields["template"].removesuffix("*")}
    check_selection(fields, action)
    return fields


async def prefetch(call: Call, bucket: Bucket, value: Any) -> Job:
    """Start fetching the selected objects that are not here.

    Raises:
        AisError: 400 for an ais bucket or a selection that is none.
    """
    action = const.ACT_PREFETCH_OBJECTS
    if not bucket.remote:
        raise not_remote(action, bucket.name, call.era)
    fields = _selected(
        decode_value(value, action, call.era.jobs.keys(action, _PREFETCH_KEYS)), action
    )
    threshold = fields.get("blob-threshold", 0)
    if isinstance(threshold, int) and 0 < threshold < MIN_BLOB_THRESHOLD:
        raise AisError(400, f"blob-threshold ({threshold}) is below the minimum, 1MiB")

    async def fetch(job: Job) -> None:
        async for names in select_all(call, bucket, fields, action):
            for start in range(0, len(names), PARALLEL):
                batch = names[start : start + PARALLEL]
                await asyncio.gather(*(_prefetch(call, job, bucket, fields, key) for key in batch))
                await step(call, job)

    return call.store.jobs.start(action, bucket.name, fetch)


async def _prefetch(
    call: Call, job: Job, bucket: Bucket, fields: dict[str, Any], key: bytes
) -> None:
    """Fetch one object; a missing one is named if a list did so, other refusals end the job."""
    name, store = decode_name(key), call.store
    before = store.catalog.get(bucket, key)
    try:
        record = await bring(store, bucket, name, latest=bool(fields.get("latest-ver")))
    except AisError as error:
        if error.status != 404:
            raise
        if fields.get("objnames"):
            message = error.message.replace("{node}", store.owner(bucket, name).label)
            job.note_error(f"{error.tcode}: {message}", missing=True)
        return
    if before is None or before.blob != record.blob:
        job.objects += 1
        job.size += record.size


async def evict(call: Call, bucket: Bucket, value: Any) -> Job:
    """Start dropping the copies of the selected objects; their origin keeps them.

    Raises:
        AisError: 400 for an ais bucket or a selection that is none.
    """
    action = const.ACT_EVICT_OBJECTS
    if not bucket.remote:
        raise not_remote(action, bucket.name, call.era)
    fields = _selected(decode_selection(call, value, action), action)

    async def drop(job: Job) -> None:
        for names in select(call, bucket, fields, action):
            drop_records(call, job, bucket, fields, names)
            await step(call, job)

    return call.store.jobs.start(action, bucket.name, drop)


def start_blob_download(call: Call, bucket: Bucket, name: str, value: Any) -> Job:
    """Start fetching one object.

    Raises:
        AisError: 400 for an ais bucket or unknown options.
    """
    action = const.ACT_BLOB_DOWNLOAD
    if not bucket.remote:
        raise not_remote(action, bucket.name, call.era)
    check_object_name(name)
    fields = decode_value(value, action, _BLOB_KEYS)

    async def fetch(job: Job) -> None:
        await _prefetch(call, job, bucket, {**fields, "objnames": [name]}, encode_name(name))

    return call.store.jobs.start(action, bucket.name, fetch)


async def blob_download(call: Call, bucket: Bucket, name: str, value: Any) -> Reply:
    """Answer `blob-download` at the object's owner: a job's id, or nothing if there is no need."""
    if bucket.remote:
        latest = isinstance(value, dict) and bool(value.get("latest-ver"))
        if call.store.catalog.get(bucket, encode_name(name)) is not None and not latest:
            return Reply()
        await call.store.remotes.run(call.store.remotes.origin(bucket.name).stat, name)
    return text_reply(start_blob_download(call, bucket, name, value).id)
