"""Which function answers a bucket request at the gateway.

AIS: `/v1/buckets` and `/v1/buckets/{bucket}`, with the action in the JSON body.
"""

from collections.abc import Awaitable, Callable

from aisfs.server.buckets import inventory, lifecycle, transfers
from aisfs.server.buckets.info import head_bucket, list_buckets, summarize_bucket
from aisfs.server.buckets.listing import list_objects
from aisfs.server.http.call import Call, Message, parse_message
from aisfs.server.http.errors import AisError, not_implemented
from aisfs.server.http.replies import Reply
from aisfs.server.naming import check_bucket_name
from aisfs.server.remote.listing import list_remote
from aisfs_sdk import const

Handler = Callable[[Call, str, Message], Awaitable[Reply]]

_NOT_BUILT = {"ec-encode"}


async def serve_buckets(call: Call) -> Reply:
    """Answer a request below `/v1/buckets`."""
    name, rest = _bucket_part(call)
    if call.method == "HEAD":
        return await head_bucket(call, name, rest)
    if call.method == "GET":
        call.refuse_unknown_keys()
        return await _get(call, name)
    message = await call.message()
    handler = _ACTIONS.get((call.method, message.action))
    if handler is not None and message.action not in call.era.jobs.absent_kinds:
        return await handler(call, name, message)
    if message.action in _NOT_BUILT:
        raise not_implemented(message.action)
    hint = " (expected one of [set-bprops reset-bprops])" if call.method == "PATCH" else ""
    raise AisError(400, f'invalid action "{message.action}"{hint}')


def _bucket_part(call: Call) -> tuple[str, str]:
    """Return the bucket's name in the path, empty for `/v1/buckets` itself, and what follows it.

    Raises:
        AisError: 400 when a request other than GET names no bucket, or something below one where
            AIS takes nothing: a deletion must not hit the bucket whose name only begins the path.
    """
    parts = call.path.split("/", 4)[1:]
    if call.method == "HEAD" and len(parts) == 4 and not parts[3]:
        raise call.era.said.bucket_slash.error(path=call.path[1:], bucket=parts[2])
    name = parts[2] if len(parts) > 2 else ""
    if not name and call.method != "GET":
        raise call.era.said.path_short.error(path=call.path[1:], expected=3, found=2)
    rest = "".join(parts[3:])
    if len(parts) > 3 and call.method in call.era.whole_path_names:
        check_bucket_name(f"{name}/{rest}", call.era)
    if rest.strip("/") and call.method == "POST" and call.era.posts_end_with_bucket:
        raise AisError(400, f'invalid request URI "{call.path}"')
    return name, rest


async def _get(call: Call, name: str) -> Reply:
    data = await call.body()
    whole = Message(const.ACT_LIST, "", {})
    message = parse_message(data, "GET") if data or not name else whole
    if message.action == const.ACT_SUMMARY_BCK:
        return await summarize_bucket(call, name, message.value)
    if message.action == inventory.SHOW:
        return await inventory.show_inventories(call, name)
    if message.action != const.ACT_LIST:
        raise AisError(400, f'invalid action "{message.action}"')
    if not name:
        return await list_buckets(call, message.value)
    identity = call.bucket_name(name)
    if message.value is None and not call.era.list_value_optional:
        raise AisError(
            400, f'bad list-buckets request: "{name}" vs "" ({identity.uri}, actm[list])'
        )
    bucket = await call.store.open_bucket(identity)
    return await (list_remote if bucket.remote else list_objects)(call, bucket, message.value)


_ACTIONS: dict[tuple[str, str], Handler] = {
    ("POST", const.ACT_CREATE_BCK): lifecycle.create,
    ("POST", const.ACT_MOVE_BCK): transfers.rename,
    ("POST", const.ACT_COPY_BCK): transfers.copy_bucket,
    ("POST", const.ACT_COPY_OBJECTS): transfers.copy_objects,
    ("POST", const.ACT_ETL_BCK): transfers.transform,
    ("POST", const.ACT_TRANSFORM_OBJECTS): transfers.transform,
    ("POST", const.ACT_PREFETCH_OBJECTS): transfers.prefetch_objects,
    ("POST", "make-n-copies"): lifecycle.set_copies,
    ("POST", "rechunk"): lifecycle.rechunk,
    ("POST", inventory.CREATE): inventory.create_inventory,
    ("PUT", const.ACT_ARCHIVE_OBJECTS): transfers.archive,
    ("DELETE", const.ACT_DESTROY_BCK): lifecycle.destroy,
    ("DELETE", inventory.DESTROY): inventory.destroy_inventory,
    ("DELETE", const.ACT_EVICT_REMOTE_BCK): lifecycle.evict_bucket,
    ("DELETE", const.ACT_EVICT_OBJECTS): transfers.evict_objects,
    ("DELETE", const.ACT_DELETE_OBJECTS): transfers.delete_objects,
    ("PATCH", const.ACT_SET_BPROPS): lifecycle.set_props,
    ("PATCH", const.ACT_RESET_BPROPS): lifecycle.reset_props,
}
