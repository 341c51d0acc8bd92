"""What a mount tells of its settings and its cluster, as files below `.aisfs`."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from aisfs_sdk import Client
from aisfs_sdk.namespace import Namespace
from tests.support.mount import Mount
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.fuse

OBJECTS = 5
ETL = "upper-etl"
AT_THE_TOP = [
    "README", "buckets", "cache", "cluster", "config.json", "ctl", "etl", "jobs", "last", "log",
    "metrics", "order", "reload.json", "stats", "stats.json", "sync", "version", "warm",
]  # fmt: skip

NAMES_ARE_ASKED_FOR = sorted(
    (
        "/v1/cluster?what=running_all",
        "/v1/cluster?what=status_all",
        "/v1/daemon?what=bmd",  # the providers,
        "/v1/daemon?what=bmd",  # and the buckets of the only one
        "/v1/daemon?what=smap",
        "/v1/etl?",
    )
)
"""The requests that a walk through all control files costs."""


def raises(number: int) -> str:
    return re.escape(os.strerror(number))


def token_of(store: StoreProcess) -> str:
    return store.token_file.read_text().strip()


def client_of(store: StoreProcess) -> Client:
    return Client(store.endpoint, token=token_of(store))


def mounted(store: StoreProcess, source: str = "ais://b", *options: str) -> Mount:
    """Return a mount that the environment gives the token."""
    token = {"AIS_AUTHN_TOKEN": token_of(store)}
    return Mount(store.endpoint, source, options=options, environment=token)


@pytest.fixture(scope="module", params=["5.0", "3.17"])
def store(request: pytest.FixtureRequest) -> Iterator[StoreProcess]:
    """Return a store with two buckets, a job that has ended and a transformer that runs."""
    options = ("--allow-etl", "--require-token", "--compat", request.param)
    with StoreProcess(extra=options) as process:
        client = client_of(process)
        bucket, other = client.bucket("b").create(), client.bucket("other").create()
        for number in range(OBJECTS):
            bucket.object(f"d/{number}").put_content(b"x" * (number + 1))
        assert client.job(bucket.copy(other)).wait()
        client.etl(ETL).init_code(lambda data: data.upper(), communication_type="hpush")
        yield process


@pytest.fixture
def client(store: StoreProcess) -> Iterator[Client]:
    made = client_of(store)
    yield made
    made.close()


@pytest.fixture(scope="module")
def mount(store: StoreProcess) -> Iterator[Mount]:
    with mounted(store) as made:
        yield made


@pytest.fixture
def control(mount: Mount) -> Path:
    return mount.path / ".aisfs"


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))  # noqa: PTH208


def told(file: Path) -> Any:
    return json.loads(file.read_bytes())


def rows(file: Path) -> dict[str, str]:
    return dict(line.split("\t") for line in file.read_text().splitlines())


def plain(value: object) -> Any:
    """Return what JSON makes of the SDK's answer."""
    return json.loads(msgspec.json.encode(value))


def walk(*command: str, control: Path) -> list[str]:
    done = subprocess.run(
        [*command, control], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def asked(store: StoreProcess) -> list[str]:
    return sorted(f"{e['path']}?{e['query']}" for e in store.requests())


# ---- the tree


def test_everything_is_where_the_readme_says(control: Path, client: Client) -> None:
    assert ".aisfs" not in names(control.parent)
    assert names(control) == AT_THE_TOP
    assert names(control / "cluster") == ["health", "info.json", "map.json", "nodes"]
    smap = client.cluster().get_info()
    assert names(control / "cluster/nodes") == sorted([*smap.pmap, *smap.tmap])
    jobs = {status.uuid for status in client.cluster().list_jobs_status()}
    running = {text.partition("[")[2][:-1] for text in client.cluster().list_running_jobs()}
    assert jobs
    assert names(control / "jobs") == sorted({"list", "list.json"} | jobs | running)
    assert names(control / "etl") == [ETL]
    assert names(control / f"etl/{ETL}") == ["ctl", "info.json", "logs", "status"]
    assert names(control / "buckets") == ["ais"]
    assert names(control / "buckets/ais") == ["b", "other"]
    assert names(control / "buckets/ais/b") == ["ctl", "props.json", "summary.json"]
    readme = (control / "README").read_text()
    assert all(name in readme for name in AT_THE_TOP if name != "README")


@pytest.mark.parametrize("command", [("find",), ("ls", "-lR")], ids=["find", "ls"])
@pytest.mark.parametrize("lifetime", ["0", "1s"])
def test_looking_around_asks_for_names_only(
    store: StoreProcess, lifetime: str, command: tuple[str, ...]
) -> None:
    with mounted(store, "ais://b", f"attribute-ttl={lifetime}") as mount:
        control = mount.path / ".aisfs"
        store.clear_requests()
        lines = walk(*command, control=control)
        assert sum("info.json" in line for line in lines) == 4 + 1 + 1  # nodes, cluster, ETL
        assert asked(store) == NAMES_ARE_ASKED_FOR


def test_every_file_can_be_read_and_none_has_a_size(control: Path) -> None:
    for file in (path for path in control.rglob("*") if path.is_file()):
        status = file.stat()
        mode = 0o644 if file.name in {"order", "sync", "warm"} else 0o444
        if file.name in {"ctl", "log"} or file.match("etl/*/info.json"):
            mode = 0o600 if file.name == "ctl" else 0o400
        assert (status.st_size, status.st_mode & 0o777) == (0, mode)
        text = file.read_text()
        if file.suffix == ".json":
            json.loads(text)
        elif file.name not in {"README", "log", "logs", "metrics"}:
            assert all(line.count("\t") == 1 for line in text.splitlines()), file


def test_a_mount_of_all_buckets_has_the_same_tree(store: StoreProcess) -> None:
    with mounted(store, "") as everything:
        assert names(everything.path) == ["b", "other"]
        assert names(everything.path / ".aisfs") == AT_THE_TOP
        assert names(everything.path / ".aisfs/buckets/ais") == ["b", "other"]


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("none", errno.ENOENT),
        ("README/none", errno.ENOTDIR),
        ("cluster/none", errno.ENOENT),
        ("cluster/nodes/none", errno.ENOENT),
        ("jobs/none", errno.ENOENT),
        ("jobs/none/status", errno.ENOENT),
        ("jobs/%s,none", errno.ENOENT),
        ("jobs/" + "x" * 250, errno.ENOENT),
        ("jobs/\udcff", errno.ENOENT),
        ("etl/none", errno.ENOENT),
        ("etl/none/logs", errno.ENOENT),
        ("buckets/none", errno.ENOENT),
        ("buckets/aws", errno.ENOENT),
        ("buckets/ais/none", errno.ENOENT),
        ("buckets/ais/none/props.json", errno.ENOENT),
        ("buckets/ais/b/none", errno.ENOENT),
    ],
)
def test_what_the_cluster_does_not_have_is_absent(control: Path, path: str, number: int) -> None:
    job = next(name for name in names(control / "jobs") if not name.startswith("list"))
    with pytest.raises(OSError, match=raises(number)):
        (control / path.replace("%s", job)).read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: (c / "jobs/new").mkdir(),
        lambda c: (c / "etl/new").write_text("x"),
        lambda c: (c / "buckets/ais/b").rmdir(),
        lambda c: (c / "buckets/ais/b/props.json").unlink(),
        lambda c: (c / "buckets/ais/b").rename(c / "buckets/ais/c"),
        lambda c: (c / "cluster/health").rename(c.parent / "health"),
        lambda c: (c.parent / "d/0").rename(c / "cluster/new"),
        lambda c: (c / "cluster/health").chmod(0o600),
        lambda c: (c / "cluster/link").symlink_to("health"),
        lambda c: (c / "cluster/link").hardlink_to(c / "cluster/health"),
        lambda c: os.setxattr(c / "cluster/health", "user.a", b"b"),
        lambda c: os.setxattr(c / "jobs", "user.a", b"b"),
    ],
)
def test_nothing_is_changed(control: Path, change: Callable[[Path], object]) -> None:
    with pytest.raises(PermissionError) as refused:
        change(control)
    assert refused.value.errno == errno.EPERM
    assert names(control / "buckets/ais") == ["b", "other"]


@pytest.mark.parametrize("file", ["version", "jobs/list", "buckets/ais/b/props.json"])
@pytest.mark.parametrize("mode", [os.O_WRONLY, os.O_RDWR | os.O_TRUNC])
def test_information_is_not_written(control: Path, file: str, mode: int) -> None:
    with pytest.raises(OSError, match=raises(errno.EACCES)):
        os.open(control / file, mode)


# ---- what the files tell


def test_the_cluster_is_what_the_sdk_says(control: Path, client: Client) -> None:
    cluster = client.cluster()
    smap = cluster.get_info()
    assert told(control / "cluster/map.json") == plain(smap)
    info = told(control / "cluster/info.json")
    assert info["uuid"] == smap.uuid
    assert info["release"] == str(client.era)
    assert (info["gateways"], info["targets"], info["active_targets"]) == (1, 3, 3)
    assert info["capacity_bytes"] == cluster.get_capacity()[0]
    assert rows(control / "cluster/health") == {"ready": "yes", "primary_ready": "yes"}
    for node_id, node in {**smap.pmap, **smap.tmap}.items():
        found = told(control / f"cluster/nodes/{node_id}/info.json")
        assert found["node"] == plain(node)
        assert found["active"] is True
        assert found["status"]["ais_version"] == cluster.get_node_status(node_id)["ais_version"]


def test_jobs_are_what_the_sdk_says(control: Path, client: Client) -> None:
    statuses = client.cluster().list_jobs_status()
    listed = {job["uuid"]: job for job in told(control / "jobs/list.json")}
    assert {status.uuid: plain(status) for status in statuses}.items() <= listed.items()
    job_id = next(status.uuid for status in statuses if status.kind == "copy-bck")
    assert rows(control / "jobs/list")[job_id] == "copy-bck finished"
    job = client.job(job_id)
    assert told(control / f"jobs/{job_id}/status.json") == {
        "status": plain(job.status()),
        "snapshots": plain(job.get_details().snapshots),
    }
    status = rows(control / f"jobs/{job_id}/status")
    assert (status["id"], status["kind"], status["state"]) == (job_id, "copy-bck", "finished")
    assert (status["objects"], status["bytes"]) == ("5", "15")
    assert status["error"] == ""
    assert status["started"] < status["ended"]


def test_transformers_are_what_the_sdk_says(control: Path, client: Client) -> None:
    (info,) = client.cluster().list_etls(None)
    found = told(control / f"etl/{ETL}/info.json")
    assert found["info"] == plain(info)
    assert found["details"] == plain(client.etl(ETL).view())
    status = rows(control / f"etl/{ETL}/status")
    assert (status["name"], status["stage"]) == (ETL, "Running")
    assert status["job"] == info.xaction_id
    logs = (control / f"etl/{ETL}/logs").read_text()
    assert [line.split()[2] for line in logs.splitlines() if line.startswith("==> ")] == sorted(
        client.etl(ETL).logs()
    )


def test_a_cluster_that_runs_no_transformers_has_none() -> None:
    with StoreProcess() as own:
        Client(own.endpoint).bucket("b").create()
        with Mount(own.endpoint, "ais://b") as mount:
            assert names(mount.path / ".aisfs/etl") == []
            assert not (mount.path / ".aisfs/etl" / ETL).exists()


def test_buckets_are_what_the_sdk_says(control: Path, client: Client) -> None:
    bucket = client.bucket("b")
    props = json.loads(bucket.head()["Ais-Bucket-Props"])
    assert told(control / "buckets/ais/b/props.json") == props
    assert told(control / "buckets/ais/b/summary.json") == plain(bucket.summary())


def test_buckets_in_a_namespace_are_named_as_in_a_mount_of_all(
    store: StoreProcess, control: Path, client: Client
) -> None:
    bucket = client.bucket("c", namespace=Namespace(name="ns")).create()
    try:
        bucket.object("o").put_content(b"abc")
        assert names(control / "buckets/ais") == ["ais#ns:c", "b", "other"]
        summary = told(control / "buckets/ais/ais#ns:c/summary.json")
        assert summary["TotalSize"]["size_all_present_objs"] == "3"
        with mounted(store, "") as everything:
            assert names(everything.path) == ["ais#ns:c", "b", "other"]
            where = os.getxattr(everything.path / "ais#ns:c/o", "user.ais.object")
            assert where == b"ais://#ns/c/o"
    finally:
        bucket.delete()


def test_buckets_of_a_cloud_have_a_directory_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "cold").write_bytes(b"abc")
    with (
        StoreProcess(extra=("--remote", f"aws://cloud={tmp_path}")) as own,
        Mount(own.endpoint, "s3://cloud") as mount,
    ):
        own.create_bucket("cloud")
        buckets = mount.path / ".aisfs/buckets"
        assert names(buckets) == ["ais", "aws"]
        assert names(buckets / "ais") == names(buckets / "aws") == ["cloud"]
        assert told(buckets / "aws/cloud/props.json")["provider"] == "aws"
        assert told(buckets / "ais/cloud/props.json")["provider"] == "ais"


def test_a_handle_shows_what_was_true_when_it_was_opened(
    store: StoreProcess, control: Path, client: Client
) -> None:
    file = control / "jobs/list"
    with file.open("rb", buffering=0) as before:
        first = before.read(1 << 16)
        job_id = client.bucket("b").copy(client.bucket("other"))
        assert client.job(job_id).wait()
        store.clear_requests()
        before.seek(0)
        assert before.read(1 << 16) == first
        assert before.read(1 << 16) == b""
        assert asked(store) == []
    assert job_id not in first.decode()
    assert rows(file)[job_id] == "copy-bck finished"


def test_settings_are_told_without_secrets(store: StoreProcess, control: Path) -> None:
    settings = told(control / "config.json")
    assert settings["source"]["value"] == "ais://b"
    assert settings["store.endpoint"] == {"value": store.endpoint, "origin": "-o"}
    assert settings["store.token"]["origin"] == "AIS_AUTHN_TOKEN"
    token = token_of(store)
    assert len(token) > 8
    for file in (path for path in control.rglob("*") if path.is_file()):
        assert token not in file.read_text(), file


# ---- failures


def test_a_failure_is_told_when_a_file_is_opened(store: StoreProcess, mount: Mount) -> None:
    control = mount.path / ".aisfs"
    (control / "jobs/list").read_text()
    store.faults([{"method": "GET", "path": "^/v1/cluster$", "action": "error", "status": 403}])
    try:
        assert (control / "jobs/list").stat().st_size == 0  # nothing is asked for
        assert store.struck() == 0
        with pytest.raises(OSError, match=raises(errno.EACCES)):
            (control / "jobs/list").open("rb")
        with pytest.raises(OSError, match=raises(errno.EACCES)):
            os.listdir(control / "jobs")  # noqa: PTH208
        assert store.struck() == 2
    finally:
        store.clear_faults()
    assert "asking for the cluster's jobs: the cluster said" in mount.log
    assert "copy-bck finished" in (control / "jobs/list").read_text()


def test_a_cluster_that_is_away_is_not_ready() -> None:
    with StoreProcess() as own:
        Client(own.endpoint).bucket("b").create()
        with Mount(own.endpoint, "ais://b") as mount:
            own.stop()
            control = mount.path / ".aisfs"
            assert rows(control / "cluster/health") == {"ready": "no", "primary_ready": "no"}
            with pytest.raises(OSError, match=raises(errno.EHOSTUNREACH)):
                (control / "cluster/map.json").read_bytes()
            assert "cache.used_bytes" in told(control / "stats.json")
            own.start()


# ---- inode numbers


def test_what_is_gone_is_forgotten(store: StoreProcess, client: Client) -> None:
    with mounted(store, "ais://b", "attribute-ttl=0", "negative-ttl=0") as mount:
        control = mount.path / ".aisfs"
        buckets = control / "buckets/ais"
        for number in range(30):
            bucket = client.bucket(f"passing-{number}").create()
            assert names(buckets / bucket.name) == ["ctl", "props.json", "summary.json"]
            numbers = {path.stat().st_ino for path in (buckets / bucket.name).iterdir()}
            assert numbers == {path.stat().st_ino for path in (buckets / bucket.name).iterdir()}
            bucket.delete()
            assert names(buckets) == ["b", "other"]
            assert not (buckets / bucket.name).exists()  # so that the kernel drops it
        stats = control / "stats.json"
        what = "the kernel forgot them"
        wait_until(lambda: told(stats)["inodes.control"] <= 30, what, told=lambda: told(stats))
