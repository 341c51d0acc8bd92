"""The nodes of a real cluster on this machine: found by their ports, killed, started again.

Everything is read from the cluster map and /proc, so it does not matter how they were started.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from aisfs_sdk import Client
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aisfs_sdk.smap import Snode

LONG_S = 600.0
"""Seconds that a cluster may take to notice a death, or to be well again."""

LISTENING = "0A"
DEATH_S = 10.0
CLUSTER, LOCAL = "-config=", "-local_config="


class Node:
    """A process that listens on a port of this machine, and how it was started.

    Attributes:
        node_id: what the cluster calls it.
        url: where clients reach it.
    """

    def __init__(
        self, node_id: str, url: str, arguments: list[str], environment: Mapping[str, str], cwd: str
    ) -> None:
        self.node_id = node_id
        self.url = url
        self._port = int(url.rpartition(":")[2])
        self._arguments = arguments
        self._environment = dict(environment)
        self._cwd = cwd

    @classmethod
    def find(cls, snode: Snode) -> Self:
        """Return the process behind a node of the map.

        Raises:
            LookupError: it is none of this machine's that we may look into.
        """
        url = snode.public_net.direct_url
        pid = _listener(int(url.rpartition(":")[2]))
        process = Path(f"/proc/{pid}")
        try:
            return cls(
                snode.daemon_id,
                url,
                _strings(process / "cmdline"),
                dict(each.partition("=")[::2] for each in _strings(process / "environ")),
                str((process / "cwd").readlink()),
            )
        except OSError as error:
            raise LookupError(f"{url} belongs to process {pid}: {error}") from error

    def kill(self) -> None:
        """End the process as a crash does, and wait until its port is closed."""
        self.signal(signal.SIGKILL)
        limit = time.monotonic() + DEATH_S
        while self.listens:
            assert time.monotonic() < limit, f"{self.node_id} survived SIGKILL"
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        os.kill(_listener(self._port), number)

    @property
    def listens(self) -> bool:
        """Whether there is somebody at its port."""
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self._port)) == 0

    def start(self) -> None:
        """Start it as it was started, as nobody's child: it outlives this process."""
        subprocess.run(
            ["setsid", "--fork", *self._arguments],
            env=self._environment,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    def another(self, node_id: str, directory: Path) -> Node:
        """Return a node like this one that has an id, a port and folders of its own.

        Raises:
            LookupError: how it was configured is not understood.
        """
        try:
            local = json.loads(self._file(LOCAL))
            # Its own, too: a node that is decommissioned removes the files that it was given.
            (directory / "cluster.json").write_text(self._file(CLUSTER), "utf-8")
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 0))
                port = sock.getsockname()[1]
            net = local["host_net"]
            net |= {key: str(port) for key in net if key.startswith("port")}
            for key in ("confdir", "log_dir", "data"):
                (directory / key).mkdir()
            local |= {key: str(directory / key) for key in ("confdir", "log_dir")}
            if local.get("fspaths"):
                local["fspaths"] = {str(directory / "data"): ""}
            else:
                local["test_fspaths"]["root"] = f"{directory}/data/"
        except (StopIteration, OSError, ValueError, KeyError) as error:
            raise LookupError(f"no config of {self.node_id} that can be varied: {error}") from error
        config = directory / "local.json"
        config.write_text(json.dumps(local), "utf-8")
        files = {CLUSTER: directory / "cluster.json", LOCAL: config}
        arguments = [
            next((key + str(path) for key, path in files.items() if word.startswith(key)), word)
            for word in self._arguments
        ]
        url = f"{self.url.rpartition(':')[0]}:{port}"
        environment = self._environment | {"AIS_DAEMON_ID": node_id}
        return Node(node_id, url, arguments, environment, self._cwd)

    def _file(self, option: str) -> str:
        """Return the text of the file that an option names."""
        word = next(word for word in self._arguments if word.startswith(option))
        return Path(word.removeprefix(option)).read_text("utf-8")


class Machine:
    """A real cluster whose nodes are processes of this machine, and what can happen to it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        client = Client(endpoint)
        smap = client.cluster().get_info()
        client.close()
        try:
            self.gateways = [Node.find(node) for node in smap.pmap.values()]
            self.targets = [Node.find(node) for node in smap.tmap.values()]
        except LookupError as error:
            pytest.skip(f"the nodes have to be processes of this machine: {error}")
        # The mount's own first; the primary of a fresh cluster is the one that it was told of.
        self.gateways.sort(key=lambda node: node.url != endpoint)
        if self.gateways[0].url != endpoint or len(self.gateways) < 2 or len(self.targets) < 3:
            pytest.skip(f"{endpoint} is not one of 2 gateways of a cluster of 3 targets")

    @contextmanager
    def stopped_targets(self) -> Iterator[None]:
        """Keep all targets from answering; for seconds, else the cluster does without them."""
        for node in self.targets:
            node.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for node in self.targets:
                node.signal(signal.SIGCONT)

    def mend(self) -> None:
        """Start what is down."""
        for node in self.gateways + self.targets:
            if not node.listens:
                node.start()


def wait_for_cluster(done: Callable[[], object], what: str) -> None:
    """Wait for what a cluster brings about by itself."""
    wait_until(done, what, LONG_S, pause_s=0.2)


def _strings(path: Path) -> list[str]:
    return os.fsdecode(path.read_bytes()).split("\0")[:-1]


def _listener(port: int) -> int:
    """Return the process that listens on a port; `LookupError` if none can be found."""
    sockets = {
        f"socket:[{words[9]}]"
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for words in map(str.split, Path(table).read_text("ascii").splitlines()[1:])
        if words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == port
    }
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if any(os.readlink(fd) in sockets for fd in (process / "fd").iterdir()):  # noqa: PTH115
                return int(process.name)
        except OSError:
            continue  # it ended, or is not ours
    raise LookupError(f"no process of this machine that we may see listens on port {port}")
