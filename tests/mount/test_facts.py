"""What a mount tells of a file by its attributes `user.ais.…`."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.fuse


@pytest.fixture(scope="module", params=["5.0", "3.17"])
def store(request: pytest.FixtureRequest) -> Iterator[StoreProcess]:
    with StoreProcess(extra=("--compat", request.param)) as process:
        bucket = Client(process.endpoint).bucket("b").create()
        bucket.object("d/3").put_content(b"xyz")
        yield process


@pytest.fixture
def client(store: StoreProcess) -> Iterator[Client]:
    made = Client(store.endpoint)
    yield made
    made.close()


@pytest.fixture(scope="module")
def mount(store: StoreProcess) -> Iterator[Mount]:
    with Mount(store.endpoint, "ais://b") as made:
        yield made


def raises(number: int) -> str:
    return re.escape(os.strerror(number))


def fact(file: Path, name: str) -> str:
    return os.getxattr(file, f"user.ais.{name}").decode()


def test_facts_of_an_object_are_what_the_sdk_says(
    store: StoreProcess, mount: Mount, client: Client
) -> None:
    file, props = mount.path / "d/3", client.bucket("b").object("d/3").props
    store.clear_requests()
    assert fact(file, "atime") == props.access_time
    heads = [e for e in store.requests() if e["path"] == "/v1/objects/b/d/3"]
    assert {e["method"] for e in heads} == {"HEAD"}
    assert fact(file, "location") == props.location
    assert fact(file, "copies") == str(props.mirror_copies) == "1"
    assert fact(file, "cached") == "yes"
    assert fact(file, "checksum-type") == props.checksum_type
    assert fact(file, "checksum") == props.checksum_value
    assert fact(file, "version") == props.obj_version
    assert fact(file, "object") == "ais://b/d/3"
    assert os.listxattr(file) == []


def test_facts_that_only_newer_clusters_tell(mount: Mount, client: Client) -> None:
    file, new = mount.path / "d/3", client.era.version >= (4, 3)
    for name, key in (("etag", "etag"), ("last-modified", "last_modified")):
        if new:
            exact = client.bucket("b").object("d/3").head_v2(name)
            assert fact(file, name) == getattr(exact, key) != ""
        else:
            with pytest.raises(OSError, match=raises(errno.ENODATA)):
                fact(file, name)


@pytest.mark.parametrize("name", ["atime", "checksum", "copies", "location", "object", "state"])
def test_a_fact_may_be_set_to_what_it_is(mount: Mount, name: str) -> None:
    file, full = mount.path / "d/3", f"user.ais.{name}"
    value = os.getxattr(file, full)
    os.setxattr(file, full, value)
    for other in (value + b"x", b""):
        with pytest.raises(OSError, match=raises(errno.ENOTSUP)):
            os.setxattr(file, full, other)
    with pytest.raises(OSError, match=raises(errno.ENOTSUP)):
        os.setxattr(file, "user.ais.none", b"x")
    assert os.getxattr(file, full) == value


def test_directories_have_a_place_and_no_other_fact(mount: Mount) -> None:
    assert fact(mount.path, "object") == "ais://b/"
    assert fact(mount.path / "d", "object") == "ais://b/d/"
    for directory in (mount.path, mount.path / "d", mount.path / ".aisfs"):
        for name in ("location", "checksum", "none"):
            with pytest.raises(OSError, match=raises(errno.ENODATA)):
                fact(directory, name)


def test_what_only_a_remote_bucket_has_is_not_cached(tmp_path: Path) -> None:
    (tmp_path / "cold").write_bytes(b"abc")
    with (
        StoreProcess(extra=("--remote", f"aws://cloud={tmp_path}")) as own,
        Mount(own.endpoint, "s3://cloud") as mount,
    ):
        file = mount.path / "cold"
        assert (fact(file, "cached"), fact(file, "copies")) == ("no", "0")
        for name in ("atime", "location"):
            with pytest.raises(OSError, match=raises(errno.ENODATA)):
                fact(file, name)
        assert fact(file, "object") == "aws://cloud/cold"
        assert file.read_bytes() == b"abc"
        assert (fact(file, "cached"), fact(file, "copies")) == ("yes", "1")
        assert fact(file, "location")


def test_a_file_that_is_not_stored_yet_has_no_facts_of_the_cluster(mount: Mount) -> None:
    file = mount.path / "new"
    with file.open("wb", buffering=0) as writer:
        writer.write(b"abc")
        assert fact(file, "object") == "ais://b/new"
        for name in ("location", "checksum", "cached"):
            with pytest.raises(OSError, match=raises(errno.ENODATA)):
                fact(file, name)
    assert fact(file, "cached") == "yes"
    file.unlink()
