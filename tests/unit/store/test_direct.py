"""Small reads on the loop's own sockets, against the embedded store and against bare sockets."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio

from aisfs.config import StoreConfig
from aisfs.errors import Corrupt, IoFailure, Stale, TimedOut
from aisfs.store.aistore import connect
from aisfs.store.buckets import Buckets
from aisfs.store.direct import DirectSource
from aisfs.store.interface import Identity
from aisfs.store.loop_client import Declined, LoopClient
from aisfs_sdk import Client
from tests.support.store import StoreProcess, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisfs.config import BucketName
    from aisfs.store.aistore import AISStore
    from aisfs_sdk import Bucket

KIB = 1 << 10
BODY = os.urandom(300 * KIB)

pytestmark = pytest.mark.parametrize("straight", [True, False], ids=["map", "no-map"])


@asynccontextmanager
async def direct(endpoint: str, *, straight: bool = True) -> AsyncIterator[DirectSource]:
    client = Client(endpoint, timeout=(1.0, 0.7))
    if straight:
        await trio.to_thread.run_sync(client.cluster().get_info)
    nodes = LoopClient(client, 4)
    source = DirectSource(nodes, Buckets(client), 0.7)
    yield source
    nodes.close()
    client.close()


@pytest.fixture
async def source(cluster: StoreProcess, straight: bool) -> AsyncIterator[DirectSource]:
    """Return a source that knows the cluster's map, or does not."""
    async with direct(cluster.endpoint, straight=straight) as made:
        yield made


async def stored(other: Bucket, aistore: AISStore, bucket: BucketName, name: str) -> Identity:
    await trio.to_thread.run_sync(other.object(name).put_content, BODY)
    return (await aistore.head(bucket, name)).identity


def object_gets(cluster: StoreProcess) -> list[tuple[str, int]]:
    return [
        ("proxy" if entry["node"].startswith("p") else "target", entry["status"])
        for entry in cluster.requests()
        if entry["method"] == "GET" and entry["path"].startswith("/v1/objects/")
    ]


@pytest.mark.parametrize("name", ["o", "a/b c%?#&'\"<>é", "x" * 200])
async def test_whole_and_pieces(
    source: DirectSource, aistore: AISStore, bucket: BucketName, other: Bucket, name: str
) -> None:
    identity = await stored(other, aistore, bucket, name)
    for start, end in ((0, len(BODY)), (0, 1), (5, 200 * KIB), (len(BODY) - 1, len(BODY))):
        buffer = bytearray(end - start)
        info = await source.fill(bucket, name, start, identity, memoryview(buffer))
        assert buffer == BODY[start:end]
        assert info.name == name
        assert info.identity.same_content(identity)
        assert info.identity.checksum_type


async def test_the_way_of_a_request(
    source: DirectSource,
    aistore: AISStore,
    bucket: BucketName,
    other: Bucket,
    cluster: StoreProcess,
    straight: bool,
) -> None:
    identity = await stored(other, aistore, bucket, "o")
    cluster.clear_requests()
    for _ in range(3):
        await source.fill(bucket, "o", 0, identity, memoryview(bytearray(len(BODY))))
    one = [("target", 200)] if straight else [("proxy", 301), ("target", 200)]
    assert sorted(object_gets(cluster)) == sorted(one * 3)


async def test_many_at_once(
    source: DirectSource, aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    identity = await stored(other, aistore, bucket, "o")
    buffers = [bytearray(1000 + index) for index in range(50)]
    async with trio.open_nursery() as nursery:
        for index, buffer in enumerate(buffers):
            nursery.start_soon(source.fill, bucket, "o", index, identity, memoryview(buffer))
    assert all(buffers[n] == BODY[n : n + 1000 + n] for n in range(50))


async def test_another_content_is_declined_and_then_stale(
    source: DirectSource, aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    identity = await stored(other, aistore, bucket, "o")
    await trio.to_thread.run_sync(other.object("o").put_content, BODY[::-1])
    buffer = memoryview(bytearray(len(BODY)))
    with pytest.raises(Declined, match="another content"):
        await source.fill(bucket, "o", 0, identity, buffer)
    with pytest.raises(Stale):
        await aistore.fill(bucket, "o", 0, identity, buffer)


async def test_what_a_former_owner_does_not_have_is_not_absent(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, straight: bool
) -> None:
    """By an old map another target owns the object, and does not have it."""
    names = [f"o{number}" for number in range(12)]
    for name in names:
        await trio.to_thread.run_sync(other.object(name).put_content, name.encode())
    client = Client(cluster.endpoint)
    smap = await trio.to_thread.run_sync(client.cluster().get_info)
    client.close()
    one = dict(sorted(smap.tmap.items())[:1])
    async with direct(cluster.endpoint, straight=False) as source:
        if straight:
            source._placement.learn(msgspec.structs.replace(smap, tmap=one))
        cluster.clear_requests()
        for name in names:
            assert (await source.head(bucket, name)).identity.size == len(name)
    denied = [r for r in cluster.requests() if r["node"].startswith("t") and r["status"] == 404]
    assert bool(denied) == straight


async def test_an_object_that_is_gone_is_declined_and_then_stale(
    source: DirectSource, aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    identity = await stored(other, aistore, bucket, "o")
    await trio.to_thread.run_sync(other.object("o").delete)
    buffer = memoryview(bytearray(len(BODY)))
    with pytest.raises(Declined, match="404"):
        await source.fill(bucket, "o", 0, identity, buffer)
    with pytest.raises(Stale):
        await aistore.fill(bucket, "o", 0, identity, buffer)


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "cut", "after_bytes": 100_000},
        {"action": "cut", "after_bytes": 0},
        {"action": "corrupt", "after_bytes": 100_000},
        {"action": "wrong-checksum"},
        {"action": "stall", "seconds": 60, "after_bytes": 1000},
        {"action": "error", "status": 503},
        {"action": "429"},
    ],
    ids=lambda fault: fault["action"] + str(fault.get("after_bytes", "")),
)
async def test_trouble_is_declined_and_the_sdk_brings_the_bytes(
    source: DirectSource,
    aistore: AISStore,
    bucket: BucketName,
    other: Bucket,
    cluster: StoreProcess,
    fault: dict[str, object],
) -> None:
    identity = await stored(other, aistore, bucket, "o")
    rule = {"method": "GET", "path": "/o$", "role": "target", "times": 1, **fault}
    cluster.faults([rule])
    with pytest.raises(Declined):
        await source.fill(bucket, "o", 0, identity, memoryview(bytearray(len(BODY))))
    assert cluster.struck() == 1
    cluster.faults([rule])
    buffer = bytearray(len(BODY))
    await aistore.fill(bucket, "o", 0, identity, memoryview(buffer))
    assert cluster.struck() == 1
    assert buffer == BODY


async def test_silence_is_waited_for_once(
    source: DirectSource,
    aistore: AISStore,
    bucket: BucketName,
    other: Bucket,
    cluster: StoreProcess,
) -> None:
    identity = await stored(other, aistore, bucket, "o")
    cluster.faults([{"method": "GET", "path": "/o$", "action": "delay", "seconds": 60}])
    buffer = memoryview(bytearray(len(BODY)))
    with pytest.raises(TimedOut):
        await source.fill(bucket, "o", 0, identity, buffer)
    cluster.faults([{"method": "GET", "path": "/o$", "action": "delay", "seconds": 60}])
    with pytest.raises(TimedOut):
        await aistore.fill(bucket, "o", 0, identity, buffer)
    assert cluster.struck() == 1


async def test_bytes_that_are_wrong_for_ever_are_an_error(
    source: DirectSource,
    aistore: AISStore,
    bucket: BucketName,
    other: Bucket,
    cluster: StoreProcess,
) -> None:
    identity = await stored(other, aistore, bucket, "o")
    cluster.faults([{"method": "GET", "path": "/o$", "role": "target", "action": "corrupt"}])
    with pytest.raises(Corrupt):
        await aistore.fill(bucket, "o", 0, identity, memoryview(bytearray(len(BODY))))
    for action in ("cut", "redirect-loop"):
        cluster.faults([{"method": "GET", "path": "/o$", "role": "target", "action": action}])
        with pytest.raises(IoFailure):
            await aistore.fill(bucket, "o", 0, identity, memoryview(bytearray(len(BODY))))


async def test_targets_that_refuse_direct_access_are_not_asked_again(
    source: DirectSource,
    aistore: AISStore,
    bucket: BucketName,
    other: Bucket,
    cluster: StoreProcess,
    straight: bool,
) -> None:
    identity = await stored(other, aistore, bucket, "o")
    cluster.faults([{"action": "refuse-direct", "role": "target"}])
    buffer = memoryview(bytearray(len(BODY)))
    cluster.clear_requests()
    await source.fill(bucket, "o", 0, identity, buffer)
    assert (("target", 403) in object_gets(cluster)) == straight
    cluster.clear_requests()
    for _ in range(3):
        await source.fill(bucket, "o", 0, identity, buffer)
    assert sorted(object_gets(cluster)) == sorted([("proxy", 301), ("target", 200)] * 3)


async def test_connections_made_ahead_are_used(
    aistore: AISStore,
    bucket: BucketName,
    other: Bucket,
    straight: bool,
    cluster: StoreProcess,
) -> None:
    identity = await stored(other, aistore, bucket, "o")
    client = Client(cluster.endpoint)
    if straight:
        await trio.to_thread.run_sync(client.cluster().get_info)
    nodes = LoopClient(client, 4)
    source = DirectSource(nodes, Buckets(client), 0.7)
    await nodes.prepare()
    idle = nodes.idle_connections
    assert bool(idle) == straight
    await source.fill(bucket, "o", 0, identity, memoryview(bytearray(len(BODY))))
    assert straight <= (nodes.idle_connections == idle)
    nodes.close()


async def test_a_connection_that_the_server_closed_is_declined(straight: bool) -> None:
    if straight:
        pytest.skip("one way is enough: the connection is the same")
    with StoreProcess() as store:
        bucket = Client(store.endpoint).bucket("b").create()
        bucket.object("o").put_content(BODY)
        aistore = connect(StoreConfig(store.endpoint, connect_timeout_s=1.0))
        name = (await aistore.buckets())[0].name
        identity = (await aistore.head(name, "o")).identity
        async with direct(store.endpoint) as source:
            buffer = memoryview(bytearray(len(BODY)))
            await source.fill(name, "o", 0, identity, buffer)
            store.restart()
            with pytest.raises(Declined):
                await source.fill(name, "o", 0, identity, buffer)
            await source.fill(name, "o", 0, identity, buffer)
        await aistore.close()


ANSWERS = {
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "other length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
    "no head": b"hello",
    "no HTTP": b"hello\r\n\r\n",
    "no header": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000,
    "redirect to nowhere": b"HTTP/1.1 307 Go\r\nContent-Length: 0\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_what_is_no_answer_is_declined(
    bucket: BucketName, answer: bytes, straight: bool
) -> None:
    if straight:
        pytest.skip("one way is enough: the answer is the same")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(10_000)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        async with direct(f"http://127.0.0.1:{server.getsockname()[1]}", straight=False) as source:
            with pytest.raises(Declined):
                await source.fill(bucket, "o", 0, Identity(1), memoryview(bytearray(1)))
        thread.join()


async def test_nobody_there_is_declined(bucket: BucketName, straight: bool) -> None:
    if straight:
        pytest.skip("without anybody there is no map")
    async with direct(f"http://127.0.0.1:{free_port()}", straight=False) as source:
        with pytest.raises(Declined):
            await source.fill(bucket, "o", 0, Identity(1), memoryview(bytearray(1)))
