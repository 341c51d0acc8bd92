from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from aisfs.cache.pages import PAGE_SIZE, PageCache
from aisfs.cache.readahead import AccessPattern
from aisfs.cache.reader import PAGES_BEHIND, ContentReader
from aisfs.cache.room import MAX_PARALLEL, CacheRoom
from aisfs.errors import Corrupt, IoFailure, Stale, TimedOut
from aisfs.store.interface import Identity

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from aisfs.config import BucketName
    from aisfs.store.aistore import AISStore
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

KIB = 1 << 10
TRIES_OF_SDK = 3
MIB = 1 << 20
WINDOW = 4 * MIB


class Reading:
    """One open file: its reader and how it is being read."""

    def __init__(self, reader: ContentReader) -> None:
        self.reader = reader
        self.pattern = AccessPattern(WINDOW)

    async def at(self, offset: int, size: int) -> bytes:
        view = self.reader.read_at_once(offset, size, self.pattern)
        if view is None:
            return bytes(await self.reader.read(offset, size, self.pattern))
        return bytes(view)

    async def all(self, step: int = 128 * KIB) -> bytes:
        parts = []
        offset = 0
        while part := await self.at(offset, step):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)


@asynccontextmanager
async def room(aistore: AISStore, memory: int = 16 * MIB) -> AsyncIterator[CacheRoom]:
    async with trio.open_nursery() as nursery:
        yield CacheRoom(aistore, PageCache(memory), nursery)
        nursery.cancel_scope.cancel()


class Place:
    """Makes objects and readers of them."""

    def __init__(self, cache: CacheRoom, bucket: BucketName, other: Bucket) -> None:
        self.cache = cache
        self._bucket = bucket
        self._other = other

    async def put(self, body: bytes) -> ContentReader:
        """Store an object and return a reader of that content."""
        await trio.to_thread.run_sync(self._other.object("o").put_content, body)
        return await self.reader()

    async def reader(self) -> ContentReader:
        """Return a reader of the present content, with nothing cached."""
        info = await self.cache.store.head(self._bucket, "o")
        return ContentReader(self.cache, self._bucket, "o", info.identity)


@pytest.fixture
async def place(aistore: AISStore, bucket: BucketName, other: Bucket) -> AsyncIterator[Place]:
    async with room(aistore) as cache:
        yield Place(cache, bucket, other)


def gets(cluster: StoreProcess) -> list[dict[str, object]]:
    """Return the GETs of objects that targets answered."""
    return [r for r in cluster.requests() if is_get(r)]


def is_get(request: dict[str, object]) -> bool:
    return (
        request["method"] == "GET"
        and str(request["path"]).startswith("/v1/objects/")
        and int(str(request["status"])) < 300
    )


# -- bytes


@pytest.mark.parametrize(
    "size", [0, 1, 128 * KIB, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 5 * MIB]
)
@pytest.mark.parametrize("step", [100_000, 3 * MIB])
async def test_a_sequential_read_brings_the_whole(place: Place, size: int, step: int) -> None:
    body = os.urandom(size)
    assert await Reading(await place.put(body)).all(step) == body


async def test_reads_anywhere_bring_those_bytes(place: Place, seeded: random.Random) -> None:
    body = os.urandom(7 * MIB + 123)
    reading = Reading(await place.put(body))
    for _ in range(60):
        offset = seeded.randrange(len(body) + 10)
        size = seeded.choice([1, 4 * KIB, 128 * KIB, 2 * MIB])
        assert await reading.at(offset, size) == body[offset : offset + size]


async def test_read_past_the_end_returns_short(place: Place) -> None:
    reading = Reading(await place.put(b"abc"))
    assert await reading.at(1, 100) == b"bc"
    assert await reading.at(3, 100) == b""
    assert await reading.at(1 << 40, 100) == b""


async def test_a_file_larger_than_the_memory(
    aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    body = os.urandom(12 * MIB)
    async with room(aistore, 4 * MIB) as cache:
        reading = Reading(await Place(cache, bucket, other).put(body))
        assert await reading.all(512 * KIB) == body
        assert cache.pages.used <= cache.pages.capacity
        assert await reading.all(512 * KIB) == body


async def test_many_readers_share_a_small_memory(
    aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    body = os.urandom(6 * MIB)
    async with room(aistore, 4 * MIB) as cache:
        reader = await Place(cache, bucket, other).put(body)
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                assert await Reading(reader).all(256 * KIB) == body

            for _ in range(6):
                nursery.start_soon(read)


# -- what is asked for


async def test_what_is_cached_is_not_asked_for_again(cluster: StoreProcess, place: Place) -> None:
    body = os.urandom(5 * MIB)
    reader = await place.put(body)
    await Reading(reader).all()
    await reader.close_streams()
    cluster.clear_requests()
    assert await Reading(reader).all() == body
    assert gets(cluster) == []


async def test_a_sequential_read_is_a_page_and_one_stream(
    cluster: StoreProcess, place: Place, near: None
) -> None:
    reader = await place.put(os.urandom(8 * MIB))
    await Reading(reader).all()
    assert len(gets(cluster)) <= 2


async def test_two_readers_of_one_page_cause_one_get(cluster: StoreProcess, place: Place) -> None:
    body = os.urandom(MIB)
    reader = await place.put(body)
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            assert await Reading(reader).all() == body

        for _ in range(8):
            nursery.start_soon(read)
    assert len(gets(cluster)) == 1


async def test_a_look_into_the_head_fetches_a_page(cluster: StoreProcess, place: Place) -> None:
    reader = await place.put(os.urandom(32 * MIB))
    await Reading(reader).at(0, 4 * KIB)
    await reader.close_streams()
    assert sum(int(str(r["sent"])) for r in gets(cluster)) <= PAGE_SIZE


async def test_a_first_page_that_was_begun_is_fetched_once(
    cluster: StoreProcess, place: Place
) -> None:
    body = os.urandom(MIB)
    reader = await place.put(body)
    reader.begin()
    reader.begin()
    assert await Reading(reader).all() == body
    reader.begin()
    await trio.testing.wait_all_tasks_blocked()
    assert len(gets(cluster)) == 1


async def test_what_went_wrong_with_a_begun_page_is_asked_again(
    cluster: StoreProcess, place: Place
) -> None:
    body = os.urandom(MIB)
    reader = await place.put(body)
    cluster.faults(
        [{"action": "cut", "after_bytes": 0, "method": "GET", "path": "/o$", "times": 1}]
    )
    reader.begin()
    assert await Reading(reader).all() == body


async def test_random_reads_fetch_about_what_was_asked(
    cluster: StoreProcess, place: Place, seeded: random.Random
) -> None:
    body = os.urandom(32 * MIB)
    reader = await place.put(body)
    reading = Reading(reader)
    offsets = [seeded.randrange(MIB, 31 * MIB) for _ in range(50)]
    for offset in offsets:
        assert await reading.at(offset, 4 * KIB) == body[offset : offset + 4 * KIB]
    await reader.close_streams()
    assert sum(int(str(r["sent"])) for r in gets(cluster)) <= 3 * 50 * 4 * KIB


# -- distance


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no answer count as late, however slow the machine is."""
    monkeypatch.setattr("aisfs.cache.room.STREAM_REACH_S", 60.0)


@pytest.fixture
def far(cluster: StoreProcess) -> list[dict[str, object]]:
    """Let every answer come late; return the rule, for those who need others, too."""
    rules: list[dict[str, object]] = [
        {"action": "delay", "seconds": 0.1, "method": "GET", "path": "/o$", "role": "target"}
    ]
    cluster.faults(rules)
    return rules


@pytest.mark.usefixtures("far")
async def test_several_streams_where_answers_come_late(cluster: StoreProcess, place: Place) -> None:
    body = os.urandom(14 * MIB + 1000)
    reader = await place.put(body)
    reading = Reading(reader)
    assert await reading.at(0, MIB) == body[:MIB]
    most, offset = 0, MIB
    while part := await reading.at(offset, 256 * KIB):
        assert part == body[offset : offset + 256 * KIB]
        offset += len(part)
        most = max(most, reader.room.streams)
    assert offset == len(body)
    assert 1 < most <= MAX_PARALLEL + 1
    assert reader.checksum.at == len(body)


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("at", [0, 70_000])
async def test_a_bit_that_flips_in_one_of_several_streams_is_found(
    cluster: StoreProcess, place: Place, far: list[dict[str, object]], at: int
) -> None:
    body = os.urandom(10 * MIB)
    reader = await place.put(body)
    reading = Reading(reader)
    await reading.at(0, MIB)
    await reading.at(MIB, MIB)
    corrupt = {"action": "corrupt", "method": "GET", "role": "target", "path": "/o$"}
    cluster.faults([{**corrupt, "after_bytes": at, "times": 1}, *far])
    with pytest.raises(Corrupt):
        await reading.all()


# -- failures


async def test_a_body_cut_in_the_middle_is_resumed(cluster: StoreProcess, place: Place) -> None:
    body = os.urandom(5 * MIB)
    reader = await place.put(body)
    cut = {"action": "cut", "method": "GET", "role": "target", "path": "/o$"}
    cluster.faults([{**cut, "after_bytes": size, "times": 1} for size in (200_000, 10, 700_000)])
    assert await Reading(reader).all() == body


async def test_a_random_read_that_is_cut_is_resumed(cluster: StoreProcess, place: Place) -> None:
    body = os.urandom(20 * MIB)
    reading = Reading(await place.put(body))
    await reading.at(0, 10)
    cut = {"action": "cut", "method": "GET", "role": "target", "path": "/o$"}
    cluster.faults([{**cut, "after_bytes": 40_000, "times": 2}])
    assert await reading.at(15 * MIB, 100_000) == body[15 * MIB : 15 * MIB + 100_000]


async def test_a_body_that_never_comes_is_an_error_and_not_a_wait(
    cluster: StoreProcess, place: Place
) -> None:
    reader = await place.put(os.urandom(2 * MIB))
    cluster.faults([{"action": "cut", "after_bytes": 0, "method": "GET", "path": "/o$"}])
    with pytest.raises(IoFailure):
        await Reading(reader).all()
    cluster.clear_faults()
    assert len(await Reading(reader).all()) == 2 * MIB


@pytest.mark.parametrize("size", [MIB, 3 * MIB])
async def test_a_request_that_the_sdk_gave_up_is_not_made_again(
    cluster: StoreProcess, place: Place, size: int
) -> None:
    reader = await place.put(os.urandom(size))
    cluster.faults([{"action": "error", "status": 502, "method": "GET", "path": "/o$"}])
    with pytest.raises(IoFailure):
        await Reading(reader).all()
    assert cluster.struck() <= TRIES_OF_SDK + 1  # once straight, then as often as the SDK does


async def test_a_stalled_body_ends_in_an_error_for_every_reader(
    cluster: StoreProcess, place: Place
) -> None:
    reader = await place.put(os.urandom(MIB))
    stall = {"action": "stall", "seconds": 60, "after_bytes": 100, "role": "target"}
    cluster.faults([{**stall, "method": "GET", "path": "/o$"}])
    started = time.monotonic()
    failures = []
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(TimedOut):
                await Reading(reader).all()
            failures.append(1)

        for _ in range(3):
            nursery.start_soon(read)
    assert len(failures) == 3
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("at", [0, 70_000, 3 * MIB - 1])
async def test_a_corrupted_body_is_an_error_that_stays(
    cluster: StoreProcess, place: Place, at: int
) -> None:
    body = os.urandom(3 * MIB)
    reader = await place.put(body)
    corrupt = {"action": "corrupt", "method": "GET", "role": "target", "path": "/o$"}
    cluster.faults([{**corrupt, "after_bytes": at, "times": 1}])
    reading = Reading(reader)
    reading.pattern.observe(0, 1)
    reading.pattern.observe(0, 1)  # one GET of the whole
    with pytest.raises(Corrupt):
        await reading.all()
    for offset in (0, 70_000, 2 * MIB, 3 * MIB - 10):
        with pytest.raises(Corrupt):
            await Reading(reader).at(offset, 100)
    assert await Reading(await place.reader()).all() == body


async def test_a_small_corrupted_file_is_never_shown(cluster: StoreProcess, place: Place) -> None:
    reader = await place.put(os.urandom(10_000))
    corrupt = {"action": "corrupt", "method": "GET", "role": "target", "path": "/o$"}
    cluster.faults([{**corrupt, "after_bytes": 5000}])
    for _ in range(3):
        with pytest.raises(Corrupt):
            await Reading(reader).at(0, 10_000)


async def test_reading_in_pieces_makes_no_false_alarm(
    cluster: StoreProcess, place: Place, seeded: random.Random
) -> None:
    """The running checksum sees streams that start, end, are torn and overlap."""
    body = os.urandom(6 * MIB)
    reader = await place.put(body)
    for _ in range(12):
        cut = {"action": "cut", "method": "GET", "role": "target", "path": "/o$", "times": 1}
        cluster.faults([{**cut, "after_bytes": seeded.randrange(3 * MIB)}])
        assert await Reading(reader).all(seeded.choice([128 * KIB, MIB])) == body
        reader.rest()
        reader.room.pages.discard((reader.content, seeded.randrange(6)))
        reader.room.pages.discard((reader.content, 0))
        await reader.close_streams()


# -- other versions


@pytest.mark.parametrize("size", [1000, 5 * MIB])
async def test_an_object_of_which_only_the_size_is_known(place: Place, size: int) -> None:
    body = os.urandom(size)
    known = await place.put(body)
    bare = Identity(size)
    reader = ContentReader(known.room, known.bucket, "o", bare)
    assert await Reading(reader).all() == body
    await place.put(os.urandom(size + 1))
    with pytest.raises(Stale):
        await Reading(ContentReader(known.room, known.bucket, "o", bare)).all()


async def test_an_object_overwritten_between_two_reads_is_stale(place: Place) -> None:
    body = os.urandom(8 * MIB)
    reader = await place.put(body)
    reading = Reading(reader)
    assert await reading.at(0, 4 * KIB) == body[: 4 * KIB]
    await reader.close_streams()
    await place.put(os.urandom(8 * MIB))
    assert await reading.at(0, 4 * KIB) == body[: 4 * KIB]  # cached
    with pytest.raises(Stale):
        await reading.at(4 * MIB, 4 * KIB)
    with pytest.raises(Stale):
        await reading.at(5 * MIB, 2 * MIB)


async def test_no_reader_ever_gets_a_mixture(place: Place, seeded: random.Random) -> None:
    size = 3 * MIB
    reader = await place.put(b"\0" * size)
    for generation in range(1, 6):
        old = Reading(reader)
        seen = {(await old.at(seeded.randrange(size), 4 * KIB))[:1]}
        reader = await place.put(bytes([generation]) * size)
        for _ in range(10):
            try:
                seen.add((await old.at(seeded.randrange(size - 1), 1))[:1])
            except Stale:
                continue
        assert seen == {bytes([generation - 1])}


async def test_a_deleted_object_is_stale(place: Place, other: Bucket) -> None:
    reader = await place.put(os.urandom(100))
    await trio.to_thread.run_sync(other.object("o").delete)
    with pytest.raises(Stale):
        await Reading(reader).all()


# -- ends of streams


async def test_a_stream_without_grants_closes(cluster: StoreProcess, place: Place) -> None:
    """On the cluster a stalled reader blocks the writers of its object."""
    body = os.urandom(12 * MIB)
    reader = await place.put(body)
    reading = Reading(reader)
    for index in range(3):
        await reading.at(index * MIB, MIB)
    assert place.cache.streams >= 1  # more where answers take long to come
    with trio.fail_after(10):
        for stream in tuple(reader._streams):
            await stream.done.wait()
    assert place.cache.streams == 0
    assert await reading.at(3 * MIB, 9 * MIB) == body[3 * MIB :]


async def test_close_streams_really_ends_gets(cluster: StoreProcess, place: Place) -> None:
    reader = await place.put(os.urandom(12 * MIB))
    stall = {"action": "stall", "seconds": 60, "after_bytes": 2 * MIB, "role": "target"}
    cluster.faults([{**stall, "method": "GET", "path": "/o$"}])
    reading = Reading(reader)
    for index in range(2):
        await reading.at(index * MIB, MIB)
    assert place.cache.streams
    with trio.fail_after(20):
        await reader.close_streams()
    assert place.cache.streams == 0


async def test_a_reader_goes_on_after_its_streams_were_closed(place: Place) -> None:
    body = os.urandom(6 * MIB)
    reader = await place.put(body)
    reading = Reading(reader)
    parts = []
    for index in range(12):
        parts.append(await reading.at(index * MIB // 2, MIB // 2))
        await reader.close_streams()
    assert b"".join(parts) == body


async def test_drop_frees_the_memory(place: Place) -> None:
    reader = await place.put(os.urandom(5 * MIB))
    await Reading(reader).all()
    await reader.close_streams()
    reader.drop()
    assert place.cache.pages.used == 0


async def test_what_the_only_reader_of_a_very_large_file_has_passed_is_let_go(
    place: Place, seeded: random.Random
) -> None:
    body = seeded.randbytes(14 * MIB)  # the memory has 16
    reader = await place.put(body)
    reader.users = 1
    assert await Reading(reader).all() == body
    kept = sum(place.cache.pages.peek((reader.content, index)) is not None for index in range(14))
    assert 0 < kept <= PAGES_BEHIND + 1


async def test_what_others_still_read_or_fits_is_kept(place: Place, seeded: random.Random) -> None:
    for size, users in ((14 * MIB, 2), (7 * MIB, 1)):
        body = seeded.randbytes(size)
        reader = await place.put(body)
        reader.users = users
        assert await Reading(reader).all() == body
        for index in range(size // MIB):
            assert place.cache.pages.peek((reader.content, index)) is not None
        reader.drop()
