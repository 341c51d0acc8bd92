"""What an AIS cluster tells of itself: `ClusterFacts` on the SDK.

Serves `aistore`. Its threads are few and its own, so that whoever reads control files keeps nobody
waiting who reads data.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec
import trio

from aisfs.errors import NotFound, TimedOut
from aisfs.store.cluster_facts import EtlFacts, Health, JobFacts, Json
from aisfs.store.replies import name_of
from aisfs.store.threads import CALL_DEADLINE_S, Threads
from aisfs_sdk import const, deadline, errors
from aisfs_sdk.job_types import AggregatedJobSnap, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.config import BucketName
    from aisfs.store.buckets import Buckets
    from aisfs.store.pace import Pace
    from aisfs_sdk import Client
    from aisfs_sdk.etl_types import ETLInfo

T = TypeVar("T")

THREADS = 4
"""Questions at a time."""

LONGEST_S = CALL_DEADLINE_S + 1.0
"""Seconds that a question may take with the wait for a thread, which has no deadline of its own."""

HEALTH_S = 10.0
"""Seconds after which a gateway that does not say that it is healthy is not."""

_JOB_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
"""AIS: a comma would ask for several jobs at once."""


class AISFacts:
    """`ClusterFacts` of the cluster behind a client."""

    def __init__(self, client: Client, buckets: Buckets, pace: Pace) -> None:
        self._client = client
        self._cluster = client.cluster()
        self._buckets = buckets
        self._threads = Threads(THREADS, pace)

    async def _ask(self, what: str, work: Callable[[], T]) -> T:
        doing = f"asking for {what}"
        with trio.move_on_after(LONGEST_S):
            return await self._threads.call(doing, work, CALL_DEADLINE_S)
        raise TimedOut(f"{doing}: no answer within {LONGEST_S:g} s")

    # -- the cluster and its nodes

    async def cluster(self) -> Json:
        """Return the cluster in figures. AIS: GET /v1/daemon?what=smap, sysinfo of /v1/cluster."""

        def work() -> Json:
            smap = self._cluster.get_info()
            total, used = self._cluster.get_capacity()
            return {
                "uuid": smap.uuid,
                "release": str(self._client.era),
                "map_version": smap.version,
                "creation_time": smap.creation_time,
                "primary": smap.proxy_si.daemon_id,
                "gateways": len(smap.pmap),
                "targets": len(smap.tmap),
                "active_targets": sum(node.active for node in smap.tmap.values()),
                "capacity_bytes": total,
                "used_bytes": used,
            }

        return await self._ask("the cluster", work)

    async def cluster_map(self) -> Json:
        """Return all nodes. AIS: GET /v1/daemon?what=smap."""
        return await self._ask("the cluster map", lambda: _plain(self._cluster.get_info()))

    async def health(self) -> Health:
        """Tell whether the cluster serves. AIS: GET /v1/health?prr=true, at the primary, too."""

        def work() -> Health:
            with deadline(HEALTH_S):
                ready = self._cluster.is_aistore_running()
            with deadline(HEALTH_S):  # of its own: another gateway may be silent, the primary not
                return Health(ready, self._cluster.is_ready())

        return await self._ask("the cluster's health", work)

    async def nodes(self) -> list[str]:
        """Return the ids of all nodes. AIS: GET /v1/daemon?what=smap."""

        def work() -> list[str]:
            smap = self._cluster.get_info()
            return [*smap.pmap, *smap.tmap]

        return await self._ask("the cluster's nodes", work)

    async def node(self, node_id: str) -> Json:
        """Return a node. AIS: GET /v1/daemon?what=smap, GET /v1/reverse/daemon?what=node_status."""

        def work() -> Json:
            smap = self._cluster.get_info()
            found = smap.pmap.get(node_id) or smap.tmap.get(node_id)
            if found is None:
                raise NotFound(f"the cluster map has no node {node_id}")
            status = self._cluster.get_node_status(node_id)
            return {"node": _plain(found), "active": found.active, "status": status}

        return await self._ask(f"node {node_id}", work)

    # -- jobs

    async def jobs(self) -> list[Json]:
        """Return jobs. AIS: GET /v1/cluster?what=status_all, and running_all.

        A gateway keeps no status of some kinds; of these the running ones are told.
        """

        def work() -> list[Json]:
            found = {status.uuid: status for status in self._cluster.list_jobs_status()}
            for text in self._cluster.list_running_jobs():
                kind, _, job_id = text.removesuffix("]").partition("[")
                found.setdefault(job_id, JobStatus(uuid=job_id, kind=kind))
            return [_plain(found[job_id]) for job_id in sorted(found)]

        return await self._ask("the cluster's jobs", work)

    async def job(self, job_id: str) -> JobFacts:
        """Return a job. AIS: GET /v1/cluster?what=status, and qryxstats."""
        if not _JOB_ID.fullmatch(job_id):
            raise NotFound(f"no job has the id {job_id!r}")
        job = self._client.job(job_id)

        def work() -> JobFacts:
            status, found = None, AggregatedJobSnap({})
            with suppress(errors.JobInfoNotFound):
                status = job.status()
            with suppress(errors.JobInfoNotFound):
                found = job.get_details()
            if status is None and not found.list_snapshots():
                raise NotFound(f"the cluster knows no job {job_id}")
            return _job_facts(job_id, status, found)

        return await self._ask(f"job {job_id}", work)

    # -- transformers

    async def etls(self) -> list[Json]:
        """Return all transformers. AIS: GET /v1/etl."""
        return await self._ask("the cluster's ETLs", lambda: [_plain(i) for i in self._etls()])

    def _etls(self) -> list[ETLInfo]:
        try:
            return self._cluster.list_etls(None)
        except errors.UnsupportedError:  # a cluster without Kubernetes has none
            return []

    async def etl(self, name: str) -> EtlFacts:
        """Return a transformer. AIS: GET /v1/etl, GET /v1/etl/NAME."""

        def work() -> EtlFacts:
            listed = [info for info in self._etls() if info.id == name]
            if not listed:
                raise NotFound(f"the cluster has no ETL {name}")
            try:
                details = _plain(self._client.etl(name).view())
            except errors.ErrETLNotFound:  # newer clusters tell it of running ones only
                details = None
            return EtlFacts(_plain(listed[0]), details)

        return await self._ask(f"ETL {name}", work)

    async def etl_logs(self, name: str) -> dict[str, str]:
        """Return what a transformer wrote. AIS: GET /v1/etl/NAME/logs."""
        return await self._ask(f"the logs of ETL {name}", self._client.etl(name).logs)

    # -- buckets

    async def buckets(self) -> list[BucketName]:
        """Return the names of all buckets. AIS: GET /v1/daemon?what=bmd."""
        metadata = await self._ask("the cluster's buckets", self._cluster.get_bucket_metadata)
        return [name_of(model) for model in metadata]

    async def bucket_props(self, bucket: BucketName) -> Json:
        """Return a bucket's properties. AIS: HEAD /v1/buckets/B."""

        def work() -> Json:
            headers = self._buckets.of(bucket).head()
            return msgspec.json.decode(headers.get(const.HEADER_BUCKET_PROPS, ""), type=Json)

        return await self._ask(f"the properties of bucket {bucket.name}", work)

    async def bucket_summary(self, bucket: BucketName) -> Json:
        """Return how much a bucket holds. AIS: GET /v1/buckets/B, summary-bck."""
        what = f"the summary of bucket {bucket.name}"
        return await self._ask(what, self._buckets.of(bucket).summary)


def _plain(told: object) -> Json:
    """Return what the SDK made of an answer, under the names of the wire again."""
    return msgspec.to_builtins(told)  # type: ignore[no-any-return]  # structs and dicts of them


def _job_facts(job_id: str, status: JobStatus | None, found: AggregatedJobSnap) -> JobFacts:
    """Put together what a gateway and what the targets tell of a job."""
    snapshots = found.list_snapshots()
    aborted = (status is not None and status.aborted) or found.any_aborted
    ended = status.finished if status is not None else found.all_finished
    error = (status.err if status is not None else "") or found.error
    if aborted:
        state = "aborted"
    elif ended:
        state = "failed" if error else "finished"
    else:
        state = "idle" if found.all_idle else "running"
    starts = [snapshot.started for snapshot in snapshots if snapshot.started is not None]
    stats = [snapshot.stats for snapshot in snapshots if snapshot.stats is not None]
    end = found.end_time
    return JobFacts(
        job_id,
        (status.kind if status is not None else "") or found.kind,
        state,
        error,
        min(starts).isoformat() if starts else "",
        end.isoformat() if end is not None else "",
        sum(each.objects for each in stats),
        sum(each.bytes for each in stats),
        _plain(status) if status is not None else None,
        _plain(found.snapshots),
    )
