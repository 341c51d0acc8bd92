"""What a mount tells of itself, asked for so that one that hangs keeps nobody waiting.

Serves `status`. A child opens the control files, and is left behind if it does not come back; a
mount without control files tells nothing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from aisfs.cli import mounts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CONTROL = ".aisfs"

_READ = """
import json, sys
for file in sys.argv[1:]:
    try:
        with open(file, errors="surrogateescape") as opened:
            text = opened.read()
    except OSError:
        text = None
    print(json.dumps(text), flush=True)
"""


def figures_of(mountpoint: Path, limit_s: float = 2.0) -> dict[str, int]:
    """Return what a mount counts (`stats`), and how many jobs of its cluster run, `jobs.running`.

    What was not told within the limit is left out.
    """
    files = [mountpoint / _CONTROL / "stats.json", mountpoint / _CONTROL / "jobs" / "list"]
    told = _read(files, limit_s)
    figures: dict[str, int] = json.loads(told[0]) if told[0] else {}
    if told[1] is not None:
        states = [line.rpartition(" ")[2] for line in told[1].splitlines()]
        figures["jobs.running"] = states.count("running")
    return figures


def _read(files: Sequence[Path], limit_s: float) -> list[str | None]:
    """Return the content of each file, or None for one that could not be read in time."""
    reader, writer = os.pipe()
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 2)]
    words = [sys.executable, "-I", "-S", "-c", _READ, *(os.fspath(file) for file in files)]
    actions = [*null, (os.POSIX_SPAWN_DUP2, writer, 1)]
    pid = os.posix_spawn(sys.executable, words, os.environ, file_actions=actions)
    os.close(writer)
    try:
        lines = _receive(reader, limit_s).split(b"\n")[:-1]
    finally:
        os.close(reader)
    if not mounts.wait_for_exit(pid, 0 if len(lines) < len(files) else limit_s):
        os.kill(pid, signal.SIGKILL)
    else:
        os.waitpid(pid, 0)
    contents: list[str | None] = [json.loads(line) for line in lines]
    return contents + [None] * (len(files) - len(contents))


def _receive(reader: int, limit_s: float) -> bytes:
    """Return what comes until the writer has gone, or the limit is over."""
    end, received = time.monotonic() + limit_s, b""
    while select.select([reader], [], [], max(end - time.monotonic(), 0))[0]:
        part = os.read(reader, 1 << 16)
        if not part:
            break
        received += part
    return received
