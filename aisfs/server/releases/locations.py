"""The `Location` of a redirect: how a gateway of each release writes path and time in it."""

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

_REENCODED = re.compile(r"[\x00-\x20%?#+\x7f]")
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Location(NamedTuple):
    """A path as the redirect has it.

    Attributes:
        path: Encoded as the release does.
        sorted_query: Whether the keys of the query are sorted.
        misleads: Whether a client that follows it to the letter reaches another object.
    """

    path: str
    sorted_query: bool = False
    misleads: bool = False


WriteLocation = Callable[[str], Location]


def encoded_path(path: str) -> Location:
    """Encode a decoded path as AIS 5.0 does.

    5.0 encodes it anew for blank, `%`, `?`, `#`, `+`; this server also for control characters,
    whose raw form 5.0 sends and every client then trips over.
    """
    if _REENCODED.search(path):
        return Location(quote(_bytes(path), safe="$&+,/:;=@-_.~"), sorted_query=True)
    return Location(_NON_ASCII.sub(_hexed, path))


def raw_path(path: str) -> Location:
    """Write a decoded path as AIS 3.17 does: not encoded, but for bytes outside ASCII.

    What follows it then fails for a blank or a broken escape, and reaches another object for `?`
    and an escape that decodes. Control characters and `#` are encoded here; 3.17 sends them as
    they are, and clients refuse them or cut the name off.
    """
    text = path.replace("\n", " ").replace("\r", " ")
    misleads = "?" in text or (bool(_ESCAPE.search(text)) and not _BROKEN_ESCAPE.search(text))
    text = _CONTROL.sub(_hexed, text).replace("#", "%23")
    return Location(_NON_ASCII.sub(_hexed, text), misleads=misleads)


def _hexed(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02x}" for byte in _bytes(match.group()))


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def base36(number: int) -> str:
    """Return a number in base 36, lower case: `utm` since AIS 4.1, times in synthetic ETags."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"
