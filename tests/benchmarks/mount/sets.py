"""Files that are read: so many, of one size, named by number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileSet:
    """Objects with a common prefix.

    Attributes:
        prefix: the directory in which they are.
        count, size: how many, of how many bytes.
        per_directory: how many share a directory below the prefix; 0: all are in the prefix.
    """

    prefix: str
    count: int
    size: int
    per_directory: int = 0

    def names(self) -> list[str]:
        """Return the names of the objects, which are their paths below the mount point, too."""
        if not self.per_directory:
            return [f"{self.prefix}/{number:07}" for number in range(self.count)]
        return [
            f"{self.prefix}/{number // self.per_directory:05}/{number:07}"
            for number in range(self.count)
        ]

    @property
    def bytes(self) -> int:
        """All bytes together."""
        return self.count * self.size
