"""Which remote buckets there are: directories that play clouds, and attached AIS clusters.

Clusters that were attached by request are kept in the catalog; those of the command line, and the
directories, have to be given at each start. Everything here lives on the event loop, but for the
calls of origins, which block and have threads of their own: a slow cluster must not hold up the
disk work of others.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from aisfs.server.buckets.props import default_props
from aisfs.server.eras import NEWEST, Era
from aisfs.server.http.errors import AisError
from aisfs.server.naming import BACKENDS, BucketName, check_bucket_name
from aisfs.server.remote.cluster import DEFUNCT, Cluster, ClusterOrigin
from aisfs.server.remote.directory import DirectoryOrigin
from aisfs.server.remote.origin import Origin
from aisfs.server.storage.catalog import Bucket, Catalog, Record

THREADS = 16
"""Calls of origins at the same time."""

_META = "remote_clusters"
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Result = TypeVar("Result")


def parse_remote(text: str) -> tuple[BucketName, Path] | Cluster:
    """Read the value of `--remote`: `aws://NAME=DIR` or `ais://@ALIAS=http://HOST:PORT`.

    Raises:
        ValueError: it is neither; the text says what is wrong.
    """
    what, equals, where = text.partition("=")
    scheme, separator, name = what.partition("://")
    if not equals or not separator or not where:
        raise ValueError(f"{text}: expecting aws://BUCKET=DIRECTORY or ais://@ALIAS=URL")
    provider = NEWEST.providers.get(scheme, "")
    if provider == "ais":
        alias = name.removeprefix("@")
        if alias == name or not _ALIAS.fullmatch(alias):
            raise ValueError(f"{text}: expecting ais://@ALIAS=URL")
        if not where.startswith(("http://", "https://")):
            raise ValueError(f"{text}: {where} is no URL of an AIS cluster")
        return Cluster(alias, where, configured=True)
    if provider not in BACKENDS:
        known = ", ".join(f"{word}://" for word in NEWEST.providers if word)
        raise ValueError(f"{text}: unknown provider {scheme}:// (one of {known})")
    try:
        check_bucket_name(name)
    except AisError as error:
        raise ValueError(f"{text}: {error.message}") from error
    path = Path(where).expanduser()
    if not path.is_dir():
        raise ValueError(f"{text}: {where} is no directory")
    return BucketName(name, provider), path.resolve()


class Remotes:
    """The table of origins.

    Attributes:
        locks: One per object that is being fetched or written through, while someone does.
        fetches: The fetch that runs for an object; all who want it wait for the same.
    """

    def __init__(self, catalog: Catalog, uuid: str, era: Era = NEWEST) -> None:
        self._era = era
        self._catalog = catalog
        self._own_uuid = uuid
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="remote")
        self._directories: dict[BucketName, DirectoryOrigin] = {}
        self.clusters: dict[str, Cluster] = {}
        self.locks: WeakValueDictionary[tuple[int, bytes], asyncio.Lock] = WeakValueDictionary()
        self.fetches: dict[tuple[int, bytes], asyncio.Task[Record]] = {}
        for item in json.loads(catalog.get_meta(_META, "[]")):
            self.clusters[item["alias"]] = Cluster(**item)

    def configure(self, text: str) -> None:
        """Add what one `--remote` names.

        Raises:
            ValueError: it cannot be understood.
            OSError: its directory cannot be opened.
        """
        parsed = parse_remote(text)
        if isinstance(parsed, Cluster):
            known = self.clusters.get(parsed.alias)
            if known is not None and known.url == parsed.url:
                parsed.uuid = known.uuid
            self.clusters[parsed.alias] = parsed
            return
        name, path = parsed
        self._directories[name] = DirectoryOrigin(name, path)

    def interrupt(self) -> None:
        """Break the connections to other clusters, so that nobody waits for their answers."""
        for cluster in self.clusters.values():
            cluster.exchange.close()

    def close(self) -> None:
        """Break off what runs and wait for its threads."""
        self.interrupt()
        self._threads.shutdown(cancel_futures=True)
        for origin in self._directories.values():
            origin.close()

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Run a blocking call in a thread, to its end also when the caller is cancelled."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # seen; the caller hears of nothing else
            raise

    def lock(self, bucket: Bucket, name: bytes) -> asyncio.Lock:
        """Return the lock under which an object is fetched or written through."""
        return self.locks.setdefault((bucket.id, name), asyncio.Lock())

    # ---- names ------------------------------------------------------------------------------

    def normal(self, name: BucketName) -> BucketName:
        """Return a name with the cluster's uuid in place of its alias, if that is known."""
        cluster = self._cluster(name.uuid) if name.uuid else None
        if cluster is None or not cluster.uuid:
            return name
        return BucketName(name.name, name.provider, cluster.uuid, name.namespace)

    def _cluster(self, word: str) -> Cluster | None:
        if word in self.clusters:
            return self.clusters[word]
        found = (item for item in self.clusters.values() if item.uuid == word)
        return next(found, None)

    async def resolve(self, name: BucketName) -> BucketName:
        """Do as `normal`, asking clusters for the uuids that are not known yet.

        Raises:
            AisError: 404 for a cluster that is not attached, 410 for one that does not answer.
        """
        if not name.uuid:
            return name
        cluster = self._cluster(name.uuid)
        if cluster is None:
            await self.learn()
            cluster = self._cluster(name.uuid)
        if cluster is None:
            error = self._era.said.unknown_cluster.error(uri=name.uri, cluster=name.uuid)
            error.at_target, error.method = True, "HEAD"
            error.url_path = f"/v1/buckets/{name.name}"
            raise error
        if not cluster.uuid:
            await self.run(cluster.smap)
            self._save()
        return self.normal(name)

    async def learn(self) -> None:
        """Ask the clusters whose uuid is unknown for it; those that are silent stay unknown."""
        unknown = [item for item in self.clusters.values() if not item.uuid]
        if unknown:
            calls = (self.run(item.smap) for item in unknown)
            await asyncio.gather(*calls, return_exceptions=True)
            self._save()

    # ---- buckets ----------------------------------------------------------------------------

    def providers(self) -> list[str]:
        """Return the cloud providers that there is a bucket of."""
        return sorted({name.provider for name in self._directories})

    def configured(self, provider: str) -> list[BucketName]:
        """Return the cloud buckets of a provider."""
        return [name for name in self._directories if name.provider == provider]

    def origin(self, name: BucketName) -> Origin:
        """Return where a remote bucket's objects come from.

        Raises:
            AisError: 404 or 410 when that is not known any more.
        """
        if name.uuid:
            cluster = self._cluster(name.uuid)
            if cluster is not None:
                return ClusterOrigin(cluster, name)
        elif name in self._directories:
            return self._directories[name]
        raise AisError(
            410,
            f"{name.uri}: its origin is not attached to this store (see serve --remote)",
            "ErrRemoteBucketOffline",
        )

    def cluster(self, uuid: str) -> Cluster:
        """Return an attached cluster by its uuid; it exists after `resolve`."""
        cluster = self._cluster(uuid)
        assert cluster is not None
        return cluster

    def cluster_origin(self, name: BucketName) -> ClusterOrigin:
        """Return the origin of a bucket of an attached cluster."""
        origin = self.origin(name)
        assert isinstance(origin, ClusterOrigin)
        return origin

    def is_configured(self, name: BucketName) -> bool:
        """Whether a cloud bucket is played by a directory."""
        return name in self._directories

    def is_missing_backend(self, provider: str) -> bool:
        """Whether there is no bucket of a cloud provider at all."""
        return provider != "ais" and not self.configured(provider)

    async def open_bucket(self, name: BucketName) -> Bucket:
        """Return a remote bucket, adding it to those that this cluster knows.

        Raises:
            AisError: 404 when it does not exist at its origin, 410 when that is silent.
        """
        name = await self.resolve(name)
        known = self._catalog.buckets.get(name)
        if known is None:
            await self.run(self.origin(name).check)
            known = self._catalog.buckets.get(name) or self.add(name)
        return known

    def add(self, name: BucketName) -> Bucket:
        """Note a bucket that exists at its origin."""
        props = default_props(self._era)
        props["provider"] = name.provider
        props["versioning"]["enabled"] = False
        return self._catalog.create_bucket(name, props)

    # ---- attached clusters ------------------------------------------------------------------

    async def attach(self, alias: str, url: str) -> None:
        """Attach a cluster; as in AIS, one that does not answer is attached, too.

        Raises:
            AisError: 400 for what is no alias or URL, or for this cluster itself.
        """
        head = f"{{node}}: failed to attach remote cluster [alias {alias} => {url}], err: "
        if not url.startswith(("http://", "https://")):
            raise AisError(400, f'{head}parse "{url}": empty url', "ErrFailedTo")
        if not _ALIAS.fullmatch(alias):
            raise AisError(400, f'{head}invalid alias "{alias}"', "ErrFailedTo")
        cluster = Cluster(alias, url)
        with contextlib.suppress(AisError):
            await self.run(cluster.smap)
        if cluster.uuid == self._own_uuid:
            raise AisError(400, f"{head}cannot attach a cluster to itself", "ErrFailedTo")
        same = self._cluster(cluster.uuid) if cluster.uuid else None
        if same is not None and same.alias != alias:
            raise AisError(400, f"{head}it is attached as {same.alias}", "ErrFailedTo")
        self.clusters[alias] = cluster
        self._save()

    def detach(self, alias: str) -> None:
        """Detach a cluster; cached copies of its objects stay on disk, out of reach.

        Raises:
            AisError: 404 when none has that alias.
        """
        if self.clusters.pop(alias, None) is None:
            message = "{node}: failed to detach remote cluster, err: not found"
            raise AisError(404, message, "ErrFailedTo")
        self._save()

    def _save(self) -> None:
        kept = [
            {"alias": item.alias, "url": item.url, "uuid": item.uuid}
            for item in self.clusters.values()
            if not item.configured
        ]
        self._catalog.set_meta(_META, json.dumps(kept))

    async def describe(self) -> list[dict[str, Any]]:
        """Return the clusters as `what=remote` shows them, each asked for its map."""
        clusters = list(self.clusters.values())
        calls = (self.run(item.smap) for item in clusters)
        smaps = await asyncio.gather(*calls, return_exceptions=True)
        return [
            {
                "smap": None if isinstance(smap, BaseException) else smap,
                "url": item.url if item.uuid else f"[{item.url}]",
                "alias": item.alias,
                "uuid": item.uuid or DEFUNCT,
            }
            for item, smap in zip(clusters, smaps, strict=True)
        ]
