"""What a mount is for: the bucket, its listing, reads, writes, and what else the cluster offers.

Nothing is written. Whether something could be is asked of the gateway alone, by the first of the
two requests of an upload: without a body, and without following its redirect to a target.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aisfs.cli.doctor.dial import DIAL_S
from aisfs.cli.doctor.findings import (
    STEP_S,
    Case,
    Finding,
    broken,
    not_checked,
    ok,
    warning,
    within,
)
from aisfs.cli.doctor.gateway import ask
from aisfs.config import nearest
from aisfs.store.buckets import Buckets
from aisfs_sdk import const, errors
from aisfs_sdk.calls import Call
from aisfs_sdk.refusals import ais_error
from aisfs_sdk.urls import object_path

if TYPE_CHECKING:
    import requests

    from aisfs_sdk.bucket import Bucket

_PROBE = ".aisfs-doctor"
"""Name of an object that does not exist: names that begin so are reserved (docs/semantics.md)."""

_SLOW_S = 2.0
_NAMES_SHOWN = 10
_NO_BUCKET = "no bucket was named, and rights belong to buckets"
_NAME_ONE = "'aisfs doctor ais://BUCKET' looks at one"


def _bucket(case: Case) -> Bucket:
    assert case.what.bucket is not None  # whoever calls looked
    return Buckets(case.sdk).of(case.what.bucket)


def bucket(case: Case) -> Finding:
    """See that the bucket is there and opens."""
    if case.what.bucket is None:
        names = [model.name for model in ask(lambda: case.sdk.cluster().list_buckets(""))]
        return ok(
            "bucket", f"all buckets of the cluster, {len(names)} at present", buckets=len(names)
        )
    name = _bucket(case).uri
    try:
        ask(_bucket(case).head)
    except errors.ErrRemoteBckNotFound as error:
        words = f"the cluster does not find {name} at its provider: {error.message}"
        remedy = "correct the name, or give the cluster credentials for that provider"
        return broken("bucket", "wrong-bucket", words, remedy)
    except errors.ErrBckNotFound:
        return _unknown(case, name)
    except errors.AuthError as error:
        words = f"{name} does not open ({error.status_code}: {error.message})"
        return broken("bucket", "bucket-forbidden", words, "use a token that may read it")
    return ok("bucket", f"{name} is there")


def _unknown(case: Case, name: str) -> Finding:
    """Tell that there is no such bucket, and which there are."""
    try:
        known = sorted(model.name for model in ask(lambda: case.sdk.cluster().list_buckets("")))
    except errors.AISError:
        known = []
    assert case.what.bucket is not None
    words = f"there is no bucket {name}{nearest(case.what.bucket.name, known)}"
    if known:
        more = ", …" if len(known) > _NAMES_SHOWN else ""
        words += f"; there are: {', '.join(known[:_NAMES_SHOWN])}{more}"
    remedy = f"correct the name, or create it: 'aisfs bucket create {name}'"
    return broken("bucket", "wrong-bucket", words, remedy)


def listing(case: Case) -> Finding:
    """List one name of what is to be mounted; all targets take part in that."""
    if case.what.bucket is None:
        return not_checked("listing", _NO_BUCKET, _NAME_ONE)
    prefix = case.what.prefix
    began = time.monotonic()
    page = ask(lambda: _bucket(case).list_objects(prefix, page_size=1))
    seconds = time.monotonic() - began
    if prefix and not page.entries:
        words = f"no object's name begins with {prefix}: the mount would be empty"
        return warning(
            "listing", "empty-prefix", words, "correct the prefix, if there should be any"
        )
    if seconds > _SLOW_S:
        words = f"the first name took {seconds:.1f} s: every 'ls' takes at least as long"
        remedy = (
            "mount a prefix, raise listing-ttl; for a remote bucket see docs/troubleshooting.md"
        )
        return warning("listing", "slow-listing", words, remedy, seconds=round(seconds, 2))
    return ok("listing", f"answers in {seconds:.2f} s", seconds=round(seconds, 2))


def direct_reads(case: Case) -> Finding:
    """See whether targets serve whoever comes straight to them."""
    if case.store.transport != "direct":
        return ok("direct reads", "switched off by transport=sdk: all goes by way of a gateway")
    if case.what.bucket is None or case.smap is None:
        return not_checked("direct reads", _NO_BUCKET, _NAME_ONE)
    node = next(node for node in case.smap.tmap.values() if node.active)
    base = case.sdk.request_client.placement.rewrite(node.public_net.direct_url)
    place = _bucket(case)
    path = object_path(place.name, _PROBE)
    call = Call(const.HTTP_METHOD_HEAD, path, place.query, place.uri, base=base)
    try:
        ask(lambda: case.sdk.request_client.send(call))
    except errors.ErrObjNotFound:
        pass  # a target that denies it has looked
    except errors.AuthError as error:
        words = (
            f"will not work: targets serve only what a gateway sent ({error.status_code}); reads "
            "go by way of a gateway, at the cost of one more request each"
        )
        return ok("direct reads", words, works=False)
    return ok("direct reads", "will work: targets serve reads without a gateway", works=True)


def writes(case: Case) -> Finding:
    """Ask a gateway whether it would let us store and delete."""
    if case.config is not None and case.config.mount.read_only:
        return ok("writes", "switched off by ro", works=False)
    if case.what.bucket is None:
        return not_checked("writes", _NO_BUCKET, _NAME_ONE)
    for method, doing in ((const.HTTP_METHOD_PUT, "store"), (const.HTTP_METHOD_DELETE, "delete")):
        answer = within(STEP_S, lambda method=method: _first_leg(case, method))  # type: ignore[misc]
        if answer.status_code >= 400:
            found = ais_error(answer.content)
            said = f"{answer.status_code}: {found.message if found else answer.reason}"
            words = f"will not work: the cluster lets nobody like us {doing} there ({said})"
            remedy = "mount with -o ro, use a token that may, or change the bucket's access"
            return warning("writes", "writes-refused", words, remedy, works=False)
    return ok("writes", "will work: a gateway would let us store and delete", works=True)


def _first_leg(case: Case, method: str) -> requests.Response:
    """Ask for the redirect of a change, and leave it at that. AIS: PUT, DELETE /v1/objects/B/O."""
    client, place = case.sdk.request_client, _bucket(case)
    headers = {const.HEADER_USER_AGENT: const.USER_AGENT}
    if client.token:
        headers[const.HEADER_AUTHORIZATION] = f"Bearer {client.token}"
    return client.session.request(
        method,
        f"{client.endpoint}{object_path(place.name, _PROBE)}?{place.query}",
        headers=headers,
        allow_redirects=False,
        timeout=DIAL_S,
    )


def transformers(case: Case) -> Finding:
    """See whether the cluster runs transformers."""
    try:
        found = ask(lambda: case.sdk.cluster().list_etls(None))
    except errors.AISError as error:  # without Kubernetes each release has words of its own
        return ok("transformers", f"will not work: {error.message}", works=False)
    names = [info.id for info in found]
    return ok("transformers", f"will work; there are {len(names)}", works=True, names=names)


def cloud_buckets(case: Case) -> Finding:
    """Tell which clouds the cluster reaches."""
    client = case.sdk.request_client

    def work() -> list[str]:
        what = {const.QPARAM_WHAT: "backends"}
        return client.request_deserialize("GET", const.URL_PATH_CLUSTER, list[str], params=what)

    try:
        found = ask(work)
    except errors.AuthError as error:
        return ok("cloud buckets", f"this token may not ask for them ({error.status_code})")
    except errors.AISError:
        return ok("cloud buckets", "this release does not tell which clouds it reaches")
    if not found:
        words = "will not work: the cluster was set up without a cloud; its own buckets do"
        return ok("cloud buckets", words, backends=[])
    return ok("cloud buckets", f"will work: {', '.join(found)}", backends=found)
