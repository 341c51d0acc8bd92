"""Jobs: their table, and the tasks that do their work.

A job is a row of the database and, while it runs, a task on the event loop. Every request gets a
job of its own, but for batches: those of a bucket share one, as in AIS. A row whose end is 0 when
the store starts belonged to a process that died; it is then marked aborted.
"""

import asyncio
import json
import logging
import secrets
import sqlite3
import string
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aisfs.server.http.errors import AisError
from aisfs.server.naming import BucketName

MAX_JOBS = 1024
"""Finished jobs remembered; the oldest go first, as in AIS."""

IDLE_NS = 60 * 10**9
"""How long a job of some kinds waits for more work before it ends, as in AIS."""

_IDLING = {"archive", "copy-listrange", "etl-listrange", "get-batch"}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    bucket TEXT NOT NULL, source TEXT NOT NULL, started INTEGER NOT NULL, ended INTEGER NOT NULL,
    objects INTEGER NOT NULL, size INTEGER NOT NULL, aborted INTEGER NOT NULL, error TEXT NOT NULL
)
"""
_ID_ALPHABET = string.ascii_letters + string.digits
_PREFIXES = {
    "copy-listrange": "tco-", "etl-listrange": "tco-", "etl-inline": "etl-", "archive": "",
    "get-batch": "gbt-",
}  # fmt: skip
_USER_ABORT = "user abort"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """A job. Times are nanoseconds since the epoch; `end_ns` is 0 while it runs.

    Attributes:
        id: What clients call it by.
        kind: AIS's name of the kind.
        bucket: The bucket that it changes, with an empty name if it has none.
        source: The bucket that it reads from, if that is another one.
        objects: Objects done so far.
        size: Their bytes.
        aborted: Whether it was stopped before its end.
        error: What went wrong, empty if nothing did.
        failed: Whether that is more than names of a list that were not there.
        transformers: Names of the transformers that it uses.
    """

    id: str
    kind: str
    bucket: BucketName
    source: BucketName | None = None
    start_ns: int = field(default_factory=time.time_ns)
    end_ns: int = 0
    objects: int = 0
    size: int = 0
    aborted: bool = False
    error: str = ""
    failed: bool = False
    transformers: frozenset[str] = frozenset()
    _more: int = 0

    @property
    def running(self) -> bool:
        """Whether it works."""
        return not self.end_ns

    @property
    def idle(self) -> bool:
        """Whether its work is done but AIS would keep it, in case that there is more of it."""
        over = self.aborted or self.failed or self.running or self.kind not in _IDLING
        return not over and time.time_ns() - self.end_ns < IDLE_NS

    @property
    def alive(self) -> bool:
        """Whether AIS counts it as running: it works, or is idle."""
        return self.running or self.idle

    def note_error(self, text: str, *, missing: bool = False) -> None:
        """Remember what went wrong with one object; the job goes on.

        Args:
            text: What happened.
            missing: Whether it was only that a list named an object that is not there.
        """
        self.failed = self.failed or not missing
        if not self.error:
            self.error = text
            return
        first = self.error.removesuffix(_more_errors(self._more))
        self._more += 1
        self.error = first + _more_errors(self._more)


def _more_errors(count: int) -> str:
    if not count:
        return ""
    return f" (and {count} more error{'s' if count > 1 else ''})"


Work = Callable[[Job], Awaitable[None]]


class Jobs:
    """The table of jobs. Lives on the event loop; `db` is the loop's connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._tasks: dict[str, set[asyncio.Task[Any]]] = {}
        db.execute(_SCHEMA)
        if "failed" not in {row[1] for row in db.execute("PRAGMA table_info(jobs)")}:
            db.execute("ALTER TABLE jobs ADD COLUMN failed INTEGER NOT NULL DEFAULT 0")
        db.execute(
            "UPDATE jobs SET ended=?, aborted=1, error='aborted: the store was restarted'"
            " WHERE ended=0",
            (time.time_ns(),),
        )
        rows = db.execute(
            "SELECT id, kind, bucket, source, started, ended, objects, size, aborted, error,"
            " failed FROM jobs ORDER BY number"
        )
        self._jobs = {row[0]: _job(*row) for row in rows}

    def start(
        self, kind: str, bucket: BucketName, work: Work, source: BucketName | None = None
    ) -> Job:
        """Start a job in the background; what `work` raises becomes its error."""
        job = self._add(kind, bucket, source)
        task = asyncio.get_running_loop().create_task(self._run(job, work))
        # Not in the task itself: one that is cancelled before its first step runs nothing.
        task.add_done_callback(lambda _: self._end(job))
        self._tasks[job.id] = {task}
        return job

    def join(self, kind: str, bucket: BucketName) -> Job:
        """Return the job of this kind and bucket that is alive, else a new one, which is idle."""
        found = self.find(kind=kind, bucket=bucket)
        alive = (job for job in found if job.alive and not job.aborted)
        return next(alive, None) or self.add_finished(kind, bucket)

    @contextmanager
    def working(self, job: Job) -> Iterator[None]:
        """Let the current task be work of a job of a kind that idles; an abort cancels it.

        Raises:
            AisError: 400 when the job is or was aborted.
        """
        task = asyncio.current_task()
        assert task is not None
        _refuse_aborted(job)
        job.end_ns = 0
        tasks = self._tasks.setdefault(job.id, set())
        tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if job.aborted:
                task.uncancel()
            _refuse_aborted(job)
            raise
        finally:
            tasks.discard(task)
            if not tasks:
                self._end(job)

    def add_finished(
        self,
        kind: str,
        bucket: BucketName,
        source: BucketName | None = None,
        *,
        job_id: str = "",
    ) -> Job:
        """Note a job whose work was done inside its request, under an id of its own if given."""
        job = self._add(kind, bucket, source, job_id)
        self._end(job)
        return job

    def _add(
        self, kind: str, bucket: BucketName, source: BucketName | None, job_id: str = ""
    ) -> Job:
        job = Job(job_id or _new_id(kind), kind, bucket, source)
        self._db.execute(
            "INSERT INTO jobs (id, kind, bucket, source, started, ended, objects, size, aborted,"
            " error) VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, '')",
            (job.id, kind, _dump(bucket), _dump(source), job.start_ns),
        )
        self._jobs[job.id] = job
        self._forget_oldest()
        return job

    def _forget_oldest(self) -> None:
        if len(self._jobs) <= MAX_JOBS:
            return
        oldest = next((job for job in self._jobs.values() if not job.running), None)
        if oldest is not None:
            del self._jobs[oldest.id]
            self._db.execute("DELETE FROM jobs WHERE id=?", (oldest.id,))

    async def _run(self, job: Job, work: Work) -> None:
        try:
            await work(job)
        except asyncio.CancelledError:
            job.aborted = True
        except AisError as error:
            job.note_error(error.message.rpartition(" List/Range: ")[2])
        except (OSError, sqlite3.Error) as error:
            _log.warning("job %s[%s] failed: %s", job.kind, job.id, error)
            job.note_error(str(error))
        except Exception as error:  # noqa: BLE001 -- a bug in one job must not hide its end
            _log.exception("job %s[%s] failed", job.kind, job.id)
            job.note_error(f"{type(error).__name__}: {error}")

    def _end(self, job: Job) -> None:
        self._tasks.pop(job.id, None)
        job.end_ns = time.time_ns()
        self.save(job)

    def save(self, job: Job) -> None:
        """Write a job's state."""
        try:
            self._db.execute(
                "UPDATE jobs SET ended=?, objects=?, size=?, aborted=?, error=?, failed=?"
                " WHERE id=?",
                (*_state(job), job.id),
            )
        except sqlite3.Error as error:  # a full disk: the job is known until the next start
            _log.warning("cannot record job %s[%s]: %s", job.kind, job.id, error)

    def abort(self, job: Job, reason: str = _USER_ABORT) -> None:
        """Ask a running job to stop, end an idle one; what it did so far stays."""
        if job.aborted or not job.alive:
            return
        idle = job.idle
        job.aborted = True
        job.note_error(reason)
        for task in self._tasks.get(job.id, ()):
            task.cancel()
        if idle:
            self._end(job)

    def abort_idle(self, bucket: BucketName, reason: str) -> None:
        """End what is idle of a bucket that is gone."""
        for job in self.find(bucket=bucket):
            if job.idle and bucket == (job.source or job.bucket):
                self.abort(job, reason)

    async def stop(self) -> None:
        """Abort all running jobs and wait for their end."""
        tasks = [task for tasks in self._tasks.values() for task in tasks]
        for job in self._jobs.values():
            if job.running:
                self.abort(job, "aborted: the store was stopped")
        if tasks:
            await asyncio.wait(tasks)

    def find(
        self, job_ids: set[str] | None = None, kind: str = "", bucket: BucketName | None = None
    ) -> list[Job]:
        """Return the jobs with one of the ids, of a kind, of a bucket (each: any), oldest first."""
        return [
            job
            for job in self._jobs.values()
            if (job_ids is None or job.id in job_ids)
            and (not kind or job.kind == kind)
            and (bucket is None or bucket in {job.bucket, job.source})
        ]


def _refuse_aborted(job: Job) -> None:
    """Refuse work for a job that was aborted.

    Raises:
        AisError: 400.
    """
    if job.aborted:
        raise AisError(400, job.error)


def _new_id(kind: str) -> str:
    """Return an id that begins with a letter; archives and group copies have longer ones."""
    length = 9 if kind in _PREFIXES else 8
    tail = "".join(secrets.choice(_ID_ALPHABET) for _ in range(length))
    return _PREFIXES.get(kind, "") + secrets.choice(string.ascii_letters) + tail


def _state(job: Job) -> tuple[object, ...]:
    return (job.end_ns, job.objects, job.size, job.aborted, job.error, job.failed)


def _dump(name: BucketName | None) -> str:
    if name is None:
        return ""
    return json.dumps([name.name, name.provider, name.uuid, name.namespace])


def _load(text: str) -> BucketName | None:
    return BucketName(*json.loads(text)) if text else None


def _job(
    job_id: str, kind: str, bucket: str, source: str, started: int, ended: int, *rest: object
) -> Job:
    objects, size, aborted, error, failed = rest
    return Job(
        job_id,
        kind,
        _load(bucket) or BucketName(""),
        _load(source),
        started,
        ended,
        int(str(objects)),
        int(str(size)),
        bool(aborted),
        str(error),
        bool(failed),
    )
