"""Writes to a mount while nodes die and come back: nothing acknowledged is lost, nothing is mixed.

`AIS_ENDPOINT=… ./run long cluster_writers` does it to a real cluster all of whose nodes are
processes of this machine, see `test_cluster_life`. The judge is another client of the cluster with
a record of what was acknowledged.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import pytest
import requests

from aisfs_sdk import Client, errors
from tests.support.blocks import body, origins
from tests.support.mount import Mount, run_aisfs
from tests.support.nodes import wait_for_cluster
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from aisfs_sdk import Bucket
    from tests.support.nodes import Machine
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

WRITERS = 4
NAMES = 6
SIZES = (100, 5_000, 300_000, 3_000_000)
OPTIONS = ["stream-after=1MiB", "log-level=info"]
PAUSE_S = 0.05
CALM_S = 3.0

HONEST = {errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EBUSY, errno.ESTALE}
"""What a write that is not acknowledged may end with while nodes are gone."""


@dataclass
class Record:
    """What the cluster may hold of one object.

    Attributes:
        acknowledged: the last version that was, and its size; 0 if none ever was.
        tried: versions and sizes after that one, which ended with an errno.
    """

    acknowledged: tuple[int, int] = (0, 0)
    tried: list[tuple[int, int]] = field(default_factory=list)

    def allows(self, name: str, content: bytes | None) -> bool:
        """Tell whether an object may be this."""
        if content is None:
            return self.acknowledged == (0, 0)
        return any(content == body(name, *each) for each in (self.acknowledged, *self.tried))


class Writers:
    """Four programs that replace files of their own, and note what `close` or `fsync` said."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount
        self._ending = threading.Event()
        self._pool = ThreadPoolExecutor(WRITERS)
        self._running: list[Future[None]] = []
        self.records = {f"w{w}-{n}": Record() for w in range(WRITERS) for n in range(NAMES)}
        self.ends: Counter[int] = Counter()
        self.longest_s = 0.0

    def __enter__(self) -> Self:
        self._running = [self._pool.submit(self._run, number) for number in range(WRITERS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._pool.shutdown()

    def end(self) -> None:
        """Let them end; raise what one of them raised."""
        self._ending.set()
        for writer in self._running:
            writer.result()

    def _run(self, number: int) -> None:
        dice, version = random.Random(number), 0
        while not self._ending.is_set():
            version += 1
            name = f"w{number}-{dice.randrange(NAMES)}"
            size = dice.choice(SIZES)
            record = self.records[name]
            began = time.monotonic()
            try:
                self._write(name, body(name, version, size), synced=dice.random() < 0.3)
            except OSError as error:
                self.ends[error.errno or -1] += 1
                record.tried.append((version, size))
                time.sleep(5 * PAUSE_S)
            else:
                self.ends[0] += 1
                record.acknowledged, record.tried = (version, size), []
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            time.sleep(PAUSE_S)

    def _write(self, name: str, content: bytes, *, synced: bool) -> None:
        fd = os.open(self._mount / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
        closed = False
        try:
            assert os.write(fd, content) == len(content)
            if synced:
                os.fsync(fd)
            closed = True
            os.close(fd)
        finally:
            if not closed:
                os.close(fd)


def judge(
    mount: Mount, bucket: Bucket, writers: Writers, tally: Callable[[str, int], None]
) -> None:
    """Compare the cluster with the record, as soon as it has everything of everybody."""
    writers.end()
    wait_for_cluster(lambda: run_aisfs("sync", mount.path).returncode == 0, "everything stored")
    wrong: dict[str, str] = {}

    def right() -> bool:
        wrong.clear()
        for name, record in writers.records.items():
            try:
                content: bytes | None = bucket.object(name).get().read_all()
            except errors.ErrObjNotFound:
                content = None
            except (errors.AISError, requests.RequestException) as error:
                wrong[name] = str(error)
                continue
            if not record.allows(name, content):
                now = "nothing" if content is None else origins(content)
                wrong[name] = f"{now}, acknowledged was version {record.acknowledged[0]}"
        return not wrong

    # What was stored elsewhere while its owner was away is still moved back to it.
    wait_until(right, "all is as it was acknowledged", pause_s=0.5, told=lambda: wrong)
    for number, count in writers.ends.items():
        tally(errno.errorcode.get(number, "acknowledged"), count)
    tally("ms the longest write", int(1000 * writers.longest_s))
    assert set(writers.ends) - {0} <= HONEST, writers.ends
    assert writers.ends[0] > 10
    for name, record in writers.records.items():
        if record.acknowledged != (0, 0):
            assert record.allows(name, (mount.path / name).read_bytes())


def test_a_store_that_dies_loses_nothing_that_was_acknowledged(
    store: StoreProcess, tally: Callable[[str, int], None]
) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    with (
        Mount(store.endpoint, "ais://b", options=OPTIONS) as mount,
        Writers(mount.path) as writers,
    ):
        time.sleep(1)
        store.kill()
        time.sleep(1)
        store.restart()
        time.sleep(2)
        judge(mount, bucket, writers, tally)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_nodes_of_a_cluster_die_and_come_back_while_it_is_written(
    endpoint: str, bucket: Bucket, machine: Machine, tally: Callable[[str, int], None]
) -> None:
    client = Client(endpoint)

    def members() -> set[str]:
        smap = client.cluster().get_info()
        return {*smap.tmap, *smap.pmap}

    gateway, target = machine.gateways[0], machine.targets[0]
    with (
        Mount(endpoint, f"ais://{bucket.name}", options=OPTIONS) as mount,
        Writers(mount.path) as writers,
    ):
        time.sleep(CALM_S)
        gateway.kill()
        time.sleep(4 * CALM_S)
        gateway.start()
        wait_for_cluster(lambda: _answers(client), "the gateway is back")
        time.sleep(CALM_S)
        target.kill()
        wait_for_cluster(lambda: target.node_id not in members(), "rid of the dead target")
        time.sleep(2 * CALM_S)
        target.start()
        wait_for_cluster(lambda: target.node_id in members(), "joined by the target again")
        time.sleep(4 * CALM_S)
        judge(mount, bucket, writers, tally)
    client.close()


def _answers(client: Client) -> bool:
    try:
        return client.cluster().is_aistore_running()
    except (errors.AISError, requests.RequestException):
        return False
