"""Stored listings, and all logs of a node."""

import io
import tarfile

import pytest

from aisfs_sdk import Bucket, Client, errors
from aisfs_sdk.eras import Feature
from tests.sdk.wire import Reply, Request, Wire, http

INFO = b'{"inv-1":{"bucket":"aws://@#/b","name":"i","obj_name":"inv-1","size":7,"ntotal":3}}'


def test_what_ends_every_target_is_never_sent() -> None:
    with Wire(lambda request: http(200)) as wire:
        bucket = Client(wire.endpoint).bucket("b")
        with pytest.raises(ValueError, match="ends all targets"):
            bucket.create_inventory(force=True)
        assert wire.requests == []


def test_inventories_of_a_remote_bucket() -> None:
    def answer(request: Request) -> Reply:
        target, body = request.target, request.body
        if "what=" in target:
            return http(200, b'{"ais_version":"5.0."}')
        return http(200, b"job-1" if b"create" in body else INFO if b"show" in body else b"")

    with Wire(answer) as wire:
        bucket = Client(wire.endpoint).bucket("b", provider="aws")
        assert bucket.create_inventory("i", "p/", "name,size", 100) == "job-1"
        assert bucket.show_inventory("i")["inv-1"].ntotal == 3
        bucket.destroy_inventory("i")
        sent = [(one.method, one.body) for one in wire.requests[-3:]]
    assert [method for method, _ in sent] == ["POST", "GET", "DELETE"]
    for word in (b'"names_per_chunk":100', b'"prefix":"p/"', b'"force":false', b'"name":"i"'):
        assert word in sent[0][1]
    assert b'"action":"destroy-inventory","name":"i"' in sent[2][1]


def test_a_bucket_without_inventories(bucket: Bucket) -> None:
    if not bucket.bound_client.era.has(Feature.INVENTORY):
        with pytest.raises(errors.UnsupportedError, match=r"needs AIS 4\.3"):
            bucket.show_inventory()
        return
    assert bucket.show_inventory() == {}


def test_all_logs_of_a_node(client: Client) -> None:
    cluster = client.cluster()
    node = next(iter(cluster.get_info().tmap))
    if not client.era.has(Feature.NODE_STATUS):
        pytest.skip("clusters of 2023 send one log only")
    with tarfile.open(fileobj=io.BytesIO(cluster.get_node_log_archive(node))) as archive:
        assert archive.getnames()
