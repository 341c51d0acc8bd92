"""Placement: the store redirects every name to the target that a real cluster would choose."""

import gzip
import json

import pytest

from aisfs_sdk.smap import digest, hrw, hrw_weight, mix
from tests.server import wire
from tests.server.replay import RECORDED
from tests.support.store import StoreProcess

VECTORS = json.loads(gzip.decompress((RECORDED / "hrw.json.gz").read_bytes()))
NAMES = ["a", "dir/obj-001", "sp%20ace", "%E3%81%93%E3%82%93", "x/" * 50 + "y", "a+b", "100%25"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 1905207664160064169),
        (4573842, 5026071747115404967),
        (123456789, 5288836854215336256),
        (2**64 - 1, 10227601306713020730),
    ],
)
def test_mix(value: int, expected: int) -> None:
    assert mix(value) == expected


def test_documented_weights() -> None:
    uname = "ais/@#/mybck/dir/obj-001"
    weights = [hrw_weight(uname, node) for node in ("t1", "t2", "t3")]
    assert weights == [8596425334191110691, 4996828519840506528, 8290090017242441726]
    assert digest("t2") == 17780131176456335389


def test_recorded_owners() -> None:
    wrong = [
        vector
        for vector in VECTORS
        if hrw(vector["bucket"] + vector["object"], vector["targets"]) != vector["owner"]
    ]
    assert len(VECTORS) > 500
    assert not wrong


@pytest.mark.parametrize("name", NAMES)
def test_redirect_leads_to_the_owner(name: str, store: StoreProcess, bucket: str) -> None:
    smap = store.smap()
    target = f"/v1/objects/{bucket}/{name}?provider=ais"
    answer = wire.send(store.endpoint.removeprefix("http://"), "GET", target)
    host, _ = wire.split_url(answer.get("Location"))
    decoded = wire.unquoted(name)
    owner = hrw(f"ais/@#/{bucket}/{decoded}", smap["tmap"])
    assert f"http://{host}" == smap["tmap"][owner]["public_net"]["direct_url"]


def test_id_digest_is_the_hash_of_the_id(store: StoreProcess) -> None:
    for node_id, node in store.smap()["tmap"].items():
        assert node["id_digest"] == digest(node_id)
