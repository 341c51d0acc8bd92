"""The members of a shard, as a tree.

Serves `vfs` through `shard.Shard`. An archive is a list in which anything may be written; a tree is
what a kernel can walk. Names are made to fit as `tar` and `unzip` do when they unpack: leading
slashes and dots go, the last of equal names counts. What has no place in a tree is left out, and
counted.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from aisfs.errors import NoSpace

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_NAME = 255
"""Bytes of a component. POSIX: NAME_MAX, as Linux has it."""

LONGEST_PATH = 4095
"""Bytes of a path or of a link's target. POSIX: PATH_MAX without the NUL."""

MEMBER_COST = 300
"""Bytes that a member takes beside its name: of 300,000 members `tracemalloc` counts 215 each in a
tar archive and 325 in a zip archive."""


class Kind(enum.Enum):
    """What a member is."""

    FILE = enum.auto()
    DIRECTORY = enum.auto()
    LINK = enum.auto()


class Extent(msgspec.Struct, frozen=True, gc=False):
    """Bytes of a member that are stored: `size` of them from `offset` on lie at `stored`."""

    offset: int
    size: int
    stored: int


class Zipped(msgspec.Struct, frozen=True, gc=False):
    """Where a zip archive has a member.

    Attributes:
        header: offset of its local header.
        packed: bytes that are stored of it.
        deflated: whether they have to be unpacked.
        crc: CRC-32 of its bytes.
    """

    header: int
    packed: int
    deflated: bool
    crc: int


# There may be a million of them: a Struct costs a third of a dataclass, and nothing to the
# collector of cycles.


class Member(msgspec.Struct, frozen=True, gc=False):
    """A file, directory or symbolic link in a shard.

    Attributes:
        path: from the top of the shard, without slashes at its ends; "" is the top.
        size: of a file its bytes, of a link those of its target.
        mtime_ns: since the epoch; may lie before it. 0 of a directory that is in the archive only
            as part of others' names.
        mode: permission bits, 0o7777 at most.
        target: of a link; None where it has to be read (`Shard.target`).
        flaw: why its bytes cannot be read; "" if they can.
        place: where its bytes lie: an offset, the extents of a file with holes, or zip's words.
    """

    path: str
    kind: Kind
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0o755
    target: str | None = ""
    flaw: str = ""
    place: int | tuple[Extent, ...] | Zipped = 0


def path_of(name: str) -> str | None:
    """Return the path in the tree that a name in an archive means, None if there is none.

    Nothing leads out of the shard: a name with a ".." is not resolved but has no path.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    path = "/".join(parts)
    if "\0" in path or ".." in parts or len(_bytes(path)) > LONGEST_PATH:
        return None
    return None if any(len(_bytes(part)) > LONGEST_NAME for part in parts) else path


def is_target(text: str) -> bool:
    """Tell whether a symbolic link can lead there."""
    return 0 < len(_bytes(text)) <= LONGEST_PATH and "\0" not in text


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def size_of_target(text: str) -> int:
    """Return the bytes of a link's target. POSIX: `st_size` of a symbolic link."""
    return len(_bytes(text))


class Tree(Mapping[str, Member]):
    """Members by path; every directory above a member is one, and "" is the top.

    Args:
        limit: bytes of memory that it may take, roughly.

    Attributes:
        left_out: members of the archive that have no place here.
    """

    def __init__(self, limit: int) -> None:
        self.left_out = 0
        self._limit = limit
        self._used = 0
        self._top = Member("", Kind.DIRECTORY)
        self._directories: dict[str, dict[str, Member]] = {"": {}}

    def __getitem__(self, path: str) -> Member:
        if not path:
            return self._top
        directory, _, name = path.rpartition("/")
        return self._directories[directory][name]

    def __iter__(self) -> Iterator[str]:
        yield ""
        for members in self._directories.values():
            yield from (member.path for member in members.values())

    def __len__(self) -> int:
        return 1 + sum(map(len, self._directories.values()))

    def children(self, directory: str) -> Mapping[str, Member]:
        """Return what lies in a directory, by basename.

        Raises:
            KeyError: it is no directory of this tree.
        """
        return MappingProxyType(self._directories[directory])

    def add(self, member: Member) -> None:
        """Take a member, or count it as left out.

        As when `tar` unpacks: a later member replaces an earlier one, but what holds members stays,
        and a file or link does not become a directory for the sake of a longer name.

        Raises:
            NoSpace: the tree is as large as it may be.
        """
        if not member.path:
            self._set_top(member)
            return
        directory, _, name = member.path.rpartition("/")
        siblings = self._directories.get(directory)
        if siblings is None:
            siblings = self._make(directory)
        if siblings is None or not self._gives_way(member):
            self.left_out += 1
            return
        if name not in siblings:
            self._take(member.path)
        siblings[name] = member
        if member.kind is Kind.DIRECTORY:
            self._directories.setdefault(member.path, {})

    def leave_out(self) -> None:
        """Count a member that has no place here."""
        self.left_out += 1

    def _set_top(self, member: Member) -> None:
        if member.kind is Kind.DIRECTORY:
            self._top = member
        else:
            self.left_out += 1

    def _gives_way(self, member: Member) -> bool:
        """Tell whether what has the member's path may be replaced; an empty directory is gone."""
        if member.kind is Kind.DIRECTORY:
            return True
        if self._directories.get(member.path):
            return False
        self._directories.pop(member.path, None)
        return True

    def _make(self, directory: str) -> dict[str, Member] | None:
        """Return the content of a directory that others' names tell of; None if it cannot be."""
        path, inside = "", self._directories[""]
        for name in directory.split("/"):
            path = f"{path}/{name}" if path else name
            deeper = self._directories.get(path)
            if deeper is None:
                if name in inside:
                    return None
                self._take(path)
                inside[name] = Member(path, Kind.DIRECTORY)
                deeper = self._directories[path] = {}
            inside = deeper
        return inside

    def _take(self, path: str) -> None:
        self._used += MEMBER_COST + 2 * sys.getsizeof(path)  # once whole, once its last part
        if self._used > self._limit:
            raise NoSpace(f"the names in the shard take more than {self._limit} bytes of memory")
