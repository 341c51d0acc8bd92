"""The cluster as a whole: its nodes, its buckets, its room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import requests

from aisfs_sdk import const, errors
from aisfs_sdk.calls import JSON_HEADERS, Answer, Call
from aisfs_sdk.enums import LogSeverity, NodeFilter
from aisfs_sdk.eras import Feature
from aisfs_sdk.etl_const import ETL_STAGE_RUNNING
from aisfs_sdk.etl_types import ETLInfo, decode_infos
from aisfs_sdk.job_types import JobStatus, decode_snapshots
from aisfs_sdk.namespace import Namespace
from aisfs_sdk.smap import Smap, parse_smap
from aisfs_sdk.types import ActionMsg, BucketModel, decode_buckets, encode_message
from aisfs_sdk.urls import query_string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aisfs_sdk.request_client import RequestClient

T = TypeVar("T")

_V1 = f"/{const.URL_PATH_VERSION}/"


class _TargetRoom(msgspec.Struct):
    """AIS: what one target says of its file systems; numbers are quoted."""

    fs_used: int = 0
    fs_capacity: int = 0


class _Sysinfo(msgspec.Struct):
    target: dict[str, _TargetRoom] | None = None


class _Buckets(msgspec.Struct):
    """AIS: the cluster's bucket metadata: provider, namespace, name, properties."""

    providers: dict[str, dict[str, dict[str, dict[str, Any]]] | None] | None = None


class Cluster:
    """A cluster bound to a client."""

    def __init__(self, client: RequestClient) -> None:
        self._client = client

    @property
    def client(self) -> RequestClient:
        """The client that this cluster is asked through."""
        return self._client

    def get_info(self) -> Smap:
        """Return the cluster map: all nodes and their addresses.

        From then on the client knows the map: see `placement`.

        AIS: GET /v1/daemon?what=smap.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        smap = self._map()
        self._client.placement.learn(smap)
        return smap

    def _map(self) -> Smap:
        return self._ask(const.URL_PATH_DAEMON, const.WHAT_SMAP, parse_smap)

    def get_primary_url(self) -> str:
        """Return the URL of the primary gateway. Errors: see `get_info`."""
        address = self._map().proxy_si.public_net.direct_url
        return self._client.placement.rewrite(address)

    def get_uuid(self) -> str:
        """Return the cluster's uuid, which is fixed for its life. Errors: see `get_info`."""
        return self._map().uuid

    def list_buckets(self, provider: str = const.PROVIDER_AIS) -> list[BucketModel]:
        """Return the buckets of one provider, in all namespaces.

        AIS: GET /v1/buckets, action "list".

        Args:
            provider: `ais`, `aws`, `gcp`, `azure`, `oci`; "" for all.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        call = Call(
            const.HTTP_METHOD_GET,
            _V1 + const.URL_PATH_BUCKETS,
            query_string({const.QPARAM_PROVIDER: provider}) if provider else "",
            subject=f"buckets of {provider or 'all providers'}",
            headers=JSON_HEADERS,
            body=encode_message(ActionMsg(const.ACT_LIST)),
        )
        answer = self._client.send(call)
        return self._decoded(call, answer.content, decode_buckets)

    def get_bucket_metadata(self) -> dict[BucketModel, dict[str, Any]]:
        """Return the properties of every bucket that the cluster knows, in one request.

        The properties are those of `Bucket.head`: among others `created` (quoted nanoseconds since
        the epoch), `checksum` (with its `type`) and `access` (quoted bits). The namespace of a
        bucket is None if it is the global one.

        AIS: GET /v1/daemon?what=bmd.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """

        def decode(data: bytes) -> dict[BucketModel, dict[str, Any]]:
            found = msgspec.json.decode(data, type=_Buckets)
            return {
                BucketModel(name, provider, _namespace(space)): props
                for provider, spaces in (found.providers or {}).items()
                for space, buckets in (spaces or {}).items()
                for name, props in buckets.items()
            }

        return self._ask(const.URL_PATH_DAEMON, const.WHAT_BMD, decode)

    def get_capacity(self) -> tuple[int, int]:
        """Return the storage of all targets: total and used bytes.

        Targets that share a disk each count it whole, as do mountpaths on clusters of 2023.

        AIS: GET /v1/cluster?what=sysinfo.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """

        def decode(data: bytes) -> tuple[int, int]:
            targets = (msgspec.json.decode(data, type=_Sysinfo, strict=False).target or {}).values()
            return sum(t.fs_capacity for t in targets), sum(t.fs_used for t in targets)

        return self._ask(const.URL_PATH_CLUSTER, const.WHAT_SYSINFO, decode)

    def list_jobs_status(self, job_kind: str = "", target_id: str = "") -> list[JobStatus]:
        """Return the status of running jobs and of those that ended lately.

        AIS: GET /v1/cluster?what=status_all; with a target also ?what=qryxstats.

        Args:
            job_kind: only jobs of this kind.
            target_id: only jobs that run, or ran, on this target.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        message = {"kind": job_kind, "node": target_id, "show_active": False}

        def decode(data: bytes) -> list[JobStatus]:
            return msgspec.json.decode(data, type=list[JobStatus] | None, strict=False) or []

        found = self._ask_about(const.WHAT_STATUS_ALL, message, decode)
        if not target_id:
            return found
        known = self._jobs_on(job_kind, target_id)
        return [status for status in found if status.uuid in known]

    def list_running_jobs(self, job_kind: str = "", target_id: str = "") -> list[str]:
        """Return the running jobs, each as `kind[id]`; those that only idle are among them.

        AIS: GET /v1/cluster?what=running_all; with a target also ?what=qryxstats.

        Args:
            job_kind: only jobs of this kind.
            target_id: only jobs that run on this target.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        message = {"kind": job_kind, "node": target_id, "show_active": True}

        def decode(data: bytes) -> list[str]:
            return msgspec.json.decode(data, type=list[str] | None) or []

        found = self._ask_about(const.WHAT_RUNNING_ALL, message, decode)
        if not target_id:
            return found
        known = self._jobs_on(job_kind, target_id)
        return [job for job in found if job.partition("[")[2].rstrip("]") in known]

    def list_running_etls(self) -> list[ETLInfo]:
        """Return the transformers that run.

        AIS: GET /v1/etl.

        Raises:
            UnsupportedError: the cluster runs no transformers.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        return self.list_etls()

    def list_etls(self, stages: Iterable[str] | None = (ETL_STAGE_RUNNING,)) -> list[ETLInfo]:
        """Return the transformers that are in one of some stages, by name.

        Args:
            stages: of `Running`, `Initializing`, `Aborted`; None for all.

        Raises:
            UnsupportedError, AISError, requests.RequestException: see `list_running_etls`.
        """
        call = Call(const.HTTP_METHOD_GET, _V1 + const.URL_PATH_ETL, subject="list of ETLs")
        found = self._decoded(call, self._client.send(call).content, decode_infos)
        wanted = None if stages is None else set(stages)
        kept = [info for info in found if wanted is None or info.stage in wanted]
        return sorted(kept, key=lambda info: info.id)

    def get_performance(self) -> dict[str, dict[str, Any]]:
        """Return the status of every target: counters, capacity, versions, as AIS writes them.

        AIS: GET /v1/reverse/daemon?what=node_status, for each target.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        return {node_id: self.get_node_status(node_id) for node_id in self._map().tmap}

    def get_node_status(self, node_id: str) -> dict[str, Any]:
        """Return the status of one node: counters, capacity, versions, as AIS writes them.

        AIS: GET /v1/reverse/daemon?what=node_status.

        Args:
            node_id: of a target or gateway.

        Raises:
            AISError: there is no such node, or the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        new = self._client.era.has(Feature.NODE_STATUS)
        what = const.WHAT_NODE_STATUS if new else const.WHAT_STATUS
        return msgspec.json.decode(self._ask_node(node_id, what).content, type=dict[str, Any])

    def get_node_log(self, node_id: str, severity: LogSeverity = LogSeverity.INFO) -> str:
        """Return the log that a node writes at the moment.

        AIS: GET /v1/reverse/daemon?what=log.

        Args:
            node_id: of a target or gateway.
            severity: which of its logs.

        Raises:
            AISError: there is no such node, or the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        found = self._ask_node(node_id, const.WHAT_LOG, f"&severity={severity.value}")
        return found.content.decode(const.UTF_ENCODING, "replace")

    def get_node_log_archive(self, node_id: str, severity: LogSeverity = LogSeverity.INFO) -> bytes:
        """Return all logs of a node that are still there, as a tar.gz archive.

        AIS: GET /v1/reverse/daemon?what=log&all=true. Arguments and errors: see `get_node_log`.
        """
        query = f"&severity={severity.value}&all=true"
        return self._ask_node(node_id, const.WHAT_LOG, query).content

    def get_cluster_logs(
        self, severity: LogSeverity = LogSeverity.INFO, role: NodeFilter = NodeFilter.ALL
    ) -> dict[str, str]:
        """Return the logs of all nodes of a role; arguments and errors: see `get_node_log`."""
        smap = self._map()
        nodes = {} if role is NodeFilter.PROXY else dict(smap.tmap)
        nodes |= {} if role is NodeFilter.TARGET else smap.pmap
        return {node_id: self.get_node_log(node_id, severity) for node_id in nodes}

    def is_aistore_running(self) -> bool:
        """Tell whether the cluster is ready; never raises.

        AIS: GET /v1/health?prr=true.
        """
        return self._healthy("")

    def is_ready(self) -> bool:
        """Tell whether the primary gateway says that the cluster is ready; never raises.

        AIS: GET /v1/daemon?what=smap, then GET /v1/health?prr=true at the primary.
        """
        try:
            return self._healthy(self.get_primary_url())
        except (errors.AISError, requests.RequestException):
            return False

    def _healthy(self, base: str) -> bool:
        query = f"{const.QPARAM_PRIMARY_READY}=true"
        call = Call(const.HTTP_METHOD_GET, _V1 + const.URL_PATH_HEALTH, query, base=base)
        try:
            self._client.send(call)
        except (errors.AISError, requests.RequestException):
            return False
        return True

    def _ask(self, path: str, what: str, decode: Callable[[bytes], T]) -> T:
        call = Call(const.HTTP_METHOD_GET, _V1 + path, f"{const.QPARAM_WHAT}={what}", what)
        return self._decoded(call, self._client.send(call).content, decode)

    def _ask_about(self, what: str, message: dict[str, Any], decode: Callable[[bytes], T]) -> T:
        path = _V1 + const.URL_PATH_CLUSTER
        call = Call(const.HTTP_METHOD_GET, path, f"{const.QPARAM_WHAT}={what}", what)
        call.headers, call.body = JSON_HEADERS, encode_message(message)
        return self._decoded(call, self._client.send(call).content, decode)

    def _ask_node(self, node_id: str, what: str, more: str = "") -> Answer:
        path = f"{_V1}{const.URL_PATH_REVERSE}/{const.URL_PATH_DAEMON}"
        call = Call(const.HTTP_METHOD_GET, path, f"{const.QPARAM_WHAT}={what}{more}")
        call.subject = f"{what} of node {node_id}"
        call.headers = {const.HEADER_NODE_ID: node_id}
        return self._client.send(call)

    def _jobs_on(self, job_kind: str, target_id: str) -> set[str]:
        """Return the ids of a target's jobs: clusters ignore the node that a question names."""
        message = {"ID": "", "Kind": job_kind, "DaemonID": target_id, "Bck": None, "Buckets": None}
        found = self._ask_about(const.WHAT_QUERY_XACT_STATS, message, decode_snapshots)
        return {snap.id for snap in found.snapshots.get(target_id, ())}

    def _decoded(self, call: Call, data: bytes, decode: Callable[[bytes], T]) -> T:
        try:
            return decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            message = f"{self._client.endpoint} answers, but not as AIS does: {error}"
            raise errors.NotAISError(200, message, str(call)) from error


def _namespace(space: str) -> Namespace | None:
    namespace = Namespace.from_path(space)
    return None if namespace == Namespace() else namespace
