"""Which pages lie in which file of the cache's folder, and which file goes when there is no room.

Serves `disk`. Pages lie one behind the other in a few large files (`segment`); the index, in
memory, tells where. Where the quota, the number of pages or the file system's free space is used
up, the file that was read least recently goes, with all its pages.

Invariants: `used` never exceeds `capacity`; a file is made only where the floor stays free; one
process has the folder; what is not ours in it stays. All belongs to the loop, but the files' making
and removing, which runs in threads.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import trio

from aisfs.cache.pages import PAGE_SIZE
from aisfs.cache.segment import RECORDS_PER_PAGE, Damaged, Segment, Unfinished, length_for
from aisfs.errors import Busy

if TYPE_CHECKING:
    from pathlib import Path

    from aisfs.cache.segment import Placed, Row

log = logging.getLogger(__name__)

SEGMENTS = 64
"""Files of a full folder: what goes at a time is one part in so many."""

MAX_PAGES = 131_072
"""Pages of a folder. Each takes about 200 bytes of memory: 26 MiB for all."""

SLACK = 64 << 10
"""Bytes of the quota for the folder itself."""

DEFAULT_QUOTA = 10 << 30
DEFAULT_FLOOR = 1 << 30

_NAME = re.compile(r"([0-9a-f]{8})\.pages")
_SLOT = (1 << 32) - 1


class Shelf:
    """The pages in one folder.

    Args:
        folder: made if it does not exist.
        quota: most bytes that the folder may take; 0 for the smaller of 10 GiB and half of what is
            free.
        floor: bytes that stay free on the file system; 0 for the smaller of 1 GiB and 5 % of it.

    Attributes:
        capacity: the quota.
        damaged: files that proved to be none of ours any more, and were removed.

    Raises:
        Busy: another mount uses the folder.
        OSError: the folder is another user's, cannot be made or written, or the disk fails.
    """

    def __init__(self, folder: Path, quota: int, floor: int) -> None:
        self.folder = folder
        self.damaged = 0
        self._lock = _locked(folder)
        self._closed = False
        self._segments: OrderedDict[int, Segment] = OrderedDict()
        self._index: dict[int, int] = {}
        self._active: Segment | None = None
        try:
            self._recover()
            status = os.statvfs(folder)
            space = self.used - SLACK + status.f_bavail * status.f_frsize
            self.capacity = quota or min(DEFAULT_QUOTA, space // 2)
            self.floor = floor or min(DEFAULT_FLOOR, status.f_blocks * status.f_frsize // 20)
            pages = max(self.capacity // SEGMENTS // PAGE_SIZE, 1)
            self._shape = pages, min(pages * RECORDS_PER_PAGE, MAX_PAGES // 4)
            while self._segments and (self.used > self.capacity or self._records > MAX_PAGES):
                self._forget_oldest().remove()
        except BaseException:
            self.close()
            raise

    def _recover(self) -> None:
        """Find what earlier mounts left, least recently used first."""
        for path in self.folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            number = int(match[1], 16)
            try:
                self._segments[number] = Segment.open(path, number)
            except Damaged as error:
                if not isinstance(error, Unfinished):
                    log.warning("%s is damaged: removed", path)
                    self.damaged += 1
                path.unlink()
        for segment in sorted(self._segments.values(), key=lambda each: each.changed_ns):
            self._segments.move_to_end(segment.number)
            for slot, row in segment.rows():
                self._index[row.key] = segment.number << 32 | slot
        self._active = self._segments.get(max(self._segments, default=0))

    @property
    def used(self) -> int:
        """Bytes that the folder takes on disk, at most."""
        return SLACK + sum(segment.allocated for segment in self._segments.values())

    @property
    def _records(self) -> int:
        return sum(segment.used for segment in self._segments.values())

    def __contains__(self, key: int) -> bool:
        return key in self._index

    def find(self, key: int) -> tuple[Segment, Row] | None:
        """Return where a page lies."""
        place = self._index.get(key)
        if place is None:
            return None
        segment = self._segments[place >> 32]
        return segment, segment.row(place & _SLOT)

    def touch(self, segment: Segment) -> None:
        """Take note that a file was read or written now."""
        if segment.number in self._segments:
            self._segments.move_to_end(segment.number)

    def enter(self, segment: Segment, placed: Placed) -> None:
        """Let a page be found that is written now, and whose row `segment` has."""
        self._index[placed.key] = segment.number << 32 | placed.slot

    def erase(self, key: int) -> None:
        """Let nobody find a page again, also after a restart.

        Raises:
            OSError: the disk fails.
        """
        place = self._index.pop(key, None)
        if place is not None:
            self._segments[place >> 32].erase(place & _SLOT)

    async def place(self, key: int, view: memoryview) -> tuple[Segment, Placed] | None:
        """Give a page its place, in a new file if need be; None where the floor allows none.

        Raises:
            OSError: the disk fails.
        """
        segment = self._active
        placed = segment.place(key, view) if segment is not None else None
        if segment is None or placed is None:
            segment = self._active = await self._new_segment()
            placed = segment.place(key, view) if segment is not None else None
        return (segment, placed) if segment is not None and placed is not None else None

    async def _new_segment(self) -> Segment | None:
        """Make a file, and room for it; None if the floor does not allow even one."""
        length = length_for(*self._shape) + 2 * SLACK
        while True:
            free = await trio.to_thread.run_sync(self._free)
            crowded = self.used + length > self.capacity
            crowded |= self._records + self._shape[1] > MAX_PAGES
            if not crowded and free >= self.floor + length:
                break
            if not self._segments:
                return None
            await trio.to_thread.run_sync(self._forget_oldest().remove)
        number = max(self._segments, default=0) + 1
        path = self.folder / f"{number:08x}.pages"
        segment = await trio.to_thread.run_sync(Segment.create, path, number, *self._shape)
        if self._closed:  # meanwhile
            segment.retire()
            return None
        self._segments[number] = segment
        return segment

    def _free(self) -> int:
        """Return the bytes that are free on the file system (in a thread)."""
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    async def keep_floor(self) -> None:
        """Give up files as long as less is free than has to be."""
        while await trio.to_thread.run_sync(self._free) < self.floor and self._segments:
            await trio.to_thread.run_sync(self._forget_oldest().remove)

    async def empty(self) -> None:
        """Give up all files."""
        while self._segments:
            await trio.to_thread.run_sync(self._forget_oldest().remove)

    def _forget_oldest(self) -> Segment:
        """Forget the file that was used least recently; the caller removes it."""
        number, segment = self._segments.popitem(last=False)
        for slot, row in segment.rows():
            if self._index.get(row.key) == number << 32 | slot:
                del self._index[row.key]
        if segment is self._active:
            self._active = None
        segment.retire()
        return segment

    def forget_all(self) -> None:
        """Find nothing any more, and close the files as soon as nobody reads them.

        Their times tell the next mount which were used least recently.
        """
        self._closed = True
        self._index.clear()
        self._active = None
        now = time.time_ns()
        for age, segment in enumerate(reversed(self._segments.values())):
            segment.mark(now - age)
            segment.retire()
        self._segments.clear()

    def close(self) -> None:
        """Do `forget_all`, and let other mounts have the folder."""
        self.forget_all()
        os.close(self._lock)


def _locked(folder: Path) -> int:
    """Make the folder, if need be, and return a descriptor that locks it."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} is another user's")
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        folder.chmod(0o700)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Busy(
            f"another aisfs mount of the same source keeps its pages in {folder}: unmount it, or "
            "give this one another --cache-dir"
        ) from None
    except BaseException:
        os.close(lock)
        raise
    return lock
