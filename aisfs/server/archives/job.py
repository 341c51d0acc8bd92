"""Making an archive of many objects, as a job.

AIS: `PUT /v1/buckets/{bucket}`, action `archive`. The archive appears when it is whole; an abort
leaves what was there before.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

from aisfs.server.archives import formats
from aisfs.server.archives.formats import ArchiveError, Entry
from aisfs.server.archives.shards import refusal, replace_shard, write_shard
from aisfs.server.batch.items import open_object
from aisfs.server.buckets import access
from aisfs.server.http.call import Call, decode_value
from aisfs.server.http.errors import AisError
from aisfs.server.jobs.multiobject import (
    SELECTION_KEYS,
    bucket_from_json,
    check_names,
    select_all,
    whole_if_empty,
)
from aisfs.server.jobs.table import Job
from aisfs.server.naming import check_object_name, decode_name, encode_name
from aisfs.server.remote.copies import bring_all
from aisfs.server.storage.blobs import BlobWriter
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

_KEYS: dict[str, type | tuple[type, ...]] = {
    **SELECTION_KEYS,
    "tobck": dict,
    "archname": str,
    "mime": str,
    "isbn": bool,
    "aate": bool,
    "bnonly": bool,
}


async def archive_objects(call: Call, bucket: Bucket, value: Any) -> Job:
    """Start archiving the selected objects.

    Raises:
        AisError: 400 for an unknown extension or no destination, 404 if that does not exist.
    """
    action = const.ACT_ARCHIVE_OBJECTS
    fields = decode_value(value, action, call.era.jobs.keys(action, _KEYS))
    target = await call.store.open_bucket(bucket_from_json(fields.get("tobck")))
    access.check(target, access.PUT)
    name = fields.get("archname", "")
    check_object_name(name)
    kind = _kind(call, name, fields.get("mime", ""))
    _check_append(call, target, name, fields)
    fields = whole_if_empty(fields)
    check_names(fields, action)

    async def archive(job: Job) -> None:
        names = [name async for batch in select_all(call, bucket, fields, action) for name in batch]
        await bring_all(call.store, [(bucket, decode_name(name)) for name in names])
        reader = _Source(call, bucket, fields, names, job)

        def build(writer: BlobWriter, old: BinaryIO | None) -> None:
            reader.restart()
            adding = bool(fields.get("aate"))
            write_shard(writer, reader.entries(), old, (kind, name), adding=adding)
            if not job.objects:
                shown = f"{target.name.name}/{name}"
                raise AisError(404, f"{{node}}: empty o[{shown}(-)]")

        try:
            await replace_shard(call, target, name, build, 0)
        except ArchiveError as error:
            raise refusal(error, f"{target.name.uri}/{name}") from error
        finally:
            reader.stopped.set()

    return call.store.jobs.start(action, target.name, archive, bucket.name)


def _check_append(call: Call, target: Bucket, name: str, fields: dict[str, Any]) -> None:
    if not (fields.get("aate") and call.era.jobs.append_needs_shard):
        return
    if call.store.catalog.get(target, encode_name(name)) is None:
        uri = f"{target.name.uri}/{name}"
        raise AisError(400, f"{{node}}: {uri} doesn't exist - cannot APPEND", at_target=True)


def _kind(call: Call, name: str, mime: str) -> str:
    kind = formats.kind_by_name(name)
    lz4 = kind and name.endswith(".lz4")
    if not call.era.jobs.archives_lz4 and (lz4 or not kind):
        raise call.era.said.unknown_mime.error(mime=name)
    if not kind:
        base = name.rpartition("/")[2]
        suffix = base[base.rfind(".") :] if "." in base else ""
        raise AisError(
            400, f'unknown filename extension ("{name}", "{suffix}")', "errUnknownFileExt"
        )
    suffix = next(suffix for suffix in formats.SUFFIXES if name.endswith(suffix))
    if mime and mime != suffix:
        raise AisError(400, f'mime mismatch "{mime}" vs "{suffix}"')
    return kind


class _Source:
    """Yields the objects to be archived, in a worker thread."""

    def __init__(
        self, call: Call, bucket: Bucket, fields: dict[str, Any], names: list[bytes], job: Job
    ) -> None:
        self._call = call
        self._bucket = bucket
        self._fields = fields
        self._names = names
        self._job = job
        self.stopped = threading.Event()

    def restart(self) -> None:
        """Forget what was counted, before the archive is built anew."""
        self._job.objects = self._job.size = 0
        self._job.error = ""
        self._job.failed = False

    def entries(self) -> Iterator[Entry]:
        """Yield an entry per object; missing ones of a list are noted in the job.

        Raises:
            AisError: the job was aborted.
        """
        store = self._call.store
        db = store.catalog.reader()
        try:
            for key in self._names:
                if self._job.aborted or self.stopped.is_set():
                    raise AisError(409, "user abort")
                found = open_object(db, store.blobs, self._bucket.id, key)
                name = decode_name(key)
                if found is None:
                    self._note_missing(name)
                    continue
                file, size = found
                with file:
                    yield Entry(self._member_name(name), size, int(time.time()), file)
                self._job.objects += 1
                self._job.size += size
        finally:
            db.close()

    def _note_missing(self, name: str) -> None:
        if self._fields.get("objnames") is not None:
            label = self._call.store.owner(self._bucket, name).label
            self._job.note_error(
                f"{label}: {self._bucket.name.uri}/{name} does not exist", missing=True
            )

    def _member_name(self, name: str) -> str:
        if self._fields.get("bnonly"):
            name = name.rpartition("/")[2]
        return f"{self._bucket.name.name}/{name}" if self._fields.get("isbn") else name
