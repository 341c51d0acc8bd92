"""A program that writes to a mount whose daemon is killed, and the judge of what is left.

The program keeps a record of what was acknowledged, and another client of the cluster is the judge.
What must never happen: an acknowledged byte that is lost, an object that is a mixture, a mount that
does not come up again.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from aisfs_sdk.errors import ErrObjNotFound
from tests.support.blocks import body, origins
from tests.support.mount import Mount

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from aisfs_sdk import Bucket

WAYS = {
    "dirty": ("write", ""),
    "fsynced": ("fsync", "acknowledged"),
    "in flight": ("close", ""),
    "failed": ("close", "refused"),
    "queued": ("close", "acknowledged"),
    "replay": ("close", "acknowledged"),
}
"""State → what the program does, and its word by which the state is reached, "" for none."""

PROMISED = {"fsynced", "queued", "replay"}

SIZES = (0, 20, 5_000, 300_000, 2_500_000)

WRITER = """
import os, sys
from tests.support.blocks import body
path, name, version, size, verb = sys.argv[1:]
data = body(name, int(version), int(size))
fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
half = len(data) // 2
os.write(fd, data[:half])
print("begun", flush=True)
sys.stdin.readline()
while verb == "write":
    os.pwrite(fd, data[half:], half)
os.write(fd, data[half:])
if verb == "fsync":
    os.fsync(fd)
    print("acknowledged", flush=True)
    while True:
        os.pwrite(fd, b"never acknowledged" * 1000, half)
try:
    os.close(fd)
except OSError:
    print("refused", flush=True)
else:
    print("acknowledged", flush=True)
"""
"""Says how far it is; "acknowledged" is what the mount promised."""


class Writer:
    """A program that has written the first half of one version of a file on the mount."""

    def __init__(self, mount: Mount, name: str, version: int, size: int, verb: str) -> None:
        words = [str(mount.path / name), name, str(version), str(size), verb]
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.wait_for("begun")

    def go_on(self) -> None:
        """Have it do what it was started for."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

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


class Trial(ABC):
    """One mount that is killed, and the judge's record of what each object may be.

    Args:
        endpoint, bucket: where it is mounted.
        state: what is under way when the daemon is killed.
        dice: decides sizes and moments.
        told: adds to the table of state × outcome.
        options: more words for `-o`.
    """

    def __init__(
        self,
        endpoint: str,
        bucket: Bucket,
        state: str,
        dice: random.Random,
        told: Callable[[str, int], None],
        *options: str,
    ) -> None:
        self._bucket = bucket
        self._state = state
        self._dice = dice
        self._told = told
        self._numbers = itertools.count(1)
        words = ["log-level=info", "listing-ttl=0s", "attribute-ttl=0s", "negative-ttl=0s"]
        if state in {"queued", "replay"}:
            words.append("write-back")
        self.mount = Mount(endpoint, f"ais://{bucket.name}", options=[*words, *options])

    def __enter__(self) -> Self:
        self.mount.mount()
        return self

    def __exit__(self, *error: object) -> None:
        self.let_go()
        self.mount.__exit__(*error)  # type: ignore[arg-type]

    @abstractmethod
    def hold(self, size: int) -> None:
        """Have the cluster hold up what stores the file, in the states that need it.

        Args:
            size: bytes of the file.
        """

    @abstractmethod
    def wait_in_flight(self) -> None:
        """Wait until the PUT is under way."""

    @abstractmethod
    def let_go(self) -> None:
        """Have the cluster answer again."""

    @abstractmethod
    def kill_while_replaying(self) -> None:
        """Kill the daemon of the next mount while it sends what the last one promised."""

    def kill(self) -> None:
        """Kill the daemon once in the state, mount again, and judge."""
        name = f"f{next(self._numbers)}"
        size = self._dice.choice(SIZES)
        if self._dice.random() < 0.6:
            self._bucket.object(name).put_content(body(name, 1, self._dice.choice(SIZES[1:])))
        before = self._content(name)
        writer = self._bring_about(name, size)
        self.pause()
        self.mount.kill()  # before the program: else its end would be a close
        acknowledged = writer.end() or self._state in PROMISED
        self.let_go()
        if self._state == "replay":
            self.kill_while_replaying()
        self.mount.remount()
        self._judge(name, before, body(name, 2, size), acknowledged)

    def pause(self) -> None:
        """Let a random moment pass, which is the point."""
        time.sleep(self._dice.random() * 0.05)

    def _bring_about(self, name: str, size: int) -> Writer:
        """Bring the file into the state, with the program that does so."""
        verb, word = WAYS[self._state]
        writer = Writer(self.mount, name, 2, size, verb)
        self.hold(size)
        writer.go_on()
        if word:
            writer.wait_for(word)
        if self._state == "in flight":
            self.wait_in_flight()
        return writer

    # -- the judge

    def _content(self, name: str) -> bytes | None:
        """Return an object's bytes as another client sees them."""
        try:
            return self._bucket.object(name).get().read_all()
        except ErrObjNotFound:
            return None

    def _judge(self, name: str, old: bytes | None, new: bytes, acknowledged: bool) -> None:
        state, now = self._state, self._content(name)
        text = "nothing" if now is None else origins(now)
        assert now in (old, new), f"{state}: {name} is neither old nor new: {text}"
        if acknowledged or state == "failed":
            assert now == new, f"{state}: what was acknowledged is lost: {text}"
        if state == "dirty":
            assert now == old, f"{state}: what nobody closed is stored: {text}"
        copies = [e.name for e in self._bucket.list_all_objects(prefix=f"{name}.aisfs-conflict-")]
        assert copies == [], f"{state}: nobody else wrote"
        path = self.mount.path / name
        if now is None:
            assert not path.exists()
        else:
            assert path.read_bytes() == now
        assert list((self.mount.state / "staging").iterdir()) == []
        self._told(f"{state}: {'new' if now == new else 'old'}, whole", 1)
