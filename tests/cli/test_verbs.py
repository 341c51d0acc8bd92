"""`aisfs copy`, `aisfs archive`, `aisfs job` and so on: what they do and what they say."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount, run_aisfs
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

    from aisfs_sdk import Bucket


DONE = {"finished", "idle"}
"""Archives idle for a minute after their work: others could join them."""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cloud")
    (folder / "c").write_text("cloud")
    return folder


@pytest.fixture(scope="module")
def store(cloud: Path) -> Iterator[StoreProcess]:
    with StoreProcess(extra=("--remote", f"aws://cloud={cloud}", "--allow-etl")) as process:
        bucket = Client(process.endpoint).bucket("b").create()
        for name in ("d/x", "d/y", "o"):
            bucket.object(name).put_content(name.encode())
        yield process


@pytest.fixture
def bucket(store: StoreProcess) -> Bucket:
    return Client(store.endpoint).bucket("b")


def run(store: StoreProcess, *words: str | Path) -> CompletedProcess[str]:
    return run_aisfs(*words, environment={"AIS_ENDPOINT": store.endpoint})


def test_an_object_is_copied(store: StoreProcess, bucket: Bucket) -> None:
    ended = run(store, "copy", "ais://b/o", "ais://b/p q")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert bucket.object("p q").get().read_all() == b"o"


def test_a_job_is_followed_to_its_end(store: StoreProcess, bucket: Bucket) -> None:
    ended = run(store, "archive", "ais://b/a.tar", "from=ais://b/d/", "--json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["error"]) == (0, "")
    assert told["state"] in DONE
    with tarfile.open(fileobj=io.BytesIO(bucket.object("a.tar").get().read_all())) as tar:
        assert sorted(tar.getnames()) == ["d/x", "d/y"]
    shown = run(store, "job", "show", told["job"])
    assert shown.stdout.startswith(f"{told['kind']}[{told['job']}] ")
    assert shown.stdout.split()[1].rstrip(":") in DONE
    assert run(store, "job", "wait", told["job"], "--json").returncode == 0


def test_a_shard_gets_a_member(store: StoreProcess, bucket: Bucket) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("first"))
    bucket.object("s.tgz").put_content(packed.getvalue())
    ended = run(store, "append", "ais://b/s.tgz", "ais://b/d/x", "as=in/x")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    with tarfile.open(fileobj=io.BytesIO(bucket.object("s.tgz").get().read_all())) as tar:
        assert tar.getnames() == ["first", "in/x"]


def test_a_job_may_be_left_alone(store: StoreProcess) -> None:
    job_id = run(store, "prefetch", "aws://cloud/c", "--no-wait").stdout.strip()
    assert job_id
    assert run(store, "job", "wait", job_id).returncode == 0
    listed = run(store, "job", "list").stdout.splitlines()
    assert any(line.split("\t")[:1] == [job_id] for line in listed)
    ids = [each["uuid"] for each in json.loads(run(store, "job", "list", "--json").stdout)]
    assert job_id in ids


@pytest.mark.fuse
def test_a_path_of_a_mount_names_its_object(store: StoreProcess, bucket: Bucket) -> None:
    with Mount(store.endpoint, "ais://b/d") as mount:
        ended = run(store, "copy", mount.path / "x", mount.path / "new")
        assert (ended.returncode, ended.stderr) == (0, "")
        ended = run(store, "archive", "ais://b/whole.tar", f"from={mount.path}/")
        assert (ended.returncode, ended.stderr) == (0, "")
    assert bucket.object("d/new").get().read_all() == b"d/x"
    with tarfile.open(fileobj=io.BytesIO(bucket.object("whole.tar").get().read_all())) as tar:
        assert sorted(tar.getnames()) == ["d/new", "d/x", "d/y"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["copy", "ais://b/o"], "aisfs: copy: 1 operands: write copy SOURCE TARGET [etl=NAME]"),
        (
            ["copy", "ais://b/no", "ais://b/p"],
            "aisfs: copying ais://b/no to ais://b/p: the cluster",
        ),
        (["append", "ais://b/o", "ais://b/d/x"], "aisfs: ais://b/o is no shard: "),
        (["evict", "ais://b/o"], "aisfs: evicting ais://b/o: "),
        (["evict", "/etc/hosts"], "aisfs: /etc/hosts is not in a mount of aisfs: "),
        (["prefetch", "xyz://b/o"], "aisfs: SOURCE 'xyz://b' has an unknown scheme"),
        (["job", "abort", "no"], "aisfs: aborting no: "),
        (["job", "show", "no"], "aisfs: the cluster knows no job no"),
        (["job", "wait", "no"], "aisfs: the cluster knows no job no"),
    ],
)
def test_what_cannot_be_done_is_one_line(store: StoreProcess, words: list[str], said: str) -> None:
    ended = run(store, *words)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(said)
    assert ended.stderr.count("\n") == 1


def test_a_failed_job_is_told_and_is_the_exit_code(store: StoreProcess) -> None:
    ended = run(store, "prefetch", "aws://cloud/absent")
    assert ended.returncode == 1
    assert "absent" in ended.stderr


def test_a_transformer_lives_and_dies(store: StoreProcess, bucket: Bucket, tmp_path: Path) -> None:
    bucket.object("upper.py").put_content(b"def transform(data): return data.upper()\n")
    token = f"token-file={store.token_file}"
    made = run(store, "etl", "init", "uppercase", "code=ais://b/upper.py", "-o", token)
    assert (made.returncode, made.stderr) == (0, "")
    assert [line.split("\t")[0] for line in run(store, "etl", "list").stdout.splitlines()] == [
        "uppercase"
    ]
    assert json.loads(run(store, "etl", "list", "--json").stdout)[0]["id"] == "uppercase"
    assert run(store, "copy", "ais://b/o", "ais://b/O", "etl=uppercase").returncode == 0
    assert bucket.object("O").get().read_all() == b"O"
    assert run(store, "etl", "logs", "uppercase").returncode == 0
    assert run(store, "etl", "stop", "uppercase", "-o", token).returncode == 0
    assert run(store, "etl", "delete", "uppercase", "-o", token).returncode == 0
    assert run(store, "etl", "list").stdout == ""


def test_the_verbs_are_helped_with(store: StoreProcess) -> None:
    assert "transform-bucket" in run(store, "--help").stdout
    told = run(store, "evict", "--help").stdout
    assert "evict [OPTIONS] WHAT [keep-md=yes]" in told
    assert "the remote ones stay" in " ".join(told.split())
