"""Prefetches that are waited for: a cluster brings objects of a remote bucket to itself.

Serves `aistore`. What a cluster is told to fetch without anybody waiting is `ais_work`'s.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError, TimedOut
from aisfs.store.threads import CALL_DEADLINE_S, STOP_LIMIT_S
from aisfs_sdk import errors
from aisfs_sdk.job_types import AggregatedJobSnap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aisfs.config import BucketName
    from aisfs.store.buckets import Buckets
    from aisfs.store.threads import Threads
    from aisfs_sdk import Client
    from aisfs_sdk.job import Job

PATIENCE = 1.5
"""Idle timeouts (20 s each by default) without a newly fetched object, after which a prefetch is
not waited for: a remote bucket may be slower than the cluster."""


class Prefetches:
    """Those of one client.

    Args:
        client, buckets, threads: of the store.
        idle_timeout_s: longest pause within a body.
    """

    def __init__(
        self, client: Client, buckets: Buckets, threads: Threads, idle_timeout_s: float
    ) -> None:
        self._client = client
        self._buckets = buckets
        self._call = threads.call
        self._patience_s = PATIENCE * idle_timeout_s

    async def run(
        self, bucket: BucketName, names: Sequence[str], progress: Callable[[int, int], None]
    ) -> str:
        """See `ObjectStore.prefetch`. AIS: POST /v1/buckets/B, prefetch-listrange.

        The job is ours alone: AIS joins no prefetch to another one that is still alive.
        """
        doing = f"prefetching {len(names)} objects of {bucket.name}"
        group = self._buckets.of(bucket).objects(obj_names=list(names))
        job_id = await self._call(doing, group.prefetch, CALL_DEADLINE_S)
        job = self._client.job(job_id)
        try:
            return await self._wait(doing, job, progress)
        except trio.Cancelled:
            with trio.move_on_after(STOP_LIMIT_S, shield=True), suppress(FsError):
                await self._call(f"stopping {doing}", job.abort, CALL_DEADLINE_S)
            raise

    async def _wait(self, doing: str, job: Job, progress: Callable[[int, int], None]) -> str:
        """Ask after a job until it has ended, and return what went wrong."""
        fetched, since, pause_s = 0, trio.current_time(), 0.05
        while True:
            ended, said, objects, size = await self._call(
                doing, partial(_look, job), CALL_DEADLINE_S
            )
            progress(objects, size)
            if ended:
                return said
            if objects > fetched:
                fetched, since = objects, trio.current_time()
            elif trio.current_time() - since > self._patience_s:
                raise TimedOut(
                    f"{doing}: job {job.job_id} is at {fetched} objects, fetched nothing more for "
                    f"{self._patience_s:g} s and is not waited for"
                )
            await trio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 1.0)


def _look(job: Job) -> tuple[bool, str, int, int]:
    """Return whether a job has ended, what went wrong, and the objects and bytes it brought."""
    status = None
    with suppress(errors.JobInfoNotFound):
        status = job.status()
    try:
        found = job.get_details()  # after the status, so that those of an ended job are the last
    except errors.JobInfoNotFound:  # it has only just begun
        found = AggregatedJobSnap({})
    if status is not None:
        ended, error, aborted = status.finished, status.err, status.aborted
    else:
        ended, error, aborted = found.all_finished, found.error, found.any_aborted
    stats = [snapshot.stats for snapshot in found.list_snapshots() if snapshot.stats is not None]
    said = error or ("it was stopped" if aborted else "")
    return ended, said, sum(each.objects for each in stats), sum(each.bytes for each in stats)
