"""The official client as referee: what one writes, the other reads."""

import os
from collections.abc import Iterable
from typing import Any

import pytest
from aistore.sdk import Client as OfficialClient

from aisfs_sdk import Bucket, Client
from aisfs_sdk.cluster import Cluster
from aisfs_sdk.eras import Feature

DATA = os.urandom(100_000)
NAMES = ["plain", "d/x y", "100%41", "a?b", "ü/é", "a#b", "plus+x", "a&b"]


@pytest.fixture
def official(bucket: Bucket, endpoint: str) -> object:
    if not bucket.bound_client.era.has(Feature.HEAD_PROPS):
        pytest.skip("the official client of today cannot write to clusters of 2023")
    return OfficialClient(endpoint).bucket(bucket.name)


@pytest.mark.parametrize("name", NAMES)
def test_objects_travel_both_ways(bucket: Bucket, official: object, name: str) -> None:
    theirs = official.object(name)  # type: ignore[attr-defined]
    bucket.object(name).get_writer().put(DATA, custom={"k": "v"})
    reader = theirs.get_reader()
    assert reader.read_all() == DATA
    assert reader.attributes.custom_metadata == {"k": "v"}
    assert [entry.name for entry in official.list_all_objects()] == [name]  # type: ignore[attr-defined]
    theirs.get_writer().put_content(DATA[::-1])
    assert bucket.object(name).get().read_all() == DATA[::-1]
    theirs.get_writer().set_custom_props({"k": "w"})
    assert bucket.object(name).props.custom_metadata == {"k": "w"}


def test_both_place_objects_alike(bucket: Bucket, endpoint: str, official: object) -> None:
    theirs = OfficialClient(endpoint).cluster().get_info()
    ours = Cluster(bucket.bound_client).get_info()
    for i in range(200):
        uname = bucket.object(f"d/{i}").uname
        expected = theirs.get_target_for_object(uname).daemon_id
        assert ours.get_target_for_object(uname).daemon_id == expected


def test_listings_agree(bucket: Bucket, official: Any) -> None:
    for number in range(25):
        verb = bucket.object if number % 2 else official.object
        verb(f"d{number % 3}/{number:02}").get_writer().put_content(b"x" * number)

    def shown(entries: Iterable[Any]) -> list[tuple[str, int, str]]:
        return [(one.name, one.size, one.checksum) for one in entries]

    every: list[dict[str, Any]] = [{}, {"prefix": "d1/"}, {"props": "name,size,checksum"}]
    for options in every:
        theirs = shown(official.list_all_objects(**options))
        assert shown(bucket.list_all_objects(**options)) == theirs
    pages: list[Any] = []
    token = ""
    while not pages or token:
        # Either client goes on where the other one stopped.
        verb = official if len(pages) % 2 else bucket
        page = verb.list_objects(page_size=7, continuation_token=token)
        pages += page.entries
        token = page.continuation_token
    assert [one.name for one in pages] == [one.name for one in bucket.list_all_objects()]


def test_multipart_uploads_are_of_both(bucket: Bucket, official: Any) -> None:
    parts = [os.urandom(300_000), os.urandom(1), os.urandom(70_000)]
    for writing, reading in ((bucket, official), (official, bucket)):
        upload = writing.object("parts").multipart_upload().create()
        for number, part in enumerate(parts, 1):
            upload.add_part(number).put_content(part)
        upload.complete()
        assert reading.object("parts").get_reader().read_all() == b"".join(parts)
        writing.object("parts").delete()


def test_batches_of_both(bucket: Bucket, official: Any, endpoint: str) -> None:
    names = [f"b/{number}" for number in range(10)]
    for number, name in enumerate(names):
        verb = bucket.object if number % 2 else official.object
        verb(name).get_writer().put_content(f"{name}!".encode() * number)
    wanted = [*names[::-1], "b/none"]

    def members(made: Any) -> list[tuple[str, bool, bytes]]:
        return [(one.obj_name, bool(one.err_msg), b"" if one.err_msg else bytes(data))
                for one, data in made.get()]  # fmt: skip

    ours = members(Client(endpoint).batch(wanted, bucket=bucket))
    theirs = members(OfficialClient(endpoint).batch(wanted, bucket=official))
    assert ours == theirs
    assert [name for name, _, _ in ours] == wanted
    assert [broken for _, broken, _ in ours] == [False] * 10 + [True]
    assert ours[0][2] == b"b/9!" * 9
