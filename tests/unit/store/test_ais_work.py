"""What the cluster is told to do, where the mount has a part in it: appending to shards."""

from __future__ import annotations

import io
import tarfile
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
import trio
import xxhash

from aisfs.errors import Exists, Invalid, IoFailure, NoSpace, NotFound, Stale, Unsupported
from aisfs.store import ais_work
from aisfs.store.cluster_work import Place
from aisfs.store.shard_additions import add_member
from tests.support.disk import small_disk_at, taken

if TYPE_CHECKING:
    from pathlib import Path

    from aisfs.config import BucketName
    from aisfs.store.aistore import AISStore
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess


def tar_of(*names: str) -> bytes:
    """Return an archive as ordinary tools make them: padded."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    return out.getvalue()


def names_in(other: Bucket, shard: str) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(other.object(shard).get().read_all())) as archive:
        return archive.getnames()


@pytest.fixture
def shard(other: Bucket) -> str:
    other.object("s.tar").put_content(tar_of("a", "b"))
    other.object("f").put_content(b"new")
    return "s.tar"


async def test_appending_replaces_the_shard_whole(
    aistore: AISStore, other: Bucket, bucket: BucketName, shard: str, cluster: StoreProcess
) -> None:
    other.object(shard).set_custom_props({"color": "red"})
    before = other.object(shard).head_v2()
    cluster.clear_requests()
    await aistore.work.append(Place(bucket, shard), Place(bucket, "f"), "d/f")
    assert names_in(other, shard) == ["a", "b", "d/f"]
    after = other.object(shard).head_v2()
    # Another content has another version and a checksum, or nobody could tell it from the old one.
    data = other.object(shard).get().read_all()
    assert after.checksum_value == xxhash.xxh64_hexdigest(data)
    assert after.obj_version != before.obj_version
    assert after.custom_metadata == {"color": "red"}
    asked = [r for r in cluster.requests() if r["method"] in {"PUT", "POST", "PATCH"}]
    assert asked
    assert not [r for r in asked if "archpath" in r["query"] or r["method"] == "POST"]


async def test_two_at_a_time_are_both_there(
    aistore: AISStore, other: Bucket, bucket: BucketName, shard: str
) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(
                aistore.work.append, Place(bucket, shard), Place(bucket, "f"), f"n{number}"
            )
    assert sorted(names_in(other, shard)) == ["a", "b", *(f"n{number}" for number in range(5))]


async def test_what_somebody_replaced_meanwhile_stays(
    aistore: AISStore,
    other: Bucket,
    bucket: BucketName,
    shard: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = tar_of("theirs")

    def add_member_late(*arguments: Any) -> None:
        other.object(shard).put_content(theirs)
        add_member(*arguments)

    monkeypatch.setattr(ais_work, "add_member", add_member_late)
    with pytest.raises(Stale, match=r"somebody replaced .*s\.tar meanwhile: do it again"):
        await aistore.work.append(Place(bucket, shard), Place(bucket, "f"), "f")
    assert other.object(shard).get().read_all() == theirs


@pytest.mark.parametrize(
    "failure",
    [
        {"method": "PUT", "action": "error", "status": 500},
        {"method": "PUT", "role": "target", "action": "cut-upload", "after_bytes": 600},
        {"method": "GET", "role": "target", "path": "s.tar$", "action": "cut", "after_bytes": 600},
        {"method": "GET", "role": "target", "path": "s.tar$", "action": "corrupt"},
    ],
    ids=["refused", "upload", "download", "corrupt"],
)
async def test_a_failure_leaves_the_shard_as_it_was(
    aistore: AISStore,
    other: Bucket,
    bucket: BucketName,
    shard: str,
    cluster: StoreProcess,
    failure: dict[str, Any],
) -> None:
    cluster.faults([failure])
    with pytest.raises(IoFailure):
        await aistore.work.append(Place(bucket, shard), Place(bucket, "f"), "f")
    cluster.clear_faults()
    assert other.object(shard).get().read_all() == tar_of("a", "b")


async def test_what_cannot_be_appended_is_told_in_words(
    aistore: AISStore, other: Bucket, bucket: BucketName, shard: str, cluster: StoreProcess
) -> None:
    work, file = aistore.work, Place(bucket, "f")
    with pytest.raises(NotFound, match=r"none\.tar"):
        await work.append(Place(bucket, "none.tar"), file, "f")
    with pytest.raises(NotFound, match="none"):
        await work.append(Place(bucket, shard), Place(bucket, "none"), "f")
    with pytest.raises(Exists, match=r"tar ais:.*s.tar: it has a member a already"):
        await work.append(Place(bucket, shard), file, "a")
    cluster.clear_requests()
    with pytest.raises(Unsupported, match="f is no shard: names"):
        await work.append(file, file, "f")
    with pytest.raises(Invalid, match="no member can be called '/f'"):
        await work.append(Place(bucket, shard), file, "/f")
    assert not cluster.requests()
    assert other.object(shard).get().read_all() == tar_of("a", "b")


async def test_a_full_local_disk_is_told(
    aistore: AISStore,
    other: Bucket,
    bucket: BucketName,
    shard: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    other.object("large").put_content(bytes(30 << 20))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with small_disk_at(tmp_path):
        with pytest.raises(NoSpace, match=f"{tmp_path} has no room for a copy of"):
            await aistore.work.append(Place(bucket, shard), Place(bucket, "large"), "f")
        assert taken(tmp_path) == 0
    assert other.object(shard).get().read_all() == tar_of("a", "b")
