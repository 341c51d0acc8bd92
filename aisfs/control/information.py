"""Control files that tell of the mount's settings and of its cluster.

Serves `assembly`, which hands them to the filesystem. Only the files `ctl` change something; they
are of `commands`. Listing a directory asks the cluster for names at most; the content of a file is
asked for when it is opened.
"""

from __future__ import annotations

import platform
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import trio

import aisfs
from aisfs.control.files import (
    ControlDirectory,
    ControlFile,
    PersonalFile,
    at_once,
    machine_form,
    table,
)
from aisfs.control.waits import LOOK_S, PATIENCE_S, is_told_to_end
from aisfs.errors import Interrupted, NotFound
from aisfs.settings import describe
from aisfs.store.cluster_facts import JobEnd, listed_state

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.config import BucketName
    from aisfs.control.commands import Commands
    from aisfs.control.files import Caller, ControlEntry
    from aisfs.running import RunningConfig
    from aisfs.store.cluster_facts import ClusterFacts, JobFacts

README = """\
Control files of an aisfs mount. They are found by name and show in no listing of the mount's root,
unless it is mounted with control=visible.
A file has its content from the moment when it is opened. *.json is for programs; the other files
have lines of key, tab, value.

version                  of aisfs
config.json              the mount's settings, and where each comes from
reload.json              what changed when they were last read again, and what would need a remount
stats, stats.json        what the mount counts
metrics                  the same and more, as Prometheus scrapes it
ctl                      takes commands to the cluster, one a line; reading it lists them
last                     what became of your last command
events                   tells what happens, a line each: time, kind, key=value between tabs; a read
                         waits for it; in no listing; for the mount's owner only, as ctl and log
log                      the end of the mount's log
order, sync, warm        take paths, one a line: what will be read, is to be stored, to be cached
cluster/info.json        uuid, release, number of nodes, capacity
cluster/map.json         all nodes and their addresses
cluster/health           whether the cluster serves
cluster/nodes/ID/        info.json: one node's entry in the map and its status
jobs/list, list.json     jobs that run, and that ended lately
jobs/ID/wait             its state, once it has ended or 25 s have passed; in no listing
jobs/ID/                 status, status.json: one job; also of ids that are not listed any more
etl/NAME/                info.json, status, logs: one transformer
.../ctl                  takes the commands that are about that bucket, job or transformer
cache/stats, cache/ctl   what is cached here, and commands to drop, invalidate and flush it
buckets/PROVIDER/BUCKET/ props.json, and summary.json, for which the cluster counts the objects
view/archive/PROVIDER/BUCKET/PATH/SHARD/  what lies in a .tar, .tgz, .tar.gz, .zip or .tar.lz4
view/etl/NAME/PROVIDER/BUCKET/PATH  the object as the transformer NAME makes it
view/etl/NAME,arg=TEXT/…            the same, with TEXT for the transformer
"""


def information(
    facts: ClusterFacts, running: RunningConfig, commands: Commands
) -> list[ControlEntry]:
    """Return all files and directories that tell of the settings and of the cluster.

    Args:
        facts: what the cluster tells.
        running: whose settings are shown.
        commands: gives buckets, jobs and transformers their control files.
    """
    return [
        ControlFile("README", at_once(lambda: README)),
        ControlFile("version", at_once(_version)),
        ControlFile("config.json", at_once(partial(_settings, running))),
        ControlFile("reload.json", at_once(lambda: machine_form(asdict(running.last)))),
        _cluster(facts),
        ControlDirectory(
            "jobs",
            (
                ControlFile("list", partial(_job_list, facts)),
                _json_file("list.json", facts.jobs),
            ),
            partial(_jobs, facts, commands),
            partial(_find_job, facts, commands),
        ),
        ControlDirectory("etl", listed=partial(_etls, facts, commands)),
        ControlDirectory("buckets", listed=partial(_providers, facts, commands)),
    ]


def _version() -> str:
    return table({"aisfs": aisfs.__version__, "python": platform.python_version()})


def _settings(running: RunningConfig) -> str:
    """Return all settings but for their secrets, of which only the origin is told."""
    rows = describe(running.config)
    return machine_form({name: {"value": value, "origin": origin} for name, value, origin in rows})


def _json_file(name: str, ask: Callable[[], Awaitable[object]]) -> ControlFile:
    async def show() -> str:
        return machine_form(await ask())

    return ControlFile(name, show)


# -- the cluster


def _cluster(facts: ClusterFacts) -> ControlDirectory:
    async def health() -> str:
        told = await facts.health()
        return table({"ready": _word(told.ready), "primary_ready": _word(told.primary_ready)})

    return ControlDirectory(
        "cluster",
        (
            _json_file("info.json", facts.cluster),
            _json_file("map.json", facts.cluster_map),
            ControlFile("health", health),
            ControlDirectory("nodes", listed=partial(_nodes, facts)),
        ),
    )


def _word(holds: bool) -> str:
    return "yes" if holds else "no"


async def _nodes(facts: ClusterFacts) -> dict[str, ControlDirectory]:
    return {
        node_id: ControlDirectory(node_id, (_json_file("info.json", partial(facts.node, node_id)),))
        for node_id in await facts.nodes()
    }


# -- jobs


async def _job_list(facts: ClusterFacts) -> str:
    jobs = await facts.jobs()
    return table({job["uuid"]: f"{job['kind']} {listed_state(job)}" for job in jobs})


async def _jobs(facts: ClusterFacts, commands: Commands) -> dict[str, ControlDirectory]:
    return {job["uuid"]: _job(facts, commands, job["uuid"]) for job in await facts.jobs()}


async def _find_job(
    facts: ClusterFacts, commands: Commands, job_id: str
) -> ControlDirectory | None:
    """Return a job that may not be listed: lists leave kinds out, and forget within minutes."""
    try:
        await facts.job(job_id)
    except NotFound:
        return None
    return _job(facts, commands, job_id)


def _job(facts: ClusterFacts, commands: Commands, job_id: str) -> ControlDirectory:
    async def status() -> str:
        return _job_table(await facts.job(job_id))

    async def exact() -> object:
        job = await facts.job(job_id)
        return {"status": job.status, "snapshots": job.snapshots}

    async def waiting(name: str) -> ControlEntry | None:
        return PersonalFile(name, partial(_wait, facts, job_id)) if name == "wait" else None

    return ControlDirectory(
        job_id,
        (
            ControlFile("status", status),
            _json_file("status.json", exact),
            commands.of_job(job_id),
        ),
        find=waiting,
    )


async def _wait(facts: ClusterFacts, job_id: str, caller: Caller) -> str:
    """Return a job's state once it has ended or has nothing left to do, or after a while.

    Raises:
        Interrupted: who waits is told to end.
    """
    patience_ends, end = trio.current_time() + PATIENCE_S, JobEnd()
    while True:
        state = (await facts.job(job_id)).state
        if end.is_reached(state) or trio.current_time() >= patience_ends:
            return f"{state}\n"
        await trio.sleep(LOOK_S)
        if is_told_to_end(caller.pid):
            raise Interrupted(f"waiting for job {job_id} was interrupted")


def _job_table(job: JobFacts) -> str:
    return table(
        {
            "id": job.id,
            "kind": job.kind,
            "state": job.state,
            "error": job.error,
            "started": job.started,
            "ended": job.ended,
            "objects": job.objects,
            "bytes": job.bytes,
        }
    )


# -- transformers


async def _etls(facts: ClusterFacts, commands: Commands) -> dict[str, ControlDirectory]:
    return {info["id"]: _etl(facts, commands, info["id"]) for info in await facts.etls()}


def _etl(facts: ClusterFacts, commands: Commands, name: str) -> ControlDirectory:
    async def exact(_: Caller) -> str:
        etl = await facts.etl(name)
        return machine_form({"info": etl.info, "details": etl.details})

    async def status() -> str:
        info = (await facts.etl(name)).info
        return table(
            {
                "name": info["id"],
                "stage": info["stage"],
                "job": info["xaction_id"],
                "objects": info["obj_count"],
                "in_bytes": info["in_bytes"],
                "out_bytes": info["out_bytes"],
            }
        )

    async def logs() -> str:
        told = sorted((await facts.etl_logs(name)).items())
        return "".join(f"==> target {target} <==\n{_ended(text)}" for target, text in told)

    return ControlDirectory(
        name,
        (
            PersonalFile("info.json", exact, private=True),  # it has the code and environment
            ControlFile("status", status),
            ControlFile("logs", logs),
            commands.of_etl(name),
        ),
    )


def _ended(text: str) -> str:
    """Return lines of which the last has its end, too."""
    return text if text.endswith("\n") or not text else f"{text}\n"


# -- buckets


async def _providers(facts: ClusterFacts, commands: Commands) -> dict[str, ControlDirectory]:
    providers = {bucket.provider for bucket in await facts.buckets()}
    return {
        provider: ControlDirectory(provider, listed=partial(_buckets, facts, commands, provider))
        for provider in providers
    }


async def _buckets(
    facts: ClusterFacts, commands: Commands, provider: str
) -> dict[str, ControlDirectory]:
    buckets = [each for each in await facts.buckets() if each.provider == provider]
    made = (_bucket(facts, commands, each) for each in buckets)
    return {directory.name: directory for directory in made}


def bucket_below_provider(bucket: BucketName) -> str:
    """Return a bucket's directory; one in a namespace is named as below a root of all buckets."""
    return f"{bucket.provider}{bucket.space}:{bucket.name}" if bucket.space else bucket.name


def _bucket(facts: ClusterFacts, commands: Commands, bucket: BucketName) -> ControlDirectory:
    return ControlDirectory(
        bucket_below_provider(bucket),
        (
            _json_file("props.json", partial(facts.bucket_props, bucket)),
            _json_file("summary.json", partial(facts.bucket_summary, bucket)),
            commands.of_bucket(bucket),
        ),
    )
