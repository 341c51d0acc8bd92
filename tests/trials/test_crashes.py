"""kill -9 of the daemon in every state of a file that is being stored, again and again.

See `support/killed_writers` for what is written and judged. `./run long crashes` kills 40 times in
each state. With `AIS_ENDPOINT` it does so also on a real cluster all of whose nodes are processes
of this machine: its targets are stopped for a moment where the embedded store is given faults.

    state            the daemon is killed while                           acknowledged by
    dirty            the program writes                                   nobody
    fsynced          it goes on writing after an fsync                    fsync: what it had then
    in flight        a close waits for its PUT, at some byte of it        nobody
    failed           a close returned an error                            nobody, but kept
    queued           closes returned 0 under write-back                   close
    replay           the next mount sends what was queued                 close
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import Client
from tests.support.crashes import kill_while_mounting
from tests.support.killed_writers import WAYS, Trial
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from aisfs_sdk import Bucket
    from tests.support.nodes import Machine
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

PUT: dict[str, Any] = {"method": "PUT", "role": "target", "path": "^/v1/objects"}
SLOW: dict[str, Any] = {"action": "delay", "seconds": 5}
LATE: dict[str, Any] = {"action": "stall", "seconds": 5}
FAILS: dict[str, Any] = {"action": "error", "status": 500}
CUT: dict[str, Any] = {"action": "cut-upload", "after_bytes": 1}

FAULTS = {
    "in flight": [SLOW, LATE, CUT],
    "failed": [FAILS],
    "queued": [FAILS, SLOW, LATE],
    "replay": [FAILS],
}
"""State → faults of the PUT that bring it about."""


class StoreTrial(Trial):
    """On an embedded store, which is told what to do with the PUT."""

    def __init__(self, store: StoreProcess, *rest: Any) -> None:
        super().__init__(store.endpoint, Client(store.endpoint).bucket("crashes").create(), *rest)
        self._store = store

    def hold(self, size: int) -> None:
        if self._state in FAULTS:
            fault = dict(self._dice.choice(FAULTS[self._state]))
            if "after_bytes" in fault:
                fault["after_bytes"] = self._dice.randrange(size + 1)
            self._store.faults([{**PUT, **fault}])

    def wait_in_flight(self) -> None:
        wait_until(self._store.struck, "a PUT")

    def let_go(self) -> None:
        self._store.clear_faults()

    def kill_while_replaying(self) -> None:
        self._store.faults([{**PUT, **self._dice.choice((SLOW, LATE, CUT))}])
        assert kill_while_mounting(self.mount, self._struck, "a PUT")
        self._store.clear_faults()

    def _struck(self) -> bool:
        """Tell whether the fault struck, a random moment ago."""
        if not self._store.struck():
            return False
        self.pause()
        return True


class ClusterTrial(Trial):
    """On a real cluster, whose targets are stopped while they are to be slow."""

    def __init__(self, machine: Machine, bucket: Bucket, *rest: Any) -> None:
        super().__init__(machine.endpoint, bucket, *rest, "timeout=2s", "connect-timeout=1s")
        self._machine = machine
        self._stopped = ExitStack()

    def hold(self, size: int) -> None:
        if self._state in FAULTS:
            self._stopped.enter_context(self._machine.stopped_targets())

    def wait_in_flight(self) -> None:
        self.pause()  # what fits into the socket is sent, and its answer does not come

    def let_go(self) -> None:
        self._stopped.close()

    def kill_while_replaying(self) -> None:
        before, held = self._sendings(), self._dice.random() < 0.5
        if held:
            self.hold(0)

        def sending() -> bool:
            if self._sendings() == before:
                return False
            time.sleep(self._dice.random() * 0.008)  # where nothing is held it is over soon
            return True

        in_time = kill_while_mounting(self.mount, sending, "a replay")
        assert in_time or not held
        self.let_go()

    def _sendings(self) -> int:
        return self.mount.log.count("of an earlier mount: 0 are stored")


@pytest.mark.long
@pytest.mark.parametrize("state", WAYS)
def test_crashes(
    store: StoreProcess,
    state: str,
    seeded: random.Random,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    """After each kill the object is the old or the new one, and new if that was acknowledged."""
    with StoreTrial(store, state, seeded, tally) as trial:
        for _ in range(rounds(2, 40)):
            trial.kill()


@pytest.mark.long
@pytest.mark.parametrize("state", WAYS)
def test_crashes_on_a_cluster(
    machine: Machine,
    bucket: Bucket,
    state: str,
    seeded: random.Random,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    """The same where the cluster decides what a cut request leaves."""
    with ClusterTrial(machine, bucket, state, seeded, tally) as trial:
        for _ in range(rounds(2, 40)):
            trial.kill()
