"""Shards as directories of their members, through a mount: `.aisfs/view/archive`."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import re
import stat
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import Client
from aisfs_sdk.namespace import Namespace
from tests.support.mount import Mount
from tests.support.shards import entry, header, tar_of
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

MTIME = 1_700_000_000
MIB = 1 << 20


def raises(number: int) -> str:
    return re.escape(os.strerror(number))


def tar(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    """Return a tar archive, which `mode` may pack."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            archive.addfile(header(name, len(data), mtime=MTIME), io.BytesIO(data))
    return buffer.getvalue()


def lz4(members: Mapping[str, bytes]) -> bytes:
    import lz4.frame  # noqa: PLC0415 - the only test that packs so

    return bytes(lz4.frame.compress(tar(members)))


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2023, 11, 14, 22, 13, 20)), data, method)
    return buffer.getvalue()


def sample(seed: int, count: int = 40, size: int = 3000) -> dict[str, bytes]:
    """Return members in directories, of various sizes."""
    numbers = random.Random(seed)
    return {
        f"d{number % 3}/sub/{number:05d}.bin": numbers.randbytes(numbers.randrange(size))
        for number in range(count)
    }


def seen(directory: Path) -> dict[str, bytes]:
    """Return the files below a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def sent(store: StoreProcess, name: str = "") -> tuple[int, int]:
    """Return how many GETs of objects targets answered, and with how many bytes."""
    rows = [
        row
        for row in store.requests()
        if row["method"] == "GET" and f"/objects/b/{name}" in row["path"] and row["node"][0] == "t"
    ]
    return len(rows), sum(row["sent"] for row in rows)


def figures(mount: Mount) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((mount.path / ".aisfs/stats.json").read_bytes())
    return figures


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    with StoreProcess() as process:
        process.create_bucket("b")
        yield process


@pytest.fixture
def bucket(store: StoreProcess) -> Iterator[Bucket]:
    """Return the bucket, emptied afterwards."""
    client = Client(store.endpoint)
    bucket = client.bucket("b")
    yield bucket
    for each in bucket.list_all_objects():
        bucket.object(each.name).delete()
    client.close()


def mounted(store: StoreProcess, *options: str, source: str = "ais://b") -> Mount:
    return Mount(store.endpoint, source, options=options)


@pytest.fixture
def mount(store: StoreProcess) -> Iterator[Mount]:
    """Return a mount that believes nothing for longer than a moment."""
    with mounted(store, "attribute-ttl=0", "negative-ttl=0", "listing-ttl=0") as made:
        yield made


def view(mount: Mount) -> Path:
    return mount.path / ".aisfs/view/archive/ais/b"


# ---- what is seen


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        ("tar", tar),
        ("tgz", lambda members: tar(members, "w:gz")),
        ("tar.gz", lambda members: tar(members, "w:gz")),
        ("tar.lz4", lz4),
        ("zip", zipped),
        ("zip", lambda members: zipped(members, zipfile.ZIP_STORED)),
    ],
    ids=["tar", "tgz", "tar.gz", "tar.lz4", "zip", "zip-stored"],
)
def test_every_format_is_a_tree_of_its_members(
    bucket: Bucket, mount: Mount, suffix: str, pack: Callable[[Mapping[str, bytes]], bytes]
) -> None:
    members = sample(1) | {"empty": b"", "large": random.Random(2).randbytes(3 * MIB + 5)}
    bucket.object(f"d/s.{suffix}").put_content(pack(members))
    shard = view(mount) / f"d/s.{suffix}"
    for name, data in members.items():  # before anything is opened
        shown = (shard / name).stat()
        assert (shown.st_size, shown.st_mtime) == (len(data), MTIME)
        assert shown.st_mode == stat.S_IFREG | 0o444
    assert seen(shard) == members
    assert os.listdir(view(mount)) == ["d"]  # noqa: PTH208
    assert sorted(os.listdir(shard)) == ["d0", "d1", "d2", "empty", "large"]  # noqa: PTH208


def test_tools_see_what_they_see_of_a_directory(
    bucket: Bucket, mount: Mount, tmp_path: Path
) -> None:
    members = sample(3)
    whole = tar_of(
        *(entry(name, data, mtime=MTIME, mode=0o640) for name, data in members.items()),
        entry("run", b"#!/bin/sh\necho ran\n", mtime=MTIME, mode=0o700),
        (header("to", type=tarfile.SYMTYPE, linkname="d0/sub/00000.bin"), b""),
        (header("hard", type=tarfile.LNKTYPE, linkname="run"), b""),
        (header("own", type=tarfile.DIRTYPE, mtime=MTIME, mode=0o700), b""),
    )
    bucket.object("s.tar").put_content(whole)
    unpacked, copied = tmp_path / "unpacked", tmp_path / "copied"
    unpacked.mkdir()
    subprocess.run(["tar", "-x"], input=whole, cwd=unpacked, check=True)
    shard = view(mount) / "s.tar"
    subprocess.run(["cp", "-r", shard, copied], check=True)
    for tree in (copied, shard):
        subprocess.run(["diff", "-r", "--no-dereference", unpacked, tree], check=True)
    found = {
        tree: subprocess.run(
            ["find", ".", "-printf", "%P %y %l\n"], cwd=tree, capture_output=True, check=True
        ).stdout.splitlines()
        for tree in (unpacked, shard)
    }
    assert sorted(found[unpacked]) == sorted(found[shard])
    assert (shard / "to").readlink().name == "00000.bin"
    assert (shard / "to").lstat().st_size == len("d0/sub/00000.bin")
    assert subprocess.check_output([shard / "run"]) == b"ran\n"
    assert (shard / "own").stat().st_mtime == MTIME
    again = subprocess.run(["tar", "-C", shard, "-c", "."], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(again)) as archive:
        packed = {
            each.name.removeprefix("./"): archive.extractfile(each)
            for each in archive
            if each.isreg()
        }
        assert {n: f.read() for n, f in packed.items() if f and n in members} == members
    total = subprocess.check_output(["du", "--apparent-size", "-sb", shard]).split()[0]
    assert int(total) >= sum(map(len, members.values()))


NAMES = ["a b", "#1", "100%", "%2F", "ü/é", "日本", "q?x=1&y", "'\"", "\\n", "-rf", ".hidden"]


def test_names_of_all_kinds_are_found(bucket: Bucket, mount: Mount) -> None:
    members = {f"{name}/{name.replace('/', '_')}": name.encode() for name in NAMES}
    for name in NAMES:
        bucket.object(f"{name}/{name.replace('/', '_')}.tar").put_content(tar(members))
        bucket.object(f"{name}/z.zip").put_content(zipped(members))
    for name in NAMES:
        assert seen(view(mount) / name / f"{name.replace('/', '_')}.tar") == members
        assert seen(view(mount) / name / "z.zip") == members
    shards = {path.name for path in view(mount).rglob("*.tar")}
    assert shards == {f"{name.replace('/', '_')}.tar" for name in NAMES}


def test_links_of_zip_archives_are_read(bucket: Bucket, mount: Mount) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        link = zipfile.ZipInfo("to")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "there")
        archive.writestr("there", b"bytes")
    bucket.object("s.zip").put_content(buffer.getvalue())
    assert os.readlink(view(mount) / "s.zip/to") == "there"  # noqa: PTH115
    assert (view(mount) / "s.zip/to").read_bytes() == b"bytes"


def test_a_directory_takes_the_name_that_a_shard_has_too(bucket: Bucket, mount: Mount) -> None:
    bucket.object("s.tar").put_content(tar({"member": b"of the shard"}))
    bucket.object("s.tar/in.tar").put_content(tar({"member": b"below"}))
    names = {"s.tar", "s.tar.aisfs-object"}
    assert (view(mount) / "s.tar.aisfs-object/member").read_bytes() == b"of the shard"
    assert (view(mount) / "s.tar/in.tar/member").read_bytes() == b"below"
    assert set(os.listdir(view(mount))) == names  # noqa: PTH208


def test_buckets_and_directories_are_those_of_the_mount(store: StoreProcess) -> None:
    client = Client(store.endpoint)
    shard = tar({"m": b"bytes"})
    namespaced = client.bucket("c", namespace=Namespace(name="ns")).create()
    try:
        namespaced.object("s.tar").put_content(shard)
        for name in ("p/q/s.tar", "p/other.tar", "top.tar"):
            client.bucket("b").object(name).put_content(shard)
        with mounted(store, source="") as everything:
            archive = everything.path / ".aisfs/view/archive"
            assert sorted(os.listdir(archive / "ais")) == ["ais#ns:c", "b"]  # noqa: PTH208
            assert (archive / "ais/ais#ns:c/s.tar/m").read_bytes() == b"bytes"
            assert (archive / "ais/b/p/q/s.tar/m").read_bytes() == b"bytes"
        with mounted(store, source="ais://b/p/q") as below:
            assert os.listdir(below.path / ".aisfs/view/archive/ais") == ["b"]  # noqa: PTH208
            assert [str(p.relative_to(view(below))) for p in view(below).rglob("*")] == [
                "p", "p/q", "p/q/s.tar", "p/q/s.tar/m",
            ]  # fmt: skip
            for hidden in ("top.tar", "p/other.tar", "p/other.tar/m"):
                assert not (view(below) / hidden).exists()
    finally:
        namespaced.delete()
        for name in ("p/q/s.tar", "p/other.tar", "top.tar"):
            client.bucket("b").object(name).delete()


@pytest.mark.parametrize(
    "path", ["none", "none.tar", "none/s.tar", "s.tar/none", "s.tar/m/none", "s.tar/" + "x" * 250]
)
def test_what_is_not_there_is_absent(bucket: Bucket, mount: Mount, path: str) -> None:
    bucket.object("s.tar").put_content(tar({"m": b"bytes"}))
    bucket.object("plain").put_content(b"bytes")
    expected = errno.ENOTDIR if "/m/" in path else errno.ENOENT
    with pytest.raises(OSError, match=raises(expected)):
        (view(mount) / path).read_bytes()
    assert not (view(mount) / "plain").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda v: (v / "s.tar/m").open("r+b"),
        lambda v: (v / "s.tar/m").open("wb"),
        lambda v: os.truncate(v / "s.tar/m", 0),
        lambda v: (v / "s.tar/m").chmod(0o600),
        lambda v: os.utime(v / "s.tar/m"),
        lambda v: (v / "s.tar/m").unlink(),
        lambda v: (v / "s.tar/new").write_bytes(b""),
        lambda v: (v / "new.tar").write_bytes(b""),
        lambda v: (v / "new").mkdir(),
        lambda v: (v / "s.tar").rename(v / "t.tar"),
        lambda v: (v / "s.tar/m").rename(v / "s.tar/n"),
        lambda v: (v / "s.tar/link").symlink_to("m"),
        lambda v: os.setxattr(v / "s.tar/m", "user.a", b"b"),
    ],
)
def test_nothing_is_changed(bucket: Bucket, mount: Mount, change: Callable[[Path], object]) -> None:
    bucket.object("s.tar").put_content(tar({"m": b"bytes"}))
    with pytest.raises(OSError, match=f"{raises(errno.EROFS)}|{raises(errno.EPERM)}"):
        change(view(mount))
    assert (view(mount) / "s.tar/m").read_bytes() == b"bytes"
    assert len(bucket.list_all_objects()) == 1


def test_who_may_not_read_the_shard_may_not_read_its_members(
    store: StoreProcess, bucket: Bucket
) -> None:
    bucket.object("d/s.tar").put_content(tar({"sub/m": b"bytes"}))
    with mounted(store, "umask=027", "attribute-ttl=0") as mount:
        modes = {
            path: stat.S_IMODE((view(mount) / path).stat().st_mode)
            for path in ("d", "d/s.tar", "d/s.tar/sub", "d/s.tar/sub/m")
        }
        assert set(modes.values()) == {0o550, 0o440}
        assert modes["d/s.tar/sub/m"] == 0o440
        (mount.path / "d/s.tar").chmod(0o600)
        assert (view(mount) / "d/s.tar").stat().st_mode & 0o777 == 0o500
        assert (view(mount) / "d/s.tar/sub/m").stat().st_mode & 0o777 == 0o400


# ---- what it costs


def test_walks_over_the_mount_do_not_meet_the_view(
    store: StoreProcess, bucket: Bucket, mount: Mount, tmp_path: Path
) -> None:
    bucket.object("d/s.tar").put_content(tar(sample(4)))
    control = mount.path / ".aisfs"
    store.clear_requests()
    for command in (("find",), ("du", "-a"), ("ls", "-lR")):
        done = subprocess.run([*command, mount.path], capture_output=True, text=True, check=True)
        assert ".bin" not in done.stdout
    assert b".bin" not in subprocess.check_output(["find", control])
    assert "view" not in os.listdir(control)  # noqa: PTH208
    assert sent(store) == (0, 0)
    subprocess.run(["cp", "-r", mount.path, tmp_path / "copy"], check=True)
    assert [str(p.relative_to(tmp_path / "copy")) for p in (tmp_path / "copy").rglob("*.*")] == [
        "d/s.tar"
    ]
    assert "view/archive" in (control / "README").read_text()


def test_listing_a_bucket_looks_into_no_shard(
    store: StoreProcess, bucket: Bucket, mount: Mount
) -> None:
    for number in range(50):
        bucket.object(f"train/s-{number:02d}.tar").put_content(tar({"m": b"x"}))
    bucket.object("train/labels.json").put_content(b"{}")
    names = [f"s-{number:02d}.tar" for number in range(50)]
    store.clear_requests()
    assert sorted(os.listdir(view(mount) / "train")) == names  # noqa: PTH208
    listed = subprocess.check_output(["ls", "-l", view(mount) / "train"], text=True)
    assert listed.count(".tar") == 50
    assert all((view(mount) / "train" / name).is_dir() for name in names)
    asked = {(row["method"], row["path"]) for row in store.requests()}
    assert asked <= {("GET", "/v1/buckets/b"), ("GET", "/v1/daemon")}
    assert figures(mount)["shards.open"] == 0


def test_a_trainer_reads_shards_at_random(store: StoreProcess, bucket: Bucket) -> None:
    shards = {f"s-{number:02d}.tar": sample(number, 1000, 2000) for number in range(20)}
    packed = 0
    for name, members in shards.items():
        body = tar(members)
        packed += len(body)
        bucket.object(name).put_content(body)
    wanted = [(shard, member) for shard in shards for member in shards[shard]]
    random.Random(5).shuffle(wanted)
    with mounted(store) as mount:
        store.clear_requests()
        for shard, member in wanted:
            assert (view(mount) / shard / member).read_bytes() == shards[shard][member]
        requests, received = sent(store)
        # All shards fit into the memory: the bytes of each come once, a few requests for each.
        assert received <= packed + 20 * MIB
        assert requests <= 20 * 10
        assert figures(mount)["shards.open"] == 20
        rows = [row for row in store.requests() if row["method"] == "HEAD"]
        assert len(rows) < len(wanted) / 4  # of a shard once a second, not of each member


def test_members_are_ranges_of_the_shard(store: StoreProcess, bucket: Bucket) -> None:
    numbers = random.Random(6)
    members = {f"{number:02d}": numbers.randbytes(3 * MIB) for number in range(32)}
    bucket.object("s.tar").put_content(tar(members))
    with mounted(store, "cache-memory=8MiB") as mount:
        shard = view(mount) / "s.tar"
        store.clear_requests()
        assert sorted(os.listdir(shard)) == sorted(members)  # noqa: PTH208
        _, received = sent(store)
        assert received <= 4 * MIB  # the headers, and one page
        store.clear_requests()
        with (shard / "20").open("rb", buffering=0) as member:
            digest = hashlib.file_digest(member, "sha256").hexdigest()
        assert digest == hashlib.sha256(members["20"]).hexdigest()
        _, received = sent(store)
        assert received <= (3 + 8) * MIB  # the member and what is read ahead of it
        store.clear_requests()
        for _ in range(40):
            name, offset = numbers.choice(sorted(members)), numbers.randrange(3 * MIB - 4096)
            fd = os.open(shard / name, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            assert os.pread(fd, 4096, offset) == members[name][offset : offset + 4096]
            os.close(fd)
        _, received = sent(store)
        assert received <= 16 * MIB  # of 96


def test_workers_share_one_index(store: StoreProcess, bucket: Bucket, tmp_path: Path) -> None:
    members = sample(10, 300, 20_000)
    bodies = {"s.tar": tar(members), "s.tgz": tar(members, "w:gz"), "s.zip": zipped(members)}
    for name, body in bodies.items():
        bucket.object(name).put_content(body)
    with mounted(store, "cache-memory=8MiB") as mount:
        store.clear_requests()
        copies = [
            (tmp_path / f"{worker}-{name}", view(mount) / name)
            for name in bodies
            for worker in range(6)
        ]
        workers = [subprocess.Popen(["cp", "-r", shard, copy]) for copy, shard in copies]
        assert {worker.wait() for worker in workers} == {0}
        for copy, _ in copies:
            assert seen(copy) == members
        assert mount.log.count("looking into ais://b/") == len(bodies)
        assert figures(mount)["handles.open"] == 0


def test_what_was_read_is_the_kernels(store: StoreProcess, bucket: Bucket) -> None:
    bucket.object("s.tar").put_content(tar({"m": b"x" * 100_000}))
    with mounted(store, "cache-memory=8MiB") as mount:
        member = view(mount) / "s.tar/m"
        assert member.read_bytes() == b"x" * 100_000
        store.faults([{"method": "GET", "path": "/objects/", "action": "error", "status": 500}])
        try:
            filler = bucket.object("filler")
            filler.put_content(b"f" * (20 * MIB))
            assert member.read_bytes() == b"x" * 100_000
            assert store.struck() == 0
        finally:
            store.clear_faults()


# ---- what changes


def test_a_shard_that_is_replaced_is_never_mixed(
    store: StoreProcess, bucket: Bucket, mount: Mount
) -> None:
    old, new = (random.Random(seed).randbytes(2 * MIB) for seed in (7, 8))
    bucket.object("s.tar").put_content(tar({"pad": b"p" * 5 * MIB, "m": old, "gone": b"g"}))
    shard = view(mount) / "s.tar"
    with (shard / "m").open("rb", buffering=0) as held:
        number = os.fstat(held.fileno()).st_ino
        assert held.read(4096) == old[:4096]
        bucket.object("s.tar").put_content(tar({"m": new, "fresh": b"f"}))
        assert sorted(os.listdir(shard)) == ["fresh", "m"]  # noqa: PTH208
        assert (shard / "m").read_bytes() == new
        assert (shard / "m").stat().st_ino != number
        assert not (shard / "gone").exists()
        rest, problem = b"", 0
        try:
            rest = held.read()
        except OSError as error:
            problem = error.errno or -1
        assert problem == errno.ESTALE or rest == old[4096:]  # that the cache has
    assert (shard / "fresh").read_bytes() == b"f"


def test_a_shard_of_the_same_size_is_another_one(bucket: Bucket, mount: Mount) -> None:
    for body in (b"one", b"two"):
        bucket.object("s.tar").put_content(tar({"m": body}))
        assert (view(mount) / "s.tar/m").read_bytes() == body


def test_a_mount_sees_at_once_what_it_stored(store: StoreProcess, bucket: Bucket) -> None:
    bucket.object("s.tar").put_content(tar({"m": b"old"}))
    with mounted(store, "attribute-ttl=1h", "listing-ttl=1h") as mount:
        assert (view(mount) / "s.tar/m").read_bytes() == b"old"
        (mount.path / "s.tar").write_bytes(tar({"other": b"new"}))
        assert os.listdir(view(mount) / "s.tar") == ["other"]  # noqa: PTH208
        assert (view(mount) / "s.tar/other").read_bytes() == b"new"


def test_a_member_is_a_file_then_a_directory(bucket: Bucket, mount: Mount) -> None:
    bucket.object("s.tar").put_content(tar({"x": b"file"}))
    assert (view(mount) / "s.tar/x").read_bytes() == b"file"
    bucket.object("s.tar").put_content(tar({"x/y": b"below"}))
    assert (view(mount) / "s.tar/x/y").read_bytes() == b"below"
    bucket.object("s.tar").delete()
    with pytest.raises(OSError, match=raises(errno.ENOENT)):
        (view(mount) / "s.tar/x/y").read_bytes()


def test_what_was_replaced_is_forgotten(bucket: Bucket, mount: Mount) -> None:
    for number in range(10):
        members = {f"{name:03d}": bytes([number]) for name in range(200)}
        bucket.object("s.tar").put_content(tar(members))
        assert seen(view(mount) / "s.tar") == members
    what = "the kernel forgot the old ones"
    wait_until(lambda: figures(mount)["inodes.control"] <= 500, what, told=lambda: figures(mount))
    assert figures(mount)["shards.open"] == 1
    assert figures(mount)["handles.open"] == 0


def test_a_long_directory_makes_no_inode_for_each_name(bucket: Bucket, mount: Mount) -> None:
    bucket.object("s.tar").put_content(tar({f"{number:06d}": b"" for number in range(30_000)}))
    before = figures(mount)["inodes.control"]
    found = subprocess.check_output(["find", view(mount) / "s.tar", "-type", "f"])
    assert found.count(b"\n") == 30_000
    assert figures(mount)["inodes.control"] < before + 20_100
    assert (view(mount) / "s.tar/029999").stat().st_mtime == MTIME


# ---- what cannot be looked into


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("cut.tar", tar(sample(9))[:9000]),
        ("text.tar", b"no archive at all, " * 100),
        ("cut.tgz", tar(sample(9), "w:gz")[:5000]),
        ("text.zip", b"no archive at all, " * 100),
        ("text.tar.lz4", b"no archive at all, " * 100),
        ("empty.zip", b""),
    ],
)
def test_a_broken_shard_says_so(
    store: StoreProcess, bucket: Bucket, mount: Mount, name: str, body: bytes
) -> None:
    bucket.object(name).put_content(body)
    bucket.object("sound.tar").put_content(tar({"m": b"bytes"}))
    shard = view(mount) / name
    assert shard.is_dir()
    for _ in range(2):
        with pytest.raises(OSError, match=raises(errno.EIO)):
            os.listdir(shard)  # noqa: PTH208
    store.clear_requests()
    with pytest.raises(OSError, match=raises(errno.EIO)):
        (shard / "m").read_bytes()
    assert sent(store) == (0, 0)  # it is not looked into again
    assert re.search(rf"WARNING.*looking into ais://b/{name}: no sound", mount.log)
    assert (view(mount) / "sound.tar/m").read_bytes() == b"bytes"
    bucket.object(name).put_content(tar({"m": b"mended"}) if name.endswith(".tar") else body)
    if name.endswith(".tar"):
        assert (shard / "m").read_bytes() == b"mended"


def test_a_member_with_a_flaw_says_so(bucket: Bucket, mount: Mount) -> None:
    body = tar_of((header("pipe", type=tarfile.FIFOTYPE), b""), entry("m", b"bytes"))
    bucket.object("s.tar").put_content(body)
    packed = bytearray(zipped({"bad": b"x" * 10_000, "good": b"y" * 10_000}))
    place = packed.index(b"bad") + 3 + 5
    packed[place] ^= 0xFF
    bucket.object("s.zip").put_content(bytes(packed))
    assert sorted(os.listdir(view(mount) / "s.tar")) == ["m", "pipe"]  # noqa: PTH208
    with pytest.raises(OSError, match=raises(errno.EOPNOTSUPP)):
        (view(mount) / "s.tar/pipe").open("rb")
    assert (view(mount) / "s.tar/m").read_bytes() == b"bytes"
    with pytest.raises(OSError, match=raises(errno.EIO)):
        (view(mount) / "s.zip/bad").read_bytes()
    assert (view(mount) / "s.zip/good").read_bytes() == b"y" * 10_000


def test_a_failure_of_the_cluster_is_not_remembered(
    store: StoreProcess, bucket: Bucket, mount: Mount
) -> None:
    bucket.object("s.tar").put_content(tar({"m": b"bytes"}))
    store.faults([{"method": "GET", "path": "/objects/", "action": "error", "status": 403}])
    try:
        with pytest.raises(OSError, match=raises(errno.EACCES)):
            os.listdir(view(mount) / "s.tar")  # noqa: PTH208
    finally:
        store.clear_faults()
    assert (view(mount) / "s.tar/m").read_bytes() == b"bytes"


# ---- what it takes


def spools(mount: Mount) -> list[str]:
    """Return the files without a name that the daemon has below its state directory."""
    fds = [f"/proc/{mount.daemon_pid}/fd/{fd}" for fd in os.listdir(f"/proc/{mount.daemon_pid}/fd")]  # noqa: PTH208
    links = [os.readlink(fd) for fd in fds if os.path.islink(fd)]  # noqa: PTH114, PTH115
    return [link for link in links if link.startswith(f"{mount.state}/") and "(deleted)" in link]


def test_spools_are_bounded_and_go_with_the_mount(store: StoreProcess, bucket: Bucket) -> None:
    shards = {f"s-{number}.tgz": sample(number, 50, 30_000) for number in range(6)}
    for name, members in shards.items():
        bucket.object(name).put_content(tar(members, "w:gz"))
    bucket.object("z.zip").put_content(zipped(shards["s-0.tgz"]))
    bucket.object("huge.tgz").put_content(tar({"zeros": bytes(3 * MIB)}, "w:gz"))
    mount = mounted(store, "view-spool=2MiB")
    with mount:
        before = set(mount.state.rglob("*"))
        for _ in range(2):
            for name, members in shards.items():
                assert seen(view(mount) / name) == members
                assert figures(mount)["views.spool_bytes"] <= 2 * MIB
            assert seen(view(mount) / "z.zip") == shards["s-0.tgz"]
        with pytest.raises(OSError, match=raises(errno.ENOSPC)):
            os.listdir(view(mount) / "huge.tgz")  # noqa: PTH208
        assert spools(mount)
        assert set(mount.state.rglob("*")) == before
        mount.unmount()
        assert not [path for path in mount.state.rglob("*") if path.stat().st_size > 100_000]
