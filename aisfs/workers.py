"""Work on many things, a few at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

T = TypeVar("T")


async def for_each(
    items: Collection[T], work: Callable[[T], Awaitable[None]], at_a_time: int
) -> None:
    """Do some work on each item, in their order, a few beside each other.

    Raises:
        Exception: what the work raised first; it ends the others.
    """
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(min(at_a_time, len(items))):
                nursery.start_soon(worker)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
