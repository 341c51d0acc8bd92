"""Bytes of objects by the SDK's ObjectReader, in threads.

All bulk reads come this way, and small ones where the direct way is closed.

Serves `aistore`. Streams have a limiter of their own, so that readers who wait for room never keep
metadata waiting.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import requests
import trio

from aisfs.errors import Corrupt, FsError, IoFailure, Stale, Torn
from aisfs.kernel_request import Wait, waiting
from aisfs.store.failures import told_as_fs_error
from aisfs.store.replies import identity_of_whole, object_info, verify
from aisfs_sdk import deadline, errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aisfs.config import BucketName
    from aisfs.store.buckets import Buckets
    from aisfs.store.interface import BodySink, Identity, ObjectInfo, Piece
    from aisfs.store.pace import Pace
    from aisfs_sdk.object_reader import ObjectReader

MAX_TRIES = 3
"""How often a torn body is resumed without a single new byte before its reader gets the error."""

OPEN_DEADLINE_S = 25.0
"""Seconds until a body begins, with all repetitions of the request: below the 30 s at which a
kernel with `fs.fuse.max_request_timeout` aborts the connection."""


class ReaderSource:
    """`ChunkSource` on ObjectReader; also streams.

    Args:
        buckets: the client's buckets.
        connections: most requests at a time.
        idle_timeout_s: longest pause within a body.
        pace: kept by all bodies.

    Attributes:
        limiter: of the requests.
    """

    def __init__(
        self, buckets: Buckets, connections: int, idle_timeout_s: float, pace: Pace
    ) -> None:
        self._buckets = buckets
        self._idle_timeout_s = idle_timeout_s
        self.limiter = trio.CapacityLimiter(connections)
        self._pace = pace

    async def fill(
        self,
        bucket: BucketName,
        name: str,
        start: int,
        identity: Identity,
        buffer: memoryview,
        progress: Callable[[int], None] | None = None,  # noqa: ARG002 - told in threads only
    ) -> ObjectInfo:
        """See `ChunkSource`. A torn body is resumed. AIS: GET /v1/objects/B/O."""
        sink = _Filling(buffer)
        end = start + len(buffer)
        told, tries = None, 0
        while told is None:
            before = sink.received
            try:
                told = await self._receive(bucket, name, start + before, end, identity, sink)
            except Torn:
                tries = tries + 1 if sink.received == before else 1
                if tries >= MAX_TRIES:
                    raise
        if len(buffer) == identity.size:
            verify(name, buffer, told.identity)
        return told

    async def fill_many(
        self, pieces: Sequence[Piece], filled: Callable[[Piece, ObjectInfo], None]
    ) -> None:
        """See `ChunkSource`: one request for each."""
        for piece in pieces:
            try:
                told = await self.fill(
                    piece.bucket, piece.info.name, 0, piece.info.identity, piece.buffer
                )
            except FsError:
                continue
            filled(piece, told)

    async def stream(
        self,
        bucket: BucketName,
        name: str,
        start: int,
        end: int,
        identity: Identity,
        sink: BodySink,
    ) -> None:
        """See `ObjectStore`. AIS: GET /v1/objects/B/O."""
        await self._receive(bucket, name, start, end, identity, sink)

    async def _receive(
        self,
        bucket: BucketName,
        name: str,
        start: int,
        end: int,
        identity: Identity,
        sink: BodySink,
    ) -> ObjectInfo:
        """Send one GET, feed the sink, and return what the reply told of the object."""
        obj = self._buckets.object(bucket, name)
        whole = start == 0 and end == identity.size
        byte_range = None if whole else f"bytes={start}-{end - 1}"
        ranged = not whole and bucket in self._buckets.range_checksums
        doing = f"reading {bucket.name}/{name}"
        cancelled = threading.Event()
        opened: list[ObjectReader] = []

        def work() -> ObjectInfo:
            with told_as_fs_error(doing):
                try:
                    with deadline(OPEN_DEADLINE_S, cancelled):
                        reader = obj.get(byte_range=byte_range, verify=False)  # who fills it does
                except errors.InvalidRequestError as error:
                    if error.status_code == requests.codes.requested_range_not_satisfiable:
                        raise Stale(f"{doing}: the object is shorter now") from error
                    raise
                except errors.IntegrityError as error:
                    raise Torn(f"{doing}: {error}") from error
                except errors.ErrObjNotFound as error:
                    raise Stale(f"{doing}: the object was deleted after it was opened") from error
                opened.append(reader)
                reader.limit_silence(self._idle_timeout_s)
                with reader:
                    now = identity_of_whole(reader.attributes, identity, range_checksum=ranged)
                    if not identity.admits(now):
                        raise Stale(f"{doing}: the object changed after it was opened")
                    sink.opened(now, reader.abort)
                    with _resumable(doing):
                        self._pump(reader, sink, end - start, doing)
                    return object_info(name, reader.attributes, now)

        if self._pace.holds:
            await self._pace.let_pass()
        try:
            with waiting(Wait.CLUSTER):
                return await trio.to_thread.run_sync(
                    work, limiter=self.limiter, abandon_on_cancel=True
                )
        except trio.Cancelled:
            cancelled.set()
            for reader in opened:
                reader.abort()
            raise

    def _pump(self, reader: ObjectReader, sink: BodySink, size: int, doing: str) -> None:
        """Receive a body into the sink's buffers."""
        received = 0
        while received < size:
            buffer = sink.buffer()
            if buffer is None:
                return
            allowed = self._pace.let_pass_in_thread(len(buffer))
            count = reader.readinto(buffer[:allowed])
            if count == 0:
                raise IoFailure(f"{doing}: the body ended after {received} of {size} bytes")
            sink.filled(count)
            received += count


class _Filling:
    """A `BodySink` for one buffer."""

    def __init__(self, buffer: memoryview) -> None:
        self.received = 0
        self._buffer = buffer

    def opened(self, identity: Identity, abort: Callable[[], None]) -> None:
        """Nothing to note: the reply was compared already."""

    def buffer(self) -> memoryview | None:
        return self._buffer[self.received :] if self.received < len(self._buffer) else None

    def filled(self, size: int) -> None:
        self.received += size


@contextmanager
def _resumable(doing: str) -> Iterator[None]:
    """Tell a body that broke from a request that failed: the SDK has repeated those enough."""
    try:
        with told_as_fs_error(doing):
            yield
    except Corrupt:
        raise
    except IoFailure as error:
        raise Torn(str(error)) from error
