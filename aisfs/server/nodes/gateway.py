"""Object requests at the gateway: checked, then redirected to the target that owns the object.

AIS: `GET|HEAD|PUT|POST|PATCH|DELETE /v1/objects/{bucket}/{object}` at a proxy. Bodies are not
read here (but for POST, whose action decides): the client sends them again to the target.
"""

import html
import time

from aisfs.server.archives.query import check_query
from aisfs.server.buckets import access
from aisfs.server.eras import Feature
from aisfs.server.etl.words import check_copy
from aisfs.server.http.call import MISLEADING, Call
from aisfs.server.http.errors import AisError, PlainError
from aisfs.server.http.replies import Reply
from aisfs.server.naming import check_object_name
from aisfs.server.objects import refusals
from aisfs.server.state import Node
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

MAX_UNREAD_BODY = 256 << 10
"""A gateway keeps the connection when at most this much of an unwanted body is coming."""

_PERMISSIONS = {
    "GET": access.GET,
    "HEAD": access.HEAD,
    "PUT": access.PUT,
    "PATCH": access.UPDATE,
    "DELETE": access.DELETE,
}
_POST_PERMISSIONS = {
    const.ACT_RENAME_OBJECT: access.MOVE,
    const.ACT_CHECK_LOCK: access.HEAD,
    const.ACT_MPT_UPLOAD: access.PUT,
    const.ACT_MPT_COMPLETE: access.PUT,
}


_POST_FEATURES = {
    const.ACT_CHECK_LOCK: Feature.LOCK_PROBE,
    const.ACT_MPT_UPLOAD: Feature.MULTIPART,
    const.ACT_MPT_COMPLETE: Feature.MULTIPART,
}


async def serve_object(call: Call) -> Reply:
    """Check an object request and answer with the redirect to its owner."""
    bucket_part, name = split_object_path(call)
    if call.method in {"GET", "PUT"}:
        call.refuse_unknown_keys()
        check_query(call)
    else:
        call.use_lenient_query()
    bucket = await call.store.open_bucket(call.bucket_name(bucket_part))
    if call.method == "POST":
        await _check_post(call, bucket, name)
    else:
        access.check(bucket, _permission(call), call.era)
        if call.method == "PUT" and call.query.text(const.QPARAM_OBJECT_TO):
            _check_copy(call)
        if call.method != "HEAD" and call.era.names.gateway_checks:
            check_object_name(name)
    return redirect(call, _destination(call, bucket, name))


def split_object_path(call: Call) -> tuple[str, str]:
    """Return bucket and object name of `/v1/objects/{bucket}/{object}`, as they are stored.

    Raises:
        AisError: 400 when a part is missing.
    """
    parts = call.path.split("/", 4)[1:]
    if len(parts) < 4 or not parts[2] or not parts[3]:
        found = len([part for part in parts if part])
        raise call.era.said.path_short.error(path=call.path[1:], expected=4, found=found)
    return parts[2], call.era.names.stored(parts[3])


def redirect(call: Call, node: Node) -> Reply:
    """Return 301 (GET) or 307 to a node, as AIS forms them."""
    written = call.era.write_location(call.path)
    markers = [f"pid={call.store.proxy.id}", f"utm={call.era.redirect_time(time.time_ns())}"]
    pairs = [pair for pair in call.query_text.split("&") if pair] + markers
    if written.sorted_query:
        pairs.sort()
    if written.misleads:
        pairs.append(f"{MISLEADING}=1")
    target = f"{written.path}?{'&'.join(pairs)}"
    location = node.url + call.store.trust.vouch(call, target)
    headers = [("Location", location)]
    if call.method == "GET":
        page = f'<a href="{html.escape(location)}">Moved Permanently</a>.\n\n'
        body = page.encode("utf-8", "replace")
        reply = Reply(301, headers, body, "text/html; charset=utf-8")
    elif call.method == "HEAD":
        reply = Reply(307, headers, content_type="text/html; charset=utf-8")
    else:
        reply = Reply(307, headers)
    _decide_connection(call, reply)
    return reply


def _decide_connection(call: Call, reply: Reply) -> None:
    """Close after the redirect where a body may still be on its way, as AIS does."""
    expect = call.header("Expect")
    if expect and expect.lower() != "100-continue":
        raise PlainError(417)
    length = call.request.content_length or 0
    if expect or length > MAX_UNREAD_BODY:
        reply.force_close()


def _permission(call: Call) -> int:
    if call.method == "PUT" and call.query.text(const.QPARAM_APPEND_TYPE):
        return access.APPEND
    if call.method == "PATCH" and not call.era.patch_permission:
        return 0
    return _PERMISSIONS[call.method]


def _destination(call: Call, bucket: Bucket, name: str) -> Node:
    """Return the owner, or the target that an append handle names."""
    handle = call.query.text(const.QPARAM_APPEND_HANDLE)
    if call.method != "PUT" or not handle:
        return call.store.owner(bucket, name)
    node_id = handle.partition("|")[0]
    for target in call.store.targets:
        if target.id == node_id and handle.count("|") == 3:
            return target
    raise AisError(400, f'invalid APPEND handle: "{handle}"')


def _check_copy(call: Call) -> None:
    if call.query.text(const.QPARAM_ETL_NAME):
        check_copy(call)


async def _check_post(call: Call, bucket: Bucket, name: str) -> None:
    message = await call.message()
    feature = _POST_FEATURES.get(message.action)
    permission = _POST_PERMISSIONS.get(message.action)
    if permission is None or (feature is not None and not call.era.has(feature)):
        raise _unknown_post(call, bucket, name)
    access.check(bucket, permission, call.era)
    if call.era.names.gateway_checks:
        check_object_name(name)
    if message.action == const.ACT_RENAME_OBJECT:
        refusals.refuse_remote_rename(bucket, call.era)
        check_object_name(message.name, call.era)
        if message.name == name:
            raise call.era.said.renamed_to_itself.error(uri=f"{bucket.name.uri}/{name}")


def _unknown_post(call: Call, bucket: Bucket, name: str) -> AisError:
    """Return AIS's (misleading) answer to an unknown action on an object."""
    return call.era.said.unknown_post.error(bucket=bucket.name.name, name=name)
