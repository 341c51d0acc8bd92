"""The `Range` header as AIS reads it, and its refusals."""

from aisfs.server.eras import NEWEST, Era
from aisfs.server.http.errors import AisError

_MAX = 2**63 - 1


def _invalid(text: str, reason: str) -> AisError:
    return AisError(416, f'read range "{text}" is invalid{reason}')


def parse_range(header: str, size: int, uri: str, era: Era = NEWEST) -> tuple[int, int] | None:
    """Return offset and length to read, or None for the whole object.

    `bytes=` without a range means the whole object (real 5.0 servers cut the connection and keep
    the object locked).

    Args:
        header: Value of `Range`, empty if absent.
        size: Size of the object in bytes.
        uri: The object, for messages.
        era: In whose words a range outside the object is refused.

    Raises:
        AisError: 416, with `Content-Range` only when the range lies outside the object.
    """
    if not header:
        return None
    if "=" not in header or not header.startswith("bytes="):
        raise _invalid(header, " (prefix)")
    specs = [spec.strip() for spec in header.removeprefix("bytes=").split(",")]
    specs = [spec for spec in specs if spec]
    if not specs:
        return None
    if len(specs) > 1:
        raise AisError(416, f"cannot multi-range read {uri} - operation not supported", "ErrUnsupp")
    if "-" not in specs[0]:
        raise _invalid(header, " (-)")
    return _parse_one(specs[0], size, era)


def _parse_one(spec: str, size: int, era: Era) -> tuple[int, int]:
    start_text, _, end_text = (part.strip() for part in spec.partition("-"))
    if not start_text:
        return _suffix(spec, end_text, size)
    start = _number(spec, start_text, "start")
    end = _number(spec, end_text, "end") if end_text else size - 1
    if end_text and end < start:
        raise _invalid(spec, " (end)")
    if start >= size:
        error = era.said.range_outside.error(size=size, range=spec)
        error.headers["Content-Range"] = f"bytes */{size}"
        raise error
    return start, min(end, size - 1) - start + 1


def _suffix(spec: str, text: str, size: int) -> tuple[int, int]:
    if not _is_number(text):
        raise _invalid(spec, " as per RFC 7233 Section 2.1")
    length = min(int(text), size)
    return size - length, length


def _number(spec: str, text: str, which: str) -> int:
    if not _is_number(text):
        raise _invalid(spec, f" ({which})")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MAX
