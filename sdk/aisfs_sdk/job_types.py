"""What clusters tell of jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from aisfs_sdk.namespace import Namespace

__all__ = [
    "AggregatedJobSnap",
    "JobSnap",
    "JobSnapshot",
    "JobStats",
    "JobStatus",
    "WaitResult",
    "decode_snapshots",
]

_NEVER = datetime(1, 1, 1, tzinfo=UTC)


class WaitResult(NamedTuple):
    """How a wait for a job ended. True where the job succeeded.

    Attributes:
        job_id: of the job.
        success: it ended, was not stopped, and nothing failed.
        error: what the cluster says went wrong, "" if nothing.
        end_time: when it ended; None for one that idles.
    """

    job_id: str
    success: bool
    error: str = ""
    end_time: datetime | None = None

    def __bool__(self) -> bool:
        return self.success


class JobStatus(msgspec.Struct):
    """A job's state, over all targets.

    Attributes:
        uuid: id of the job.
        err: what went wrong; a job may have finished all the same.
        end_time: nanoseconds since the epoch, 0 while it runs.
        aborted: somebody or something stopped it.
        kind: what it does.
    """

    uuid: str = ""
    err: str = ""
    end_time: int = 0
    aborted: bool = False
    kind: str = ""

    @property
    def finished(self) -> bool:
        """Whether it runs no more."""
        return bool(self.end_time)


class JobStats(msgspec.Struct):
    """What a job did on one target: here, sent to others, received from others."""

    objects: int = msgspec.field(default=0, name="loc-objs")
    bytes: int = msgspec.field(default=0, name="loc-bytes")
    out_objects: int = msgspec.field(default=0, name="out-objs")
    out_bytes: int = msgspec.field(default=0, name="out-bytes")
    in_objects: int = msgspec.field(default=0, name="in-objs")
    in_bytes: int = msgspec.field(default=0, name="in-bytes")


class _Bucket(msgspec.Struct, frozen=True):
    """A bucket in a snapshot; the name is empty where the job has none."""

    name: str = ""
    provider: str = ""
    namespace: Namespace | None = Namespace()


class JobSnapshot(msgspec.Struct):
    """What one target tells of one job.

    Attributes:
        id: of the job.
        kind: what it does.
        start_time: as the cluster writes it; `started` reads it.
        end_time: the same; `ended` reads it.
        bucket: that it works on; its name is empty where there is none.
        source_bck: that it reads.
        dest_bck: that it writes.
        rebalance_id: of a rebalance; newer clusters put numbers of their workers here.
        stats: what it did on this target.
        aborted: it was stopped.
        is_idle: nothing is left to do for now, or it has ended.
        abort_err: why it was stopped.
        err: what went wrong (not on clusters of 2023).
        ctlmsg: a line for people.
        ext: what only jobs of this kind tell.
    """

    id: str = ""
    kind: str = ""
    start_time: str = msgspec.field(default="", name="start-time")
    end_time: str = msgspec.field(default="", name="end-time")
    bucket: _Bucket = msgspec.field(default_factory=_Bucket, name="bck")
    source_bck: _Bucket = msgspec.field(default_factory=_Bucket, name="src-bck")
    dest_bck: _Bucket = msgspec.field(default_factory=_Bucket, name="dst-bck")
    rebalance_id: str = msgspec.field(default="", name="glob.id")
    stats: JobStats | None = None
    aborted: bool = False
    is_idle: bool = False
    abort_err: str = msgspec.field(default="", name="abort-err")
    err: str = ""
    ctlmsg: str = ""
    ext: Any = None

    @property
    def started(self) -> datetime | None:
        """When it began."""
        return _time(self.start_time)

    @property
    def ended(self) -> datetime | None:
        """When it ended, None while it runs."""
        return _time(self.end_time)


JobSnap = JobSnapshot


class AggregatedJobSnap(msgspec.Struct):
    """Snapshots by target.

    Attributes:
        snapshots: of each target; one that knows none has an empty list.
    """

    snapshots: dict[str, list[JobSnapshot]]

    def list_snapshots(self) -> list[JobSnapshot]:
        """Return the snapshots of all targets."""
        return [snap for snaps in self.snapshots.values() for snap in snaps]

    def of_job(self, job_id: str) -> AggregatedJobSnap:
        """Return only those of one job."""
        return AggregatedJobSnap(
            {
                target: [snap for snap in snaps if snap.id == job_id]
                for target, snaps in self.snapshots.items()
            }
        )

    @property
    def all_idle(self) -> bool:
        """Whether there are snapshots, and all of them idle or have ended."""
        snaps = self.list_snapshots()
        return bool(snaps) and all(snap.is_idle or snap.ended for snap in snaps)

    @property
    def all_finished(self) -> bool:
        """Whether there are snapshots, and all of them have ended."""
        snaps = self.list_snapshots()
        return bool(snaps) and all(snap.ended or snap.aborted for snap in snaps)

    @property
    def any_finished(self) -> bool:
        """Whether one of them has ended."""
        return any(snap.ended for snap in self.list_snapshots())

    @property
    def any_aborted(self) -> bool:
        """Whether the job was stopped on one of the targets."""
        return any(snap.aborted for snap in self.list_snapshots())

    @property
    def error(self) -> str:
        """What went wrong, of the first target that tells it."""
        texts = [text for snap in self.list_snapshots() for text in (snap.abort_err, snap.err)]
        return next((text for text in texts if text), "")

    @property
    def kind(self) -> str:
        """What the job does, "" without snapshots."""
        return next((snap.kind for snap in self.list_snapshots()), "")

    @property
    def end_time(self) -> datetime | None:
        """When the last target ended, None while one still runs."""
        ends = [snap.ended for snap in self.list_snapshots()]
        return None if None in ends else max((end for end in ends if end), default=None)

    def get_total_time(self) -> timedelta | None:
        """Return the time from the first start to the last end, None while one target runs."""
        end = self.end_time
        starts = [snap.started for snap in self.list_snapshots()]
        start = min((start for start in starts if start), default=None)
        return None if end is None or start is None else end - start


def decode_snapshots(data: bytes) -> AggregatedJobSnap:
    """Return the snapshots that a reply holds.

    Raises:
        msgspec.DecodeError: it holds none.
    """
    kind = dict[str, list[JobSnapshot] | None] | None
    found = msgspec.json.decode(data, type=kind, strict=False) or {}
    return AggregatedJobSnap({target: snaps or [] for target, snaps in found.items()})


def _time(text: str) -> datetime | None:
    """Return a time as clusters write it, to the microsecond; None for "never" or nonsense."""
    whole, dot, rest = text.partition(".")
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        text = f"{whole}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return None if found <= _NEVER else found
