"""Objects as the cluster's transformers make them, through a mount: `.aisfs/view/etl`."""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import random
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import Client
from aisfs_sdk.etl_server import ETLServer
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

ETL = "thrice"
TOLD = "told-etl"
MIB = 1 << 20


def raises(number: int) -> str:
    return re.escape(os.strerror(number))


def client_of(store: StoreProcess) -> Client:
    """Return a client with the token without which nobody starts transformers."""
    return Client(store.endpoint, token=store.token_file.read_text().strip())


class Told(ETLServer):
    def transform(self, data: Any, path: str, etl_args: str) -> bytes:
        if etl_args == "bad":
            raise ValueError("this cannot be told")
        return bytes(data) + f"[{etl_args}]".encode()


def thrice(data: bytes) -> bytes:
    if data == b"bad":
        raise ValueError("this one cannot be transformed")
    return data * 3


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    """Return a store with a transformer that makes objects three times as long."""
    with StoreProcess(extra=("--allow-etl",)) as process:
        client = client_of(process)
        client.bucket("b").create()
        client.etl(ETL).init_code(thrice, communication_type="hpush")
        client.etl(TOLD).init_class(comm_type="hpush")(Told)
        yield process


@pytest.fixture
def bucket(store: StoreProcess) -> Iterator[Bucket]:
    """Return the bucket, emptied afterwards."""
    bucket = client_of(store).bucket("b")
    yield bucket
    for each in bucket.list_all_objects():
        bucket.object(each.name).delete()


@pytest.fixture(params=["0", "1s"])
def mount(store: StoreProcess, request: pytest.FixtureRequest) -> Iterator[Mount]:
    times = [f"{name}-ttl={request.param}" for name in ("attribute", "negative", "listing")]
    with Mount(store.endpoint, "ais://b", options=times) as made:
        yield made


def view(mount: Mount, etl: str = ETL) -> Path:
    return mount.path / ".aisfs/view/etl" / etl / "ais/b"


def transformed(store: StoreProcess) -> int:
    """Return how many transformations were asked for."""
    return len(
        [r for r in store.requests() if "etl_name=" in r["query"] and r["node"].startswith("t")]
    )


def figures(mount: Mount) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((mount.path / ".aisfs/stats.json").read_bytes())
    return figures


def test_looking_around_transforms_nothing(
    store: StoreProcess, bucket: Bucket, mount: Mount
) -> None:
    for name in ("d/one", "d/two #2", "three"):
        bucket.object(name).put_content(b"abc")
    store.clear_requests()
    found = subprocess.check_output(["find", view(mount), "-type", "f", "-printf", "%P %s\n"])
    assert sorted(found.decode().splitlines()) == ["d/one 0", "d/two #2 0", "three 0"]
    subprocess.run(["ls", "-lR", view(mount)], check=True, capture_output=True)
    assert set(os.listdir(view(mount).parent.parent.parent)) == {ETL, TOLD}  # noqa: PTH208
    assert not (view(mount) / "none").exists()
    assert not view(mount, "none").exists()
    assert transformed(store) == 0
    assert "view/etl" in (mount.path / ".aisfs/README").read_text()


@pytest.mark.parametrize(
    "read",
    [
        lambda path, _: path.read_bytes(),
        lambda path, _: subprocess.check_output(["cat", path]),
        lambda path, out: shutil.copyfile(path, out).read_bytes(),
        lambda path, out: subprocess.check_output(["cp", path, out]) or out.read_bytes(),
        lambda path, _: subprocess.check_output(["tail", "-c", "+1", path]),
        lambda path, _: subprocess.check_output(["dd", f"if={path}", "bs=7k", "status=none"]),
    ],
    ids=["python", "cat", "copyfile", "cp", "tail", "dd"],
)
def test_programs_get_the_whole_output(
    bucket: Bucket, mount: Mount, tmp_path: Path, read: Callable[[Path, Path], bytes]
) -> None:
    data = random.Random(1).randbytes(MIB + 3)
    bucket.object("d/o").put_content(data)
    path = view(mount) / "d/o"
    assert path.stat().st_size == 0
    got = read(path, tmp_path / "out")
    assert hashlib.sha256(got).digest() == hashlib.sha256(data * 3).digest()
    assert path.stat().st_size == len(data) * 3


@pytest.mark.parametrize("copy", [["cp", "-r"], ["rsync", "-r"]], ids=["cp", "rsync"])
def test_whole_directories_are_copied(
    bucket: Bucket, mount: Mount, tmp_path: Path, copy: list[str]
) -> None:
    bodies = {f"f{number}": random.Random(number).randbytes(5000 * number) for number in range(9)}
    for name, data in bodies.items():
        bucket.object(f"d/{name}").put_content(data)
    subprocess.run([*copy, f"{view(mount)}/d", tmp_path / "out"], check=True)
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("f*")}
    assert found == {name: data * 3 for name, data in bodies.items()}
    names = [f"{view(mount)}/d/{name}" for name in bodies]
    random.Random(1).shuffle(names)
    with ThreadPoolExecutor(4) as readers:  # as a training job does, out of order
        read = dict(
            zip(names, readers.map(lambda name: Path(name).read_bytes(), names), strict=True)
        )
    assert {Path(name).name: data for name, data in read.items()} == found


def test_an_open_file_has_its_size(bucket: Bucket, mount: Mount) -> None:
    bucket.object("o").put_content(b"abc")
    with (view(mount) / "o").open("rb") as file:
        assert os.fstat(file.fileno()).st_size == 9
        assert file.seek(0, os.SEEK_END) == 9
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert mapped[:] == b"abcabcabc"


def test_an_object_is_transformed_once(store: StoreProcess, bucket: Bucket, mount: Mount) -> None:
    bucket.object("o").put_content(b"abc")
    store.clear_requests()
    os.listdir(view(mount))  # noqa: PTH208
    for _ in range(5):
        assert (view(mount) / "o").read_bytes() == b"abcabcabc"
    readers = [
        subprocess.Popen(["cat", view(mount) / "o"], stdout=subprocess.DEVNULL) for _ in range(8)
    ]
    assert {reader.wait() for reader in readers} == {0}
    assert transformed(store) == 1
    assert figures(mount)["etl.outputs"] == 1


def test_another_content_is_transformed_anew(bucket: Bucket, mount: Mount) -> None:
    for number, length in enumerate((1, 2, 3, 3)):  # the last two have the same size
        data = b"%d" % number * length
        bucket.object("o").put_content(data)
        if mount.options[-1].endswith("=1s"):
            time.sleep(1.1)  # the time for which the old one is believed
        assert (view(mount) / "o").read_bytes() == data * 3


def test_another_transformer_of_the_name_transforms_anew(
    store: StoreProcess, bucket: Bucket
) -> None:
    client = client_of(store)
    bucket.object("o").put_content(b"abc")
    client.etl("again-etl").init_code(lambda data: data.upper(), communication_type="hpush")
    try:
        with Mount(store.endpoint, "ais://b", options=["attribute-ttl=0"]) as mount:
            assert (view(mount, "again-etl") / "o").read_bytes() == b"ABC"
            client.etl("again-etl").stop()
            client.etl("again-etl").delete()
            client.etl("again-etl").init_code(lambda data: data[::-1], communication_type="hpush")
            assert (view(mount, "again-etl") / "o").read_bytes() == b"cba"
    finally:
        client.etl("again-etl").stop()
        client.etl("again-etl").delete()


def test_a_failure_is_told_by_open(store: StoreProcess, bucket: Bucket, mount: Mount) -> None:
    bucket.object("bad").put_content(b"bad")
    bucket.object("good").put_content(b"good")
    with pytest.raises(OSError, match=raises(errno.EIO)):
        (view(mount) / "bad").open("rb")
    assert f"transforming ais://b/bad by {ETL}" in mount.log
    assert (view(mount) / "good").read_bytes() == b"good" * 3
    for change in (
        lambda v: (v / "good").open("wb"),
        lambda v: (v / "good").unlink(),
        lambda v: (v / "new").write_bytes(b""),
        lambda v: os.truncate(v / "good", 0),
    ):
        with pytest.raises(OSError, match=f"{raises(errno.EROFS)}|{raises(errno.EPERM)}"):
            change(view(mount))


def test_outputs_are_bounded(store: StoreProcess, bucket: Bucket) -> None:
    numbers = random.Random(2)
    objects = {f"o{number}": numbers.randbytes(200_000) for number in range(8)}
    for name, data in objects.items():
        bucket.object(name).put_content(data)
    bucket.object("huge").put_content(bytes(MIB))
    with Mount(store.endpoint, "ais://b", options=["view-spool=2MiB"]) as mount:
        for _ in range(2):
            for name, data in objects.items():
                assert (view(mount) / name).read_bytes() == data * 3
                assert figures(mount)["views.spool_bytes"] <= 2 * MIB
        with pytest.raises(OSError, match=raises(errno.ENOSPC)):
            (view(mount) / "huge").open("rb")
        assert (view(mount) / "o0").read_bytes() == objects["o0"] * 3
        mount.unmount()
        assert not [path for path in mount.state.rglob("*") if path.stat().st_size > 100_000]


ARGUMENTS = [
    "small",
    "a=1,b=2",
    '{"width": 64, "of": ["x", "y"]}',
    "100% & more?#+;é",
    "\\n ",
    ",arg=",
    "x" * 900,
]


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_a_transformer_is_told_what_the_directory_says(
    bucket: Bucket, mount: Mount, argument: str
) -> None:
    bucket.object("d/o").put_content(b"abc")
    path = view(mount, f"{TOLD},arg={argument}") / "d/o"
    assert path.stat().st_size == 0
    assert subprocess.check_output(["cat", path]).decode() == f"abc[{argument}]"
    assert path.stat().st_size == len(f"abc[{argument}]".encode())


def test_whole_directories_are_copied_with_an_argument(
    bucket: Bucket, mount: Mount, tmp_path: Path
) -> None:
    for number in range(5):
        bucket.object(f"d/f{number}").put_content(b"%d" % number)
    source = view(mount, f"{TOLD},arg=w=64") / "d"
    subprocess.run(["cp", "-r", source, tmp_path / "out"], check=True)
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {f"f{number}": b"%d[w=64]" % number for number in range(5)}


def test_each_argument_has_an_output_of_its_own(
    store: StoreProcess, bucket: Bucket, mount: Mount
) -> None:
    bucket.object("o").put_content(b"abc")
    store.clear_requests()
    expected = {
        f"{TOLD},arg=1": b"abc[1]",
        f"{TOLD},arg=2": b"abc[2]",
        TOLD: b"abc[]",
    }
    for _ in range(3):
        for etl, output in expected.items():
            assert (view(mount, etl) / "o").read_bytes() == output
    assert transformed(store) == 3
    assert figures(mount)["etl.outputs"] == 3
    bucket.object("o").put_content(b"other")
    if mount.options[-1].endswith("=1s"):
        time.sleep(1.1)  # the time for which the old one is believed
    assert (view(mount, f"{TOLD},arg=2") / "o").read_bytes() == b"other[2]"


def test_arguments_are_listed_nowhere(bucket: Bucket, mount: Mount) -> None:
    bucket.object("o").put_content(b"abc")
    with pytest.raises(OSError, match=raises(errno.EIO)):
        (view(mount, f"{TOLD},arg=bad") / "o").open("rb")
    assert f"transforming ais://b/o by {TOLD} with 'bad'" in mount.log
    for name in (f"{TOLD},arg=", f"{TOLD},", f"{TOLD},width=3", "none-etl,arg=1", ",arg=1"):
        assert not view(mount, name).exists()
    top = view(mount).parent.parent.parent
    assert set(os.listdir(top)) == {ETL, TOLD}  # noqa: PTH208


def test_an_old_cluster_cannot_tell_a_transformer_anything() -> None:
    with StoreProcess(extra=("--allow-etl", "--compat", "3.17")) as store:
        client = client_of(store)
        client.bucket("b").create().object("o").put_content(b"abc")
        client.etl(ETL).init_code(thrice, communication_type="hpush")
        with Mount(store.endpoint, "ais://b") as mount:
            assert (view(mount) / "o").read_bytes() == b"abcabcabc"
            with pytest.raises(OSError, match=raises(errno.EOPNOTSUPP)):
                (view(mount, f"{ETL},arg=1") / "o").open("rb")
            assert "arguments for a transformer" in mount.log
