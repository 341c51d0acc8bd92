"""Small functions that AIS documents for users of its SDK."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from aisfs_sdk import const
from aisfs_sdk.refusals import refusal

if TYPE_CHECKING:
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
        Seconds, at least 0.1.
    """
    return max(0.1, dur / 64)


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
