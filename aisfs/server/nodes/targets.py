"""Object requests at a target: which operation it is, and whether it may come here directly.

AIS: `/v1/objects/{bucket}/{object}` of a storage node. Writing needs the markers `pid` and `utm`
that a gateway's redirect carries; their values are not looked at. Bucket requests are refused.
"""

from aiohttp import web

from aisfs.server.archives.query import check_query
from aisfs.server.archives.shards import get_from_shard, put_into_shard
from aisfs.server.eras import Feature
from aisfs.server.etl.inline import copy_transformed, get_transformed
from aisfs.server.http.call import Call, parse_message
from aisfs.server.http.errors import AisError, not_implemented
from aisfs.server.http.replies import Reply
from aisfs.server.naming import check_name_length, check_object_name
from aisfs.server.nodes.gateway import split_object_path
from aisfs.server.objects.appends import (
    abort_multipart,
    append_object,
    complete_multipart,
    put_part,
    start_multipart,
)
from aisfs.server.objects.reads import get_object, head_object, refuse_transforms
from aisfs.server.objects.writes import (
    copy_object,
    delete_object,
    evict_object,
    patch_object,
    put_object,
    refuse_wrong_target,
    rename_object,
)
from aisfs.server.remote.jobs import blob_download
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const


async def serve_object(call: Call) -> web.StreamResponse:
    """Answer an object request at a target."""
    bucket_part, name = split_object_path(call)
    call.refuse_misled()
    if call.method in {"GET", "PUT"}:
        call.refuse_unknown_keys()
    elif not call.era.targets_parse_strictly:
        call.use_lenient_query()
    await _require_markers(call)
    bucket = await call.store.open_bucket(call.bucket_name(bucket_part))
    if call.method == "GET":
        return await _get(call, bucket, name)
    if call.method == "HEAD":
        return await head_object(call, bucket, name)
    check_object_name(name, call.era)
    check_name_length(name, call.era)
    if call.method == "PUT":
        return await _put(call, bucket, name)
    if call.method == "POST":
        return await _post(call, bucket, name)
    if call.method == "PATCH":
        return await patch_object(call, bucket, name)
    return await _delete(call, bucket, name)


async def serve_bucket_post(call: Call, bucket_part: str) -> Reply:
    """Answer `POST /v1/objects/{bucket}` that a gateway sent here: a blob download."""
    await _require_markers(call)
    bucket = await call.store.open_bucket(call.bucket_name(bucket_part))
    message = await call.message()
    if message.action == const.ACT_BLOB_DOWNLOAD:
        return await blob_download(call, bucket, message.name, message.value)
    raise AisError(400, f'invalid action "{message.action}"')


async def _require_markers(call: Call) -> None:
    """Refuse what a gateway should have redirected.

    Raises:
        AisError: 400.
    """
    if all(call.query.text(key) for key in call.era.markers.get(call.method, ())):
        return
    said = call.era.said
    if call.method == "POST":
        action = (await call.message()).action
        raise said.unmarked_post.error(method=call.method, action=action)
    refusal = said.unmarked_put if call.method == "PUT" else said.unmarked
    raise refusal.error(method=call.method)


async def _get(call: Call, bucket: Bucket, name: str) -> web.StreamResponse:
    check_query(call)
    if call.query.text(const.QPARAM_ARCHPATH) or call.query.text(const.QPARAM_ARCHMODE):
        refuse_transforms(call)
        return await get_from_shard(call, bucket, name)
    if call.query.text(const.QPARAM_ETL_NAME):
        return await get_transformed(call, bucket, name)
    return await get_object(call, bucket, name)


async def _put(call: Call, bucket: Bucket, name: str) -> Reply:
    query = call.query
    check_query(call)
    if query.text(const.QPARAM_OBJECT_TO) and query.text(const.QPARAM_ETL_NAME):
        return await copy_transformed(call, bucket, name)
    if query.text(const.QPARAM_OBJECT_TO):
        return await copy_object(call, bucket, name)
    refuse_wrong_target(call, bucket, name)
    if query.text(const.QPARAM_UPLOAD_ID):
        if not call.era.has(Feature.MULTIPART):
            raise not_implemented("multipart upload (AIS 3.17 makes the part the whole object)")
        return await put_part(call, bucket, name)
    if query.text(const.QPARAM_ARCHPATH):
        return await put_into_shard(call, bucket, name)
    if query.text(const.QPARAM_APPEND_TYPE):
        return await append_object(call, bucket, name)
    return await put_object(call, bucket, name)


async def _post(call: Call, bucket: Bucket, name: str) -> Reply:
    message = await call.message()
    if message.action == const.ACT_RENAME_OBJECT:
        return rename_object(call, bucket, name, message.name)
    if message.action == const.ACT_CHECK_LOCK:
        return Reply()
    if message.action == const.ACT_MPT_UPLOAD:
        refuse_wrong_target(call, bucket, name)
        return start_multipart(call, bucket, name)
    if message.action == const.ACT_MPT_COMPLETE:
        return await complete_multipart(call, bucket, name, message)
    raise AisError(400, f'invalid action "{message.action}"')


async def _delete(call: Call, bucket: Bucket, name: str) -> Reply:
    data = await call.body()
    if data:
        message = parse_message(data, "DELETE", call.era.said.target_body)
        if message.action == const.ACT_MPT_ABORT and call.era.has(Feature.MULTIPART):
            return abort_multipart(call, bucket, name)
        if message.action == const.ACT_EVICT_OBJECTS:
            return evict_object(call, bucket, name)
        if message.action and bucket.remote:
            # AIS deletes at the origin, whatever the action: `evict` loses the object there.
            raise AisError(400, f'invalid action "{message.action}"')
    return await delete_object(call, bucket, name)


async def serve_buckets(call: Call) -> Reply:
    """Refuse bucket requests; only a gateway may make them of a target."""
    if call.method == "GET":
        data = await call.body()
        value = parse_message(data, "GET").value if data else None
        uuid = value.get("uuid", "") if isinstance(value, dict) else ""
        raise AisError(400, f'list-objects: invalid UUID "{uuid}"')
    raise AisError(400, f"{{node}}: {call.method}(bucket) requires proxy mediation")
