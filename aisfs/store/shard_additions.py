"""Adding a member to a copy of a shard, in a local file.

Serves `ais_work`. Clusters append in place: what ordinary tools have padded cannot be read any more
then, and nothing of the object tells that it is another content. On a copy nothing is at stake:
what is not understood is refused, and the result is compared with what there was before anybody
stores it.

    copy ─▶ walk ─▶ cut the end off, add ─▶ walk again: as before, and the new member's bytes
      └─ .tgz, .tar.lz4: unpacked, and packed again ─┘

Everything here blocks, in a worker thread.
"""

from __future__ import annotations

import gzip
import shutil
import struct
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple, cast

import lz4.frame
import xxhash

from aisfs.errors import Corrupt, Exists, FsError, Invalid, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 20

LONGEST_COMPONENT = 255
"""Bytes. POSIX: NAME_MAX, as Linux has it."""

_MODE = 0o644
_BLOCK = tarfile.BLOCKSIZE
_END = struct.Struct("<4s18x")  # APPNOTE 4.3.16: the record at a zip archive's end
_UTF8 = 1 << 11  # APPNOTE 4.4.4
_UNIX = 3  # APPNOTE 4.4.2
_OF_UNMARKED = "cp437"  # APPNOTE D.1; as which zipfile reads any bytes
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError,
    NotImplementedError, struct.error, ValueError, OverflowError,
)  # fmt: skip
"""What the parsers raise for bytes that are no sound archive."""


@dataclass(frozen=True, slots=True)
class NewMember:
    """What is added: `size` bytes of an open file from its start, under a name."""

    name: str
    file: IO[bytes]
    size: int

    def digest(self) -> bytes:
        """Return the digest of its bytes."""
        return digest_of(self.file, self.size)


class Walked(NamedTuple):
    """What lies in an archive: where its end begins, and the digest of all before that."""

    end: int
    digest: bytes


def digest_of(file: IO[bytes], size: int) -> bytes:
    """Return the XXH64 of a file's first bytes; `Corrupt` if it has less."""
    digest, left = xxhash.xxh64(), size
    file.seek(0)
    while left:
        piece = file.read(min(left, PIECE))
        if not piece:
            raise Corrupt("the archive is cut off")
        digest.update(piece)
        left -= len(piece)
    return digest.digest()


def check_additions_to(shard: str) -> None:
    """Look at the name of a shard.

    Raises:
        Unsupported: it is of no format to which members can be added.
    """
    _adder(shard)


def check_member(name: str) -> None:
    """Look at the name that a new member is to have.

    Raises:
        Invalid: no tree of files has a place for it.
    """
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\0" in name:
        raise Invalid(f"no member can be called {name!r}: write as=NAME, or as=DIRECTORY/NAME")
    if any(len(part.encode("utf-8", "surrogateescape")) > LONGEST_COMPONENT for part in parts):
        raise Invalid(f"a part of {name!r} has more than {LONGEST_COMPONENT} bytes")


def add_member(shard: str, copy: IO[bytes], member: NewMember) -> None:
    """Add a member to a copy of a shard, behind all that it has.

    Args:
        shard: the shard's name, which tells its format.
        copy: its bytes, in a file of the caller's own; after a failure they are anything.
        member: what is added.

    Raises:
        Exists: the shard has a member of that name.
        Invalid: another member is in the way of the name.
        Corrupt: the shard is not sound, or has something behind its end that would be lost.
        Unsupported: it has what would not be the same afterwards.
    """
    add, what = _adder(shard)
    try:
        add(copy, member)
    except FsError as error:
        raise type(error)(f"{what} {shard}: {error}") from error
    except _BROKEN as error:
        said = str(error) or type(error).__name__
        raise Corrupt(f"{shard} is no sound {what} archive: {said}") from error


def _refuse_collision(found: str, member: NewMember, *, directory: bool) -> None:
    """Refuse a member whose name another one has, or is in the way of."""
    path = "/".join(part for part in found.split("/") if part not in {"", "."})
    if path == member.name or path.startswith(f"{member.name}/"):
        raise Exists(f"it has a member {path} already: give the new one another name by as=")
    if not directory and path and member.name.startswith(f"{path}/"):
        raise Invalid(f"its member {path} is no directory: give the new one another name by as=")


# -- tar


def _add_to_tar(tar: IO[bytes], member: NewMember) -> None:
    old = _extend_tar(tar, member)
    _compare_tar(tar, old, member)


def _extend_tar(tar: IO[bytes], member: NewMember) -> Walked:
    """Put a member in the place of the end; return what there was."""
    end = 0
    for found, end in _members(tar):  # noqa: B007 - the last end counts
        _refuse_collision(found.name, member, directory=found.isdir())
    _check_end(tar, end)
    old = Walked(end, digest_of(tar, end))
    tar.seek(end)
    tar.truncate()
    tar.write(_header(member))
    member.file.seek(0)
    shutil.copyfileobj(member.file, tar, PIECE)
    # No more than POSIX wants: AIS itself can append to an archive that is not padded.
    tar.write(bytes(-member.size % _BLOCK + 2 * _BLOCK))
    tar.flush()
    return old


def _members(tar: IO[bytes]) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Yield each header, with the offset of the next one."""
    if not tar.seek(0, 2):
        return
    tar.seek(0)
    archive = tarfile.TarFile(fileobj=tar, encoding="utf-8", errors="surrogateescape")
    end = 0
    while (found := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined] # or every header stays
        if found.size < 0 or archive.offset <= end:
            raise Corrupt(f"the header at {end} cannot be right")
        end = archive.offset
        yield found, end


def _check_end(tar: IO[bytes], end: int) -> None:
    """Refuse to cut off what is no end: tarfile takes any header that does not parse for one."""
    tar.seek(end)
    while piece := tar.read(PIECE):
        if piece.count(0) != len(piece):
            raise Corrupt(f"something that is no member follows its last one, at {end}")


def _header(member: NewMember) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.size, info.mtime, info.mode = member.size, int(time.time()), _MODE
    try:
        return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")
    except ValueError:  # a name or size that ustar cannot hold
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _compare_tar(tar: IO[bytes], old: Walked, member: NewMember) -> None:
    """See that an archive has what it had, and the new member as its last one.

    Raises:
        Unsupported: it has not, because of headers that hold for all members behind them.
    """
    found = end = start = None
    for each, following in _members(tar):
        found, start, end = each, end or 0, following
    same = (
        found is not None
        and (start, found.name, found.size) == (old.end, member.name, member.size)
        and found.isreg()
        and digest_of(tar, old.end) == old.digest
    )
    if not same or found is None or end is None:
        raise Unsupported("its headers would make something else of a new member")
    tar.seek(found.offset_data)
    if _digest_of_rest(tar, member.size) != member.digest():
        raise Corrupt("the new member is not what was written: is the local disk sound?")


def _digest_of_rest(file: IO[bytes], size: int) -> bytes:
    digest = xxhash.xxh64()
    while size and (piece := file.read(min(size, PIECE))):
        digest.update(piece)
        size -= len(piece)
    return digest.digest()


# -- tar, packed


def _add_to_packed(
    opened: Callable[[IO[bytes], str], IO[bytes]],
) -> Callable[[IO[bytes], NewMember], None]:
    """Return what adds to a tar archive that is packed as a whole."""

    @contextmanager
    def unpacked(packed: IO[bytes]) -> Iterator[IO[bytes]]:
        packed.seek(0)
        with tempfile.TemporaryFile() as tar:
            with opened(packed, "rb") as stream:
                shutil.copyfileobj(stream, tar, PIECE)
            yield tar

    def add(packed: IO[bytes], member: NewMember) -> None:
        with unpacked(packed) as tar:
            old = _extend_tar(tar, member)
            packed.seek(0)
            packed.truncate()
            tar.seek(0)
            with opened(packed, "wb") as stream:
                shutil.copyfileobj(tar, stream, PIECE)
            packed.flush()
        with unpacked(packed) as tar:
            _compare_tar(tar, old, member)

    return add


def _gzip(file: IO[bytes], mode: str) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode=mode, compresslevel=6, mtime=0))


def _lz4(file: IO[bytes], mode: str) -> IO[bytes]:
    return cast("IO[bytes]", lz4.frame.LZ4FrameFile(file, mode))


# -- zip


class _Unmarked(zipfile.ZipInfo):
    """An entry whose name was written without telling its encoding, and is written so again."""

    __slots__ = ()

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - where zipfile looks
        return self.filename.encode(_OF_UNMARKED), self.flag_bits

    @classmethod
    def is_one(cls, entry: zipfile.ZipInfo) -> bool:
        """Tell whether an entry is such a one."""
        return not (entry.filename.isascii() or entry.flag_bits & _UTF8)


def _add_to_zip(file: IO[bytes], member: NewMember) -> None:
    entries, old = _zip_entries(file)
    before = [_told(entry) for entry in entries]
    for entry in entries:
        _refuse_collision(_zip_name(entry), member, directory=entry.is_dir())
    info = zipfile.ZipInfo(member.name, time.gmtime()[:6])
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, (0o100000 | _MODE) << 16
    info.file_size = member.size
    large = member.size >= zipfile.ZIP64_LIMIT // 2
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for entry in archive.infolist():
            if _Unmarked.is_one(entry):  # zipfile itself would give it another name, in UTF-8
                entry.__class__ = _Unmarked
        try:
            sink = archive.open(info, "w", force_zip64=large)
        except UnicodeEncodeError:
            raise Invalid(f"in a zip archive the name {member.name!r} has to be UTF-8") from None
        with sink:
            member.file.seek(0)
            shutil.copyfileobj(member.file, sink, PIECE)
    file.flush()
    _compare_zip(file, before, old, member)


def _zip_name(entry: zipfile.ZipInfo) -> str:
    """Return the name of an entry, as the archive view shows it."""
    if _Unmarked.is_one(entry) and entry.create_system == _UNIX:
        return entry.filename.encode(_OF_UNMARKED).decode("utf-8", "surrogateescape")
    return entry.filename


def _zip_entries(file: IO[bytes]) -> tuple[list[zipfile.ZipInfo], Walked]:
    """Return what the directory tells, and where it begins."""
    with zipfile.ZipFile(file) as archive:
        record = file.seek(0, 2) - len(archive.comment) - _END.size
        file.seek(record)
        if _END.unpack(file.read(_END.size)) != (b"PK\5\6",):
            raise Corrupt("something follows its end")
        start = archive.start_dir
        return archive.infolist(), Walked(start, digest_of(file, start))


def _told(entry: zipfile.ZipInfo) -> tuple[object, ...]:
    """Return what must not change of an entry."""
    return (
        entry.orig_filename, entry.header_offset, entry.CRC, entry.file_size, entry.compress_size,
        entry.compress_type, entry.flag_bits, entry.create_system, entry.external_attr,
        entry.internal_attr, entry.date_time, entry.comment,
    )  # fmt: skip


def _compare_zip(
    file: IO[bytes], entries: list[tuple[object, ...]], old: Walked, member: NewMember
) -> None:
    """See that an archive has what it had, and the new member as its last one."""
    with zipfile.ZipFile(file) as archive:
        *others, added = archive.infolist()
        if [_told(other) for other in others] != entries or digest_of(file, old.end) != old.digest:
            raise Unsupported("its directory would not stay the same")
        with archive.open(added) as stream:
            digest = _digest_of_rest(stream, member.size)
            same = added.filename == member.name and added.file_size == member.size
    if not same or digest != member.digest():
        raise Corrupt("the new member is not what was written: is the local disk sound?")


_Add = Callable[[IO[bytes], NewMember], None]

_FORMATS: dict[str, tuple[_Add, str]] = {
    ".tar": (_add_to_tar, "tar"),
    ".tgz": (_add_to_packed(_gzip), "tgz"),
    ".tar.gz": (_add_to_packed(_gzip), "tgz"),
    ".zip": (_add_to_zip, "zip"),
    ".tar.lz4": (_add_to_packed(_lz4), "tar.lz4"),
}


def _adder(shard: str) -> tuple[_Add, str]:
    for suffix, found in _FORMATS.items():
        if shard.endswith(suffix):
            return found
    raise Unsupported(f"{shard} is no shard: names of shards end in {', '.join(_FORMATS)}")
