"""The official client as referee: what one writes, the other reads."""

import os

import pytest
from aistore.sdk import Client as OfficialClient

from aisfs_sdk import Bucket
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
