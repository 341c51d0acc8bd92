"""When jobs end that commands of a mount have started: looked for while somebody listens.

Serves `commands`. The cluster tells nobody by itself, so it is asked, once a second for each job;
while nobody reads `.aisfs/events` it is not asked at all.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError, NotFound
from aisfs.store.cluster_facts import JobEnd

if TYPE_CHECKING:
    from aisfs.control.events import Events
    from aisfs.store.cluster_facts import ClusterFacts

log = logging.getLogger(__name__)

MOST_WATCHED = 64
"""Jobs; the oldest are given up."""

PAUSE_S = 1.0

_MOST_UNKNOWN = 3
"""Times in a row that the cluster may not know a job: it may have just begun."""


@dataclass(slots=True)
class _Looks:
    """What was seen of a job so far: its states, and how often in a row it was unknown."""

    end: JobEnd = field(default_factory=JobEnd)
    unknown: int = 0


class JobWatch:
    """Tells when jobs have ended, or have nothing left to do."""

    def __init__(self, facts: ClusterFacts, events: Events) -> None:
        self._facts = facts
        self._events = events
        self._jobs: OrderedDict[str, _Looks] = OrderedDict()

    def add(self, job_id: str) -> None:
        """Watch a job."""
        self._jobs[job_id] = _Looks()
        if len(self._jobs) > MOST_WATCHED:
            self._jobs.popitem(last=False)

    async def run(self) -> None:
        """Look at all jobs again and again, for as long as somebody listens; until cancelled."""
        while True:
            await self._events.listened()
            for job_id, looks in list(self._jobs.items()):
                if await self._is_over(job_id, looks) and self._jobs.get(job_id) is looks:
                    del self._jobs[job_id]
            await trio.sleep(PAUSE_S)

    async def _is_over(self, job_id: str, looks: _Looks) -> bool:
        """Look at a job once, and tell if it has ended; also what nobody knows is over."""
        try:
            job = await self._facts.job(job_id)
        except NotFound:
            looks.unknown += 1
            return looks.unknown >= _MOST_UNKNOWN
        except FsError:
            return False  # the cluster is asked again
        except Exception:  # a bug must not end the mount
            log.exception("looking at job %s", job_id)
            return True
        looks.unknown = 0
        if not looks.end.is_reached(job.state):
            return False
        self._events.tell(
            "job", id=job_id, kind=job.kind, state=job.state, objects=job.objects, bytes=job.bytes,
            **({"error": job.error} if job.error else {}),
        )  # fmt: skip
        return True
