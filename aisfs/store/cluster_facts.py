"""What a cluster tells of itself: its nodes, jobs, transformers and buckets.

Serves `control`; `ais_facts.py` implements it on the SDK. Nothing here changes the cluster. Every
coroutine raises only `aisfs.errors.FsError` children and ends within 26 s. `Json` is what the
cluster says, under its own names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from aisfs.config import BucketName

Json = dict[str, Any]


class Members(NamedTuple):
    """The ids of the nodes that a cluster map names."""

    version: int
    gateways: frozenset[str]
    targets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the cluster serves.

    Attributes:
        ready: the gateway that this mount asks says so.
        primary_ready: the primary gateway says so, and can be reached from here.
    """

    ready: bool
    primary_ready: bool


@dataclass(frozen=True, slots=True)
class JobFacts:
    """One job, over all targets.

    Attributes:
        state: `running`, `idle` (it waits for more to do), `finished`, `failed` or `aborted`.
        error: what went wrong, "" if nothing.
        started, ended: in ISO 8601; "" where the cluster does not say.
        objects, bytes: what it has worked on so far.
        status: what a gateway keeps of it; None for kinds of which it keeps nothing.
        snapshots: what each target tells of it.
    """

    id: str
    kind: str
    state: str
    error: str
    started: str
    ended: str
    objects: int
    bytes: int
    status: Json | None
    snapshots: Json


@dataclass(frozen=True, slots=True)
class EtlFacts:
    """One transformer: its row of the list, and how it was started if the cluster tells that."""

    info: Json
    details: Json | None


def listed_state(job: Json) -> str:
    """Return the state of a job as `ClusterFacts.jobs` lists it, which does not tell who idles."""
    if job["aborted"]:
        return "aborted"
    if not job["end_time"]:
        return "running"
    return "failed" if job["err"] else "finished"


class JobEnd:
    """Tells from the states of a job, one look after the other, when it has nothing left to do.

    Jobs that others may join idle for a minute before they end. Twice idle in a row is the end, for
    a target that has not begun yet idles as well.
    """

    def __init__(self) -> None:
        self._idle = False

    def is_reached(self, state: str) -> bool:
        """Take note of a state, and tell whether the job has ended with it, or as good as that."""
        idled, self._idle = self._idle, state == "idle"
        return state != "running" and (idled or not self._idle)


class ClusterFacts(Protocol):
    """Answers questions about the cluster. All methods may raise `FsError` children."""

    async def cluster(self) -> Json:
        """Return the cluster's identity, release, nodes and capacity in figures."""

    async def cluster_map(self) -> Json:
        """Return all nodes and their addresses."""

    async def health(self) -> Health:
        """Tell whether the cluster serves; one that is away does not."""

    async def nodes(self) -> list[str]:
        """Return the ids of all nodes."""

    async def node(self, node_id: str) -> Json:
        """Return a node's entry in the map and its own words; `NotFound` if there is none."""

    async def jobs(self) -> list[Json]:
        """Return the status of jobs that run, and of those that ended lately."""

    async def job(self, job_id: str) -> JobFacts:
        """Return what is known of a job; `NotFound` if there is none."""

    async def etls(self) -> list[Json]:
        """Return all transformers; none of a cluster that cannot run any."""

    async def etl(self, name: str) -> EtlFacts:
        """Return what is known of a transformer; `NotFound` if there is none."""

    async def etl_logs(self, name: str) -> dict[str, str]:
        """Return what a transformer wrote, by target."""

    async def buckets(self) -> list[BucketName]:
        """Return the names of all buckets that the cluster knows."""

    async def bucket_props(self, bucket: BucketName) -> Json:
        """Return a bucket's properties; `NotFound` if there is no such bucket."""

    async def bucket_summary(self, bucket: BucketName) -> Json:
        """Return how much a bucket holds on the cluster; the cluster counts it anew."""
