"""Filling the cache through the control file `warm`, without a kernel."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from aisfs.config import BucketName, Source, StoreConfig
from aisfs.errors import Busy, NoSpace, TimedOut
from aisfs.store.aistore import connect
from aisfs.vfs.nodes import ROOT
from aisfs.vfs.path_tasks import MAX_TASKS, MOST_TEXT
from aisfs_sdk import Client
from tests.support.filesystem import ME, Shell, filesystem
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aisfs.vfs.handles import Fh
    from aisfs_sdk import Bucket

MIB = 1 << 20


async def open_warm(shell: Shell) -> Fh:
    directory = await shell.fs.lookup(ROOT, b".aisfs")
    node = await shell.fs.lookup(directory.ino, b"warm")
    opened = await shell.fs.open_control(node.ino, os.O_RDWR, ME)
    assert opened is not None
    return opened[0]


async def told(shell: Shell, fh: Fh, offset: int = 0) -> dict[str, str]:
    """Return what a handle tells; the last failure by its path."""
    text = bytes(await shell.fs.read(fh, offset, MIB)).decode()
    rows = [line.split("\t") for line in text.splitlines()]
    return {row[1] if row[0] == "failure" else row[0]: row[-1] for row in rows}


async def once(shell: Shell, fh: Fh, reached: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """Return what a handle tells once that is so."""
    with trio.fail_after(30):
        while not reached(figures := await told(shell, fh)):  # noqa: ASYNC110 - as programs do
            await trio.sleep(0.01)
    return figures


async def done(shell: Shell, fh: Fh) -> dict[str, str]:
    """Return what a handle tells once its task is done."""
    return await once(shell, fh, lambda figures: figures["state"] == "done")


@asynccontextmanager
async def warming(shell: Shell, *paths: str) -> AsyncIterator[Fh]:
    fh = await open_warm(shell)
    try:
        text = "".join(f"{path}\n" for path in paths).encode("utf-8", "surrogateescape")
        assert await shell.fs.write(fh, 0, text) == len(text)
        yield fh
    finally:
        await shell.fs.release(fh)


async def warmed(shell: Shell, *paths: str) -> dict[str, str]:
    async with warming(shell, *paths) as fh:
        return await done(shell, fh)


def reads(cluster: StoreProcess) -> list[str]:
    """Return the objects that were read since the last look, by their names."""
    found = [
        str(entry["path"])
        for entry in cluster.requests()
        if entry["method"] == "GET"
        and entry["path"].startswith("/v1/objects/")
        and entry["status"] in {200, 206}  # a gateway's redirect is no read
    ]
    cluster.clear_requests()
    return found


async def put(other: Bucket, bodies: dict[str, bytes]) -> None:
    for name, body in bodies.items():
        await trio.to_thread.run_sync(other.object(name).put_content, body)


async def test_what_was_warmed_is_read_without_a_request(
    shell: Shell, other: Bucket, cluster: StoreProcess
) -> None:
    bodies = {f"d/e{i % 3}/{i}": os.urandom(3000 + i) for i in range(60)}
    bodies |= {"large": os.urandom(5 * MIB + 7), "empty": b"", "one": b"1", "beside": b"x"}
    await put(other, bodies)
    figures = await warmed(shell, "d", "large", "empty", "./one", "/d/e1/1")
    size = sum(len(body) for body in bodies.values()) - 1 + len(bodies["d/e1/1"])
    assert (figures["files"], figures["files_done"], figures["failed"]) == ("64", "64", "0")
    assert (figures["bytes"], figures["bytes_done"]) == (str(size), str(size))
    reads(cluster)
    for name, body in bodies.items():
        assert await shell.read(name) == body
    assert reads(cluster) == [f"/v1/objects/{other.name}/beside"]


async def test_lines_may_be_cut_anywhere(shell: Shell, other: Bucket) -> None:
    await put(other, {"a b": b"1", "ä": b"22"})
    fh = await open_warm(shell)
    for byte in "a b\nä\n".encode():
        await shell.fs.write(fh, 0, bytes([byte]))
    assert (await done(shell, fh))["bytes_done"] == "3"
    await shell.fs.release(fh)


async def test_a_handle_takes_more_when_it_is_done(shell: Shell, other: Bucket) -> None:
    await put(other, {"a": b"1", "b": b"22"})
    async with warming(shell, "a") as fh:
        assert (await done(shell, fh))["files_done"] == "1"
        await shell.fs.write(fh, 0, b"b\n")
        assert (await told(shell, fh))["state"] != "done"
        assert (await done(shell, fh))["files_done"] == "2"


async def test_the_answer_begins_where_the_first_read_after_a_write_does(
    shell: Shell, other: Bucket
) -> None:
    await put(other, {"a": b"1"})
    async with warming(shell, "a") as fh:
        await done(shell, fh)
        await shell.fs.write(fh, 0, b"a\n")
        whole = bytes(await shell.fs.read(fh, 2, MIB))
        assert whole.startswith(b"state\t")
        assert bytes(await shell.fs.read(fh, 7, MIB)) == whole[5:]
        assert await shell.fs.read(fh, 2 + len(whole), MIB) == b""


async def test_warming_is_no_reading(shell: Shell, other: Bucket, cluster: StoreProcess) -> None:
    """Files that are warmed in the order of a listing lead to no guess at the next ones."""
    await put(other, {f"d/f{i:02d}": b"x" * 100 for i in range(60)})
    assert len(await shell.names("d")) == 60
    figures = await warmed(shell, *(f"d/f{i:02d}" for i in range(10)))
    assert figures["files_done"] == "10"
    assert len(reads(cluster)) == 10


async def test_each_name_that_failed_is_told_with_its_reason(
    shell: Shell, other: Bucket, cluster: StoreProcess
) -> None:
    await put(other, {f"d/{i}": os.urandom(2000) for i in range(20)} | {"d/big": bytes(3 * MIB)})
    base = f"^/v1/objects/{other.name}/d/"
    cluster.faults(
        [
            {"action": "error", "method": "GET", "path": f"{base}3$", "status": 403},
            {"action": "corrupt", "method": "GET", "path": f"{base}7$", "after_bytes": 9},
            {"action": "corrupt", "method": "GET", "path": f"{base}big$", "after_bytes": 9},
        ]
    )
    figures = await warmed(shell, "d", "none", "no/dir/")
    assert (figures["files_done"], figures["failed"]) == ("18", "5")
    assert "checksum" in figures["d/7"]
    assert "checksum" in figures["d/big"]
    assert "d/3" in figures
    assert figures["none"] == figures["no/dir/"] == "no such file or directory"
    cluster.clear_faults()
    assert (await warmed(shell, "d"))["failed"] == "0"


async def test_what_does_not_fit_is_left_out_and_what_was_brought_stays(
    shell: Shell, other: Bucket, cluster: StoreProcess
) -> None:
    """The cache has 16 MiB: five of six objects of 3 MiB, and a small one behind them."""
    bodies = {f"d/{i}": os.urandom(3 * MIB) for i in range(6)} | {"d/small": os.urandom(1000)}
    await put(other, bodies)
    figures = await warmed(shell, "d")
    assert (figures["files"], figures["files_done"], figures["failed"]) == ("7", "6", "0")
    assert (figures["does_not_fit"], figures["does_not_fit_bytes"]) == ("1", str(3 * MIB))
    assert figures["capacity_bytes"] == str(16 * MIB)
    reads(cluster)
    for name in (*(f"d/{i}" for i in range(5)), "d/small"):
        assert await shell.read(name) == bodies[name]
    assert reads(cluster) == []


async def test_an_object_that_nearly_fills_the_cache_is_kept_whole(
    shell: Shell, other: Bucket, cluster: StoreProcess
) -> None:
    """Programs that read such an object once do not push everything else out; warming does."""
    body = os.urandom(15 * MIB)
    await put(other, {"f": body})
    assert (await warmed(shell, "f"))["files_done"] == "1"
    reads(cluster)
    assert await shell.read("f") == body
    assert reads(cluster) == []


async def test_what_only_the_mount_needs_is_no_file(shell: Shell, other: Bucket) -> None:
    await put(other, {"d/f": b"123"})
    await shell.mkdir("d/empty")
    await shell.symlink(b"f", "d/link")
    figures = await warmed(shell, "d", "d/link")
    assert (figures["files_done"], figures["failed"]) == ("1", "1")
    assert "symbolic link" in figures["d/link"]


async def test_the_root_of_a_prefix_and_of_all_buckets(
    cluster: StoreProcess, bucket: BucketName, other: Bucket, tmp_path: Path
) -> None:
    await put(other, {"p/q/f": b"123", "outside": b"1"})
    cluster.faults([{"action": "error", "method": "GET", "path": "/f$", "status": 403}])
    async with filesystem(cluster.endpoint, Source(bucket, "p/"), tmp_path / "a") as shell:
        figures = await warmed(shell, ".")
        assert (figures["files"], figures["failed"]) == ("1", "1")
        assert "q/f" in figures
    async with filesystem(cluster.endpoint, Source(), tmp_path / "b") as shell:
        figures = await warmed(shell, f"{other.name}/p")
        assert f"{other.name}/p/q/f" in figures


async def test_closing_the_handle_ends_the_task(
    shell: Shell, other: Bucket, cluster: StoreProcess
) -> None:
    await put(other, {f"d/{i:02d}": bytes(2 * MIB) for i in range(40)})
    path = f"^/v1/objects/{other.name}/"
    cluster.faults([{"action": "slow", "path": path, "after_bytes": 10, "seconds": 2}])
    async with warming(shell, "d") as fh:
        await once(shell, fh, lambda figures: figures["bytes_done"] != "0")
    assert "tasks\t0" in await shown(shell)
    cluster.clear_faults()
    await trio.sleep(2.5)
    begun = len(reads(cluster))
    await trio.sleep(0.5)
    assert begun < 40
    assert reads(cluster) == []


async def shown(shell: Shell) -> str:
    """Return what a handle that only reads tells."""
    directory = await shell.fs.lookup(ROOT, b".aisfs")
    node = await shell.fs.lookup(directory.ino, b"warm")
    opened = await shell.fs.open_control(node.ino, os.O_RDONLY, ME)
    assert opened is not None
    fh, *_ = opened
    text = bytes(await shell.fs.read(fh, 0, MIB)).decode()
    await shell.fs.release(fh)
    return text


async def test_tasks_and_text_are_bounded(shell: Shell, other: Bucket) -> None:
    await put(other, {"a": b"1"})
    handles = [await open_warm(shell) for _ in range(MAX_TASKS)]
    with pytest.raises(Busy):
        await open_warm(shell)
    with pytest.raises(NoSpace):
        await shell.fs.write(handles[0], 0, b"x" * (MOST_TEXT + 1))
    await shell.fs.release(handles.pop())
    assert (await warmed(shell, "a"))["files_done"] == "1"
    for fh in handles:
        await shell.fs.release(fh)


# -- remote buckets


@asynccontextmanager
async def behind(tmp_path: Path) -> AsyncIterator[tuple[Shell, StoreProcess, StoreProcess]]:
    """Run a filesystem on the bucket `b` of a second store that is attached to the first."""
    with StoreProcess() as origin:
        origin.create_bucket("b")
        with StoreProcess(extra=("--remote", f"ais://@far={origin.endpoint}")) as near:
            bucket = BucketName("b", uuid="far")
            async with filesystem(near.endpoint, bucket, tmp_path / "state") as shell:
                yield shell, near, origin


def origin_reads(origin: StoreProcess) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in reads(origin))


def prefetches(near: StoreProcess) -> int:
    return sum(entry["method"] == "POST" for entry in near.requests())


async def test_cold_objects_are_prefetched_first_and_fetched_once(tmp_path: Path) -> None:
    async with behind(tmp_path) as (shell, near, origin):
        bodies = {f"d/{i}": os.urandom(2000) for i in range(20)} | {"d/big": os.urandom(3 * MIB)}
        await put(Client(origin.endpoint).bucket("b"), bodies)
        assert len(await shell.names("d")) == 21  # known without their copies' checksums from here
        reads(origin)
        figures = await warmed(shell, "d")
        assert (figures["files_done"], figures["failed"]) == ("21", "0")
        assert (figures["cold"], figures["prefetched"]) == ("21", "21")
        assert prefetches(near) == 1
        assert origin_reads(origin) == sorted(name[2:] for name in bodies)
        reads(near)
        for name, body in bodies.items():
            assert await shell.read(name) == body
        assert reads(near) == []
        assert (await warmed(shell, "d"))["cold"] == "0"
        assert prefetches(near) == 0
        assert origin_reads(origin) == []


async def test_single_cold_files_are_prefetched_together(tmp_path: Path) -> None:
    async with behind(tmp_path) as (shell, near, origin):
        bodies = {f"d/{i}": os.urandom(2000) for i in range(5)}
        await put(Client(origin.endpoint).bucket("b"), bodies)
        figures = await warmed(shell, *bodies)
        assert (figures["files_done"], figures["prefetched"]) == ("5", "5")
        assert prefetches(near) == 1
        assert len(reads(origin)) == 5
        reads(near)
        for name, body in bodies.items():
            assert await shell.read(name) == body
        assert reads(near) == []


async def test_what_the_cluster_does_not_prefetch_is_read_all_the_same(tmp_path: Path) -> None:
    async with behind(tmp_path) as (shell, near, origin):
        bodies = {f"d/{i}": os.urandom(2000) for i in range(5)}
        await put(Client(origin.endpoint).bucket("b"), bodies)
        near.faults([{"action": "error", "method": "POST", "path": "/v1/buckets/b", "status": 500}])
        figures = await warmed(shell, "d")
        assert "not prefetched whole" in figures["warning"]
        assert (figures["files_done"], figures["failed"]) == ("5", "0")
        reads(near)
        for name, body in bodies.items():
            assert await shell.read(name) == body
        assert reads(near) == []


async def test_a_prefetch_that_stands_still_is_not_waited_for(tmp_path: Path) -> None:
    async with behind(tmp_path) as (_, near, origin):
        await put(Client(origin.endpoint).bucket("b"), {"f": b"1"})
        origin.faults([{"action": "delay", "method": "GET", "path": "/objects/b/f", "seconds": 9}])
        store = connect(StoreConfig(near.endpoint, idle_timeout_s=0.4))
        with pytest.raises(TimedOut, match="fetched nothing more"), trio.fail_after(8):
            await store.prefetch(BucketName("b", uuid="far"), ["f"], lambda *_: None)
        await store.close()


async def test_ending_a_task_ends_its_prefetch(tmp_path: Path) -> None:
    async with behind(tmp_path) as (shell, near, origin):
        await put(Client(origin.endpoint).bucket("b"), {f"d/{i:03d}": b"1" for i in range(200)})
        path = "/objects/b/d/"
        origin.faults([{"action": "delay", "method": "GET", "path": path, "seconds": 0.5}])
        async with warming(shell, "d") as fh:
            await once(shell, fh, lambda figures: figures["prefetched"] != "0")
        await trio.sleep(3)
        fetched = len(reads(origin))
        await trio.sleep(1.5)
        assert fetched < 200
        assert reads(origin) == []
        (job,) = (
            Client(near.endpoint)
            .job(job_kind="prefetch-listrange")
            .get_details()
            .snapshots[next(iter(Client(near.endpoint).cluster().get_info().tmap))]
        )
        assert job.aborted


async def test_a_cold_object_is_read_at_the_first_try(tmp_path: Path) -> None:
    """The cluster has no checksum of it until it has a copy; its version tells that it is it."""
    async with behind(tmp_path) as (shell, near, origin):
        bodies = {"small": os.urandom(2000), "large": os.urandom(3 * MIB)}
        await put(Client(origin.endpoint).bucket("b"), bodies)
        for name, body in bodies.items():
            fh = await shell.open(name)
            assert await shell.read_open(fh) == body
            assert await shell.read_open(fh) == body
            await shell.close(fh)
        reads(near)
        assert await shell.read("small") == bodies["small"]
        assert len(reads(near)) <= 1
        assert await shell.read("small") == bodies["small"]
        assert reads(near) == []
