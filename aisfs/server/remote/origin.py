"""What a remote bucket's backend must be able to do; two things can be one: `directory`, `cluster`.

All calls block and run in threads of their own (registry.py). Names are `str` with
surrogateescape, as everywhere. What an origin cannot do it says with an `AisError`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from aisfs.server.storage.catalog import Record


@dataclass(frozen=True, slots=True)
class Attributes:
    """What an origin says of an object.

    `version` changes whenever the bytes do; `custom` is what a cached copy gets as custom
    metadata; checksum type and value are empty when the origin has none.
    """

    size: int
    version: str
    custom: dict[str, str]
    checksum_type: str = ""
    checksum: str = ""

    def describe(self, record: Record) -> str:
        """Return how a cached copy differs from this, empty if it does not."""
        if record.size != self.size:
            return f"size {record.size} != {self.size} remote"
        if record.version != self.version:
            return f"version {record.version} != {self.version} remote"
        same_type = record.checksum_type == self.checksum_type
        if same_type and self.checksum and record.checksum != self.checksum:
            kind = self.checksum_type
            return f"checksum {kind}[{record.checksum}] != {kind}[{self.checksum}] remote"
        return ""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object or (size −1) a directory of a listing; texts are as listings show them."""

    name: str
    size: int = 0
    version: str = ""
    checksum: str = ""
    atime: str = ""
    location: str = ""
    copies: int = 0


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A page of a listing: names with `prefix` after `after`, at most `limit` of them."""

    prefix: str = ""
    after: str = ""
    limit: int = 1000
    recursive: bool = True
    props: str = "name,size"
    time_format: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Entries in bytewise order of their names, and whether there are more."""

    entries: list[Listed] = field(default_factory=list)
    more: bool = False


class Origin(Protocol):
    """A remote bucket as its owner has it."""

    def check(self) -> None:
        """Make sure that the bucket exists.

        Raises:
            AisError: 404.
        """

    def page(self, request: PageRequest) -> Page:
        """List one page."""

    def stat(self, name: str) -> Attributes:
        """Tell what the origin says of an object.

        Raises:
            AisError: 404.
        """

    def read(self, name: str) -> AbstractContextManager[tuple[Attributes, Iterator[bytes]]]:
        """Open an object; the pieces end early or raise when it cannot be read to its end.

        Raises:
            AisError: 404.
        """

    def write(self, name: str, source: Path) -> Attributes:
        """Store a file's bytes; they are there as a whole or not at all."""

    def delete(self, name: str) -> None:
        """Delete an object.

        Raises:
            AisError: 404.
        """
