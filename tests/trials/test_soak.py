"""A mount that works for long: reads, writes, listings, control files, and a store that restarts.

`./run long soak` does it for 30 minutes and writes what it saw to `soak.json` and `soak.svg` in the
directory that AISFS_TEST_OUTPUT names. In the second half nothing may grow: neither memory nor
descriptors nor threads, nor the time that the slowest one of a hundred calls takes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import statistics
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from matplotlib.figure import Figure

from aisfs_sdk import Client
from tests.support.memory import pss
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.fuse

FILES = 200
LARGEST = 1 << 20
DIGEST_BYTES = 32
PAUSE_S = 0.01
"""Between two calls of a thread: this is about hours, not about speed."""

AFTER_RESTART_S = 30.0
WHILE_AWAY = {
    errno.EIO, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EBUSY, errno.ESTALE
}  # fmt: skip
"""What calls may fail with while the store is away, and shortly after."""

FIGURES = ("memory_mib", "descriptors", "threads", "p99_ms")
MIB = 1 << 20


class Soak:
    """Four kinds of work beside each other, and what they and the daemon were seen to do.

    Attributes:
        samples: figures by time, in the order of `FIGURES` behind the seconds since the start.
        wrong: what must not have happened.
    """

    def __init__(self, store: StoreProcess, mount: Mount, seed: int) -> None:
        self._store = store
        self._root = mount.path
        self._pid = mount.daemon_pid
        self._dice = random.Random(seed)
        self._over = threading.Event()
        self._away_until = 0.0
        self._took: list[float] = []
        self.started = time.monotonic()
        self.samples: list[tuple[float, ...]] = []
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self, seconds: float, sample_s: float, restart_s: float) -> None:
        """Work for some time, with restarts of the store in between."""
        threads = [
            threading.Thread(target=self._repeat, args=(work,))
            for work in (self._write, self._read, self._read, self._list, self._control)
        ]
        for thread in threads:
            thread.start()
        restart = self.started + restart_s
        while time.monotonic() < self.started + seconds and not self.wrong:
            time.sleep(sample_s)
            self._sample()
            if time.monotonic() >= restart:
                self._restart()
                restart = time.monotonic() + restart_s
        self._over.set()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), "a call hangs"

    def _restart(self) -> None:
        self._away_until = float("inf")
        self._store.kill()
        time.sleep(self._dice.random())
        self._store.start()
        self._away_until = time.monotonic() + AFTER_RESTART_S
        self.counts["restart"] += 1

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                work()
            except OSError as error:
                known = error.errno in WHILE_AWAY and began < self._away_until
                self.counts[f"{work.__name__.strip('_')} {errno.errorcode[error.errno or 0]}"] += 1
                if not known:
                    self.wrong.append(f"{work.__name__}: {error}")
            except AssertionError as error:
                self.wrong.append(f"{work.__name__}: {error}")
            else:
                self.counts[work.__name__.strip("_")] += 1
            self._over.wait(PAUSE_S)

    def _timed(self, began: float) -> None:
        if began > self._away_until:
            self._took.append(time.monotonic() - began)

    # -- work

    def _path(self) -> Path:
        number = self._dice.randrange(FILES)
        return self._root / f"d{number % 8}" / f"{number:03}"

    def _write(self) -> None:
        path = self._path()
        path.parent.mkdir(exist_ok=True)
        size = self._dice.choice((0, 100, 5000, self._dice.randrange(LARGEST)))
        rest = self._dice.randbytes(size)
        began = time.monotonic()
        other = path.with_name(f"new-{path.name}")
        other.write_bytes(hashlib.sha256(rest).digest() + rest)
        other.replace(path)
        self._timed(began)
        if self._dice.random() < 0.1:
            self._path().unlink(missing_ok=True)

    def _read(self) -> None:
        began = time.monotonic()
        with suppress(FileNotFoundError):
            body = self._path().read_bytes()
            self._timed(began)
            digest, rest = body[:DIGEST_BYTES], body[DIGEST_BYTES:]
            assert digest == hashlib.sha256(rest).digest(), f"{len(body)} bytes that nobody wrote"

    def _list(self) -> None:
        for entry in self._root.iterdir():
            began = time.monotonic()
            with suppress(FileNotFoundError):
                with os.scandir(entry) as entries:
                    for each in entries:
                        each.stat()
                self._timed(began)
        time.sleep(0.2)

    def _control(self) -> None:
        control = self._root / ".aisfs"
        for name in ("stats", "cluster/health", "jobs/list", "log", "buckets/ais/b/props.json"):
            (control / name).read_text()
        word = self._dice.choice(("drop", "invalidate", "drop d1", "invalidate d2/", "flush d3/"))
        with suppress(FileNotFoundError):
            (control / "cache/ctl").write_text(f"{word}\n")
        time.sleep(0.5)

    # -- figures

    def _sample(self) -> None:
        took, self._took = sorted(self._took), []
        p99 = took[len(took) * 99 // 100] * 1e3 if took else float("nan")
        process = Path(f"/proc/{self._pid}")
        descriptors, threads = (len(list((process / each).iterdir())) for each in ("fd", "task"))
        now = time.monotonic() - self.started
        self.samples.append((now, pss(self._pid) / MIB, descriptors, threads, p99))

    def growth(self) -> dict[str, tuple[float, float]]:
        """Return the median of each figure in the third and in the last quarter."""
        quarter = len(self.samples) // 4
        third, last = self.samples[2 * quarter : 3 * quarter], self.samples[3 * quarter :]
        return {
            name: (_median(third, number), _median(last, number))
            for number, name in enumerate(FIGURES, 1)
        }

    def save(self, directory: Path) -> None:
        """Write the figures, and a picture of them."""
        told = {"columns": ["seconds", *FIGURES], "samples": self.samples, "calls": self.counts}
        (directory / "soak.json").write_text(json.dumps(told))
        picture = Figure(figsize=(9, 8), layout="constrained")
        for number, (name, axes) in enumerate(
            zip(FIGURES, picture.subplots(len(FIGURES), sharex=True), strict=True), 1
        ):
            axes.plot([s[0] for s in self.samples], [s[number] for s in self.samples], linewidth=1)
            axes.set_ylabel(name)
            axes.set_ylim(bottom=0)
        axes.set_xlabel("seconds")
        picture.savefig(directory / "soak.svg")


def _median(samples: list[tuple[float, ...]], column: int) -> float:
    return statistics.median(s[column] for s in samples if s[column] == s[column])


@pytest.mark.long
def test_nothing_grows(
    seeded: random.Random,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
    tmp_path: Path,
) -> None:
    seconds = rounds(12, 1800)
    full = seconds > 60
    with StoreProcess() as store:
        Client(store.endpoint).bucket("b").create()
        options = ["cache-memory=32MiB", f"cache-dir={tmp_path}/cache", "cache-size=256MiB",
                   "log-level=info"]  # fmt: skip
        with Mount(store.endpoint, "ais://b", options=options) as mount:
            soak = Soak(store, mount, seeded.randrange(1 << 32))
            soak.run(seconds, 5 if full else 0.5, 180 if full else 6)
            assert not soak.wrong
    soak.save(Path(os.environ.get("AISFS_TEST_OUTPUT", tmp_path)))
    for what, count in soak.counts.items():
        tally(what, count)
    assert not soak.wrong
    assert soak.counts["restart"] >= 1
    assert all(soak.counts[what] for what in ("write", "read", "list", "control"))
    if full:
        (memory, descriptors, threads, p99) = soak.growth().values()
        assert memory[1] <= memory[0] * 1.05 + 2
        assert descriptors[1] <= descriptors[0] + 4
        assert threads[1] <= threads[0] + 4
        assert p99[1] <= p99[0] * 2 + 5
