"""`POST /v1/objects/{bucket}` at the gateway: actions that name their object in the message."""

from aisfs.server.eras import Feature
from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply
from aisfs.server.naming import check_object_name
from aisfs.server.nodes.gateway import redirect
from aisfs.server.objects.refusals import not_remote
from aisfs.server.promote.requests import promote
from aisfs_sdk import const


async def serve_bucket_post(call: Call, bucket_part: str) -> Reply:
    """Answer `POST /v1/objects/{bucket}`: promote and blob download."""
    message = await call.message()
    if message.action == const.ACT_PROMOTE:
        return await promote(call, bucket_part, message)
    bucket = await call.store.open_bucket(call.bucket_name(bucket_part))
    if message.action == const.ACT_BLOB_DOWNLOAD and call.era.has(Feature.BLOB_DOWNLOAD):
        if not bucket.remote:
            raise not_remote(message.action, bucket.name, call.era)
        check_object_name(message.name)
        return redirect(call, call.store.owner(bucket, message.name))
    raise AisError(400, f'invalid action "{message.action}"')
