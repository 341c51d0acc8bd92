"""What benchmarks measure with: clocks, and commands that have to succeed."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


TICKS: int = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run(*command: str | Path) -> None:
    """Run a program whose output does not matter."""
    subprocess.run([os.fspath(word) for word in command], stdout=subprocess.DEVNULL, check=True)
