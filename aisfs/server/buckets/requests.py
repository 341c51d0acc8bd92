"""Bucket requests at the gateway.

AIS: `/v1/buckets` and `/v1/buckets/{bucket}`, with the action in the JSON body.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from aisfs.server.archives.job import archive_objects
from aisfs.server.buckets import access
from aisfs.server.buckets.listing import list_objects
from aisfs.server.buckets.props import changed, default_props
from aisfs.server.etl.jobs import transform_bucket, transform_selected
from aisfs.server.http.call import Call, Message, decode_value, parse_message
from aisfs.server.http.errors import AisError, not_implemented
from aisfs.server.http.replies import Reply, json_reply, text_reply
from aisfs.server.jobs.multiobject import copy_listrange, delete_listrange, step
from aisfs.server.jobs.table import Job
from aisfs.server.naming import (
    BACKENDS,
    BucketName,
    check_bucket_name,
    check_object_name,
    encode_name,
    parse_namespace,
    parse_provider,
    parse_uname,
)
from aisfs.server.objects.refusals import not_remote
from aisfs.server.objects.writes import linked_copies, still_there
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

COPY_BATCH = 500
"""Objects copied between two chances for other requests."""

_NOT_BUILT = {
    "make-n-copies", "ec-encode", "create-nbi", "destroy-nbi", "rechunk",
}  # fmt: skip
_SUMMARY_KEYS: dict[str, type | tuple[type, ...]] = {
    "uuid": str,
    "prefix": str,
    "cached": bool,
    "present": bool,
    "dont_add_remote": bool,
}
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

Handler = Callable[[Call, str, Message], Awaitable[Reply]]


async def serve_buckets(call: Call) -> Reply:
    """Answer a request below `/v1/buckets`."""
    name = _bucket_part(call)
    if call.method == "HEAD":
        return head_bucket(call, name)
    if call.method == "GET":
        return await _get(call, name)
    message = await call.message()
    handler = _ACTIONS.get((call.method, message.action))
    if handler is not None:
        return await handler(call, name, message)
    if message.action in _NOT_BUILT:
        raise not_implemented(message.action)
    hint = " (expected one of [set-bprops reset-bprops])" if call.method == "PATCH" else ""
    raise AisError(400, f'invalid action "{message.action}"{hint}')


def _bucket_part(call: Call) -> str:
    """Return the bucket's name in the path, empty for `/v1/buckets` itself.

    Raises:
        AisError: 400 when a request other than GET names no bucket.
    """
    parts = call.path.split("/")[1:]
    if call.method == "HEAD" and len(parts) == 4 and not parts[3]:
        raise AisError(400, f"URL '{call.path[1:]}' is too short: expected 4 items, got 3")
    name = parts[2] if len(parts) > 2 else ""
    if not name and call.method != "GET":
        raise AisError(400, f"URL '{call.path[1:]}' is too short: expected 3 items, got 2")
    return name


# ---- GET: lists and summaries -------------------------------------------------------------------


async def _get(call: Call, name: str) -> Reply:
    data = await call.body()
    whole = Message(const.ACT_LIST, "", {})
    message = parse_message(data, "GET") if data or not name else whole
    if message.action == const.ACT_SUMMARY_BCK:
        return _summary(call, name, message.value)
    if message.action != const.ACT_LIST:
        raise AisError(400, f'invalid action "{message.action}"')
    if not name:
        return _list_buckets(call, message.value)
    identity = call.bucket_name(name)
    if message.value is None:
        raise AisError(
            400, f'bad list-buckets request: "{name}" vs "" ({identity.uri}, actm[list])'
        )
    return await list_objects(call, call.store.find_bucket(identity), message.value)


def _list_buckets(call: Call, value: Any) -> Reply:
    provider = call.query.text(const.QPARAM_PROVIDER)
    canonical = parse_provider(provider)
    if value is not None:
        raise AisError(
            400,
            f'bad list-objects request: "{canonical}://" is not a bucket (is a bucket query?)',
        )
    if canonical != "ais":
        raise AisError(
            400,
            f"{BACKENDS[canonical]} backend is missing in the cluster configuration",
            "ErrMissingBackend",
            at_target=True,
        )
    uuid, namespace = parse_namespace(call.query.text(const.QPARAM_NAMESPACE))
    names = [
        name
        for name in call.store.catalog.buckets
        if name.uuid == uuid and namespace in {"", name.namespace}
    ]
    names.sort(key=lambda name: (name.namespace, name.name))
    return json_reply([name.to_json() for name in names])


def _summary(call: Call, name: str, value: Any) -> Reply:
    fields = decode_value(value, const.ACT_SUMMARY_BCK, _SUMMARY_KEYS)
    bucket = call.store.find_bucket(call.bucket_name(name))
    uuid = fields.get("uuid", "")
    if not uuid:
        return text_reply(_finish(call, const.ACT_SUMMARY_BCK, bucket.name), 202)
    if not call.store.jobs.find({uuid}, const.ACT_SUMMARY_BCK):
        raise AisError(
            404,
            f"{{node}}: {const.ACT_SUMMARY_BCK} job {uuid} does not exist",
            "ErrNotFound",
            at_target=True,
            url_path=f"/v1/buckets/{name}/query",
        )
    result = [summarize(call, bucket, fields.get("prefix", ""), present=False)]
    return text_reply(msgspec.json.encode(result).decode() + "\n")


def summarize(call: Call, bucket: Bucket, prefix: str, *, present: bool) -> dict[str, Any]:
    """Return the summary of a bucket in AIS's form, numbers quoted where AIS quotes them."""
    count, smallest, largest, total = call.store.catalog.summarize(bucket, encode_name(prefix))
    _, disk = call.store.blobs.free_space()
    return {
        **bucket.name.to_json(),
        "ObjCount": {"obj_count_present": str(count), "obj_count_remote": "0"},
        "ObjSize": {
            "obj_min_size": smallest,
            "obj_avg_size": total // count if count else 0,
            "obj_max_size": largest,
        },
        "TotalSize": {
            "size_on_disk": str(total),
            "size_all_present_objs": str(total),
            "size_all_remote_objs": "0",
            "total_disks_size": str(disk),
        },
        "used_pct": total * 100 // disk if disk else 0,
        "is_present": present,
    }


# ---- HEAD ---------------------------------------------------------------------------------------


def head_bucket(call: Call, name: str) -> Reply:
    """Answer HEAD: properties, and with `bsumm_remote` a summary in two steps."""
    bucket = call.store.find_bucket(call.bucket_name(name))
    access.check(bucket, access.HEAD_BUCKET)
    headers = [(const.HEADER_BUCKET_PROPS, msgspec.json.encode(bucket.props).decode())]
    if const.QPARAM_BSUMM_REMOTE not in call.query:
        return Reply(200, headers)
    job = call.query.text(const.QPARAM_UUID)
    if not job:
        job = _finish(call, const.ACT_SUMMARY_BCK, bucket.name)
        return Reply(202, [*headers, (const.HEADER_XACTION_ID, job)])
    summary = msgspec.json.encode(summarize(call, bucket, "", present=True)).decode()
    headers += [(const.HEADER_BUCKET_SUMM, summary), (const.HEADER_XACTION_ID, job)]
    return Reply(200, headers)


# ---- changes ------------------------------------------------------------------------------------


def _finish(call: Call, kind: str, bucket: BucketName) -> str:
    """Note a finished job and return its id."""
    return call.store.jobs.add_finished(kind, bucket).id


async def _create(call: Call, name: str, message: Message) -> Reply:
    identity = call.bucket_name(name)
    if identity.provider != "ais":
        raise AisError(
            501,
            f'{identity.provider} bucket "{identity.uri}" does not exist (further details at '
            "https://github.com/NVIDIA/aistore/blob/main/docs/bucket.md#bucket-lifecycle)",
            "ErrRemoteBckNotFound",
        )
    check_bucket_name(name)
    if identity.uuid:
        call.store.find_bucket(identity)
    head = "{node}: failed to unmarshal create-bck (map[string]interface {}), err: "
    props = changed(default_props(), message.value, head)
    _must_be_free(call, identity, 409)
    call.store.catalog.create_bucket(identity, props)
    return Reply()


def _must_be_free(call: Call, name: BucketName, status: int) -> None:
    if name in call.store.catalog.buckets:
        raise AisError(status, f'bucket "{name.uri}" already exists', "ErrBucketAlreadyExists")


async def _destroy(call: Call, name: str, _: Message) -> Reply:
    identity = call.bucket_name(name)
    if identity.provider != "ais":
        raise AisError(
            405,
            f"cannot destroy cloud bucket {identity.uri} - operation not supported",
            "ErrUnsupp",
        )
    bucket = call.store.find_bucket(identity)
    access.check(bucket, access.DESTROY_BUCKET)
    call.store.uploads.drop_bucket(bucket)
    blobs = call.store.catalog.destroy_bucket(bucket)
    await call.store.in_thread(call.store.blobs.delete, blobs)
    return Reply()


async def _evict(call: Call, name: str, message: Message) -> Reply:
    identity = call.bucket_name(name)
    if identity.provider != "ais":
        return Reply()
    bucket = call.store.find_bucket(identity)
    raise not_remote(message.action, bucket.name)


async def _prefetch(call: Call, name: str, message: Message) -> Reply:
    bucket = call.store.find_bucket(call.bucket_name(name))
    raise not_remote(message.action, bucket.name)


async def _set_props(call: Call, name: str, message: Message) -> Reply:
    bucket = call.store.find_bucket(call.bucket_name(name))
    head = "invalid set-bucket-props request (msg=actm[set-bprops]): "
    mirrored = bucket.props["mirror"]["enabled"]
    bucket.props = changed(bucket.props, message.value, head)
    call.store.catalog.save_props(bucket)
    if bucket.props["mirror"]["enabled"] and not mirrored:
        return text_reply(_finish(call, "make-n-copies", bucket.name))
    return Reply()


async def _reset_props(call: Call, name: str, _: Message) -> Reply:
    bucket = call.store.find_bucket(call.bucket_name(name))
    identity = {key: bucket.props[key] for key in ("bid", "created")}
    bucket.props = {**default_props(), **identity}
    call.store.catalog.save_props(bucket)
    return Reply()


def _bucket_to(call: Call, source: BucketName, action: str) -> BucketName:
    text = call.query.text(const.QPARAM_BUCKET_TO)
    if not text:
        raise AisError(400, 'missing "bck_to" query parameter')
    name, _ = parse_uname(text)
    if name == source:
        raise AisError(400, f'cannot {action} bucket "{source.uri}" onto itself')
    return name


async def _rename(call: Call, name: str, message: Message) -> Reply:
    bucket = call.store.find_bucket(call.bucket_name(name))
    target = _bucket_to(call, bucket.name, message.action)
    access.check(bucket, access.MOVE_BUCKET)
    _must_be_free(call, target, 400)
    check_bucket_name(target.name)
    call.store.catalog.rename_bucket(bucket, target)
    return text_reply(_finish(call, message.action, target))


async def _copy(call: Call, name: str, message: Message) -> Reply:
    source = call.store.find_bucket(call.bucket_name(name))
    identity = _bucket_to(call, source.name, message.action)
    fields = decode_value(message.value, message.action, _COPY_KEYS)
    if message.value is None:
        raise AisError(400, "{node}: failed to unmarshal copy-bck (<nil>), err: EOF")
    if fields.get("ext") or fields.get("synchronize"):
        raise not_implemented("copy-bck with ext or synchronize")
    renamed = (fields.get("prefix", ""), fields.get("prepend", ""))
    if renamed[1]:
        check_object_name(f"{renamed[1]}x")
    dry = bool(fields.get("dry_run"))
    target = source if dry else _existing_or_clone(call, identity, source)

    async def copy(job: Job) -> None:
        await _copy_objects(call, job, source, None if dry else target, renamed)

    return text_reply(call.store.jobs.start(message.action, identity, copy, source.name).id)


def _existing_or_clone(call: Call, name: BucketName, source: Bucket) -> Bucket:
    existing = call.store.catalog.buckets.get(name)
    if existing is not None:
        return existing
    if name.provider != "ais" or name.uuid:
        return call.store.find_bucket(name)
    check_bucket_name(name.name)
    return call.store.catalog.create_bucket(name, source.props)


async def _copy_objects(
    call: Call, job: Job, source: Bucket, target: Bucket | None, renamed: tuple[str, str]
) -> None:
    """Copy all objects with a prefix, putting text before their names; None as target counts."""
    prefix, prepend = renamed
    key, after = encode_name(prefix), b""
    while records := call.store.catalog.records(source, key, after, COPY_BATCH):
        if target is not None:
            still_there(call, target)
            pairs = [(record, encode_name(prepend) + record.name) for record in records]
            call.store.catalog.put_many(target, linked_copies(call, pairs))
        job.objects += len(records)
        job.size += sum(record.size for record in records)
        after = records[-1].name
        await step(call, job)


async def _delete_objects(call: Call, name: str, message: Message) -> Reply:
    bucket = call.store.find_bucket(call.bucket_name(name))
    access.check(bucket, access.DELETE)
    return text_reply((await delete_listrange(call, bucket, message.value)).id)


async def _copy_named(call: Call, name: str, message: Message) -> Reply:
    bucket = call.store.find_bucket(call.bucket_name(name))
    job = await copy_listrange(
        call, bucket, message.value, lambda other: _existing_or_clone(call, other, bucket)
    )
    return text_reply(job.id)


async def _transform(call: Call, name: str, message: Message) -> Reply:
    source = call.store.find_bucket(call.bucket_name(name))
    start = transform_bucket if message.action == const.ACT_ETL_BCK else transform_selected
    job = await start(call, name, message, lambda other: _existing_or_clone(call, other, source))
    return text_reply(job.id)


async def _archive(call: Call, name: str, message: Message) -> Reply:
    bucket = call.store.find_bucket(call.bucket_name(name))
    return text_reply((await archive_objects(call, bucket, message.value)).id)


_ACTIONS: dict[tuple[str, str], Handler] = {
    ("POST", const.ACT_CREATE_BCK): _create,
    ("POST", const.ACT_MOVE_BCK): _rename,
    ("POST", const.ACT_COPY_BCK): _copy,
    ("POST", const.ACT_COPY_OBJECTS): _copy_named,
    ("POST", const.ACT_ETL_BCK): _transform,
    ("POST", const.ACT_TRANSFORM_OBJECTS): _transform,
    ("POST", const.ACT_PREFETCH_OBJECTS): _prefetch,
    ("PUT", const.ACT_ARCHIVE_OBJECTS): _archive,
    ("DELETE", const.ACT_DESTROY_BCK): _destroy,
    ("DELETE", const.ACT_EVICT_REMOTE_BCK): _evict,
    ("DELETE", const.ACT_EVICT_OBJECTS): _prefetch,
    ("DELETE", const.ACT_DELETE_OBJECTS): _delete_objects,
    ("PATCH", const.ACT_SET_BPROPS): _set_props,
    ("PATCH", const.ACT_RESET_BPROPS): _reset_props,
}
