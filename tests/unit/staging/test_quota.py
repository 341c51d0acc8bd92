from __future__ import annotations

import pytest
import trio
import trio.testing

from aisfs.errors import NoSpace, TooLarge
from aisfs.staging.quota import WAIT_S, Quota


async def test_what_fits_is_taken_at_once() -> None:
    quota = Quota(100)
    await quota.reserve(60)
    await quota.reserve(40)
    assert quota.used == 100
    quota.release(100)
    assert quota.used == 0


async def test_what_can_never_fit_is_refused_at_once(autojump_clock: trio.abc.Clock) -> None:
    quota = Quota(100)
    started = trio.current_time()
    with pytest.raises(TooLarge):
        await quota.reserve(101)
    assert trio.current_time() == started
    assert quota.used == 0


async def test_a_writer_waits_for_room(autojump_clock: trio.abc.Clock) -> None:
    quota = Quota(100)
    await quota.reserve(80)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(quota.reserve, 50)
        await trio.sleep(WAIT_S / 2)
        assert quota.used == 80
        quota.release(80)
    assert quota.used == 50


async def test_a_writer_does_not_wait_for_ever(autojump_clock: trio.abc.Clock) -> None:
    quota = Quota(100)
    await quota.reserve(80)
    started = trio.current_time()
    with pytest.raises(NoSpace):
        await quota.reserve(50)
    assert trio.current_time() - started == pytest.approx(WAIT_S)
    assert quota.used == 80


async def test_the_limit_holds_when_many_wait(autojump_clock: trio.abc.Clock) -> None:
    quota = Quota(100)
    await quota.reserve(100)
    taken = []

    async def writer() -> None:
        await quota.reserve(30)
        taken.append(30)
        assert quota.used <= quota.limit

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(writer)
        await trio.testing.wait_all_tasks_blocked()
        quota.release(100)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(taken), quota.used) == (3, 90)
        quota.release(90)
    assert (len(taken), quota.used) == (6, 90)


async def test_a_cancelled_writer_takes_nothing() -> None:
    quota = Quota(100)
    await quota.reserve(100)
    with trio.CancelScope() as scope:
        scope.cancel()
        await quota.reserve(10)
    assert quota.used == 100
