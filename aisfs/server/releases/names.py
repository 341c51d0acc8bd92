"""Which names of buckets and objects a release takes, and what it makes of them."""

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


def as_it_is(name: str) -> str:
    """Return a name unchanged."""
    return name


def html_escaped(name: str) -> str:
    """Return the name under which AIS 3.17 keeps what a path calls `name`."""
    escaped = html.escape(name, quote=False)
    return escaped.replace('"', "&#34;").replace("'", "&#39;")


@dataclass(frozen=True, slots=True)
class NameRules:
    """Rules of one release.

    Attributes:
        longest_bucket: Characters of a bucket's name.
        dot_buckets: Whether a bucket's name may begin with a dot.
        home_prefix: Whether an object's name may begin with `~/`.
        gateway_checks: Whether the gateway refuses bad object names; else the target does.
        longest_part: Bytes of a part of an object's name, 0 for any.
        longest_last_part: The same of the last part.
        longest: Bytes of an object's whole name, 0 for any.
        stored: Turns the name in a path into the one that is stored.
    """

    longest_bucket: int
    dot_buckets: bool
    home_prefix: bool
    gateway_checks: bool
    longest_part: int
    longest_last_part: int
    longest: int
    stored: Callable[[str], str]


NAMES_5_0: Final = NameRules(
    longest_bucket=64,
    dot_buckets=False,
    home_prefix=False,
    gateway_checks=True,
    longest_part=0,
    longest_last_part=0,
    longest=0,
    stored=as_it_is,
)
NAMES_3_17: Final = NameRules(
    longest_bucket=255,
    dot_buckets=True,
    home_prefix=True,
    gateway_checks=False,
    longest_part=255,
    longest_last_part=242,
    longest=3800,
    stored=html_escaped,
)
