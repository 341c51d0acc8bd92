"""Batches account for every member, whatever the cluster leaves out."""

import io
import json
import tarfile

import pytest

from aisfs_sdk import Bucket, Client, errors
from aisfs_sdk.enums import Colocation
from aisfs_sdk.eras import Feature
from aisfs_sdk.object_reader import ObjectReader
from tests.sdk.wire import Reply, Request, Wire, http

NAMES = ["a", "d/b", "c"]


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for name in NAMES:
        bucket.object(name).put_content(f"content of {name}".encode())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("in/m")
        info.size = 6
        archive.addfile(info, io.BytesIO(b"member"))
    bucket.object("s.tar").put_content(buffer.getvalue())
    return bucket


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("kind", [".tar", ".tgz", ".zip", ".tar.lz4"])
def test_a_batch_comes_in_order(client: Client, filled: Bucket, kind: str, streaming: bool) -> None:
    batch = client.batch(["a", "c"], filled, kind, streaming_get=streaming)
    batch.add(filled.object("d/b"), opaque=b"\x01").add("a", start=2, length=5)
    batch.add("s.tar", archpath="in/m")
    assert len(batch) == 5
    results = list(batch.get())
    assert [data for _, data in results] == [
        b"content of a", b"content of c", b"content of d/b", b"ntent", b"member",
    ]  # fmt: skip
    assert [(out.obj_name, out.archpath, out.opaque) for out, _ in results][2:] == [
        ("d/b", "", b"\x01"), ("a", "", b""), ("s.tar", "in/m", b""),
    ]  # fmt: skip
    assert all(out.is_ok and out.size == len(data) for out, data in results)
    assert len(batch) == 0


def test_missing_objects_are_told_in_their_places(client: Client, filled: Bucket) -> None:
    # More of them than clusters tell of.
    asked = ["a", *[f"none-{i}" for i in range(12)], "c"]
    results = list(client.batch(asked, filled).get())
    assert [out.obj_name for out, _ in results] == asked
    assert [out.is_ok for out, _ in results] == [True, *[False] * 12, True]
    assert all("does not exist" in out.err_msg for out, _ in results[1:-1])
    assert results[-1][1] == b"content of c"
    with pytest.raises(errors.ErrObjNotFound):
        list(client.batch(["a", "none", "c"], filled, cont_on_err=False).get())


def test_a_part_out_of_bounds_is_not_the_whole_object(client: Client, filled: Bucket) -> None:
    [(out, data), (_, end)] = (
        client.batch(bucket=filled).add("a", start=100, length=5).add("a", start=8).get()
    )
    assert (out.is_ok, data) == (False, b"")
    assert end == b"of a"


def test_a_batch_can_be_left_and_kept(client: Client, filled: Bucket) -> None:
    batch = client.batch(["a", "c"], filled)
    for out, data in batch.get(clear_batch=False):
        assert (out.obj_name, data) == ("a", b"content of a")
        break
    assert len(batch) == 2
    if client.era.has(Feature.GET_BATCH):
        reader = batch.get(raw=True)
        assert isinstance(reader, ObjectReader)
        assert reader.read_all()
    assert len(batch.add("c").clear()) == 0


def test_batches_that_make_no_sense() -> None:
    client = Client("http://gateway:8080")
    bucket = client.bucket("b")
    with pytest.raises(ValueError, match="no bucket"):
        client.batch("a")
    with pytest.raises(ValueError, match="names and objects"):
        client.batch([1], bucket)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no part"):
        client.batch(bucket=bucket).add("a", start=-1)
    with pytest.raises(ValueError, match="asks for nothing"):
        client.batch(bucket=bucket).get()
    with pytest.raises(ValueError, match="output_format"):
        client.batch("a", bucket, ".rar")
    with pytest.raises(NotImplementedError):
        client.batch("a", bucket, colocation=Colocation.TARGET_AND_SHARD_AWARE)


def tar_of(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("archive", "singly"),
    [
        (tar_of(("b/x", b"x"), ("b/y", b"y"), ("b/z", b"z")), []),
        # Well-formed, but shorter.
        (tar_of(("b/x", b"x")), ["y", "z"]),
        (tar_of(("b/x", b"x"), ("b/z", b"z")), ["y"]),
        (tar_of(("b/x", b"x"), ("__404__/b/y", b""), ("b/z", b"z")), ["y"]),
        # Other members than were asked for.
        (tar_of(("b/q", b"q")), ["x", "y", "z"]),
        # Cut within the second member.
        (tar_of(("b/x", b"x"), ("b/y", b"y"))[:1100], ["y", "z"]),
        (b"", ["x", "y", "z"]),
    ],
)
def test_what_the_archive_lacks_is_fetched_singly(archive: bytes, singly: list[str]) -> None:
    fetched = []

    def answer(request: Request) -> Reply:
        if "/ml/moss" in request.target:
            assert json.loads(request.body) == {
                "in": [{"objname": "x"}, {"objname": "y"},
                       {"objname": "z", "bucket": "b", "provider": "ais"}],
                "mime": ".tar", "coer": True, "onob": False, "strm": True,
            }  # fmt: skip
            return http(200, archive)
        name = request.target.partition("?")[0].rpartition("/")[2]
        fetched.append(name)
        return http(200, name.encode())

    with Wire(answer) as wire:
        client = Client(wire.endpoint)
        bucket = client.bucket("b")
        batch = client.batch(["x", "y", bucket.object("z")], bucket)
        assert [data for _, data in batch.get()] == [b"x", b"y", b"z"]
    assert fetched == singly


def test_clusters_without_batches_serve_members_singly() -> None:
    with Wire(lambda request: http(200, b"data"), release=b'{"ais_version":"3.17."}') as wire:
        client = Client(wire.endpoint)
        batch = client.batch(["x", "y"], client.bucket("b"))
        with pytest.raises(errors.UnsupportedError, match="in one request needs AIS 4"):
            batch.get(raw=True)
        assert [data for _, data in batch.get()] == [b"data", b"data"]
        assert all(request.target.startswith("/v1/objects/") for request in wire.requests)
