from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import requests

from aisfs_sdk import Bucket, Client, Namespace, errors
from aisfs_sdk.eras import Feature
from aisfs_sdk.object_read import parse_range
from tests.sdk.wire import Wire, http

if TYPE_CHECKING:
    from collections.abc import Callable


def test_head(bucket: Bucket) -> None:
    obj = bucket.object("o")
    obj.get_writer().put(b"12345", custom={"k": "v"})
    headers = obj.head()
    assert headers["AIS-VERSION"] == "1"
    assert headers["content-length"] == "5"
    props = obj.props
    assert (props.size, props.obj_version, props.present) == (5, "1", True)
    assert props.access_time.isdigit()
    assert props.custom_metadata == {"k": "v"}
    assert "5 bytes" in repr(props)


@pytest.mark.parametrize("verb", ["head", "get", "delete", "props", "set_custom_props"])
def test_a_missing_object(bucket: Bucket, verb: str) -> None:
    obj = bucket.object("none")
    verbs: dict[str, Callable[[], object]] = {
        "head": obj.head,
        "get": obj.get,
        "delete": obj.delete,
        "props": lambda: obj.props,
        "set_custom_props": lambda: obj.set_custom_props({"k": "v"}),
    }
    with pytest.raises(errors.ErrObjNotFound, match=r"ais://sdk-.*/none") as caught:
        verbs[verb]()
    assert isinstance(caught.value, requests.HTTPError)
    assert caught.value.response is not None
    assert caught.value.response.status_code == 404


def test_an_object_of_a_missing_bucket(client: Client) -> None:
    obj = client.bucket("sdk-none").object("bucket does not exist")
    for verb in (obj.head, obj.get, obj.delete):
        with pytest.raises(errors.ErrBckNotFound):
            verb()


def test_delete(bucket: Bucket) -> None:
    bucket.object("o").put_content(b"1")
    bucket.object("o").delete()
    with pytest.raises(errors.ErrObjNotFound):
        bucket.object("o").delete()


@pytest.mark.parametrize(
    "asked",
    ["", "bytes=", "bytes=-", "bytes=-0", "bytes=5-2", "bytes=1-2,3-4", "items=0-1", "bytes=a-b",
     "bytes=0-1\r\nX: y", "bytes=٣-", f"bytes={1 << 63}-", " bytes=0-1", "bytes=0-1 "],
)  # fmt: skip
def test_ranges_that_are_never_sent(bucket: Bucket, asked: str) -> None:
    bucket.object("o").put_content(b"1")
    with pytest.raises(ValueError, match="no range"):
        bucket.object("o").get(byte_range=asked)


def test_ranges() -> None:
    assert parse_range("bytes=0-0") == (0, 0)
    assert parse_range("bytes=5-") == (5, None)
    assert parse_range("bytes=-5") == (None, 5)


def test_a_range_behind_the_end(bucket: Bucket) -> None:
    bucket.object("o").put_content(b"12345")
    with pytest.raises(errors.InvalidRequestError) as caught:
        bucket.object("o").get(byte_range="bytes=5-")
    assert caught.value.status_code == 416
    assert caught.value.response is not None
    assert caught.value.response.headers["Content-Range"] == "bytes */5"


def test_chunks_need_a_size(bucket: Bucket) -> None:
    for size in (0, -1):
        with pytest.raises(ValueError, match="chunks"):
            bucket.object("o").get(chunk_size=size)


def test_copy(bucket: Bucket) -> None:
    source, target = bucket.object("a/o"), bucket.object("b/ü x&y.z")
    source.get_writer().put(b"12345" * 10_000, custom={"k": "v"})
    if not bucket.bound_client.era.has(Feature.OBJECT_COPY):
        with pytest.raises(errors.UnsupportedError):
            source.copy(target)
        return
    target.put_content(b"old")
    assert source.copy(target).ok
    assert target.get().read_all() == b"12345" * 10_000
    assert target.props.custom_metadata == {"k": "v"}
    with pytest.raises(errors.ErrObjNotFound):
        bucket.object("none").copy(target)
    with pytest.raises(errors.ErrBckNotFound):
        source.copy(Client(bucket.bound_client.endpoint).bucket("sdk-none").object("o"))
    with pytest.raises(ValueError, match="cannot store"):
        source.copy(bucket.object("x/"))


@pytest.mark.parametrize("name", ["a?b", "a#b", "100%", "100%41"])
def test_names_that_a_copy_would_cut_are_not_sent(name: str) -> None:
    with Wire(lambda request: http(200)) as wire:
        bucket = Client(wire.endpoint).bucket("b")
        with pytest.raises(errors.UnsupportedError, match="under another name"):
            bucket.object("o").copy(bucket.object(name))
        assert not wire.requests


def test_copying_is_not_tried_on_old_clusters() -> None:
    with Wire(lambda request: http(200), release=b'{"ais_version":"3.17."}') as wire:
        bucket = Client(wire.endpoint).bucket("b")
        with pytest.raises(errors.UnsupportedError, match="PUT ais://b/o to ais://b/p"):
            bucket.object("o").copy(bucket.object("p"))
        with pytest.raises(errors.UnsupportedError, match="latest"):
            bucket.object("o").get(latest=True)
        assert not wire.requests


def test_query_parameters_of_a_read() -> None:
    with Wire(lambda request: http(200, b"1")) as wire:
        obj = Client(wire.endpoint).bucket("b", namespace=Namespace("", "n")).object("s.tar")
        obj.get_reader(archpath="a b/c", etl_name="e", latest=True).read_all()
        expected = (
            "/v1/objects/b/s.tar?provider=ais&namespace=%40%23n"
            "&archpath=a%20b%2Fc&etl_name=e&latest-ver=true"
        )
        assert wire.requests[0].target == expected
        assert obj.get_url("a b/c", "e") == wire.endpoint + expected.removesuffix(
            "&latest-ver=true"
        )


def test_names_of_an_object() -> None:
    obj = Client("http://h:1").bucket("b", "s3", Namespace("u", "n")).object("d/o")
    assert obj.uri == "s3://@u#n/b/d/o"
    assert obj.uname == "aws/@u#n/b/d/o"
    assert (obj.name, obj.bucket.name) == ("d/o", "b")
    assert repr(obj) == "<Object s3://@u#n/b/d/o>"


def test_many_threads_share_a_client(bucket: Bucket) -> None:
    bodies = {f"o{i}": bytes([i]) * (i * 1000) for i in range(40)}
    failed: list[str] = []

    def work(share: int) -> None:
        for name in list(bodies)[share::8]:
            bucket.object(name).put_content(bodies[name])
            if bucket.object(name).get().read_all() != bodies[name]:
                failed.append(name)

    threads = [threading.Thread(target=work, args=(share,)) for share in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(bucket.list_all_objects()) == 40
