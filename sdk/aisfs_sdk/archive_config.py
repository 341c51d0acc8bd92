"""What to read of an archive: one member by name, or those that fit a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ArchiveMode(Enum):
    """How a pattern is compared with the names of an archive's members."""

    REGEXP = "regexp"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    SUBSTR = "substr"
    WDSKEY = "wdskey"
    """The name up to the first dot of its last component, as WebDataset has it."""


@dataclass(frozen=True, slots=True)
class ArchiveConfig:
    """What to read of an archive.

    Attributes:
        archpath: name of one member.
        regex: pattern; the members that fit it come as a TAR.
        mode: how the pattern is compared.

    Raises:
        ValueError: there is both a name and a pattern, or a pattern without mode, which clusters
            answer with the whole archive, or a mode without pattern.
    """

    archpath: str = ""
    regex: str = ""
    mode: ArchiveMode | None = None

    def __post_init__(self) -> None:
        if self.archpath and (self.regex or self.mode):
            msg = "read one member of an archive, or those that fit a pattern"
            raise ValueError(msg)
        if bool(self.regex) != (self.mode is not None):
            msg = "a pattern needs a mode, and a mode a pattern"
            raise ValueError(msg)
