"""How much memory a process takes, for tests of limits."""

from __future__ import annotations

from pathlib import Path


def pss(pid: int) -> int:
    """Return a process's proportional set size in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no Pss in smaps_rollup")
