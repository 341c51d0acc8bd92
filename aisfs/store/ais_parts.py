"""Objects in parts on an AIS cluster: `PartsStore` on the SDK.

Serves `aistore`, in whose threads the calls run.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from aisfs.store.interface import PartsUpload, reader_of
from aisfs.store.threads import CALL_DEADLINE_S, STOP_LIMIT_S, copying_limit_s
from aisfs_sdk.eras import Feature

if TYPE_CHECKING:
    from aisfs.config import BucketName
    from aisfs.store.buckets import Buckets
    from aisfs.store.interface import Tail
    from aisfs.store.threads import Threads
    from aisfs_sdk import Client
    from aisfs_sdk.multipart_upload import MultipartUpload


class AISParts:
    """`PartsStore` of the cluster behind a client."""

    def __init__(self, client: Client, buckets: Buckets, threads: Threads) -> None:
        self._client = client.request_client
        self._buckets = buckets
        self._call = threads.call

    def takes(self, bucket: BucketName) -> bool:
        """Tell whether objects of a bucket can be stored in parts and compared afterwards.

        What the release can do is known since `name_rules`. Behind a remote bucket the parts would
        be those of its provider, with rules of their own.
        """
        era = self._client.known_era
        can = era is not None and era.has(Feature.MULTIPART)
        return can and self._buckets.is_own(bucket) and self._buckets.keeps_xxh64(bucket)

    async def begin(self, bucket: BucketName, name: str) -> PartsUpload:
        """Begin to store an object in parts. AIS: POST /v1/objects/B/O, mpt-upload."""

        def work() -> PartsUpload:
            upload = self._buckets.object(bucket, name).multipart_upload().create()
            return PartsUpload(bucket, name, upload.upload_id)

        return await self._call(f"storing {bucket.name}/{name} in parts", work, CALL_DEADLINE_S)

    def _of(self, upload: PartsUpload, sent: int = 0) -> MultipartUpload:
        return self._buckets.object(upload.bucket, upload.name).multipart_upload(upload.id, sent)

    async def send(self, upload: PartsUpload, number: int, part: Tail) -> None:
        """Send a part. AIS: PUT /v1/objects/B/O?uploadId=…&partNumber=….

        A part that is under way when the upload is aborted may be left on the cluster, so whoever
        is cancelled waits until its connection is closed.
        """
        token, ended, begun = trio.lowlevel.current_trio_token(), trio.Event(), threading.Event()

        def work() -> None:
            begun.set()
            try:
                with reader_of(part.fd) as source:
                    source.seek(part.start)
                    self._of(upload).add_part(number).put_range(source, part.end - part.start)
            finally:
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(ended.set)

        try:
            await self._call(f"sending part {number} of {upload.bucket.name}/{upload.name}", work)
        except trio.Cancelled:
            with trio.move_on_after(STOP_LIMIT_S, shield=True):
                if begun.is_set():
                    await ended.wait()
            raise

    async def complete(self, upload: PartsUpload, parts: int, size: int) -> None:
        """Make an object of its parts. AIS: POST /v1/objects/B/O?uploadId=…, mpt-complete."""
        await self._call(
            f"putting together the {parts} parts of {upload.bucket.name}/{upload.name}",
            self._of(upload, parts).complete,
            copying_limit_s(size),
        )

    async def abort(self, upload: PartsUpload) -> None:
        """Drop an upload. AIS: DELETE /v1/objects/B/O?uploadId=…, mpt-abort."""
        await self._call(
            f"giving up the upload of {upload.bucket.name}/{upload.name}",
            self._of(upload).abort,
            CALL_DEADLINE_S,
        )
