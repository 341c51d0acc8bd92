import pytest

from aisfs_sdk import Bucket, Client, errors
from tests.sdk.wire import Wire, http
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
