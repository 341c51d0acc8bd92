"""Control files: what a mount tells of itself and its cluster, and what it can be told, as files.

Serves `vfs/control_tree`, which puts them into the namespace. A file's content is rendered when it
is opened; what is written goes to a sink that belongs to the handle, and a handle that can also be
read shows what became of what it wrote.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence


class Sink(Protocol):
    """Takes what one handle writes."""

    async def write(self, data: bytes) -> int:
        """Take bytes and return how many; an `FsError` if they are refused."""

    def shown(self) -> str:
        """Render what became of it so far."""

    def close(self) -> None:
        """Take note that no more comes."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: from the kernel's request header."""

    uid: int
    gid: int
    pid: int = 0


@dataclass(frozen=True, slots=True)
class ControlFile:
    """One control file.

    Attributes:
        name: its basename.
        show: renders its content; may ask the cluster, and raise an `FsError`.
        accept: makes the sink of a handle that writes; None if the file cannot be written.
    """

    name: str
    show: Callable[[], Awaitable[str]]
    accept: Callable[[], Sink] | None = None


@dataclass(frozen=True, slots=True)
class PersonalFile:
    """A control file that is another one for each caller, or is not for all of them.

    Attributes:
        name, show, accept: as of `ControlFile`, given who opens it.
        private: only root, and whoever the mount belongs to, may open it.
    """

    name: str
    show: Callable[[Caller], Awaitable[str]]
    accept: Callable[[Caller], Sink] | None = None
    private: bool = False


class OpenStream(Protocol):
    """One handle on a stream."""

    async def read(self, size: int) -> bytes:
        """Return what comes next, up to `size` bytes; may wait for it."""

    def close(self) -> None:
        """Take note that no more is read."""


class Listen(Protocol):
    """Opens a stream."""

    def __call__(self, caller: Caller, *, waits: bool) -> OpenStream:
        """Return a handle for a caller, whose reads wait or fail while there is nothing."""


@dataclass(frozen=True, slots=True)
class StreamFile:
    """A control file that is read as it comes about, like a pipe, and only so.

    Attributes:
        name: its basename.
        listen: makes what one handle reads.
        private: as of `PersonalFile`.
    """

    name: str
    listen: Listen
    private: bool = False


@dataclass(frozen=True, slots=True)
class ControlDirectory:
    """A directory of control files: what is always in it, and what the cluster lists.

    Attributes:
        name: its basename.
        entries: what is always in it.
        listed: asks for what else is in it now, by name; None if there is nothing else.
        find: asks for one name that `listed` may leave out; None if it leaves out nothing.
        remembered: whether what was listed is found without asking again, for a while.
        mtime_ns: when it changed last; 0: with the mount.
        mode: permission bits.
    """

    name: str
    entries: Sequence[ControlEntry] = ()
    listed: Callable[[], Awaitable[Mapping[str, ControlEntry]]] | None = None
    find: Callable[[str], Awaitable[ControlEntry | None]] | None = None
    remembered: bool = True
    mtime_ns: int = 0
    mode: int = 0o555


class OpenView(Protocol):
    """An open file of a view.

    Attributes:
        size: bytes of its content.
        lasting: whether the file has the same bytes whenever it is opened.
    """

    size: int
    lasting: bool

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return up to `size` bytes, short only at the end; valid until the next await."""

    def close(self) -> None:
        """Take note that no more is read."""


@dataclass(frozen=True, slots=True)
class ViewFile(ABC):
    """A file or symbolic link of a view: one content that never changes, to be read only.

    Attributes:
        name: its basename.
        size: bytes of the content, or of the link's target; None if that shows when it is opened.
        mtime_ns: since the epoch.
        mode: permission bits.
        link: whether it is a symbolic link.
    """

    name: str
    size: int | None
    mtime_ns: int
    mode: int
    link: bool

    @abstractmethod
    def same_as(self, other: ViewFile) -> bool:
        """Tell whether both are the same content."""

    @abstractmethod
    async def open(self) -> OpenView:
        """Open it; `Stale` if there is another content at its place by now."""

    @abstractmethod
    async def target(self) -> str:
        """Return where a symbolic link leads; `Stale` as `open`."""


ControlEntry = ControlFile | PersonalFile | StreamFile | ControlDirectory | ViewFile


def at_once(render: Callable[[], str]) -> Callable[[], Awaitable[str]]:
    """Return what shows a content for which nobody has to be asked."""

    async def show() -> str:
        return render()

    return show


def table(figures: Mapping[str, object]) -> str:
    r"""Return figures as lines of key, tab, value; blanks of all kinds in a value become one.

    >>> table({"cache.used": 5, "error": "no\nroom"})
    'cache.used\t5\nerror\tno room\n'
    """
    return "".join(f"{key}\t{' '.join(str(value).split())}\n" for key, value in figures.items())


def escaped(text: str) -> str:
    r"""Return a text in ASCII and in one line, whatever is in it.

    >>> escaped("a\tb")
    'a\\tb'
    """
    return text.encode("unicode_escape", "surrogateescape").decode("ascii")


def machine_form(value: object) -> str:
    """Return JSON for programs, in ASCII, so that names of any bytes survive in it."""
    return json.dumps(value, indent=2) + "\n"
