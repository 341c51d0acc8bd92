"""What a directory takes on disk while others write there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def taken(path: Path) -> int:
    """Return the bytes of all blocks of a directory, as du(1) counts them, at one moment.

    A look during which a file came or went is repeated: it may have seen both of two files that
    never were there together.
    """
    while True:
        names = sorted(path.rglob("*"))
        try:
            total = sum(each.lstat().st_blocks for each in (path, *names)) * 512
        except FileNotFoundError:
            continue
        if sorted(path.rglob("*")) == names:
            return total
