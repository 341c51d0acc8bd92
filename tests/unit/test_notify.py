"""What the service manager hears, over a real socket; and that nobody waits for it."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from aisfs.notify import EXTENSION_S, SEND_LIMIT_S, Notifier


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def heard(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(30)
        yield manager


def test_readiness_and_what_is_mounted_are_one_message(address: str, heard: socket.socket) -> None:
    Notifier(address).ready("ais://b is\nmounted")
    assert heard.recv(4096) == b"READY=1\nSTATUS=ais://b is mounted"


def test_each_word_of_a_long_start_asks_for_more_time(address: str, heard: socket.socket) -> None:
    Notifier(address).starting("3 files")
    extension = f"EXTEND_TIMEOUT_USEC={EXTENSION_S * 1e6:.0f}"
    assert heard.recv(4096).decode() == f"STATUS=3 files\n{extension}"


def test_each_word_of_the_end_asks_for_more_time(address: str, heard: socket.socket) -> None:
    Notifier(address).stopping("3 files")
    lines = heard.recv(4096).decode().splitlines()
    assert lines[:2] == ["STOPPING=1", "STATUS=3 files"]
    assert lines[2].startswith("EXTEND_TIMEOUT_USEC=")


def test_signs_of_life_come_several_times_within_the_limit(
    address: str, heard: socket.socket
) -> None:
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"}
    manager = Notifier.of_environment(environment | {"WATCHDOG_PID": str(os.getpid())})
    assert 0 < manager.alive_every_s < 30 / 2
    manager.alive()
    assert heard.recv(4096) == b"WATCHDOG=1"


def test_signs_of_life_that_another_process_owes_are_not_given() -> None:
    environment = {"NOTIFY_SOCKET": "/none", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}
    assert Notifier.of_environment(environment).alive_every_s == 0


@pytest.mark.parametrize("text", ["", "soon", "-1"])
def test_a_limit_that_is_none_is_none(text: str) -> None:
    assert Notifier.of_environment({"WATCHDOG_USEC": text}).alive_every_s == 0


def test_abstract_names_are_known() -> None:
    name = f"aisfs-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(30)
        Notifier(f"@{name}").alive()
        assert manager.recv(4096) == b"WATCHDOG=1"


def test_without_a_manager_nothing_happens() -> None:
    nobody = Notifier.of_environment({})
    assert not nobody.listens
    nobody.ready("")
    nobody.alive()


def test_a_manager_that_has_gone_is_logged_and_no_more(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    Notifier(address).ready("up")
    assert "READY=1" in caplog.text


def test_a_manager_that_hangs_keeps_nobody(
    address: str, heard: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(8):  # one sender alone may only fill its own buffer
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            with suppress(BlockingIOError):
                while filler.sendto(b"x", address):
                    pass
    Notifier(address).alive()  # or the time limit of the test ends it
    assert SEND_LIMIT_S < 5
    assert "WATCHDOG=1" in caplog.text
