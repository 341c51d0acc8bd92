"""Buckets come, change their properties and go."""

from aisfs.server.buckets import access
from aisfs.server.buckets.props import InvalidPropsError, changed, default_props
from aisfs.server.http.call import Call, Message, decode_value
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply, text_reply
from aisfs.server.naming import BucketName, check_bucket_name
from aisfs.server.objects.refusals import not_remote
from aisfs.server.storage.catalog import Bucket
from aisfs.server.upkeep.mirror import MOUNTPATHS, make_copies, number_of_copies
from aisfs_sdk import const

_RECHUNK_KEYS: dict[str, type | tuple[type, ...]] = {
    "objsize-limit": (int, str),
    "chunk-size": (int, str),
    "prefix": str,
    "sync-remote": bool,
}


async def create(call: Call, name: str, message: Message) -> Reply:
    """Create an ais bucket, here or at an attached cluster; a configured remote one is known."""
    identity = call.bucket_name(name)
    if call.store.remotes.is_configured(identity):
        must_be_free(call, identity, 409)
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
    must_be_free(call, identity, 409)
    call.store.catalog.create_bucket(identity, props)
    return Reply()


def must_be_free(call: Call, name: BucketName, status: int) -> None:
    """Refuse a name that is taken.

    Raises:
        AisError: `status` if a bucket has this name.
    """
    if name in call.store.catalog.buckets:
        raise AisError(status, f'bucket "{name.uri}" already exists', "ErrBucketAlreadyExists")


async def destroy(call: Call, name: str, _: Message) -> Reply:
    """Destroy an ais bucket with all its objects, also that of an attached cluster."""
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
    """Delete a bucket's records and bytes here, and end the jobs that wait for more to do."""
    call.store.uploads.drop_bucket(bucket)
    blobs = call.store.catalog.destroy_bucket(bucket)
    version = call.store.catalog.version
    reason = f"[post-bmd] receive BMD v{version}: remove bucket"
    call.store.jobs.abort_idle(bucket.name, reason)
    await call.store.in_thread(call.store.blobs.delete, blobs)


async def evict_bucket(call: Call, name: str, message: Message) -> Reply:
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


async def set_props(call: Call, name: str, message: Message) -> Reply:
    """Change properties; mirroring that begins copies what is there."""
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


async def reset_props(call: Call, name: str, _: Message) -> Reply:
    """Give all properties their defaults."""
    bucket = await call.store.open_bucket(call.bucket_name(name))
    identity = {key: bucket.props[key] for key in ("bid", "created")}
    defaults = call.store.config.bucket_props(default_props(call.era))
    if bucket.remote:
        defaults["provider"] = bucket.name.provider
        defaults["versioning"]["enabled"] = False
    bucket.props = {**defaults, **identity}
    call.store.catalog.save_props(bucket)
    return Reply()


async def set_copies(call: Call, name: str, message: Message) -> Reply:
    """Set how many copies each object has, and make or drop them."""
    bucket = await call.store.open_bucket(call.bucket_name(name))
    count = number_of_copies(bucket, message.value)
    mirror = {**bucket.props["mirror"], "enabled": count > 1, "copies": max(count, 2)}
    bucket.props = {**bucket.props, "mirror": mirror}
    call.store.catalog.save_props(bucket)
    return text_reply(make_copies(call, bucket, count).id)


async def rechunk(call: Call, name: str, message: Message) -> Reply:
    """Check every object's record; blobs are one file each, so there are no chunks to change."""
    bucket = await call.store.open_bucket(call.bucket_name(name))
    decode_value(message.value, message.action, _RECHUNK_KEYS)
    return text_reply(call.store.jobs.add_finished(message.action, bucket.name).id)
