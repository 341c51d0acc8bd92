"""The demo proves itself, is the README's transcript, and leaves nothing behind."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aisfs.cli import mounts
from tests.support.mount import clean_environment, run_aisfs
from tests.support.store import StoreProcess

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 100.0


class Runtime:
    """A runtime directory of its own, so that demos of this test meet only each other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {"XDG_RUNTIME_DIR": str(path), "TMPDIR": str(path)}

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "aisfs", "demo", "--script"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(**self.environment),
            text=True,
        )

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_aisfs(
            "demo", *words, environment=self.environment | environment, limit_s=LIMIT_S
        )

    def processes(self) -> list[int]:
        """All programs of ours that work below this directory."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"aisfs" in words and any(os.fsencode(self.path) in word for word in words):
                    found.append(int(entry.name))
        return found

    def mounts(self) -> list[Path]:
        return [each.path for each in mounts.mounted() if each.path.is_relative_to(self.path)]

    def is_clean(self) -> bool:
        return not (self.processes() or self.mounts() or list(self.path.iterdir()))


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    runtime = Runtime(tmp_path.resolve())
    yield runtime
    for pid in runtime.processes():
        os.kill(pid, signal.SIGKILL)
    for path in runtime.mounts():
        mounts.unmount(path, lazy=True)


def wait_for_mount(runtime: Runtime, process: subprocess.Popen[str]) -> Path:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := runtime.mounts():
            return found[0]
        select.select([], [], [], 0.01)
    raise AssertionError("the demo did not mount")


@pytest.mark.fuse
def test_readme_shows_what_the_demo_prints(runtime: Runtime) -> None:
    ended = runtime.run("--script")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    readme = (ROOT / "README.md").read_text("utf-8")
    held = re.search(r"<!-- demo -->\n```console\n(.*?)```\n<!-- /demo -->", readme, re.DOTALL)
    assert held is not None
    assert held[1] == ended.stdout
    assert runtime.is_clean()


@pytest.mark.fuse
def test_demo_on_a_cluster_makes_and_removes_its_own_bucket(
    runtime: Runtime, store: StoreProcess
) -> None:
    ended = runtime.run("--script", AIS_ENDPOINT=store.endpoint)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "# Left out: prefetch and evict." in ended.stdout
    seen = [(each["method"], each["path"]) for each in store.requests()]
    made = {path for method, path in seen if method == "POST" and path.startswith("/v1/buckets/")}
    gone = {path for method, path in seen if method == "DELETE" and path in made}
    assert any("aisfs-demo-" in path for path in made)
    assert {path for path in made if "aisfs-demo-" in path} == gone
    assert runtime.is_clean()


@pytest.mark.fuse
def test_two_demos_of_one_user_run_at_once(runtime: Runtime) -> None:
    both = [runtime.start(), runtime.start()]
    outputs = [process.communicate(timeout=LIMIT_S) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert runtime.is_clean()


@pytest.mark.fuse
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_demo_that_is_told_to_end_leaves_nothing(runtime: Runtime, number: signal.Signals) -> None:
    process = runtime.start()
    wait_for_mount(runtime, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, said
    assert len(said.splitlines()) == 1
    assert runtime.is_clean()


@pytest.mark.fuse
def test_demo_that_was_killed_is_removed_by_the_next(runtime: Runtime) -> None:
    process = runtime.start()
    wait_for_mount(runtime, process)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    assert not runtime.is_clean()
    ended = runtime.run("--script")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert runtime.is_clean()


@pytest.mark.fuse
def test_bucket_of_a_killed_demo_is_removed_by_the_next(
    runtime: Runtime, store: StoreProcess
) -> None:
    runtime.environment["AIS_ENDPOINT"] = store.endpoint
    process = runtime.start()
    wait_for_mount(runtime, process)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    del runtime.environment["AIS_ENDPOINT"]
    store.clear_requests()
    ended = runtime.run("--script")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    gone = [each["path"] for each in store.requests() if each["method"] == "DELETE"]
    assert len(gone) == 1
    assert "aisfs-demo-" in gone[0]
    assert runtime.is_clean()


@pytest.mark.fuse
def test_demo_leaves_a_living_one_alone(runtime: Runtime) -> None:
    first = runtime.start()
    path = wait_for_mount(runtime, first)
    first.send_signal(signal.SIGSTOP)
    try:
        assert runtime.run("--script").returncode == 0
        assert mounts.mounted_at(path) is not None
    finally:
        first.send_signal(signal.SIGCONT)
    output, said = first.communicate(timeout=LIMIT_S)
    assert first.returncode == 0, output + said
    assert runtime.is_clean()


@pytest.mark.fuse
@pytest.mark.parametrize("victim", ["store", "daemon"])
def test_demo_whose_parts_are_killed_says_so_and_leaves_nothing(
    runtime: Runtime, victim: str
) -> None:
    process = runtime.start()
    path = wait_for_mount(runtime, process)
    process.send_signal(signal.SIGSTOP)
    daemons = mounts.daemons(path)
    pids = daemons if victim == "daemon" else set(runtime.processes()) - set(daemons)
    for pid in pids:
        if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes() or victim == "daemon":
            os.kill(pid, signal.SIGKILL)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert "Traceback" not in said
    assert runtime.is_clean()


@pytest.mark.fuse
def test_demo_on_a_terminal_opens_a_shell_in_the_mount(runtime: Runtime) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "aisfs", "demo"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=clean_environment(**runtime.environment, SHELL="/bin/sh", TERM="dumb"),
    ) as process:
        os.close(theirs)
        os.write(ours, b"cat notes/welcome.txt; pwd; exit\n")
        screen = b""
        try:
            while part := os.read(ours, 4096):
                screen += part
        except OSError:  # the terminal has gone with its last user
            pass
        code = process.wait(LIMIT_S)
    os.close(ours)
    shown = screen.decode().replace("\r", "")
    assert code == 0, shown
    assert "This is a shell in the mount" in shown
    assert shown.count("These files are objects in an AIStore bucket.") == 2
    assert runtime.is_clean()


def test_demo_without_fuse_shows_the_store_and_exits_3(
    runtime: Runtime, without_fuse: list[str]
) -> None:
    ended = subprocess.run(
        [*without_fuse, "demo", "--script"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=clean_environment(**runtime.environment),
        timeout=LIMIT_S,
        check=False,
    )
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "no /dev/fuse" in ended.stderr
    assert "modprobe fuse" in ended.stderr
    assert "64 objects" in ended.stdout
    assert runtime.is_clean()


def test_demo_on_an_endpoint_that_refuses_is_one_line(runtime: Runtime) -> None:
    ended = runtime.run("--script", AIS_ENDPOINT="http://127.0.0.1:1")
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "http://127.0.0.1:1" in ended.stderr
    assert runtime.is_clean()
