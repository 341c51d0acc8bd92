"""The words of a command: split as a POSIX shell does, options told from operands.

Serves `commands`. A command is one line, `verb operand… key=value…`; `#` begins a comment. An
operand that looks like an option, such as a file `a=b`, is written with a slash: `./a=b`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisfs.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTION = re.compile(r"([a-z][a-z0-9._-]*)=(.*)", re.DOTALL)

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Words:
    """One command, as it was written."""

    verb: str
    operands: tuple[str, ...]
    options: dict[str, str]


def parse(line: str) -> Words | None:
    """Split a line into words; None for a line without any.

    POSIX: Shell Command Language, 2.2 Quoting.

    >>> parse("evict 'ais://b/a file' keep-md=yes # gone")
    Words(verb='evict', operands=('ais://b/a file',), options={'keep-md': 'yes'})

    Raises:
        Invalid: quotes that do not pair, control characters, or an option that is given twice.
    """
    line = line.rstrip("\r\n")
    if _UNPRINTABLE.search(line):
        raise Invalid("control characters have no place in a command")
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise Invalid(f"{error}: quotes have to pair within one line") from None
    return words_of(words) if words else None


def words_of(words: Sequence[str]) -> Words:
    """Tell options from operands among words that were split already; the first is the verb.

    Raises:
        Invalid: an option is given twice.
    """
    operands: list[str] = []
    options: dict[str, str] = {}
    for word in words[1:]:
        match = _OPTION.fullmatch(word)
        if match is None:
            operands.append(word)
        elif match[1] in options:
            raise Invalid(f"{match[1]}= is given twice")
        else:
            options[match[1]] = match[2]
    return Words(words[0], tuple(operands), options)
