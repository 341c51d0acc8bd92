"""Bucket requests at the gateway.

AIS: `/v1/buckets` and `/v1/buckets/{bucket}`, with the action in the JSON body.
"""

import contextlib
import copy
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from aisfs.server.archives.job import archive_objects
from aisfs.server.buckets import access, inventory
from aisfs.server.buckets.listing import list_objects
from aisfs.server.buckets.props import InvalidPropsError, changed, default_props
from aisfs.server.eras import Feature
from aisfs.server.etl.jobs import transform_bucket, transform_selected
from aisfs.server.http.call import Call, Message, decode_value, parse_message
from aisfs.server.http.errors import AisError, not_implemented
from aisfs.server.http.replies import Reply, json_reply, text_reply
from aisfs.server.jobs.multiobject import (
    Copier,
    Naming,
    by_prefix,
    copy_listrange,
    delete_listrange,
    step,
)
from aisfs.server.jobs.table import Job
from aisfs.server.naming import (
    BACKENDS,
    BucketName,
    check_bucket_name,
    encode_name,
    parse_namespace,
    parse_provider,
    parse_uname,
)
from aisfs.server.objects.refusals import not_remote
from aisfs.server.remote.jobs import evict, prefetch
from aisfs.server.remote.listing import list_remote, origin_page
from aisfs.server.remote.origin import PageRequest
from aisfs.server.storage.catalog import Bucket
from aisfs.server.upkeep.mirror import MOUNTPATHS, make_copies, number_of_copies
from aisfs_sdk import const

_SUMMARY_PAGE = 10_000
_ANY_CLUSTER = "@"
_PRESENT_ONLY = {"2", "3", "4"}
_EXISTENCE_ONLY = {"1", "3"}
"""Values of `presence` that ask for no attributes."""


_NOT_BUILT = {"ec-encode"}
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

_RECHUNK_KEYS: dict[str, type | tuple[type, ...]] = {
    "objsize-limit": (int, str),
    "chunk-size": (int, str),
    "prefix": str,
    "sync-remote": bool,
}

Handler = Callable[[Call, str, Message], Awaitable[Reply]]


async def serve_buckets(call: Call) -> Reply:
    """Answer a request below `/v1/buckets`."""
    name = _bucket_part(call)
    if call.method == "HEAD":
        return await head_bucket(call, name)
    if call.method == "GET":
        call.refuse_unknown_keys()
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
        raise call.era.said.bucket_slash.error(path=call.path[1:], bucket=parts[2])
    name = parts[2] if len(parts) > 2 else ""
    if not name and call.method != "GET":
        raise call.era.said.path_short.error(path=call.path[1:], expected=3, found=2)
    return name


# ---- GET: lists and summaries -------------------------------------------------------------------


async def _get(call: Call, name: str) -> Reply:
    data = await call.body()
    whole = Message(const.ACT_LIST, "", {})
    message = parse_message(data, "GET") if data or not name else whole
    if message.action == const.ACT_SUMMARY_BCK:
        return await _summary(call, name, message.value)
    if message.action == inventory.SHOW:
        return await inventory.show_inventories(call, name)
    if message.action != const.ACT_LIST:
        raise AisError(400, f'invalid action "{message.action}"')
    if not name:
        return await _list_buckets(call, message.value)
    identity = call.bucket_name(name)
    if message.value is None and not call.era.list_value_optional:
        raise AisError(
            400, f'bad list-buckets request: "{name}" vs "" ({identity.uri}, actm[list])'
        )
    bucket = await call.store.open_bucket(identity)
    return await (list_remote if bucket.remote else list_objects)(call, bucket, message.value)


async def _list_buckets(call: Call, value: Any) -> Reply:
    provider = call.query.text(const.QPARAM_PROVIDER)
    canonical = parse_provider(provider, call.era)
    if value is not None and not call.era.list_value_optional:
        raise AisError(
            400,
            f'bad list-objects request: "{canonical}://" is not a bucket (is a bucket query?)',
        )
    if call.store.remotes.is_missing_backend(canonical):
        error = call.era.said.cloud_list.error(provider=canonical, backend=BACKENDS[canonical])
        error.at_target = True
        raise error
    uuid, namespace = parse_namespace(call.query.text(const.QPARAM_NAMESPACE))
    names = await _bucket_names(call, canonical if provider else "", uuid)
    if call.query.text(const.QPARAM_NAMESPACE) == _ANY_CLUSTER:
        for cluster in list(call.store.remotes.clusters):
            with contextlib.suppress(AisError):
                names |= await _bucket_names(call, "ais", cluster)
    found = [name for name in names if namespace in {"", name.namespace}]
    found.sort(key=lambda name: (name.provider, name.uuid, name.namespace, name.name))
    return json_reply([name.to_json() for name in found])


async def _bucket_names(call: Call, provider: str, uuid: str) -> set[BucketName]:
    """Return the buckets of a provider (empty: all), or those of an attached cluster."""
    store = call.store
    present = call.query.text(const.QPARAM_FLT_PRESENCE) in _PRESENT_ONLY
    if uuid:
        remote = await store.remotes.resolve(BucketName("", "ais", uuid))
        known = {name for name in store.catalog.buckets if name.uuid == remote.uuid}
        cluster = store.remotes.cluster(remote.uuid)
        return known if present else set(await store.remotes.run(cluster.bucket_names))
    names = {name for name in store.catalog.buckets if not name.uuid}
    if not present:
        names |= {name for word in BACKENDS for name in store.remotes.configured(word)}
    return {name for name in names if provider in {"", name.provider}}


async def _summary(call: Call, name: str, value: Any) -> Reply:
    in_steps = call.era.has(Feature.SUMMARY_IN_STEPS)
    keys = _SUMMARY_KEYS if in_steps else {**_SUMMARY_KEYS, "fast": bool}
    fields = decode_value(value, const.ACT_SUMMARY_BCK, keys)
    bucket = await call.store.open_bucket(call.bucket_name(name))
    uuid = fields.get("uuid", "")
    if not uuid:
        return text_reply(_finish(call, const.ACT_SUMMARY_BCK, bucket.name), 202)
    if not call.store.jobs.find({uuid}, const.ACT_SUMMARY_BCK):
        raise _unknown_summary(call, name, uuid)
    result = [summarize(call, bucket, fields.get("prefix", ""), present=False)]
    if bucket.remote and not (fields.get("cached") or fields.get("present")):
        await _add_remote_figures(call, bucket, fields.get("prefix", ""), result[0])
    if not in_steps:
        return json_reply(result)
    return text_reply(msgspec.json.encode(result).decode() + "\n")


def _unknown_summary(call: Call, name: str, uuid: str) -> AisError:
    targets = call.store.targets
    error = call.era.said.unknown_summary.error(
        job=uuid, targets=len(targets), labels=f"{targets[0].label} ..."
    )
    if call.era.has(Feature.SUMMARY_IN_STEPS):
        error.at_target, error.url_path = True, f"/v1/buckets/{name}/query"
    return error


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


async def _add_remote_figures(
    call: Call, bucket: Bucket, prefix: str, summary: dict[str, Any]
) -> None:
    """Add what the origin has, which costs a listing of it."""
    count = total = 0
    after = ""
    while True:
        request = PageRequest(prefix, after, _SUMMARY_PAGE)
        page = await origin_page(call, bucket, request)
        count += len(page.entries)
        total += sum(entry.size for entry in page.entries)
        if not page.more or not page.entries:
            break
        after = page.entries[-1].name
    summary["ObjCount"]["obj_count_remote"] = str(count)
    summary["TotalSize"]["size_all_remote_objs"] = str(total)


# ---- HEAD ---------------------------------------------------------------------------------------


async def head_bucket(call: Call, name: str) -> Reply:
    """Answer HEAD: properties, and with `bsumm_remote` a summary in two steps."""
    if call.unknown_keys():
        return Reply()  # what AIS 3.17 answers; nothing is lost, so it is the same here
    bucket = await call.store.open_bucket(call.bucket_name(name))
    access.check(bucket, access.HEAD_BUCKET, call.era)
    headers = [(const.HEADER_BUCKET_PROPS, msgspec.json.encode(bucket.props).decode())]
    if not call.era.has(Feature.SUMMARY_IN_STEPS):
        return Reply(200, headers + _summary_at_once(call, bucket))
    if const.QPARAM_BSUMM_REMOTE not in call.query:
        return Reply(200, headers)
    job = call.query.text(const.QPARAM_UUID)
    if not job:
        job = _finish(call, const.ACT_SUMMARY_BCK, bucket.name)
        return Reply(202, [*headers, (const.HEADER_XACTION_ID, job)])
    figures = summarize(call, bucket, "", present=True)
    if bucket.remote and call.query.flag(const.QPARAM_BSUMM_REMOTE):
        await _add_remote_figures(call, bucket, "", figures)
    summary = msgspec.json.encode(figures).decode()
    headers += [(const.HEADER_BUCKET_SUMM, summary), (const.HEADER_XACTION_ID, job)]
    return Reply(200, headers)


def _summary_at_once(call: Call, bucket: Bucket) -> list[tuple[str, str]]:
    """Return the summary that AIS 3.17 adds to a HEAD with `presence`; empty for "existence"."""
    presence = call.query.text(const.QPARAM_FLT_PRESENCE)
    if not presence:
        return []
    summary = summarize(call, bucket, "", present=True)
    if presence in _EXISTENCE_ONLY:
        summary.update(BucketName("", "").to_json())
        summary["ObjCount"] = {"obj_count_present": "0", "obj_count_remote": "0"}
        summary["ObjSize"] = {"obj_min_size": 0, "obj_avg_size": 0, "obj_max_size": 0}
        summary["TotalSize"].update(size_on_disk="0", size_all_present_objs="0")
    return [(const.HEADER_BUCKET_SUMM, msgspec.json.encode(summary).decode())]


# ---- changes ------------------------------------------------------------------------------------


def _finish(call: Call, kind: str, bucket: BucketName) -> str:
    """Note a finished job and return its id."""
    return call.store.jobs.add_finished(kind, bucket).id


async def _create(call: Call, name: str, message: Message) -> Reply:
    identity = call.bucket_name(name)
    if call.store.remotes.is_configured(identity):
        _must_be_free(call, identity, 409)
        await call.store.open_bucket(identity)
        return Reply()
    if identity.provider != "ais":
        raise call.era.said.cloud_create.error(provider=identity.provider, uri=identity.uri)
    check_bucket_name(name, call.era)
    if identity.uuid:
        identity = await call.store.remotes.resolve(identity)
        origin = call.store.remotes.cluster_origin(identity)
        await call.store.remotes.run(origin.create, message.value)
        return Reply()
    defaults = call.store.config.bucket_props(default_props(call.era))
    try:
        props = changed(defaults, message.value, call.era)
    except InvalidPropsError as error:
        head = "{node}: failed to unmarshal create-bck (map[string]interface {}), err: "
        raise AisError(400, f"{head}{error}") from error
    _must_be_free(call, identity, 409)
    call.store.catalog.create_bucket(identity, props)
    return Reply()


def _must_be_free(call: Call, name: BucketName, status: int) -> None:
    if name in call.store.catalog.buckets:
        raise AisError(status, f'bucket "{name.uri}" already exists', "ErrBucketAlreadyExists")


async def _destroy(call: Call, name: str, _: Message) -> Reply:
    identity = call.bucket_name(name)
    if identity.provider != "ais":
        raise call.era.said.cloud_destroy.error(provider=identity.provider, uri=identity.uri)
    bucket = await call.store.open_bucket(identity)
    access.check(bucket, access.DESTROY_BUCKET, call.era)
    if bucket.remote:
        origin = call.store.remotes.cluster_origin(bucket.name)
        await call.store.remotes.run(origin.destroy)
    if call.store.catalog.buckets.get(bucket.name) is bucket:
        await _forget(call, bucket)
    return Reply()


async def _forget(call: Call, bucket: Bucket) -> None:
    """Delete a bucket's records and bytes here."""
    call.store.uploads.drop_bucket(bucket)
    blobs = call.store.catalog.destroy_bucket(bucket)
    await call.store.in_thread(call.store.blobs.delete, blobs)


async def _evict_bucket(call: Call, name: str, message: Message) -> Reply:
    """Drop all copies of a remote bucket's objects; the bucket is forgotten unless it is kept."""
    identity = call.store.remotes.normal(call.bucket_name(name))
    bucket = call.store.catalog.buckets.get(identity)
    if bucket is None:
        if identity.provider == "ais":
            await call.store.open_bucket(identity)
        return Reply()
    if not bucket.remote:
        raise not_remote(message.action, bucket.name, call.era)
    props = dict(bucket.props)
    await _forget(call, bucket)
    if call.query.flag(const.QPARAM_KEEP_BCK_MD):
        call.store.catalog.create_bucket(identity, props)
    return Reply()


async def _evict(call: Call, name: str, message: Message) -> Reply:
    bucket = await call.store.open_bucket(call.bucket_name(name))
    return text_reply((await evict(call, bucket, message.value)).id)


async def _prefetch(call: Call, name: str, message: Message) -> Reply:
    bucket = await call.store.open_bucket(call.bucket_name(name))
    return text_reply((await prefetch(call, bucket, message.value)).id)


async def _set_props(call: Call, name: str, message: Message) -> Reply:
    bucket = await call.store.open_bucket(call.bucket_name(name))
    mirrored = bucket.props["mirror"]["enabled"]
    try:
        bucket.props = changed(bucket.props, message.value, call.era)
    except InvalidPropsError as error:
        raise call.era.said.invalid_props.error(reason=error) from error
    call.store.catalog.save_props(bucket)
    if bucket.props["mirror"]["enabled"] and not mirrored:
        count = min(int(bucket.props["mirror"]["copies"]), MOUNTPATHS)
        return text_reply(make_copies(call, bucket, count).id)
    return Reply()


async def _reset_props(call: Call, name: str, _: Message) -> Reply:
    bucket = await call.store.open_bucket(call.bucket_name(name))
    identity = {key: bucket.props[key] for key in ("bid", "created")}
    defaults = call.store.config.bucket_props(default_props(call.era))
    if bucket.remote:
        defaults["provider"] = bucket.name.provider
        defaults["versioning"]["enabled"] = False
    bucket.props = {**defaults, **identity}
    call.store.catalog.save_props(bucket)
    return Reply()


async def _make_copies(call: Call, name: str, message: Message) -> Reply:
    bucket = await call.store.open_bucket(call.bucket_name(name))
    count = number_of_copies(bucket, message.value)
    mirror = {**bucket.props["mirror"], "enabled": count > 1, "copies": max(count, 2)}
    bucket.props = {**bucket.props, "mirror": mirror}
    call.store.catalog.save_props(bucket)
    return text_reply(make_copies(call, bucket, count).id)


async def _rechunk(call: Call, name: str, message: Message) -> Reply:
    """Check every object's record; blobs are one file each, so there are no chunks to change."""
    bucket = await call.store.open_bucket(call.bucket_name(name))
    decode_value(message.value, message.action, _RECHUNK_KEYS)
    return text_reply(_finish(call, message.action, bucket.name))


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


async def _rename(call: Call, name: str, message: Message) -> Reply:
    bucket = await call.store.open_bucket(call.bucket_name(name))
    if bucket.remote:
        raise AisError(400, f"can only rename AIS ('ais://') bucket (\"{bucket.name.uri}\" is not)")
    if parse_uname(call.query.text(const.QPARAM_BUCKET_TO) or "/-/-/")[0] == bucket.name:
        uri = bucket.name.uri
        raise AisError(400, f'cannot rename bucket "{uri}" to itself ("{uri}")')
    target = _bucket_to(call, bucket, message.action)
    if target.uuid or target.provider != "ais":
        text = f"can only rename to AIS ('ais://') bucket (\"{target.uri}\" is remote)"
        raise AisError(400, text)
    access.check(bucket, access.MOVE_BUCKET, call.era)
    _must_be_free(call, target, 400)
    check_bucket_name(target.name, call.era)
    call.store.catalog.rename_bucket(bucket, target)
    return text_reply(_finish(call, message.action, target))


async def _copy(call: Call, name: str, message: Message) -> Reply:
    source = await call.store.open_bucket(call.bucket_name(name))
    identity = _bucket_to(call, source, message.action)
    fields = decode_value(message.value, message.action, _COPY_KEYS)
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


async def _delete_objects(call: Call, name: str, message: Message) -> Reply:
    bucket = await call.store.open_bucket(call.bucket_name(name))
    access.check(bucket, access.DELETE, call.era)
    return text_reply((await delete_listrange(call, bucket, message.value)).id)


async def _copy_named(call: Call, name: str, message: Message) -> Reply:
    bucket = await call.store.open_bucket(call.bucket_name(name))
    job = await copy_listrange(
        call, bucket, message.value, lambda other: _existing_or_clone(call, other, bucket)
    )
    return text_reply(job.id)


async def _transform(call: Call, name: str, message: Message) -> Reply:
    source = await call.store.open_bucket(call.bucket_name(name))
    start = transform_bucket if message.action == const.ACT_ETL_BCK else transform_selected
    job = await start(call, name, message, lambda other: _existing_or_clone(call, other, source))
    return text_reply(job.id)


async def _archive(call: Call, name: str, message: Message) -> Reply:
    bucket = await call.store.open_bucket(call.bucket_name(name))
    return text_reply((await archive_objects(call, bucket, message.value)).id)


_ACTIONS: dict[tuple[str, str], Handler] = {
    ("POST", const.ACT_CREATE_BCK): _create,
    ("POST", const.ACT_MOVE_BCK): _rename,
    ("POST", const.ACT_COPY_BCK): _copy,
    ("POST", const.ACT_COPY_OBJECTS): _copy_named,
    ("POST", const.ACT_ETL_BCK): _transform,
    ("POST", const.ACT_TRANSFORM_OBJECTS): _transform,
    ("POST", const.ACT_PREFETCH_OBJECTS): _prefetch,
    ("POST", "make-n-copies"): _make_copies,
    ("POST", "rechunk"): _rechunk,
    ("POST", inventory.CREATE): inventory.create_inventory,
    ("PUT", const.ACT_ARCHIVE_OBJECTS): _archive,
    ("DELETE", const.ACT_DESTROY_BCK): _destroy,
    ("DELETE", inventory.DESTROY): inventory.destroy_inventory,
    ("DELETE", const.ACT_EVICT_REMOTE_BCK): _evict_bucket,
    ("DELETE", const.ACT_EVICT_OBJECTS): _evict,
    ("DELETE", const.ACT_DELETE_OBJECTS): _delete_objects,
    ("PATCH", const.ACT_SET_BPROPS): _set_props,
    ("PATCH", const.ACT_RESET_BPROPS): _reset_props,
}
