"""What an AIS cluster does when it is told to: `ClusterWork` on the SDK.

Serves `aistore`. Its threads are its own, as those of `ais_facts`.
"""

from __future__ import annotations

import errno
import tempfile
from typing import IO, TYPE_CHECKING

import trio

from aisfs.errors import Invalid, NoSpace, NotFound, Stale
from aisfs.store.bucket_props import changed_props
from aisfs.store.etl_source import transform_of
from aisfs.store.replies import identity_of, props_of
from aisfs.store.shard_additions import (
    PIECE,
    NewMember,
    add_member,
    check_additions_to,
    check_member,
    digest_of,
)
from aisfs.store.threads import CALL_DEADLINE_S, Threads
from aisfs_sdk import const, errors
from aisfs_sdk.etl_config import ETLConfig
from aisfs_sdk.etl_const import DEFAULT_ETL_COMM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from aisfs.config import BucketName
    from aisfs.store.buckets import Buckets
    from aisfs.store.cluster_work import EtlSource, Place
    from aisfs.store.interface import Identity
    from aisfs.store.pace import Pace
    from aisfs_sdk import Client
    from aisfs_sdk.multiobj import ObjectGroup
    from aisfs_sdk.object import Object

    T = TypeVar("T")

THREADS = 4

COPY_LIMIT_S = 600.0
"""Seconds that the cluster may take to copy or transform one object: it is silent meanwhile."""

LARGEST_SOURCE = 1 << 20
"""Bytes of a transformer's code or specification."""

DEFAULT_ETL_START = "1m"

_OF_TEMPLATES = "{}@%*"


class AISWork:
    """`ClusterWork` of the cluster behind a client."""

    def __init__(self, client: Client, buckets: Buckets, pace: Pace) -> None:
        self._client = client
        self._buckets = buckets
        self._threads = Threads(THREADS, pace)
        # One at a time: neither of two for the same shard is lost, and there is one local copy.
        self._appending = trio.CapacityLimiter(1)

    async def _do(self, what: str, work: Callable[[], T], seconds: float = CALL_DEADLINE_S) -> T:
        return await self._threads.call(what, work, seconds)

    async def create_bucket(self, name: BucketName) -> None:
        """Create a bucket. AIS: POST /v1/buckets/B, create-bck."""
        await self._do(f"creating bucket {name.name}", self._buckets.of(name).create)

    async def destroy_bucket(self, name: BucketName) -> None:
        """Destroy a bucket. AIS: DELETE /v1/buckets/B, destroy-bck."""
        await self._do(f"destroying bucket {name.name}", self._buckets.of(name).delete)

    async def rename_bucket(self, old: BucketName, new: BucketName) -> str:
        """Rename a bucket. AIS: POST /v1/buckets/B, move-bck."""
        if (new.provider, new.space) != (old.provider, old.space):
            raise Invalid(f"{new.url_of('')} is elsewhere than {old.url_of('')}: copy the bucket")
        bucket = self._buckets.new(old)  # it changes its name
        doing = f"renaming bucket {old.name} to {new.name}"
        return await self._do(doing, lambda: bucket.rename(new.name))

    async def set_props(self, bucket: BucketName, texts: Mapping[str, str]) -> str:
        """Change properties. AIS: HEAD, then PATCH /v1/buckets/B, set-bprops."""
        of = self._buckets.of(bucket)

        def present() -> dict[str, object]:
            return props_of(of.head().get(const.HEADER_BUCKET_PROPS, ""))

        def work() -> str:
            job = of.set_props(changed_props(present(), texts))
            self._buckets.learn(bucket, present())
            return job

        return await self._do(f"setting properties of bucket {bucket.name}", work)

    async def make_copies(self, bucket: BucketName, copies: int) -> str:
        """Keep copies. AIS: POST /v1/buckets/B, make-n-copies."""
        doing = f"keeping {copies} copies of bucket {bucket.name}"
        return await self._do(doing, lambda: self._buckets.of(bucket).make_copies(copies))

    async def evict(self, what: Place, *, keep_md: bool) -> str:
        """Evict. AIS: DELETE /v1/buckets/B, evict-listrange; a whole bucket: evict-remote-bck."""
        bucket = self._buckets.of(what.bucket)

        def whole() -> str:
            bucket.evict(keep_md)
            return ""

        return await self._do(f"evicting {what}", self._group(what).evict if what.name else whole)

    async def prefetch(self, what: Place) -> str:
        """Prefetch. AIS: POST /v1/buckets/B, prefetch-listrange."""
        return await self._do(f"prefetching {what}", self._group(what).prefetch)

    async def copy(self, source: Place, target: Place, etl: str) -> None:
        """Copy an object. AIS: PUT /v1/objects/B/O?object_to=…."""
        old, new = self._buckets.object(*source), self._buckets.object(*target)
        config = ETLConfig(etl) if etl else None
        doing = f"copying {source} to {target}"
        await self._do(doing, lambda: old.copy(new, config), COPY_LIMIT_S)

    async def copy_bucket(
        self, source: BucketName, target: BucketName, prefix: str, prepend: str, *, dry_run: bool
    ) -> str:
        """Copy a bucket. AIS: POST /v1/buckets/B, copy-bck."""
        old, new = self._buckets.of(source), self._buckets.of(target)
        return await self._do(
            f"copying {source.name} to {target.name}",
            lambda: old.copy(new, prefix_filter=prefix, prepend=prepend, dry_run=dry_run),
        )

    async def transform_bucket(
        self,
        source: BucketName,
        target: BucketName,
        etl: str,
        prefix: str,
        ext: Mapping[str, str] | None,
    ) -> str:
        """Transform a bucket. AIS: POST /v1/buckets/B, etl-bck."""
        old, new = self._buckets.of(source), self._buckets.of(target)
        return await self._do(
            f"transforming {source.name} to {target.name} by {etl}",
            lambda: old.transform(etl, new, prefix_filter=prefix, ext=ext),
        )

    async def promote(
        self, path: str, target: Place, *, recursive: bool, overwrite: bool, delete_source: bool
    ) -> str:
        """Promote files. AIS: POST /v1/objects/B, promote."""
        below = self._buckets.object(*target)

        def work() -> str:
            headers = below.promote(
                path,
                recursive=recursive,
                overwrite_dest=overwrite,
                delete_source=delete_source,
            )
            return headers.get(const.HEADER_XACTION_ID, "")

        return await self._do(f"promoting {path} to {target}", work, COPY_LIMIT_S)

    async def archive(self, shard: Place, members: Place, template: str) -> str:
        """Make an archive. AIS: PUT /v1/buckets/B, archive."""
        if template:
            group = self._buckets.of(members.bucket).objects(obj_template=template)
        else:
            group = self._group(members)
        bucket = self._buckets.of(shard.bucket)
        return await self._do(
            f"archiving {members} as {shard}", lambda: group.archive(shard.name, to_bck=bucket)
        )

    async def append(self, shard: Place, file: Place, member: str) -> None:
        """Add a member to an archive. AIS: GET and PUT /v1/objects/B/O.

        AIS's own ways, PUT with `archpath` and the job `archive` with `aate`, write into the stored
        tar: the first one makes those unreadable that are padded, and of none of them there is a
        checksum afterwards. The first one leaves the version, too: nobody could tell the new
        content from the old one.
        """
        check_additions_to(str(shard))
        check_member(member)
        doing = f"appending {file} to {shard}"
        # Of bytes that go back and forth the idle timeout is the limit.
        await self._threads.call(
            doing, lambda: self._append(doing, shard, file, member), limiter=self._appending
        )

    def _append(self, doing: str, shard: Place, file: Place, member: str) -> None:
        old = self._buckets.object(*shard)
        try:
            with tempfile.TemporaryFile() as copy, tempfile.TemporaryFile() as body:
                _fetch(self._buckets.object(*file), body)
                base = _fetch(old, copy)
                add_member(str(shard), copy, NewMember(member, body, body.tell()))
                size = copy.seek(0, 2)
                checksum = digest_of(copy, size).hex()
                if not identity_of(old.props_now).same_content(base):
                    raise Stale(f"{doing}: somebody replaced {shard} meanwhile: do it again")
                copy.seek(0)
                old.get_writer().put(copy, size, checksum)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            where = f"{tempfile.gettempdir()} has no room for a copy of {shard}"
            raise NoSpace(f"{doing}: {where}: make some, or set TMPDIR elsewhere") from error

    async def start(self, kind: str, bucket: BucketName | None) -> str:
        """Start a job. AIS: PUT /v1/cluster, start."""
        buckets = [self._buckets.of(bucket)] if bucket is not None else None
        job = self._client.job(job_kind=kind)
        return await self._do(f"starting {kind}", lambda: job.start(buckets=buckets))

    async def abort(self, job_id: str) -> None:
        """Stop a job. AIS: PUT /v1/cluster, stop, which says nothing of a job that is unknown."""
        job = self._client.job(job_id)

        def work() -> None:
            try:
                job.status()
            except errors.JobInfoNotFound:
                if not job.get_details().list_snapshots():
                    raise NotFound(f"the cluster knows no job {job_id}") from None
            job.abort()

        await self._do(f"aborting {job_id}", work)

    async def etl_init(self, name: str, source: EtlSource, comm: str, timeout: str) -> str:
        """Start a new transformer. AIS: PUT /v1/etl."""
        comm, timeout = comm or DEFAULT_ETL_COMM, timeout or DEFAULT_ETL_START
        etl = self._client.etl(name)

        def work() -> str:
            text = self._text(source.place)
            if not source.is_code:
                return etl.init_spec(text.decode("utf-8", "replace"), comm, timeout)
            transform = transform_of(text, str(source.place))
            return etl.init_code(transform, communication_type=comm, timeout=timeout)

        return await self._do(f"starting ETL {name} by {source.place}", work, COPY_LIMIT_S)

    def _text(self, place: Place) -> bytes:
        found = self._buckets.object(*place)
        if found.head_v2().size > LARGEST_SOURCE:
            raise Invalid(f"{place} has more than {LARGEST_SOURCE} bytes")
        return found.get().read_all()

    async def etl_start(self, name: str) -> None:
        """Start a transformer again. AIS: POST /v1/etl/NAME/start."""
        await self._do(f"starting ETL {name}", self._client.etl(name).start, COPY_LIMIT_S)

    async def etl_stop(self, name: str) -> None:
        """Stop a transformer. AIS: POST /v1/etl/NAME/stop."""
        await self._do(f"stopping ETL {name}", self._client.etl(name).stop)

    async def etl_delete(self, name: str) -> None:
        """Delete a transformer. AIS: DELETE /v1/etl/NAME."""
        await self._do(f"deleting ETL {name}", self._client.etl(name).delete)

    def _group(self, what: Place) -> ObjectGroup:
        """Return the objects of a place.

        Raises:
            Invalid: it is a bucket, or a directory that the cluster would take for another one.
        """
        bucket = self._buckets.of(what.bucket)
        if not what.name:
            raise Invalid(f"{what} is a bucket: name an object, or a directory by its slash")
        if not what.name.endswith("/"):
            return bucket.objects(obj_names=[what.name])
        if any(sign in what.name for sign in _OF_TEMPLATES):
            raise Invalid(
                f"{what}: the cluster takes a directory's name for a template, in which "
                f"{' '.join(_OF_TEMPLATES)} mean something else: name its objects"
            )
        return bucket.objects(obj_template=what.name)


def _fetch(source: Object, file: IO[bytes]) -> Identity:
    """Write an object's bytes to a file, and return which content it is."""
    with source.get(chunk_size=PIECE) as reader:
        for piece in reader:
            file.write(piece)
        return identity_of(reader.attributes)
