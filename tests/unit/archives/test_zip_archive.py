from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisfs.archives.formats import Format
from aisfs.archives.members import Kind
from aisfs.archives.shard import FOLLOWED, UNPACKED_AT_MOST, ZipShard, open_shard
from aisfs.archives.shard_file import PIECE
from aisfs.archives.spool import Room
from aisfs.errors import (
    BadHandle,
    Corrupt,
    FsError,
    Invalid,
    IsADirectory,
    NoSpace,
    NotADirectory,
    NotFound,
    Stale,
    Unsupported,
)
from tests.support.shards import MemorySource, contents

if TYPE_CHECKING:
    from pathlib import Path

    from aisfs.archives.shard import Shard

MIB = 1 << 20


def info(name: str, packed: bool = True, **attributes: object) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def zip_of(*members: tuple[zipfile.ZipInfo, bytes], comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, data in members:
            archive.writestr(member, data)
        archive.comment = comment
    return buffer.getvalue()


async def opened(data: bytes, room: Room) -> Shard:
    return await open_shard(MemorySource(data), Format.ZIP, room)


def noise(size: int) -> bytes:
    """Return bytes that deflate to about 3/4 of their size."""
    return os.urandom(size * 3 // 4).hex().encode()[:size]


# ---- what is there --------------------------------------------------------------------------


async def test_files_directories_and_links_are_as_they_were_packed(room: Room) -> None:
    times = struct.pack("<HHBi", 0x5455, 5, 1, 1_600_000_001)
    data = zip_of(
        (info("d/", external_attr=(stat.S_IFDIR | 0o750) << 16), b""),
        (info("d/packed", external_attr=(stat.S_IFREG | 0o4640) << 16), b"p" * 5000),
        (info("d/stored", packed=False, date_time=(2020, 5, 6, 7, 8, 10)), b"s" * 50),
        (info("link", external_attr=(stat.S_IFLNK | 0o777) << 16), "../ö".encode()),
        (info("timed", extra=times), b""),
        (info("odd", date_time=(1980, 0, 0, 0, 0, 0), create_system=0), b""),
        comment=b"words",
    )
    shard = await opened(data, room)
    assert await contents(shard) == {
        "d": None,
        "link": "../ö",
        "timed": b"",
        "odd": b"",
        "d/packed": b"p" * 5000,
        "d/stored": b"s" * 50,
    }
    assert shard.members["d"].mode == 0o750
    assert shard.members["d/packed"].mode == 0o4640
    assert shard.members["d/stored"].mtime_ns == 1_588_748_890 * 10**9
    assert shard.members["timed"].mtime_ns == 1_600_000_001 * 10**9
    assert shard.members["odd"].mtime_ns == 0
    assert shard.members["odd"].mode == 0o644
    assert shard.members["link"].size == 5
    shard.close()


async def test_names_that_unix_did_not_say_the_encoding_of_are_its_bytes(room: Room) -> None:
    for system, expected in (3, "nö\udcff"), (0, "n├╢\xa0"):
        name = "nxyz"
        data = zip_of((info(name, create_system=system), b"1"))
        data = data.replace(name.encode(), "nö".encode() + b"\xff")
        shard = await opened(data, room)
        assert list(await contents(shard)) == [expected]
        shard.close()


async def test_names_that_lead_elsewhere_are_left_out_and_counted(room: Room) -> None:
    data = zip_of(
        (info("/a"), b"1"), (info("../b"), b"2"), (info("n" * 300), b"3"), (info("a/c"), b"4")
    )
    shard = await opened(data, room)
    assert await contents(shard) == {"a": b"1"}
    assert shard.left_out == 3
    shard.close()


async def test_the_last_of_equal_names_counts(room: Room) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        data = zip_of((info("a"), b"old"), (info("a"), b"new"))
    shard = await opened(data, room)
    assert await contents(shard) == {"a": b"new"}
    shard.close()


async def test_bytes_before_the_archive_are_allowed(room: Room) -> None:
    shard = await opened(b"#!/bin/sh\n" * 500 + zip_of((info("a"), b"1")), room)
    assert await contents(shard) == {"a": b"1"}
    shard.close()


async def test_an_archive_without_members(room: Room) -> None:
    assert await contents(await opened(zip_of(), room)) == {}


async def test_what_the_real_zip_packs(tmp_path: Path, room: Room) -> None:
    top = tmp_path / "top"
    (top / "dir" / "empty").mkdir(parents=True)
    content = noise(3 * MIB)
    (top / "dir" / "fileö").write_bytes(content)
    (top / "dir" / "fileö").chmod(0o711)
    os.utime(top / "dir" / "fileö", (0, 1_600_000_001))
    (top / "link").symlink_to("dir/fileö")
    await trio.run_process(["zip", "-qry", tmp_path / "a.zip", "."], cwd=top)
    shard = await opened((tmp_path / "a.zip").read_bytes(), room)
    assert await contents(shard) == {
        "dir": None,
        "dir/empty": None,
        "dir/fileö": content,
        "link": "dir/fileö",
    }
    member = shard.members["dir/fileö"]
    assert (member.mode, member.mtime_ns) == (0o711, 1_600_000_001 * 10**9)
    shard.close()


async def test_sizes_of_64_bits_as_a_pipe_has_them(tmp_path: Path, room: Room) -> None:
    await trio.run_process(["sh", "-c", "head -c 100000 /dev/zero | zip -q a.zip -"], cwd=tmp_path)
    shard = await opened((tmp_path / "a.zip").read_bytes(), room)
    assert await contents(shard) == {"-": bytes(100_000)}
    shard.close()


names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: name not in {".", ".."})


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(names, st.tuples(st.booleans(), st.binary(max_size=5000)), max_size=8))
async def test_any_files_come_out_as_they_went_in(
    room: Room, files: dict[str, tuple[bool, bytes]]
) -> None:
    data = zip_of(*[(info(f"d/{name}", packed), body) for name, (packed, body) in files.items()])
    shard = await opened(data, room)
    expected = {f"d/{name}": body for name, (_, body) in files.items()}
    assert await contents(shard) == (expected | {"d": None} if files else {})
    shard.close()


# ---- how much is read -----------------------------------------------------------------------


async def test_the_index_reads_only_the_directory_and_a_read_its_range(room: Room) -> None:
    members = [(info(f"{number:04}", packed=False), b"x" * 100_000) for number in range(300)]
    source = MemorySource(zip_of(*members))
    shard = await open_shard(source, Format.ZIP, room)
    assert source.bytes_read < 200_000
    assert len(source.reads) == 1
    source.reads.clear()
    assert len(await shard.read(shard.members["0100"], 50_000, 1000)) == 1000
    assert source.bytes_read == 1030
    assert len(await shard.read(shard.members["0100"], 60_000, 1000)) == 1000
    assert source.bytes_read == 2030


async def test_readers_of_a_packed_member_unpack_it_once(room: Room) -> None:
    content = noise(4 * MIB)
    source = MemorySource(zip_of((info("a"), content)))
    shard = await open_shard(source, Format.ZIP, room)
    member = shard.members["a"]
    source.reads.clear()
    assert bytes(await shard.read(member, 0, 1000)) == content[:1000]
    assert source.bytes_read <= PIECE + 30

    async def reader(step: int) -> None:
        for offset in range(0, len(content), step):
            assert bytes(await shard.read(member, offset, step)) == content[offset : offset + step]

    async with trio.open_nursery() as nursery:
        for step in 70_000, 130_000, 1_000_000:
            nursery.start_soon(reader, step)
    assert bytes(await shard.read(member, 5, 5)) == content[5:10]
    assert source.bytes_read < source.size
    shard.close()


async def test_what_deflates_well_is_unpacked_in_pieces(room: Room) -> None:
    """A piece of input that is many pieces of output, the last of them without input."""
    content = bytes(9 * MIB) + b"end"
    shard = await opened(zip_of((info("a"), content)), room)
    member = shard.members["a"]
    assert bytes(await shard.read(member, 9 * MIB - 1, 10)) == b"\0end"
    assert bytes(await shard.read(member, 0, len(content))) == content
    shard.close()


async def test_many_members_do_not_stay_unpacked(room: Room) -> None:
    count = 3 * UNPACKED_AT_MOST
    shard = await opened(zip_of(*[(info(str(n)), b"%d" % n * 9) for n in range(count)]), room)
    for _ in range(2):
        for number in range(count):
            assert bytes(await shard.read(shard.members[str(number)], 0, 99)) == b"%d" % number * 9
    assert room.used <= UNPACKED_AT_MOST * 9 * 3
    shard.close()


async def test_members_take_turns_where_not_all_have_room(tmp_path: Path) -> None:
    room = Room(tmp_path, 3 * MIB)
    contents = [noise(2 * MIB) for _ in range(3)]
    shard = await opened(zip_of(*[(info(str(n)), data) for n, data in enumerate(contents)]), room)

    async def reader(number: int) -> None:
        member = shard.members[str(number)]
        for offset in range(0, 2 * MIB, 200_000):
            expected = contents[number][offset : offset + 200_000]
            assert bytes(await shard.read(member, offset, 200_000)) == expected

    for number in range(3):
        await reader(number)
    assert room.used == 2 * MIB
    shard.close()
    assert room.used == 0


async def test_a_member_that_never_fits_is_told(tmp_path: Path) -> None:
    room = Room(tmp_path, MIB)
    shard = await opened(zip_of((info("a"), bytes(2 * MIB)), (info("b"), b"2")), room)
    with pytest.raises(NoSpace, match="has to be unpacked"):
        await shard.read(shard.members["a"], 0, 1)
    assert bytes(await shard.read(shard.members["b"], 0, 1)) == b"2"
    shard.close()
    assert room.used == 0


# ---- what is not sound ----------------------------------------------------------------------


def patched(data: bytes, field: int, value: int, width: str = "<H") -> bytes:
    """Return an archive with a field of its first directory entry changed. APPNOTE 4.3.12."""
    changed = bytearray(data)
    struct.pack_into(width, changed, data.index(b"PK\1\2") + field, value)
    return bytes(changed)


FLAGS, METHOD, CRC, PACKED, SIZE, PLACE = 8, 10, 16, 20, 24, 42
ONE = zip_of((info("a"), b"1" * 3000), (info("b"), b"2"))
NULLS = zip_of((info("a", packed=False), bytes(3000)), (info("b"), b"2"))
STORED = zip_of((info("a", packed=False), b"1" * 3000), (info("b"), b"2"))


@pytest.mark.parametrize(
    ("data", "failure", "words"),
    [
        (patched(ONE, FLAGS, 1), Unsupported, "encrypted"),
        (patched(ONE, METHOD, zipfile.ZIP_LZMA), Unsupported, "method"),
        (patched(ONE, METHOD, 99), Unsupported, "method"),
        (patched(ONE, PLACE, 1 << 20, "<I"), Unsupported, "outside"),
        (patched(ONE, PACKED, 1 << 20, "<I"), Unsupported, "outside"),
        (patched(STORED, SIZE, 2999, "<I"), Unsupported, "two sizes"),
        (patched(ONE, PLACE, 5, "<I"), Corrupt, "no member at 5"),
        (patched(NULLS, PLACE, 100, "<I"), Corrupt, "no member at 100"),
        (patched(ONE, SIZE, 2999, "<I"), Corrupt, "does not unpack"),
        (patched(ONE, SIZE, 3001, "<I"), Corrupt, "does not unpack"),
        (patched(ONE, PACKED, 5, "<I"), Corrupt, "does not unpack"),
        (patched(ONE, CRC, 1, "<I"), Corrupt, "checksum"),
        (patched(STORED, CRC, 1, "<I"), Corrupt, "checksum"),
        (patched(STORED, METHOD, zipfile.ZIP_DEFLATED), Corrupt, "cannot be unpacked"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_member_that_is_not_sound_is_listed_and_refused(
    data: bytes, failure: type[FsError], words: str, room: Room
) -> None:
    shard = await opened(data, room)
    for _ in range(2):
        with pytest.raises(failure, match=words):
            await shard.read(shard.members["a"], 0, 5000)
    assert bytes(await shard.read(shard.members["b"], 0, 1)) == b"2"
    shard.close()


async def test_two_members_at_one_place_are_told_apart(room: Room) -> None:
    """The second says that there is more, of which the first knows nothing."""
    data = bytearray(zip_of((info("a"), b"1" * 50), (info("b"), b"2" * 60)))
    second = data.rindex(b"PK\1\2")
    struct.pack_into("<I", data, second + PLACE, 0)
    shard = await opened(bytes(data), room)
    assert bytes(await shard.read(shard.members["a"], 0, 60)) == b"1" * 50
    with pytest.raises(Corrupt):
        await shard.read(shard.members["b"], 0, 60)
    shard.close()


async def test_a_wrong_checksum_is_found_by_who_reads_on_to_the_end(room: Room) -> None:
    shard = await opened(patched(STORED, CRC, 1, "<I"), room)
    member = shard.members["a"]
    for offset in range(0, 2900, 100):
        await shard.read(member, offset, 100)
    with pytest.raises(Corrupt, match="checksum"):
        await shard.read(member, 2900, 100)
    assert len(await shard.read(member, 2900, 100)) == 100  # not whole, so not compared


async def test_checksums_are_computed_for_few_readers_only(room: Room) -> None:
    count = 2 * FOLLOWED
    members = [(info(str(number), packed=False), b"xy") for number in range(count)]
    shard = await opened(zip_of(*members), room)
    for number in range(count):
        assert len(await shard.read(shard.members[str(number)], 0, 1)) == 1
    assert isinstance(shard, ZipShard)
    assert len(shard._followed) == FOLLOWED


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"PK\5\6", b"x" * 100_000, ONE[:-10], ONE[: len(ONE) // 2]],
    ids=["none", "a byte", "signature", "garbage", "cut end", "cut half"],
)
async def test_what_is_no_sound_archive_is_corrupt(data: bytes, room: Room) -> None:
    with pytest.raises(Corrupt, match="zip archive"):
        await contents(await opened(data, room))


async def test_members_that_were_cut_off_the_start_are_refused(room: Room) -> None:
    shard = await opened(ONE[50:], room)
    with pytest.raises(Unsupported, match="outside"):
        await shard.read(shard.members["a"], 0, 1)
    assert bytes(await shard.read(shard.members["b"], 0, 1)) == b"2"
    shard.close()


async def test_a_later_version_of_the_format_is_not_supported(room: Room) -> None:
    with pytest.raises(Unsupported, match="version"):
        await opened(patched(ONE, 6, 99), room)


@pytest.mark.parametrize(
    ("count", "words"), [(1000, "names in the shard"), (8000, "directory of members")]
)
async def test_too_many_members_are_refused(count: int, words: str, tmp_path: Path) -> None:
    """Those that a small directory names, and a directory that is too large to be read."""
    data = zip_of(*[(info(str(number)), b"") for number in range(count)])
    with pytest.raises(NoSpace, match=words):
        await opened(data, Room(tmp_path, 0, index=100_000))


async def test_links_that_lead_nowhere_are_corrupt(room: Room) -> None:
    link = (stat.S_IFLNK | 0o777) << 16
    data = zip_of(
        (info("nul", external_attr=link), b"a\0b"),
        (info("none", external_attr=link), b""),
        (info("long", external_attr=link), b"x" * 100_000),
    )
    shard = await opened(data, room)
    for name in "nul", "none", "long":
        with pytest.raises(Corrupt, match="leads nowhere"):
            await shard.target(shard.members[name])
    shard.close()


async def test_each_kind_of_member_has_its_verbs(room: Room) -> None:
    link = (stat.S_IFLNK | 0o777) << 16
    shard = await opened(zip_of((info("d/f"), b"1"), (info("l", external_attr=link), b"d")), room)
    with pytest.raises(IsADirectory):
        await shard.read(shard.members["d"], 0, 1)
    with pytest.raises(Invalid):
        await shard.read(shard.members["l"], 0, 1)
    with pytest.raises(Invalid):
        await shard.target(shard.members["d/f"])
    with pytest.raises(NotADirectory):
        shard.children("d/f")
    with pytest.raises(NotFound):
        shard.children("x")


FUZZED = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SAMPLE = zip_of(
    (info("d/"), b""),
    (info("d/packed"), noise(600)),
    (info("stored", packed=False, extra=struct.pack("<HHBi", 0x5455, 5, 1, 1)), b"s" * 60),
    (info("link", external_attr=(stat.S_IFLNK | 0o777) << 16), b"d"),
    comment=b"words",
)


@FUZZED
@given(st.data())
async def test_flipped_bits_and_cuts_only_give_failures_with_words(
    room: Room, draw: st.DataObject
) -> None:
    data = bytearray(SAMPLE)
    start = draw.draw(st.sampled_from([0, SAMPLE.index(b"PK\1\2")]))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(start, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    cut = draw.draw(st.one_of(st.none(), st.integers(0, len(data))))
    try:
        shard = await opened(bytes(data[:cut]), room)
    except FsError:
        return
    for member in shard.members.values():
        try:
            if member.kind is Kind.LINK:
                await shard.target(member)
            elif member.kind is Kind.FILE:
                read = await shard.read(member, 0, 1 << 16)
                assert len(read) == min(member.size, 1 << 16)
        except FsError:
            continue
    shard.close()


@FUZZED
@given(st.binary(max_size=300))
async def test_garbage_before_an_end_record_only_gives_failures_with_words(
    room: Room, data: bytes
) -> None:
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(data), 0, 0)
    try:
        await opened(data + end, room)
    except FsError:
        return
    assert not data or data.startswith(b"PK\1\2")


# ---- failures and cancellation on the way -------------------------------------------------------


async def test_a_read_that_failed_or_was_cancelled_is_gone_on_with(room: Room) -> None:
    content = noise(2 * MIB)
    source = MemorySource(zip_of((info("a"), content)))
    shard = await open_shard(source, Format.ZIP, room)
    member = shard.members["a"]
    await shard.read(member, 0, 1000)
    source.failure = Stale("it changed")
    with pytest.raises(Stale):
        await shard.read(member, MIB, 1000)
    source.failure, source.gate = None, trio.Event()
    for _ in range(3):
        with trio.move_on_after(0.01) as scope:
            await shard.read(member, MIB, 1000)
        assert scope.cancelled_caught
    source.gate.set()
    source.reads.clear()
    assert bytes(await shard.read(member, 0, 2 * MIB)) == content
    assert source.bytes_read < source.size - PIECE + 1000  # the first piece was not read again
    shard.close()


async def test_a_shard_that_is_closed_lets_reads_end_and_begins_none(room: Room) -> None:
    content = noise(2 * MIB)
    source = MemorySource(zip_of((info("a"), content), (info("b"), content)))
    shard = await open_shard(source, Format.ZIP, room)
    first, second = shard.members["a"], shard.members["b"]
    await shard.read(first, 0, 1)
    source.gate = trio.Event()
    read: list[bytes] = []

    async def reader() -> None:
        read.append(bytes(await shard.read(first, 0, 2 * MIB)))

    async def late_reader() -> None:
        with pytest.raises(BadHandle):
            await shard.read(second, 0, 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        nursery.start_soon(late_reader)
        await trio.testing.wait_all_tasks_blocked(0.01)
        shard.close()
        source.gate.set()
    assert read == [content]
    with pytest.raises(BadHandle):
        await shard.read(first, 0, 1)


async def test_a_full_disk_is_told_and_a_later_read_begins_anew(
    tmp_path: Path, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = await opened(ONE, room)
    member = shard.members["a"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(NoSpace, match="full"):
            await shard.read(member, 0, 1)
    assert bytes(await shard.read(member, 0, 3000)) == b"1" * 3000
    shard.close()
