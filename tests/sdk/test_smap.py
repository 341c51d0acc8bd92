import gzip
import json
from pathlib import Path

import pytest

from aisfs_sdk import Client
from aisfs_sdk.smap import Snode, digest, hrw, hrw_weight, mix, object_uname, owner, parse_smap

VECTORS = Path(__file__).parents[1] / "server" / "recorded" / "hrw.json.gz"


def test_names_are_placed_where_real_gateways_sent_them() -> None:
    vectors = json.loads(gzip.decompress(VECTORS.read_bytes()))
    assert len(vectors) > 500
    for vector in vectors:
        assert hrw(vector["bucket"] + vector["object"], vector["targets"]) == vector["owner"]


@pytest.mark.parametrize(
    ("value", "mixed"),
    [
        (0, 1905207664160064169),
        (4573842, 5026071747115404967),
        (123456789, 5288836854215336256),
        (2**64 - 1, 10227601306713020730),
    ],
)
def test_mix(value: int, mixed: int) -> None:
    assert mix(value) == mixed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 12295767445558623539),
        ("t1", 14214570646889990061),
        ("ais/@#/mybck/dir/obj-001", 7180713575107852679),
        ("aws/@#ns1/bucket-x/a b+c%.txt", 6872296015602537986),
        ("ais/@#/mybck/こんにちは", 4551067208215157829),
    ],
)
def test_digest(text: str, expected: int) -> None:
    assert digest(text) == expected


def test_weights() -> None:
    uname = object_uname("ais", "mybck", "dir/obj-001")
    assert [hrw_weight(uname, node) for node in ("t1", "t2", "t3")] == [
        8596425334191110691,
        4996828519840506528,
        8290090017242441726,
    ]


def test_a_name_of_any_bytes_has_an_owner() -> None:
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert hrw(f"ais/@#/b/{name}", ["t1", "t2"]) == hrw(b"ais/@#/b/\xff\xfe", ["t1", "t2"])


def test_nodes_in_maintenance_own_nothing() -> None:
    targets = {"t1": Snode("t1", flags=4), "t2": Snode("t2", flags=8), "t3": Snode("t3", flags=18)}
    assert owner("ais/@#/mybck/dir/obj-001", targets).daemon_id == "t3"
    with pytest.raises(ValueError, match="no active targets"):
        owner("ais/@#/mybck/a", {"t1": targets["t1"]})


def test_the_map_of_a_cluster(client: Client) -> None:
    smap = client.cluster().get_info()
    assert smap.version > 0
    assert smap.uuid == client.cluster().get_uuid()
    assert smap.proxy_si.public_net.direct_url == client.cluster().get_primary_url()
    for node_id, node in smap.tmap.items():
        assert node.daemon_id == node_id
        assert node.id_digest in {0, digest(node_id)}
    assert smap.get_target_for_object("ais/@#/b/o").daemon_id == hrw("ais/@#/b/o", smap.tmap)


def test_numbers_of_a_map_may_be_quoted_or_large() -> None:
    node = {"daemon_id": "t1", "id_digest": 2**64 - 1, "flags": 0}
    text = json.dumps({"tmap": {"t1": node}, "pmap": {}, "proxy_si": {}, "version": "12"})
    smap = parse_smap(text.encode())
    assert (smap.version, smap.tmap["t1"].id_digest) == (12, 2**64 - 1)
