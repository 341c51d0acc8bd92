"""Waiting for a cluster on behalf of a program that nobody could kill meanwhile.

Serves `commands`, `events` and `information`. The kernel tells us of no signal that comes while a
program waits for our answer, so it is looked for: `/proc/PID/status` shows those that wait for
delivery.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import trio

PATIENCE_S = 25.0
"""Longest that a program waits: kernels may be told to give a mount up that takes 30 s."""

LOOK_S = 0.1

_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM)
_SETS = re.compile(r"^(SigPnd|ShdPnd|SigBlk|SigIgn):\s*([0-9a-f]+)$", re.MULTILINE)


async def wait_for(event: trio.Event, pid: int) -> bool:
    """Wait for an event; False if a program has to go on without it.

    Args:
        event: what is waited for.
        pid: of the program; 0 for one of another namespace, which is only not kept for long.
    """
    end = trio.current_time() + PATIENCE_S
    while True:
        with trio.move_on_after(LOOK_S):
            await event.wait()
        if event.is_set() or trio.current_time() >= end or is_told_to_end(pid):
            return event.is_set()


def is_told_to_end(pid: int) -> bool:
    """Tell whether a signal waits for a process that would end most programs, or it has ended."""
    if pid == 0:
        return False
    if is_gone(pid):
        return True
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:
        return False  # it is there, and we may not look
    sets = {name: int(mask, 16) for name, mask in _SETS.findall(status)}
    if len(sets) < 4:
        return False
    waiting = (sets["SigPnd"] | sets["ShdPnd"]) & ~sets["SigBlk"] & ~sets["SigIgn"]
    return any(waiting >> (number - 1) & 1 for number in _ENDING)


def is_gone(pid: int) -> bool:
    """Tell whether there is no such process any more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it is there, of another user
    return False
