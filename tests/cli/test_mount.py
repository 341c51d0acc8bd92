"""`aisfs mount`: up and answering, or one line that says what to do and nothing left behind."""

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aisfs.cli import mounts
from tests.support.mount import Mount, clean_environment, run_aisfs
from tests.support.store import StoreProcess, free_port
from tests.support.waiting import wait_until

LIMIT_S = 60.0


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Return an empty directory to mount at; whatever is left there is taken down."""
    path = tmp_path.resolve() / "mnt"
    path.mkdir()
    yield path
    left = mounts.mounted_at(path)
    serving = mounts.daemons(path)
    while mounts.mounted_at(path):
        mounts.unmount(path, lazy=True)
    for pid in serving:
        os.kill(pid, signal.SIGKILL)
    assert left is None, "a mount was left"
    assert not serving, "a daemon was left"


@pytest.fixture
def private(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which state and log go to the test's own directory."""
    return {
        "AISFS_STAGING_STATE_DIR": str(tmp_path / "state"),
        "AISFS_STORE_CONNECT_TIMEOUT": "1s",
        "AISFS_STORE_FIRST_BYTE_TIMEOUT": "1s",
    }


def refused(ended: subprocess.CompletedProcess[str]) -> str:
    """Check that a mount was refused as it must be, and return the line that says why."""
    assert ended.returncode == 32, ended
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["ftp://b"], "write ais://BUCKET"),
        (["b"], "write ais://b"),
        (["-o", "cach-memory=1G", "ais://b"], "nearest: cache-memory"),
        (["-o", "frobnicate", "ais://b"], "aisfs mount --help"),
        (["-o", "cache-memory=3Q", "ais://b"], "such as 256MiB"),
        (["--cache-memory", "3Q", "ais://b"], "such as 256MiB"),
        (["--attribute-ttl", "1d", "ais://b"], "such as 1s"),
        (["--cach-memory", "3", "ais://b"], "--cache-memory"),
        (["--endpoint", "h:1", "ais://b"], "write http://HOST:PORT"),
        (["--config", "/none", "ais://b"], "name one that exists"),
        (["-o", "token=x", "ais://b"], "AIS_AUTHN_TOKEN"),
        (["ais://b", "ais://c"], "[SOURCE] MOUNTPOINT"),
        ([""], "variable of the shell"),
    ],
)
def test_bad_words_are_refused(directory: Path, words: list[str], advice: str) -> None:
    assert advice in refused(run_aisfs("mount", *words, directory))


def test_mount_without_a_mount_point_is_refused() -> None:
    assert "MOUNTPOINT" in refused(run_aisfs("mount"))


def test_mount_point_that_does_not_exist_is_refused(directory: Path) -> None:
    assert f"mkdir -p {directory}/x" in refused(run_aisfs("mount", "ais://b", directory / "x"))


def test_mount_point_that_is_a_file_is_refused(directory: Path) -> None:
    file = directory / "f"
    file.touch()
    assert "not a directory" in refused(run_aisfs("mount", "ais://b", file))
    assert "not a directory" in refused(run_aisfs("mount", "ais://b", file / "x"))


def test_mount_point_that_is_not_empty_is_refused(directory: Path) -> None:
    (directory / "f").touch()
    assert "-o nonempty" in refused(run_aisfs("mount", "ais://b", directory))


def test_mount_point_that_is_a_loop_of_links_is_refused(directory: Path) -> None:
    (directory / "a").symlink_to("a")
    refused(run_aisfs("mount", "ais://b", directory / "a"))


@pytest.mark.fuse
def test_unknown_bucket_is_refused(
    directory: Path, store: StoreProcess, private: dict[str, str]
) -> None:
    ended = run_aisfs(
        "mount", "--endpoint", store.endpoint, "ais://nope", directory, environment=private
    )
    assert "ais://nope" in refused(ended)


@pytest.mark.fuse
def test_endpoint_where_nobody_listens_is_refused(directory: Path, private: dict[str, str]) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    ended = run_aisfs("mount", endpoint, directory, environment=private)
    assert endpoint.removeprefix("http://") in refused(ended)


@pytest.mark.fuse
def test_endpoint_that_is_not_ais_is_refused(directory: Path, private: dict[str, str]) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        ended = run_aisfs("mount", endpoint, directory, environment=private)
        server.shutdown()
        thread.join()
    assert "AIS" in refused(ended)


@pytest.mark.fuse
def test_endpoint_that_never_answers_is_refused_in_time(
    directory: Path, private: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        refused(run_aisfs("mount", endpoint, directory, environment=private))
        assert time.monotonic() - began < 30


@pytest.mark.fuse
def test_interrupt_while_waiting_leaves_nothing(directory: Path, private: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, "-m", "aisfs", "mount", "--timeout", "1h", endpoint, str(directory)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=clean_environment(**private),
            start_new_session=True,
            text=True,
        ) as process:
            silent.settimeout(LIMIT_S)
            asked, _ = silent.accept()  # the daemon has begun to wait for an answer
            with asked:
                os.killpg(process.pid, signal.SIGINT)
                _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert said == "aisfs: interrupted\n"


@pytest.mark.fuse
def test_daemon_that_fails_unexpectedly_is_one_line_and_a_log(
    directory: Path, private: dict[str, str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "pyfuse3.py").write_text("raise RuntimeError('out of\\nfuses')")
    environment = private | {"PYTHONPATH": str(broken)}
    said = refused(run_aisfs("mount", "ais://b", directory, environment=environment))
    assert "out of fuses" in said
    log = Path(said.split()[-1])
    assert log.is_relative_to(tmp_path / "state")
    assert "Traceback" in log.read_text("utf-8")


@pytest.mark.fuse
def test_daemon_that_dies_at_once_is_one_line_and_a_log(
    directory: Path, private: dict[str, str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "pyfuse3.py").write_text("import os; os.kill(os.getpid(), 9)")
    environment = private | {"PYTHONPATH": str(broken)}
    said = refused(run_aisfs("mount", "ais://b", directory, environment=environment))
    assert "ended with -9" in said
    assert said.split()[-1].startswith(str(tmp_path / "state"))


@pytest.mark.fuse
def test_log_that_cannot_be_written_is_refused(directory: Path) -> None:
    ended = run_aisfs("mount", "-o", "log-file=/proc/none/log", "ais://b", directory)
    assert "log-file=FILE" in refused(ended)


def test_machine_without_fuse_is_told_how_to_get_it(
    directory: Path, without_fuse: list[str]
) -> None:
    ended = subprocess.run(
        [*without_fuse, "mount", "ais://b", directory],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=LIMIT_S,
        check=False,
    )
    said = refused(ended)
    assert "no /dev/fuse" in said
    assert "modprobe fuse" in said
    assert "--device /dev/fuse" in said


@pytest.mark.fuse
def test_stale_mount_is_refused_until_it_is_taken_down(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        mount.kill()
        said = refused(mount.try_mount())
        assert f"fusermount3 -uz {mount.path}" in said
        subprocess.run(["fusermount3", "-uz", str(mount.path)], check=True)
        assert not mount.mounted
        mount.mount()
        assert list(mount.path.iterdir()) == []


@pytest.mark.fuse
def test_second_mount_at_one_place_is_refused(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        assert "already shows ais://b" in refused(mount.try_mount())
        assert list(mount.path.iterdir()) == []


@pytest.mark.fuse
def test_mount_that_succeeds_says_nothing_and_answers(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b", options=["ro", "_netdev", "nofail"]) as mount:
        assert (mount.mounted, list(mount.path.iterdir())) == (True, [])
        with pytest.raises(OSError, match="Read-only"):
            (mount.path / "f").touch()


@pytest.mark.fuse
def test_place_may_have_a_name_that_is_no_text(store: StoreProcess, directory: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(directory) + b"/\xff \x85"))
    place.mkdir()
    private = {"AISFS_STAGING_STATE_DIR": str(directory / "state"), "AIS_ENDPOINT": store.endpoint}
    ended = run_aisfs("mount", place, environment=private)
    assert (ended.returncode, ended.stderr) == (0, "")
    told = run_aisfs("status", environment=private)
    assert str(place) in told.stdout
    assert run_aisfs("umount", place, environment=private).returncode == 0


@pytest.mark.fuse
def test_place_may_have_files_if_one_says_so(store: StoreProcess) -> None:
    store.create_bucket("b")
    mount = Mount(store.endpoint, "ais://b", options=["nonempty"])
    (mount.path / "below").touch()
    with mount:
        assert list(mount.path.iterdir()) == []


@pytest.mark.fuse
def test_token_is_not_in_the_daemons_arguments_or_environment(store: StoreProcess) -> None:
    store.create_bucket("b")
    secrets = {"AIS_AUTHN_TOKEN": "hush", "AISFS_STORE_TOKEN": "hush"}
    with Mount(store.endpoint, "ais://b", environment=secrets) as mount:
        process = Path("/proc") / str(mount.daemon_pid)
        assert b"hush" not in (process / "cmdline").read_bytes()
        assert b"hush" not in (process / "environ").read_bytes()
        assert "hush" not in mount.log


@pytest.mark.fuse
def test_daemon_has_a_session_of_its_own_and_holds_no_directory(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        pid = mount.daemon_pid
        assert os.getsid(pid) == pid
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
        assert mount.log_file.stat().st_mode & 0o077 == 0
        standard = [Path(f"/proc/{pid}/fd/{number}").readlink() for number in range(3)]
        assert standard == [Path(os.devnull), Path(os.devnull), mount.log_file]


@pytest.mark.fuse
@pytest.mark.parametrize("way", ["umount", "SIGTERM", "SIGINT"])
def test_mount_in_front_ends_when_told(
    directory: Path, store: StoreProcess, private: dict[str, str], way: str
) -> None:
    store.create_bucket("b")
    with subprocess.Popen(
        [sys.executable, "-m", "aisfs", "mount", "-f", "ais://b", str(directory)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=clean_environment(**private, AIS_ENDPOINT=store.endpoint),
        text=True,
    ) as process:
        wait_until(lambda: mounts.mounted_at(directory), "it is mounted")
        (directory / "f").write_text("content")
        assert mounts.daemons(directory) == [process.pid]
        if way == "umount":
            assert run_aisfs("umount", directory).returncode == 0
        else:
            process.send_signal(getattr(signal, way))
        _, log = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, log
    assert "Traceback" not in log


@pytest.mark.fuse
def test_mount_in_front_that_fails_is_refused(directory: Path, private: dict[str, str]) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    ended = run_aisfs("mount", "-f", endpoint, directory, environment=private)
    assert ended.returncode == 32
    assert ended.stderr.splitlines()[-1].startswith("aisfs: ")
    assert "Traceback" not in ended.stderr
