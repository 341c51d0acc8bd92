"""Waiting for what other processes, threads and the kernel do in their own time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT_S = 60.0
PAUSE_S = 0.005


def wait_until(
    reached: Callable[[], object],
    what: str,
    limit_s: float = LIMIT_S,
    pause_s: float = PAUSE_S,
    told: Callable[[], object] = str,
) -> None:
    """Wait until something is true; fail with what it is that did not come.

    Args:
        reached: is asked again after each pause.
        what: says in words what it asks for.
        limit_s: seconds after which it is a failure; more than a busy machine can need.
        pause_s: seconds; those that ask another process or a cluster take more.
        told: returns what else a failure tells.
    """
    for _ in _pauses(reached, what, limit_s, told):
        time.sleep(pause_s)


async def until(reached: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait in the same way while the tasks of trio go on."""
    for _ in _pauses(reached, what, limit_s, str):
        await trio.sleep(PAUSE_S)


def _pauses(
    reached: Callable[[], object], what: str, limit_s: float, told: Callable[[], object]
) -> Iterator[None]:
    end = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what} {told()}"
        yield
