import json

import pytest

from aisfs_sdk import Bucket, Client, errors
from aisfs_sdk.enums import LogSeverity, NodeFilter
from tests.sdk.wire import Reply, Request, Wire, http
from tests.support.store import free_port


def test_health(client: Client) -> None:
    assert client.cluster().is_aistore_running()
    assert client.cluster().is_ready()
    nobody = Client(f"http://127.0.0.1:{free_port()}").cluster()
    assert not nobody.is_aistore_running()
    assert not nobody.is_ready()


def test_health_of_something_else() -> None:
    with Wire(lambda request: http(400, b"<html>")) as wire:
        assert not Client(wire.endpoint).cluster().is_aistore_running()
        assert not Client(wire.endpoint).cluster().is_ready()
    with Wire(lambda request: http(200, b"<html>")) as wire:
        assert not Client(wire.endpoint).cluster().is_ready()


def test_buckets(bucket: Bucket, client: Client) -> None:
    cluster = client.cluster()
    assert bucket.as_model() in cluster.list_buckets()
    assert bucket.as_model() in cluster.list_buckets(provider="")
    props = cluster.get_bucket_metadata()[bucket.as_model()]
    assert int(props["created"]) > 0
    assert props["checksum"]["type"]


def test_capacity(client: Client) -> None:
    total, used = client.cluster().get_capacity()
    assert 0 < used < total


def test_no_targets_have_no_room() -> None:
    for text in (b'{"proxy":{},"target":{}}', b'{"target":null}', b"{}"):
        with Wire(lambda request, text=text: http(200, text)) as wire:  # type: ignore[misc]
            assert Client(wire.endpoint).cluster().get_capacity() == (0, 0)


def test_a_cluster_without_buckets() -> None:
    for text in (b"null", b"[]"):
        with Wire(lambda request, text=text: http(200, text)) as wire:  # type: ignore[misc]
            assert Client(wire.endpoint).cluster().list_buckets("") == []
    with Wire(lambda request: http(200, b'{"providers":{"ais":null},"version":"1"}')) as wire:
        assert Client(wire.endpoint).cluster().get_bucket_metadata() == {}


def test_what_is_not_ais() -> None:
    with Wire(lambda request: http(200, b"<html>\xff")) as wire:
        cluster = Client(wire.endpoint).cluster()
        for verb in (cluster.get_info, cluster.list_buckets, cluster.get_bucket_metadata,
                     cluster.get_capacity):  # fmt: skip
            with pytest.raises(errors.NotAISError):
                verb()


def test_cloud_buckets_of_a_cluster_without_clouds(client: Client) -> None:
    with pytest.raises(errors.AISError):
        client.cluster().list_buckets("aws")


def test_nodes_are_asked_through_the_gateway() -> None:
    smap = json.dumps(
        {"tmap": {"t1": {}, "t2": {}}, "pmap": {"p1": {}}, "proxy_si": {}, "version": "1"}
    ).encode()

    def answer(request: Request) -> Reply:
        if "what=smap" in request.target:
            return http(200, smap)
        node = request.headers["ais-node-id"]
        if "what=log" in request.target:
            return http(200, f"log of {node}".encode())
        return http(200, json.dumps({"snode": node}).encode())

    with Wire(answer) as wire:
        cluster = Client(wire.endpoint).cluster()
        assert cluster.get_cluster_logs(LogSeverity.ERROR, NodeFilter.PROXY) == {"p1": "log of p1"}
        assert wire.requests[-1].target == "/v1/reverse/daemon?what=log&severity=error"
        assert set(cluster.get_cluster_logs(role=NodeFilter.TARGET)) == {"t1", "t2"}
    with Wire(answer, release=b'{"ais_version":"3.17."}') as wire:
        found = Client(wire.endpoint).cluster().get_performance()
        assert found == {"t1": {"snode": "t1"}, "t2": {"snode": "t2"}}
        assert wire.requests[-1].target == "/v1/reverse/daemon?what=status"
    with Wire(answer) as wire:
        assert Client(wire.endpoint).cluster().get_node_status("p1") == {"snode": "p1"}
        assert wire.requests[-1].target == "/v1/reverse/daemon?what=node_status"
