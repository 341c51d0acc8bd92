"""Members that are added to local copies of shards of all kinds and makers."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from typing import TYPE_CHECKING

import lz4.frame
import pytest

from aisfs.errors import Corrupt, Exists, Invalid, Unsupported
from aisfs.store.shard_additions import (
    NewMember,
    add_member,
    check_additions_to,
    check_member,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = {"d/x": b"x" * 700, "d/empty": b"", "top": random.Random(1).randbytes(70_000)}
BODY = random.Random(2).randbytes(1_500_001)

UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tgz": gzip.decompress,
    ".tar.gz": gzip.decompress,
    ".tar.lz4": lz4.frame.decompress,
}
PACK: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tgz": gzip.compress,
    ".tar.gz": gzip.compress,
    ".tar.lz4": lz4.frame.compress,
}


def added(shard: str, content: bytes, name: str = "new/m", body: bytes = BODY) -> bytes:
    with tempfile.TemporaryFile() as copy, tempfile.TemporaryFile() as file:
        copy.write(content)
        file.write(body)
        add_member(shard, copy, NewMember(name, file, len(body)))
        copy.seek(0)
        return copy.read()


def in_tar(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        return {m.name: f.read() for m in archive if (f := archive.extractfile(m)) is not None}


def in_zip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def gnu_tar(folder: Path, *options: str) -> bytes:
    for name, data in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    made = subprocess.run(
        ["tar", *options, "-C", folder, "-cf", "-", "d", "top"], check=True, capture_output=True
    )
    return made.stdout


def python_tar(form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.25
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
        archive.writestr("ä", b"a")
        archive.comment = comment
    return out.getvalue()


def sparse(folder: Path) -> bytes:
    with (folder / "holes").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
        file.truncate(3 << 20)
    made = subprocess.run(
        ["tar", "-S", "-C", folder, "-cf", "-", "holes"], check=True, capture_output=True
    )
    return made.stdout


@pytest.mark.parametrize("suffix", UNPACK)
@pytest.mark.parametrize("maker", ["gnu", "gnu-posix", "python", "python-gnu", "unpadded", "none"])
def test_every_member_stays_as_it_was(suffix: str, maker: str, tmp_path: Path) -> None:
    made = {
        "gnu": gnu_tar(tmp_path),
        "gnu-posix": gnu_tar(tmp_path, "--format=posix"),
        "python": python_tar(),
        "python-gnu": python_tar(tarfile.GNU_FORMAT),
        "unpadded": gnu_tar(tmp_path, "--blocking-factor=1"),
        "none": bytes(1024),
    }
    shard = PACK[suffix](made[maker])
    once = added(f"s{suffix}", shard)
    twice = added(f"s{suffix}", once, "new/n", b"small")
    files = FILES if maker != "none" else {}
    assert in_tar(UNPACK[suffix](once)) == {**files, "new/m": BODY}
    assert in_tar(UNPACK[suffix](twice)) == {**files, "new/m": BODY, "new/n": b"small"}
    listed = subprocess.run(
        ["tar", "t"], input=UNPACK[suffix](twice), capture_output=True, check=True
    )
    assert listed.stderr == b""


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_archive_keeps_what_it_has(method: int) -> None:
    before = zipped(method, b"a comment")
    once = added("s.zip", before)
    twice = added("s.zip", once, "new/n", b"small")
    expected = {**FILES, "ä": b"a", "new/m": BODY}
    assert in_zip(once) == expected
    assert in_zip(twice) == {**expected, "new/n": b"small"}
    with zipfile.ZipFile(io.BytesIO(twice)) as archive:
        assert archive.comment == b"a comment"
        assert archive.getinfo("new/m").external_attr >> 16 == 0o100644


def test_a_file_with_holes_stays(tmp_path: Path) -> None:
    shard = added("s.tar", sparse(tmp_path), "m", b"m")
    (tmp_path / "s.tar").write_bytes(shard)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "out", "-xf", tmp_path / "s.tar"], check=True)
    assert (tmp_path / "out/holes").read_bytes() == (tmp_path / "holes").read_bytes()
    assert (tmp_path / "out/m").read_bytes() == b"m"


def test_a_long_name_is_kept() -> None:
    name = "/".join(["d" * 200] * 4)
    assert in_tar(added("s.tar", python_tar(), name, b""))[name] == b""


@pytest.mark.parametrize("name", ["d/x", "d", "./top"])
@pytest.mark.parametrize("suffix", [".tar", ".tgz", ".zip"])
def test_a_name_is_given_once(suffix: str, name: str) -> None:
    shard = zipped() if suffix == ".zip" else PACK[suffix](python_tar())
    with pytest.raises(Exists, match="already"):
        added(f"s{suffix}", shard, name.removeprefix("./"))


def test_a_file_is_no_directory() -> None:
    with pytest.raises(Invalid, match="its member top is no directory"):
        added("s.tar", python_tar(), "top/m")


def torn_header() -> bytes:
    tar = bytearray(python_tar(tarfile.USTAR_FORMAT))
    tar[512 + 1024] ^= 1  # of the second member
    return bytes(tar)


def under_global_headers() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"path": "of all"}) as archive:
        archive.addfile(tarfile.TarInfo("x"))
    return out.getvalue()


def unmarked_names() -> bytes:
    """Return names as Info-ZIP writes them: UTF-8, and nothing tells so."""
    data = zipped()
    for header in (b"PK\3\4\x14\0", b"PK\1\2\x14\3\x14\0"):
        data = data.replace(header + b"\0\x08", header + b"\0\0")
    return data


def nul_in_a_name() -> bytes:
    return zipped().replace(b"d/empty", b"d/em\0ty")


def in_the_directory(data: bytes) -> list[tuple[str, int, int, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(e.filename, e.flag_bits, e.CRC, e.extra) for e in archive.infolist()]


def test_names_of_an_unknown_encoding_stay_as_they_are() -> None:
    before = unmarked_names()
    assert all(not flags & 0x800 for _, flags, _, _ in in_the_directory(before))
    after = added("s.zip", before)
    assert in_the_directory(after)[:-1] == in_the_directory(before)
    assert in_zip(after)["new/m"] == BODY
    with pytest.raises(Exists):  # as unzip and the archive view name it
        added("s.zip", before, "ä")


@pytest.mark.skipif(not shutil.which("zip"), reason="needs Info-ZIP's zip")
@pytest.mark.parametrize("options", [[], ["-0"], ["-Z", "bzip2"], ["-P", "secret"]])
def test_archives_of_info_zip_stay_as_they_are(options: list[str], tmp_path: Path) -> None:
    for name in ("ä", "d/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * 5000)
    words = ["zip", "-qry", *options, "s.zip", "ä", "d"]
    subprocess.run(words, cwd=tmp_path, check=True)
    before = (tmp_path / "s.zip").read_bytes()
    after = added("s.zip", before)
    assert in_the_directory(after)[:-1] == in_the_directory(before)
    (tmp_path / "s.zip").write_bytes(after)
    subprocess.run(["unzip", "-P", "secret", "-tq", "s.zip"], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("shard", "content", "error", "said"),
    [
        ("s.tar", python_tar() + python_tar(), Corrupt, "something that is no member"),
        ("s.tar", python_tar() + b"signed", Corrupt, "something that is no member"),
        ("s.tar", torn_header(), Corrupt, "something that is no member"),
        ("s.tar", python_tar()[:60_000], Corrupt, "unexpected end of data"),
        ("s.tar", gzip.compress(python_tar()), Corrupt, "s.tar is no sound tar archive"),
        ("s.tar", b"no archive at all", Corrupt, "no sound tar archive"),
        ("s.tar", under_global_headers(), Unsupported, "make something else of a new member"),
        ("s.tgz", python_tar(), Corrupt, "no sound tgz archive"),
        ("s.tgz", gzip.compress(python_tar())[:-9], Corrupt, "no sound tgz archive"),
        ("s.tgz", gzip.compress(python_tar()) + b"junk", Corrupt, "no sound tgz archive"),
        ("s.tar.lz4", lz4.frame.compress(python_tar())[:-9], Corrupt, "no sound tar.lz4"),
        ("s.tar.lz4", python_tar(), Corrupt, "no sound tar.lz4"),
        ("s.zip", zipped() + b"junk", Corrupt, "something follows its end"),
        ("s.zip", zipped()[:-30], Corrupt, "no sound zip archive"),
        ("s.zip", python_tar(), Corrupt, "no sound zip archive"),
        ("s.zip", nul_in_a_name(), Unsupported, "its directory would not stay the same"),
        ("s.txt", b"", Unsupported, "names of shards end in .tar, .tgz"),
    ],
)
def test_what_would_lose_something_is_refused(
    shard: str, content: bytes, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        added(shard, content)


def test_names_are_looked_at_before_anything_is_read() -> None:
    check_additions_to("d/s.tar.lz4")
    with pytest.raises(Unsupported):
        check_additions_to("d/s.tar.zst")
    check_member("d/m")
    for name in ("", "/m", "d/", "d//m", "../m", "d/./m", "a\0b", "n" * 256):
        with pytest.raises(Invalid):
            check_member(name)
    with pytest.raises(Invalid, match="has to be UTF-8"):
        added("s.zip", zipped(), "\udcff")
    assert "\udcff" in in_tar(added("s.tar", python_tar(), "\udcff"))
