"""Object requests at the gateway: checked, then redirected to the target that owns the object.

AIS: `GET|HEAD|PUT|POST|PATCH|DELETE /v1/objects/{bucket}/{object}` at a proxy. Bodies are not
read here (but for POST, whose action decides): the client sends them again to the target.
"""

import html
import time

from aisfs.server.archives.query import check_query
from aisfs.server.buckets import access
from aisfs.server.etl.words import check_copy
from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError, PlainError
from aisfs.server.http.replies import Reply
from aisfs.server.naming import check_object_name, escape_location
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


async def serve_object(call: Call) -> Reply:
    """Check an object request and answer with the redirect to its owner."""
    bucket_part, name = split_object_path(call)
    if call.method in {"GET", "PUT"}:
        check_query(call)
    else:
        call.use_lenient_query()
    bucket = await call.store.open_bucket(call.bucket_name(bucket_part))
    if call.method == "POST":
        await _check_post(call, bucket, name)
    else:
        access.check(bucket, _permission(call))
        if call.method == "PUT" and call.query.text(const.QPARAM_OBJECT_TO):
            _check_copy(call)
        if call.method != "HEAD":
            check_object_name(name)
    return redirect(call, _destination(call, bucket, name))


def split_object_path(call: Call) -> tuple[str, str]:
    """Return bucket and object name of `/v1/objects/{bucket}/{object}`.

    Raises:
        AisError: 400 when a part is missing.
    """
    parts = call.path.split("/", 4)[1:]
    if len(parts) < 4 or not parts[2] or not parts[3]:
        found = len([part for part in parts if part])
        raise AisError(400, f"URL '{call.path[1:]}' is too short: expected 4 items, got {found}")
    return parts[2], parts[3]


def redirect(call: Call, node: Node) -> Reply:
    """Return 301 (GET) or 307 to a node, as AIS forms them."""
    path, reencoded = escape_location(call.path)
    markers = [f"pid={call.store.proxy.id}", f"utm={base36(time.time_ns())}"]
    pairs = [pair for pair in call.query_text.split("&") if pair] + markers
    if reencoded:
        pairs.sort()
    location = node.url + call.store.trust.vouch(call, f"{path}?{'&'.join(pairs)}")
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


def base36(number: int) -> str:
    """Return a number in base 36, lower case: `utm` since AIS 4.1, times in synthetic ETags."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"


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
    permission = _POST_PERMISSIONS.get(message.action)
    if permission is None:
        raise _unknown_post()
    access.check(bucket, permission)
    check_object_name(name)
    if message.action == const.ACT_RENAME_OBJECT:
        refusals.refuse_remote_rename(bucket)
        check_object_name(message.name)
        if message.name == name:
            raise AisError(400, f"cannot rename {bucket.name.uri}/{name} to self, nothing to do")


def _unknown_post() -> AisError:
    """Return AIS's (misleading) answer to an unknown action on an object."""
    return AisError(
        400,
        "bucket name is invalid: may only contain letters, numbers, "
        "dashes (-), underscores (_), and dots (.)",
    )
