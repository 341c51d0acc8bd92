"""Transformers that are made, used, stopped and deleted through a mount."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from aisfs_sdk.etl_config import ETLConfig
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

CODE = """
import re

VOWELS = re.compile(b"[aeiou]")

def transform(data):
    return VOWELS.sub(b"", data).upper()
"""


@pytest.fixture(scope="module", params=["5.0", "3.17"])
def store(request: pytest.FixtureRequest) -> Iterator[StoreProcess]:
    with StoreProcess(extra=("--allow-etl", "--compat", request.param)) as process:
        process.create_bucket("b")
        process.create_bucket("made")
        yield process


@pytest.fixture
def bucket(store: StoreProcess) -> Bucket:
    return Client(store.endpoint).bucket("b")


@pytest.fixture
def mount(store: StoreProcess) -> Iterator[Mount]:
    with Mount(store.endpoint, options=[f"token-file={store.token_file}"]) as mounted:
        yield mounted


def command(mount: Mount, line: str) -> None:
    """Give a command as `echo` does."""
    fd = os.open(mount.path / ".aisfs/ctl", os.O_WRONLY)
    try:
        assert os.write(fd, f"{line}\n".encode()) == len(line) + 1
    finally:
        os.close(fd)


def last(mount: Mount) -> str:
    return (mount.path / ".aisfs/last").read_text()


def test_a_python_file_becomes_a_transformer(
    mount: Mount, store: StoreProcess, bucket: Bucket
) -> None:
    control = mount.path / ".aisfs"
    (mount.path / "b/code.py").write_text(CODE)
    (mount.path / "b/words.txt").write_text("some words")
    command(mount, "etl-init shorten code=/b/code.py")
    assert "shorten" in os.listdir(control / "etl")  # noqa: PTH208 - as `ls` does
    try:
        words = bucket.object("words.txt").get(etl=ETLConfig("shorten")).read_all()
        assert words == b"SM WRDS"
        command(mount, "transform-bucket /b /made etl=shorten prefix=words")
        job_id = last(mount).split()[-1]
        client = Client(store.endpoint)
        assert client.job(job_id).wait()
        assert client.bucket("made").object("words.txt").get().read_all() == b"SM WRDS"
    finally:
        command(mount, "etl-stop shorten")
        command(mount, "etl-delete shorten")
    assert "shorten" not in os.listdir(control / "etl")  # noqa: PTH208
    (mount.path / "b/code.py").unlink()


def test_an_attribute_of_the_file_does_the_same(mount: Mount) -> None:
    (mount.path / "b/more.py").write_text(CODE)
    os.setxattr(mount.path / "b/more.py", "user.ais.do", b"etl-init another")
    told = (mount.path / ".aisfs/etl/another/status").read_text()
    assert "another" in told
    command(mount, "etl-stop another")
    command(mount, "etl-delete another")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def transform(:", "is no Python"),
        ("def other(data): pass", "defines no function transform(data)"),
        ("\0", "is no Python"),
    ],
)
def test_what_is_no_transformer_is_refused(mount: Mount, text: str, said: str) -> None:
    (mount.path / "b/wrong.py").write_text(text)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        command(mount, "etl-init wrong code=/b/wrong.py")
    assert said in last(mount)
    assert "wrong" not in os.listdir(mount.path / ".aisfs/etl")  # noqa: PTH208


def test_unknown_ones_and_both_kinds_at_once(mount: Mount) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
        command(mount, "etl-stop absent")
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        command(mount, "etl-init x code=/b/a spec=/b/b")
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
        command(mount, "etl-init x code=/b/absent.py")


def test_a_transformers_file_does_not_run_in_the_mount(mount: Mount, bucket: Bucket) -> None:
    code = "import os\nRAN = os.getpid()\ndef transform(data): return str(RAN).encode()\n"
    bucket.object("where.py").put_content(code.encode())
    command(mount, "etl-init whereabouts code=/b/where.py")
    try:
        told = bucket.object("where.py").get(etl=ETLConfig("whereabouts")).read_all()
    finally:
        command(mount, "etl-stop whereabouts")
        command(mount, "etl-delete whereabouts")
    assert int(told) != mount.daemon_pid
