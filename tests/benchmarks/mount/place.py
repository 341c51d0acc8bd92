"""Where the files are: a cluster and a bucket on it, filled with what the rows read."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from aisfs_sdk import Client
from aisfs_sdk.exchange import DIRECT_REFUSED
from aisfs_sdk.smap import object_uname, owner
from tests.benchmarks.mount.distance import far_away
from tests.support.modes import MODES
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.benchmarks.mount.sets import FileSet
    from tests.support.modes import Mode

WRITERS = 16
LARGE = 8 << 20
MIB = 1 << 20


class Place:
    """A bucket with files.

    Args:
        endpoint: URL of a gateway.
        bucket: the name of a bucket that is there.
        store: the embedded store, if that is where the bucket is.
        mode: how it is reached.

    Attributes:
        reached: URL of a node → where it is reached by those who are measured, if not there.
        entrance: URL of the gateway that they are given.
        far_client: what the SDK is measured with.
        options: what our mount needs there, words for `-o`.
        curl: what curl needs there, lines of its configuration.
        direct: whether targets serve whoever comes straight to them.
    """

    def __init__(
        self,
        endpoint: str,
        bucket: str,
        store: StoreProcess | None,
        mode: Mode = MODES["plain"],
    ) -> None:
        self.endpoint = self.entrance = endpoint
        self.reached: Mapping[str, str] = {}
        self.client = self.far_client = mode.client(store) if store else Client(endpoint)
        self.options = mode.options(store)
        self.curl = _curl_lines(mode, store)
        self.direct = mode.direct
        self.bucket = self.client.bucket(bucket)
        self._store = store
        self._smap = self.client.cluster().get_info()
        self._filled: set[FileSet] = set()

    @property
    def embedded(self) -> bool:
        """Whether this is the embedded store."""
        return self._store is not None

    @property
    def _own_urls(self) -> set[str]:
        """The URL that each node gives for itself."""
        every = [*self._smap.pmap.values(), *self._smap.tmap.values()]
        return {node.public_net.direct_url for node in every}

    @property
    def nodes(self) -> set[str]:
        """URLs of all nodes, and the one that was given for the gateway."""
        return self._own_urls | {self.endpoint}

    @property
    def ports(self) -> set[int]:
        """The ports on which nodes listen."""
        parts = [urlsplit(url) for url in self.nodes]
        return {part.port or (443 if part.scheme == "https" else 80) for part in parts}

    def url(self, name: str) -> str:
        """Return the URL of an object at the target that owns it: no redirect, no gateway.

        It is the gateway's where targets refuse whoever comes straight.
        """
        node = owner(object_uname("ais", self.bucket.name, name), self._smap.tmap)
        path = f"/v1/objects/{self.bucket.name}/{quote(name)}?provider=ais"
        base = node.public_net.direct_url if self.direct else self.endpoint
        return self.reached.get(base, base) + path

    def put_url(self, name: str) -> str:
        """Return the URL to which an object is stored, with the marks of a gateway's redirect."""
        return f"{self.url(name)}&pid={self._smap.proxy_si.daemon_id}&utm=1"

    def copy_url(self, name: str, new: str) -> str:
        """Return the URL to which a PUT without a body copies an object; as `put_url`."""
        uname = object_uname("ais", self.bucket.name, new)
        return f"{self.put_url(name)}&object_to={quote(uname, safe='')}"

    def straight_status(self) -> int:
        """Return what a target answers who comes straight for an object that is not there."""
        node = owner(object_uname("ais", self.bucket.name, "none"), self._smap.tmap)
        path = f"/v1/objects/{self.bucket.name}/none?provider=ais"
        try:
            with urllib.request.urlopen(node.public_net.direct_url + path) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def fill(self, files: FileSet) -> None:
        """Store a set of files, unless it is there."""
        if files in self._filled:
            return
        names = files.names()
        if len(self.bucket.list_all_objects(prefix=f"{files.prefix}/", props="name")) < len(names):
            if files.size >= LARGE:
                self._put_large(names, files.size)
            else:
                body = os.urandom(files.size)
                with ThreadPoolExecutor(WRITERS) as pool:
                    list(pool.map(lambda name: self.bucket.object(name).put_content(body), names))
        self._filled.add(files)

    def _put_large(self, names: list[str], size: int) -> None:
        with tempfile.NamedTemporaryFile() as file:
            for _ in range(size // MIB):
                file.write(os.urandom(MIB))
            file.flush()
            for name in names:
                self.bucket.object(name).put_file(file.name)

    # ---- requests -------------------------------------------------------------------------------

    def requests(self) -> dict[str, int]:
        """Return how many requests of each kind the store has answered so far.

        The embedded store says it in its log of requests. A cluster says it in the metrics of all
        its nodes, whoever asked: nobody else may use it meanwhile. Reads that were given up count.
        """
        return self._logged() if self._store else self._metered()

    def _logged(self) -> dict[str, int]:
        assert self._store is not None
        found = dict.fromkeys(KINDS, 0)
        for entry in self._store.requests():
            if entry["node"].startswith("p") and entry["status"] // 100 == 3:
                continue  # a redirect; the target counts
            method, path = entry["method"], entry["path"]
            if method == "GET" and path.startswith("/v1/objects/"):
                found["GET"] += 1
            elif method == "HEAD" and path.startswith("/v1/objects/"):
                found["HEAD"] += 1
            elif method == "GET" and path.startswith("/v1/buckets/"):
                found["LIST"] += 1
            elif method == "GET" and path.startswith("/v1/ml/"):
                found["BATCH"] += 1
        return found

    def _metered(self) -> dict[str, int]:
        found = dict.fromkeys(KINDS, 0)
        for url in self._own_urls:  # each once, the gateway too: it counts the listings
            with urllib.request.urlopen(f"{url}/metrics") as answer:
                text = answer.read().decode()
            for kind, pattern in KINDS.items():
                found[kind] += sum(int(float(count)) for count in re.findall(pattern, text))
        return found


KINDS = {
    "GET": r"(?m)^ais_target_(?:err_)?get_count\{.*\} (\S+)$",
    "HEAD": r"(?m)^ais_target_(?:err_)?head_count\{.*\} (\S+)$",
    "LIST": r"(?m)^ais_proxy_lst_count\{.*\} (\S+)$",
    "BATCH": r"(?m)^ais_target_getbatch_count\{.*\} (\S+)$",
}
"""Kinds of requests, and the lines of metrics that count them."""


def _curl_lines(mode: Mode, store: StoreProcess | None) -> list[str]:
    """Return what each URL of curl's list needs besides: no secret goes on a command line."""
    lines = [] if mode.direct else ["location"]
    if mode.name == "https" and store:
        lines.append(f'cacert = "{store.ca_file}"')
    if mode.name == "token" and store:
        lines.append(f'header = "Authorization: Bearer {store.token_file.read_text().strip()}"')
    return lines


@contextlib.contextmanager
def place(
    endpoint: str, kept: str, mode: Mode = MODES["plain"], delay: float = 0.0
) -> Iterator[Place]:
    """Return a place: on the cluster at `endpoint`, or on an embedded store made for it.

    Args:
        endpoint: URL of a gateway; "" for the embedded store.
        kept: a bucket to use, made if need be, that stays with its files; "" for one that goes.
        mode: how it is reached. A cluster has to refuse direct access by itself.
        delay: seconds for which every byte is on its way to those who are measured, and back.

    Raises:
        ValueError: the cluster is not in that mode.
    """
    if endpoint and mode.name in {"https", "token"}:
        raise ValueError(f"mode {mode.name} is for the embedded store: leave --endpoint out")
    with contextlib.ExitStack() as stack:
        store = None
        if not endpoint:
            store = stack.enter_context(StoreProcess(faults=bool(mode.rules), extra=mode.serve))
            endpoint = store.endpoint
        name = kept or f"bench-{uuid.uuid4().hex[:8]}"
        client = mode.client(store) if store else Client(endpoint)
        bucket = client.bucket(name).create(exist_ok=True)
        if not kept:
            stack.callback(bucket.delete)
        if store and mode.rules:
            store.faults(list(mode.rules))
        made = Place(endpoint, name, store, mode)
        if not mode.direct and made.straight_status() not in DIRECT_REFUSED:
            raise ValueError(
                f"targets of {endpoint} serve who comes straight to them: they refuse it where the"
                " cluster has AuthN or signs its own requests"
            )
        if delay:
            made.reached = stack.enter_context(far_away(made.nodes, delay))
            made.entrance = made.reached[made.endpoint]
            made.far_client = Client(made.entrance)
        yield made
