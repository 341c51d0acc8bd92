"""Large objects by several requests at once."""

import os

import pytest

from aisfs_sdk import Bucket, Client, RetryConfig, errors
from tests.support.store import StoreProcess

DATA = os.urandom(1_000_003)
PATH = "^/v1/objects/"


@pytest.mark.parametrize(("workers", "part"), [(2, 1 << 20), (4, 100_000), (16, 333_333)])
def test_the_parts_are_the_whole(bucket: Bucket, workers: int, part: int) -> None:
    obj = bucket.object("big")
    obj.put_content(DATA)
    reader = obj.get_parallel(workers, part_size=part)
    assert reader.read_all() == DATA
    assert b"".join(reader) == DATA
    room = bytearray(len(DATA) + 10)
    assert reader.readinto(room) == len(DATA)
    assert room[: len(DATA)] == DATA
    assert reader.attributes.size == len(DATA)


def test_what_cannot_be_read(bucket: Bucket) -> None:
    with pytest.raises(errors.ErrObjNotFound):
        bucket.object("none").get_parallel()
    obj = bucket.object("o")
    obj.put_content(b"")
    assert len(obj.get_parallel().read_all()) == 0
    obj.put_content(b"12345")
    with pytest.raises(ValueError, match="2 workers"):
        obj.get_parallel(1)
    with pytest.raises(ValueError, match="the buffer 4"):
        obj.get_parallel().readinto(bytearray(4))


def test_an_object_that_changes_is_no_mixture(bucket: Bucket) -> None:
    obj = bucket.object("o")
    obj.put_content(DATA)
    reader = obj.get_parallel(2, part_size=1000)
    obj.put_content(DATA[::-1])
    with pytest.raises(errors.ObjectChangedError, match="changed while it was read"):
        reader.read_all()


@pytest.mark.parametrize("action", ["cut", "corrupt"])
def test_parts_that_break(store: StoreProcess, action: str) -> None:
    client = Client(store.endpoint, retry_config=RetryConfig(2, 0.01, 0.01))
    obj = client.bucket("parts").create(exist_ok=True).object("o")
    obj.put_content(DATA)
    reader = obj.get_parallel(3, part_size=100_000)
    rule = {"method": "GET", "path": PATH, "role": "target", "action": action, "after_bytes": 999}
    store.faults([{**rule, "times": 2}])
    if action == "cut":
        assert reader.read_all() == DATA  # gone on with where it broke
    else:
        with pytest.raises(errors.ChecksumError):
            reader.read_all()
    assert store.struck() == 2
    store.faults([rule])
    with pytest.raises(errors.IntegrityError):
        reader.read_all()
