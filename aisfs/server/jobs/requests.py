"""Starting, stopping and asking about jobs at the gateway.

AIS: `PUT /v1/cluster` with `start` and `stop`, `GET /v1/cluster?what=status`,
`status_all`, `running_all`, `qryxstats`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aisfs.server.buckets import access
from aisfs.server.http.call import Call, Message, decode_json, decode_value, fold_keys
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply, json_reply, text_reply
from aisfs.server.jobs.table import Job
from aisfs.server.naming import NO_BUCKET, BucketName, bucket_in_message
from aisfs.server.remote.jobs import prefetch, start_blob_download
from aisfs.server.state import random_id
from aisfs.server.upkeep.eviction import evict_oldest
from aisfs.server.upkeep.mirror import resilver
from aisfs_sdk import const

DISPLAY_NAMES = {
    "elect-primary": "election", "lru-eviction": "lru", "cleanup": "cleanup-store",
    "summary": "summary-bck", "shard-summary": "summary-shard", "shard-index": "index-shard",
    "warm-up-metadata": "load-lom-cache", "ec-bucket": "ec-encode", "mirror": "make-n-copies",
    "copy-objects": "copy-listrange", "etl-objects": "etl-listrange", "copy-bucket": "copy-bck",
    "etl-bucket": "etl-bck", "rename-bucket": "move-bck", "delete-objects": "delete-listrange",
    "evict-objects": "evict-listrange", "evict-remote-bucket": "evict-remote-bck",
    "prefetch-objects": "prefetch-listrange", "promote-files": "promote",
}  # fmt: skip
KINDS = set(DISPLAY_NAMES.values()) | {
    "rebalance", "resilver", "rechunk", "ec-get", "ec-put", "ec-resp", "put-copies", "archive",
    "blob-download", "download", "dsort", "etl-inline", "list", "get-batch", "create-inventory",
}  # fmt: skip

ACT_STOP = "stop"
"""What AIS 5.0 takes; it refuses `xstop` as an invalid action."""

_ELSEWHERE = {"make-n-copies", "ec-encode", "download", "evict-listrange", "delete-listrange"}
_NEED_BUCKET = {"load-lom-cache", "rechunk"}
_START_KEYS: dict[str, type | tuple[type, ...]] = {
    "id": str, "kind": str, "daemonid": str, "bck": dict, "buckets": list, "timeout": int,
    "force": bool, "onlyrunning": bool, "flags": int, "show_active": bool,
}  # fmt: skip
_REBALANCE = "rebalance_version"
Starter = Callable[[Call, dict[str, Any]], Job]
_NEVER = "0001-01-01T00:00:00Z"


def _kind(call: Call, text: str) -> str:
    """Return the kind of a name or display name, empty for an unknown one."""
    kind = DISPLAY_NAMES.get(text, text)
    return kind if kind in KINDS - call.era.jobs.absent_kinds else ""


# ---- start and stop -----------------------------------------------------------------------------


async def _start_remote(call: Call, message: Message, kind: str, name: BucketName) -> Reply | None:
    """Start a prefetch of a whole bucket, or a blob download; None for other kinds."""
    if kind not in {const.ACT_PREFETCH_OBJECTS, const.ACT_BLOB_DOWNLOAD}:
        return None
    bucket = await call.store.open_bucket(name)
    if not bucket.remote:
        return None
    if kind == const.ACT_PREFETCH_OBJECTS:
        return text_reply((await prefetch(call, bucket, {})).id)
    start_blob_download(call, bucket, message.name, {})
    return Reply()


async def start_job(call: Call, message: Message) -> Reply:
    """Start a job of a kind that has no request of its own."""
    fields = decode_value(message.value, message.action, _START_KEYS)
    given = fields.get("kind", "")
    kind, bucket = _kind(call, given), bucket_in_message(fields.get("bck"))
    shown = f"[{random_id()}]" + (f"-{bucket.uri}" if bucket else "")
    mark = call.era.jobs.mark
    if not kind:
        error = call.era.said.unknown_kind.error(shown=shown)
        error.at_target = call.era.jobs.targets_know_kinds
        raise error
    if kind in _ELSEWHERE:
        raise AisError(
            400, f'initiating "{mark}-{kind}{shown}" must be done via a separate documented API'
        )
    if kind == "put-copies":
        raise AisError(
            400, f'cannot start "{mark}-{kind}{shown}" (is driven by PUTs into a mirrored bucket)'
        )
    if kind in _NEED_BUCKET and bucket is None:
        raise AisError(400, f'xaction "{kind}" requires a bucket to start')
    if bucket is not None and (reply := await _start_remote(call, message, kind, bucket)):
        return reply
    _refuse_local(call, kind, bucket)
    if kind == "resilver":
        _check_node(call, fields.get("daemonid", ""))
    starter = _STARTERS.get(kind)
    if starter is not None:
        return text_reply(starter(call, fields).id)
    raise call.era.said.unsupported_start.error(kind=kind)


def _refuse_local(call: Call, kind: str, bucket: BucketName | None) -> None:
    """Refuse to fetch into an ais bucket."""
    if kind == "prefetch-listrange" and bucket is not None:
        found = call.store.find_bucket(bucket)
        raise call.era.said.prefetch_local.error(
            uri=found.name.uri, number=access.bucket_number(found)
        )
    if kind == "blob-download" and bucket is not None:
        raise AisError(
            400, f"{kind}: expecting remote bucket (have {bucket.uri})", "ErrNotRemoteBck"
        )


def _check_node(call: Call, node: str) -> None:
    """Refuse a resilver of no target in particular, or of one that does not exist."""
    if not node and call.era.jobs.start_everywhere:
        return
    if not node:
        raise AisError(
            501,
            "cannot run resilver on all targets in the cluster - operation not supported",
            "ErrUnsupp",
        )
    if node not in {target.id for target in call.store.targets}:
        raise call.era.said.resilver_nowhere.error(target=node)


def _start_lru(call: Call, fields: dict[str, Any]) -> Job:
    given = [fields.get("bck"), *(fields.get("buckets") or [])]
    buckets = [name for name in map(bucket_in_message, given) if name is not None]
    return evict_oldest(call, buckets, force=bool(fields.get("force")))


def _start_resilver(call: Call, fields: dict[str, Any]) -> Job:
    return resilver(call, fields.get("daemonid", ""))


def _start_rebalance(call: Call, _: dict[str, Any]) -> Job:
    """Note a rebalance: owners follow from names, and all targets share one set of blobs.

    Raises:
        AisError: 400 with one target.
    """
    if len(call.store.targets) < 2:
        raise AisError(400, "cannot rebalance: not enough targets (have 1, need at least 2)")
    number = int(call.store.catalog.get_meta(_REBALANCE, "0")) + 1
    call.store.catalog.set_meta(_REBALANCE, str(number))
    return call.store.jobs.add_finished("rebalance", NO_BUCKET, job_id=f"g{number}")


def _start_for_bucket(kind: str) -> Starter:
    """Return the start of a job that has nothing to do in this store but to look."""

    def start(call: Call, fields: dict[str, Any]) -> Job:
        name = bucket_in_message(fields.get("bck")) or NO_BUCKET
        return call.store.jobs.add_finished(kind, call.store.find_bucket(name).name)

    return start


def _start_cleanup(call: Call, fields: dict[str, Any]) -> Job:
    bucket = bucket_in_message(fields.get("bck")) or NO_BUCKET

    async def sweep(job: Job) -> None:
        blobs = call.store.catalog.garbage()
        await call.store.in_thread(call.store.blobs.delete, blobs)
        job.objects = len(blobs)

    return call.store.jobs.start("cleanup-store", bucket, sweep)


_STARTERS: dict[str, Starter] = {
    "resilver": _start_resilver,
    "rebalance": _start_rebalance,
    **{kind: _start_for_bucket(kind) for kind in _NEED_BUCKET},
    "lru": _start_lru,
    "cleanup-store": _start_cleanup,
}


async def stop_jobs(call: Call, message: Message) -> Reply:
    """Abort a job by id, or all of a kind (and bucket). What does not run is no error."""
    fields = decode_value(message.value, message.action, _START_KEYS)
    job_id, kind = fields.get("id", ""), _kind(call, fields.get("kind", ""))
    if not job_id and not kind and call.era.jobs.unknown_kind_stops and fields.get("kind"):
        return Reply()
    if not job_id and not kind:
        raise AisError(
            400, "cannot stop xaction given 'xa-[]' - expecting a valid kind and/or UUID"
        )
    ids = set(job_id.split(",")) if job_id else None
    found = call.store.jobs.find(ids, kind, bucket_in_message(fields.get("bck")))
    if any(job.kind == "etl-inline" and job.running for job in found):
        call.store.trust.require_token(call)  # the end of this job is the end of a process
    for job in found:
        call.store.jobs.abort(job)
    return Reply()


# ---- questions ----------------------------------------------------------------------------------


def read_query(data: bytes) -> dict[str, Any]:
    """Return the keys of a job query in lower case."""
    head = "{node}: failed to unmarshal [*xact.QueryMsg] (GET), err: "
    value = fold_keys(decode_json(data, head))
    return value if isinstance(value, dict) else {}


def _status_json(call: Call, job: Job) -> dict[str, Any]:
    told = job.failed or job.aborted or call.era.jobs.tells_missing
    return {
        "kind": job.kind,
        "uuid": job.id,
        "err": job.error if told else "",
        "end_time": job.end_ns,
        "aborted": job.aborted,
    }


def _status(call: Call, query: dict[str, Any]) -> Reply:
    job_id, given = str(query.get("id") or ""), str(query.get("kind") or "")
    kind = _kind(call, given)
    if not job_id and not kind:
        raise AisError(400, "invalid x-")
    found = call.store.jobs.find({job_id} if job_id else None, "" if job_id else kind)
    if not found:
        refusal = call.era.said.unknown_job if job_id else call.era.said.never_ran
        raise refusal.error(job=job_id, kind=kind, proxy=call.store.proxy.id)
    job = next((job for job in found if job.running), found[-1])
    if given and job.kind != kind:
        raise AisError(400, f"kind mismatch: x-{given}[{job_id}], expected kind={job.kind}")
    if job.failed and not job.aborted and not job.running and call.era.jobs.failure_refuses:
        raise AisError(400, _failure(call, job))
    return json_reply(_status_json(call, job))


def _failure(call: Call, job: Job) -> str:
    """Return how AIS 3.17 tells why a job failed; clients find the id in it."""
    clock = _time(job.end_ns).partition("T")[2][:15]
    reason = f"{job.error} (cnt={len(call.store.targets)})"
    return f"nl-{job.kind}[{job.id}]-{clock}-{reason}: {reason}"


def _status_all(call: Call, query: dict[str, Any]) -> Reply:
    found = call.store.jobs.find(kind=str(query.get("kind") or ""))
    if query.get("show_active"):
        found = [job for job in found if job.running]
    return json_reply([_status_json(call, job) for job in found] or None)


def _running_all(call: Call, query: dict[str, Any]) -> Reply:
    found = call.store.jobs.find(kind=_kind(call, str(query.get("kind") or "")))
    return json_reply([f"{job.kind}[{job.id}]" for job in found if job.alive])


def _snapshots(call: Call, query: dict[str, Any]) -> Reply:
    job_id, given = str(query.get("id") or ""), str(query.get("kind") or "")
    if "," in job_id and not call.era.jobs.several_ids:
        raise AisError(400, f'invalid UUID "{job_id}"', at_target=True, url_path="/v1/xactions")
    ids = set(job_id.split(",")) if job_id else None
    found = call.store.jobs.find(ids, _kind(call, given), bucket_in_message(query.get("bck")))
    if job_id and not found:
        shown = f"x-{given}[{job_id}]" if given else f"x-[{job_id}]"
        raise AisError(404, f'"{shown}" not found')
    active = query.get("show_active")
    if active is not None:
        found = [job for job in found if job.alive == bool(active)]
    first, *others = call.store.targets
    snapshots: dict[str, Any] = {first.id: [_snapshot(call, job) for job in found]}
    snapshots.update({target.id: [] for target in others})
    return json_reply(snapshots)


def _snapshot(call: Call, job: Job) -> dict[str, Any]:
    errors = {
        "abort-err": job.error if job.aborted else "",
        "err": "" if job.aborted else job.error,
    }
    stats = dict.fromkeys(("out-objs", "out-bytes", "in-objs", "in-bytes"), "0")
    bucket = job.bucket.to_json()
    return {
        "ext": None,
        "start-time": _time(job.start_ns),
        "end-time": _NEVER if job.alive else _time(job.end_ns),
        "bck": bucket,
        "src-bck": (job.source or NO_BUCKET).to_json(),
        "dst-bck": bucket if job.source else NO_BUCKET.to_json(),
        "id": job.id,
        "kind": job.kind,
        **(errors if call.era.jobs.tells_errors else {}),
        "glob.id": "0",
        "stats": {"loc-objs": str(job.objects), "loc-bytes": str(job.size), **stats},
        "aborted": job.aborted,
        "is_idle": not job.running,
    }


def _time(ns: int) -> str:
    if not ns:
        return _NEVER
    seconds, rest = divmod(ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


QUERIES: dict[str, Callable[[Call, dict[str, Any]], Reply]] = {
    const.WHAT_STATUS: _status,
    const.WHAT_STATUS_ALL: _status_all,
    const.WHAT_RUNNING_ALL: _running_all,
    const.WHAT_QUERY_XACT_STATS: _snapshots,
}
