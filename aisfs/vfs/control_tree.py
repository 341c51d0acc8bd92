"""The control files in the namespace: a directory at the mount's root that no listing shows.

Serves `filesystem`. `find`, `cp -r` and `du` must not wander into it, so that it is found by name
only. Its files have no size and are read without the kernel's cache: each handle reads what was
true when it was opened, and one that was opened for both what became of what it wrote.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisfs.errors import BadHandle, Forbidden, IsADirectory, NotFound
from aisfs.vfs.attributes import Attributes, Kind
from aisfs.vfs.inodes import ROOT, Ino, Node
from aisfs.vfs.paths import RESERVED, to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisfs.control.files import ControlFile, Sink
    from aisfs.vfs.attributes import Presentation

NAME = RESERVED

FIRST_INO = 1 << 48
"""Inode numbers from here on are control files'; the table's count up from 2 and never get here."""


class ControlNode(Node):
    """The control directory (`file` is None) or one of its files."""

    __slots__ = ("file",)

    def __init__(self, ino: Ino, name: str, shown: Attributes, file: ControlFile | None) -> None:
        super().__init__(ino, None, name, shown)
        self.file = file


@dataclass(slots=True, eq=False)
class ControlHandle:
    """One open control file.

    Writing moves the descriptor's offset on, so an answer begins wherever the first read after a
    write begins. Reading from there, or from before, again renders it anew.

    Attributes:
        text: its content when it was opened, later the answer; empty if it cannot be read.
        sink: takes what is written; None if it was opened for reading only.
        start: offset at which the answer begins; None until it is read.
    """

    node: ControlNode
    text: bytes
    sink: Sink | None
    start: int | None = None

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on."""
        if self.sink is None:
            return self.text[offset : offset + size]
        if self.start is None or offset <= self.start:
            self.start, self.text = offset, to_bytes(self.sink.shown())
        return self.text[offset - self.start :][:size]

    def write(self, data: bytes) -> int:
        """Hand bytes on, wherever they are written to, and return how many they are."""
        if self.sink is None:
            raise BadHandle(f"{self.node.name} is not open for writing")
        self.sink.write(bytes(data))
        self.start = None
        return len(data)

    def close(self) -> None:
        """Let go of the handle."""
        if self.sink is not None:
            self.sink.close()


class ControlTree:
    """All control files of a mount."""

    def __init__(self, presentation: Presentation, files: Sequence[ControlFile]) -> None:
        uid, gid, now = presentation.uid, presentation.gid, time.time_ns()
        self.directory = ControlNode(
            Ino(FIRST_INO), NAME, Attributes(Kind.DIRECTORY, 0o555, uid, gid, now), None
        )
        self._nodes = {
            file.name: ControlNode(
                Ino(FIRST_INO + number),
                f"{NAME}/{file.name}",
                Attributes(Kind.FILE, 0o644 if file.accept else 0o444, uid, gid, now),
                file,
            )
            for number, file in enumerate(files, 1)
        }
        self._by_ino = {n.ino: n for n in (self.directory, *self._nodes.values())}

    def get(self, ino: Ino) -> ControlNode | None:
        """Return the control node of an inode number."""
        return self._by_ino.get(ino)

    def find(self, parent: int, basename: str) -> ControlNode | None:
        """Return the control node of a name; None if it is a name of the bucket.

        Raises:
            NotFound: the control directory has no such file.
        """
        if self.is_directory(parent, basename):
            return self.directory
        if parent != self.directory.ino:
            return None
        node = self._nodes.get(basename)
        if node is None:
            raise NotFound(f"there is no control file {basename}")
        return node

    @staticmethod
    def is_directory(parent: int, basename: str) -> bool:
        """Tell whether a name is that of the control directory."""
        return parent == ROOT and basename == NAME

    def files(self) -> list[tuple[str, Node]]:
        """Return the names and nodes of all control files."""
        return list(self._nodes.items())

    @staticmethod
    def open(node: ControlNode, flags: int) -> ControlHandle:
        """Open a control file; O_TRUNC means nothing to it."""
        file, mode = node.file, flags & os.O_ACCMODE
        if file is None:
            raise IsADirectory(f"{node.name} is a directory")
        if mode != os.O_RDONLY and file.accept is None:
            raise Forbidden(f"{node.name} can only be read")
        text = to_bytes(file.show()) if mode == os.O_RDONLY else b""
        sink = file.accept() if mode != os.O_RDONLY and file.accept is not None else None
        return ControlHandle(node, text, sink)
