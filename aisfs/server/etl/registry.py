"""The store's transformers: defined, started, watched, stopped.

```
(init) ─▶ Initializing ── ready ─▶ Running ── stop, death of the process ─▶ Aborted ── start ─┐
               ▲    └── failed, timed out ─────────────────────────────────▶   │              │
               └──────────────────────────────────────────────────────────────────────────────┘
```

One process serves all targets: they are one process themselves, and every one of them answers the
object requests of every transformer. Definitions are files; a store that starts again knows its
transformers as Aborted and runs nothing until it is told to.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import shutil
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from aisfs.server.etl.definitions import Definition
from aisfs.server.etl.environments import Environments
from aisfs.server.etl.plans import Plan, make_plan
from aisfs.server.etl.processes import Process, launch, sweep
from aisfs.server.http.errors import AisError
from aisfs.server.naming import BucketName

if TYPE_CHECKING:
    from aisfs.server.jobs.table import Job, Jobs

INITIALIZING, RUNNING, ABORTED = "Initializing", "Running", "Aborted"
POLL_S = 0.05
"""Seconds between two looks whether a process is ready."""

MAX_ERRORS = 64
MAX_JOBS = 32
"""Jobs per transformer whose errors are remembered."""

READ_BUFFER = 1 << 20
KIND = "etl-inline"
_NOBODY = BucketName("")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Etl:
    """A transformer.

    Attributes:
        definition: What the client asked for.
        directory: Its files: definition, code, log, working directory of the process.
        stage: Initializing, Running or Aborted.
        job: The job that stands for its being up, if it is.
        process: What runs for it: the installer of its packages, then the transformer.
        port: Where it listens.
        key: What the store's own runner asks of its callers.
        secret: What a request for an object must name.
        objects: Objects transformed one by one since the start.
        read: Their bytes.
        written: Bytes of the results.
        errors: What went wrong with single reads.
        job_errors: What went wrong in jobs, by job id.
        halted: Whether it was told to stop while it came up.
        ended: Set when it is no longer up.
    """

    definition: Definition
    directory: Path
    stage: str = ABORTED
    job: "Job | None" = None
    process: Process | None = None
    port: int = 0
    key: str = ""
    secret: str = ""
    objects: int = 0
    read: int = 0
    written: int = 0
    errors: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MAX_ERRORS))
    job_errors: dict[str, deque[dict[str, Any]]] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    halted: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.definition.name

    @property
    def url(self) -> str:
        """Base URL of the process."""
        return f"http://127.0.0.1:{self.port}"

    def note_error(self, uri: str, error: AisError, job_id: str = "") -> None:
        """Remember what went wrong with an object, for the details."""
        message = "object not found" if error.status == 404 else error.message
        entry = {"obj_name": uri, "msg": message, "ecode": error.status}
        if not job_id:
            self.errors.append(entry)
            return
        if job_id not in self.job_errors and len(self.job_errors) >= MAX_JOBS:
            self.job_errors.pop(next(iter(self.job_errors)))
        self.job_errors.setdefault(job_id, deque(maxlen=MAX_ERRORS)).append(entry)


@dataclass(slots=True)
class Transfer:
    """Results that processes may put by themselves: to which bucket, and what has come."""

    bucket: BucketName
    names: set[str]
    arrived: dict[str, int] = field(default_factory=dict)


class Etls:
    """All transformers of a store. Lives on the event loop.

    Attributes:
        allowed: Whether the store was started with `--allow-etl`.
        files: Directory of the object files that processes are shown.
        transfers: By the id that direct puts carry.
        authority: Where the certificate of a store with an own authority would be.
    """

    def __init__(self, root: Path, *, allowed: bool) -> None:
        self.allowed = allowed
        self.files = root / "files"
        self.transfers: dict[str, Transfer] = {}
        self.authority = root.parent / "tls" / "ca.pem"
        self._root = root
        self._table: dict[str, Etl] = {}
        self._session: aiohttp.ClientSession | None = None
        self._environments = Environments(root / "environments")
        self._watchers: set[asyncio.Task[None]] = set()
        if root.exists():
            self._recover()
        if allowed:
            shutil.rmtree(self.files, ignore_errors=True)
            for directory in (root, self.files, root / "environments"):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _recover(self) -> None:
        """Read the definitions, after ending what an earlier store left running."""
        for file in sorted(self._root.glob("*/pids")) + sorted(self._root.glob("*/*/pids")):
            sweep(file.parent)
        for file in sorted(self._root.glob("*/definition.json")):
            try:
                definition = Definition(**json.loads(file.read_text()))
            except (OSError, ValueError, TypeError) as error:
                _log.warning("cannot read %s: %s", file, error)
                continue
            self._table[definition.name] = Etl(definition, file.parent)

    @property
    def session(self) -> aiohttp.ClientSession:
        """The client that calls processes: bytes as they are, redirects as they are."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                read_bufsize=READ_BUFFER,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    def all(self) -> list[Etl]:
        """Return all transformers, by name."""
        return [self._table[name] for name in sorted(self._table)]

    def find(self, name: str) -> Etl | None:
        """Return a transformer, whatever its stage."""
        return self._table.get(name)

    def running(self, name: str) -> Etl | None:
        """Return a transformer that is up."""
        etl = self._table.get(name)
        return etl if etl is not None and etl.stage == RUNNING else None

    # ---- life -------------------------------------------------------------------------------

    def define(self, definition: Definition) -> Etl:
        """Take up a definition under a free name and write it down.

        Raises:
            OSError: it cannot be written.
        """
        etl = Etl(definition, self._root / definition.name)
        # A directory without a definition is of one that was deleted half.
        shutil.rmtree(etl.directory, ignore_errors=True)
        etl.directory.mkdir(mode=0o700)
        partial = etl.directory / "definition.partial"
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(asdict(definition)))
        partial.rename(etl.directory / "definition.json")
        self._table[etl.name] = etl
        return etl

    async def start(self, etl: Etl, jobs: "Jobs", target_url: str, label: str) -> None:
        """Bring a transformer up.

        Args:
            etl: One that is Aborted.
            jobs: The job table.
            target_url: Base of the URL that the process finds objects at; the secret is added.
            label: How messages name the target.

        Raises:
            AisError: 400 with what the process said last.
        """
        etl.stage, etl.halted = INITIALIZING, False
        etl.secret = secrets.token_urlsafe(16)
        etl.ended = asyncio.Event()
        etl.objects = etl.read = etl.written = 0
        url = f"{target_url}/{etl.secret}"
        try:
            async with asyncio.timeout(etl.definition.init_s):
                authority = self.authority if self.authority.exists() else None
                plan = await asyncio.to_thread(
                    make_plan, etl.definition, etl.directory, url, authority
                )
                await self._bring_up(etl, plan)
        except TimeoutError:
            failure = self._timeout_text(etl)
            await self._end_process(etl)
            raise AisError(400, _context(etl, label) + failure, "ErrETL") from None
        except _Exited as error:
            failure = _failure(etl.name, str(error), "canceled")
            raise AisError(400, _context(etl, label) + failure, "ErrETL") from None
        finally:
            if etl.process is None or not etl.process.running or not etl.port:
                await self._end_process(etl)
                etl.stage = ABORTED
        etl.stage = RUNNING
        etl.job = jobs.start(KIND, _NOBODY, lambda _: self._live(etl))
        watcher = asyncio.get_running_loop().create_task(self._watch(etl, jobs))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _bring_up(self, etl: Etl, plan: Plan) -> None:
        def took_over(process: Process) -> None:
            etl.process = process

        try:
            packages = await self._environments.prepare(
                plan.interpreter, plan.requirements, took_over
            )
            if etl.halted:
                raise AisError(400, f'[etl="{etl.name}"] was stopped while it started', "ErrETL")
            etl.process = process = await launch(plan.order(etl.directory, packages))
            etl.key = plan.key
            await self._until_ready(process, plan)
            etl.port = plan.port
        finally:
            plan.close()

    async def _until_ready(self, process: Process, plan: Plan) -> None:
        """Wait until the probe answers.

        Raises:
            _Exited: the process ended instead.
        """
        plan.close()
        ended = asyncio.ensure_future(process.wait())
        url = f"http://127.0.0.1:{plan.port}{plan.probe}"
        try:
            while not ended.done():
                if await self._probe(url) and not ended.done():
                    return
                await asyncio.wait([ended], timeout=POLL_S)
            raise _Exited(process, ended.result())
        finally:
            ended.cancel()

    async def _probe(self, url: str) -> bool:
        timeout = aiohttp.ClientTimeout(total=5)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self.session.get(url, timeout=timeout, allow_redirects=False) as answer:
                return 200 <= answer.status < 400
        return False

    def _timeout_text(self, etl: Etl) -> str:
        state = "state: Waiting, reason: Installing"
        words = ""
        if etl.process is not None:
            words = etl.process.log_tail()
            if etl.process.order.directory == etl.directory:
                state = "state: Running, reason: Running"
        return _failure(etl.name, f"{state}, message: {words}, exitCode: 0", "deadline exceeded")

    async def _live(self, etl: Etl) -> None:
        """The job of a transformer: lasts as long as it is up; aborting it ends the process."""
        try:
            await etl.ended.wait()
        finally:
            await self._end_process(etl)

    async def _watch(self, etl: Etl, jobs: "Jobs") -> None:
        """Notice the end of the process, whoever ended it."""
        process, job = etl.process, etl.job
        assert process is not None
        assert job is not None
        code = await process.wait()
        etl.stage = ABORTED
        if not process.stopped:
            _log.warning("transformer %s ended with code %d", etl.name, code)
            job.aborted = True
            job.note_error(f"the process ended with code {code}")
        self.abort_jobs(etl, jobs)
        etl.ended.set()

    def abort_jobs(self, etl: Etl, jobs: "Jobs") -> None:
        """End the jobs that use a transformer."""
        for job in jobs.find():
            if job.running and etl.name in job.transformers:
                jobs.abort(job)

    async def _end_process(self, etl: Etl) -> None:
        process, etl.port, etl.secret = etl.process, 0, ""
        if process is not None:
            await process.stop()

    async def stop(self, etl: Etl, jobs: "Jobs") -> None:
        """End a transformer's jobs, then its process, and wait until it is gone."""
        etl.halted = True
        self.abort_jobs(etl, jobs)
        await self._end_process(etl)
        if etl.stage == RUNNING:
            await etl.ended.wait()

    async def delete(self, etl: Etl, jobs: "Jobs") -> None:
        """Stop a transformer and forget it."""
        await self.stop(etl, jobs)
        if self._table.get(etl.name) is etl:
            del self._table[etl.name]
            shutil.rmtree(etl.directory, ignore_errors=True)

    async def close(self, jobs: "Jobs") -> None:
        """End everything, at the end of the store."""
        await asyncio.gather(*(self.stop(etl, jobs) for etl in self._table.values()))
        if self._watchers:
            await asyncio.wait(self._watchers)
        if self._session is not None:
            await self._session.close()


class _Exited(Exception):
    """A process ended before it was ready."""

    def __init__(self, process: Process, code: int) -> None:
        reason = "Error" if code else "Completed"
        super().__init__(
            f"state: Terminated, reason: {reason}, message: {process.log_tail()}, exitCode: {code}"
        )


def _context(etl: Etl, label: str) -> str:
    """Return what AIS puts before a failed start."""
    pod = f"{etl.name}-{label[2:-1].lower()}"
    return f'[{label},pod="{pod}",service="{pod}",'


def _failure(name: str, status: str, end: str) -> str:
    """Return why a start failed, quoted as Go does."""
    quoted = json.dumps(f"container: {name}, {status}", ensure_ascii=False)
    return f"pod_status={quoted}] context {end}"
