"""Members of a tar archive as it arrives, without the cost of general archives.

The standard library's reader takes ten times as long per member, which is most of the time of a
batch of small objects. Formats: POSIX ustar and pax (IEEE Std 1003.1, "pax"), and GNU's long names
and large sizes. Members that are no regular files are passed over.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

_BLOCK = 512
_ZERO = bytes(_BLOCK)
_MAX_HEADER = 1 << 20
"""Longest extended header that is believed."""


def tar_members(file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the regular files of a tar stream, in order.

    Args:
        file: read in order; not closed.

    Raises:
        tarfile.ReadError: the stream ends early, or is no tar archive.
    """
    long_name = ""
    extended: dict[str, str] = {}
    while (header := _exactly(file, _BLOCK)) != _ZERO:
        _check(header)
        size = int(extended.pop("size", _number(header[124:136])))
        kind = header[156:157]
        if kind in b"xgL":
            if size > _MAX_HEADER:
                msg = f"an extended header of {size} bytes"
                raise tarfile.ReadError(msg)
            data = _padded(file, size)
            if kind == b"L":
                long_name = _text(data)
            elif kind == b"x":
                extended = _records(data)
            continue
        data = _padded(file, size)
        name = extended.get("path") or long_name or _short_name(header)
        long_name, extended = "", {}
        if kind in b"0\0" and not name.endswith("/"):
            yield name, data


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        msg = f"the archive ends {size - len(data)} bytes early"
        raise tarfile.ReadError(msg)
    return data


def _padded(file: IO[bytes], size: int) -> bytes:
    data = _exactly(file, size)
    _exactly(file, -size % _BLOCK)
    return data


def _check(header: bytes) -> None:
    """Compare a header's own sum: of its bytes, its own field taken as blanks."""
    found = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if found != _number(header[148:156]):
        msg = "a header's checksum is wrong"
        raise tarfile.ReadError(msg)


def _number(field: bytes) -> int:
    """Return an octal number, or GNU's binary one, whose first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:])
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError as error:
        msg = f"{field!r} is no number"
        raise tarfile.ReadError(msg) from error


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _short_name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _records(data: bytes) -> dict[str, str]:
    r"""Return the records `LENGTH KEY=VALUE\n` of a pax header."""
    found = {}
    while data:
        length, blank, _ = data.partition(b" ")
        if not blank or not length.isdigit() or not len(length) < int(length) <= len(data):
            msg = "a pax header is malformed"
            raise tarfile.ReadError(msg)
        record, data = data[len(length) + 1 : int(length) - 1], data[int(length) :]
        key, _, value = record.partition(b"=")
        found[_text(key)] = value.decode("utf-8", "surrogateescape")
    return found
