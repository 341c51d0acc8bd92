"""Starting and stopping: readiness, exit codes, locks, ports, import."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from aisfs.cli.serve import serve
from tests.server import wire
from tests.support.disk import occupy, small_disk_at
from tests.support.store import StoreProcess, free_port
from tests.support.waiting import wait_until

COMMAND = [sys.executable, "-c", "from aisfs.cli.serve import serve; serve()"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=20, check=False
    )


class Running:
    """`aisfs serve` in a child, past its readiness line."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready http://127.0.0.1:"), line
        self.endpoint = line.split()[1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=20)
        return self.process.returncode, out, errors


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[StoreProcess]:
    with StoreProcess(tmp_path / "data") as process:
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_line_when_ready_and_a_quiet_end(tmp_path: Path, number: signal.Signals) -> None:
    running = Running("--data", str(tmp_path / "data"), "--targets", "2")
    assert wire.follow(running.endpoint, "GET", "/v1/health").status == 200
    assert running.end(number) == (0, "", "")


def test_stop_lets_a_request_end(lone: StoreProcess) -> None:
    lone.create_bucket("b")
    location = wire.send(
        lone.endpoint.removeprefix("http://"), "PUT", "/v1/objects/b/x", [], b""
    ).get("Location")
    host, path = wire.split_url(location)
    with wire.connection(host, "PUT", path, 5) as sock:
        sock.sendall(b"hel")
        # What has not even been looked at is no request that is being served.
        wait_until(lambda: any((lone.data / "new").iterdir()), "the body is being received")
        os.kill(lone.pid, signal.SIGTERM)
        sock.sendall(b"lo")
        assert wire.receive(sock, "PUT").status == 200
    lone.kill()
    lone.restart()
    assert wire.follow(lone.endpoint, "GET", "/v1/objects/b/x").body == b"hello"


def test_second_server_on_the_same_data_is_refused(lone: StoreProcess) -> None:
    second = run("--data", str(lone.data))
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"another server already uses {lone.data}" in second.stderr
    assert wire.follow(lone.endpoint, "GET", "/v1/health").status == 200


def test_port_in_use(lone: StoreProcess, tmp_path: Path) -> None:
    port = lone.endpoint.rpartition(":")[2]
    second = run("--data", str(tmp_path / "other"), "--port", port)
    assert (second.returncode, second.stdout) == (1, "")
    assert "Address already in use" in second.stderr
    assert second.stderr.count("\n") == 1


def test_port_is_the_one_asked_for(tmp_path: Path) -> None:
    port = free_port()
    running = Running("--ephemeral", "--port", str(port))
    assert running.endpoint == f"http://127.0.0.1:{port}"
    assert running.end()[0] == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_only_loopback(tmp_path: Path, host: str) -> None:
    refused = run("--data", str(tmp_path / "data"), "--host", host)
    assert refused.returncode == 1
    assert "not a loopback address" in refused.stderr
    assert "--expose" in refused.stderr


def test_data_directory_that_is_a_file_or_below_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    refused = run("--data", str(file / "below"))
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1


def test_data_directory_with_a_foreign_catalog(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"no database" * 1000)
    refused = run("--data", str(tmp_path))
    assert refused.returncode == 1
    assert "cannot use" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("--data", "x", "--ephemeral"), ("--ephemeral", "--port", "70000"),
        ("--ephemeral", "--targets", "0"), ("--ephemeral", "--import", "/nonexistent"),
    ],
)  # fmt: skip
def test_usage_errors(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(serve, arguments).exit_code == 2


def test_ephemeral_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    running = Running("--ephemeral")
    assert len(list(tmp_path.iterdir())) == 1
    running.end()
    assert not list(tmp_path.iterdir())


def test_import_makes_buckets_of_directories(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "photos" / "2024").mkdir(parents=True)
    (tree / "photos" / "2024" / "a b.jpg").write_bytes(b"jpg")
    (tree / "photos" / "link").symlink_to("/etc/hostname")
    (tree / "loose").write_bytes(b"not in a bucket")
    data = ("--data", str(tmp_path / "data"), "--import", str(tree))
    running = Running(*data)
    target = "/v1/objects/photos/2024/a%20b.jpg"
    assert wire.follow(running.endpoint, "GET", target).body == b"jpg"
    assert wire.follow(running.endpoint, "GET", "/v1/objects/photos/link").status == 404
    assert wire.follow(running.endpoint, "PUT", target, [], b"changed").status == 200
    running.end()
    running = Running(*data)
    assert wire.follow(running.endpoint, "GET", target).body == b"changed"
    running.end()


def test_request_log_counts(lone: StoreProcess) -> None:
    lone.create_bucket("b")
    lone.clear_requests()
    wire.follow(lone.endpoint, "PUT", "/v1/objects/b/x", [], b"hello")
    wire.follow(lone.endpoint, "GET", "/v1/objects/b/x")
    seen = lone.requests()
    steps = [(line["node"][0], line["method"], line["status"]) for line in seen]
    assert steps == [("p", "PUT", 307), ("t", "PUT", 200), ("p", "GET", 301), ("t", "GET", 200)]
    assert (seen[1]["received"], seen[3]["sent"]) == (5, 5)
    assert seen[1]["path"] == "/v1/objects/b/x"
    assert "pid=" in seen[1]["query"]


def test_metrics_count_requests_by_node_method_and_status(lone: StoreProcess) -> None:
    lone.create_bucket("b")
    for _ in range(3):
        wire.follow(lone.endpoint, "PUT", "/v1/objects/b/x", [], b"hello")
    wire.follow(lone.endpoint, "GET", "/v1/objects/b/missing")
    wire.send(lone.endpoint.removeprefix("http://"), "HACK", "/v1/objects/b/x")
    answer = wire.follow(lone.endpoint, "GET", "/metrics")
    assert answer.get("Content-Type").startswith("text/plain; version=0.0.4")
    families = {
        family.name: {tuple(sorted(item.labels.items())): item.value for item in family.samples}
        for family in text_string_to_metric_families(answer.body.decode())
    }
    served = families["aisfs_store_requests"]
    count = sum(
        value
        for labels, value in served.items()
        if ("method", "PUT") in labels and ("status", "200") in labels
    )
    assert count == 3
    assert any(("method", "GET") in labels and ("status", "404") in labels for labels in served)
    assert sum(families["aisfs_store_received_bytes"].values()) >= 15
    assert families["aisfs_store_buckets"] == {(): 1}


def test_file_size_limit_is_507_and_loses_nothing(lone: StoreProcess) -> None:
    """A write that the system refuses as too large, in place of a disk that is full."""
    lone.create_bucket("b")
    target = "/v1/objects/b/x"
    assert wire.follow(lone.endpoint, "PUT", target, [], b"old").status == 200
    resource.prlimit(lone.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    for size in ((1 << 20) + 1, 6 << 20):
        answer = wire.follow(lone.endpoint, "PUT", target, [], b"n" * size)
        assert answer.status == 507, answer
    assert wire.follow(lone.endpoint, "GET", target).body == b"old"
    assert not list((lone.data / "new").iterdir())
    resource.prlimit(lone.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert wire.follow(lone.endpoint, "PUT", target, [], b"n" * (6 << 20)).status == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    with small_disk_at(tmp_path) as path:
        yield path


def test_full_disk_is_507_and_loses_nothing(small_disk: Path) -> None:
    with StoreProcess(small_disk / "data") as store:
        store.create_bucket("b")
        wire.follow(store.endpoint, "PUT", "/v1/objects/b/kept", [], b"kept")
        chunked = [("Transfer-Encoding", "chunked")]
        piece = b"x" * (1 << 20)
        long = b"".join(b"100000\r\n" + piece + b"\r\n" for _ in range(17)) + b"0\r\n\r\n"
        for headers, body in (([], b"x" * (17 << 20)), (chunked, long)):
            target = "/v1/objects/b/kept"
            answer = wire.follow(store.endpoint, "PUT", target, list(headers), body)
            assert answer.status == 507, answer
            assert b"ErrCapExceeded" in answer.body
        stored = fill_disk(store, b"y" * 200_000)
        assert 30 < len(stored) < 120
        for name in stored:
            answer = wire.follow(store.endpoint, "GET", f"/v1/objects/b/{name}")
            assert answer.body == b"y" * 200_000
        assert wire.follow(store.endpoint, "GET", "/v1/objects/b/kept").body == b"kept"
        store.kill()
        store.restart()
        assert wire.follow(store.endpoint, "GET", "/v1/objects/b/kept").body == b"kept"
        for name in stored:
            assert wire.follow(store.endpoint, "DELETE", f"/v1/objects/b/{name}").status == 200
        answer = wire.follow(store.endpoint, "PUT", "/v1/objects/b/kept", [], b"y" * (2 << 20))
        assert answer.status == 200


def test_a_full_disk_takes_no_access_times_and_the_store_goes_on(small_disk: Path) -> None:
    with StoreProcess(small_disk / "data") as store:
        store.create_bucket("b")
        objects = [f"/v1/objects/b/{number:03}{'long' * 40}" for number in range(400)]
        for target in objects:
            assert wire.follow(store.endpoint, "PUT", target, [], b"x").status == 200
        in_the_way = occupy(small_disk)
        for target in objects:
            assert wire.follow(store.endpoint, "GET", target).body == b"x"
        message = b'{"action": "list", "value": {"props": "name,atime"}}'
        for _ in range(2):  # writes what it is to tell; then there is nothing to write
            answer = wire.follow(store.endpoint, "GET", "/v1/buckets/b", [], message)
            assert answer.status == 200, answer
        in_the_way.unlink()
        assert wire.follow(store.endpoint, "PUT", objects[0], [], b"new").status == 200
        assert wire.follow(store.endpoint, "GET", objects[0]).body == b"new"
        assert store.stop() == 0
        assert "access times could not be written" in store.stderr()
        store.start()


def fill_disk(store: StoreProcess, body: bytes) -> list[str]:
    """Store objects until the disk is full and three more were refused; returns the stored."""
    stored: list[str] = []
    refused = 0
    for number in range(1000):
        target = f"/v1/objects/b/{number}"
        answer = wire.follow(store.endpoint, "PUT", target, [], body)
        assert answer.status in {200, 507}, answer
        if answer.status == 200:
            stored.append(str(number))
        else:
            refused += 1
        if refused == 3:
            return stored
    raise AssertionError("the disk is never full")
