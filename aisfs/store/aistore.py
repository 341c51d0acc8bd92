"""The object store on an AIS cluster: on sockets of the loop what goes there, by the SDK all else.

Serves everything above through `ObjectStore`; SDK errors become `FsError`s. What the loop's sockets
decline is done by the SDK, whose calls run in trio's worker threads, bounded by a `CapacityLimiter`
of the size of the SDK's connection pool; streams, and PUTs of files that are being written, have
limiters of their own, so that readers who wait for room and writers who take their time never keep
metadata waiting. A stream that is cancelled has its socket shut down; of calls see `threads`.
"""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from aisfs.errors import (
    Forbidden,
    IoFailure,
    NotFound,
    TooLarge,
)
from aisfs.kernel_request import Wait, waiting
from aisfs.store.ais_facts import AISFacts
from aisfs.store.ais_parts import AISParts
from aisfs.store.ais_work import AISWork
from aisfs.store.buckets import Buckets
from aisfs.store.client import client_of
from aisfs.store.cluster_facts import Members
from aisfs.store.direct import DirectSource
from aisfs.store.direct_writes import DirectWrites
from aisfs.store.interface import (
    ATTRIBUTES_KEY,
    BucketInfo,
    BucketName,
    Capacity,
    Identity,
    Listing,
    NameRules,
    ObjectInfo,
    Upload,
    is_xxh64,
    reader_of,
)
from aisfs.store.loop_client import Declined, LoopClient
from aisfs.store.pace import Pace
from aisfs.store.prefetches import Prefetches
from aisfs.store.reader_source import ReaderSource
from aisfs.store.replies import (
    described,
    listing_of,
    name_of,
    object_info,
    props_of,
    stored_info,
)
from aisfs.store.threads import CALL_DEADLINE_S, Threads, copying_limit_s
from aisfs_sdk import Client, ListObjectFlag, errors
from aisfs_sdk.eras import Feature
from aisfs_sdk.etl_config import ETLConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import IO

    from aisfs.config import StoreConfig
    from aisfs.store.cluster_facts import ClusterFacts
    from aisfs.store.cluster_work import ClusterWork
    from aisfs.store.interface import BodySink, EtlUse, PartsStore, Piece, Tail
    from aisfs_sdk.object import Object
    from aisfs_sdk.smap import Smap

log = logging.getLogger(__name__)

T = TypeVar("T")

TRANSFORMED_AT_A_TIME = 8
"""Objects that are transformed beside each other; each occupies a thread."""

TRANSFORMED_PIECE = 1 << 20
"""Bytes of a transformer's output that are taken at once."""

LIST_PROPS = "name,size,version,checksum,custom"
DESCRIBED = "atime,checksum,chunked,copies,etag,last-modified,location"

MANGLED_BY_3_17 = "#&'\"<>"
LAST_COMPONENT_3_17 = 242


class AISStore:
    """`ObjectStore` on the SDK.

    Attributes:
        pace: how fast the cluster may be used.
    """

    def __init__(
        self,
        client: Client,
        connections: int,
        idle_timeout_s: float,
        pace: Pace,
        *,
        direct: bool = True,
    ) -> None:
        self._client = client
        self.pace = pace
        self._threads = Threads(connections, pace)
        self._call = self._threads.call
        self._declined = 0
        # Of their own: those that wait for who writes the file must keep nobody waiting.
        self._growing = trio.CapacityLimiter(connections)
        # Transformers take their time, too.
        self._transforming = trio.CapacityLimiter(TRANSFORMED_AT_A_TIME)
        self._buckets = Buckets(client)
        self.facts: ClusterFacts = AISFacts(client, self._buckets, pace)
        self.work: ClusterWork = AISWork(client, self._buckets, pace)
        self.parts: PartsStore = AISParts(client, self._buckets, self._threads)
        self._prefetches = Prefetches(client, self._buckets, self._threads, idle_timeout_s)
        self._reader = ReaderSource(self._buckets, connections, idle_timeout_s, pace)
        self._nodes = LoopClient(client, connections, pace)
        self._direct_reads: DirectSource | None = None
        self._direct_writes: DirectWrites | None = None
        if direct:
            self._direct_reads = DirectSource(self._nodes, self._buckets, idle_timeout_s)
            self._direct_writes = DirectWrites(self._nodes, client.request_client, self._buckets)

    async def _either(
        self,
        doing: str,
        direct: Callable[[], Awaitable[T]] | None,
        by_sdk: Callable[[], Awaitable[T]],
    ) -> T:
        """Do something on sockets of the loop, and by the SDK what does not come about there."""
        if direct is not None:
            with suppress(Declined):
                return await self._directly(doing, direct)
        return await by_sdk()

    async def _directly(self, doing: str, direct: Callable[[], Awaitable[T]]) -> T:
        """Do something on sockets of the loop; `Declined` where it does not come about there."""
        try:
            with waiting(Wait.CLUSTER):
                return await direct()
        except Declined as error:
            self._declined += 1
            log.debug("%s goes by the SDK: %s", doing, error)
            raise

    # -- the cluster

    def watch_members(self, told: Callable[[Members], None]) -> None:
        """Have somebody told, in the loop, of the cluster map, and of each one that comes later.

        AIS: GET /v1/daemon?what=smap, which requests need now and then; none is made for this.
        """
        token = trio.lowlevel.current_trio_token()

        def learned(smap: Smap) -> None:
            members = Members(smap.version, frozenset(smap.pmap), frozenset(smap.tmap))
            with suppress(trio.RunFinishedError):  # a thread that outlived the loop
                token.run_sync_soon(told, members)

        placement = self._client.request_client.placement
        placement.learned = learned
        if placement.smap is not None:
            learned(placement.smap)

    async def prepare(self) -> None:
        """Connect to targets; sends nothing."""
        if self._direct_reads is not None:
            await self._nodes.prepare()

    async def cluster_uuid(self) -> str:
        """Return the cluster's uuid. AIS: GET /v1/daemon?what=smap."""

        def work() -> str:
            self._client.era  # noqa: B018 - tells a server that is not AIS
            try:
                # With the map at hand, reads go straight to the objects' owners.
                return self._client.cluster().get_info().uuid
            except errors.AuthError:
                return ""  # a token of one bucket may not read the map

        return await self._call("asking for the cluster's identity", work, CALL_DEADLINE_S)

    async def name_rules(self) -> NameRules:
        """Return which names the cluster's release cannot store."""
        era = await self._call("asking for the version", lambda: self._client.era, CALL_DEADLINE_S)
        if era.has(Feature.SPECIAL_NAMES):
            return NameRules()
        return NameRules(MANGLED_BY_3_17, LAST_COMPONENT_3_17)

    async def capacity(self) -> Capacity:
        """Return the cluster's capacity. AIS: GET /v1/cluster?what=sysinfo."""

        def work() -> Capacity:
            try:
                return Capacity(*self._client.cluster().get_capacity())
            except errors.AuthError:
                return Capacity(1 << 50, 0)  # not ours to know: a size that keeps nobody away

        return await self._call("asking for the capacity", work, CALL_DEADLINE_S)

    # -- buckets

    async def buckets(self) -> list[BucketInfo]:
        """Return all buckets with their facts. AIS: GET /v1/daemon?what=bmd."""
        metadata = await self._call(
            "listing buckets", self._client.cluster().get_bucket_metadata, CALL_DEADLINE_S
        )
        return [self._bucket_info(name_of(model), props) for model, props in metadata.items()]

    async def bucket(self, name: BucketName) -> BucketInfo:
        """Return one bucket's facts, from the bucket metadata, else by asking for it.

        AIS: GET /v1/daemon?what=bmd; HEAD /v1/buckets/B for a bucket that is not there yet (remote)
        or where the token does not open the metadata.
        """
        try:
            known = {info.name: info for info in await self.buckets()}
        except Forbidden:
            known = {}
        if name in known:
            return known[name]
        headers = await self._call(
            f"looking for bucket {name.name}", self._buckets.of(name).head, CALL_DEADLINE_S
        )
        return self._bucket_info(name, props_of(headers.get("Ais-Bucket-Props", "")))

    def _bucket_info(self, name: BucketName, props: dict[str, object]) -> BucketInfo:
        self._buckets.learn(name, props)
        return BucketInfo(name, int(str(props.get("created") or 0)))

    # -- objects

    async def head(self, bucket: BucketName, name: str) -> ObjectInfo:
        """Return one object's facts. AIS: HEAD /v1/objects/B/O."""
        doing = f"looking for {bucket.name}/{name}"

        def work() -> ObjectInfo:
            try:
                return object_info(name, self._buckets.object(bucket, name).props)
            except ValueError as error:
                raise NotFound(f"AIS keeps no object of that name: {error}") from error

        direct = partial(self._direct_reads.head, bucket, name) if self._direct_reads else None
        return await self._either(doing, direct, partial(self._call, doing, work, CALL_DEADLINE_S))

    async def list(
        self, bucket: BucketName, prefix: str, token: str, size: int, *, recursive: bool
    ) -> Listing:
        """Return one batch of a listing. AIS: GET /v1/buckets/B, list."""
        doing = f"listing {bucket.name}/{prefix}"
        flags = [] if recursive else [ListObjectFlag.NO_RECURSION]

        def work() -> Listing:
            page = self._buckets.of(bucket).list_objects(
                prefix=prefix,
                props=LIST_PROPS,
                page_size=size,
                continuation_token=token,
                flags=flags,
            )
            following = page.continuation_token
            if following and following <= token:
                text = f"the cluster's continuation token {following!r} does not advance"
                raise IoFailure(f"{doing}: {text}")
            told = recursive or not following
            lacking = told and self._client.request_client.misses_targets()
            return listing_of(page, bucket, prefix, lacking=lacking)

        return await self._call(doing, work, CALL_DEADLINE_S)

    async def prefetch(
        self, bucket: BucketName, names: Sequence[str], progress: Callable[[int, int], None]
    ) -> str:
        """Have the cluster fetch objects from a remote bucket. AIS: prefetch-listrange."""
        return await self._prefetches.run(bucket, names, progress)

    async def fill(
        self,
        bucket: BucketName,
        name: str,
        start: int,
        identity: Identity,
        buffer: memoryview,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        """Fill `buffer` with an object's bytes. AIS: GET /v1/objects/B/O."""
        doing = f"reading {bucket.name}/{name}"
        piece = bucket, name, start, identity, buffer
        direct = partial(self._direct_reads.fill, *piece, progress) if self._direct_reads else None
        return await self._either(doing, direct, partial(self._reader.fill, *piece))

    async def fill_many(
        self, pieces: Sequence[Piece], filled: Callable[[Piece, ObjectInfo], None]
    ) -> None:
        """Fill the buffers of many small objects. AIS: GET /v1/objects/B/O."""
        await (self._direct_reads or self._reader).fill_many(pieces, filled)

    async def stream(
        self,
        bucket: BucketName,
        name: str,
        start: int,
        end: int,
        identity: Identity,
        sink: BodySink,
    ) -> None:
        """Feed bytes [start, end) of the object into `sink`. AIS: GET /v1/objects/B/O."""
        await self._reader.stream(bucket, name, start, end, identity, sink)

    async def get(self, bucket: BucketName, name: str, limit: int) -> bytes:
        """Return a small object whole. AIS: GET /v1/objects/B/O."""
        doing = f"reading {bucket.name}/{name}"

        def work() -> bytes:
            with self._buckets.object(bucket, name).get() as reader:
                if reader.attributes.size > limit:
                    raise TooLarge(f"{doing}: {reader.attributes.size} bytes, at most {limit}")
                return reader.read_all()

        return await self._call(doing, work, CALL_DEADLINE_S)

    async def transform(
        self, bucket: BucketName, name: str, use: EtlUse, take: Callable[[bytes], None]
    ) -> None:
        """Give an object as a transformer makes it. AIS: GET /v1/objects/B/O?etl_name=ETL."""
        etl = ETLConfig(use.name, use.argument)

        def work() -> None:
            target = self._buckets.object(bucket, name)
            with target.get(etl=etl, chunk_size=TRANSFORMED_PIECE) as reader:
                for piece in reader:
                    take(piece)

        doing = f"transforming {bucket.name}/{name} by {use}"
        await self._call(doing, work, limiter=self._transforming)

    async def put(self, bucket: BucketName, name: str, upload: Upload) -> ObjectInfo:
        """Store a whole object. AIS: PUT /v1/objects/B/O."""
        doing = f"storing {bucket.name}/{name}"

        def work() -> ObjectInfo:
            custom = {ATTRIBUTES_KEY: upload.attributes}
            writer = self._buckets.object(bucket, name).get_writer()
            with reader_of(upload.fd) as source:
                stored = writer.put(source, upload.size, upload.checksum, custom)
            return stored_info(name, stored, upload.size, upload.checksum)

        direct = (
            partial(self._direct_writes.put, bucket, name, upload) if self._direct_writes else None
        )
        return await self._either(doing, direct, partial(self._call, doing, work))

    def compares(self, bucket: BucketName) -> bool:
        """Tell whether the checksums that a bucket keeps are known to be XXH64, as ours."""
        return self._buckets.keeps_xxh64(bucket)

    async def put_growing(
        self,
        bucket: BucketName,
        name: str,
        source: IO[bytes],
        available: Callable[[int], int | None],
    ) -> ObjectInfo:
        """Store an object while its file is written. AIS: PUT /v1/objects/B/O in chunks."""

        def work() -> ObjectInfo:
            writer = self._buckets.object(bucket, name).get_writer()
            return object_info(name, writer.put_growing(source, available))

        doing = f"storing {bucket.name}/{name} while it is written"
        return await self._call(doing, work, limiter=self._growing)

    def appends(self, bucket: BucketName) -> bool:
        """Tell whether objects of a bucket can be appended to, as far as its kind decides."""
        return self._buckets.is_own(bucket)

    async def append(self, bucket: BucketName, name: str, tail: Tail) -> str:
        """Send bytes to go behind an object. AIS: PUT /v1/objects/B/O?append_type=append."""

        def work() -> str:
            self._client.era.require(Feature.APPEND_CONTINUES, f"append to {bucket.name}/{name}")
            with reader_of(tail.fd) as source:
                source.seek(tail.start)
                writer = self._buckets.object(bucket, name).get_writer()
                return writer.append_file(source, tail.end - tail.start)

        doing = f"appending to {bucket.name}/{name}"
        return await self._call(doing, work, copying_limit_s(tail.end))

    async def flush_append(self, bucket: BucketName, name: str, handle: str, size: int) -> None:
        """Make appended bytes visible. AIS: PUT /v1/objects/B/O?append_type=flush."""

        def work() -> None:
            self._buckets.object(bucket, name).get_writer().append_content(b"", handle, flush=True)

        await self._call(f"appending to {bucket.name}/{name}", work, copying_limit_s(size))

    async def head_now(self, bucket: BucketName, name: str) -> ObjectInfo:
        """Return one object's facts by a gateway. AIS: HEAD /v1/objects/B/O."""

        def work() -> ObjectInfo:
            return object_info(name, self._buckets.object(bucket, name).props_now)

        return await self._call(f"looking for {bucket.name}/{name}", work, CALL_DEADLINE_S)

    async def describe(self, bucket: BucketName, name: str) -> dict[str, str]:
        """Return what is told of an object. AIS: HEAD /v1/objects/B/O, with `props` if it can."""

        def work() -> dict[str, str]:
            props = DESCRIBED if self._client.era.has(Feature.HEAD_PROPS) else ""
            return described(self._buckets.object(bucket, name).head_v2(props))

        return await self._call(f"asking for {bucket.name}/{name}", work, CALL_DEADLINE_S)

    async def put_bytes(
        self, bucket: BucketName, name: str, body: bytes, attributes: str
    ) -> ObjectInfo:
        """Store a small body. AIS: PUT /v1/objects/B/O."""
        doing = f"storing {bucket.name}/{name}"

        def work() -> ObjectInfo:
            obj = self._buckets.object(bucket, name)
            stored = obj.get_writer().put(body, custom={ATTRIBUTES_KEY: attributes})
            info = stored_info(name, stored, len(body), "")
            if info.attributes != attributes or not info.identity.checksum:
                obj.set_custom_props({ATTRIBUTES_KEY: attributes})
                info = object_info(name, obj.props)
            return info

        what = bucket, name, body, attributes
        direct = partial(self._direct_writes.put_bytes, *what) if self._direct_writes else None
        return await self._either(doing, direct, partial(self._call, doing, work, CALL_DEADLINE_S))

    async def copy(self, bucket: BucketName, source: str, target: str) -> None:
        """Copy an object within its bucket, on the cluster where that can do it.

        AIS: PUT /v1/objects/B/O?object_to=…; GET and PUT where the cluster is of 2023 and has no
        copy, or would make it under another name.
        """
        doing = f"copying {bucket.name}/{source} to {target}"

        def work() -> None:
            old, new = self._buckets.object(bucket, source), self._buckets.object(bucket, target)
            try:
                old.copy(new)
            except errors.UnsupportedError:  # before anything was sent
                _copy_through_here(old, new)

        direct = (
            partial(self._direct_writes.copy, bucket, source, target)
            if self._direct_writes
            else None
        )
        await self._either(doing, direct, partial(self._call, doing, work))

    async def delete(self, bucket: BucketName, name: str) -> None:
        """Delete one object. AIS: DELETE /v1/objects/B/O without a body."""
        doing, sent = f"deleting {bucket.name}/{name}", False
        if self._direct_writes is not None:
            direct = partial(self._direct_writes.delete, bucket, name)
            try:
                return await self._directly(doing, direct)
            except Declined as error:
                sent = error.sent  # it may be gone by now
        try:
            await self._call(doing, self._buckets.object(bucket, name).delete, CALL_DEADLINE_S)
        except NotFound:
            if not sent:
                raise

    async def set_attributes(self, bucket: BucketName, name: str, attributes: str) -> None:
        """Replace the value of our custom key. AIS: PATCH /v1/objects/B/O, which merges."""
        doing = f"setting attributes of {bucket.name}/{name}"

        def work() -> None:
            self._buckets.object(bucket, name).set_custom_props({ATTRIBUTES_KEY: attributes})

        direct = (
            partial(self._direct_writes.set_attributes, bucket, name, attributes)
            if self._direct_writes
            else None
        )
        await self._either(doing, direct, partial(self._call, doing, work, CALL_DEADLINE_S))

    def figures(self) -> dict[str, int]:
        """Return what is counted of the connections."""
        client = self._client.request_client
        traffic, limiters = client.traffic, (self._threads.limiter, self._reader.limiter)
        return {
            "http.received_bytes": traffic.received_bytes,
            "http.sent_bytes": traffic.sent_bytes,
            "http.retries": traffic.retries,
            "http.declined": self._declined,
            "http.loop.idle": self._nodes.idle_connections,
            "http.loop.busy": self._nodes.busy,
            "http.loop.limit": self._nodes.connections,
            "http.threads.idle": client.idle_connections,
            "http.threads.busy": sum(each.borrowed_tokens for each in limiters),
            "http.threads.limit": sum(int(each.total_tokens) for each in limiters),
        }

    def requests(self) -> Sequence[tuple[str, str, str, int]]:
        """Return how many requests were sent: method, about what, status class, times."""
        return self._client.request_client.traffic.requests()

    async def close(self) -> None:
        """Release connections."""
        self._nodes.close()
        self._client.close()


def connect(config: StoreConfig) -> AISStore:
    """Make a store from its configuration; sends nothing.

    Raises:
        Invalid: the endpoint or a certificate file cannot be used.
    """
    return AISStore(
        client_of(config),
        config.connections,
        config.idle_timeout_s,
        Pace(config.max_rate, config.max_requests),
        direct=config.transport == "direct",
    )


def _copy_through_here(source: Object, target: Object) -> None:
    """Copy by GET and PUT, attributes included; the bytes pass through an unnamed local file."""
    with tempfile.TemporaryFile() as spool:
        with source.get(chunk_size=1 << 20) as reader:
            attributes = reader.attributes
            for chunk in reader:
                spool.write(chunk)
        size = spool.tell()
        spool.seek(0)
        checksum = None
        if is_xxh64(attributes.checksum_type):
            checksum = attributes.checksum_value
        custom = attributes.custom_metadata
        stored = target.get_writer().put(spool, size, checksum=checksum, custom=custom)
        if stored.custom_metadata != custom and custom:
            target.set_custom_props(custom, replace_existing=True)
