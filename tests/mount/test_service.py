"""A mount in front as systemd runs it: what the manager hears, and what a stop stores.

The manager is played by a socket; `test_systemd` has a real one.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from aisfs.cli import mounts
from aisfs_sdk import Client
from tests.support.mount import clean_environment, run_aisfs
from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

LIMIT_S = 60.0
FILES = 25
PIECE = 8 << 20


class Service:
    """A mount in front, and all that it tells its manager.

    Args:
        directory: for the mount point, the state and the socket.
        endpoint: of the store that has the bucket "b".
        settings: TOML.
    """

    def __init__(self, directory: Path, endpoint: str, settings: str = "") -> None:
        self.path = directory / "mnt"
        self.path.mkdir(exist_ok=True)
        self.state = directory / "state"
        self._file = directory / "b.toml"
        self._file.write_text(
            f'source = "ais://b"\nmountpoint = "mnt"\n[store]\nendpoint = "{endpoint}"\n{settings}'
        )
        self._address = directory / "notify"
        self.messages: list[str] = []

    @contextmanager
    def running(self, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start it; whatever is left of it at the end is taken down."""
        self._address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as self._manager:
            self._manager.bind(str(self._address))
            self._manager.settimeout(LIMIT_S)
            environment = clean_environment(
                NOTIFY_SOCKET=str(self._address),
                XDG_STATE_HOME=str(self.state),
                **variables,
            )
            command = ["-m", "aisfs", "mount", "--foreground", "--config", str(self._file)]
            with subprocess.Popen(
                [sys.executable, *command], stdin=subprocess.DEVNULL, env=environment
            ) as process:
                try:
                    yield process
                finally:
                    process.kill()
                    process.wait()
                    while mounts.mounted_at(self.path):
                        assert not mounts.unmount(self.path, lazy=True)

    def wait_for(self, told: Callable[[str], bool]) -> str:
        """Wait until a message comes that fulfils a condition, and return it."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            self.messages.append(self._manager.recv(4096).decode())
            if told(self.messages[-1]):
                return self.messages[-1]
        raise AssertionError(f"not told: {self.messages}")

    def hear_all_for(self, pause_s: float) -> list[str]:
        """Return what is told until there is a pause."""
        heard = []
        self._manager.settimeout(pause_s)
        with suppress(TimeoutError):
            while True:
                heard.append(self._manager.recv(4096).decode())
        self.messages += heard
        return heard

    def wait_for_end(self, process: subprocess.Popen[bytes]) -> int:
        """Wait until the process has ended, hearing all that it says; return its exit code."""
        deadline = time.monotonic() + LIMIT_S
        while process.poll() is None and time.monotonic() < deadline:
            self.hear_all_for(0.2)
        code = process.poll()
        assert code is not None, f"it did not end: {self.messages}"
        return code


def is_ready(message: str) -> bool:
    return "READY=1" in message.splitlines()


def test_the_manager_is_told_once_the_mount_answers(store: StoreProcess, tmp_path: Path) -> None:
    store.create_bucket("b")
    service = Service(tmp_path.resolve(), store.endpoint)
    with service.running() as process:
        assert f"STATUS=ais://b is mounted at {service.path}" in service.wait_for(is_ready)
        assert list(service.path.iterdir()) == []
        assert mounts.daemons(service.path) == [process.pid], "not the main process of the service"
        process.send_signal(signal.SIGTERM)
        assert service.wait_for_end(process) == 0
        assert any("STOPPING=1" in each for each in service.messages)
        assert not any("WATCHDOG=1" in each for each in service.messages), "nobody asked"


def test_signs_of_life_come_as_long_as_the_loop_runs(store: StoreProcess, tmp_path: Path) -> None:
    store.create_bucket("b")
    service = Service(tmp_path.resolve(), store.endpoint)
    with service.running(WATCHDOG_USEC="3000000") as process:
        service.wait_for(is_ready)
        for _ in range(3):
            service.wait_for(lambda message: message == "WATCHDOG=1")
        os.kill(process.pid, signal.SIGSTOP)
        service.hear_all_for(0.1)  # what was under way
        assert not service.hear_all_for(4)


def test_a_mount_that_cannot_be_made_is_never_ready(store: StoreProcess, tmp_path: Path) -> None:
    service = Service(tmp_path.resolve(), store.endpoint)
    with service.running() as process:
        assert service.wait_for_end(process) == 32
        assert not any(is_ready(each) for each in service.messages)


def test_a_stop_stores_200_mib_and_asks_for_the_time(store: StoreProcess, tmp_path: Path) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    settings = '[staging]\nwrite_back = true\ndrain_timeout = "10m"\n'
    service = Service(tmp_path.resolve(), store.endpoint, settings)
    with service.running() as process:
        service.wait_for(is_ready)
        store.faults([{"method": "PUT", "role": "target", "action": "delay", "seconds": 3}])
        for number in range(FILES):
            (service.path / f"f{number}").write_bytes(bytes([number]) * PIECE)
        assert len(list(bucket.list_all_objects())) < FILES, "nothing was left to be stored"
        process.send_signal(signal.SIGTERM)
        assert service.wait_for_end(process) == 0
    last = [each for each in service.messages if "STOPPING=1" in each]
    assert len(last) > 1
    assert all("EXTEND_TIMEOUT_USEC=" in each for each in last)
    assert "files are to be stored" in last[0]
    for number in range(FILES):
        assert bucket.object(f"f{number}").get().read_all() == bytes([number]) * PIECE


def test_what_a_stop_could_not_store_is_its_exit_code_and_told_at_the_next_start(
    store: StoreProcess, tmp_path: Path
) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    settings = '[staging]\nwrite_back = true\ndrain_timeout = "100ms"\n'
    service = Service(tmp_path.resolve(), store.endpoint, settings)
    with service.running() as process:
        service.wait_for(is_ready)
        store.faults([{"method": "PUT", "role": "target", "action": "error"}])
        (service.path / "f").write_bytes(b"12345")
        process.send_signal(signal.SIGTERM)
        assert service.wait_for_end(process) == 1
    store.faults([{"method": "PUT", "role": "target", "action": "delay", "seconds": 2}])
    with service.running() as process:
        service.messages.clear()
        service.wait_for(is_ready)
        before = service.messages[0]
        assert before.startswith("STATUS=sending 1 files (5 bytes) of an earlier mount")
        assert "EXTEND_TIMEOUT_USEC=" in before
        assert bucket.object("f").get().read_all() == b"12345"


def test_names_that_are_given_go_before_those_of_the_file(
    store: StoreProcess, tmp_path: Path
) -> None:
    store.create_bucket("b")
    store.create_bucket("c")
    other = tmp_path.resolve() / "other"
    other.mkdir()
    file = tmp_path / "b.toml"
    file.write_text(f'source = "ais://b"\n[store]\nendpoint = "{store.endpoint}"\n')
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    for words, source in (([other], "ais://b"), (["ais://c", other], "ais://c")):
        ended = run_aisfs("mount", "--config", file, *words, environment=environment)
        assert ended.returncode == 0, ended.stderr
        mount = mounts.mounted_at(other)
        assert run_aisfs("umount", other).returncode == 0
        assert mount is not None
        assert mount.source == source
