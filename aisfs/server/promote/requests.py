"""Promoting files and directories of this machine.

AIS: `POST /v1/objects/{bucket}`, action `promote`. Every file is copied whole and then committed;
its source is deleted, if asked for, after that. So a crash loses no byte and leaves no torn object.
"""

from dataclasses import dataclass
from typing import Any

from aisfs.server.buckets import access
from aisfs.server.buckets.props import default_props
from aisfs.server.http.call import Call, Message, decode_value
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply, text_reply
from aisfs.server.http.streams import to_its_end
from aisfs.server.jobs.multiobject import step
from aisfs.server.jobs.table import Job
from aisfs.server.naming import BucketName, check_bucket_name, check_object_name, encode_name
from aisfs.server.objects.writes import Intake, new_record
from aisfs.server.promote.sources import Source, open_source
from aisfs.server.remote.copies import commit, stat
from aisfs.server.storage.blobs import RESERVE
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

INLINE = 16
"""Files that a store with one target promotes within the request."""

_KEYS: dict[str, type | tuple[type, ...]] = {
    "tid": str, "src": str, "obj": str, "rcr": bool, "ovw": bool, "dls": bool, "notshr": bool,
}  # fmt: skip


async def promote(call: Call, name: str, message: Message) -> Reply:
    """Answer a promotion: with nothing when it is done, with a job's id when it goes on.

    Raises:
        AisError: 501 no root is given, 401 no token, 400 and 404 for sources that cannot be.
    """
    if not call.store.promote_roots.given:
        raise AisError(
            501,
            "promote is off: start the server with --promote-root DIR, below which files may be "
            "promoted",
            "ErrUnsupp",
        )
    call.store.trust.require_token(call)
    fields = decode_value(message.value, message.action, _KEYS)
    text = _source_text(message, fields)
    call.store.promote_roots.check_text(text)
    if (node := fields.get("tid")) and node not in {item.id for item in call.store.targets}:
        raise call.era.said.unknown_promoter.error(target=node, version=call.store.smap_version)
    bucket = await _open_or_create(call, call.bucket_name(name))
    access.check(bucket, access.PROMOTE)
    source = await _in_transaction(call, name, open_source, call.store.promote_roots, text)
    try:
        paths = await _list(call, name, source, fields)
    except BaseException:
        source.close()
        raise
    promotion = _Promotion(call, bucket, source, fields)
    few = len(call.store.targets) == 1 and len(paths) <= INLINE
    if not source.is_directory or node or few:
        await promotion.run_inline(paths)
        return Reply()

    async def run(job: Job) -> None:
        try:
            await promotion.run(job, paths)
        finally:
            source.close()

    return text_reply(call.store.jobs.start(const.ACT_PROMOTE, bucket.name, run).id)


def _source_text(message: Message, fields: dict[str, Any]) -> str:
    given: str = fields.get("src", "")
    if given and message.name and given != message.name:
        raise AisError(400, f'conflicting promote source: "{message.name}" vs "{given}"')
    return given or message.name


async def _open_or_create(call: Call, identity: BucketName) -> Bucket:
    """Return the bucket; as in AIS, an ais bucket that does not exist is made."""
    known = call.store.catalog.buckets.get(identity)
    if known is not None or identity.uuid or identity.provider != "ais":
        return known or await call.store.open_bucket(identity)
    check_bucket_name(identity.name)
    return call.store.catalog.create_bucket(identity, default_props(call.era))


async def _in_transaction(call: Call, name: str, function: Any, *arguments: Any) -> Any:
    """Look at the source; what AIS finds out at a target is reported as that target's."""
    try:
        return await to_its_end(call, function, *arguments)
    except AisError as error:
        if error.at_target:
            error.url_path = f"/v1/txn/{name}/begin"
        raise


async def _list(call: Call, name: str, source: Source, fields: dict[str, Any]) -> list[str]:
    def look() -> list[str]:
        # As in AIS, links are promoted with a whole tree, and not when sources are deleted.
        recursive, deleted = bool(fields.get("rcr")), bool(fields.get("dls"))
        paths = source.paths(recursive=recursive, links=recursive and not deleted)
        if not paths:
            raise AisError(400, f'{{node}}: directory "{source.text}" is empty', at_target=True)
        return paths

    paths: list[str] = await _in_transaction(call, name, look)
    return paths


@dataclass(frozen=True, slots=True)
class _Promotion:
    """What is promoted, where to and how."""

    call: Call
    bucket: Bucket
    source: Source
    fields: dict[str, Any]

    async def run_inline(self, paths: list[str]) -> None:
        try:
            for path in paths:
                try:
                    await self._one(path)
                except OSError as error:
                    raise AisError(400, f"promote {path}: {error}", "PathError") from error
        finally:
            self.source.close()

    async def run(self, job: Job, paths: list[str]) -> None:
        for path in paths:
            try:
                size = await self._one(path)
            except (AisError, OSError) as error:
                job.note_error(error.message if isinstance(error, AisError) else str(error))
            else:
                job.objects += size >= 0
                job.size += max(size, 0)
            await step(self.call, job)

    def _object_name(self, path: str) -> str:
        prefix: str = self.fields.get("obj", "")
        if prefix and self.call.era.jobs.promotes_below:
            prefix = prefix.removesuffix("/") + "/"
        if path:
            return prefix + path
        base = self.source.text.rpartition("/")[2]
        return prefix + base if not prefix or prefix.endswith("/") else prefix

    async def _one(self, path: str) -> int:
        """Promote one file; returns its size, −1 when there was nothing to do."""
        call, bucket = self.call, self.bucket
        name = self._object_name(path)
        check_object_name(name)
        key = encode_name(name)
        if not self.fields.get("ovw") and await self._exists(name):
            return -1
        intake = Intake(bucket)
        writer = call.store.blobs.create(intake.hashers)
        try:
            used, total = call.store.blobs.free_space()
            sink = _Sink(writer.write, total - used - RESERVE)
            status = await to_its_end(call, self.source.read, path, sink)
            if status is None:
                writer.discard()
                return -1
            call.store.check_still_there(bucket)
            old = call.store.catalog.get(bucket, key)
            record = new_record(bucket, key, writer, intake.checksum, (old, {}))
            writer.close()
            await commit(call.store, bucket, record)
        except BaseException:
            writer.discard()
            raise
        if self.fields.get("dls"):
            await to_its_end(call, self.source.remove, path, status)
        return writer.size

    async def _exists(self, name: str) -> bool:
        store, bucket = self.call.store, self.bucket
        if store.catalog.get(bucket, encode_name(name)) is not None:
            return True
        return bucket.remote and await stat(store, bucket, name) is not None


class _Sink:
    """Takes a file's bytes as long as the disk has room for them."""

    def __init__(self, write: Any, room: int) -> None:
        self._write = write
        self._room = room

    def __call__(self, piece: bytes) -> None:
        self._room -= len(piece)
        if self._room < 0:
            raise AisError(507, "{node}: out of space for promoting", "ErrCapExceeded")
        self._write([piece])
