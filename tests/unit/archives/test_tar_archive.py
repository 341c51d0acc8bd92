from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import tracemalloc
from typing import TYPE_CHECKING, Any, Literal

import lz4.frame
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisfs.archives.formats import Format
from aisfs.archives.members import Kind
from aisfs.archives.shard import open_shard
from aisfs.archives.shard_file import PIECE
from aisfs.archives.spool import Room
from aisfs.errors import BadHandle, Corrupt, FsError, IoFailure, NoSpace, Stale, Unsupported
from tests.support.shards import HoledSource, MemorySource, contents, entry, header, tar_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aisfs.archives.shard import Shard

Form = Literal[0, 1, 2]
FORMS: list[Form] = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
BLOCK = tarfile.BLOCKSIZE
MIB = 1 << 20


async def opened(data: bytes, room: Room, kind: Format = Format.TAR) -> Shard:
    return await open_shard(MemorySource(data), kind, room)


async def seen(data: bytes, room: Room) -> dict[str, bytes | str | None]:
    return await contents(await opened(data, room))


def raw_header(
    name: bytes = b"raw",
    size: bytes = b"00000000000\0",
    kind: bytes = b"0",
    holed: bytes = bytes(12),
) -> bytes:
    """Return a header of the oldest format, with what no writer would write.

    `holed` is the size of a file with holes, in GNU's format.
    """
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = size
    block[136:148] = b"00000000007\0"
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[483:495] = holed
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


# ---- what is there --------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
async def test_files_directories_and_links_are_as_they_were_packed(form: Form, room: Room) -> None:
    data = tar_of(
        entry("d/", type=tarfile.DIRTYPE, mode=0o750, mtime=5),
        entry("d/file", b"bytes", mode=0o4640, mtime=1_700_000_000),
        entry("d/symbolic", type=tarfile.SYMTYPE, linkname="../ö"),
        entry("d/hard", type=tarfile.LNKTYPE, linkname="d/file"),
        entry("deep/er/file", b"x" * 1000),
        form=form,
    )
    shard = await opened(data, room)
    assert await contents(shard) == {
        "d": None,
        "d/file": b"bytes",
        "d/symbolic": "../ö",
        "d/hard": b"bytes",
        "deep": None,
        "deep/er": None,
        "deep/er/file": b"x" * 1000,
    }
    file = shard.members["d/file"]
    assert (file.size, file.mode, file.mtime_ns) == (5, 0o4640, 1_700_000_000 * 10**9)
    assert (shard.members["d"].mode, shard.members["d"].mtime_ns) == (0o750, 5 * 10**9)
    assert shard.members["d/symbolic"].size == 5
    assert shard.members["d/hard"].mtime_ns == file.mtime_ns
    assert list(shard.children("d")) == ["file", "symbolic", "hard"]
    assert shard.left_out == 0


@pytest.mark.parametrize("form", FORMS[1:])
async def test_long_names_and_targets_are_whole(form: Form, room: Room) -> None:
    name = "/".join(["ordner-ö" * 20] * 9)
    data = tar_of(entry(name, b"1"), entry("l", type=tarfile.SYMTYPE, linkname=name), form=form)
    found = await seen(data, room)
    assert found[name] == b"1"
    assert found["l"] == name


async def test_names_that_are_no_text_are_kept(room: Room) -> None:
    data = raw_header(b"\xff\xfe") + bytes(2 * BLOCK)
    assert list(await seen(data, room)) == ["\udcff\udcfe"]


async def test_extended_times_keep_their_nanoseconds(room: Room) -> None:
    data = tar_of(
        entry("a", pax_headers={"mtime": "1700000000.123456789"}),
        entry("b", pax_headers={"mtime": "-1.5"}),
        entry("c", pax_headers={"mtime": "1e400"}),
        entry("d", pax_headers={"mtime": "nan"}),
        entry("e", pax_headers={"mtime": "9" * 30}),
        entry("f", pax_headers={"mtime": "soon"}),
    )
    shard = await opened(data, room)
    times = [shard.members[name].mtime_ns for name in "abcdef"]
    assert times == [1_700_000_000_123_456_789, -1_500_000_000, 0, 0, 0, 0]


@pytest.mark.parametrize("form", FORMS[1:])
async def test_sizes_beyond_octal_digits_are_right(form: Form, room: Room) -> None:
    """Base-256 in GNU's format, a record of its own in pax."""
    size = 10 << 30
    first = header("huge", size).tobuf(form)
    after = header("after", 3).tobuf(form) + b"abc".ljust(BLOCK, b"\0")
    source = HoledSource(
        {0: first, len(first) + size - 1: b"!", len(first) + size: after},
        len(first) + size + len(after) + 2 * BLOCK,
    )
    shard = await open_shard(source, Format.TAR, room)
    huge = shard.members["huge"]
    assert huge.size == size
    assert bytes(await shard.read(huge, size - 2, 10)) == b"\0!"
    assert bytes(await shard.read(shard.members["after"], 0, 3)) == b"abc"


async def test_the_oldest_format_has_directories_by_their_slash(room: Room) -> None:
    data = raw_header(b"d/", kind=b"\0") + raw_header(b"d/f", b"00000000003\0", b"\0")
    data += b"abc".ljust(BLOCK, b"\0") + bytes(2 * BLOCK)
    assert await seen(data, room) == {"d": None, "d/f": b"abc"}


async def test_a_hard_link_shows_what_its_file_was_then(room: Room) -> None:
    data = tar_of(
        entry("a", b"old"),
        entry("b", type=tarfile.LNKTYPE, linkname="./a"),
        entry("a", b"new"),
        entry("c", type=tarfile.LNKTYPE, linkname="b"),
    )
    assert await seen(data, room) == {"a": b"new", "b": b"old", "c": b"old"}


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"type": tarfile.LNKTYPE, "linkname": "gone"}, "not in the shard"),
        ({"type": tarfile.LNKTYPE, "linkname": "../a"}, "not in the shard"),
        ({"type": tarfile.LNKTYPE, "linkname": ""}, "not in the shard"),
        ({"type": tarfile.FIFOTYPE}, "device or pipe"),
        ({"type": tarfile.CHRTYPE}, "device or pipe"),
    ],
)
async def test_what_has_no_bytes_is_listed_and_says_so(
    attributes: dict[str, Any], words: str, room: Room
) -> None:
    shard = await opened(tar_of(entry("a", b"1"), (header("x", **attributes), b"")), room)
    assert words in shard.members["x"].flaw
    with pytest.raises(Unsupported, match=words):
        await shard.read(shard.members["x"], 0, 1)


async def test_names_that_lead_elsewhere_are_left_out_and_counted(room: Room) -> None:
    data = tar_of(
        entry("/absolute", b"1"),
        entry("../up", b"2"),
        entry("a/../../b", b"3"),
        entry("n" * 300, b"4"),
        entry("absolute/under", b"5"),
        entry("", b"6"),
        entry("link", type=tarfile.SYMTYPE, linkname=""),
        entry("nul", b"7", pax_headers={"path": "n\0l"}),
        entry("last", b"8"),
    )
    shard = await opened(data, room)
    assert await contents(shard) == {"absolute": b"1", "last": b"8"}
    assert shard.left_out == 7


async def test_no_bytes_and_only_end_blocks_are_archives_without_members(room: Room) -> None:
    assert await seen(b"", room) == {}
    assert await seen(bytes(10240), room) == {}


async def test_an_archive_without_end_blocks_is_whole(room: Room) -> None:
    data = tar_of(entry("a", b"1"), entry("b", b"2"))
    assert await seen(data[: 4 * BLOCK], room) == {"a": b"1", "b": b"2"}


# ---- how much is read -----------------------------------------------------------------------


async def test_the_index_of_large_members_reads_only_their_headers(room: Room) -> None:
    count, size = 1000, MIB
    pieces, place = {}, 0
    for number in range(count):
        pieces[place] = header(f"{number:06}", size).tobuf()
        place += BLOCK + size
    source = HoledSource(pieces, place + 2 * BLOCK)
    shard = await open_shard(source, Format.TAR, room)
    assert len(shard.members) == count + 1
    assert source.bytes_read < source.size // 100
    assert len(source.reads) < 1.1 * count
    source.reads.clear()
    assert len(await shard.read(shard.members["000500"], 1000, 5000)) == 5000
    assert source.bytes_read == 5000


async def test_small_members_cost_few_reads(room: Room) -> None:
    data = tar_of(*[entry(f"{number:06}", b"x" * 1000) for number in range(2000)])
    source = MemorySource(data)
    await open_shard(source, Format.TAR, room)
    assert len(source.reads) <= len(data) / PIECE + 2
    assert source.bytes_read < 1.05 * len(data)


async def test_headers_that_were_read_are_forgotten(room: Room) -> None:
    """tarfile would keep 350 bytes for each, beside the 240 that a member takes."""
    count = 20_000
    source = MemorySource(tar_of(*[entry(str(number)) for number in range(count)]))
    tracemalloc.start()
    shard = await open_shard(source, Format.TAR, room)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(shard.members) == count + 1
    assert peak < 400 * count


async def test_a_read_ends_where_the_member_does(room: Room) -> None:
    shard = await opened(tar_of(entry("a", b"12345"), entry("b", b"67")), room)
    member = shard.members["a"]
    assert bytes(await shard.read(member, 3, 100)) == b"45"
    assert bytes(await shard.read(member, 5, 100)) == b""
    assert bytes(await shard.read(member, 9, 1)) == b""


# ---- holes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
async def test_files_with_holes_are_whole(form: str, tmp_path: Path, room: Room) -> None:
    file = tmp_path / "holes"
    with file.open("wb") as out:
        for number in range(40):  # more extents than the first header holds
            out.seek(number * 300_000)
            out.write(bytes([number + 1]) * 5000)
        out.truncate(40 * 300_000)
    options = ["--format=gnu"] if form == "gnu" else [f"--sparse-version={form}", "--format=pax"]
    packed = tmp_path / "a.tar"
    await trio.run_process(["tar", "-C", tmp_path, "-S", *options, "-cf", packed, "holes"])
    assert packed.stat().st_size < MIB
    shard = await opened(packed.read_bytes(), room)
    member, expected = shard.members["holes"], file.read_bytes()
    assert bytes(await shard.read(member, 0, member.size)) == expected
    for offset in range(0, len(expected), 177_777):
        assert bytes(await shard.read(member, offset, 9999)) == expected[offset : offset + 9999]


async def test_a_map_of_holes_that_lies_is_refused(room: Room) -> None:
    records = {"GNU.sparse.map": "0,10,5,10", "GNU.sparse.size": "100", "GNU.sparse.name": "x"}
    data = tar_of(entry("raw", b"1" * 20, pax_headers=records), entry("b", b"2"))
    shard = await opened(data, room)
    with pytest.raises(Unsupported, match="map of holes"):
        await shard.read(shard.members["x"], 0, 10)
    assert bytes(await shard.read(shard.members["b"], 0, 1)) == b"2"


# ---- what is not sound ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 5000,
        b"x",
        tar_of(entry("a", b"1" * 5000))[:3000],
        tar_of(entry("a", b"1"), entry("b", b"2"))[: 2 * BLOCK + 100],
        tar_of(entry("a", b"1"))[: 2 * BLOCK] + b"x" * BLOCK,
        raw_header(size=b"\xff" * 11 + b"\x00") + bytes(4 * BLOCK),
        raw_header(size=b"\x80" + b"\xff" * 11) + bytes(4 * BLOCK),
        raw_header(kind=b"L", size=b"\x80" + bytes(6) + b"\x40" + bytes(4)) + bytes(4 * BLOCK),
        raw_header(kind=b"L", size=b"%011o\0" % BLOCK) + b"long".ljust(BLOCK, b"\0"),
        raw_header(kind=b"L") * 5000,
        raw_header()  # and one that leads back to itself
        + raw_header(kind=b"S", size=b"\xff" * 10 + b"\xfe\x00", holed=b"00000000001\0"),
        tar_of(entry("a", pax_headers={"size": "-5000"})),
        tar_of(entry("a", pax_headers={"GNU.sparse.map": "x", "GNU.sparse.size": "1"})),
        tar_of(entry("a", pax_headers={"comment": "9" * 5000})),
    ],
    ids=lambda data: str(len(data)),
)
async def test_what_is_no_sound_archive_is_corrupt(data: bytes, room: Room) -> None:
    with pytest.raises(Corrupt, match="archive"):
        await opened(data, room)


async def test_headers_of_a_member_take_no_more_memory_than_they_may(room: Room) -> None:
    data = tar_of(entry("a", pax_headers={"comment": "x" * (2 * MIB)}), entry("b"))
    source = MemorySource(data)
    with pytest.raises(Corrupt, match="too many bytes"):
        await open_shard(source, Format.TAR, room)
    assert source.bytes_read <= 2 * PIECE


async def test_global_records_do_not_pile_up(room: Room) -> None:
    buffer = io.BytesIO()
    for number in range(3):
        records = {f"r{number}-{each}": "x" for each in range(500)}
        info = tarfile.TarInfo("x")
        buffer.write(info.create_pax_global_header(records))
        buffer.write(header(f"{number}").tobuf())
    with pytest.raises(Corrupt, match="cannot be right"):
        await opened(buffer.getvalue(), room)


async def test_too_many_members_are_refused(tmp_path: Path) -> None:
    data = tar_of(*[entry(str(number)) for number in range(1000)])
    with pytest.raises(NoSpace, match="names in the shard"):
        await opened(data, Room(tmp_path, 0, index=100_000))


async def test_a_failure_of_the_source_is_told_as_it_is(room: Room) -> None:
    source = MemorySource(tar_of(entry("a", b"1")), failure=Stale("it changed"))
    for kind in Format:
        with pytest.raises(Stale, match="it changed"):
            await open_shard(source, kind, room)


PLAIN = tar_of(
    entry("d/", type=tarfile.DIRTYPE),
    entry("d/" + "long" * 40, b"a" * 700, pax_headers={"mtime": "1.5"}),
    entry("l", type=tarfile.SYMTYPE, linkname="d"),
    entry("h", type=tarfile.LNKTYPE, linkname="d/x"),
    entry("s", b"1" * 20, pax_headers={"GNU.sparse.map": "0,10,50,10", "GNU.sparse.size": "60"}),
    entry("z", b"z" * 100),
)[: 16 * BLOCK]
PACKED = {
    Format.TAR: PLAIN,
    Format.TGZ: gzip.compress(PLAIN),
    Format.LZ4: lz4.frame.compress(PLAIN, content_checksum=True),
}


async def only_fails_well(data: bytes, kind: Format, room: Room) -> None:
    """Open and read all that is there; with FsErrors or without, but never with another."""
    try:
        shard = await opened(data, room, kind)
    except FsError:
        return
    try:
        for member in shard.members.values():
            if member.kind is Kind.FILE:
                try:
                    read = await shard.read(member, 0, 1 << 16)
                except FsError:
                    continue
                assert len(read) == min(member.size, 1 << 16)
    finally:
        shard.close()


FUZZED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FUZZED
@given(st.sampled_from(list(PACKED)), st.binary(max_size=2000))
async def test_garbage_only_gives_failures_with_words(
    room: Room, kind: Format, data: bytes
) -> None:
    await only_fails_well(data, kind, room)


@FUZZED
@given(st.sampled_from(list(PACKED)), st.data())
async def test_flipped_bits_and_cuts_only_give_failures_with_words(
    room: Room, kind: Format, draw: st.DataObject
) -> None:
    data = bytearray(PACKED[kind])
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    cut = draw.draw(st.one_of(st.none(), st.integers(0, len(data))))
    await only_fails_well(bytes(data[:cut]), kind, room)


@FUZZED
@given(st.data())
async def test_odd_headers_with_right_sums_only_give_failures_with_words(
    room: Room, draw: st.DataObject
) -> None:
    """A flip in a header is mostly caught by its sum; here the sum is made right again."""
    data = bytearray(PLAIN)
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, len(data) // BLOCK - 1)) * BLOCK
        data[at + draw.draw(st.integers(0, 511))] = draw.draw(st.integers(0, 255))
        data[at + 156] = draw.draw(st.sampled_from(b"0125LKSxgV\0"))
        data[at + 148 : at + 156] = b" " * 8
        data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + BLOCK])
    await only_fails_well(bytes(data), Format.TAR, room)


# ---- trees of any shape, by the real tools ------------------------------------------------------

names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30
).filter(lambda name: name not in {".", ".."} and len(name.encode()) <= 255)
trees = st.dictionaries(
    names,
    st.recursive(
        st.binary(max_size=3000), lambda deeper: st.dictionaries(names, deeper, max_size=4)
    ),
    max_size=5,
)
Tree = dict[str, "Tree | bytes"]


def flat(tree: Tree, above: str = "") -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for name, content in tree.items():
        if isinstance(content, bytes):
            found[above + name] = content
        else:
            found[above + name] = None
            found |= flat(content, f"{above}{name}/")
    return found


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(trees, st.sampled_from(FORMS[1:]), st.sampled_from(list(PACKED)))
async def test_any_tree_comes_out_as_it_went_in(
    room: Room, tree: Tree, form: Form, kind: Format
) -> None:
    expected = flat(tree)
    data = tar_of(
        *[
            entry(path, type=tarfile.DIRTYPE) if content is None else entry(path, content)
            for path, content in expected.items()
        ],
        form=form,
    )
    pack = {Format.TAR: bytes, Format.TGZ: gzip.compress, Format.LZ4: lz4.frame.compress}[kind]
    shard = await opened(pack(data), room, kind)
    assert await contents(shard) == expected
    shard.close()


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "pax"])
@pytest.mark.parametrize("kind", ["tar", "tgz", "tar.lz4"])
async def test_what_the_real_tar_packs(form: str, kind: str, tmp_path: Path, room: Room) -> None:
    if kind == "tar.lz4" and not shutil.which("lz4"):
        pytest.skip("no lz4 here")
    top = tmp_path / "top"
    (top / "dir" / "empty").mkdir(parents=True)
    (top / "dir" / "file").write_bytes(os.urandom(100_000))
    os.utime(top / "dir" / "file", ns=(0, 1_600_000_000_987_654_321))
    (top / "link").symlink_to("dir/file")
    os.link(top / "dir" / "file", top / "zhard")
    (top / "dir" / "file").chmod(0o711)
    packed = tmp_path / "packed"
    program = {"tar": [], "tgz": ["-z"], "tar.lz4": ["-I", "lz4"]}[kind]
    await trio.run_process(
        ["tar", "-C", top, f"--format={form}", *program, "--sort=name", "-cf", packed, "."],
    )
    shard = await opened(packed.read_bytes(), room, Format(kind))
    content = (top / "dir" / "file").read_bytes()
    assert await contents(shard) == {
        "dir": None,
        "dir/empty": None,
        "dir/file": content,
        "link": "dir/file",
        "zhard": content,
    }
    file = shard.members["dir/file"]
    assert file.mode == 0o711
    assert file.mtime_ns == 1_600_000_000_000_000_000 + (987_654_321 if form == "pax" else 0)
    shard.close()


# ---- inside gzip and lz4 ------------------------------------------------------------------------

TWO = tar_of(entry("a", b"1" * 3000), entry("b", b"2"))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (gzip.compress(TWO[:1000]) + gzip.compress(TWO[1000:]), Format.TGZ),
        (gzip.compress(TWO) + bytes(100), Format.TGZ),
        (lz4.frame.compress(TWO[:1000]) + lz4.frame.compress(TWO[1000:]), Format.LZ4),
    ],
    ids=["gzip members", "gzip padding", "lz4 frames"],
)
async def test_pieces_that_were_packed_apart_are_one_archive(
    data: bytes, kind: Format, room: Room
) -> None:
    shard = await opened(data, room, kind)
    assert await contents(shard) == {"a": b"1" * 3000, "b": b"2"}
    shard.close()


@pytest.mark.parametrize("kind", [Format.TGZ, Format.LZ4])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-20],
        lambda data: data[:3],
        lambda data: data + b"trailing garbage",
        lambda data: TWO,
        lambda data: b"x" * 1000,
    ],
    ids=["empty", "cut", "cut head", "garbage behind", "not packed", "garbage"],
)
async def test_what_does_not_unpack_is_corrupt(
    kind: Format, spoil: Callable[[bytes], bytes], room: Room
) -> None:
    pack = {Format.TGZ: gzip.compress, Format.LZ4: lz4.frame.compress}[kind]
    with pytest.raises(Corrupt, match="archive"):
        await opened(spoil(pack(TWO)), room, kind)


async def test_a_wrong_checksum_in_gzip_is_corrupt(room: Room) -> None:
    data = bytearray(gzip.compress(TWO))
    data[-8] ^= 1
    with pytest.raises(Corrupt, match="CRC"):
        await opened(bytes(data), room, Format.TGZ)


@pytest.mark.parametrize("kind", [Format.TGZ, Format.LZ4])
async def test_a_bomb_ends_at_the_limit(kind: Format, room: Room) -> None:
    bomb = tar_of(entry("a", bytes(100 * MIB)))
    pack = {Format.TGZ: gzip.compress, Format.LZ4: lz4.frame.compress}[kind]
    source = MemorySource(pack(bomb))
    with pytest.raises(NoSpace, match="has to be unpacked"):
        await open_shard(source, kind, room)


async def test_shards_share_the_room_and_give_it_back(tmp_path: Path) -> None:
    room = Room(tmp_path, 3 * MIB)
    packed = gzip.compress(tar_of(entry("a", bytes(2 * MIB))))
    first = await opened(packed, room, Format.TGZ)
    with pytest.raises(NoSpace):
        await opened(packed, room, Format.TGZ)
    first.close()
    assert room.used == 0
    (await opened(packed, room, Format.TGZ)).close()


async def test_a_member_that_was_unpacked_is_not_read_from_the_source_again(room: Room) -> None:
    source = MemorySource(gzip.compress(TWO))
    shard = await open_shard(source, Format.TGZ, room)
    assert source.bytes_read == source.size
    source.reads.clear()
    assert bytes(await shard.read(shard.members["b"], 0, 1)) == b"2"
    assert not source.reads
    shard.close()


async def test_nothing_is_read_once_the_shard_is_closed(room: Room) -> None:
    for kind in (Format.TAR, Format.TGZ):
        shard = await opened(PACKED[kind], room, kind)
        shard.close()
        shard.close()
        with pytest.raises(BadHandle):
            await shard.read(shard.members["z"], 0, 1)


async def test_a_directory_for_spools_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(IoFailure, match="what is unpacked"):
        await opened(PACKED[Format.TGZ], Room(tmp_path / "gone", MIB), Format.TGZ)


# ---- cancellation -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Format))
async def test_who_is_cancelled_leaves_nothing_behind(kind: Format, room: Room) -> None:
    source = MemorySource(PACKED.get(kind, b"PK" * 100), stops_at=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_shard, source, kind, room)
        await source.stopped.wait()
        nursery.cancel_scope.cancel()
    assert room.indexers.borrowed_tokens == 0
    assert room.unpackers.borrowed_tokens == 0


@pytest.mark.parametrize("kind", [Format.TAR, Format.TGZ, Format.LZ4])
async def test_who_is_cancelled_while_it_unpacks_leaves_nothing_behind(
    kind: Format, room: Room
) -> None:
    """The source stops after some pieces, when a spool has bytes already."""
    pack = {Format.TAR: bytes, Format.TGZ: gzip.compress, Format.LZ4: lz4.frame.compress}[kind]
    members = [entry(str(number), os.urandom(100_000)) for number in range(50)]
    source = MemorySource(pack(tar_of(*members)), stops_at=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_shard, source, kind, room)
        await source.stopped.wait()
        assert (room.used > 0) is (kind is not Format.TAR)
        nursery.cancel_scope.cancel()
    assert room.indexers.borrowed_tokens == 0
    assert room.used == 0
