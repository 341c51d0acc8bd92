from __future__ import annotations

import base64
import re
import stat

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisfs.errors import FsError, NoSpace
from aisfs.fuse.attributes import _TYPE, bare_entry, entry_of
from aisfs.vfs.attributes import (
    FORMAT,
    MAX_STORED,
    Attributes,
    Kind,
    Presentation,
    decode,
    encode,
    foreign_mtime_ns,
)
from aisfs.vfs.nodes import FileNode, Ino

SHOWN = Presentation(uid=7, gid=8, file_mode=0o640, dir_mode=0o750)
OWNED = Presentation(uid=7, gid=8, file_mode=0o640, dir_mode=0o750, persist_owner=True)

ids = st.integers(0, (1 << 32) - 1)
times = st.integers(-(1 << 62), 1 << 62)
attributes = st.builds(
    Attributes,
    st.sampled_from(Kind),
    st.integers(0, 0o7777),
    ids,
    ids,
    times,
    st.just(0),
    st.dictionaries(st.text(max_size=20), st.binary(max_size=60), max_size=5),
)


def stored(*values: object) -> str:
    """Return what a writer that knows the format might store."""
    body = base64.urlsafe_b64encode(msgspec.msgpack.encode(values))
    return FORMAT + body.rstrip(b"=").decode()


@given(attributes)
def test_attributes_survive_being_stored(value: Attributes) -> None:
    assert decode(encode(value)) == value


@given(attributes)
def test_a_stored_value_is_safe_in_headers_and_listings(value: Attributes) -> None:
    assert re.fullmatch(r"1\.[A-Za-z0-9_-]*", encode(value))


def test_the_format_does_not_change() -> None:
    value = Attributes(Kind.SYMLINK, 0o640, 1, 2, 1_700_000_000_123_456_789, 0, {"user.a": b"b"})
    text = "1.lgHNAaABAs8Xl5z-PYXNFYGmdXNlci5hxAFi"
    assert encode(value) == text
    assert decode(text) == value


@given(st.one_of(st.text(), st.text().map(lambda text: FORMAT + text), st.binary().map(repr)))
def test_what_is_not_ours_reads_as_absent_or_as_attributes(text: str) -> None:
    value = decode(text)
    assert value is None or isinstance(value, Attributes)


@given(
    st.lists(st.one_of(st.integers(-(1 << 63), (1 << 64) - 1), st.text(), st.none()), max_size=8)
)
def test_whatever_others_store_can_be_shown(values: list[object]) -> None:
    """One object with absurd attributes must not fail the listing of its directory."""
    shown = OWNED.of_object(stored(*values), 5, 1)
    entry = entry_of(FileNode(Ino(2), None, "o", shown), 1.0)
    assert entry.st_size == 5


@pytest.mark.parametrize(
    "values",
    [
        (0, 0o644, 1 << 40, 0, 0, {}),
        (0, 0o644, 0, -1, 0, {}),
        (0, 0o644, 0, 0, 1.5, {}),
        (9, 0o644, 0, 0, 0, {}),
        (0, 0o644, 0, 0, 0, {}, "more"),
    ],
)
def test_values_that_no_file_has_read_as_absent(values: tuple[object, ...]) -> None:
    assert decode(stored(*values)) is None


def test_a_later_format_reads_as_absent() -> None:
    assert decode("2." + encode(Attributes(Kind.FILE, 0, 0, 0, 0))[2:]) is None


@pytest.mark.parametrize("mtime_ns", [-(1 << 70), 1 << 70])
def test_a_time_that_cannot_be_stored_becomes_the_nearest(mtime_ns: int) -> None:
    found = decode(encode(Attributes(Kind.FILE, 0, 0, 0, mtime_ns)))
    assert found is not None
    assert found.mtime_ns in {-(1 << 63), (1 << 64) - 1}
    assert (found.mtime_ns < 0) == (mtime_ns < 0)


def test_too_large_attributes_are_no_space() -> None:
    fits = Attributes(Kind.FILE, 0, 0, 0, 0, 0, {"user.a": b"x" * 1400})
    assert len(encode(fits)) <= MAX_STORED
    with pytest.raises(NoSpace):
        encode(fits.but(xattrs={"user.a": b"x" * 1600}))


def test_a_name_that_is_no_text_is_refused_and_no_bug() -> None:
    with pytest.raises(FsError):
        encode(Attributes(Kind.FILE, 0, 0, 0, 0, 0, {"user.\udcff": b""}))


# -- what is shown


def test_objects_of_others_get_the_configured_look() -> None:
    assert SHOWN.of_object("", 5, 99) == Attributes(Kind.FILE, 0o640, 7, 8, 99, 5)


def test_own_attributes_are_shown_with_the_mounters_ids() -> None:
    own = Attributes(Kind.FILE, 0o600, 1, 2, 33, 0, {"user.a": b"b"})
    assert SHOWN.of_object(encode(own), 5, 99) == own.but(uid=7, gid=8, size=5)
    assert OWNED.of_object(encode(own), 5, 99) == own.but(size=5)


def test_a_file_with_a_directorys_attributes_is_a_file() -> None:
    marker = encode(Attributes(Kind.DIRECTORY, 0o700, 1, 2, 3))
    assert SHOWN.of_object(marker, 5, 99).kind is Kind.FILE


def test_directories_are_shown_from_their_marker() -> None:
    own = Attributes(Kind.DIRECTORY, 0o700, 1, 2, 33)
    assert SHOWN.of_directory(encode(own), 99) == own.but(uid=7, gid=8)
    assert OWNED.of_directory(encode(own), 99) == own
    assert SHOWN.of_directory("", 99) == Attributes(Kind.DIRECTORY, 0o750, 7, 8, 99)
    assert SHOWN.of_directory(encode(own.but(kind=Kind.FILE)), 99).mode == 0o750


# -- times of objects that others wrote

CREATED = 1_700_000_000_999_999_999


def test_a_foreign_time_follows_version_and_checksum() -> None:
    assert foreign_mtime_ns(CREATED, "3", "000000ff00") == 1_700_000_003_000_000_255


@given(st.integers(0, 10**8), st.integers(0, 10**8))
def test_another_version_is_another_time(one: int, two: int) -> None:
    times = {foreign_mtime_ns(CREATED, str(v), "12345678aa") for v in (one, two)}
    assert len(times) == len({one, two})


@pytest.mark.parametrize(
    "version", ["", "1", "1700000000123456", "9" * 40, "v2", "²", "Zl.8sbGWmzEMSNUEvFFZ", "-3"]
)
@pytest.mark.parametrize("checksum", ["", "zz", "ffffffffffffffff", "1"])
def test_every_backends_version_gives_a_time_that_can_be_shown(version: str, checksum: str) -> None:
    """Google's versions are numbers of sixteen digits, Amazon's are no numbers."""
    time_ns = foreign_mtime_ns(CREATED, version, checksum)
    shown = SHOWN.of_object("", 5, time_ns)
    assert entry_of(FileNode(Ino(2), None, "o", shown), 1.0).st_mtime_ns == time_ns
    assert CREATED // 10**9 <= time_ns // 10**9 < (1 << 33)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_bare_entry_has_a_type_and_no_node(kind: Kind) -> None:
    entry = bare_entry(kind)
    assert entry is not None, (
        "pyfuse3's structure changed: long directories take memory for each name"
    )
    assert entry.st_ino == 0  # pyfuse3 shows the node's
    assert stat.S_IFMT(entry.st_mode) == stat.S_IFMT(_TYPE[kind])
