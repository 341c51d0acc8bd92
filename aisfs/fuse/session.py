"""The kernel's side of one mount: mounting, the main loop, unmounting.

Serves `daemon`. Order at the start: `pyfuse3.init` while the process is still in the mounter's
process group (the automounter lets nobody else pass), then the loop; the mount is ready when the
kernel calls `Operations.init`, and nobody here touches the mount point before.
"""

from __future__ import annotations

import logging
import os
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyfuse3
import trio

from aisfs import mount_table
from aisfs.errors import IoFailure
from aisfs.fuse import request_loop
from aisfs.vfs.paths import to_bytes

if TYPE_CHECKING:
    from aisfs.fuse.operations import Operations

log = logging.getLogger(__name__)

MAX_TASKS = 400
"""Requests that may wait at a time; when all wait, the mount stops answering (99 by default)."""

READ_AHEAD_KB = 1024
"""Kernel readahead: 1 to 4 MiB is the flat top, 16 MiB is slower than 256 KiB (measured)."""

MAX_BACKGROUND = 64
"""Kernel requests in flight in the background: twelve slow reads otherwise block every reader."""

FORGOTTEN_S = 0.1
"""Longest that an answer waits until the kernel has forgotten a name, which may wait for it."""

LINGER_S = 5.0
"""Seconds that open files may go on after an unmount was asked for, before they get ENOTCONN."""


class Session:
    """A mounted file system; one per process (pyfuse3 keeps its session in module globals)."""

    def __init__(self, operations: Operations, mountpoint: Path, options: set[str]) -> None:
        """Mount.

        Raises:
            IoFailure: the kernel or fusermount3 refused.
        """
        self._mountpoint = mountpoint
        self._initialised = operations.initialised
        try:
            pyfuse3.init(operations, str(mountpoint), options)
        except RuntimeError as error:
            raise IoFailure(
                f"mounting on {mountpoint} was refused ({error}): the lines above, from "
                "fusermount3, say why; see that /dev/fuse and the mount point are yours to use"
            ) from error
        request_loop.make_non_blocking()
        self._device = _device_of(mountpoint)

    async def serve(self) -> None:
        """Answer the kernel until the file system is unmounted."""
        await pyfuse3.main(max_tasks=MAX_TASKS)

    async def tune(self) -> None:
        """Raise the kernel's readahead and background limit, where we may.

        The kernel lowers them to its own idea of them when it takes the mount into service.
        """
        await self._initialised.wait()
        await trio.to_thread.run_sync(self._tune)

    def _tune(self) -> None:
        if self._device is None:
            return
        major, minor = os.major(self._device), os.minor(self._device)
        for path, value in (
            (f"/sys/class/bdi/{major}:{minor}/read_ahead_kb", READ_AHEAD_KB),
            (f"/sys/fs/fuse/connections/{minor}/max_background", MAX_BACKGROUND),
            (f"/sys/fs/fuse/connections/{minor}/congestion_threshold", MAX_BACKGROUND * 3 // 4),
        ):
            try:
                Path(path).write_text(str(value))
            except OSError as error:
                log.info("%s stays as it is: %s", path, error.strerror)

    async def unmount(self) -> None:
        """Take the name away, let open files end for `LINGER_S`, then end the loop."""
        if self._still_ours():
            await trio.run_process(
                ["fusermount3", "-u", "-z", "-q", "--", str(self._mountpoint)],
                check=False,
                stderr=subprocess.DEVNULL,
            )
        await trio.sleep(LINGER_S)
        log.warning(
            "files were still open %g s after the unmount: their users get ENOTCONN", LINGER_S
        )
        pyfuse3.terminate()

    def _still_ours(self) -> bool:
        """Tell whether the mount at our mount point is this one, not a newer daemon's."""
        return self._device is not None and _device_of(self._mountpoint) == self._device

    def close(self) -> None:
        """Release the kernel connection; the mount point is left alone (somebody else's, maybe)."""
        with suppress(Exception):
            pyfuse3.close(unmount=False)


def invalidate_entry(parent: int, name: str) -> None:
    """Make the kernel forget a name, from the loop: pyfuse3 does it in a thread of its own."""
    pyfuse3.invalidate_entry_async(parent, to_bytes(name), ignore_enoent=True)


async def entry_forgotten(parent: int, name: str) -> None:
    """Make the kernel forget a name, and return when it has.

    Where a request that the caller answers keeps the kernel from it, it is done after the answer.
    """
    forget = partial(pyfuse3.invalidate_entry, parent, to_bytes(name))

    def work() -> None:
        with suppress(FileNotFoundError):  # it does not know the name
            forget()

    with trio.move_on_after(FORGOTTEN_S):
        await trio.to_thread.run_sync(work, abandon_on_cancel=True)


def _device_of(mountpoint: Path) -> int | None:
    """Return st_dev of what is mounted at a path, without touching it."""
    found = [each.device for each in mount_table.mounts() if each.path == mountpoint]
    return found[-1] if found else None
