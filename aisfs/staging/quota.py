"""The hard limit on bytes that wait locally (C34)."""

from __future__ import annotations

import trio

from aisfs.errors import NoSpace, TooLarge
from aisfs.kernel_request import Wait, waiting

WAIT_S = 10.0
"""Seconds that a writer waits for room: longer than a commit of a usual file, far below the
deadline at which a kernel with `fs.fuse.max_request_timeout` would abort the connection."""


class Quota:
    """Counts reserved bytes; a writer above the limit waits, then gets ENOSPC.

    Args:
        limit: bytes that may wait.
        used: bytes that wait already, from earlier mounts; may be above the limit.
    """

    def __init__(self, limit: int, used: int = 0) -> None:
        self.limit = limit
        self.used = used
        self._freed = trio.Event()

    def admits(self, size: int) -> bool:
        """Tell whether there is room for `size` bytes now."""
        return self.used + size <= self.limit

    async def reserve(self, size: int) -> None:
        """Take `size` bytes.

        Raises:
            NoSpace: no room within `WAIT_S`.
            TooLarge: there never can be.
        """
        if size > self.limit:
            raise TooLarge(
                f"{size} bytes are more than the whole staging area: raise staging-quota to more"
            )
        if not self.admits(size):
            await self._wait_for(size)
        self.used += size

    async def _wait_for(self, size: int) -> None:
        with waiting(Wait.STAGING), trio.move_on_after(WAIT_S):
            while not self.admits(size):
                await self._freed.wait()
        if not self.admits(size):
            raise NoSpace(
                f"{size} bytes do not fit into the staging area: {self.used} of {self.limit} are "
                "used; close files that are being written, or raise staging-quota"
            )

    def release(self, size: int) -> None:
        """Give bytes back."""
        if size:
            self.used -= size
            self._look_again()

    def change(self, limit: int) -> None:
        """Let another limit hold from now on; what waits already may be above it."""
        self.limit = limit
        self._look_again()

    def _look_again(self) -> None:
        self._freed.set()
        self._freed = trio.Event()
