"""What a mount counts, as a scrape of a real one shows it, and the dashboard that shows it."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aisfs.metrics import METRICS
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.fuse

DASHBOARD = Path(__file__).resolve().parents[2] / "docs" / "grafana.json"
SIZE = 3_000_000


class Scrape(NamedTuple):
    """Samples by name, each with its labels and value."""

    samples: dict[str, list[tuple[dict[str, str], float]]]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of what has these labels."""
        return sum(v for told, v in self.samples.get(name, []) if labels.items() <= told.items())


def parsed(text: str) -> Scrape:
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return Scrape(samples)


def scrape(mount: Mount) -> Scrape:
    return parsed((mount.path / ".aisfs" / "metrics").read_text())


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[StoreProcess]:
    with StoreProcess() as process:
        process.create_bucket("b")
        yield process


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def loaded(
    cluster: StoreProcess, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mount]:
    """Return a mount that has read, written, failed, and can be scraped over HTTP."""
    cache = tmp_path_factory.mktemp("cache")
    options = [f"metrics-listen={port}", f"cache-dir={cache}", "cache-size=64M"]
    with Mount(cluster.endpoint, "ais://b", options=options) as mount:
        (mount.path / "large").write_bytes(b"x" * SIZE)
        assert (mount.path / "large").read_bytes() == b"x" * SIZE
        for number in range(40):
            (mount.path / f"small-{number:02d}").write_bytes(b"small")
        for path in sorted(mount.path.iterdir()):
            path.read_bytes()
        assert not (mount.path / "absent").exists()
        cluster.faults([{"method": "PUT", "path": "refused$", "action": "error"}])
        with pytest.raises(OSError, match="Input/output"):
            (mount.path / "refused").write_bytes(b"12345")
        yield mount
        cluster.clear_faults()


def test_every_metric_of_the_table_is_told(loaded: Mount) -> None:
    told = scrape(loaded)
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in told.samples}
    assert names == {metric.name for metric in METRICS}


def test_the_load_is_counted(loaded: Mount) -> None:
    told = scrape(loaded)
    assert told.value("aisfs_operations_total", operation="create", errno="OK") == 42
    assert told.value("aisfs_operations_total", operation="lookup", errno="ENOENT") >= 1
    assert told.value("aisfs_operations_total", operation="flush", errno="EIO") == 1
    for operation in ("read", "write", "lookup", "flush"):
        answered = told.value("aisfs_operations_total", operation=operation)
        assert answered == told.value("aisfs_operation_seconds_count", operation=operation)
        assert told.value("aisfs_operation_seconds_sum", operation=operation) > 0
    assert told.value("aisfs_written_bytes_total") == SIZE + 40 * 5 + 5
    assert told.value("aisfs_read_bytes_total") >= SIZE
    assert told.value("aisfs_uploads_total", outcome="stored") == 41
    assert told.value("aisfs_uploads_total", outcome="failed") >= 1
    assert told.value("aisfs_unsent_files", state="failed") == 1
    assert told.value("aisfs_unsent_bytes") == 5
    assert told.value("aisfs_http_requests_total", method="PUT", status="5xx") >= 1
    assert told.value("aisfs_http_sent_bytes_total") >= SIZE
    assert told.value("aisfs_http_received_bytes_total") >= SIZE
    assert told.value("aisfs_cache_used_bytes", level="memory") > 0
    assert told.value("aisfs_cache_capacity_bytes", level="disk") == 64 << 20


def test_counters_count_on(loaded: Mount) -> None:
    before = scrape(loaded)
    descriptor = (loaded.path / "large").open("rb")
    during = scrape(loaded)
    descriptor.close()
    name = "aisfs_operations_total"
    assert during.value(name, operation="open") > before.value(name, operation="open")
    assert during.value("aisfs_open_handles") == before.value("aisfs_open_handles") + 1


def get(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
        assert isinstance(text, str)
        return text


def test_http_tells_the_same(loaded: Mount, port: int) -> None:
    assert parsed(get(port)).samples.keys() == scrape(loaded).samples.keys()


def test_bad_clients_do_not_harm_the_mount(loaded: Mount, port: int) -> None:
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    for number, one in enumerate(held):
        one.sendall(b"\0" * number)
    assert (loaded.path / "large").stat().st_size == SIZE
    for one in held:
        one.close()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(port, "/.aisfs/config.json")
    assert "aisfs_info" in get(port)


def test_an_address_in_use_keeps_from_mounting(cluster: StoreProcess) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        mount = Mount(cluster.endpoint, "ais://b", options=[f"metrics-listen=127.0.0.1:{taken}"])
        ended = mount.try_mount()
        mount._clean_up()
    assert ended.returncode == 32
    assert f"metrics-listen: cannot listen at 127.0.0.1:{taken}" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_without_the_setting_nobody_listens(cluster: StoreProcess) -> None:
    with Mount(cluster.endpoint, "ais://b") as mount:
        sockets = Path(f"/proc/{mount.daemon_pid}/fd")
        inodes = {link.readlink().name for link in sockets.iterdir() if link.is_symlink()}
        for table in ("tcp", "tcp6"):
            rows = Path(f"/proc/{mount.daemon_pid}/net/{table}").read_text().splitlines()[1:]
            listening = {f"socket:[{row.split()[9]}]" for row in rows if row.split()[3] == "0A"}
            assert not inodes & listening


# -- the dashboard


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


@pytest.mark.parametrize("query", queries())
def test_a_query_of_the_dashboard_finds_its_metrics(loaded: Mount, query: str) -> None:
    told = scrape(loaded).samples
    used = re.findall(r"\b((?:aisfs|process)_\w+)(?:\{([^}]*)\})?", query)
    assert used
    for name, selector in used:
        assert name in told, f"{name} is not told by a mount"
        known = {label for labels, _ in told[name] for label in labels} | {"instance"}
        assert set(re.findall(r"(\w+)[=!]~?\"", selector)) <= known
    grouped = {
        label.strip() for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(",")
    }
    assert grouped <= {label for name, _ in used for labels, _ in told[name] for label in labels}


def test_the_dashboard_shows_every_metric() -> None:
    shown = "\n".join(queries())
    assert not [metric.name for metric in METRICS if metric.name not in shown]


# -- requests that take long


def look_slowly(store: StoreProcess, mount: Mount) -> None:
    """Look for a file that is not there, in a store that takes a second to say so."""
    store.faults([{"method": "HEAD", "role": "target", "action": "delay", "seconds": 1.0}])
    try:
        with pytest.raises(FileNotFoundError):
            (mount.path / "slow-absent.txt").stat()
    finally:
        store.clear_faults()


def test_a_slow_request_is_told_with_what_it_waited_for(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b", options=["log-slow=300ms"]) as mount:
        look_slowly(store, mount)
        (line,) = [x for x in mount.log.splitlines() if "slow-absent.txt took" in x]
        assert re.search(
            r"WARNING aisfs\.fuse\.operations \[\d+ lookup parent=1\] "
            r"lookup of slow-absent\.txt took \d\.\d s: \d\.\d s for the cluster$",
            line,
        )


def test_no_request_is_slow_where_none_is_to_be(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b", options=["log-slow=0"]) as mount:
        look_slowly(store, mount)
        assert "took" not in mount.log


def test_a_log_of_json_is_json_to_the_last_line(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b", options=["log-format=json"]) as mount:
        (mount.path / "a").write_bytes(b"x" * SIZE)
        rows = [json.loads(line) for line in mount.log.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, rows))
    assert [row for row in rows if row.get("operation") == "flush" and row["ino"] > 1]
