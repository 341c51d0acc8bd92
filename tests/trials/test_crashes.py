"""kill -9 of the daemon in every state of a file that is being stored, again and again.

A program writes and keeps a record of what was acknowledged; another client of the cluster is the
judge. `./run long crashes` kills 40 times in each state. What must never happen: an acknowledged
byte that is lost, an object that is a mixture, a mount that does not come up again.

    state            the daemon is killed while                           acknowledged by
    dirty            the program writes                                   nobody
    fsynced          it goes on writing after an fsync                    fsync: what it had then
    in flight        a close waits for its PUT, at some byte of it        nobody
    failed           a close returned an error                            nobody, but kept
    queued           closes returned 0 under write-back                   close
    replay           the next mount sends what was queued                 close
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from aisfs_sdk import Client
from aisfs_sdk.errors import ErrObjNotFound
from tests.support.blocks import body, origins
from tests.support.crashes import kill_while_mounting, wait_until
from tests.support.mount import Mount

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

PUT: dict[str, Any] = {"method": "PUT", "role": "target", "path": "^/v1/objects"}
SLOW: dict[str, Any] = {"action": "delay", "seconds": 5}
LATE: dict[str, Any] = {"action": "stall", "seconds": 5}
FAILS: dict[str, Any] = {"action": "error", "status": 500}
CUT: dict[str, Any] = {"action": "cut-upload", "after_bytes": 1}
NOTHING: dict[str, Any] = {}

WAYS = {
    "dirty": ("write", "begun", [NOTHING]),
    "fsynced": ("fsync", "acknowledged", [NOTHING]),
    "in flight": ("close", "begun", [SLOW, LATE, CUT]),
    "failed": ("close", "refused", [FAILS]),
    "queued": ("close", "acknowledged", [FAILS, SLOW, LATE]),
    "replay": ("close", "acknowledged", [FAILS]),
}
"""State → what the program does, its word by which the state is reached, and faults of the PUT."""

PROMISED = {"fsynced", "queued", "replay"}

SIZES = (0, 20, 5_000, 300_000, 2_500_000)

WRITER = """
import os, sys
from tests.support.blocks import body
path, name, version, size, verb = sys.argv[1:]
data = body(name, int(version), int(size))
fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
half = len(data) // 2
if verb == "fsync":
    os.write(fd, data)
    os.fsync(fd)
    print("acknowledged", flush=True)
    while True:
        os.pwrite(fd, b"never acknowledged" * 1000, half)
os.write(fd, data[:half])
print("begun", flush=True)
while verb == "write":
    os.pwrite(fd, data[half:], half)
os.write(fd, data[half:])
try:
    os.close(fd)
except OSError:
    print("refused", flush=True)
else:
    print("acknowledged", flush=True)
"""
"""Says how far it is; "acknowledged" is what the mount promised."""


class Writer:
    """A program that writes one version of a file on the mount."""

    def __init__(self, mount: Mount, name: str, version: int, size: int, verb: str) -> None:
        words = [str(mount.path / name), name, str(version), str(size), verb]
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, *words], stdout=subprocess.PIPE, text=True
        )

    def wait_for(self, word: str) -> None:
        """Wait until the program says a word."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"the writer ended without saying {word!r}")

    def end(self) -> bool:
        """End the program; tell whether it was acknowledged after the last word waited for."""
        self._process.kill()
        said, _ = self._process.communicate(timeout=30)
        return "acknowledged" in said


class Trial:
    """One mount that is killed, and the judge's record of what each object may be.

    Attributes:
        told: adds to the table of state × outcome.
    """

    def __init__(
        self, store: StoreProcess, state: str, dice: random.Random, told: Callable[..., None]
    ) -> None:
        self._store = store
        self._dice = dice
        self.told = told
        self._numbers = itertools.count(1)
        self._bucket: Bucket = Client(store.endpoint).bucket("crashes").create()
        options = ["log-level=info", "listing-ttl=0s", "attribute-ttl=0s", "negative-ttl=0s"]
        if state in {"queued", "replay"}:
            options.append("write-back")
        self._state = state
        self._mount = Mount(store.endpoint, "ais://crashes", options=options)

    def __enter__(self) -> Self:
        self._mount.mount()
        return self

    def __exit__(self, *error: object) -> None:
        self._store.clear_faults()
        if error[0] is not None:
            print(self._mount.log_tail())
        self._mount._clean_up()

    def kill(self) -> None:
        """Kill the daemon once in the state, mount again, and judge."""
        state = self._state
        name = f"f{next(self._numbers)}"
        size = self._dice.choice(SIZES)
        old = self._dice.random() < 0.6
        if old:
            self._bucket.object(name).put_content(body(name, 1, self._dice.choice(SIZES[1:])))
        before = self._content(name)
        writer = self._bring_about(state, name, size)
        time.sleep(self._dice.random() * 0.05)  # the random moment is the point
        self._mount.kill()  # before the program: else its end would be a close
        acknowledged = writer.end() or state in PROMISED
        self._store.clear_faults()
        if state == "replay":
            self._kill_while_mounting()
        self._mount.remount()
        self._judge(state, name, before, body(name, 2, size), acknowledged)

    def _bring_about(self, state: str, name: str, size: int) -> Writer:
        """Bring the file into a state, with the program that does so."""
        verb, word, faults = WAYS[state]
        fault = dict(self._dice.choice(faults))
        if fault.get("after_bytes"):
            fault["after_bytes"] = self._dice.randrange(size + 1)
        self._store.faults([{**PUT, **fault}] if fault else [])
        writer = Writer(self._mount, name, 2, size, verb)
        writer.wait_for(word)
        if state == "in flight":
            wait_until(self._store.struck, "a PUT")
        return writer

    def _kill_while_mounting(self) -> None:
        """Kill the daemon of the next mount while it sends what the last one promised."""
        self._store.faults([{**PUT, **self._dice.choice((SLOW, LATE, CUT))}])
        kill_while_mounting(self._mount, self._struck, "a PUT")
        self._store.clear_faults()

    def _struck(self) -> bool:
        """Tell whether the fault struck, a random moment ago."""
        if not self._store.struck():
            return False
        time.sleep(self._dice.random() * 0.05)
        return True

    # -- the judge

    def _content(self, name: str) -> bytes | None:
        """Return an object's bytes as another client sees them."""
        try:
            return self._bucket.object(name).get().read_all()
        except ErrObjNotFound:
            return None

    def _judge(
        self, state: str, name: str, old: bytes | None, new: bytes, acknowledged: bool
    ) -> None:
        now = self._content(name)
        text = "nothing" if now is None else origins(now)
        assert now in (old, new), f"{state}: {name} is neither old nor new: {text}"
        if acknowledged or state == "failed":
            assert now == new, f"{state}: what was acknowledged is lost: {text}"
        if state == "dirty":
            assert now == old, f"{state}: what nobody closed is stored: {text}"
        copies = [e.name for e in self._bucket.list_all_objects(prefix=f"{name}.aisfs-conflict-")]
        assert copies == [], f"{state}: nobody else wrote"
        path = self._mount.path / name
        if now is None:
            assert not path.exists()
        else:
            assert path.read_bytes() == now
        assert list((self._mount.state / "staging").iterdir()) == []
        self.told(f"{state}: {'new' if now == new else 'old'}, whole", 1)


@pytest.mark.long
@pytest.mark.parametrize("state", WAYS)
def test_crashes(
    store: StoreProcess,
    state: str,
    seeded: random.Random,
    rounds: Callable[[int, int], int],
    tally: Callable[..., None],
) -> None:
    """After each kill the object is the old or the new one, and new if that was acknowledged."""
    with Trial(store, state, seeded, tally) as trial:
        for _ in range(rounds(2, 40)):
            trial.kill()
