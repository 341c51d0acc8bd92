"""The copies of remote objects that this store holds: fetched, written through, evicted.

A copy is an ordinary record with an ordinary blob. It appears when the whole object is here and
proven, so a fetch that is cut, fails or dies with the process leaves nothing. However many want an
object, one fetch brings it. Fetching and writing through exclude each other object by object.
"""

import asyncio
import contextlib
import time
from dataclasses import replace

from aisfs.server.http.errors import AisError, no_space
from aisfs.server.naming import decode_name, encode_name
from aisfs.server.objects.refusals import object_missing
from aisfs.server.remote.origin import Attributes, Origin
from aisfs.server.state import Store
from aisfs.server.storage.blobs import RESERVE, BlobWriter
from aisfs.server.storage.catalog import Bucket, Record
from aisfs.server.storage.checksums import new_hasher

_TOGETHER = 16
_TRIES = 4
"""Times that a copy is fetched which others evict or outdate before it is used."""


async def bring(store: Store, bucket: Bucket, name: str, *, latest: bool = False) -> Record:
    """Return an object's record, fetching a remote object that is not here.

    The record is of this moment: no await lies between its look-up and the return.

    Args:
        store: The store.
        bucket: Any bucket.
        name: The object.
        latest: Ask the origin first whether the copy is outdated.

    Raises:
        AisError: 404; what the origin refuses; 410 when it is silent.
    """
    key = encode_name(name)
    if bucket.remote and (latest or bucket.props["versioning"]["validate_warm_get"]):
        await _renew(store, bucket, key)
    for _ in range(_TRIES):
        record = store.catalog.get(bucket, key)
        if record is not None:
            return record
        if not bucket.remote:
            raise object_missing(bucket, name)
        await _fetch(store, bucket, key, None)
    raise AisError(409, f"{bucket.name.uri}/{name} is evicted again and again")


async def _renew(store: Store, bucket: Bucket, key: bytes) -> None:
    """Fetch an outdated copy anew; delete one whose origin is gone."""
    if store.catalog.get(bucket, key) is None:
        return
    now = await stat(store, bucket, decode_name(key))
    if now is None:
        store.catalog.delete(bucket, [key])
        raise object_missing(bucket, decode_name(key))
    for _ in range(_TRIES):
        record = store.catalog.get(bucket, key)
        if record is not None and not now.describe(record):
            return
        await _fetch(store, bucket, key, now)


async def bring_all(store: Store, objects: list[tuple[Bucket, str]]) -> None:
    """Fetch those objects that are remote and not here, for work that reads them in a thread.

    What cannot be fetched is missing there, as an object that does not exist.
    """

    async def one(bucket: Bucket, name: str) -> None:
        with contextlib.suppress(AisError):
            await bring(store, bucket, name)

    remote = [item for item in objects if item[0].remote]
    for start in range(0, len(remote), _TOGETHER):
        await asyncio.gather(*(one(*item) for item in remote[start : start + _TOGETHER]))


async def stat(store: Store, bucket: Bucket, name: str) -> Attributes | None:
    """Ask the origin for an object's attributes; None if it has no such object."""
    try:
        return await store.remotes.run(store.remotes.origin(bucket.name).stat, name)
    except AisError as error:
        if error.status == 404:
            return None
        raise


async def _fetch(store: Store, bucket: Bucket, key: bytes, wanted: Attributes | None) -> None:
    """Wait for the one fetch of an object, starting it if none runs.

    `wanted` tells what an existing copy has to be like to make a fetch needless.
    """
    fetches, place = store.remotes.fetches, (bucket.id, key)
    task = fetches.get(place)
    if task is None:
        work = _fetch_alone(store, bucket, key, wanted)
        task = fetches[place] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda done: _ended(store, place, done))
    # A waiter that goes away does not end it for the others.
    await asyncio.shield(task)


def _ended(store: Store, place: tuple[int, bytes], task: asyncio.Task[Record]) -> None:
    store.remotes.fetches.pop(place, None)
    if not task.cancelled():
        task.exception()  # seen, also when nobody waits any more


async def _fetch_alone(
    store: Store, bucket: Bucket, key: bytes, wanted: Attributes | None
) -> Record:
    async with store.remotes.lock(bucket, key):
        record = store.catalog.get(bucket, key)
        if record is not None and (wanted is None or not wanted.describe(record)):
            return record
        origin = store.remotes.origin(bucket.name)
        name = decode_name(key)
        hasher = new_hasher(bucket.checksum_type)
        writer = store.blobs.create([hasher])
        try:
            attributes = await store.remotes.run(_download, store, origin, name, writer)
            checksum = hasher.hexdigest()
            _verify(bucket, name, attributes, checksum)
            store.check_still_there(bucket)
            now = time.time_ns()
            version, kind = attributes.version, bucket.checksum_type
            record = Record(
                key, writer.size, version, kind, checksum, now, now, writer.name, attributes.custom
            )
            writer.close()
            store.catalog.put(bucket, record)
        except BaseException:
            writer.discard()
            raise
        return record


def _download(store: Store, origin: Origin, name: str, writer: BlobWriter) -> Attributes:
    """Copy an origin's bytes into a blob; blocking."""
    with origin.read(name) as (attributes, pieces):
        used, total = store.blobs.free_space()
        if attributes.size > total - used - RESERVE:
            raise no_space(f"{attributes.size} bytes to fetch")
        for piece in pieces:
            writer.write([piece])
        if writer.size != attributes.size:
            raise AisError(
                410,
                f"{name}: its origin broke off after {writer.size} of {attributes.size} bytes",
                "ErrRemoteBucketOffline",
            )
        return attributes


def _verify(bucket: Bucket, name: str, attributes: Attributes, checksum: str) -> None:
    if attributes.checksum_type != bucket.checksum_type or not attributes.checksum:
        return
    if attributes.checksum != checksum:
        kind, expected = bucket.checksum_type, attributes.checksum
        uri = f"{bucket.name.uri}/{name}"
        raise AisError(
            500,
            f"BAD DATA CHECKSUM: {kind}({expected} != {checksum}) (context: {uri})",
            "ErrBadCksum",
        )


# ---- writing through ----------------------------------------------------------------------------


async def commit(store: Store, bucket: Bucket, record: Record) -> Record:
    """Make a finished blob an object; of a remote bucket first at its origin.

    Returns:
        The record, with the origin's version.

    Raises:
        AisError: the origin refuses; nothing changed here then.
    """
    if bucket.mirrored:
        await store.in_thread(store.blobs.add_copy, record.blob)
        record = replace(record, copies=2)
    else:
        record = replace(record, copies=1)
    if not bucket.remote:
        store.check_still_there(bucket)
        store.catalog.put(bucket, record)
        return record
    async with store.remotes.lock(bucket, record.name):
        origin = store.remotes.origin(bucket.name)
        source = store.blobs.find(record.blob)
        name = decode_name(record.name)
        attributes = await store.remotes.run(origin.write, name, source)
        store.check_still_there(bucket)
        record = replace(record, version=attributes.version, custom=attributes.custom)
        store.catalog.put(bucket, record)
    return record


async def delete(store: Store, bucket: Bucket, name: str) -> bool:
    """Delete an object; of a remote bucket also at its origin. Tells whether there was one."""
    key = encode_name(name)
    if not bucket.remote:
        return bool(store.catalog.delete(bucket, [key]))
    async with store.remotes.lock(bucket, key):
        origin = store.remotes.origin(bucket.name)
        found = True
        try:
            await store.remotes.run(origin.delete, name)
        except AisError as error:
            if error.status != 404:
                raise
            found = False
        store.catalog.delete(bucket, [key])
    return found
