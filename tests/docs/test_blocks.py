"""Every block of the documents that can be run is run, as it stands, or is listed here.

A document's blocks run one after the other in one scene, which has what the text speaks of.
"""

from __future__ import annotations

import io
import os
import tarfile
import time
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.docs.blocks import Block, Scene, blocks_of, pages
from tests.support.mount import Mount, run_aisfs
from tests.support.not_run import leave_out
from tests.support.store import StoreProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aisfs_sdk import Bucket

ELSEWHERE = {
    "README.md:# Mount a bucket; returns when the mount answers.": "tests/cli/test_demo.py",
    "sdk/README.md": "tests/sdk/test_readme.py",
    "docs/sdk.md": "tests/sdk/test_readme.py",
    "docs/mounting.md": "tests/mount/test_systemd.py",
}
"""Pages, or blocks by their first lines, that other tests run."""

NOT_RUN = {
    "$ ./run demo     # installs what is missing, mounts sample data, opens a shell in it":
        "it is how the tests themselves are started",
    "$ sudo apt-get install pkg-config gcc libfuse3-dev python3-dev python3-venv fuse3":
        "it installs packages on the machine",
    "$ docker run -d --name ais -p 51080:51080 -v /scratch/ais:/ais/disk0 "
    "docker.io/aistorage/cluster-minimal:latest": "it needs a container runtime",
    "$ autoreconf -ifs && ./configure && make pjdfstest":
        "the suite is another project's, and has to be built first",
}  # fmt: skip
"""First lines of blocks that are not run, with the reason; five at most."""


def test_every_block_is_run_or_listed() -> None:
    unknown = [str(block) for page in pages() for block in blocks_of(page) if not _known(block)]
    assert not unknown
    first_lines = {block.first for page in pages() for block in blocks_of(page)}
    assert not [first for first in NOT_RUN if first not in first_lines]
    assert len(NOT_RUN) <= 5


def _known(block: Block) -> bool:
    runs = block.page in SCENES or block.page in ELSEWHERE
    return runs or block.first in NOT_RUN or f"{block.page}:{block.first}" in ELSEWHERE


# -- what the documents speak of


def _shard() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("0001.jpg", "0001.cls"):
            info = tarfile.TarInfo(name)
            info.size = 5
            tar.addfile(info, io.BytesIO(b"image"))
    return made.getvalue()


def _fill(bucket: Bucket) -> None:
    """Put into a bucket what the documents call training data."""
    bodies = {
        "2026/0042.png": b"a picture", "2026/0043.png": b"another", "2026/shard-0042.tar": _shard(),
        "new/0042.jpg": b"new", "raw/x": b"x", "raw/y": b"y", "a.bin": b"a",
        "long.txt": b"long text", "labels.json": b"{}",
        "shorten.py": b"def transform(data):\n    return data[:4]\n",
    }  # fmt: skip
    for name, body in bodies.items():
        bucket.object(name).put_content(body)


@contextmanager
def _mounted(tmp_path: Path) -> Iterator[tuple[StoreProcess, Mount]]:
    """Give a mount of all buckets of a store with transformers and a cloud."""
    cloud = tmp_path / "cloud"
    for name in ("2026/a.png", "2026/b.png"):
        (cloud / name).parent.mkdir(parents=True, exist_ok=True)
        (cloud / name).write_bytes(b"picture")
    extra = ("--allow-etl", "--remote", f"aws://images={cloud}")
    with StoreProcess(extra=extra) as store:
        store.create_bucket("train")
        store.create_bucket("train-short")
        client = Client(store.endpoint)
        _fill(client.bucket("train"))
        client.bucket("images", provider="aws").head()  # from now on the cluster knows it
        options = [f"token-file={store.token_file}", "bucket-ops"]
        with Mount(store.endpoint, options=options) as mount:
            yield store, mount


@contextmanager
def operations(tmp_path: Path) -> Iterator[Scene]:
    with _mounted(tmp_path) as (store, mount):
        control = mount.path / ".aisfs"
        client = Client(store.endpoint, token=store.token_file.read_text().strip())
        client.etl("to-jpeg").init_code(lambda data: data[::-1])
        (control / "ctl").write_text("start lru\n")
        job_id = (control / "last").read_text().split()[-1]
        (tmp_path / "scratch").mkdir()
        here = {
            "/mnt/data": str(mount.path), "Ab3dEf9hK": job_id, "/scratch": str(tmp_path / "scratch")
        }  # fmt: skip
        names = {"sampler_order": ["train/2026/0042.png"], "os": os, "time": time}
        yield Scene(tmp_path, here, names, {"AIS_ENDPOINT": store.endpoint})
        assert (tmp_path / "scratch" / "0042.jpg").read_bytes() == b"erutcip a"
        assert client.bucket("train-short").object("long.txt").get().read_all() == b"long"


@contextmanager
def configuration(tmp_path: Path) -> Iterator[Scene]:
    with _mounted(tmp_path) as (_, mount):
        yield Scene(tmp_path, {"/mnt/data": str(mount.path)})


@contextmanager
def readme(tmp_path: Path) -> Iterator[Scene]:
    with StoreProcess() as store:
        store.create_bucket("photos")
        client = Client(store.endpoint)
        client.bucket("photos").object("2026/train/a").put_content(b"a")
        (tmp_path / "mnt").mkdir()
        here = {
            "http://gateway:51080": store.endpoint, "BUCKET/PREFIX": "photos/2026",
            "     # or s3://": "  # or s3://",
        }  # fmt: skip
        yield Scene(tmp_path, here)


@contextmanager
def embedded_store(tmp_path: Path) -> Iterator[Scene]:
    port = str(free_port())
    (tmp_path / "mnt").mkdir()
    # The block's two halves are typed in two terminals.
    here = {
        "--port 51080\n": f"--port {port} & sleep 3; {_make('photos', port)}\n",
        "# elsewhere": "&& aisfs umount ~/mnt && kill %1 && wait || true",
        "51080": port, "BUCKET": "photos",
    }  # fmt: skip
    yield Scene(tmp_path, here)


def _make(bucket: str, port: str) -> str:
    return f"aisfs bucket create ais://{bucket} --endpoint http://127.0.0.1:{port}"


@contextmanager
def etl(tmp_path: Path) -> Iterator[Scene]:
    with StoreProcess(extra=("--allow-etl",)) as store:
        Client(store.endpoint).bucket("src").create().object("a.txt").put_content(b"text")
        names = {
            "Client": Client, "Path": Path, "endpoint": store.endpoint, "DIR": store.data
        }  # fmt: skip
        yield Scene(tmp_path, {}, names)


@contextmanager
def pytorch(tmp_path: Path) -> Iterator[Scene]:
    (tmp_path / "train").mkdir()
    with StoreProcess() as store:
        store.create_bucket("train")
        bucket = Client(store.endpoint).bucket("train")
        for number in range(40):
            bucket.object(f"class-{number % 2}/{number}.jpg").put_content(b"picture")
        here = {
            "/mnt/train": str(tmp_path / "train"), "/scratch": str(tmp_path),
            "200GiB": "64MiB",
        }  # fmt: skip
        try:
            yield Scene(tmp_path, here, {"__name__": "pytorch"}, {"AIS_ENDPOINT": store.endpoint})
        finally:
            run_aisfs("umount", tmp_path / "train")


@contextmanager
def troubleshooting(tmp_path: Path) -> Iterator[Scene]:
    with StoreProcess() as store:
        store.create_bucket("photos")
        with Mount(store.endpoint, "ais://photos") as mount:
            here = {"/mnt/data": str(mount.path), "BUCKET": "photos"}
            yield Scene(tmp_path, here, {}, {"AIS_ENDPOINT": store.endpoint})


@contextmanager
def real_cluster(tmp_path: Path) -> Iterator[Scene]:
    with StoreProcess() as store:
        yield Scene(tmp_path, {"http://127.0.0.1:51080": store.endpoint})


@contextmanager
def migration(tmp_path: Path) -> Iterator[Scene]:
    with StoreProcess() as store:
        yield Scene(tmp_path, {}, {"ENDPOINT": store.endpoint})


@contextmanager
def monitoring(tmp_path: Path) -> Iterator[Scene]:
    (tmp_path / "train").mkdir()
    with StoreProcess() as store:
        store.create_bucket("train")
        here = {"/mnt/train": str(tmp_path / "train"), "9101": str(free_port())}
        try:
            yield Scene(tmp_path, here, {}, {"AIS_ENDPOINT": store.endpoint})
        finally:
            run_aisfs("umount", tmp_path / "train")


NEEDS = {"docs/pytorch.md": "torch"}
"""Pages → packages that a test environment need not have."""

SCENES: dict[str, Callable[[Path], AbstractContextManager[Scene]]] = {
    "README.md": readme,
    "docs/operations.md": operations,
    "docs/configuration.md": configuration,
    "docs/embedded-store.md": embedded_store,
    "docs/etl.md": etl,
    "docs/pytorch.md": pytorch,
    "docs/monitoring.md": monitoring,
    "docs/migration.md": migration,
    "docs/real-cluster.md": real_cluster,
    "docs/troubleshooting.md": troubleshooting,
}


@pytest.mark.fuse
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # this machine is small
@pytest.mark.parametrize("page", SCENES)
def test_blocks(tmp_path: Path, page: str) -> None:
    ran = 0
    if page in NEEDS and find_spec(NEEDS[page]) is None:
        leave_out(f"the examples of {page} need {NEEDS[page]}")
    with SCENES[page](tmp_path) as scene:
        for block in blocks_of(page):
            if block.first in NOT_RUN or f"{page}:{block.first}" in ELSEWHERE:
                continue
            scene.run(block)
            ran += 1
    assert ran
