"""The cluster behind the gateway: its release, and whether its targets can be reached from here."""

from __future__ import annotations

import http.client
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aisfs.cli.doctor.dial import Address, Trouble, said, untrusted
from aisfs.cli.doctor.findings import Case, Fact, Finding, broken, not_checked, ok, warning
from aisfs.cli.doctor.gateway import ask
from aisfs_sdk.eras import Feature

if TYPE_CHECKING:
    from aisfs_sdk.smap import Smap, Snode

OLDEST = (3, 17)
"""First release that aisfs was made for."""

_RENEWED = (4, 0)
"""First release that a mount lacks little of."""

_LOSSES = {
    Feature.SPECIAL_NAMES: "names with any of & ' \" < > # cannot be created",
    Feature.OBJECT_COPY: "a rename moves the bytes through this machine",
    Feature.ETL_BY_NAME: "transformers that run a container image cannot be started",
    Feature.MULTIPART: "files larger than the room in state-dir cannot be written",
    Feature.APPEND_CONTINUES: "appending to a file stores the whole object again",
}
"""What a mount cannot do, or only slowly, on a release without a feature."""

_UNREACHABLE = {"unknown-host", "refused-port", "no-answer", "no-route"}
"""Troubles of the network; the others are of certificates."""

_AT_ONCE = 64
_SHOWN = 3


def release(case: Case) -> Finding:
    """Tell which cluster it is, which release it runs, and what that cannot do."""
    if case.smap is not None and (gateway := _gateway_of(case.smap, case.store.endpoint)):
        words = f"{case.store.endpoint} is a target of the cluster, not a gateway"
        remedy = f"name a gateway, such as {gateway}: AIS_ENDPOINT or endpoint=URL"
        return broken("cluster", "endpoint-is-target", words, remedy)
    era = ask(lambda: case.sdk.era)
    losses = [words for feature, words in _LOSSES.items() if not era.has(feature)]
    facts: dict[str, Fact] = {"release": str(era), "missing": losses, **_members(case)}
    where = f" (cluster {facts['uuid']})" if facts.get("uuid") else ""
    if not any(era.version):
        words = (
            f"the cluster{where} does not tell its release, and is used as if it were an old one"
        )
        remedy = "use a token that may ask for it"
        return warning("cluster", "unknown-release", words, remedy, **facts)
    if era.version < OLDEST:
        oldest = "{}.{}".format(*OLDEST)
        words = (
            f"{era} is older than AIS {oldest}, the oldest release that aisfs is made for{where}"
        )
        return broken("cluster", "old-release", words, "upgrade the cluster", **facts)
    if era.version < _RENEWED:
        words = f"{era} is an old release{where}: {'; '.join(losses)}"
        return warning("cluster", "old-release", words, "upgrade the cluster for these", **facts)
    if not ask(case.sdk.cluster().is_aistore_running):
        words = f"{era}{where} is not ready: it starts, or elects a primary gateway"
        return warning("cluster", "cluster-not-ready", words, "wait for a minute", **facts)
    return ok("cluster", f"{era}{where}" + "".join(f"; {each}" for each in losses), **facts)


def _gateway_of(smap: Smap, endpoint: str) -> str:
    """Return a gateway's URL if the endpoint is a target's, else ""."""
    asked = Address.of(endpoint)
    targets = {Address.of(node.public_net.direct_url) for node in smap.tmap.values()}
    return smap.proxy_si.public_net.direct_url if asked in targets else ""


def _members(case: Case) -> dict[str, Fact]:
    """Return what the map tells of the cluster; nothing where it may not be read."""
    if case.smap is None:
        return {}
    return {
        "uuid": case.smap.uuid,
        "gateways": len(case.smap.pmap),
        "targets": len(case.smap.tmap),
    }


def targets(case: Case) -> Finding:
    """Reach every target as a mount does: the cluster redirects all data to them."""
    if case.smap is None:
        return not_checked("targets", "this token may not read the cluster map")
    placement = case.sdk.request_client.placement
    nodes = [node for node in case.smap.tmap.values() if node.active]
    if not nodes:
        words = "the cluster has no target that takes part: nothing can be read or stored"
        return broken("targets", "no-targets", words, "start the cluster's targets")
    context = case.sdk.request_client.ssl_context

    def look(node: Snode) -> Trouble | None:
        address = Address.of(placement.rewrite(node.public_net.direct_url))
        return _trouble(address, context, case.clock)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(zip(nodes, pool.map(look, nodes), strict=True))
    bad = [(node, trouble) for node, trouble in found if trouble is not None]
    facts = {"reachable": len(nodes) - len(bad), "targets": len(nodes)}
    facts |= {"inactive": len(case.smap.tmap) - len(nodes)}
    if not bad:
        return ok("targets", f"all {len(nodes)} can be reached", **facts)
    return _told(bad, facts)


def _trouble(address: Address, context: ssl.SSLContext, clock: float | None) -> Trouble | None:
    """Say why a target cannot be used; any answer of it will do."""
    if trouble := address.unreachable():
        return trouble
    try:
        address.health(context if address.scheme == "https" else None)
    except ssl.SSLCertVerificationError as error:
        return untrusted(address, error, clock)
    except (OSError, http.client.HTTPException) as error:
        words = f"{address} takes connections, but does not answer ({said(error)})"
        return Trouble("no-answer", words, "see that the target is well: its log tells")
    return None


def _told(bad: list[tuple[Snode, Trouble]], facts: dict[str, int]) -> Finding:
    """Return the finding for targets that cannot be used; the most frequent trouble names it."""
    (cause, _), *_ = Counter(trouble.cause for _, trouble in bad).most_common(1)
    texts = [f"target {node.daemon_id}: {trouble.words}" for node, trouble in bad[:_SHOWN]]
    if len(bad) > _SHOWN:
        texts.append(f"and {len(bad) - _SHOWN} more")
    words = (
        f"{facts['reachable']} of {facts['targets']} can be used, though the gateway answers: "
        + "; ".join(texts)
    )
    if cause not in _UNREACHABLE:
        remedy = next(trouble.remedy for _, trouble in bad if trouble.cause == cause)
        return broken("targets", f"target-{cause}", words, remedy, **facts)
    remedy = (
        "the cluster redirects every read and write to these addresses: start the targets, open "
        "the firewall, or have them announce addresses that can be reached from here"
    )
    return broken("targets", "target-unreachable", words, remedy, **facts)
