from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from aisfs.errors import Forbidden, FsError, Unreachable
from aisfs.staging.outbox import FIRST_PAUSE_S, LONGEST_PAUSE_S, WORKERS, Outbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Sender:
    """What is sent, when, and how that ends."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.failure: BaseException | None = None
        self.gate: trio.Event | None = None
        self.running = 0
        self.most = 0

    async def send(self) -> None:
        self.times.append(trio.current_time())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.failure is not None:
                raise self.failure
        finally:
            self.running -= 1


@pytest.fixture
async def outbox(nursery: trio.Nursery) -> AsyncIterator[Outbox]:
    made = Outbox()
    nursery.start_soon(made.run)
    yield made
    made.stop()


async def test_what_is_added_is_sent_and_forgotten(
    autojump_clock: trio.abc.Clock, outbox: Outbox
) -> None:
    sender = Sender()
    outbox.add("a", 5, sender.send)
    assert outbox.figures() == {
        "unsent.queued": 1,
        "unsent.failed": 0,
        "unsent.bytes": 5,
        "unsent.other": 0,
    }
    await trio.testing.wait_all_tasks_blocked()
    assert len(sender.times) == 1
    assert len(outbox) == 0


async def test_a_refused_parcel_waits_twice_as_long_each_time_up_to_a_minute(
    autojump_clock: trio.abc.Clock,
    outbox: Outbox,
) -> None:
    sender = Sender()
    sender.failure = Forbidden("no")
    outbox.add("a", 5, sender.send)
    await trio.sleep(400)
    pauses = [round(b - a, 3) for a, b in zip(sender.times, sender.times[1:], strict=False)]
    assert pauses == [1, 2, 4, 8, 16, 32, *([LONGEST_PAUSE_S] * 5)]
    figures = outbox.figures()
    assert (figures["unsent.queued"], figures["unsent.failed"]) == (0, 1)
    sender.failure = None
    await trio.sleep(61)
    assert len(outbox) == 0


async def test_one_that_is_refused_keeps_no_other_waiting(
    autojump_clock: trio.abc.Clock, outbox: Outbox
) -> None:
    refused, sender = Sender(), Sender()
    refused.failure = Forbidden("no")
    outbox.add("a", 5, refused.send)
    await trio.testing.wait_all_tasks_blocked()
    outbox.add("b", 5, sender.send)
    await trio.testing.wait_all_tasks_blocked()
    assert len(sender.times) == 1


async def test_while_nobody_answers_all_of_them_wait(
    autojump_clock: trio.abc.Clock, outbox: Outbox
) -> None:
    silent, sender = Sender(), Sender()
    silent.failure = Unreachable("nobody")
    outbox.add("a", 5, silent.send)
    await trio.testing.wait_all_tasks_blocked()
    outbox.add("b", 5, sender.send)
    await trio.testing.wait_all_tasks_blocked()
    assert sender.times == []
    await trio.sleep(FIRST_PAUSE_S)
    await trio.testing.wait_all_tasks_blocked()
    assert len(sender.times) == 1


async def test_a_bug_ends_neither_the_worker_nor_the_parcel(
    autojump_clock: trio.abc.Clock, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    sender = Sender()
    sender.failure = ValueError("a bug")
    outbox.add("a", 5, sender.send)
    await trio.testing.wait_all_tasks_blocked()
    assert outbox.figures()["unsent.failed"] == 1
    assert "a bug" in caplog.text
    sender.failure = None
    await trio.sleep(FIRST_PAUSE_S + 0.1)
    assert len(outbox) == 0


async def test_few_are_sent_at_a_time_oldest_first(
    autojump_clock: trio.abc.Clock, outbox: Outbox
) -> None:
    sender = Sender()
    sender.gate = trio.Event()
    for number in range(3 * WORKERS):
        outbox.add(str(number), 1, sender.send)
    await trio.testing.wait_all_tasks_blocked()
    assert sender.most == WORKERS
    sender.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert len(outbox) == 0


async def test_sending_now_waits_for_no_pause_and_tells_what_failed(
    autojump_clock: trio.abc.Clock, outbox: Outbox
) -> None:
    sender = Sender()
    sender.failure = Forbidden("no")
    outbox.add("a", 5, sender.send, Forbidden("before"))
    await trio.testing.wait_all_tasks_blocked()
    assert sender.times == []
    told = await outbox.send_now("a")
    assert isinstance(told, FsError)
    assert str(told) == "no"
    sender.failure = None
    assert await outbox.send_now("a") is None
    assert await outbox.send_now("a") is None
    assert len(sender.times) == 2


async def test_sending_now_waits_for_who_sends_it_already(
    autojump_clock: trio.abc.Clock, outbox: Outbox, nursery: trio.Nursery
) -> None:
    sender = Sender()
    sender.gate = trio.Event()
    outbox.add("a", 5, sender.send)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(outbox.send_now, "a")
    await trio.testing.wait_all_tasks_blocked()
    sender.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert len(sender.times) == 1


async def test_all_are_tried_once_more(autojump_clock: trio.abc.Clock, outbox: Outbox) -> None:
    good, bad = Sender(), Sender()
    bad.failure = Forbidden("no")
    for number in range(10):
        outbox.add(f"g{number}", 1, good.send, Forbidden("before"))
    outbox.add("bad", 1, bad.send, Forbidden("before"))
    await outbox.send_all()
    assert (len(good.times), len(bad.times), len(outbox)) == (10, 1, 1)


async def test_what_is_removed_is_not_sent(autojump_clock: trio.abc.Clock, outbox: Outbox) -> None:
    sender = Sender()
    outbox.add("a", 5, sender.send)
    outbox.remove("a")
    outbox.remove("a")
    await trio.testing.wait_all_tasks_blocked()
    assert sender.times == []


async def test_a_later_content_that_came_meanwhile_is_not_forgotten(
    autojump_clock: trio.abc.Clock, outbox: Outbox
) -> None:
    later = Sender()

    async def send() -> None:
        outbox.remove("a")  # it is stored
        outbox.add("a", 7, later.send)

    outbox.add("a", 5, send)
    await trio.testing.wait_all_tasks_blocked()
    assert len(later.times) == 1
    assert len(outbox) == 0
