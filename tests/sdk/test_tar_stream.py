"""The tar reader against the standard library's writer."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisfs_sdk.tar_stream import tar_members

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
NAMES = ["a", "d/e f", "ü/é", "n" * 99, "n" * 100, "p" * 90 + "/" + "q" * 60, "x" * 300]


def packed(members: list[tuple[str, bytes]], how: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=how) as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 12345.5 if how == tarfile.PAX_FORMAT else 12345
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "a"
        archive.addfile(link)
    return file.getvalue()


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 100_000])
def test_members_are_those_that_were_packed(how: int, name: str, size: int) -> None:
    if how == tarfile.USTAR_FORMAT and len(name) > 250:
        return  # has no room for it
    members = [(name, b"x" * size), ("next", b"y")]
    assert list(tar_members(io.BytesIO(packed(members, how)))) == members


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0/"),
                                  min_size=1, max_size=200), st.binary(max_size=2000))),
       st.sampled_from(FORMATS[1:]))  # fmt: skip
def test_any_names(members: list[tuple[str, bytes]], how: int) -> None:
    assert list(tar_members(io.BytesIO(packed(members, how)))) == members


def test_what_is_cut_or_changed_is_told() -> None:
    whole = packed([("a", b"x" * 1000), ("b", b"y" * 10)], tarfile.PAX_FORMAT)
    ends = whole.rstrip(b"\0")
    for size in range(0, len(ends), 97):
        with pytest.raises(tarfile.ReadError):
            list(tar_members(io.BytesIO(whole[:size])))
    with pytest.raises(tarfile.ReadError, match="checksum"):
        list(tar_members(io.BytesIO(b"z" + whole[1:])))


def test_large_sizes_as_gnu_writes_them() -> None:
    header = bytearray(packed([("a", b"data")], tarfile.GNU_FORMAT)[512:1024])
    header[124:136] = b"\x80" + (4).to_bytes(11)
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    stream = bytes(header) + b"data" + bytes(508 + 1024)
    assert list(tar_members(io.BytesIO(stream))) == [("a", b"data")]
