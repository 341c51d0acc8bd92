"""Buckets of another AIS cluster that is attached to this one.

AIS: `attach`, `namespace=@uuid`. Messages are those of the other cluster with its name in front.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aisfs.server.http.errors import AisError
from aisfs.server.naming import BucketName, encode_name
from aisfs.server.remote.exchange import Answer, Exchange
from aisfs.server.remote.origin import Attributes, Listed, Page, PageRequest
from aisfs_sdk import const

DEFUNCT = "defunct"
"""What AIS shows as uuid of a cluster that it could never reach."""

_NO_RECURSION = 2048
_LISTED_PROPS = "name,size,version,checksum"


@dataclass(slots=True)
class Cluster:
    """An attached cluster; its uuid is empty until it was reached once.

    Attributes:
        alias: What users call it.
        url: Its gateway.
        uuid: What it calls itself.
        configured: True when the command line attached it.
    """

    alias: str
    url: str
    uuid: str = ""
    configured: bool = False
    exchange: Exchange = field(init=False)

    def __post_init__(self) -> None:
        self.exchange = Exchange(self.url, self.label)

    @property
    def label(self) -> str:
        """The form that messages quote."""
        return f"remote-cluster[{self.uuid}/@{self.alias}]"

    def smap(self) -> dict[str, Any]:
        """Ask for the cluster's map, and learn its uuid.

        Raises:
            AisError: 410 when it does not answer, or not as AIS does.
        """
        with self.exchange.request("GET", "/v1/daemon?what=smap") as answer:
            data = answer.body()
            try:
                smap = json.loads(data)
                self.uuid = str(smap["uuid"])
            except (ValueError, TypeError, KeyError) as error:
                shown = ConnectionError(f"no cluster map (status {answer.status})")
                raise self.exchange.offline(shown) from error
        self.exchange.label = self.label
        return dict(smap)

    def bucket_names(self) -> list[BucketName]:
        """List the cluster's own buckets."""
        message = {"action": const.ACT_LIST}
        with self.exchange.request("GET", "/v1/buckets?provider=ais", message) as answer:
            data = json.loads(_ok(self, answer))
        found = []
        for item in data or []:
            namespace = item.get("namespace") or {}
            if not namespace.get("uuid"):
                name = str(namespace.get("name") or "")
                found.append(BucketName(str(item["name"]), "ais", self.uuid, name))
        return found


class ClusterOrigin:
    """A bucket of an attached cluster."""

    def __init__(self, cluster: Cluster, name: BucketName) -> None:
        self._cluster = cluster
        self._exchange = cluster.exchange
        namespace = f"&namespace=%40%23{quote(name.namespace)}" if name.namespace else ""
        self._query = f"?provider=ais{namespace}"
        self._bucket = f"/v1/buckets/{quote(name.name)}{self._query}"
        self._objects = f"/v1/objects/{quote(name.name)}/"

    def _object(self, name: str) -> str:
        return self._objects + quote(encode_name(name)) + self._query

    # ---- the bucket -------------------------------------------------------------------------

    def check(self) -> None:
        """Raise 404 when the cluster has no such bucket."""
        with self._exchange.request("HEAD", self._bucket) as answer:
            _ok(self._cluster, answer)

    def create(self, props: Any) -> None:
        """Create the bucket there."""
        message = {"action": const.ACT_CREATE_BCK, "value": props}
        with self._exchange.request("POST", self._bucket, message) as answer:
            _ok(self._cluster, answer)

    def destroy(self) -> None:
        """Destroy the bucket there, with all that is in it."""
        message = {"action": const.ACT_DESTROY_BCK}
        with self._exchange.request("DELETE", self._bucket, message) as answer:
            _ok(self._cluster, answer)

    def page(self, request: PageRequest) -> Page:
        """List one page."""
        value = {
            "prefix": request.prefix,
            "pagesize": request.limit,
            "uuid": "",
            "props": request.props or _LISTED_PROPS,
            "continuation_token": request.after,
            "flags": "0" if request.recursive else str(_NO_RECURSION),
            "target": "",
        }
        if request.time_format:
            value["time_format"] = request.time_format
        message = {"action": const.ACT_LIST, "value": value}
        with self._exchange.request("GET", self._bucket, message) as answer:
            data = _ok(self._cluster, answer)
        # Names need not be UTF-8.
        fields = json.loads(data.decode("utf-8", "surrogateescape"))
        entries = [_listed(item) for item in fields.get("entries") or []]
        return Page(entries, bool(fields.get("continuation_token")))

    # ---- objects ----------------------------------------------------------------------------

    def stat(self, name: str) -> Attributes:
        """Ask for an object's attributes."""
        with self._exchange.request("HEAD", self._object(name)) as answer:
            _ok(self._cluster, answer)
            return _attributes(answer, int(answer.headers.get("content-length") or 0))

    @contextlib.contextmanager
    def read(self, name: str) -> Iterator[tuple[Attributes, Iterator[bytes]]]:
        """Open an object."""
        with self._exchange.request("GET", self._object(name)) as answer:
            if answer.status >= 400:
                self.stat(name)  # what AIS asks first, and whose refusal it reports
                _ok(self._cluster, answer)
            length = answer.headers.get("content-length")
            if length is None:
                raise self._exchange.offline(ConnectionError("reply without a length"))
            yield _attributes(answer, int(length)), answer.pieces()

    def write(self, name: str, source: Path) -> Attributes:
        """Store a file's bytes; as in AIS, custom metadata does not travel."""
        with self._exchange.request("PUT", self._object(name), source=source) as answer:
            # The body is not read: AIS 3.17 announces one that never comes.
            if answer.status >= 400:
                _ok(self._cluster, answer)
            return _attributes(answer, source.stat().st_size)

    def delete(self, name: str) -> None:
        """Delete an object."""
        with self._exchange.request("DELETE", self._object(name)) as answer:
            _ok(self._cluster, answer)


def _attributes(answer: Answer, size: int) -> Attributes:
    headers = answer.headers
    return Attributes(
        size,
        headers.get("ais-version", ""),
        {"source": "ais"},
        headers.get("ais-checksum-type", ""),
        headers.get("ais-checksum-value", ""),
    )


def _listed(item: dict[str, Any]) -> Listed:
    flags = int(item.get("flags") or 0)
    name = str(item["name"])
    if flags & const.ENTRY_DIRECTORY:
        return Listed(name if name.endswith("/") else f"{name}/", -1)
    return Listed(
        name,
        int(item.get("size") or 0),
        str(item.get("version") or ""),
        str(item.get("checksum") or ""),
        str(item.get("atime") or ""),
        str(item.get("location") or ""),
        int(item.get("copies") or 0),
    )


def _ok(cluster: Cluster, answer: Answer) -> bytes:
    """Return the body of a success; pass a refusal on, with the cluster's name in front.

    Raises:
        AisError: the remote's own status.
    """
    if answer.status < 400:
        return answer.body()
    text = answer.headers.get("hdr-error") or answer.body().decode("utf-8", "replace")
    try:
        fields = json.loads(text)
        message, node = str(fields["message"]), str(fields.get("node") or "")
    except (ValueError, TypeError, KeyError):
        raise AisError(answer.status, f"{cluster.label}: {text[:200]}") from None
    if node and message.startswith(f"{node}: "):
        message = f"{node}@{cluster.uuid}{message[len(node) :]}"
    raise AisError(
        answer.status,
        f"{cluster.label}: {message}",
        str(fields.get("tcode") or ""),
        node=node,
        method=str(fields.get("method") or ""),
        url_path=str(fields.get("url_path") or ""),
    )
