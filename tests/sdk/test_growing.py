"""PUT of a file while it is written: what arrives, what a cut leaves, and the way it takes."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import xxhash

from aisfs_sdk import Bucket, Client, errors
from tests.support.store import StoreProcess

DATA = os.urandom(3_000_000)


class GaveUpError(Exception):
    pass


@pytest.fixture
def ours(store: StoreProcess) -> Iterator[Bucket]:
    """A bucket of the store that fails on request."""
    made = Client(store.endpoint).bucket("growing").create()
    yield made
    made.delete()


def steps(*ends: int | Exception | None) -> Callable[[int], int | None]:
    """Return an `available` that lets a body grow to these ends, one after the other."""
    left = list(ends)

    def available(sent: int) -> int | None:
        end = left.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    return available


@pytest.mark.parametrize("ends", [[], [1], [70_000, 70_001, 3_000_000]])
def test_a_body_arrives_as_it_grew(bucket: Bucket, tmp_path: Path, ends: list[int]) -> None:
    (tmp_path / "f").write_bytes(DATA)
    size = max(ends, default=0)
    with (tmp_path / "f").open("rb") as file:
        stored = bucket.object("d/o").get_writer().put_growing(file, steps(*ends, None))
    assert stored.checksum_value == xxhash.xxh64(DATA[:size]).hexdigest()
    assert stored.size == size
    assert bucket.object("d/o").get().read_all() == DATA[:size]


def test_a_body_that_is_given_up_changes_nothing(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    for name in ("old", "none"):
        if name == "old":
            bucket.object(name).put_content(b"old")
        with (tmp_path / "f").open("rb") as file, pytest.raises(GaveUpError):
            bucket.object(name).get_writer().put_growing(file, steps(1_000_000, GaveUpError()))
    assert bucket.object("old").get().read_all() == b"old"
    assert [entry.name for entry in bucket.list_all_objects()] == ["old"]


def test_a_file_that_is_shorter_than_was_said_changes_nothing(
    bucket: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(DATA[:1000])
    with (tmp_path / "f").open("rb") as file, pytest.raises(errors.IntegrityError, match="early"):
        bucket.object("o").get_writer().put_growing(file, steps(2000, None))
    assert list(bucket.list_all_objects()) == []


def test_the_gateway_gets_no_byte_of_it(store: StoreProcess, ours: Bucket, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    store.clear_requests()
    with (tmp_path / "f").open("rb") as file:
        ours.object("o").get_writer().put_growing(file, steps(1000, len(DATA), None))
    first, second = [r for r in store.requests() if r["method"] == "PUT"]
    assert (first["status"], first["received"]) == (307, 0)
    assert (second["status"], second["received"]) == (200, len(DATA))


def test_a_broken_connection_is_told_and_nothing_is_sent_again(
    store: StoreProcess, ours: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(DATA)
    rule = {"action": "cut-upload", "method": "PUT", "role": "target", "after_bytes": 100_000}
    store.faults([rule])
    with (tmp_path / "f").open("rb") as file, pytest.raises(requests.ConnectionError):
        ours.object("o").get_writer().put_growing(file, steps(len(DATA), None))
    assert store.struck() == 1


def test_chunks_over_tls(tmp_path: Path) -> None:
    with StoreProcess(extra=("--tls",)) as store:
        client = Client(store.endpoint, ca_cert=str(store.ca_file))
        bucket = client.bucket("b").create()
        (tmp_path / "f").write_bytes(DATA)
        with (tmp_path / "f").open("rb") as file:
            bucket.object("o").get_writer().put_growing(file, steps(9, len(DATA), None))
        assert bucket.object("o").get().read_all() == DATA


def test_a_part_of_a_file_is_appended(bucket: Bucket) -> None:
    obj = bucket.object("o")
    obj.put_content(b"old")
    with tempfile.TemporaryFile() as file:
        file.write(DATA)
        file.seek(1000)
        handle = obj.get_writer().append_file(file, 100_000)
    assert obj.get().read_all() == b"old"
    obj.get_writer().append_content(b"", handle, flush=True)
    assert obj.get().read_all() == b"old" + DATA[1000:101_000]


def test_what_a_gateway_knows_is_asked_of_it(store: StoreProcess, ours: Bucket) -> None:
    client = Client(store.endpoint)
    client.cluster().get_info()  # with the map, other requests go to the owner
    obj = client.bucket(ours.name).object("o")
    obj.put_content(b"1")
    store.clear_requests()
    assert obj.props_now.size == 1
    assert [r["status"] for r in store.requests() if r["method"] == "HEAD"] == [307, 200]
