"""Second copies of objects, and repair from them.

AIS: `make-n-copies`, property `mirror`, job `resilver`. A copy is a file of its own with the same
bytes in a second directory, which plays another mountpath; `copies` of the record says that it is
there. It is written before the record says so, and deleted after the record stopped to.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError
from aisfs.server.http.streams import to_its_end
from aisfs.server.jobs.multiobject import step
from aisfs.server.jobs.table import Job
from aisfs.server.naming import NO_BUCKET, decode_name
from aisfs.server.storage.blobs import Blobs
from aisfs.server.storage.catalog import Bucket, Record
from aisfs.server.storage.checksums import new_hasher

MAX_COPIES = 16
MOUNTPATHS = 2
BATCH = 200
PIECE = 1 << 20


def number_of_copies(bucket: Bucket, value: Any) -> int:
    """Read how many copies are asked for.

    Raises:
        AisError: 400 for what is no number, or more than there are mountpaths.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        shown = "<nil>" if value is None else value
        raise AisError(400, f"failed to parse 'copies' ({shown}, {shown}) - unexpected type")
    try:
        count = int(value)
    except ValueError:
        text = f'strconv.ParseInt: parsing "{value}": invalid syntax'
        raise AisError(400, text, "NumError") from None
    path = f"/v1/txn/{bucket.name.name}/begin"
    if not 0 < count <= MAX_COPIES:
        text = f"{{node}}: invalid num copies {count}, must be in [1, {MAX_COPIES}] range"
        raise AisError(400, text, at_target=True, url_path=path)
    if count > MOUNTPATHS:
        text = f"number of copies ({count}) exceeds the number of mountpaths ({MOUNTPATHS})"
        raise AisError(400, f"{{node}}: {text}", at_target=True, url_path=path)
    return count


def make_copies(call: Call, bucket: Bucket, count: int) -> Job:
    """Start giving every object of a bucket `count` copies."""
    store = call.store

    async def run(job: Job) -> None:
        after = b""
        while records := store.catalog.records(bucket, b"", after, BATCH):
            after = records[-1].name
            for record in records:
                if record.copies != count:
                    await _set_copies(call, bucket, record, count)
                    job.objects += 1
                    job.size += record.size
            await step(call, job)

    return store.jobs.start("make-n-copies", bucket.name, run)


async def _set_copies(call: Call, bucket: Bucket, record: Record, count: int) -> None:
    store = call.store
    if count > 1:
        try:
            await to_its_end(call, store.blobs.add_copy, record.blob)
        except FileNotFoundError:
            return  # replaced meanwhile
    now = store.catalog.get(bucket, record.name)
    if now is None or now.blob != record.blob:
        store.blobs.drop_copy(record.blob)
        return
    store.catalog.put(bucket, replace(now, copies=count), fresh=False)
    if count == 1:
        store.blobs.drop_copy(record.blob)


# ---- repair -------------------------------------------------------------------------------------


def resilver(call: Call, node: str) -> Job:
    """Start checking every object of a target (empty: all) and repairing what can be."""
    store = call.store

    async def run(job: Job) -> None:
        for bucket in list(store.catalog.buckets.values()):
            after = b""
            while records := store.catalog.records(bucket, b"", after, BATCH):
                after = records[-1].name
                for record in records:
                    name = decode_name(record.name)
                    if node in {"", store.owner(bucket, name).id}:
                        await _check(call, job, bucket, record)
                await step(call, job)

    return store.jobs.start("resilver", NO_BUCKET, run)


async def _check(call: Call, job: Job, bucket: Bucket, record: Record) -> None:
    """Check an object; a sound copy replaces a broken one, and is made anew if it is missing."""
    store, name = call.store, decode_name(record.name)
    uri = f"{bucket.name.uri}/{name}"
    sound = await to_its_end(call, _repair, store.blobs, record)
    now = store.catalog.get(bucket, record.name)
    if now is None or now.blob != record.blob:
        return
    job.objects += 1
    job.size += record.size
    if not sound and bucket.remote:
        store.catalog.delete(bucket, [record.name])
        job.note_error(f"{uri}: the copy is broken and was evicted")
    elif not sound:
        job.note_error(f"{uri}: broken, and there is no sound copy of it")


def _repair(blobs: Blobs, record: Record) -> bool:
    """Return whether the object is sound now, after what could be repaired; blocking."""
    first, second = blobs.find(record.blob), blobs.copy_path(record.blob)
    whole = _is_sound(first, record)
    if record.copies < 2:
        return whole
    copy_whole = _is_sound(second, record)
    if whole and not copy_whole:
        blobs.drop_copy(record.blob)
        blobs.add_copy(record.blob)
    elif copy_whole and not whole:
        blobs.restore(record.blob)
    return whole or copy_whole


def _is_sound(path: Path, record: Record) -> bool:
    hasher = new_hasher(record.checksum_type)
    size = 0
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(PIECE):
                size += len(piece)
                hasher.update(piece)
    except OSError:
        return False
    return size == record.size and (not record.checksum or hasher.hexdigest() == record.checksum)
