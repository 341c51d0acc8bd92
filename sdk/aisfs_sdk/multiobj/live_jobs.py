"""Keeps a request from being served with the options of another one.

Clusters after 2023 add a copy or transform of a group to a job that still lives for the same two
buckets, up to some minutes after its work, and then use the *first* request's options: a dry run
writes, objects get another's new names (seen on 5.0). So such a job has to have had the same
options, or the request is refused.
"""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

import msgspec

from aisfs_sdk import errors
from aisfs_sdk.eras import Feature
from aisfs_sdk.job import Job

if TYPE_CHECKING:
    from aisfs_sdk.bucket_base import BucketBase
    from aisfs_sdk.job_types import AggregatedJobSnap
    from aisfs_sdk.request_client import RequestClient

log = logging.getLogger(__name__)

_REMEMBERED = 256
_OF_THE_REQUEST = frozenset(("objnames", "template", "coer", "tobck"))
"""What a request brings along itself, whichever job serves it."""

_options: weakref.WeakKeyDictionary[RequestClient, dict[str, bytes]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def refuse_joining(
    client: RequestClient, kind: str, source: BucketBase, to_bck: BucketBase, value: dict[str, Any]
) -> None:
    """Refuse a request that a live job would serve with other options.

    Args:
        client: sends the question.
        kind: of the job.
        source: bucket that is read.
        to_bck: bucket that is written.
        value: of the request's message.

    Raises:
        ConflictError: there is such a job, or one whose options are not known here.
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
        # Neither waited for nor stopped: each question keeps an idle job alive, and one that was
        # stopped while it idled goes on taking requests, and loses them.
        msg = (
            f"the job {job_id} from {source.uri} to {to_bck.uri} still lives and would serve this "
            "with its own options: try again when it has ended, minutes after its last work"
        )
        raise errors.ConflictError(0, msg, kind)


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
        if not snap.ended
        and (snap.source_bck.name, snap.source_bck.provider) == buckets[0]
        and (snap.dest_bck.name, snap.dest_bck.provider) == buckets[1]
    }
