"""Keeps a request from being served with the options of another one.

Clusters after 2023 add a copy or transform of a group to a job that still lives for the same two
buckets, up to a minute after its work, and then use the *first* request's options: a dry run
writes, objects get another's new names (seen on 5.0). So such a job has to have had the same
options, or it is waited for and ended before.
"""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

import msgspec

from aisfs_sdk import errors
from aisfs_sdk.eras import Feature
from aisfs_sdk.job import Clock, Job

if TYPE_CHECKING:
    from aisfs_sdk.bucket_base import BucketBase
    from aisfs_sdk.job_types import AggregatedJobSnap
    from aisfs_sdk.request_client import RequestClient

log = logging.getLogger(__name__)

_REMEMBERED = 256
_STOP_S = 60.0
_OF_THE_REQUEST = frozenset(("objnames", "template", "coer", "tobck"))
"""What a request brings along itself, whichever job serves it."""

_options: weakref.WeakKeyDictionary[RequestClient, dict[str, bytes]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def make_way(
    client: RequestClient, kind: str, source: BucketBase, to_bck: BucketBase, value: dict[str, Any]
) -> None:
    """Wait for and end a live job that would serve a request with other options.

    Args:
        client: sends the questions.
        kind: of the job.
        source: bucket that is read.
        to_bck: bucket that is written.
        value: of the request's message.

    Raises:
        Timeout: the job was still at work after 5 minutes.
        AISError: the cluster refused to stop it.
        requests.RequestException: the network failed.
    """
    if not client.era.has(Feature.BUCKET_INFO):
        return
    try:
        found = Job(client, job_kind=kind).get_details()
    except (errors.AISError, msgspec.MsgspecError) as error:
        log.warning("whether a %s of %s is at work is not known: %s", kind, source.uri, error)
        return
    for job_id in sorted(_live(found, source, to_bck)):
        if _options.get(client, {}).get(job_id) == _fingerprint(value):
            continue
        job = Job(client, job_id, kind)
        log.info("%r has other options: it is waited for and ended first", job)
        job.wait_for_idle()
        job.abort()
        clock = Clock(_STOP_S, verbose=False, job=job)
        while not job.get_details().all_finished:
            clock.sleep(f"{job!r} to stop")


def remember(client: RequestClient, job_id: str, value: dict[str, Any]) -> None:
    """Note the options that a job was started with."""
    with _lock:
        known = _options.setdefault(client, {})
        # The first request's options are those of the job.
        known.setdefault(job_id, _fingerprint(value))
        while len(known) > _REMEMBERED:
            del known[next(iter(known))]


def _fingerprint(value: dict[str, Any]) -> bytes:
    kept = {key: found for key, found in value.items() if key not in _OF_THE_REQUEST}
    return msgspec.json.encode(kept, order="deterministic")


def _live(found: AggregatedJobSnap, source: BucketBase, to_bck: BucketBase) -> set[str]:
    buckets = (source.name, source.provider), (to_bck.name, to_bck.provider)
    return {
        snap.id
        for snap in found.list_snapshots()
        if not (snap.ended or snap.aborted)
        and (snap.source_bck.name, snap.source_bck.provider) == buckets[0]
        and (snap.dest_bck.name, snap.dest_bck.provider) == buckets[1]
    }
