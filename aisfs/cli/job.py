"""`aisfs job`: the cluster's jobs: listed, shown, followed, stopped."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
import trio

from aisfs.cli.cluster import connection_options, run
from aisfs.cli.progress import progress
from aisfs.cli.sizes import in_words
from aisfs.cli.tables import print_rows
from aisfs.errors import NotFound
from aisfs.store.cluster_facts import JobEnd, listed_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import ProgressColumn

    from aisfs.store.aistore import AISStore
    from aisfs.store.cluster_facts import ClusterFacts, JobFacts, Json

_ASK_S = 0.1
_SELDOM_S = 2.0

_BEGINS_S = 10.0
"""Seconds after which a job that was started a moment ago has to be known."""

_COLUMNS = ("id", "kind", "state", "error")


@click.group()
def job() -> None:
    """Look after jobs of the cluster."""


@job.command("list")
@click.option("--json", "as_json", is_flag=True, help="as a JSON list")
@connection_options
def list_jobs(as_json: bool, **connection: Any) -> None:
    """List the jobs that run, and those that ended lately."""

    async def work(store: AISStore) -> list[Json]:
        return await store.facts.jobs()

    jobs = run(work, **connection)
    if as_json:
        print(json.dumps(jobs, indent=2))
        return
    rows = [(each["uuid"], each["kind"], listed_state(each), each["err"]) for each in jobs]
    print_rows(_COLUMNS, rows, "the cluster tells of no job")


@job.command()
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
@connection_options
def show(job_id: str, as_json: bool, **connection: Any) -> None:
    """Show how far a JOB is."""

    async def work(store: AISStore) -> JobFacts:
        return await store.facts.job(job_id)

    report(run(work, **connection), as_json=as_json)


@job.command()
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
@connection_options
def wait(job_id: str, as_json: bool, **connection: Any) -> int:
    """Wait until a JOB has ended; exit code 0 only if it went well."""

    async def work(store: AISStore) -> JobFacts:
        await store.facts.job(job_id)
        return await follow(store.facts, job_id, quiet=as_json)

    return report(run(work, **connection), as_json=as_json)


@job.command()
@click.argument("job_id", metavar="JOB")
@connection_options
def abort(job_id: str, **connection: Any) -> None:
    """Stop a JOB; what it did stays."""

    async def work(store: AISStore) -> None:
        await store.work.abort(job_id)

    run(work, **connection)


async def follow(facts: ClusterFacts, job_id: str, *, quiet: bool) -> JobFacts:
    """Return a job once it has ended, or has nothing left to do; show that on a terminal.

    Jobs that others may join (archives, copies of groups) idle for a minute before they end.

    Raises:
        NotFound: the cluster does not know it.
    """
    pause_s, begins, end = _ASK_S, trio.current_time() + _BEGINS_S, JobEnd()
    with progress(_columns, "the job begins", quiet=quiet) as show_progress:
        while True:
            try:
                told = await facts.job(job_id)
            except NotFound:  # no target has begun it yet
                if trio.current_time() > begins:
                    raise
            else:
                show_progress(description=_in_a_line(told))
                if end.is_reached(told.state):
                    return told
            await trio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _SELDOM_S)


def report(told: JobFacts, *, as_json: bool) -> int:
    """Print how a job is, and return the exit code."""
    if as_json:
        print(
            json.dumps(
                {
                    "job": told.id,
                    "kind": told.kind,
                    "state": told.state,
                    "error": told.error,
                    "objects": told.objects,
                    "bytes": told.bytes,
                }
            )
        )
    else:
        print(_in_a_line(told))
        if told.error:
            print("aisfs:", " ".join(told.error.split()), file=sys.stderr)
    return 0 if told.state in {"running", "idle", "finished"} and not told.error else 1


def _in_a_line(told: JobFacts) -> str:
    amount = f"{told.objects} objects, {in_words(told.bytes)}"
    return f"{told.kind}[{told.id}] {told.state}: {amount}"


def _columns() -> Sequence[ProgressColumn]:
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    # An id in brackets is no markup.
    return SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
