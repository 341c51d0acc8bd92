"""Control files: what a mount tells of itself, and what it can be told, as files.

Serves `vfs/control_tree`, which puts them into the namespace. A file's content is rendered when it
is opened; what is written goes to a sink that belongs to the handle, and a handle that can also be
read shows what became of what it wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Sink(Protocol):
    """Takes what one handle writes."""

    def write(self, data: bytes) -> None:
        """Take all of the bytes; an `FsError` if they are refused."""

    def shown(self) -> str:
        """Render what became of it so far."""

    def close(self) -> None:
        """Take note that no more comes."""


@dataclass(frozen=True, slots=True)
class ControlFile:
    """One control file.

    Attributes:
        name: its basename.
        show: renders its content.
        accept: makes the sink of a handle that writes; None if the file cannot be written.
    """

    name: str
    show: Callable[[], str]
    accept: Callable[[], Sink] | None = None


def table(figures: Mapping[str, int | str]) -> str:
    r"""Return figures as lines of key, tab, value.

    >>> table({"cache.used": 5})
    'cache.used\t5\n'
    """
    return "".join(f"{key}\t{value}\n" for key, value in figures.items())
