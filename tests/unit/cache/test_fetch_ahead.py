from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from aisfs.cache.fetch_ahead import FetchAhead, Guess
from aisfs.cache.pages import PageCache
from aisfs.cache.readahead import AccessPattern
from aisfs.cache.reader import ContentReader
from aisfs.cache.room import CacheRoom

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisfs.config import BucketName
    from aisfs.store.aistore import AISStore
    from aisfs.store.interface import ObjectInfo
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

KIB = 1 << 10
MIB = 1 << 20


@asynccontextmanager
async def fetching(aistore: AISStore, memory: int = 16 * MIB) -> AsyncIterator[FetchAhead]:
    await aistore.cluster_uuid()
    async with trio.open_nursery() as nursery:
        yield FetchAhead(CacheRoom(aistore, PageCache(memory), nursery))
        nursery.cancel_scope.cancel()


async def files(
    aistore: AISStore, bucket: BucketName, other: Bucket, count: int, size: int = KIB
) -> dict[str, tuple[bytes, ObjectInfo]]:
    bodies = {f"f{index:03d}": os.urandom(size) for index in range(count)}
    for name, body in bodies.items():
        await trio.to_thread.run_sync(other.object(name).put_content, body)
    listing = await aistore.list(bucket, "", "", 1000, recursive=False)
    return {info.name: (bodies[info.name], info) for info in listing.objects}


async def settled(ahead: FetchAhead) -> None:
    with trio.fail_after(20):
        while ahead.busy:  # noqa: ASYNC110 - nobody is told when it rests
            await trio.sleep(0.01)


def gets(cluster: StoreProcess) -> int:
    return sum(
        entry["method"] == "GET" and entry["path"].startswith("/v1/objects/")
        for entry in cluster.requests()
    )


async def read(ahead: FetchAhead, bucket: BucketName, info: ObjectInfo) -> bytes:
    reader = ContentReader(ahead.room, bucket, info.name, info.identity)
    ahead.reads(reader.content)
    return bytes(await reader.read(0, MIB, AccessPattern(MIB)))


async def test_what_was_fetched_ahead_is_read_without_a_request(
    aistore: AISStore, bucket: BucketName, other: Bucket, cluster: StoreProcess
) -> None:
    made = await files(aistore, bucket, other, 40)
    async with fetching(aistore) as ahead:
        assert ahead.want(Guess(), bucket, [info for _, info in made.values()]) == 40
        await settled(ahead)
        cluster.clear_requests()
        for body, info in made.values():
            assert await read(ahead, bucket, info) == body
        assert gets(cluster) == 0
        assert (ahead.counts.fetched, ahead.counts.used) == (40, 40)
        assert ahead.room_left == 8 * MIB


async def test_a_reader_that_comes_meanwhile_waits_for_the_same_request(
    aistore: AISStore, bucket: BucketName, other: Bucket, cluster: StoreProcess
) -> None:
    made = await files(aistore, bucket, other, 8)
    cluster.faults([{"action": "delay", "seconds": 0.3, "method": "GET", "role": "target"}])
    cluster.clear_requests()
    async with fetching(aistore) as ahead:
        ahead.want(Guess(), bucket, [info for _, info in made.values()])
        await trio.testing.wait_all_tasks_blocked()
        for body, info in made.values():
            assert await read(ahead, bucket, info) == body
        assert gets(cluster) == 8


async def test_no_more_than_half_of_the_cache_is_taken(
    aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    made = await files(aistore, bucket, other, 60, 100 * KIB)
    async with fetching(aistore, 8 * MIB) as ahead:
        guess = Guess()
        taken = ahead.want(guess, bucket, [info for _, info in made.values()])
        assert taken == 4 * MIB // (100 * KIB)
        assert ahead.want(guess, bucket, [info for _, info in made.values()]) == 0
        await settled(ahead)
        assert ahead.counts.fetched == taken
        ahead.give_up(guess)
        assert ahead.counts.dropped == taken
        assert ahead.room_left == 4 * MIB
        assert ahead.room.pages.used == 0


async def test_a_guess_that_is_given_up_asks_for_nothing_more(
    aistore: AISStore, bucket: BucketName, other: Bucket, cluster: StoreProcess
) -> None:
    made = await files(aistore, bucket, other, 30)
    cluster.clear_requests()
    async with fetching(aistore) as ahead:
        guess = Guess()
        ahead.want(guess, bucket, [info for _, info in made.values()])
        ahead.give_up(guess)
        await settled(ahead)
        assert gets(cluster) == 0
        assert ahead.room_left == 8 * MIB


async def test_what_changed_or_went_is_passed_over(
    aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    made = await files(aistore, bucket, other, 20)
    await trio.to_thread.run_sync(other.object("f003").delete)
    await trio.to_thread.run_sync(other.object("f004").put_content, b"another")
    async with fetching(aistore) as ahead:
        ahead.want(Guess(), bucket, [info for _, info in made.values()])
        await settled(ahead)
        assert ahead.counts.failed >= 2
        assert ahead.counts.fetched + ahead.counts.failed == 20
        for name, (body, info) in made.items():
            if name not in {"f003", "f004"}:
                assert await read(ahead, bucket, info) == body


async def test_damage_on_the_way_never_reaches_a_reader(
    aistore: AISStore, bucket: BucketName, other: Bucket, cluster: StoreProcess
) -> None:
    made = await files(aistore, bucket, other, 30)
    for action in ("corrupt", "cut", "wrong-checksum", "error"):
        rule = {"method": "GET", "role": "target", "action": action, "after_bytes": 500}
        cluster.faults([{**rule, "probability": 0.3, "seed": 5}])
        async with fetching(aistore) as ahead:
            ahead.want(Guess(), bucket, [info for _, info in made.values()])
            await settled(ahead)
            assert cluster.struck() > 0
            assert ahead.counts.failed > 0
            cluster.clear_faults()
            for body, info in made.values():
                assert await read(ahead, bucket, info) == body


async def test_what_is_kept_needs_no_reader_and_takes_no_room_of_guesses(
    aistore: AISStore, bucket: BucketName, other: Bucket, cluster: StoreProcess
) -> None:
    made = await files(aistore, bucket, other, 20)
    async with fetching(aistore) as ahead:
        guess = Guess()
        ahead.want(guess, bucket, [info for _, info in made.values()])
        await settled(ahead)
        ahead.keep(guess)
        ahead.give_up(guess)  # nothing is left to be given up
        assert ahead.room_left == 8 * MIB
        assert (ahead.counts.used, ahead.counts.dropped) == (0, 0)
        cluster.clear_requests()
        for body, info in made.values():
            assert await read(ahead, bucket, info) == body
        assert gets(cluster) == 0


async def test_a_group_that_nobody_wants_any_more_is_left(
    aistore: AISStore, bucket: BucketName, other: Bucket, cluster: StoreProcess
) -> None:
    made = await files(aistore, bucket, other, 64)
    cluster.clear_requests()
    cluster.faults([{"action": "delay", "seconds": 0.2, "method": "GET", "role": "target"}])
    async with fetching(aistore) as ahead:
        guess = Guess()
        ahead.want(guess, bucket, [info for _, info in made.values()])
        while not ahead.counts.fetched:  # noqa: ASYNC110 - nobody is told of the first
            await trio.sleep(0.01)
        ahead.give_up(guess)
        await settled(ahead)
        assert gets(cluster) < 48
        assert ahead.counts.failed == 0
        assert ahead.room_left == 8 * MIB
    cluster.clear_faults()
