import hashlib
import io
import os
import tempfile
from pathlib import Path

import pytest
import requests
import xxhash

from aisfs_sdk import Bucket, Client, errors
from aisfs_sdk.eras import Feature
from tests.sdk.wire import Wire, http
from tests.support.store import StoreProcess

DATA = os.urandom(200_000)


def xxh(data: bytes) -> str:
    return xxhash.xxh64(data).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 32 << 10, (32 << 10) + 1, 200_000])
def test_bytes(bucket: Bucket, size: int) -> None:
    data = DATA[:size]
    stored = bucket.object("d/o").get_writer().put(data)
    assert stored.size == size
    assert stored.checksum_value == xxh(data)
    assert stored.obj_version == "1"
    assert bucket.object("d/o").get().read_all() == data
    for view in (bytearray(data), memoryview(data)):
        assert bucket.object("d/o").get_writer().put(view).checksum_value == xxh(data)


@pytest.mark.parametrize("size", [0, 10, 150_000])
def test_files_from_where_they_stand(bucket: Bucket, tmp_path: Path, size: int) -> None:
    (tmp_path / "f").write_bytes(DATA)
    obj = bucket.object("o")
    with (tmp_path / "f").open("rb") as file, tempfile.TemporaryFile() as other:
        other.write(DATA)
        for source in (file, io.BytesIO(DATA), other):
            source.seek(1000)
            assert obj.get_writer().put(source, size).checksum_value == xxh(
                DATA[1000 : 1000 + size]
            )
            assert obj.get().read_all() == DATA[1000 : 1000 + size]


def test_put_file_and_put_content(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    headers = bucket.object("o").put_file(tmp_path / "f")
    assert headers["ais-checksum-value"] == xxh(DATA)
    assert bucket.object("o").put_content(b"1")["AIS-Version"] == "2"
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match="Path:"):
            bucket.object("o").put_file(path)


def test_a_wrong_checksum_keeps_the_old_object(bucket: Bucket) -> None:
    obj = bucket.object("o")
    obj.put_content(b"old")
    for data in (b"new", DATA):
        with pytest.raises(errors.IntegrityError):
            obj.get_writer().put(data, checksum="0" * 16)
    assert obj.get().read_all() == b"old"


def test_right_checksums_of_any_kind(bucket: Bucket) -> None:
    writer = bucket.object("o").get_writer()
    writer.put(DATA, checksum=xxh(DATA))
    md5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    assert writer.put(DATA[1:] + b"x").obj_version == "2"
    assert writer.put(DATA, checksum=("md5", md5)).checksum_value == xxh(DATA)


def test_stored_bytes_that_are_not_ours_are_noticed() -> None:
    stored = http(200, b"", "Ais-Checksum-Type: xxhash2", "Ais-Checksum-Value: 1111111111111111")
    with Wire(lambda request: stored) as wire:
        writer = Client(wire.endpoint).bucket("b").object("o").get_writer()
        with pytest.raises(errors.IntegrityError, match="stored with checksum xxhash2 11"):
            writer.put(b"1", checksum=xxh(b"1"))


def test_a_source_that_ends_early_changes_nothing(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    obj = bucket.object("o")
    obj.put_content(b"old")
    with (tmp_path / "f").open("rb") as file:
        for source in (file, io.BytesIO(DATA)):
            with pytest.raises(errors.IntegrityError, match="early"):
                obj.get_writer().put(source, len(DATA) + 1)
    assert obj.get().read_all() == b"old"


def test_sizes_that_cannot_be(bucket: Bucket) -> None:
    writer = bucket.object("o").get_writer()
    for source, size in ((io.BytesIO(b"1"), None), (io.BytesIO(b"1"), -1), (b"12", 3)):
        with pytest.raises(ValueError, match=r"size|bytes"):
            writer.put(source, size)


# ---- custom metadata ----

ODD = {"a": "1,2", "b": "x=y", "c": 'q"%:;', "ö": "ü é", "empty": "", "t": "a\tb"}


@pytest.mark.parametrize("size", [10, 100_000])
def test_custom_metadata_goes_with_the_body(bucket: Bucket, size: int) -> None:
    obj = bucket.object("o")
    stored = obj.get_writer().put(DATA[:size], custom=ODD)
    assert stored.custom_metadata == ODD
    assert obj.props.custom_metadata == ODD
    with obj.get() as reader:
        assert reader.attributes.custom_metadata == ODD


def test_custom_metadata_is_merged_or_replaced(bucket: Bucket) -> None:
    obj = bucket.object("o")
    obj.get_writer().put(b"1", custom={"a": "1", "b": "1"})
    obj.set_custom_props({"b": "2", "c": "2"})
    assert obj.props.custom_metadata == {"a": "1", "b": "2", "c": "2"}
    assert obj.get_writer().put(b"2", custom={"d": "3"}).custom_metadata.keys() == set("abcd")
    obj.set_custom_props({"e": "4"}, replace_existing=True)
    assert obj.props.custom_metadata == {"e": "4"}
    assert obj.props.obj_version == "2"


def test_listings_tell_custom_metadata(bucket: Bucket) -> None:
    bucket.object("o").get_writer().put(b"1", custom={"aisfs": "1.abc-_", "k": "v"})
    (entry,) = bucket.list_objects(props="name,custom").entries
    assert entry.custom_metadata == {"aisfs": "1.abc-_", "k": "v"}


def test_an_identical_body_is_not_looked_at(bucket: Bucket) -> None:
    obj = bucket.object("o")
    first = obj.get_writer().put(b"same", custom={"k": "1"})
    again = obj.get_writer().put(
        b"same", checksum=(first.checksum_type, first.checksum_value), custom={"k": "2"}
    )
    assert (again.checksum_value, again.obj_version) == ("", "")
    assert obj.props.obj_version == "1"
    # What became of the new keys is not told: real clusters show them until the object leaves the
    # target's memory, but never store them. Setting them afterwards is what counts.
    obj.set_custom_props({"k": "2"})
    assert obj.props.custom_metadata == {"k": "2"}


@pytest.mark.parametrize("custom", [{"": "v"}, {"a=b": "v"}, {"source": "x"}, {"a\n": "v"}])
def test_keys_that_cannot_be(bucket: Bucket, custom: dict[str, str]) -> None:
    bucket.object("o").put_content(b"old")
    with pytest.raises(ValueError, match="cannot be a key"):
        bucket.object("o").get_writer().put(b"1", custom=custom)
    with pytest.raises(ValueError, match="cannot be a key"):
        bucket.object("o").set_custom_props(custom)
    assert bucket.object("o").get().read_all() == b"old"


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "\0", " a", "a ", "\x01"])
def test_values_that_no_header_carries(bucket: Bucket, value: str) -> None:
    with pytest.raises(ValueError, match="together with a body"):
        bucket.object("o").get_writer().put(b"1", custom={"k": value})


def test_too_much_custom_metadata(bucket: Bucket) -> None:
    obj = bucket.object("o")
    obj.put_content(b"1")
    limit = bucket.bound_client.era.max_custom_bytes
    obj.set_custom_props({"k": "v" * (limit - 1)})
    for send in (
        lambda: obj.set_custom_props({"k": "ü" * (limit // 2)}),
        lambda: obj.get_writer().put(b"2", custom={"k": "v" * limit}),
    ):
        with pytest.raises(errors.TooLargeError):
            send()
    assert obj.get().read_all() == b"1"


# ---- names ----

NAMES = [
    "d/x y",
    "100%41",
    "a?b",
    "ü/é",
    "plus+x",
    "t\tb",
    "\udcff\udcfebad",
    "..a",
    "~x",
    "x" * 240,
]


@pytest.mark.parametrize("name", NAMES)
def test_names_arrive_as_they_are(bucket: Bucket, name: str) -> None:
    data = name.encode("utf-8", "surrogateescape") * 1000
    bucket.object(name).put_content(data)
    assert bucket.object(name).get().read_all() == data
    assert [entry.name for entry in bucket.list_all_objects()] == [name]
    bucket.object(name).set_custom_props({"k": "v"})
    assert bucket.object(name).props.size == len(data)
    bucket.object(name).delete()
    assert bucket.list_all_objects() == []


@pytest.mark.parametrize("name", ["a&b", "a'b", 'a"b', "a<b", "a>b", "a#b"])
def test_names_that_2023_mangles(bucket: Bucket, name: str) -> None:
    if bucket.bound_client.era.has(Feature.SPECIAL_NAMES):
        bucket.object(name).put_content(b"1")
        assert [entry.name for entry in bucket.list_all_objects()] == [name]
    else:
        with pytest.raises(ValueError, match="as it is"):
            bucket.object(name).put_content(b"1")
        assert bucket.list_all_objects() == []


def test_names_that_2023_mangles_are_not_sent_there() -> None:
    with Wire(lambda request: http(200), release=b'{"ais_version":"3.17."}') as wire:
        with pytest.raises(ValueError, match="as it is"):
            Client(wire.endpoint).bucket("b").object("a&b").put_content(b"1")
        assert not wire.requests


# ---- what the cluster refuses ----


def test_no_bucket(client: Client) -> None:
    for data in (b"1", DATA):
        with pytest.raises(errors.ErrBckNotFound):
            client.bucket("sdk-none").object("o").put_content(data)


def test_a_full_store(store: StoreProcess) -> None:
    store.create_bucket("full")
    store.faults([{"action": "error", "status": 507, "method": "PUT", "path": "^/v1/objects/"}])
    for data in (b"1", DATA):
        with pytest.raises(errors.NoSpaceError):
            Client(store.endpoint).bucket("full").object("o").put_content(data)


def test_a_store_that_is_gone(store: StoreProcess) -> None:
    client = Client(store.endpoint)
    client.bucket("gone").create(exist_ok=True)
    store.kill()
    try:
        with pytest.raises(requests.ConnectionError, match="PUT ais://gone/o"):
            client.bucket("gone").object("o").put_content(DATA)
    finally:
        store.start()
    client.bucket("gone").object("o").put_content(DATA)
