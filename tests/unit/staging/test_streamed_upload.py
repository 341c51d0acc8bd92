from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from aisfs.errors import NotFound
from aisfs.staging import streamed_upload
from aisfs.staging.quota import Quota
from aisfs.staging.staged_file import StagedFile
from aisfs.staging.streamed_upload import LIMIT, STARTS, STEP, GaveUpError, Streams, _Feed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aisfs.config import BucketName
    from aisfs.store.aistore import AISStore
    from aisfs_sdk import Bucket

AFTER = 2 * STEP


@pytest.fixture
async def streams(aistore: AISStore, bucket: BucketName, nursery: trio.Nursery) -> Streams:
    await aistore.bucket(bucket)  # as a mount does: the kind of its checksums is known
    return Streams(aistore, nursery, AFTER)


@pytest.fixture
async def staged(tmp_path: Path) -> AsyncIterator[StagedFile]:
    file = StagedFile(tmp_path / "f", Quota(1 << 30), None)
    yield file
    file.close()


async def test_nothing_is_begun_before_enough_was_written(
    streams: Streams, staged: StagedFile, bucket: BucketName
) -> None:
    await staged.write(0, bytes(AFTER - 1))
    streams.follow(staged, bucket, "o")
    assert staged.stream is None
    await staged.write(AFTER - 1, b"1")
    streams.follow(staged, bucket, "o")
    assert staged.stream is not None


async def test_what_is_not_in_order_does_not_count(
    streams: Streams, staged: StagedFile, bucket: BucketName
) -> None:
    await staged.write(10, bytes(AFTER))
    streams.follow(staged, bucket, "o")
    assert staged.stream is None


async def test_it_is_stored_by_the_end_alone(
    streams: Streams, staged: StagedFile, bucket: BucketName, other: Bucket
) -> None:
    body = os.urandom(3 * STEP + 5)
    await staged.write(0, body[:AFTER])
    streams.follow(staged, bucket, "o")
    stream = staged.stream
    assert stream is not None
    await staged.write(AFTER, body[AFTER:])
    assert await stream.send_rest(len(body))
    assert list(other.list_all_objects()) == []
    info = await stream.finish()
    assert info is not None
    assert info.identity.checksum == await staged.complete()
    assert other.object("o").get().read_all() == body


@pytest.mark.parametrize("how", ["overwrite", "truncate", "close", "give up"])
async def test_it_is_never_ended_after_the_sent_bytes_changed(
    streams: Streams,
    staged: StagedFile,
    bucket: BucketName,
    other: Bucket,
    how: str,
) -> None:
    await staged.write(0, bytes(AFTER))
    streams.follow(staged, bucket, "o")
    stream = staged.stream
    assert stream is not None
    if how == "overwrite":
        await staged.write(5, b"x")
    elif how == "truncate":
        await staged.truncate(5)
    elif how == "close":
        staged.close()
    else:
        staged.end_stream()
    assert stream.given_up
    assert not await stream.send_rest(AFTER)
    assert await stream.finish() is None
    assert list(other.list_all_objects()) == []


async def test_it_ends_with_the_nursery(
    aistore: AISStore, staged: StagedFile, bucket: BucketName, other: Bucket
) -> None:
    await aistore.bucket(bucket)
    async with trio.open_nursery() as nursery:
        await staged.write(0, bytes(AFTER))
        Streams(aistore, nursery, AFTER).follow(staged, bucket, "o")
        await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
    assert staged.stream is not None
    assert staged.stream.given_up
    assert list(other.list_all_objects()) == []


async def test_one_file_is_begun_a_few_times_only(
    streams: Streams, staged: StagedFile, bucket: BucketName
) -> None:
    await staged.write(0, bytes(AFTER))
    for _ in range(STARTS + 2):
        staged.end_stream()
        streams.follow(staged, bucket, "o")
    assert staged.streams == STARTS
    assert staged.stream is None


async def test_not_too_many_run_at_once(
    streams: Streams, bucket: BucketName, tmp_path: Path
) -> None:
    files = [StagedFile(tmp_path / str(n), Quota(1 << 30), None) for n in range(LIMIT + 1)]
    for number, file in enumerate(files):
        await file.write(0, bytes(AFTER))
        streams.follow(file, bucket, f"o{number}")
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert [file.stream is not None for file in files] == [True] * LIMIT + [False]
    for file in files:
        file.close()


async def test_a_renamed_file_is_begun_anew(
    streams: Streams, staged: StagedFile, bucket: BucketName, other: Bucket
) -> None:
    await staged.write(0, bytes(AFTER))
    streams.follow(staged, bucket, "o")
    first = staged.stream
    assert first is not None
    streams.follow(staged, bucket, "p")
    assert first.given_up
    assert staged.stream is not None
    assert await staged.stream.send_rest(AFTER)
    assert await staged.stream.finish() is not None
    assert [entry.name for entry in other.list_all_objects()] == ["p"]


async def test_a_missing_bucket_ends_it(
    streams: Streams, staged: StagedFile, bucket: BucketName, other: Bucket
) -> None:
    other.delete()
    await staged.write(0, bytes(AFTER))
    streams.follow(staged, bucket, "o")
    assert staged.stream is not None
    assert not await staged.stream.send_rest(AFTER)
    with pytest.raises(NotFound):
        await streams._store.head(bucket, "o")


# -- how far it may be sent


async def test_it_waits_for_a_step_or_for_the_end(nursery: trio.Nursery) -> None:
    feed = _Feed()
    told, answers = trio.open_memory_channel[int | None](1)

    async def ask(sent: int) -> None:
        await told.send(await trio.to_thread.run_sync(feed.available, sent))

    with trio.fail_after(5):
        nursery.start_soon(ask, 0)
        feed.advance(STEP - 1)
        await trio.sleep(0.1)
        assert answers.statistics().current_buffer_used == 0
        feed.advance(STEP + 1)
        assert await answers.receive() == STEP + 1
        nursery.start_soon(feed.all_sent, STEP + 3)
        nursery.start_soon(ask, STEP + 1)
        assert await answers.receive() == STEP + 3
        nursery.start_soon(ask, STEP + 3)
        await feed._reached.wait()
        assert answers.statistics().current_buffer_used == 0
        feed.end()
        assert await answers.receive() is None


async def test_a_slow_writer_is_sent_for_in_smaller_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamed_upload, "PAUSE_S", 0.05)
    feed = _Feed()
    feed.advance(3)
    assert await trio.to_thread.run_sync(feed.available, 0) == 3
    with pytest.raises(GaveUpError, match="nothing was written"):
        await trio.to_thread.run_sync(feed.available, 3)
