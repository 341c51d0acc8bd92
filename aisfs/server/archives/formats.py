"""Archives as files: telling their format, walking and finding members, packing new ones.

Everything here blocks and belongs into a worker thread. Nothing holds a whole member: members
come out as streams, and a new archive as pieces of about `PIECE` bytes.
"""

import gzip
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, Protocol, cast

import lz4.frame
import re2

PIECE = 1 << 20
"""Bytes that are packed or unpacked between two hops to a thread."""

BLOCK = tarfile.BLOCKSIZE
TAR, TGZ, ZIP, LZ4 = ".tar", ".tgz", ".zip", ".tar.lz4"

SUFFIXES = {TAR: TAR, TGZ: TGZ, ".tar.gz": TGZ, ZIP: ZIP, LZ4: LZ4}
"""Extensions with the format that each means."""

CONTENT_TYPES = {
    TAR: "application/x-tar",
    TGZ: "application/gzip",
    ZIP: "application/zip",
    LZ4: "application/x-lz4",
}
_MIME_TYPES = {
    **SUFFIXES,
    **{mime: kind for kind, mime in CONTENT_TYPES.items()},
    "application/x-gzip": TGZ,
    "application/x-tgz": TGZ,
    "application/lz4": LZ4,
}
_MAGIC = ((b"\x1f\x8b", TGZ), (b"PK\x03\x04", ZIP), (b"\x04\x22\x4d\x18", LZ4))
_TAR_MAGIC = slice(257, 262)

_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError,
    NotImplementedError, struct.error, ValueError, OverflowError,
)  # fmt: skip
"""What the decoders raise for bytes that are no sound archive."""

MODES = ("regexp", "prefix", "suffix", "substr", "wdskey")
_MODE_ALIASES = {"*": "prefix"}


class ArchiveError(Exception):
    """The bytes are no archive of the expected format.

    Attributes:
        reason: What AIS says of it.
        tcode: AIS's name of the error type.
        opening: Whether AIS puts "failed to open …" before the reason.
    """

    def __init__(self, reason: str, tcode: str = "", *, opening: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.tcode = tcode
        self.opening = opening


class UnknownMimeError(ArchiveError):
    """Nothing is known of the extension or MIME type that was given."""

    def __init__(self, mime: str) -> None:
        super().__init__(f'unknown mime type "{mime}"', "errUnknownMime")
        self.mime = mime


class Readable(Protocol):
    """The part of a file that packing needs."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, empty at the end."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A member to be packed; `stream` gives exactly `size` bytes. `mtime` is in seconds."""

    name: str
    size: int
    mtime: int
    stream: Readable


@dataclass(frozen=True, slots=True)
class Member:
    """A member found: its bytes lie at `offset` of the archive, or come from `open`."""

    name: str
    size: int
    mtime: int
    offset: int
    open: Callable[[], IO[bytes]]

    @property
    def contiguous(self) -> bool:
        """Whether the bytes stand in the archive as they are."""
        return self.offset >= 0


def kind_by_name(name: str) -> str:
    """Return the format that an object's extension means, empty if none."""
    for suffix, kind in SUFFIXES.items():
        if name.endswith(suffix):
            return kind
    return ""


def kind_by_mime(mime: str) -> str:
    """Return the format of an extension or MIME type.

    Raises:
        UnknownMimeError: for any other text.
    """
    kind = _MIME_TYPES.get(mime)
    if kind is None:
        raise UnknownMimeError(mime)
    return kind


def kind_by_content(file: BinaryIO) -> str:
    """Return the format that the first bytes tell, empty if none."""
    file.seek(0)
    head = file.read(BLOCK)
    file.seek(0)
    if head[_TAR_MAGIC] == b"ustar":
        return TAR
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def _error(kind: str, error: BaseException) -> ArchiveError:
    if isinstance(error, ArchiveError):
        return error
    if isinstance(error, EOFError) or "unexpected end of data" in str(error):
        return ArchiveError("unexpected EOF", "wrapError" if kind == TGZ else "")
    return {
        TAR: ArchiveError("archive/tar: invalid tar header"),
        TGZ: ArchiveError("gzip: invalid header", "wrapError", opening=True),
        ZIP: ArchiveError("zip: not a valid zip file", "wrapError", opening=True),
        LZ4: ArchiveError("lz4: bad magic number", "Error"),
    }[kind]


# ---- reading ------------------------------------------------------------------------------------


def walk(file: BinaryIO, kind: str) -> Iterator[Member]:
    """Yield the regular members in order; each may be opened before the next is asked for.

    Raises:
        ArchiveError: the bytes are not sound; members before the bad place were yielded.
    """
    file.seek(0)
    try:
        if kind == ZIP:
            yield from _walk_zip(file)
        elif file.read(1):
            file.seek(0)
            yield from _walk_tar(file, kind)
    except _BROKEN as error:
        raise _error(kind, error) from error


def _walk_zip(file: BinaryIO) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                # Times before 1980 do not exist in zip; a member's time is not kept.
                yield Member(info.filename, info.file_size, 0, -1, _opener(archive, info))


def _opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: archive.open(info)


def _walk_tar(file: BinaryIO, kind: str) -> Iterator[Member]:
    with _open_tar(file, kind) as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined] # or every header stays
            if info.isreg():
                plain = kind == TAR and not info.issparse()
                offset = info.offset_data if plain else -1
                mtime = max(int(info.mtime), 0)
                yield Member(info.name, info.size, mtime, offset, _extractor(archive, info))
        _check_end(archive, file if kind == TAR else None)


def _extractor(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    def extract() -> IO[bytes]:
        stream = archive.extractfile(info)
        if stream is None:
            raise ArchiveError("archive/tar: invalid tar header")
        return stream

    return extract


def _open_tar(file: BinaryIO, kind: str) -> tarfile.TarFile:
    if kind == TAR:
        return tarfile.open(fileobj=file, mode="r:", encoding="utf-8")
    return tarfile.open(fileobj=unpacked(file, kind), mode="r|", encoding="utf-8")


def _check_end(archive: tarfile.TarFile, file: BinaryIO | None) -> None:
    """Tell an end from a header that does not parse, which tarfile takes for an end."""
    if file is None:
        return
    file.seek(archive.offset)  # where the next header would be
    if any(file.read(BLOCK)):
        raise ArchiveError("archive/tar: invalid tar header")


def unpacked(file: BinaryIO, kind: str) -> BinaryIO:
    """Return the tar stream inside a file."""
    file.seek(0)
    if kind == TGZ:
        return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb"))
    if kind == LZ4:
        return cast("BinaryIO", lz4.frame.LZ4FrameFile(file, "rb"))
    return file


def find(file: BinaryIO, kind: str, names: Iterable[str]) -> tuple[Member, Iterator[Member]] | None:
    """Return the first member of the first name that exists, with the walk that keeps it open.

    Raises:
        ArchiveError: the bytes are not sound before the member is reached.
    """
    for name in names:
        members = walk(file, kind)
        for member in members:
            if member.name.lstrip("/") == name:
                return member, members
    return None


def read_some(stream: Readable, size: int) -> bytes:
    """Read some bytes of a member, at least one.

    Raises:
        ArchiveError: there are none, or they cannot be unpacked.
    """
    try:
        piece = stream.read(size)
    except _BROKEN as error:
        raise ArchiveError(f"cannot unpack: {error}") from error
    if not piece:
        raise ArchiveError("unexpected EOF")
    return piece


def matcher(mode: str, pattern: str) -> Callable[[str], bool]:
    """Return the test for members' names of `archmode` and `archregx`.

    Raises:
        ArchiveError: for a regular expression that does not parse.
    """
    mode = _MODE_ALIASES.get(mode, mode)
    if not pattern:
        return lambda _: True
    if mode == "regexp":
        return _expression(pattern)
    tests: dict[str, Callable[[str], bool]] = {
        "prefix": lambda name: name.startswith(pattern),
        "suffix": lambda name: name.endswith(pattern),
        "substr": lambda name: pattern in name,
        "wdskey": lambda name: webdataset_key(name) == pattern,
    }
    return tests[mode]


def _expression(pattern: str) -> Callable[[str], bool]:
    """Return the test for a regular expression: AIS's syntax, and linear time always."""
    options = re2.Options()
    options.log_errors = False
    try:
        search = re2.compile(_bytes(pattern), options=options).search
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace")
        raise ArchiveError(f"error parsing regexp: {reason}") from error
    return lambda name: search(_bytes(name)) is not None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def is_mode(text: str) -> bool:
    """Tell whether AIS has this matching mode."""
    return text in MODES or text in _MODE_ALIASES


def webdataset_key(name: str) -> str:
    """Return a name up to the first dot of its last part."""
    slash = name.rfind("/") + 1
    return name[:slash] + name[slash:].partition(".")[0]


# ---- packing ------------------------------------------------------------------------------------


class _Buffer:
    """Collects what a packer writes until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def write(self, data: bytes, /) -> int:
        """Keep bytes."""
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing; packers call it."""

    def take(self) -> bytes:
        """Return and forget what was written."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return data


def pack(entries: Iterable[Entry], kind: str, old: BinaryIO | None = None) -> Iterator[bytes]:
    """Yield the bytes of an archive of these members, in pieces.

    Args:
        entries: The members; each is read before the next is asked for.
        kind: Format.
        old: An archive of that format, but not zip, whose members come first, as they are.

    Raises:
        ArchiveError: `old` is not sound, or a member's bytes end early.
    """
    buffer = _Buffer()
    if kind == ZIP:
        steps = _pack_zip(entries, buffer)
    else:
        steps = _pack_tar(entries, _compressor(buffer, kind), (old, kind))
    for _ in steps:
        if buffer.size >= PIECE:
            yield buffer.take()
    if buffer.size:
        yield buffer.take()


def _compressor(buffer: _Buffer, kind: str) -> Any:
    if kind == TGZ:
        return gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0)
    if kind == LZ4:
        return lz4.frame.LZ4FrameFile(buffer, "wb")
    return buffer


def _pack_tar(
    entries: Iterable[Entry], sink: Any, old: tuple[BinaryIO | None, str]
) -> Iterator[None]:
    file, kind = old
    if file is not None:
        yield from _take_over(file, kind, sink)
    for entry in entries:
        sink.write(_tar_header(entry))
        yield from _copy(entry.stream, entry.size, sink)
        sink.write(b"\0" * (-entry.size % BLOCK))
        yield
    sink.write(b"\0" * 2 * BLOCK)
    if not isinstance(sink, _Buffer):
        sink.close()
    yield


def _tar_header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.name)
    info.size, info.mtime, info.mode = entry.size, entry.mtime, 0o644
    try:
        return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")
    except ValueError:  # a name or size that USTAR cannot hold
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _take_over(file: BinaryIO, kind: str, sink: Any) -> Iterator[None]:
    """Copy an archive up to the end of its last member, whatever padding follows.

    Raises:
        ArchiveError: something other than padding follows; copying would lose it.
    """
    end = 0
    try:
        file.seek(0)
        if file.read(1):
            file.seek(0)
            with _open_tar(file, kind) as archive:
                while archive.next() is not None:
                    archive.members.clear()  # type: ignore[attr-defined] # as in _walk_tar
                end = archive.offset  # where the next would begin
        stream = unpacked(file, kind)
        yield from _copy(stream, end, sink)
        while rest := stream.read(PIECE):
            if rest.count(0) != len(rest):
                raise ArchiveError("archive/tar: invalid tar header")
    except _BROKEN as error:
        raise _error(kind, error) from error


def _copy(stream: Readable, size: int, sink: Any) -> Iterator[None]:
    left = size
    while left:
        piece = read_some(stream, min(left, PIECE))
        sink.write(piece)
        left -= len(piece)
        yield


def _pack_zip(entries: Iterable[Entry], sink: Any) -> Iterator[None]:
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            yield from _add_to_zip(archive, entry)
    yield


def _add_to_zip(archive: zipfile.ZipFile, entry: Entry) -> Iterator[None]:
    info = zipfile.ZipInfo(entry.name)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    info.file_size = entry.size
    with archive.open(info, "w", force_zip64=entry.size >= zipfile.ZIP64_LIMIT // 2) as sink:
        yield from _copy(entry.stream, entry.size, sink)


def extend_zip(file: BinaryIO, entries: Iterable[Entry]) -> None:
    """Add members to the zip archive in a file of the caller's own, in place.

    Raises:
        ArchiveError: the file is no zip archive; it is then unchanged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            archive.infolist()
        with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
            for entry in entries:
                for _ in _add_to_zip(archive, entry):
                    pass
    except _BROKEN as error:
        raise _error(ZIP, error) from error
