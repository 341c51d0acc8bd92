"""What moves objects: renaming and copying buckets, and actions on groups of their objects.

All answer with the id of a job; the work itself is the jobs'.
"""

import copy

from aisfs.server.archives.job import archive_objects
from aisfs.server.buckets import access
from aisfs.server.buckets.lifecycle import must_be_free
from aisfs.server.buckets.props import default_props
from aisfs.server.etl.jobs import transform_bucket, transform_selected
from aisfs.server.http.call import Call, Message, decode_value
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply, text_reply
from aisfs.server.jobs.multiobject import (
    Copier,
    Naming,
    by_prefix,
    copy_listrange,
    delete_listrange,
    step,
)
from aisfs.server.jobs.table import Job
from aisfs.server.naming import BucketName, check_bucket_name, encode_name, parse_uname
from aisfs.server.remote.jobs import evict, prefetch
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

_COPY_KEYS: dict[str, type | tuple[type, ...]] = {
    "prefix": str,
    "prepend": str,
    "dry_run": bool,
    "force": bool,
    "latest-ver": bool,
    "synchronize": bool,
    "ext": dict,
    "num-workers": int,
    "non-recurs": bool,
    "coer": bool,
}


async def rename(call: Call, name: str, message: Message) -> Reply:
    """Give a bucket another name, at once; the job is over when it is answered."""
    bucket = await call.store.open_bucket(call.bucket_name(name))
    if bucket.remote:
        raise AisError(400, f"can only rename AIS ('ais://') bucket (\"{bucket.name.uri}\" is not)")
    if parse_uname(call.query.text(const.QPARAM_BUCKET_TO) or "/-/-/")[0] == bucket.name:
        raise call.era.said.bucket_to_itself.error(
            uri=bucket.name.uri, number=access.bucket_number(bucket)
        )
    target = _bucket_to(call, bucket, message.action)
    if target.uuid or target.provider != "ais":
        text = f"can only rename to AIS ('ais://') bucket (\"{target.uri}\" is remote)"
        raise AisError(400, text)
    access.check(bucket, access.MOVE_BUCKET, call.era)
    must_be_free(call, target, 400)
    check_bucket_name(target.name, call.era)
    call.store.catalog.rename_bucket(bucket, target)
    return text_reply(call.store.jobs.add_finished(message.action, target).id)


async def copy_bucket(call: Call, name: str, message: Message) -> Reply:
    """Copy the objects of a bucket, or those below a prefix, into another."""
    source = await call.store.open_bucket(call.bucket_name(name))
    identity = _bucket_to(call, source, message.action)
    fields = decode_value(
        message.value, message.action, call.era.jobs.keys(message.action, _COPY_KEYS)
    )
    if message.value is None:
        raise AisError(400, "{node}: failed to unmarshal copy-bck (<nil>), err: EOF")
    naming = Naming.of(fields)
    dry = bool(fields.get("dry_run"))
    target = source if dry else await _existing_or_clone(call, identity, source)
    copier = Copier(call, source, None if dry else target, naming, fields)
    prefix = encode_name(fields.get("prefix", ""))

    async def run(job: Job) -> None:
        if fields.get("synchronize"):
            await copier.follow_deletions(prefix)
        async for names in by_prefix(call, source, prefix):
            await copier.copy(job, names)
            await step(call, job)

    return text_reply(call.store.jobs.start(message.action, identity, run, source.name).id)


async def _existing_or_clone(call: Call, name: BucketName, source: Bucket) -> Bucket:
    existing = call.store.catalog.buckets.get(call.store.remotes.normal(name))
    if existing is not None:
        return existing
    if name.provider != "ais" or name.uuid:
        return await call.store.open_bucket(name)
    check_bucket_name(name.name, call.era)
    props = copy.deepcopy(source.props)
    if source.remote:
        props["provider"] = "ais"
        props["versioning"] = default_props(call.era)["versioning"]
    return call.store.catalog.create_bucket(name, props)


def _bucket_to(call: Call, source: Bucket, action: str) -> BucketName:
    text = call.query.text(const.QPARAM_BUCKET_TO)
    if not text:
        raise AisError(400, 'missing "bck_to" query parameter')
    name, _ = parse_uname(text)
    name = call.store.remotes.normal(name)
    if name == source.name and not (name.uuid or name.provider != "ais"):
        raise call.era.said.onto_itself.error(
            action=action, uri=name.uri, number=access.bucket_number(source)
        )
    return name


async def copy_objects(call: Call, name: str, message: Message) -> Reply:
    """Copy a group of objects into another bucket."""
    bucket = await call.store.open_bucket(call.bucket_name(name))
    job = await copy_listrange(
        call, bucket, message.value, lambda other: _existing_or_clone(call, other, bucket)
    )
    return text_reply(job.id)


async def delete_objects(call: Call, name: str, message: Message) -> Reply:
    """Delete a group of objects."""
    bucket = await call.store.open_bucket(call.bucket_name(name))
    access.check(bucket, access.DELETE, call.era)
    return text_reply((await delete_listrange(call, bucket, message.value)).id)


async def evict_objects(call: Call, name: str, message: Message) -> Reply:
    """Drop the copies of a group of remote objects."""
    bucket = await call.store.open_bucket(call.bucket_name(name))
    return text_reply((await evict(call, bucket, message.value)).id)


async def prefetch_objects(call: Call, name: str, message: Message) -> Reply:
    """Get copies of a group of remote objects."""
    bucket = await call.store.open_bucket(call.bucket_name(name))
    return text_reply((await prefetch(call, bucket, message.value)).id)


async def transform(call: Call, name: str, message: Message) -> Reply:
    """Transform the objects of a bucket, or a group of them, into another bucket."""
    source = await call.store.open_bucket(call.bucket_name(name))
    start = transform_bucket if message.action == const.ACT_ETL_BCK else transform_selected
    job = await start(call, name, message, lambda other: _existing_or_clone(call, other, source))
    return text_reply(job.id)


async def archive(call: Call, name: str, message: Message) -> Reply:
    """Put a group of objects into a shard."""
    bucket = await call.store.open_bucket(call.bucket_name(name))
    return text_reply((await archive_objects(call, bucket, message.value)).id)
