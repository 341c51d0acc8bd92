"""Small functions that AIS documents for users of its SDK."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from aisfs_sdk import const
from aisfs_sdk.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

T = TypeVar("T")


def handle_errors(resp: requests.Response) -> None:
    """Raise what an answer that is no success means.

    Raises:
        AISError: always, or a child.
    """
    text = resp.headers.get(const.HEADER_ERROR, "").encode("latin-1")
    raise refusal(resp.request.method or "", resp.url, resp.status_code, resp.content or text, resp)


def probing_frequency(dur: float) -> float:
    """Return the time between two looks at something that may take a while.

    Args:
        dur: how long it may take, in seconds.

    Returns:
        Seconds: a 64th of it, but not below an 8th or 1 s, whichever is less, and at least 0.1.
    """
    return max(0.1, dur / 64, min(dur / 8, 1.0))


def read_file_bytes(filepath: str | Path) -> bytes:
    """Return the content of a file."""
    return Path(filepath).read_bytes()


def validate_file(path: str | Path) -> None:
    """Check that a path names a file.

    Raises:
        ValueError: it does not.
    """
    found = Path(path)
    if not found.exists():
        msg = f"Path: {path} does not exist"
        raise ValueError(msg)
    if not found.is_file():
        msg = f"Path: {path} is a directory, not a file"
        raise ValueError(msg)


def validate_directory(path: str | Path) -> None:
    """Check that a path names a directory.

    Raises:
        ValueError: it does not.
    """
    found = Path(path)
    if not found.exists():
        msg = f"Path: {path} does not exist"
        raise ValueError(msg)
    if not found.is_dir():
        msg = f"Path: {path} is a file, not a directory"
        raise ValueError(msg)


def get_file_size(file: Path | None) -> str:
    """Return the size of a file for people, such as "123 Bytes" or "1.5 MB"; "unknown" for None."""
    if file is None:
        return "unknown"
    size = file.stat().st_size
    if size < 1000:
        return f"{size} Byte" if size == 1 else f"{size} Bytes"
    scaled, units = size / 1000, ["kB", "MB", "GB", "TB", "PB"]
    while scaled >= 1000 and len(units) > 1:
        scaled /= 1000
        del units[0]
    return f"{scaled:.1f} {units[0]}"


def decode_response(res_model: type[T], resp: requests.Response) -> T:
    """Return the model in an answer, which may be msgpack or JSON.

    Raises:
        msgspec.ValidationError: the answer is no such model.
    """
    if const.MSGPACK_CONTENT_TYPE in resp.headers.get(const.HEADER_CONTENT_TYPE, ""):
        return msgspec.msgpack.decode(resp.content, type=res_model)
    return msgspec.json.decode(resp.content, type=res_model, strict=False)


_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?|([a-zA-Z])\.\.([a-zA-Z])(?:\.\.(-?\d+))?")


def expand_braces(template: str, pad: Callable[[int, int], int] = max) -> Iterator[str]:
    """Yield the texts that a template in bash's notation stands for.

    Args:
        template: such as `a-{01..10..3}`, `{x,y}{1..2}`; what is no list and no range stays as it
            is. The range that stands leftmost changes slowest.
        pad: chooses between the widths of two bounds, if one has leading zeros: bash takes the
            longer one, AIS (`min`) the shorter.

    Raises:
        ValueError: braces do not pair. It is raised by the call, not while iterating.
    """
    depth = 0
    for character in template:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            break
    if depth:
        msg = f"the braces of {template!r} do not pair"
        raise ValueError(msg)
    return _expanded(template, pad)


def _expanded(template: str, pad: Callable[[int, int], int]) -> Iterator[str]:
    start = template.find("{")
    if start < 0:
        yield template
        return
    end = _closing(template, start)
    head, inner, tail = template[:start], template[start + 1 : end], template[end + 1 :]
    choices = _choices(inner, pad)
    for choice in choices:
        for rest in _expanded(tail, pad):
            yield head + choice + rest


def _closing(template: str, start: int) -> int:
    depth = 0
    for at in range(start, len(template)):
        depth += {"{": 1, "}": -1}.get(template[at], 0)
        if not depth:
            return at
    raise AssertionError  # braces were counted before


def _choices(inner: str, pad: Callable[[int, int], int]) -> Iterator[str]:
    """Yield what one pair of braces stands for."""
    if found := _RANGE.fullmatch(inner):
        return _range(found, pad)
    parts, depth, begin = [], 0, 0
    for at, character in enumerate(inner):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and not depth:
            parts.append(inner[begin:at])
            begin = at + 1
    parts.append(inner[begin:])
    if len(parts) == 1:
        return (f"{{{text}}}" for text in _expanded(inner, pad))
    return (text for part in parts for text in _expanded(part, pad))


def _range(found: re.Match[str], pad: Callable[[int, int], int]) -> Iterator[str]:
    first, last, step, from_letter, to_letter, letter_step = found.groups()
    if from_letter:
        numbers = _numbers(ord(from_letter), ord(to_letter), int(letter_step or 1))
        return (chr(number) for number in numbers)
    padded = any(re.match(r"-?0\d", text) for text in (first, last))
    width = pad(len(first), len(last)) if padded else 0
    return (str(number).zfill(width) for number in _numbers(int(first), int(last), int(step or 1)))


def _numbers(first: int, last: int, step: int) -> range:
    step = abs(step) or 1
    return range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
