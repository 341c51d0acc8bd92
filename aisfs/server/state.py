"""What all nodes of one store share, and how names become buckets, objects and owners."""

import asyncio
import json
import secrets
import string
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from aisfs.server.eras import Era
from aisfs.server.etl.registry import Etls
from aisfs.server.http.errors import AisError
from aisfs.server.http.faults import Faults
from aisfs.server.http.metrics import Metrics
from aisfs.server.http.request_log import RequestLog
from aisfs.server.jobs.table import Jobs
from aisfs.server.naming import BACKENDS, BucketName, check_bucket_name
from aisfs.server.nodes.config import Config
from aisfs.server.nodes.log import NodeLog
from aisfs.server.objects.uploads import Uploads
from aisfs.server.promote.sources import Roots
from aisfs.server.remote.registry import Remotes
from aisfs.server.storage.blobs import Blobs
from aisfs.server.storage.catalog import Bucket, Catalog
from aisfs.server.trust import Trust
from aisfs_sdk.smap import digest, hrw, object_uname

MAX_REMEMBERED = 1024
"""Ids of listings remembered, for the releases that ask; and summaries, until they are fetched."""

Value = TypeVar("Value")

_ID_ALPHABET = string.ascii_letters + string.digits


@dataclass(slots=True)
class Node:
    """A gateway (`p`) or a storage target (`t`).

    Attributes:
        id: Stable over restarts.
        role: `proxy` or `target`.
        host: Where clients reach it.
        port: Known once the node listens.
        scheme: `http` or `https`.
    """

    id: str
    role: str
    host: str = "127.0.0.1"
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        """Base URL."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def label(self) -> str:
        """The form messages quote: `p[id]`, `t[id]`."""
        return f"{self.role[0]}[{self.id}]"

    def to_json(self, flags: int, *, with_digest: bool = True) -> dict[str, Any]:
        """Return the node's entry in the cluster map."""
        net = {
            "node_ip_addr": self.host,
            "daemon_port": str(self.port),
            "direct_url": self.url,
        }
        entry = {
            "public_net": net,
            "intra_data_net": net,
            "intra_control_net": net,
            "daemon_type": self.role,
            "daemon_id": self.id,
            "flags": flags,
        }
        return {**entry, "id_digest": digest(self.id)} if with_digest else entry


@dataclass(slots=True)
class Store:
    """The whole store: nodes, records, bytes, and what runs beside the requests.

    Everything but the threads of `workers` lives on one event loop; code between two awaits is
    atomic, which is what makes "look up, then open" and "commit, then move" safe without locks.
    """

    root: Path
    blobs: Blobs
    catalog: Catalog
    uuid: str
    created: str
    proxy: Node
    targets: list[Node]
    faults: Faults
    log: RequestLog
    jobs: Jobs
    trust: Trust
    era: Era
    etls: Etls
    remotes: Remotes
    config: Config
    promote_roots: Roots = field(default_factory=Roots)
    metrics: Metrics = field(default_factory=Metrics)
    node_log: NodeLog = field(default_factory=NodeLog)
    uploads: Uploads = field(default_factory=Uploads)
    shard_locks: WeakValueDictionary[tuple[int, bytes], asyncio.Lock] = field(
        default_factory=WeakValueDictionary
    )
    listings: dict[str, None] = field(default_factory=dict)
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    smap_version: int = 1
    started_ns: int = field(default_factory=time.monotonic_ns)
    workers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(4, thread_name_prefix="store")
    )

    async def in_thread(self, function: Any, *arguments: Any) -> Any:
        """Run blocking work in a worker thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.workers, function, *arguments)

    def find_bucket(self, name: BucketName) -> Bucket:
        """Return an existing bucket that this cluster knows.

        Raises:
            AisError: 404, in the words that clients map to their exceptions; 400 if none can have
                this name.
        """
        name = self.remotes.normal(name)
        bucket = self.catalog.buckets.get(name)
        if bucket is not None:
            return bucket
        check_bucket_name(name.name, self.era)
        if name.provider == "ht":  # buckets of HTTP addresses, in AIS 3.17 only
            raise AisError(
                404, f'remote bucket "{name.uri}" does not exist', "ErrRemoteBckNotFound"
            )
        if name.provider in BACKENDS and self.remotes.is_missing_backend(name.provider):
            raise self.era.said.cloud_lookup.error(
                uri=name.uri, provider=name.provider, backend=BACKENDS[name.provider]
            )
        if name.provider in BACKENDS:
            raise AisError(
                404,
                f'{name.provider} bucket "{name.uri}" does not exist',
                "ErrRemoteBckNotFound",
            )
        if name.uuid:
            message = f'remote bucket "{name.uri}" does not exist'
            raise AisError(404, message, "ErrRemoteBckNotFound")
        raise AisError(404, f'bucket "{name.uri}" does not exist', "ErrBckNotFound")

    def check_still_there(self, bucket: Bucket) -> None:
        """Refuse to commit into a bucket that was destroyed while the bytes came in.

        Raises:
            AisError: 404.
        """
        if self.find_bucket(bucket.name) is not bucket:
            raise AisError(404, f'bucket "{bucket.name.uri}" does not exist', "ErrBckNotFound")

    async def open_bucket(self, name: BucketName) -> Bucket:
        """Return a bucket; a remote one is looked for at its origin and then known here, too.

        Raises:
            AisError: 404 when there is none, 410 when the origin is silent.
        """
        known = name.uuid or self.remotes.is_configured(name)
        return await self.remotes.open_bucket(name) if known else self.find_bucket(name)

    def owner(self, bucket: Bucket, name: str) -> Node:
        """Return the target that owns an object (HRW)."""
        identity = bucket.name
        uname = object_uname(
            identity.provider, identity.name, name, identity.uuid, identity.namespace
        )
        winner = hrw(uname, [target.id for target in self.targets])
        return next(target for target in self.targets if target.id == winner)

    def note_listing(self, uuid: str) -> None:
        """Remember the id of a listing; the oldest of many go."""
        _remember(self.listings, uuid, None)

    def note_summary(self, job: str, figures: dict[str, Any]) -> None:
        """Remember what a job summed up; the oldest of many go."""
        _remember(self.summaries, job, figures)

    def disk_label(self) -> str:
        """Return the disk part of `Ais-Location`: path, disk, disk class."""
        return f"mp[{self.blobs.root}, embedded{self.era.disk_class}]"


def _remember(kept: dict[str, Value], key: str, value: Value) -> None:
    kept[key] = value
    if len(kept) > MAX_REMEMBERED:
        del kept[next(iter(kept))]


def random_id(length: int = 9) -> str:
    """Return an id in the form AIS gives jobs, uploads and clusters."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(length))


def load_identities(catalog: Catalog, targets: int, host: str) -> tuple[str, Node, list[Node]]:
    """Return cluster uuid, gateway and targets, the same at every start of a data directory.

    Node ids are fixed names, not random ones: placement then is the same in every fresh store,
    and a failing test fails again. The cluster's uuid is random, as clients key caches by it.
    """
    uuid = catalog.get_meta("uuid")
    if not uuid:
        uuid = random_id()
        catalog.set_meta("uuid", uuid)
        catalog.set_meta("created", time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()))
    nodes = [Node(f"taisfs{number:03d}", "target", host) for number in range(1, targets + 1)]
    return uuid, Node("paisfs000", "proxy", host), nodes


def load_ports(catalog: Catalog) -> dict[str, int]:
    """Return the ports that the nodes had last time, to be tried first."""
    ports: dict[str, int] = json.loads(catalog.get_meta("ports", "{}"))
    return ports


def save_ports(store: Store) -> None:
    """Remember the nodes' ports; the cluster map's version rises when they changed."""
    ports = {node.id: node.port for node in (store.proxy, *store.targets)}
    version = int(store.catalog.get_meta("smap_version", "0"))
    if ports != load_ports(store.catalog) or not version:
        version += 1
        store.catalog.set_meta("ports", json.dumps(ports))
        store.catalog.set_meta("smap_version", str(version))
    store.smap_version = version
