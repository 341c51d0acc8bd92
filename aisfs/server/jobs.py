"""Jobs, as far as this store has them: work is done inside its request, the job is born finished.

Clients wait for jobs by id, so every job-like request gets an id of its own, and status and
snapshot of it say "finished" from then on (`cluster.py` answers them).
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, field

from aisfs.server.naming import BucketName

MAX_JOBS = 1024
"""Finished jobs remembered; the oldest go first, as in AIS."""


@dataclass(frozen=True, slots=True)
class Job:
    """A finished job. Times are nanoseconds since the epoch."""

    id: str
    kind: str
    bucket: BucketName
    objects: int = 0
    size: int = 0
    error: str = ""
    end_ns: int = field(default_factory=time.time_ns)
    source: BucketName | None = None


class Jobs:
    """The table of finished jobs, newest last."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def add(self, job: Job) -> str:
        """Remember a finished job; returns its id."""
        self._jobs[job.id] = job
        while len(self._jobs) > MAX_JOBS:
            self._jobs.popitem(last=False)
        return job.id

    def find(self, job_id: str = "", kind: str = "") -> list[Job]:
        """Return the jobs with an id (empty: any) and kind (empty: any), oldest first."""
        return [
            job
            for job in self._jobs.values()
            if (not job_id or job.id == job_id) and (not kind or job.kind == kind)
        ]
