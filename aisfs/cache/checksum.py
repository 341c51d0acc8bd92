"""The checksum of a whole content, computed while its bytes arrive in order (C13).

Serves `reader`; called in network threads, by one stream after the other.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from aisfs.errors import Corrupt
from aisfs.store.interface import Digest, new_digest

if TYPE_CHECKING:
    from aisfs.store.interface import Identity


class RunningChecksum:
    """Takes in bytes that continue what it has, and compares at the end of the content."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self._size = size
        self._lock = threading.Lock()
        self._digest: Digest | None = None
        self._at = 0
        self._goal = ""

    @property
    def at(self) -> int:
        """The offset up to which the content was taken in."""
        return self._at

    @property
    def begun(self) -> bool:
        """Whether the content is taken in from its first byte on."""
        return self._digest is not None

    def start(self, offset: int, identity: Identity) -> None:
        """Begin when a stream starts at the content's first byte."""
        if offset == 0 and identity.checksum:
            with self._lock:  # another stream may be feeding the one before
                self._digest = new_digest(identity.checksum_type)
                self._at = 0
                self._goal = identity.checksum

    def take(self, offset: int, data: memoryview) -> None:
        """Take in bytes if they continue what is there.

        Raises:
            Corrupt: the whole body does not have the checksum that the cluster keeps.
        """
        with self._lock:
            if self._digest is None or offset != self._at:
                return
            self._digest.update(data)
            self._at += len(data)
            if self._at == self._size and self._digest.hexdigest() != self._goal:
                raise Corrupt(
                    f"reading {self.name}: the bytes do not have the checksum {self._goal}"
                )
