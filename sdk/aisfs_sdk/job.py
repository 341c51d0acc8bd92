"""A job of the cluster: its state, waiting for it, starting and stopping it.

Clusters answer two questions about a job. Its *status* is kept by a gateway, for some kinds only
and for minutes; its *snapshots* come from every target, for every kind and for an hour. `wait` asks
for the status, and for snapshots where there is none.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from aisfs_sdk import const, errors
from aisfs_sdk.calls import JSON_HEADERS, Answer, Call
from aisfs_sdk.job_types import AggregatedJobSnap, JobSnapshot, JobStatus, WaitResult
from aisfs_sdk.job_types import decode_snapshots as _decode_snapshots
from aisfs_sdk.types import ActionMsg, encode_message
from aisfs_sdk.utils import probing_frequency
from aisfs_sdk.xact_const import IDLE_KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisfs_sdk.bucket import Bucket
    from aisfs_sdk.request_client import RequestClient

log = logging.getLogger(__name__)

_FIRST_WAIT_S = 0.1
_CLUSTER = f"/{const.URL_PATH_VERSION}/{const.URL_PATH_CLUSTER}"


class Job:
    """A job, known by id, by kind, or by both. Making one sends nothing.

    Args:
        client: sends its requests.
        job_id: id of one job; "" for all of a kind.
        job_kind: what it does, such as `copy-bck` or `lru`; "" for any.
    """

    def __init__(self, client: RequestClient, job_id: str = "", job_kind: str = "") -> None:
        self._client = client
        self._job_id = job_id
        self._job_kind = job_kind

    def __repr__(self) -> str:
        return f"<Job {self._job_kind}[{self._job_id}]>"

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self._job_id

    @property
    def job_kind(self) -> str:
        """What it does."""
        return self._job_kind

    # ---- asking ----

    def status(self) -> JobStatus:
        """Return the job's state over all targets.

        Clusters keep none for jobs of some kinds (copies and transforms of groups of objects,
        archives): ask `get_details` about those. Clusters of 2023 answer for a failed job with its
        failure; that becomes a status with `err`.

        AIS: GET /v1/cluster?what=status.

        Raises:
            ValueError: there is no id.
            JobInfoNotFound: no status of such a job is known.
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        if not self._job_id:
            msg = "the status of a job is known by its id, and there is none"
            raise ValueError(msg)
        try:
            answer = self._query(const.WHAT_STATUS)
        except errors.InvalidRequestError as error:
            if f"[{self._job_id}]" not in error.message or "kind mismatch" in error.message:
                raise
            ended = time.time_ns()
            return JobStatus(self._job_id, error.message, ended, aborted=False, kind=self._job_kind)
        except errors.AISError as error:
            if error.status_code == 404:
                raise _not_found(error) from error
            raise
        return msgspec.json.decode(answer.content, type=JobStatus, strict=False)

    def get_details(self) -> AggregatedJobSnap:
        """Return what each target tells of the job.

        AIS: GET /v1/cluster?what=qryxstats.

        Raises:
            ValueError: there is neither id nor kind.
            JobInfoNotFound: no target knows the job.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        if not (self._job_id or self._job_kind):
            msg = "give the id or the kind of a job: without both, all jobs would be told"
            raise ValueError(msg)
        try:
            answer = self._query(const.WHAT_QUERY_XACT_STATS)
        except errors.AISError as error:
            if error.status_code == 404:
                raise _not_found(error) from error
            raise
        found = _decode_snapshots(answer.content)
        return found.of_job(self._job_id) if self._job_id else found

    def get_within_timeframe(
        self, start_time: datetime, end_time: datetime | None = None
    ) -> list[JobSnapshot]:
        """Return the snapshots of jobs that ran within a time, whole or in part.

        AIS: GET /v1/cluster?what=qryxstats.

        Args:
            start_time: of the time; without a zone it is local time.
            end_time: of the time, None for now.

        Raises:
            JobInfoNotFound: there are none.
            ValueError, AISError, requests.RequestException: see `get_details`.
        """
        begin = start_time.astimezone(UTC)
        end = (end_time or datetime.now(UTC)).astimezone(UTC)
        found = [
            snap
            for snap in self.get_details().list_snapshots()
            if snap.started and snap.started <= end and (snap.ended is None or snap.ended >= begin)
        ]
        if not found:
            msg = f"no {self!r} ran between {begin:%F %T} and {end:%F %T} UTC"
            raise errors.JobInfoNotFound(msg)
        return found

    def get_total_time(self) -> timedelta | None:
        """Return the time from the first start to the last end, None while it runs.

        Errors: see `get_details`.
        """
        return self.get_details().get_total_time()

    # ---- waiting ----

    def wait(
        self, timeout: float = const.DEFAULT_JOB_WAIT_TIMEOUT, verbose: bool = True
    ) -> WaitResult:
        """Wait until the job has ended, or, if it is of a kind that never ends, idles.

        A failure of the job is logged and told in the result; it raises nothing.

        AIS: GET /v1/cluster?what=status, or ?what=qryxstats.

        Args:
            timeout: longest time to wait, in seconds.
            verbose: log, at level INFO, that the job is waited for.

        Returns:
            How it ended; it is true if the job succeeded.

        Raises:
            Timeout: it has not ended in time.
            ValueError: there is no id.
            JobInfoNotFound: the cluster knows no such job.
            AISError: the cluster refused or failed the question.
            requests.RequestException: the network failed.
        """
        if self._job_kind in IDLE_KINDS:
            return self.wait_for_idle(timeout, verbose)
        clock = Clock(timeout, verbose, self)
        while True:
            try:
                status = self.status()
            except errors.JobInfoNotFound:
                # Of a kind without status, as the snapshots will tell; or not at all.
                self._job_kind = self._job_kind or self.get_details().kind
                return self._wait_for_snapshots(clock, idle=self._job_kind in IDLE_KINDS)
            if status.finished:
                success = not (status.err or status.aborted)
                ended = datetime.fromtimestamp(status.end_time / 1e9, UTC)
                return self._ended(WaitResult(self._job_id, success, status.err, ended))
            clock.sleep("job to finish")

    def wait_for_idle(
        self, timeout: float = const.DEFAULT_JOB_WAIT_TIMEOUT, verbose: bool = True
    ) -> WaitResult:
        """Wait until every target says that it has nothing left to do for the job.

        Jobs that other requests may join (copies and transforms of groups of objects, archives)
        do not end by themselves for a minute; they idle some seconds after their last work.

        AIS: GET /v1/cluster?what=qryxstats.

        Args:
            timeout: longest time to wait, in seconds.
            verbose: log, at level INFO, that the job is waited for.

        Returns:
            How it went; it is true if nothing failed and nobody stopped it.

        Raises:
            Timeout: it was still at work, or unknown, when the time was over.
            AISError: the cluster refused or failed the question.
            requests.RequestException: the network failed.
            ValueError: there is neither id nor kind.
        """
        return self._wait_for_snapshots(Clock(timeout, verbose, self), idle=True)

    def wait_single_node(
        self, timeout: float = const.DEFAULT_JOB_WAIT_TIMEOUT, verbose: bool = True
    ) -> WaitResult:
        """Wait until one target has ended: for jobs that run on one target, such as blob downloads.

        Arguments, result and errors are those of `wait_for_idle`.
        """
        clock = Clock(timeout, verbose, self)
        while True:
            found = self._known_details()
            ended = [snap for snap in found.list_snapshots() if snap.ended or snap.aborted]
            if ended:
                return self._ended(self._result(found, ended[0].ended))
            clock.sleep("job to finish", self._unknown(found))

    def _wait_for_snapshots(self, clock: Clock, *, idle: bool) -> WaitResult:
        seen_idle = False
        while True:
            found = self._known_details()
            if found.any_aborted or found.all_finished:
                return self._ended(self._result(found, found.end_time))
            # Twice, for a target that has not begun yet idles as well.
            if idle and found.all_idle and seen_idle:
                return self._ended(self._result(found, None))
            seen_idle = found.all_idle
            goal = f"job '{self._job_id}' to reach idle state" if idle else "job to finish"
            clock.sleep(goal, self._unknown(found))

    def _known_details(self) -> AggregatedJobSnap:
        try:
            return self.get_details()
        except errors.JobInfoNotFound:
            return AggregatedJobSnap({})

    def _unknown(self, found: AggregatedJobSnap) -> str:
        if found.list_snapshots():
            return ""
        if not found.snapshots:
            return "No job information found."
        return f"No information found for job {self._job_id}."

    def _result(self, found: AggregatedJobSnap, ended: datetime | None) -> WaitResult:
        success = not (found.any_aborted or found.error)
        return WaitResult(self._job_id, success, found.error, ended)

    def _ended(self, result: WaitResult) -> WaitResult:
        if not result:
            log.warning("%r did not succeed: %s", self, result.error or "it was aborted")
        return result

    # ---- acting ----

    def start(
        self, daemon_id: str = "", force: bool = False, buckets: Sequence[Bucket] | None = None
    ) -> str:
        """Start a job of this kind.

        AIS: PUT /v1/cluster, action "start".

        Args:
            daemon_id: target that it is to run on, for kinds that run on one.
            force: run even if a bucket's properties speak against it, or other jobs.
            buckets: that it is to work on, for kinds that work on buckets.

        Returns:
            The job's id.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        value = self._value(daemon_id)
        models = [bucket.as_model().as_dict() for bucket in buckets or ()]
        if len(models) == 1:
            value["Bck"] = models[0]
        elif models:
            value["Buckets"] = models
        query = ""
        if force:
            # What counts to the cluster is in the message; the query is what AIS documents.
            value["Force"] = True
            query = f"{const.QPARAM_FORCE}=true"
        return text_of(self._act(const.ACT_START, value, query))

    def abort(self) -> None:
        """Stop the job, or all running jobs of this kind. What it did so far stays.

        The cluster stops it in the background; `wait` tells when it has ended.

        AIS: PUT /v1/cluster, action "stop".

        Raises:
            ValueError: there is neither id nor kind.
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        if not (self._job_id or self._job_kind):
            msg = "give the id or the kind of the job to stop"
            raise ValueError(msg)
        self._act(const.ACT_STOP, self._value(), "")

    def _value(self, daemon_id: str = "") -> dict[str, Any]:
        return {
            "ID": self._job_id,
            "Kind": self._job_kind,
            "DaemonID": daemon_id,
            "Bck": None,
            "Buckets": None,
        }

    def _query(self, what: str) -> Answer:
        call = Call(const.HTTP_METHOD_GET, _CLUSTER, f"what={what}", f"{what} of {self!r}")
        call.headers, call.body = JSON_HEADERS, encode_message(self._value())
        return self._client.send(call)

    def _act(self, action: str, value: dict[str, Any], query: str) -> Answer:
        call = Call(const.HTTP_METHOD_PUT, _CLUSTER, query, f"{action} {self!r}")
        call.headers, call.body = JSON_HEADERS, encode_message(ActionMsg(action, "", value))
        # Starting twice makes two jobs.
        call.repeatable = action == const.ACT_STOP
        return self._client.send(call)


class Clock:
    """The time of one wait: short pauses first, then as long as `probing_frequency` says."""

    def __init__(self, timeout_s: float, verbose: bool, job: object) -> None:
        self._end = time.monotonic() + timeout_s
        self._longest_s = probing_frequency(timeout_s)
        self._pause_s = _FIRST_WAIT_S
        self._level = logging.INFO if verbose else logging.DEBUG
        log.log(self._level, "waiting %s s at most for %r", timeout_s, job)

    def sleep(self, goal: str, detail: str = "") -> None:
        """Pause before the next look.

        Raises:
            Timeout: the time is over.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise errors.Timeout(goal, detail)
        time.sleep(min(self._pause_s, left))
        self._pause_s = min(self._pause_s * 1.5, self._longest_s)


def _not_found(error: errors.AISError) -> errors.JobInfoNotFound:
    return errors.JobInfoNotFound(
        error.status_code, error.message, str(error.request), error.tcode, error.response
    )


def text_of(answer: Answer) -> str:
    """Return the job id that an answer holds; some clusters put it into quotes."""
    return answer.content.decode(const.UTF_ENCODING, "replace").strip().strip('"')
