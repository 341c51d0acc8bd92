"""Caps on bytes and requests: by a clock that jumps, and on bodies that are really moved."""

from __future__ import annotations

import io
import os
import tarfile
import time
from typing import TYPE_CHECKING

import pytest
import trio
import xxhash

from aisfs.config import StoreConfig
from aisfs.store.aistore import connect
from aisfs.store.cluster_work import Place
from aisfs.store.interface import Piece, Tail, Upload
from aisfs.store.pace import Cap, Pace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aisfs.config import BucketName
    from aisfs.store.aistore import AISStore
    from aisfs.store.interface import Identity
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

MIB = 1 << 20


async def seconds_for(cap: Cap, *amounts: float) -> list[float]:
    """Take amounts one after the other, and return when each had passed."""
    began, passed = trio.current_time(), []
    for amount in amounts:
        await cap.take(amount)
        passed.append(trio.current_time() - began)
    return passed


def roughly(*seconds: float) -> object:
    return pytest.approx(list(seconds), abs=1e-3)


async def test_the_first_passes_at_once_and_the_next_when_it_is_paid(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert await seconds_for(Cap(10), 21, 10, 5, 1) == roughly(0, 2, 3, 3.5)


async def test_little_is_saved_in_a_pause(autojump_clock: trio.testing.MockClock) -> None:
    cap = Cap(100)
    await cap.take(1)
    await trio.sleep(3600)
    assert await seconds_for(cap, 60, 50, 1) == roughly(0, 0.5, 1)


async def test_each_has_his_turn_in_the_order_of_arrival(
    autojump_clock: trio.testing.MockClock,
) -> None:
    cap, passed = Cap(10), []

    async def want(name: str, amount: float) -> None:
        await cap.take(amount)
        passed.append((name, round(trio.current_time() - began, 2)))

    await cap.take(11)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for name, amount in (("large", 50), ("small", 1), ("last", 1)):
            nursery.start_soon(want, name, amount)
            await trio.testing.wait_all_tasks_blocked()
    assert passed == [("large", 1.0), ("small", 6.0), ("last", 6.1)]


async def test_who_gives_up_has_taken_nothing(autojump_clock: trio.testing.MockClock) -> None:
    cap = Cap(10)
    await cap.take(21)
    began = trio.current_time()
    with trio.move_on_after(1):
        await cap.take(1000)
    await cap.take(1)
    assert trio.current_time() - began == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize(("rate", "expected"), [(100, 1.9), (5, 19), (0, 1)])
async def test_another_rate_holds_for_those_who_wait(
    rate: int, expected: float, autojump_clock: trio.testing.MockClock
) -> None:
    """Of 100 units that are owed, 10 are paid in the first second."""
    cap = Cap(10)
    await cap.take(101)
    began = trio.current_time()

    async def change() -> None:
        await trio.sleep(1)
        cap.change(rate)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        await cap.take(1)
    assert trio.current_time() - began == pytest.approx(expected, abs=1e-3)


async def test_a_cap_that_comes_later_counts_nothing_of_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert not Pace().holds
    pace = Pace()
    await pace.let_pass(1 << 40)
    pace.change(10, 0)
    assert pace.holds
    began = trio.current_time()
    await pace.let_pass(10)
    await pace.let_pass(10)
    assert trio.current_time() - began == pytest.approx(1, abs=1e-3)


async def test_requests_and_bytes_are_counted_each_for_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pace = Pace(rate=1000, requests=10)
    began = trio.current_time()
    for _ in range(21):
        await pace.let_pass()
    assert trio.current_time() - began == pytest.approx(1.9, abs=0.1)
    await pace.let_pass(2001)
    began = trio.current_time()
    await pace.let_pass(1)
    assert trio.current_time() - began == pytest.approx(2, abs=0.1)


async def test_threads_stand_in_the_same_queue() -> None:
    pace = Pace(rate=10 * MIB)
    began = time.monotonic()

    def take() -> int:
        left = pieces = MIB
        pieces = 0
        while left:
            left -= pace.let_pass_in_thread(left)
            pieces += 1
        return pieces

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, take)
        nursery.start_soon(pace.let_pass, MIB)
        assert await trio.to_thread.run_sync(take) > 1  # a long body is no long wait for others
    await pace.let_pass(1)
    assert time.monotonic() - began > 0.15


@pytest.mark.parametrize(
    ("rate", "requests", "sizes", "count"),
    [
        (0, 0, [MIB] * 100, 100),
        (100 * MIB, 0, [MIB] * 100, 5),
        (MIB, 0, [MIB] * 100, 1),
        (0, 100, [1] * 100, 5),
        (0, 1, [1] * 100, 1),
        (100 * MIB, 40, [MIB] * 100, 2),
        (1, 1, [], 0),
    ],
)
def test_what_is_sent_together_keeps_others_waiting_for_little(
    rate: int, requests: int, sizes: list[int], count: int
) -> None:
    assert Pace(rate, requests).turn(sizes) == count


# -- bodies

RATE = 4 * MIB


@pytest.fixture
async def slow(cluster: StoreProcess) -> AsyncIterator[AISStore]:
    """Return a store that moves little in a second."""
    made = connect(StoreConfig(cluster.endpoint, max_rate=RATE))
    await made.cluster_uuid()
    yield made
    await made.close()


class Sink:
    """Takes a body, and forgets it."""

    def __init__(self) -> None:
        self.received = 0
        self._room = memoryview(bytearray(MIB))

    def opened(self, identity: Identity, abort: object) -> None:
        """Take note of nothing."""

    def buffer(self) -> memoryview | None:
        return self._room

    def filled(self, size: int) -> None:
        self.received += size


async def test_bodies_that_are_read_keep_to_the_cap(
    slow: AISStore, bucket: BucketName, other: Bucket
) -> None:
    await trio.to_thread.run_sync(other.object("o").put_content, bytes(4 * MIB))
    identity = (await slow.head(bucket, "o")).identity
    sink, began = Sink(), time.monotonic()
    await slow.stream(bucket, "o", 0, 4 * MIB, identity, sink)
    assert sink.received == 4 * MIB
    piece = memoryview(bytearray(MIB))
    for start in range(0, 4 * MIB, MIB):
        await slow.fill(bucket, "o", start, identity, piece)
    assert time.monotonic() - began > 1.5


async def test_who_reads_does_not_wait_for_all_that_is_fetched_ahead(
    slow: AISStore, bucket: BucketName, other: Bucket
) -> None:
    for number in range(16):
        await trio.to_thread.run_sync(other.object(f"o{number}").put_content, bytes(MIB))
    infos = [await slow.head(bucket, f"o{number}") for number in range(16)]
    await slow.fill(
        bucket, "o0", 0, infos[0].identity, memoryview(bytearray(MIB))
    )  # a gateway lets us
    pieces = [Piece(bucket, info, memoryview(bytearray(MIB))) for info in infos]
    filled: list[Piece] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow.fill_many, pieces, lambda piece, info: filled.append(piece))
        await trio.sleep(0.5)
        began = time.monotonic()
        await slow.fill(bucket, "o1", 0, infos[1].identity, memoryview(bytearray(MIB)))
        assert time.monotonic() - began < 2
        assert len(filled) < 8
    assert len(filled) == 16


async def test_bodies_that_are_written_keep_to_the_cap(
    slow: AISStore, bucket: BucketName, tmp_path: Path
) -> None:
    body = os.urandom(4 * MIB)
    staged = tmp_path / "staged"
    staged.write_bytes(body)
    checksum = xxhash.xxh64(body).hexdigest()
    with staged.open("rb") as file:
        began = time.monotonic()
        await slow.put(bucket, "large", Upload(file.fileno(), len(body), checksum, ""))
        upload = await slow.parts.begin(bucket, "in-parts")
        await slow.parts.send(upload, 1, Tail(file.fileno(), 0, len(body)))
        await slow.parts.abort(upload)
        for number in range(2):
            await slow.put_bytes(bucket, f"small{number}", body[:MIB], "")
        assert time.monotonic() - began > 2.0


async def test_what_is_appended_to_a_shard_keeps_to_the_cap(
    slow: AISStore, bucket: BucketName, other: Bucket
) -> None:
    """The shard comes here, and goes back."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo("m")
        info.size = 3 * MIB
        tar.addfile(info, io.BytesIO(bytes(3 * MIB)))
    for name, body in (("s.tar", made.getvalue()), ("f", b"f")):
        await trio.to_thread.run_sync(other.object(name).put_content, body)
    began = time.monotonic()
    await slow.work.append(Place(bucket, "s.tar"), Place(bucket, "f"), "f")
    assert time.monotonic() - began > 1.2


async def test_requests_keep_to_the_cap(cluster: StoreProcess, bucket: BucketName) -> None:
    store = connect(StoreConfig(cluster.endpoint, max_requests=10))
    try:
        began = time.monotonic()
        for _ in range(8):
            await store.list(bucket, "", "", 0, recursive=False)
        assert time.monotonic() - began > 0.5
    finally:
        await store.close()
