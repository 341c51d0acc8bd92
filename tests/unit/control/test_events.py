"""What listeners are told of events, in what form, and for how long a read may wait."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from aisfs.control.events import (
    KEPT_BYTES,
    LONGEST_VALUE,
    MOST_LISTENERS,
    UNWATCHED_S,
    Events,
    Listener,
)
from aisfs.control.files import Caller
from aisfs.control.waits import PATIENCE_S
from aisfs.errors import Busy, Interrupted, NoSpace, WouldBlock
from aisfs.store.cluster_facts import Members

if TYPE_CHECKING:
    from collections.abc import Iterator

ME = Caller(os.getuid(), os.getgid(), os.getpid())
SIZE = 1 << 16
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def impatient(events: Events) -> Listener:
    return events.listen(ME, waits=False)


async def told(listener: Listener) -> list[list[str]]:
    """Return the fields of all lines that wait, without their time."""
    found: list[list[str]] = []
    while True:
        try:
            line = (await listener.read(SIZE)).decode("ascii")
        except WouldBlock:
            return found
        assert line.count("\n") == 1
        time, *fields = line.removesuffix("\n").split("\t")
        assert TIME.fullmatch(time)
        found.append(fields)


async def test_each_listener_is_told_from_its_beginning_on() -> None:
    events = Events()
    events.tell("early", a=1)
    one = impatient(events)
    events.tell("first", a=1, b="two words")
    other = impatient(events)
    events.tell("second")
    assert await told(one) == [["first", "a=1", "b=two words"], ["second"]]
    assert await told(other) == [["second"]]
    one.close()
    events.tell("third")
    assert await told(one) == []
    assert await told(other) == [["third"]]


async def test_a_line_is_one_line_whatever_a_fact_has() -> None:
    events = Events()
    listener, value = impatient(events), "a\tb\nc\\d \x00 é \udcff"
    events.tell("kind", name=value, long="x" * 5000)
    ((kind, name, long),) = await told(listener)
    assert kind == "kind"
    assert name.removeprefix("name=").encode().decode("unicode_escape") == value
    assert long == "long=" + "x" * LONGEST_VALUE + "..."


async def test_who_reads_little_at_a_time_loses_nothing() -> None:
    events = Events()
    listener = impatient(events)
    events.tell("one", a="b" * 20)
    events.tell("two")
    pieces = [await listener.read(7)]
    while not pieces[-1].endswith(b"\n"):
        pieces.append(await listener.read(7))
    assert b"".join(pieces).endswith(b"\tone\ta=" + b"b" * 20 + b"\n")
    assert (await listener.read(SIZE)).endswith(b"\ttwo\n")  # no read goes beyond a line


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    events = Events()
    listener = impatient(events)
    for number in range(1000):
        events.tell("n", number=number, filler="x" * 1000)
    lost, *kept = await told(listener)
    assert lost == ["lost", f"events={1000 - len(kept)}"]
    assert [fields[1] for fields in kept] == [f"number={n}" for n in range(1000)][-len(kept) :]
    assert KEPT_BYTES // 1100 <= len(kept) <= KEPT_BYTES // 1000
    events.tell("again")
    assert await told(listener) == [["again"]]


async def test_a_read_waits_for_an_event(autojump_clock: trio.testing.MockClock) -> None:
    events = Events()
    listener, began = events.listen(ME), trio.current_time()

    async def tell_later() -> None:
        await trio.sleep(5)
        events.tell("late")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_later)
        assert (await listener.read(SIZE)).endswith(b"\tlate\n")
    assert 5 <= trio.current_time() - began < 6


async def test_a_quiet_time_is_no_end(autojump_clock: trio.testing.MockClock) -> None:
    events = Events()
    listener, began = events.listen(ME), trio.current_time()
    for _ in range(2):
        assert (await listener.read(SIZE)).endswith(b"Z\tquiet\n")
    assert 2 * PATIENCE_S <= trio.current_time() - began < 2 * PATIENCE_S + 1


@pytest.fixture
def ended() -> int:
    """Return the pid of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.fixture
def told_to_end() -> Iterator[int]:
    """Return the pid of a process for which SIGTERM waits, as for one that waits for a mount."""
    with subprocess.Popen(["sleep", "60"]) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        process.send_signal(signal.SIGTERM)
        yield process.pid
        process.kill()


async def test_who_cannot_be_watched_is_not_kept_for_long(
    ended: int, autojump_clock: trio.testing.MockClock
) -> None:
    events = Events()
    for pid in (0, ended):
        began = trio.current_time()
        listener = events.listen(Caller(1, 1, pid))
        assert (await listener.read(SIZE)).endswith(b"\tquiet\n")
        assert trio.current_time() - began < UNWATCHED_S + 1


async def test_who_is_told_to_end_is_not_kept(
    told_to_end: int, autojump_clock: trio.testing.MockClock
) -> None:
    events = Events()
    listener = events.listen(Caller(1, 1, told_to_end))
    with pytest.raises(Interrupted):
        await listener.read(SIZE)
    events.tell("later")
    assert (await listener.read(SIZE)).endswith(b"\tlater\n")


async def test_the_end_comes_behind_what_was_told() -> None:
    events = Events()
    patient, other = events.listen(ME), impatient(events)
    events.tell("stopping")
    events.end()
    for listener in (patient, other, events.listen(ME)):
        if listener in (patient, other):
            assert (await listener.read(SIZE)).endswith(b"\tstopping\n")
        assert await listener.read(SIZE) == b""
        assert await listener.read(SIZE) == b""


async def test_the_end_wakes_who_waits(autojump_clock: trio.testing.MockClock) -> None:
    events = Events()
    listener = events.listen(ME)
    found: list[bytes] = []

    async def read() -> None:
        found.append(await listener.read(SIZE))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.sleep(1)
        events.end()
    assert found == [b""]


async def test_only_so_many_listen_and_one_waits_for_each(
    autojump_clock: trio.testing.MockClock,
) -> None:
    events = Events()
    listeners = [events.listen(ME) for _ in range(MOST_LISTENERS)]
    with pytest.raises(Busy):
        events.listen(ME)
    listeners.pop().close()
    first = events.listen(ME)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.read, SIZE)
        await trio.sleep(1)
        with pytest.raises(Busy):
            await first.read(SIZE)
        events.tell("x")
    with trio.move_on_after(1):
        await first.read(SIZE)  # given up: the next one may wait
    events.tell("y")
    assert (await first.read(SIZE)).endswith(b"\ty\n")


async def test_somebody_listens_until_the_last_one_leaves(
    autojump_clock: trio.testing.MockClock,
) -> None:
    events = Events()
    one, other = events.listen(ME), events.listen(ME)
    await events.listened()
    one.close()
    await events.listened()
    other.close()
    with trio.move_on_after(1) as scope:
        await events.listened()
    assert scope.cancelled_caught


async def test_uploads_that_fail_and_come_about() -> None:
    events = Events()
    listener = impatient(events)
    events.upload("ais://b/o", NoSpace("the cluster is full"))
    events.upload("ais://b/o", None)
    assert await told(listener) == [
        ["failed", "object=ais://b/o", "error=ENOSPC", "message=the cluster is full"],
        ["stored", "object=ais://b/o"],
    ]


async def test_nodes_that_come_and_go() -> None:
    events = Events()
    listener = impatient(events)
    events.members(Members(3, frozenset({"p"}), frozenset({"t1", "t2"})))
    events.members(Members(3, frozenset({"p"}), frozenset({"t1", "t2"})))
    events.members(Members(5, frozenset({"p"}), frozenset({"t2", "t3"})))
    events.members(Members(6, frozenset({"p", "q"}), frozenset({"t2", "t3"})))
    assert await told(listener) == [
        ["map", "version=5", "gateways=1", "targets=2"],
        ["node", "id=t1", "role=target", "state=left"],
        ["node", "id=t3", "role=target", "state=joined"],
        ["map", "version=6", "gateways=2", "targets=2"],
        ["node", "id=q", "role=gateway", "state=joined"],
    ]
