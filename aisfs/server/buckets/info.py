"""What is told of buckets: lists of them, their properties, summaries of what they hold."""

import contextlib
from typing import Any

import msgspec

from aisfs.server.buckets import access
from aisfs.server.eras import Feature
from aisfs.server.http.call import Call, decode_value
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply, json_reply, text_reply
from aisfs.server.naming import BACKENDS, BucketName, encode_name, parse_namespace, parse_provider
from aisfs.server.remote.listing import origin_page
from aisfs.server.remote.origin import PageRequest
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

_SUMMARY_PAGE = 10_000
_ANY_CLUSTER = "@"
_PRESENT_ONLY = {"2", "3", "4"}
_EXISTENCE_ONLY = {"1", "3"}
"""Values of `presence` that ask for no attributes."""

_SUMMARY_KEYS: dict[str, type | tuple[type, ...]] = {
    "uuid": str,
    "prefix": str,
    "cached": bool,
    "present": bool,
    "dont_add_remote": bool,
}


async def list_buckets(call: Call, value: Any) -> Reply:
    """Answer the names of buckets: of one provider or all, here or at an attached cluster."""
    provider = call.query.text(const.QPARAM_PROVIDER)
    canonical = parse_provider(provider, call.era)
    if value is not None and not call.era.list_value_optional:
        raise AisError(
            400,
            f'bad list-objects request: "{canonical}://" is not a bucket (is a bucket query?)',
        )
    if call.store.remotes.is_missing_backend(canonical):
        error = call.era.said.cloud_list.error(provider=canonical, backend=BACKENDS[canonical])
        error.at_target = True
        raise error
    uuid, namespace = parse_namespace(call.query.text(const.QPARAM_NAMESPACE))
    names = await _bucket_names(call, canonical if provider else "", uuid)
    if call.query.text(const.QPARAM_NAMESPACE) == _ANY_CLUSTER:
        for cluster in list(call.store.remotes.clusters):
            with contextlib.suppress(AisError):
                names |= await _bucket_names(call, "ais", cluster)
    found = [name for name in names if namespace in {"", name.namespace}]
    found.sort(key=lambda name: (name.provider, name.uuid, name.namespace, name.name))
    return json_reply([name.to_json() for name in found])


async def _bucket_names(call: Call, provider: str, uuid: str) -> set[BucketName]:
    """Return the buckets of a provider (empty: all), or those of an attached cluster."""
    store = call.store
    present = call.query.text(const.QPARAM_FLT_PRESENCE) in _PRESENT_ONLY
    if uuid:
        remote = await store.remotes.resolve(BucketName("", "ais", uuid))
        known = {name for name in store.catalog.buckets if name.uuid == remote.uuid}
        cluster = store.remotes.cluster(remote.uuid)
        return known if present else set(await store.remotes.run(cluster.bucket_names))
    names = {name for name in store.catalog.buckets if not name.uuid}
    if not present:
        names |= {name for word in BACKENDS for name in store.remotes.configured(word)}
    return {name for name in names if provider in {"", name.provider}}


async def summarize_bucket(call: Call, name: str, value: Any) -> Reply:
    """Answer a summary in two steps: an id, and asked with it the figures."""
    in_steps = call.era.has(Feature.SUMMARY_IN_STEPS)
    keys = _SUMMARY_KEYS if in_steps else {**_SUMMARY_KEYS, "fast": bool}
    fields = decode_value(value, const.ACT_SUMMARY_BCK, keys)
    bucket = await call.store.open_bucket(call.bucket_name(name))
    uuid = fields.get("uuid", "")
    if not uuid:
        here_only = bool(fields.get("cached") or fields.get("present"))
        return text_reply(await _sum_up(call, bucket, fields.get("prefix", ""), here_only), 202)
    result = [_fetch_summary(call, name, uuid, present=False)]
    if not in_steps:
        return json_reply(result)
    return text_reply(msgspec.json.encode(result).decode() + "\n")


async def _sum_up(call: Call, bucket: Bucket, prefix: str, here_only: bool) -> str:
    """Sum up a bucket, or what a prefix begins, and return the id by which that is fetched.

    What is fetched is this, whatever bucket and prefix come with the id, as in AIS.
    """
    figures = summarize(call, bucket, prefix, present=False)
    if bucket.remote and not here_only:
        await _add_remote_figures(call, bucket, prefix, figures)
    job = call.store.jobs.add_finished(const.ACT_SUMMARY_BCK, bucket.name).id
    call.store.note_summary(job, figures)
    return job


def _fetch_summary(call: Call, name: str, job: str, *, present: bool) -> dict[str, Any]:
    figures = call.store.summaries.get(job)
    if figures is None:
        raise _unknown_summary(call, name, job)
    return {**figures, "is_present": present}


def _unknown_summary(call: Call, name: str, uuid: str) -> AisError:
    targets = call.store.targets
    error = call.era.said.unknown_summary.error(
        job=uuid, targets=len(targets), labels=f"{targets[0].label} ..."
    )
    if call.era.has(Feature.SUMMARY_IN_STEPS):
        error.at_target, error.url_path = True, f"/v1/buckets/{name}/query"
    return error


def summarize(call: Call, bucket: Bucket, prefix: str, *, present: bool) -> dict[str, Any]:
    """Return the summary of a bucket in AIS's form, numbers quoted where AIS quotes them."""
    if call.era.prefixes_checked:
        prefix = prefix.removesuffix("*")
    count, smallest, largest, total = call.store.catalog.summarize(bucket, encode_name(prefix))
    _, disk = call.store.blobs.free_space()
    return {
        **bucket.name.to_json(),
        "ObjCount": {"obj_count_present": str(count), "obj_count_remote": "0"},
        "ObjSize": {
            "obj_min_size": smallest,
            "obj_avg_size": total // count if count else 0,
            "obj_max_size": largest,
        },
        "TotalSize": {
            "size_on_disk": str(total),
            "size_all_present_objs": str(total),
            "size_all_remote_objs": "0",
            "total_disks_size": str(disk),
        },
        "used_pct": total * 100 // disk if disk else 0,
        "is_present": present,
    }


async def _add_remote_figures(
    call: Call, bucket: Bucket, prefix: str, summary: dict[str, Any]
) -> None:
    """Add what the origin has, which costs a listing of it."""
    count = total = 0
    after = ""
    while True:
        request = PageRequest(prefix, after, _SUMMARY_PAGE)
        page = await origin_page(call, bucket, request)
        count += len(page.entries)
        total += sum(entry.size for entry in page.entries)
        if not page.more or not page.entries:
            break
        after = page.entries[-1].name
    summary["ObjCount"]["obj_count_remote"] = str(count)
    summary["TotalSize"]["size_all_remote_objs"] = str(total)


async def head_bucket(call: Call, name: str, prefix: str = "") -> Reply:
    """Answer HEAD: properties, and with `bsumm_remote` a summary in two steps.

    AIS: `HEAD /v1/buckets/{bucket}[/{prefix}]`; the prefix, which only a summary may have, limits
    it to the objects whose names begin so.
    """
    if call.unknown_keys():
        return Reply()  # what AIS 3.17 answers; nothing is lost, so it is the same here
    summed = bool(call.query.text(const.QPARAM_BSUMM_REMOTE))
    if prefix and not summed:
        raise AisError(
            400,
            f"invalid URL '{call.path}': expecting just the bucket name, "
            f"got '{name}' and '{prefix}'",
        )
    bucket = await call.store.open_bucket(call.bucket_name(name))
    access.check(bucket, access.HEAD_BUCKET, call.era)
    headers = [(const.HEADER_BUCKET_PROPS, msgspec.json.encode(bucket.props).decode())]
    if not call.era.has(Feature.SUMMARY_IN_STEPS):
        return Reply(200, headers + _summary_at_once(call, bucket))
    if not summed:
        return Reply(200, headers)
    job = call.query.text(const.QPARAM_UUID)
    if not job:
        here_only = not call.query.flag(const.QPARAM_BSUMM_REMOTE)
        job = await _sum_up(call, bucket, prefix, here_only)
        return Reply(202, [*headers, (const.HEADER_XACTION_ID, job)])
    figures = _fetch_summary(call, name, job, present=True)
    summary = msgspec.json.encode(figures).decode()
    headers += [(const.HEADER_BUCKET_SUMM, summary), (const.HEADER_XACTION_ID, job)]
    return Reply(200, headers)


def _summary_at_once(call: Call, bucket: Bucket) -> list[tuple[str, str]]:
    """Return the summary that AIS 3.17 adds to a HEAD with `presence`; empty for "existence"."""
    presence = call.query.text(const.QPARAM_FLT_PRESENCE)
    if not presence:
        return []
    summary = summarize(call, bucket, "", present=True)
    if presence in _EXISTENCE_ONLY:
        summary.update(BucketName("", "").to_json())
        summary["ObjCount"] = {"obj_count_present": "0", "obj_count_remote": "0"}
        summary["ObjSize"] = {"obj_min_size": 0, "obj_avg_size": 0, "obj_max_size": 0}
        summary["TotalSize"].update(size_on_disk="0", size_all_present_objs="0")
    return [(const.HEADER_BUCKET_SUMM, msgspec.json.encode(summary).decode())]
