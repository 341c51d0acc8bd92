"""Whether a program is told to end, by what the kernel tells of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import trio

from aisfs.control.waits import PATIENCE_S, is_told_to_end, wait_for


def test_who_has_ended_or_cannot_be_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
        assert is_told_to_end(ended.pid)
    assert not is_told_to_end(os.getpid())
    assert not is_told_to_end(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_that_waits_for_delivery(number: signal.Signals) -> None:
    """A stopped process gets none of them, SIGKILL apart, before it goes on."""
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not is_told_to_end(process.pid)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait(10)
        assert is_told_to_end(process.pid)
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGCHLD, signal.SIGUSR1, signal.SIGWINCH])
def test_signals_that_end_no_wait(number: signal.Signals) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        process.send_signal(number)
        assert not is_told_to_end(process.pid)
        process.kill()


async def test_nobody_waits_for_ever(autojump_clock: object) -> None:
    event, began = trio.Event(), trio.current_time()
    assert not await wait_for(event, os.getpid())
    assert PATIENCE_S <= trio.current_time() - began < PATIENCE_S + 1
    event.set()
    assert await wait_for(event, os.getpid())
