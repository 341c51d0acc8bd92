"""Reads of a mount while nodes die, come back, join and leave: right bytes, or an honest errno.

`AIS_ENDPOINT=… ./run long cluster_life` does it to a real cluster all of whose nodes are processes
of this machine. It kills them and starts them again, so it needs a cluster that nobody else uses.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pytest
import requests

from aisfs_sdk import Client, RetryConfig, errors
from tests.support.blocks import body, origins
from tests.support.mount import Mount
from tests.support.nodes import LONG_S, wait_for_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from aisfs_sdk import Bucket
    from tests.support.nodes import Machine, Node
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

T = TypeVar("T")

READERS = 8
FILES = {f"large/{n}": 3 << 20 for n in range(16)} | {f"small/{n:02}": 90_000 for n in range(48)}
STEP = 128 << 10
PAUSE_S = 0.03
OPTIONS = ["cache-size=8MiB", "readahead=2MiB", "log-level=info"]

LIMIT_S = 30.0
"""Most seconds of any call: 3 to connect, 20 to the first byte, and what waking up may take."""

RECOVERY_S = 10.0
"""Seconds after which a cluster that is well again is read without a failure."""

SLOW_S = 5.0
CALM_S = 3.0
HONEST = {errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EBUSY}
"""What can be said of an object that cannot be reached; not that it is gone, or another one."""


@dataclass(frozen=True, slots=True)
class Call:
    """One system call: which, on which file, from when to when (monotonic), its errno or 0."""

    what: str
    name: str
    began: float
    ended: float
    errno: int


class Readers:
    """Eight readers who compare every byte, from entry to exit.

    Some files stay open all the time, others are opened each time; half of the reads go past the
    kernel's cache, of the others nothing is left in it.
    """

    def __init__(self, mount: Path) -> None:
        self._mount = mount
        self._ending = threading.Event()
        self._pool = ThreadPoolExecutor(READERS)
        self._running: list[Future[None]] = []
        self.calls: list[Call] = []
        self._bodies = {name: body(name, 1, size) for name, size in FILES.items()}

    def __enter__(self) -> Self:
        self._running = [self._pool.submit(self._run, random.Random(n)) for n in range(READERS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._pool.shutdown()

    def take(self) -> list[Call]:
        """Return the calls since the last time; raise what a reader raised."""
        for reader in self._running:
            if reader.done():
                reader.result()
        calls, self.calls = self.calls, []
        return calls

    def unreadable(self) -> set[str]:
        """Return the files of which a step somewhere cannot be read now; not counted as calls."""
        failed = set()
        for name in FILES:
            try:
                with (self._mount / name).open("rb") as file:
                    assert file.read(STEP) == self._bodies[name][:STEP]
            except OSError:
                failed.add(name)
        return failed

    def _run(self, dice: random.Random) -> None:
        with ExitStack() as stack:
            held: dict[str, int] = {}
            for name in dice.sample(list(FILES), 6):
                held[name] = os.open(self._mount / name, os.O_RDONLY | os.O_DIRECT)
                stack.callback(os.close, held[name])
            while not self._ending.is_set():
                if dice.random() < 0.3:
                    name, fd = dice.choice(list(held.items()))
                    for _ in range(4):
                        self._step(fd, name, dice.randrange(FILES[name] // STEP + 1) * STEP)
                else:
                    self._whole(dice.choice(list(FILES)), dice.random() < 0.5)

    def _whole(self, name: str, past_the_cache: bool) -> None:
        flags = os.O_RDONLY | (os.O_DIRECT if past_the_cache else 0)
        fd = self._timed(name, os.open, self._mount / name, flags)
        if fd is None:
            return
        try:
            for offset in range(0, FILES[name], STEP):
                if self._ending.is_set() or not self._step(fd, name, offset):
                    break
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def _step(self, fd: int, name: str, offset: int) -> bool:
        """Read and compare a step; a read may be cut short by a failure, so as often as needed."""
        end = min(offset + STEP, FILES[name])
        while offset < end:
            data = self._timed(name, os.pread, fd, end - offset, offset)
            if data is None:
                return False
            right = self._bodies[name][offset : offset + len(data)]
            assert data, f"{name} ends at {offset}"
            assert data == right, f"{name} at {offset}: {origins(data)}"
            offset += len(data)
        return True

    def _timed(self, name: str, call: Callable[..., T], *arguments: Any) -> T | None:
        """Call, and note how it ended; return None if it failed, after a pause."""
        began = time.monotonic()
        result = None
        failure = 0
        try:
            result = call(*arguments)
        except OSError as error:
            failure = error.errno or -1
        self.calls.append(Call(call.__name__, name, began, time.monotonic(), failure))
        time.sleep(PAUSE_S if not failure else 5 * PAUSE_S)
        return result


class Life:
    """A cluster, its readers on a mount, and what they saw of each event.

    Args:
        gateways: URLs of gateways; one of them answers whatever happens.
        bucket: filled with `FILES`.
        recovery_s: seconds after which a cluster that is well again is read without a failure.
    """

    def __init__(
        self,
        gateways: list[str],
        bucket: Bucket,
        readers: Readers,
        tally: Callable[[str, int], None],
        *,
        recovery_s: float = RECOVERY_S,
    ) -> None:
        self._gateways = gateways
        self._bucket = bucket.name
        self._readers = readers
        self._tally = tally
        self._recovery_s = recovery_s

    def ask(self, question: Callable[[Client], T]) -> T | None:
        """Ask gateways as any client does, following them, once; None if there is no answer."""
        for gateway in self._gateways:
            client = Client(
                gateway, timeout=(1, 5), retry_config=RetryConfig(1), direct_reads=False
            )
            try:
                return question(client)
            except (requests.RequestException, errors.AISError):
                continue
            finally:
                client.close()
        return None

    def targets(self) -> set[str]:
        """Return the targets that the map names; none where nobody tells."""
        smap = self.ask(lambda client: client.cluster().get_info())
        return set(smap.tmap) if smap else set()

    def well(self) -> bool:
        """Tell whether the cluster says that it is ready, and every object can be read."""
        return self.ask(self._well) is not None

    def _well(self, client: Client) -> bool:
        bucket = client.bucket(self._bucket)
        if not client.cluster().is_aistore_running():
            raise requests.ConnectionError
        for name, size in FILES.items():
            assert len(bucket.object(name).get().read_all()) == size
        return True

    @contextmanager
    def event(self, what: str) -> Iterator[None]:
        """Let something happen, wait until the cluster is well, and judge what readers saw."""
        self._readers.take()
        began = time.monotonic()
        yield
        wait_for_cluster(self.well, f"well after {what}")
        well = time.monotonic()
        time.sleep(self._recovery_s + CALM_S)
        calls = self._readers.take()
        failed = [call for call in calls if call.errno]
        for name, count in Counter(errno.errorcode[call.errno] for call in failed).items():
            self._tally(f"{name} ({what})", count)
        self._tally(f"calls well ({what})", len(calls) - len(failed))
        self._tally(f"ms the longest ({what})", int(1000 * max(c.ended - c.began for c in calls)))
        self._tally(f"s until the cluster was well ({what})", round(well - began))
        late = max([call.ended - well for call in failed], default=0.0)
        self._tally(f"ms until reads were ({what})", int(1000 * max(late, 0.0)))
        for call in calls:
            if call.ended - call.began > SLOW_S:
                took = call.ended - call.began
                print(f"{what}: {call.what} {call.name} took {took:.1f} s, errno {call.errno}")
        assert {call.errno for call in failed} <= HONEST
        assert max(call.ended - call.began for call in calls) <= LIMIT_S
        assert not [call for call in failed if call.began > well + self._recovery_s]
        assert not (unread := self._readers.unreadable()), unread

    def failures_since(self, moment: float) -> set[str]:
        """Return the files of which calls failed that began after a moment."""
        return {call.name for call in self._readers.calls if call.errno and call.began > moment}


def fill(bucket: Bucket) -> None:
    for name, size in FILES.items():
        bucket.object(name).put_content(body(name, 1, size))


def test_a_store_that_dies_is_read_on_when_it_is_back(
    store: StoreProcess, tally: Callable[[str, int], None]
) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    fill(bucket)
    with (
        Mount(store.endpoint, "ais://b", options=OPTIONS) as mount,
        Readers(mount.path) as readers,
    ):
        life = Life([store.endpoint], bucket, readers, tally, recovery_s=3.0)
        time.sleep(1)
        with life.event("the store is killed and comes back with one more target"):
            store.kill()
            time.sleep(1)
            store.restart(targets=4)


@pytest.mark.long
def test_nodes_of_a_cluster_come_and_go_while_it_is_read(
    endpoint: str,
    bucket: Bucket,
    machine: Machine,
    tmp_path: Path,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    fill(bucket)
    with (
        Mount(endpoint, f"ais://{bucket.name}", options=OPTIONS) as mount,
        Readers(mount.path) as readers,
    ):
        life = Life([node.url for node in machine.gateways], bucket, readers, tally)
        events = [
            partial(gateway_dies, life, machine.gateways[0], "the mount's gateway"),
            partial(gateway_dies, life, machine.gateways[1], "the other gateway"),
            partial(target_dies, life, machine, bucket),
            partial(target_joins, life, machine, tmp_path),
            partial(rebalance, life),
            partial(target_leaves, life, machine),
            partial(restart, life, machine),
        ]
        time.sleep(CALM_S)
        for event in events[: rounds(1, len(events))]:
            event()


def gateway_dies(life: Life, gateway: Node, what: str) -> None:
    """Kill a gateway, perhaps the primary; the other one is enough, then both are back."""
    with life.event(f"{what} killed"):
        gateway.kill()
    with life.event(f"{what} back"):
        gateway.start()


def target_dies(life: Life, machine: Machine, bucket: Bucket) -> None:
    """Kill a target; only its objects may fail; it comes back when the cluster has noticed."""
    victim = machine.targets[0]
    before = life.ask(lambda client: client.cluster().get_info())
    assert before is not None
    owned = {
        name for name in FILES
        if before.get_target_for_object(bucket.object(name).uname).daemon_id == victim.node_id
    }  # fmt: skip
    assert owned
    with life.event("target killed"):
        victim.kill()
        wait_for_cluster(lambda: victim.node_id not in life.targets(), "rid of the dead target")
        noticed = time.monotonic()
        time.sleep(RECOVERY_S + CALM_S)
        failed = life.failures_since(noticed + CALM_S)
        assert failed, "reads of a dead target's objects went well"
        assert failed <= owned
        victim.start()


def target_joins(life: Life, machine: Machine, directory: Path) -> None:
    """Add a target with nothing on it: a third of the objects have another owner at once."""
    fresh = machine.targets[-1].another(f"t{uuid.uuid4().hex[:8]}", directory)
    with life.event("target added"):
        fresh.start()
        wait_for_cluster(lambda: fresh.node_id in life.targets(), "joined by the new target")
    machine.targets.append(fresh)


def rebalance(life: Life) -> None:
    with life.event("rebalance"):
        # It is refused while the one that the new target caused is at work.
        wait_for_cluster(lambda: life.ask(rebalanced) or False, "rebalanced")


def rebalanced(client: Client) -> bool:
    job = client.job(client.job(job_kind="rebalance").start())
    return job.wait(timeout=int(LONG_S), verbose=False).success


def target_leaves(life: Life, machine: Machine) -> None:
    """Take the added target out again, by the cluster's own verb."""
    leaving = machine.targets.pop()
    with life.event("target decommissioned"):
        message = {
            "action": "decommission-node",
            "value": {"sid": leaving.node_id, "rm_user_data": True},
        }
        assert life.ask(lambda c: c.request_client.request("PUT", "cluster", json=message))
        wait_for_cluster(lambda: leaving.node_id not in life.targets(), "left by the target")
    if leaving.listens:
        leaving.kill()


def restart(life: Life, machine: Machine) -> None:
    nodes = machine.gateways + machine.targets
    with life.event("cluster restarted"):
        for node in nodes:
            node.kill()
        time.sleep(CALM_S)
        for node in nodes:
            node.start()
