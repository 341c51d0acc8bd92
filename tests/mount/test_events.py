"""The streams of a mount: what happens in it, told as it happens, and the end of its log."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from aisfs.control.events import MOST_LISTENERS
from aisfs_sdk import Client
from tests.support.mount import Mount
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.fuse

WAIT_S = 60.0

NOBODY = 65534


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    with StoreProcess(extra=("--require-token",)) as process:
        client = Client(process.endpoint, token=token_of(process))
        client.bucket("b").create()
        client.bucket("other").create()
        client.bucket("b").object("f").put_content(b"content")
        yield process


@pytest.fixture
def mount(store: StoreProcess) -> Iterator[Mount]:
    with mounted(store) as made:
        yield made


def token_of(store: StoreProcess) -> str:
    return store.token_file.read_text().strip()


def mounted(store: StoreProcess, *options: str) -> Mount:
    token = {"AIS_AUTHN_TOKEN": token_of(store)}
    return Mount(store.endpoint, "ais://b", options=options, environment=token)


class Reader:
    """A program that reads events."""

    def __init__(self, path: Path, *command: str) -> None:
        self.process = subprocess.Popen(
            [*(command or ("cat",)), path / ".aisfs/events"], stdout=subprocess.PIPE
        )
        wait_until(lambda: self._has_opened(path), "it has opened the file")
        assert self.process.stdout is not None
        self._out = self.process.stdout.fileno()
        self._text = b""

    def _has_opened(self, path: Path) -> bool:
        with suppress(FileNotFoundError):  # it opens and closes others while it starts
            for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
                if each.readlink() == path / ".aisfs/events":
                    return True
        return False

    def line(self) -> list[str]:
        """Return the fields of the next line but its time."""
        while b"\n" not in self._text:
            assert self.has_more(WAIT_S), "no event came"
            piece = os.read(self._out, 1 << 16)
            assert piece, "the events have ended"
            self._text += piece
        line, _, self._text = self._text.partition(b"\n")
        return line.decode().split("\t")[1:]

    def next(self, kind: str) -> dict[str, str]:
        """Return the facts of the next event of a kind."""
        while (fields := self.line())[0] != kind:
            pass
        return dict(field.split("=", 1) for field in fields[1:])

    def has_more(self, wait_s: float) -> bool:
        return bool(select.select([self._out], [], [], wait_s)[0])

    def ended(self, limit_s: float = WAIT_S) -> int:
        return self.process.wait(limit_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.process.kill()
        self.process.communicate()


# ---- events


def test_a_command_is_told_and_the_end_of_its_job(mount: Mount) -> None:
    with Reader(mount.path) as reader:
        (mount.path / ".aisfs/ctl").write_text("copy-bucket ais://b ais://other\n")
        told = reader.next("command")
        assert told.pop("job") == (job := reader.next("job"))["id"]
        assert told == {
            "uid": str(os.getuid()),
            "pid": str(os.getpid()),
            "command": "copy-bucket ais://b ais://other",
            "result": "ok",
        }
        assert (job["kind"], job["state"], job["objects"]) == ("copy-bck", "finished", "1")
        with pytest.raises(FileNotFoundError):
            os.setxattr(mount.path / "f", "user.ais.do", b"copy ais://nowhere/x")
        told = reader.next("command")
        assert (told["result"], told["error"]) == ("error", "ENOENT")
        assert told["command"] == "copy ais://nowhere/x (ais://b/f)"
        assert "nowhere" in told["message"]


def test_a_shell_reads_line_by_line(mount: Mount) -> None:
    script = 'while IFS= read -r line; do printf "%s\\n" "$line"; done < "$0"'
    with Reader(mount.path, "bash", "-c", script) as reader:
        for number in range(3):
            (mount.path / ".aisfs/ctl").write_text(f"copy /f /copy-{number}\n" * 2)
        commands = [reader.next("command")["command"] for _ in range(6)]
        assert commands == [f"copy /f /copy-{n}" for n in range(3) for _ in range(2)]


def test_python_reads_line_by_line(mount: Mount) -> None:
    script = "import sys\nfor line in open(sys.argv[1]): print(line, end='', flush=True)"
    with Reader(mount.path, sys.executable, "-c", script) as reader:
        (mount.path / ".aisfs/ctl").write_text("copy /f /copy\n")
        assert reader.next("command")["command"] == "copy /f /copy"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_who_waits_can_be_ended(mount: Mount, number: signal.Signals) -> None:
    with Reader(mount.path) as reader:
        time.sleep(0.3)
        reader.process.send_signal(number)
        assert reader.ended(15) == -number  # long before anything is told of a quiet time
        assert (mount.path / "f").read_bytes() == b"content"


def test_who_does_not_wait_is_told_that_there_is_nothing(mount: Mount) -> None:
    fd = os.open(mount.path / ".aisfs/events", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(BlockingIOError):
            os.read(fd, 4096)
        (mount.path / ".aisfs/ctl").write_text("copy /f /copy\n")
        first = os.read(fd, 5)
        rest = os.read(fd, 4096)
        assert re.match(rb"\d{4}-", first)
        assert b"\tcommand\t" in rest
        assert rest.endswith(b"\tresult=ok\n")
        with pytest.raises(BlockingIOError):
            os.read(fd, 4096)
        with pytest.raises(OSError, match=os.strerror(errno.ESPIPE)):
            os.lseek(fd, 0, os.SEEK_SET)
    finally:
        os.close(fd)


def test_only_so_many_read(mount: Mount) -> None:
    def opened() -> int:
        return os.open(mount.path / ".aisfs/events", os.O_RDONLY | os.O_NONBLOCK)

    descriptors = [opened() for _ in range(MOST_LISTENERS)]
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EBUSY)):
            opened()
    finally:
        for each in descriptors:
            os.close(each)

    def has_room() -> bool:
        with suppress(OSError):
            os.close(opened())
            return True
        return False

    wait_until(has_room, "the kernel told of a close")


def test_a_walk_does_not_wait_for_events(mount: Mount) -> None:
    assert "events" not in os.listdir(mount.path / ".aisfs")  # noqa: PTH208
    done = subprocess.run(
        ["grep", "-r", "no such text", mount.path / ".aisfs"], timeout=60, check=False
    )
    assert done.returncode in {0, 1}


def test_an_upload_that_fails_is_told_and_when_it_is_stored(
    mount: Mount, store: StoreProcess
) -> None:
    with Reader(mount.path) as reader:
        store.faults([{"method": "PUT", "path": "/v1/objects/", "action": "error", "status": 507}])
        try:
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                (mount.path / "full").write_bytes(b"does not fit")
            told = reader.next("failed")
            assert (told["object"], told["error"]) == ("ais://b/full", "ENOSPC")
            assert told["message"]
        finally:
            store.clear_faults()
        assert reader.next("stored") == {"object": "ais://b/full"}


def test_the_end_of_the_mount_is_told_and_the_stream_ends(mount: Mount) -> None:
    with Reader(mount.path) as reader:
        os.kill(mount.daemon_pid, signal.SIGTERM)
        assert reader.next("stopping") == {"signal": str(int(signal.SIGTERM))}
        assert reader.ended() == 0
    wait_until(lambda: not mount.mounted, "the mount is gone")
    assert "files were still open" not in mount.log  # nobody kept it


def test_a_target_that_leaves_is_told() -> None:
    with StoreProcess() as own:
        client = Client(own.endpoint)
        client.bucket("b").create()
        options = ["attribute-ttl=0", "negative-ttl=0", "listing-ttl=0"]
        with (
            Mount(own.endpoint, "ais://b", options=options) as mount,
            Reader(mount.path) as reader,
        ):
            own.restart(targets=4)
            end = time.monotonic() + WAIT_S
            while time.monotonic() < end and not reader.has_more(0.5):
                (mount.path / "absent").exists()  # requests bring the map along
            assert reader.next("map")["targets"] == "4"
            node = reader.next("node")
            assert (node["role"], node["state"]) == ("target", "joined")


# ---- the log


def test_the_log_ends_as_the_file_does(mount: Mount) -> None:
    (mount.path / ".aisfs/ctl").write_text("copy /f /told-in-the-log\n")
    shown = (mount.path / ".aisfs/log").read_text()
    assert len(shown) <= 256 << 10
    assert "command of uid" in shown
    line = next(line for line in shown.splitlines() if "copy /f /told-in-the-log: ok" in line)
    assert line in mount.log.splitlines()
    assert (mount.path / ".aisfs/log").stat().st_mode & 0o777 == 0o400


def test_a_handle_on_the_log_shows_one_moment(mount: Mount) -> None:
    with (mount.path / ".aisfs/log").open("rb", buffering=0) as file:
        first = file.read(1 << 20)
        (mount.path / ".aisfs/ctl").write_text("copy /f /later\n")
        file.seek(0)
        assert file.read(1 << 20) == first
    assert b"copy /f /later" not in first


def test_no_secret_is_in_the_streams(mount: Mount, store: StoreProcess) -> None:
    token = token_of(store)
    assert len(token) > 8
    with Reader(mount.path) as reader:
        store.faults([{"method": "GET", "path": "/v1/objects/", "action": "error", "status": 401}])
        try:
            with pytest.raises(OSError, match=os.strerror(errno.EACCES)):
                (mount.path / "f").read_bytes()
        finally:
            store.clear_faults()
        (mount.path / ".aisfs/ctl").write_text("copy-bucket ais://b ais://other\n")
        assert token not in str(reader.next("command"))
        assert token not in str(reader.next("job"))
    shown = (mount.path / ".aisfs/log").read_text()
    assert "DEBUG" in shown  # the mount tells all that it tells at all
    assert token not in shown


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root to be another user")
@pytest.mark.parametrize("name", ["log", "events"])
def test_other_users_read_neither(store: StoreProcess, name: str) -> None:
    with mounted(store, "allow-other") as mount:
        mount.path.parent.chmod(0o755)
        file = mount.path / ".aisfs" / name
        done = subprocess.run(["cat", file], user=NOBODY, group=NOBODY, capture_output=True,
                              timeout=60, check=False)  # fmt: skip
        assert done.returncode == 1
        assert os.strerror(errno.EACCES).encode() in done.stderr
        done = subprocess.run(["cat", mount.path / ".aisfs/version"], user=NOBODY, group=NOBODY,
                              capture_output=True, timeout=60, check=True)  # fmt: skip
        assert done.stdout


@pytest.mark.parametrize("mode", [os.O_WRONLY, os.O_RDWR])
def test_nobody_writes_them(mount: Mount, mode: int) -> None:
    for name in ("log", "events"):
        with pytest.raises(OSError, match=os.strerror(errno.EACCES)):
            os.open(mount.path / ".aisfs" / name, mode)
