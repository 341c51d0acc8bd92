"""Evicting copies of remote objects, the longest unread first, when the disk is full.

AIS: job `lru`. It runs when more of the disk is used than `space.highwm` says, until less than
`space.lowwm` is. Only buckets with the property `lru.enabled` take part, all with `force`. An
object of an ais bucket is never evicted: it has no other copy.
"""

import time

from aisfs.server.gotime import parse_duration
from aisfs.server.http.call import Call
from aisfs.server.jobs.multiobject import step
from aisfs.server.jobs.table import Job
from aisfs.server.naming import NO_BUCKET, BucketName
from aisfs.server.state import Store
from aisfs.server.storage.catalog import Bucket

BATCH = 500


def evict_oldest(call: Call, buckets: list[BucketName], *, force: bool) -> Job:
    """Start an eviction in the named buckets, in all if none is named."""
    store = call.store
    names = {store.remotes.normal(name) for name in buckets}

    async def run(job: Job) -> None:
        store.catalog.flush_atimes()
        taking_part = [
            bucket
            for bucket in store.catalog.buckets.values()
            if bucket.remote
            and (not names or bucket.name in names)
            and (force or bucket.props["lru"]["enabled"])
        ]
        excess = _excess(store)
        while excess > 0 and (oldest := _oldest(store, taking_part)):
            for bucket, name, size in oldest:
                if excess <= 0:
                    break
                store.catalog.delete(bucket, [name])
                excess -= size
                job.objects += 1
                job.size += size
            await step(call, job)

    return store.jobs.start("lru", buckets[0] if buckets else NO_BUCKET, run)


def _excess(store: Store) -> int:
    """Return how many bytes are to go; 0 below the high watermark."""
    used, total = store.blobs.free_space()
    space = store.config.tree["space"]
    if used * 100 <= total * int(space["highwm"]):
        return 0
    return max(used - total * int(space["lowwm"]) // 100, 0)


def _oldest(store: Store, buckets: list[Bucket]) -> list[tuple[Bucket, bytes, int]]:
    """Return the objects that were read longest ago, oldest first, of those that may go."""
    found = []
    now = time.time_ns()
    for bucket in buckets:
        latest = now - parse_duration(bucket.props["lru"]["dont_evict_time"])
        rows = store.catalog.connection.execute(
            "SELECT atime, name, size FROM objects WHERE bucket=? AND atime<=?"
            " ORDER BY atime LIMIT ?",
            (bucket.id, latest, BATCH),
        )
        found += [(atime, bucket, name, size) for atime, name, size in rows]
    found.sort(key=lambda item: (item[0], item[2]))
    return [(bucket, name, size) for _, bucket, name, size in found[:BATCH]]
