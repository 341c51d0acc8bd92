"""What nodes and cluster tell about themselves.

AIS: `GET /v1/daemon?what=`, `GET /v1/cluster?what=`, `GET|HEAD /v1/health`.
"""

import os
import resource
import time
from collections.abc import Callable
from typing import Any

from aisfs.server.eras import Feature
from aisfs.server.http.call import Call, Message
from aisfs.server.http.errors import AisError, not_implemented
from aisfs.server.http.replies import Reply, json_reply, text_reply
from aisfs.server.jobs import requests as job_queries
from aisfs.server.nodes.log import answer_log
from aisfs.server.state import Node
from aisfs_sdk import const

WHAT_REMOTE = "remote"
HEADER_REMOTE_ALIAS = "Ais-Remote-Ais-Alias"
HEADER_REMOTE_URL = "Ais-Remote-Ais-Url"
_MEMBERSHIP = {"start-maintenance", "stop-maintenance", "decommission-node", "shutdown-node"}
_KNOWN = {
    "reset-stats", "rotate-logs", "set-primary", "shutdown-cluster", "decommission-cluster",
}  # fmt: skip

CLUSTER_STARTED = 6
"""State flags of a healthy node: cluster started, node started."""

PRIMARY = 2
"""Node flag that the map shows of its primary."""


def uptime_headers(call: Call) -> list[tuple[str, str]]:
    """Return the headers of every health reply of a gateway."""
    uptime = str(time.monotonic_ns() - call.store.started_ns)
    return [(const.HEADER_CLUSTER_UPTIME, uptime), (const.HEADER_NODE_UPTIME, uptime)]


async def serve_health(call: Call) -> Reply:
    """Answer `/v1/health`: the process serves, so the node is healthy."""
    if call.query.flag("cii") and call.era.has(Feature.NODE_STATE):
        return json_reply(cluster_info(call))
    return Reply(200, uptime_headers(call) if call.node.role == "proxy" else ())


async def serve_daemon(call: Call) -> Reply:
    """Answer `/v1/daemon` of one node."""
    if call.method == "POST":
        raise call.era.said.unknown_path.error(
            path=call.path, method="POST", asked=call.path, remote=call.remote_addr
        )
    if call.method != "GET":
        raise not_implemented(f"{call.method} {call.path}")
    what = call.query.text(const.QPARAM_WHAT)
    if what == WHAT_REMOTE and call.node.role == "target":
        return await _attached(call, [])
    answer = _DAEMON.get(call.era.questions.get(what, what))
    if answer is None and call.node.role == "target":
        answer = _TARGET_ONLY.get(what)
    if answer is None:
        raise call.era.said.unknown_what.error(path=call.path, what=what)
    return answer(call)


async def serve_cluster(call: Call) -> Reply:
    """Answer `/v1/cluster`."""
    verb = call.path.removeprefix("/v1/cluster").strip("/")
    if call.method == "PUT" and verb in {"attach", "detach"}:
        return await _attach(call, verb)
    if call.method == "PUT" and verb == "set-config":
        call.store.config.set_query(call.query)
        return Reply()
    if call.method != "GET":
        return await _change(call, await call.message())
    what = call.query.text(const.QPARAM_WHAT)
    if what == WHAT_REMOTE:
        return await _attached(call, None)
    if what in job_queries.QUERIES:
        return job_queries.QUERIES[what](call, job_queries.read_query(await call.body()))
    answer = _CLUSTER.get(call.era.questions.get(what, what))
    if answer is None:
        raise AisError(400, f"unexpected query [what={what}]")
    return answer(call)


async def _attached(call: Call, none: list[Any] | None) -> Reply:
    """List the attached clusters; `none` is what stands for no cluster."""
    return json_reply({"a": await call.store.remotes.describe() or none, "ver": 0})


async def _attach(call: Call, verb: str) -> Reply:
    """Attach or detach another cluster."""
    if (what := call.query.text(const.QPARAM_WHAT)) != WHAT_REMOTE:
        raise AisError(400, f"unexpected query [what={what}]")
    alias = call.header(HEADER_REMOTE_ALIAS)
    if verb == "attach":
        await call.store.remotes.attach(alias, call.header(HEADER_REMOTE_URL))
    else:
        call.store.remotes.detach(alias)
    return Reply()


async def _change(call: Call, message: Message) -> Reply:
    if call.method == "PUT" and message.action == const.ACT_START:
        return await job_queries.start_job(call, message)
    if call.method == "PUT" and message.action == job_queries.ACT_STOP:
        return await job_queries.stop_jobs(call, message)
    if call.method == "PUT" and message.action == "set-config":
        call.store.config.set_message(message.value)
        return Reply()
    if call.method == "PUT" and message.action == "reset-config":
        call.store.config.reset()
        return Reply()
    if call.method == "PUT" and message.action in _MEMBERSHIP:
        raise _refuse_membership(call, message)
    if message.action in _KNOWN:
        raise not_implemented(f'{call.method} {call.path} with action "{message.action}"')
    raise AisError(400, f'invalid action "{message.action}"')


def _refuse_membership(call: Call, message: Message) -> AisError:
    """Return why a node cannot leave: it does not exist, or nodes of this store do not leave."""
    fields = message.value if isinstance(message.value, dict) else {}
    node = str(fields.get("sid") or "")
    if node in {item.id for item in (call.store.proxy, *call.store.targets)}:
        return not_implemented(message.action)
    colon = ":" if message.action == "stop-maintenance" else ""
    return call.era.said.unknown_member.error(
        action=message.action, colon=colon, member=node, version=call.store.smap_version
    )


# ---- the map, buckets, configuration ------------------------------------------------------------


def _node_json(call: Call, node: Node, flags: int = 0) -> dict[str, Any]:
    return node.to_json(flags, with_digest=call.era.publishes_digest)


def _smap(call: Call) -> Reply:
    store = call.store
    proxy = _node_json(call, store.proxy, PRIMARY)
    return json_reply(
        {
            "pmap": {store.proxy.id: proxy},
            "proxy_si": proxy,
            "tmap": {target.id: _node_json(call, target) for target in store.targets},
            "uuid": store.uuid,
            "creation_time": store.created + call.era.map_time,
            "version": str(store.smap_version),
        }
    )


def _bmd(call: Call) -> Reply:
    providers: dict[str, dict[str, dict[str, Any]]] = {}
    for name, bucket in call.store.catalog.buckets.items():
        namespaces = providers.setdefault(name.provider, {})
        namespaces.setdefault(f"@{name.uuid}#{name.namespace}", {})[name.name] = bucket.props
    version = str(call.store.catalog.version)
    return json_reply({"providers": providers, "uuid": call.store.uuid, "version": version})


def _config(call: Call) -> Reply:
    """Answer the part of the configuration that clients look at."""
    shared = call.store.config.tree
    net = {"hostname": call.node.host, "port": str(call.node.port)}
    return json_reply({"confdir": str(call.store.root), "host_net": net, **shared, "backend": {}})


def cluster_info(call: Call) -> dict[str, Any]:
    """Return the state object that `node_status` and `cii` carry."""
    store = call.store
    primary = {
        "pub_url": store.proxy.url,
        "control_url": store.proxy.url,
        "id": store.proxy.id,
    }
    version = str(store.smap_version)
    return {
        "smap": {"Primary": primary, "uuid": store.uuid, "version": version},
        "bmd": {"uuid": store.uuid, "version": str(store.catalog.version)},
        "rmd": {"version": "0"},
        "config": {"version": "1"},
        "etlmd": {"version": "0"},
        "flags": CLUSTER_STARTED,
    }


# ---- figures ------------------------------------------------------------------------------------


def _share(call: Call) -> tuple[int, int]:
    """Return used and total bytes of one target: its share of the one disk that all use.

    So the sum over targets is what the disk has; real clusters that share a disk overstate it.
    """
    used, total = call.store.blobs.free_space()
    count = len(call.store.targets)
    return used // count, total // count


def _percent(used: int, total: int) -> int:
    return used * 100 // total if total else 0


def _node_sysinfo(call: Call, node: Node) -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    one, five, fifteen = os.getloadavg()
    resident = usage.ru_maxrss * 1024
    info: dict[str, Any] = {
        "mem_used": resident,
        "mem_avail": free,
        "pct_mem_used": resident * 100 / pages,
        "pct_cpu_used": 0.0,
        "load_avg": {"One": one, "Five": five, "Fifteen": fifteen},
    }
    if node.role == "target":
        used, total = _share(call)
        info["fs_used"], info["fs_capacity"] = str(used), str(total)
        info["pct_fs_used"] = _percent(used, total)
    return info


def _sysinfo(call: Call) -> Reply:
    return json_reply(_node_sysinfo(call, call.node))


def _cluster_sysinfo(call: Call) -> Reply:
    targets = {target.id: _node_sysinfo(call, target) for target in call.store.targets}
    return json_reply({"proxy": {}, "target": targets})


def _stats(call: Call, node: Node) -> dict[str, Any]:
    uptime = time.monotonic_ns() - call.store.started_ns
    tracker = {"up.ns.time": uptime, "state.flags": CLUSTER_STARTED}
    capacity = _capacity(call, node) if call.era.fuller_figures else _old_capacity(call, node)
    return {"snode": _node_json(call, node), "tracker": tracker, "capacity": capacity}


def _capacity(call: Call, node: Node) -> dict[str, Any]:
    used, total = _share(call) if node.role == "target" else (0, 0)
    percent = _percent(used, total)
    path = str(call.store.blobs.root)
    mountpath = {
        "mountpath_label": "",
        "fs": {"Fs": "embedded", "FsType": "", "FsID": ""},
        "disks": [],
        "used": str(used),
        "avail": str(total - used),
        "pct_used": percent,
    }
    return {
        "mountpaths": {path: mountpath} if node.role == "target" else None,
        "cs_err": "",
        "total_used": str(used),
        "total_avail": str(total - used),
        "pct_max": percent,
        "pct_avg": percent,
        "pct_min": percent,
    }


def _old_capacity(call: Call, node: Node) -> dict[str, Any]:
    """Return the capacity of a node as AIS 3.17 tells it."""
    if node.role == "proxy":
        return {"Mountpaths": None, "pct_max": 0, "pct_avg": 0, "cs_err": ""}
    used, total = _share(call)
    percent = _percent(used, total)
    mountpath = {
        "used": str(used),
        "avail": str(total - used),
        "pct_used": percent,
        "disks": [],
        "fs": "embedded",
    }
    paths = {str(call.store.blobs.root): mountpath}
    return {"Mountpaths": paths, "pct_max": percent, "pct_avg": percent, "cs_err": ""}


def _node_stats(call: Call) -> Reply:
    return json_reply(_stats(call, call.node))


def _cluster_stats(call: Call) -> Reply:
    targets = {target.id: _stats(call, target) for target in call.store.targets}
    return json_reply({"proxy": _stats(call, call.store.proxy), "target": targets})


def _node_status(call: Call) -> Reply:
    head = {
        "status": "",
        "deployment": "dev",
        "ais_version": call.store.era.version,
        "build_time": "",
        "k8s_pod_name": "",
    }
    state = {"cluster": cluster_info(call)} if call.era.has(Feature.NODE_STATE) else {}
    return json_reply(
        {
            **head,
            **_stats(call, call.node),
            **state,
            "sys_info": _node_sysinfo(call, call.node),
            "smap_version": str(call.store.smap_version),
        }
    )


def _mountpaths_of(call: Call) -> dict[str, list[str]]:
    blobs = call.store.blobs
    return {"available": [str(blobs.root), str(blobs.mirror)], "waiting_dd": [], "disabled": []}


def _cluster_mountpaths(call: Call) -> Reply:
    return json_reply(
        {"targets": {target.id: _mountpaths_of(call) for target in call.store.targets}}
    )


def _target_ips(call: Call) -> Reply:
    return text_reply(",".join(target.host for target in call.store.targets))


_DAEMON: dict[str, Callable[[Call], Reply]] = {
    "smap": _smap,
    "snode": lambda call: json_reply(_node_json(call, call.node)),
    "bmd": _bmd,
    "sysinfo": _sysinfo,
    "node_stats": _node_stats,
    "node_status": _node_status,
    "software_version": lambda call: text_reply(call.store.era.version),
    "config": _config,
    "log": answer_log,
}
_TARGET_ONLY: dict[str, Callable[[Call], Reply]] = {
    "mountpaths": lambda call: json_reply(_mountpaths_of(call)),
}
_CLUSTER: dict[str, Callable[[Call], Reply]] = {
    "smap": _smap,
    "snode": lambda call: json_reply(_node_json(call, call.node)),
    "bmd": _bmd,
    "sysinfo": _cluster_sysinfo,
    "node_stats": _cluster_stats,
    "mountpaths": _cluster_mountpaths,
    "target_ips": _target_ips,
    "backends": lambda call: json_reply(call.store.remotes.providers()),
    "cluster_config": _config,
}
