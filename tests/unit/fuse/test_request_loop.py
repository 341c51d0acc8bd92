from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pyfuse3
import pytest
import trio
import trio.testing

from aisfs.fuse import request_loop
from aisfs.fuse.request_loop import Gate, _tolerant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Loop:
    """Workers that take one-byte requests through a gate, as pyfuse3 takes the kernel's.

    `a` … `z` are answered at once; `A` … `Z` suspend until `release`.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.ours, self.kernel = socket.socketpair()
        self.ours.setblocking(False)
        self.answered: list[str] = []
        self.suspended: list[str] = []
        self.served_by: list[int] = []
        self.ended = 0
        self.release = trio.Event()
        trio.lowlevel.add_instrument(gate)

    async def worker(self, number: int) -> None:
        while True:
            try:
                await self.gate.wait_readable(self.ours.fileno())
            except trio.ClosedResourceError:
                self.ended += 1
                return
            request = self.ours.recv(1).decode()
            self.served_by.append(number)
            if request.isupper():
                self.suspended.append(request)
                await self.release.wait()
            self.answered.append(request)

    def send(self, requests: str) -> None:
        self.kernel.sendall(requests.encode())

    def start(self, nursery: trio.Nursery, workers: int) -> None:
        for number in range(workers):
            nursery.start_soon(self.worker, number)

    def end(self) -> None:
        self.gate.notify_closing(self.ours.fileno())

    def close(self) -> None:
        trio.lowlevel.remove_instrument(self.gate)
        self.ours.close()
        self.kernel.close()


@pytest.fixture
async def loop() -> AsyncIterator[Loop]:
    made = Loop(Gate(spin_ns=0))
    yield made
    made.close()


async def until(loop: Loop, count: int) -> None:
    """Wait until so many requests were answered or are suspended."""
    with trio.fail_after(5):
        while len(loop.answered) + len(loop.suspended) < count:
            await trio.lowlevel.checkpoint()


async def test_every_request_is_taken_once(loop: Loop) -> None:
    async with trio.open_nursery() as nursery:
        loop.start(nursery, 5)
        for start in range(0, 500, 25):
            loop.send("abcdefghijklmnopqrstuvwxy")
            await until(loop, start + 25)
        loop.end()
    assert loop.answered == list("abcdefghijklmnopqrstuvwxy") * 20


async def test_one_worker_serves_what_does_not_suspend(loop: Loop) -> None:
    async with trio.open_nursery() as nursery:
        loop.start(nursery, 5)
        loop.send("x" * 200)
        await until(loop, 200)
        loop.end()
    assert len(set(loop.served_by)) == 1


async def test_others_serve_while_a_handler_is_suspended(loop: Loop) -> None:
    async with trio.open_nursery() as nursery:
        loop.start(nursery, 5)
        loop.send("aAbBcCdD")
        await until(loop, 8)
        assert loop.answered == ["a", "b", "c", "d"]
        loop.send("efg")
        await until(loop, 11)
        loop.release.set()
        await trio.testing.wait_all_tasks_blocked()
        loop.send("h")
        await until(loop, 16)
        loop.end()
    assert sorted(loop.answered) == sorted("abcdABCDefgh")


async def test_when_all_are_suspended_the_next_waits(loop: Loop) -> None:
    async with trio.open_nursery() as nursery:
        loop.start(nursery, 3)
        loop.send("ABCd")
        await until(loop, 3)
        await trio.testing.wait_all_tasks_blocked()
        assert loop.answered == []
        loop.release.set()
        await until(loop, 7)
        loop.end()
    assert sorted(loop.answered) == sorted("ABCd")


async def test_an_idle_loop_sleeps_and_wakes(loop: Loop) -> None:
    async with trio.open_nursery() as nursery:
        loop.start(nursery, 4)
        for index in range(10):
            await trio.testing.wait_all_tasks_blocked()
            loop.send("x")
            await until(loop, index + 1)
        loop.end()
    assert len(loop.answered) == 10


@pytest.mark.parametrize("requests", ["", "a", "A", "aB", "ABC", "abcABC"])
async def test_closing_ends_every_worker(loop: Loop, requests: str) -> None:
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            loop.start(nursery, 6)
            loop.send(requests)
            await until(loop, len(requests))
            await trio.testing.wait_all_tasks_blocked()
            loop.end()
            loop.release.set()
    assert loop.ended == 6


async def test_cancelling_leaves_nobody_parked(loop: Loop) -> None:
    async with trio.open_nursery() as nursery:
        loop.start(nursery, 4)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        loop.start(nursery, 2)
        loop.send("a")
        await until(loop, 1)
        loop.end()
    assert loop.ended == 2


async def test_a_busy_loop_lets_others_have_a_turn() -> None:
    """Timers and threads of the mount wait for a burst at most."""
    loop = Loop(Gate(spin_ns=0, burst=16))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while len(loop.answered) < 1000:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        loop.start(nursery, 3)
        loop.send("x" * 1000)
        nursery.start_soon(other)
        await until(loop, 1000)
        loop.end()
    loop.close()
    assert turns >= 1000 // 20


async def test_a_spinning_owner_finds_a_request_that_comes_at_once() -> None:
    loop = Loop(Gate(spin_ns=2_000_000))
    async with trio.open_nursery() as nursery:
        loop.start(nursery, 3)
        for index in range(20):
            loop.send("x")
            await until(loop, index + 1)
        loop.end()
    loop.close()
    assert len(loop.answered) == 20


# -- around pyfuse3


def test_install_puts_the_gate_into_pyfuse3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyfuse3, "trio", trio)
    (gate,) = request_loop.install()
    assert isinstance(gate, Gate)
    assert vars(pyfuse3)["trio"].lowlevel.wait_readable == gate.wait_readable


def test_this_pyfuse3_has_what_the_loop_needs() -> None:
    assert all(hasattr(pyfuse3, name) for name in request_loop.NEEDED)


async def test_a_request_that_was_taken_back_does_not_end_the_loop() -> None:
    failures = [errno.EAGAIN, errno.EAGAIN, 0]

    async def session(nursery: object, low: int, high: int) -> None:
        await trio.lowlevel.checkpoint()
        number = failures.pop(0)
        if number:
            raise OSError(number, "no request")

    await _tolerant(session)(None, 1, 2)
    assert failures == []


async def test_other_failures_end_the_loop() -> None:
    async def session(nursery: object, low: int, high: int) -> None:
        raise OSError(errno.ENODEV, "unmounted")

    with pytest.raises(OSError, match="unmounted"):
        await _tolerant(session)(None, 1, 2)
