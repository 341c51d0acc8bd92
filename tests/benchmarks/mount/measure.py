"""What a run costs: CPU time and memory of process trees, from /proc.

The costs of a mount are those of its daemon and of everything that it started; the kernel's work
for a request is charged to whoever waits in it, reader or daemon. Sampling reads one small file per
process four times a second.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.25


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run(*command: str | Path) -> None:
    """Run a program whose output does not matter."""
    subprocess.run([os.fspath(word) for word in command], stdout=subprocess.DEVNULL, check=True)


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for one in found:  # grows while we go
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue  # that thread has ended
    return found


def cpu_seconds(*pids: int) -> float:
    """Return the CPU time of processes so far, with that of their children that were waited for."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / TICKS


def pss(*pids: int) -> int:
    """Return the bytes of memory of processes; a page that n processes share counts 1/n."""
    return sum(_field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in pids)


def peak_rss(*pids: int) -> int:
    """Return the sum of the most bytes that each process ever had in memory."""
    return sum(_field(Path(f"/proc/{pid}/status"), "VmHWM:") for pid in pids)


def _field(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0  # the process has ended meanwhile
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(name)), 0)


class PeakMemory:
    """`with PeakMemory(pid) as memory: …`, then `memory.before`, `memory.peak`: bytes of PSS.

    A peak between two samples is missed; `peak_rss` misses none, but counts shared pages twice.
    """

    def __init__(self, pid: int, every_s: float = SAMPLE_S) -> None:
        self._pid = pid
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.before = self.peak = pss(*tree(pid))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.peak = max(self.peak, pss(*tree(self._pid)))

    def _sample(self) -> None:
        while not self._ended.wait(self._every_s):
            self.peak = max(self.peak, pss(*tree(self._pid)))
