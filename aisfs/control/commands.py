"""Commands to the cluster that are written to a control file, or set as an attribute.

Serves `vfs/control_tree` and `vfs/filesystem`. Each write is one transaction: its lines are carried
out one after the other until one fails, and the writer is told how many bytes of them were done, or
the errno of the first. Nothing is kept from one write to the next, and nothing happens at close:
shells do not look at its errors.

    write ─▶ lines ─▶ grammar ─▶ console ─▶ verb ─▶ store/cluster_work ─▶ the answer, and `last`
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import trio

from aisfs.control import consoles
from aisfs.control.files import PersonalFile, escaped
from aisfs.control.grammar import Words, parse
from aisfs.control.job_watch import JobWatch
from aisfs.control.verbs import Arguments
from aisfs.control.waits import wait_for
from aisfs.errors import (
    ArgumentsTooLong,
    FsError,
    Invalid,
    IoFailure,
    NoAttribute,
    NotFound,
    errno_name,
)
from aisfs.store.cluster_work import Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.config import BucketName
    from aisfs.control.consoles import Console
    from aisfs.control.events import Events
    from aisfs.control.files import Caller
    from aisfs.control.verbs import Answer, Resolve, Verb
    from aisfs.store.cluster_facts import ClusterFacts
    from aisfs.store.cluster_work import ClusterWork

log = logging.getLogger(__name__)

LONGEST_WRITE = 64 << 10
"""Bytes of commands that one write may bring."""

GOES_ON = "ok\tgoes on"
"""The answer to a command that its program cannot wait for; `last` tells how it ended. No errno:
programs may do again what a signal has interrupted, and there would be two."""

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")

_MOST_KEPT = 1024
"""Users whose last command, and places whose last job, are remembered."""

_ABORT = Words("abort", (), {})

K = TypeVar("K")


class Cluster(Protocol):
    """What a store is to commands."""

    @property
    def work(self) -> ClusterWork:
        """What it can be told to do."""

    @property
    def facts(self) -> ClusterFacts:
        """What it tells."""


class _Given:
    """One command that was given, and what becomes of it."""

    def __init__(self, line: str, caller: Caller) -> None:
        self.line = line.strip()
        self.shown = escaped(self.line)
        self.caller = caller
        self.over = trio.Event()
        self.answer = ""
        self.error: FsError | None = None


class Commands:
    """Carries out the commands of a mount.

    Args:
        cluster: does the work, and tells of jobs.
        resolve: finds what an operand names.
        changed: learns which objects may be others now.
        check: refuses verbs that this mount does not pass on, with `NotPermitted`.
        nursery: in which commands run.
        events: learns of each command, and when the job that it started has ended.
    """

    def __init__(
        self,
        cluster: Cluster,
        resolve: Resolve,
        changed: Callable[[Place], Awaitable[None]],
        check: Callable[[Verb[Any]], None],
        nursery: trio.Nursery,
        events: Events,
    ) -> None:
        self._cluster = cluster
        self._resolve = resolve
        self._changed = changed
        self._check = check
        self._nursery = nursery
        self._events = events
        self._watch = JobWatch(cluster.facts, events)
        nursery.start_soon(self._watch.run)
        self._last: OrderedDict[int, str] = OrderedDict()
        self._jobs: OrderedDict[str, str] = OrderedDict()

    def files(self) -> list[PersonalFile]:
        """Return the control files by which commands come, and by which is told of them."""

        async def last(caller: Caller) -> str:
            return self.last(caller.uid)

        return [
            self.control_file(consoles.of_cluster(self._cluster.work)),
            PersonalFile("last", last),
        ]

    def of_bucket(self, bucket: BucketName) -> PersonalFile:
        """Return the control file of a bucket."""
        return self.control_file(consoles.of_place(self._cluster.work, Place(bucket, "")))

    def of_job(self, job_id: str) -> PersonalFile:
        """Return the control file of a job."""
        return self.control_file(consoles.of_job(self._cluster.work, job_id))

    def of_etl(self, name: str) -> PersonalFile:
        """Return the control file of a transformer."""
        return self.control_file(consoles.of_etl(self._cluster.work, name))

    def control_file(self, console: Console[Any]) -> PersonalFile:
        """Return the control file of a console: reading it lists what can be written."""

        async def verbs(_: Caller) -> str:
            return console.shown()

        return PersonalFile("ctl", verbs, partial(CommandSink, self, console), private=True)

    def last(self, uid: int) -> str:
        """Return what became of a user's last command; "" if there was none."""
        return self._last.get(uid, "")

    async def run(self, console: Console[Any], line: str, caller: Caller) -> str:
        """Carry out one command and return its answer; "" for an empty line.

        Raises:
            Invalid: the line is no command of the console.
            NotPermitted: this mount does not pass the verb on.
            FsError: the cluster did not do it.
        """
        shown = f"{line.strip()} ({console.subject})" if console.subject else line
        return await self._noted(shown, caller, partial(self._carry_out_line, console, line))

    async def run_on(self, place: Place, value: str, caller: Caller) -> None:
        """Carry out a command that is set as the attribute of a file or directory; as `run`.

        `abort` alone stops the job that the last one started.
        """
        work = partial(self._carry_out_on, place, value)
        await self._noted(f"{value} ({place})", caller, work)

    async def job_of(self, place: Place) -> str:
        """Return id and state of the job that the last command on a place started.

        Raises:
            NoAttribute: none did.
        """
        job_id = self._jobs.get(str(place))
        if job_id is None:
            raise NoAttribute(f"no command on {place} has started a job")
        return f"{job_id} {(await self._cluster.facts.job(job_id)).state}"

    async def _noted(self, line: str, caller: Caller, work: Callable[[], Awaitable[str]]) -> str:
        """Carry out a command and return its answer, or that it goes on by itself."""
        given = _Given(line, caller)
        self._nursery.start_soon(self._run, given, work)
        if not await wait_for(given.over, caller.pid):
            self._note(given, GOES_ON)
            return GOES_ON
        if given.error is not None:
            raise given.error
        return given.answer

    async def _run(self, given: _Given, work: Callable[[], Awaitable[str]]) -> None:
        try:
            given.answer = await work()
        except FsError as error:
            given.error = error
        except Exception as error:  # a bug must not end the mount
            log.exception("carrying out a command")
            given.error = IoFailure(f"an error in aisfs itself: {error!r}")
        given.over.set()
        self._note(given, given.answer)

    def _note(self, given: _Given, answer: str) -> None:
        """Log and tell what became of a command, and keep it as the user's last."""
        who = f"uid {given.caller.uid}, pid {given.caller.pid}"
        if given.error is not None:
            name = errno_name(given.error.errno)
            text = " ".join(str(given.error).split())
            _keep(self._last, given.caller.uid, f"error\t{name}\t{given.shown}\t{text}\n")
            log.warning("command of %s: %s: %s %s", who, given.shown, name, text)
            self._tell(given, "error", error=name, message=text)
        elif answer:
            result = answer.removeprefix("ok").lstrip()
            _keep(self._last, given.caller.uid, f"ok\t{given.shown}\t{result}\n")
            log.info("command of %s: %s: %s", who, given.shown, answer)
            word, _, job_id = result.partition("\t")
            if word == "job":
                self._watch.add(job_id)
                self._tell(given, "ok", job=job_id)
            else:
                self._tell(given, "goes-on" if answer == GOES_ON else "ok")

    def _tell(self, given: _Given, result: str, **more: str) -> None:
        who = given.caller
        self._events.tell(
            "command", uid=who.uid, pid=who.pid, command=given.line, result=result, **more
        )

    async def _carry_out_line(self, console: Console[Any], line: str) -> str:
        words = parse(line)
        return "" if words is None else str(await self._carry_out(console, words))

    async def _carry_out_on(self, place: Place, value: str) -> str:
        words, work = parse(value), self._cluster.work
        console = consoles.of_place(work, place)
        if words is None:
            raise Invalid(f"{value!r} is no command: {', '.join(console.verbs)} are")
        if words == _ABORT:
            job_id = self._jobs.get(str(place))
            if job_id is None:
                raise NotFound(f"no command on {place} has started a job")
            return str(await self._carry_out(consoles.of_job(work, job_id), words))
        answer = await self._carry_out(console, words)
        if answer.job:
            _keep(self._jobs, str(place), answer.job)
        return str(answer)

    async def _carry_out(self, console: Console[Any], words: Words) -> Answer:
        verb, words = console.complete(words)
        self._check(verb)
        arguments = Arguments(words, self._resolve)
        try:
            return await verb.run(console.work, arguments)
        finally:
            for place in arguments.places:
                await self._changed(place)


def _keep(known: OrderedDict[K, str], key: K, value: str) -> None:
    """Remember something, and forget the oldest where there is too much."""
    known[key] = value
    known.move_to_end(key)
    if len(known) > _MOST_KEPT:
        known.popitem(last=False)


class CommandSink:
    """Takes the commands that one handle writes; shows the answers to the last write."""

    def __init__(self, commands: Commands, console: Console[Any], caller: Caller) -> None:
        self._commands = commands
        self._console = console
        self._caller = caller
        self._answers = ""

    async def write(self, data: bytes) -> int:
        """Carry out lines; return the bytes of those that were.

        Raises:
            ArgumentsTooLong: there are more than one write may bring.
            FsError: the first of them failed.
        """
        if len(data) > LONGEST_WRITE:
            raise ArgumentsTooLong(f"one write brings at most {LONGEST_WRITE} bytes of commands")
        self._answers, done = "", 0
        for line in _LINE.findall(data):
            try:
                text = line.decode("utf-8", "surrogateescape")
                answer = await self._commands.run(self._console, text, self._caller)
            except FsError:
                self._answers += self._commands.last(self._caller.uid)
                if done:
                    return done
                raise
            done += len(line)
            if answer:
                self._answers += f"{answer}\n"
        return done

    def shown(self) -> str:
        """Return the answers to the last write, one line per command."""
        return self._answers

    def close(self) -> None:
        """Take note that no more comes: nothing is left to be done."""
