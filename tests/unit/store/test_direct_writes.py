"""Small changes on the loop's own sockets, against the embedded store."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
import xxhash

from aisfs.config import BucketName, StoreConfig
from aisfs.errors import Forbidden, FsError, IoFailure, NotFound, TimedOut
from aisfs.store.aistore import connect
from aisfs.store.buckets import Buckets
from aisfs.store.direct_writes import LARGEST_BODY, DirectWrites, MapWatch
from aisfs.store.interface import ATTRIBUTES_KEY, Upload
from aisfs.store.loop_client import Declined, LoopClient
from aisfs_sdk import Client
from aisfs_sdk.smap import parse_smap
from tests.support.store import StoreProcess
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aisfs.store.aistore import AISStore
    from aisfs_sdk import Bucket

BODY = os.urandom(5000)
ATTRIBUTES = "1.abc-_"
CHANGES = ("PUT", "DELETE", "PATCH")
SMAP = "what=smap"


class Scene:
    """A client that knows the cluster's map, and what it sends.

    Attributes:
        writes: what is tested.
    """

    def __init__(self, store: StoreProcess) -> None:
        self.store = store
        self.client = Client(store.endpoint, timeout=(1.0, 0.7))
        self.nodes = LoopClient(self.client, 32)
        self.writes = DirectWrites(self.nodes, self.client.request_client, Buckets(self.client))

    async def learn(self) -> None:
        """Ask for the map and the release."""
        await trio.to_thread.run_sync(self.client.cluster().get_info)

        assert self.client.era.version > (0, 0)

    def of_another_version(self) -> None:
        """Let the client believe in a map that the cluster had before."""
        answer = self.client.request_client.request("GET", "daemon", {"what": "smap"})
        smap = parse_smap(answer.content)
        older = msgspec.structs.replace(smap, version=smap.version - 1)
        self.client.request_client.placement.learn(older)

    def way(self) -> list[str]:
        """Return who got changes, and questions for the map, and answered what."""
        nodes = {"p": "gateway", "t": "target"}
        found = []
        for each in self.store.requests():
            if each["method"] in CHANGES and each["path"].startswith("/v1/objects/"):
                found.append(f"{nodes[each['node'][0]]} {each['status']}")
            elif SMAP in each["query"]:
                found.append("map")
        self.store.clear_requests()
        return found


@pytest.fixture
async def scene(cluster: StoreProcess) -> AsyncIterator[Scene]:
    made = Scene(cluster)
    await made.learn()
    cluster.clear_requests()
    yield made
    made.nodes.close()
    made.client.close()


@contextmanager
def upload(body: bytes = BODY) -> Iterator[Upload]:
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        yield Upload(file.fileno(), len(body), xxhash.xxh64(body).hexdigest(), ATTRIBUTES)


async def put(scene: Scene, bucket: BucketName, name: str, body: bytes = BODY) -> None:
    with upload(body) as staged:
        info = await scene.writes.put(bucket, name, staged)
    assert (info.name, info.identity.size, info.attributes) == (name, len(body), ATTRIBUTES)
    assert info.identity.checksum == xxhash.xxh64(body).hexdigest()


def content(other: Bucket, name: str) -> bytes:
    return other.object(name).get().read_all()


@pytest.mark.parametrize("name", ["o", "a/b c%?#&'\"<>é", "x" * 200])
@pytest.mark.parametrize("size", [0, 1, 5000, 40_000, LARGEST_BODY])
async def test_what_is_stored_is_there(
    scene: Scene, bucket: BucketName, other: Bucket, name: str, size: int
) -> None:
    await put(scene, bucket, "first")
    scene.way()
    body = os.urandom(size)
    await put(scene, bucket, name, body)
    assert scene.way() == ["target 200", "map"]
    assert content(other, name) == body
    assert other.object(name).props.custom_metadata == {ATTRIBUTES_KEY: ATTRIBUTES}
    await scene.writes.set_attributes(bucket, name, "1.other")
    assert other.object(name).props.custom_metadata == {ATTRIBUTES_KEY: "1.other"}
    await scene.writes.delete(bucket, name)
    with pytest.raises(NotFound):
        await scene.writes.delete(bucket, name)


async def test_a_gateway_allows_each_kind_of_change_first(scene: Scene, bucket: BucketName) -> None:
    await put(scene, bucket, "a")
    assert scene.way() == ["gateway 307", "target 200"]
    await put(scene, bucket, "b")
    assert scene.way() == ["target 200", "map"]
    await scene.writes.delete(bucket, "a")
    assert scene.way() == ["gateway 307", "target 200"]
    await scene.writes.delete(bucket, "b")
    assert scene.way() == ["target 200", "map"]


async def test_what_a_gateway_forbids_reaches_no_target(
    scene: Scene, bucket: BucketName, aistore: AISStore
) -> None:
    scene.store.faults([{"method": "PUT", "role": "proxy", "action": "error", "status": 403}])
    with upload() as staged:
        with pytest.raises(Declined):
            await scene.writes.put(bucket, "o", staged)
        with pytest.raises(Forbidden):
            await aistore.put(bucket, "o", staged)
    assert set(scene.way()) - {"map"} == {"gateway 403"}


async def test_a_map_that_changed_sends_it_by_the_gateway_again(
    bucket: BucketName, other: Bucket, aistore: AISStore, scene: Scene
) -> None:
    await put(scene, bucket, "first")
    scene.of_another_version()
    scene.way()
    with upload() as staged, pytest.raises(Declined, match="changed") as caught:
        await scene.writes.put(bucket, "o", staged)
    assert caught.value.sent
    assert scene.way() == ["target 200", "map"]


async def test_what_went_to_a_wrong_target_is_found_all_the_same(
    cluster: StoreProcess, bucket: BucketName, other: Bucket
) -> None:
    """The mount's store, which believes in a map with fewer targets than there are."""
    store = connect(StoreConfig(cluster.endpoint))
    await store.cluster_uuid()
    await store.name_rules()
    with upload() as staged:
        await store.put(bucket, "first", staged)
        placement = store._client.request_client.placement
        smap = placement._smap
        assert smap is not None
        one = dict(sorted(smap.tmap.items())[:1])
        placement.learn(msgspec.structs.replace(smap, tmap=one, version=smap.version - 1))
        cluster.clear_requests()
        names = [f"o{number}" for number in range(12)]
        for name in names:
            await store.put(bucket, name, staged)
    assert all(content(other, name) == BODY for name in names)
    by_gateway = [
        each
        for each in cluster.requests()
        if each["method"] == "PUT" and each["node"].startswith("p")
    ]
    assert len(by_gateway) == len(names)
    for name in names:
        await store.delete(bucket, name)
    assert list(other.list_all_objects(prefix="o")) == []
    await store.close()


async def test_one_question_for_the_map_serves_all_that_wait(
    scene: Scene, bucket: BucketName
) -> None:
    await put(scene, bucket, "first")
    scene.way()
    scene.store.faults([{"method": "GET", "path": "/daemon", "action": "delay", "seconds": 1}])
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(put, scene, bucket, f"o{number}")
    way = scene.way()
    assert way.count("target 200") == 20
    assert 1 <= way.count("map") <= 3


async def ask(watch: MapWatch, found: list[tuple[str, int] | None]) -> None:
    found.append(await watch.version_from_now_on())


async def test_a_question_asked_before_does_not_count(scene: Scene) -> None:
    watch = MapWatch(scene.nodes)
    found: list[tuple[str, int] | None] = []
    async with trio.open_nursery() as nursery:
        with scene.store.holding(method="GET", path="/daemon"):
            nursery.start_soon(ask, watch, found)
            await until(scene.store.held, "the first question is under way")
            nursery.start_soon(ask, watch, found)
            nursery.start_soon(ask, watch, found)
            await trio.testing.wait_all_tasks_blocked()
    assert scene.way() == ["map", "map"]
    assert found == [scene.nodes.placement.version] * 3


async def test_who_asks_for_the_map_may_be_cancelled(scene: Scene) -> None:
    scene.store.faults([{"method": "GET", "path": "/daemon", "action": "delay", "seconds": 0.2}])
    watch = MapWatch(scene.nodes)
    found: list[tuple[str, int] | None] = []
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            with trio.move_on_after(0.05):
                await watch.version_from_now_on()
            nursery.start_soon(ask, watch, found)
            await trio.sleep(0.01)
    assert found == [scene.nodes.placement.version] * 2
    assert await watch.version_from_now_on() == scene.nodes.placement.version


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        ({"action": "error", "status": 503}, False),
        ({"action": "429"}, False),
        ({"action": "cut-upload", "after_bytes": 100}, True),
    ],
    ids=["503", "429", "cut"],
)
async def test_trouble_is_declined_and_the_sdk_stores_it(
    scene: Scene, bucket: BucketName, other: Bucket, fault: dict[str, object], sent: bool
) -> None:
    await put(scene, bucket, "first")
    rule = {"method": "PUT", "path": "/o$", "role": "target", "times": 1, **fault}
    scene.store.faults([rule])
    with upload() as staged, pytest.raises(Declined) as caught:
        await scene.writes.put(bucket, "o", staged)
    assert caught.value.sent == sent
    store = connect(StoreConfig(scene.store.endpoint))
    await store.cluster_uuid()
    await store.name_rules()
    scene.store.faults([rule])
    with upload() as staged:
        await store.put(bucket, "o", staged)
    assert content(other, "o") == BODY
    assert scene.store.struck() == 1
    await store.close()


async def test_silence_is_waited_for_once(scene: Scene, bucket: BucketName) -> None:
    await put(scene, bucket, "first")
    scene.store.faults([{"method": "PUT", "path": "/o$", "action": "delay", "seconds": 60}])
    with upload() as staged, pytest.raises(TimedOut):
        await scene.writes.put(bucket, "o", staged)
    assert scene.store.struck() == 1


async def test_a_large_body_is_not_for_the_loop(
    scene: Scene, bucket: BucketName, aistore: AISStore, other: Bucket
) -> None:
    body = os.urandom(LARGEST_BODY + 1)
    with upload(body) as staged:
        with pytest.raises(Declined):
            await scene.writes.put(bucket, "o", staged)
        assert scene.way() == []
        await aistore.put(bucket, "o", staged)
    assert content(other, "o") == body


async def test_other_bytes_than_the_checksum_says_are_refused(
    scene: Scene, bucket: BucketName, aistore: AISStore
) -> None:
    with upload() as staged:
        wrong = Upload(staged.fd, staged.size, "0" * 16, ATTRIBUTES)
        with pytest.raises(Declined):
            await scene.writes.put(bucket, "o", wrong)
        with pytest.raises(IoFailure):
            await aistore.put(bucket, "o", wrong)
    with pytest.raises(NotFound):
        await aistore.head(bucket, "o")


async def test_bytes_that_are_there_already_get_their_attributes_all_the_same(
    bucket: BucketName, aistore: AISStore
) -> None:
    for attributes in ("1.a", "1.b"):
        info = await aistore.put_bytes(bucket, "link", b"target", attributes)
        assert info.attributes == attributes
        found = await aistore.head(bucket, "link")
        assert (found.attributes, found.identity) == (attributes, info.identity)


async def test_copies_are_made_on_the_cluster(
    scene: Scene, bucket: BucketName, other: Bucket
) -> None:
    await put(scene, bucket, "o")
    scene.way()
    await scene.writes.copy(bucket, "o", "copy é")
    assert scene.way() == ["target 200", "map"]
    assert content(other, "copy é") == BODY
    with pytest.raises(Declined):
        await scene.writes.copy(bucket, "o", "a?b")  # the cluster would copy to another name
    assert scene.way() == []


async def test_a_deletion_whose_answer_was_lost_is_done(
    cluster: StoreProcess, bucket: BucketName, other: Bucket
) -> None:
    store = connect(StoreConfig(cluster.endpoint))
    await store.cluster_uuid()
    await store.name_rules()
    for name in ("a", "b"):
        other.object(name).put_content(BODY)
    await store.delete(bucket, "a")
    placement = store._client.request_client.placement
    smap = placement._smap
    assert smap is not None
    placement.learn(msgspec.structs.replace(smap, version=smap.version - 1))
    await store.delete(bucket, "b")  # done, and not believed: the gateway finds nothing any more
    with pytest.raises(NotFound):
        await store.delete(bucket, "b")
    await store.close()


async def test_clusters_of_2023_take_them_as_well() -> None:
    with StoreProcess(extra=("--compat", "3.17")) as old:
        scene = Scene(old)
        await scene.learn()
        other = scene.client.bucket("b").create()
        bucket = BucketName("b")
        old.clear_requests()
        for name in ("a", "b", "c d%?é"):
            await put(scene, bucket, name)
            assert content(other, name) == BODY
        assert "target 200" in scene.way()
        with upload() as staged, pytest.raises(Declined):
            await scene.writes.put(bucket, "a&b", staged)  # would become another name
        await scene.writes.delete(bucket, "a")
        with pytest.raises(Declined):
            await scene.writes.copy(bucket, "b", "e")
        scene.nodes.close()


async def test_before_the_release_is_known_nothing_is_sent(
    cluster: StoreProcess, bucket: BucketName
) -> None:
    scene = Scene(cluster)
    cluster.clear_requests()
    with upload() as staged, pytest.raises(Declined):
        await scene.writes.put(bucket, "o", staged)
    assert scene.way() == []
    scene.nodes.close()


async def test_a_target_that_refuses_is_not_asked_again(
    scene: Scene, bucket: BucketName, other: Bucket
) -> None:
    await put(scene, bucket, "first")
    scene.way()
    scene.store.faults([{"action": "error", "status": 403, "role": "target", "times": 1}])
    await put(scene, bucket, "o")
    assert scene.way() == ["target 403", "gateway 307", "target 200"]
    await put(scene, bucket, "o", b"again")
    assert scene.way() == ["gateway 307", "target 200"]
    assert content(other, "o") == b"again"


def test_errors_of_both_ways_are_the_mounts() -> None:
    assert not issubclass(Declined, FsError)  # it must not reach a program
