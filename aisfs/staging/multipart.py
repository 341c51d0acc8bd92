"""Files of which staging cannot hold all: sent in parts, and freed here part by part (C15).

Serves `vfs`, which asks before each write, `staged_file`, and `transfer`, which completes what was
sent. Bytes are freed only when the cluster acknowledged their part, in order from the start, and
are not here any more then: they cannot be read, changed or sent again.

    growing ── all sent, complete, compared ─▶ completed
       │ a part fails, the mount ends, …
       ▼
    over ── nothing was freed ─▶ the staged file is as it was, and goes the usual way
      └──── else ─▶ lost: the file's every use returns why

Invariants: freed <= sent <= what was written in order. What was begun and not completed is aborted.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError, IoFailure, NotFound, SentOn, TooLarge
from aisfs.store.interface import MAX_PARTS, Tail

if TYPE_CHECKING:
    from aisfs.staging.journal import Journal
    from aisfs.staging.quota import Quota
    from aisfs.staging.staged_file import StagedFile
    from aisfs.store.interface import BucketName, PartsStore, PartsUpload

log = logging.getLogger(__name__)

LARGEST_PART = 64 << 20
"""Bytes of a part: 9,999 of them are 624 GiB, and each is sent well within the time that a writer
waits for room, at 10 MB/s and more."""

PART_SHARE = 8
"""Parts that staging holds at least: one is sent while others are written."""

STARTS = 3
"""How often an upload is begun that fails before anything was freed."""

PAUSE_S = 1.0
"""Time before it is begun again: all of them lie within the time that a writer waits for room."""

ABORT_LIMIT_S = 5.0

_KEEP_SIZE, _PUNCH_HOLE = 1, 2
"""Linux: fallocate(2), linux/falloc.h. Python has no call for it."""

_libc = ctypes.CDLL(None, use_errno=True)


def free_on_disk(fd: int, start: int, end: int) -> None:
    """Give the disk blocks of [start, end) back; the file's length stays.

    Raises:
        OSError: the disk fails, or its filesystem cannot do that.
    """
    sizes = ctypes.c_int64(start), ctypes.c_int64(end - start)
    while _libc.fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, *sizes):
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


class PartSender:
    """One upload in parts of one staged file.

    Attributes:
        freed: bytes from the start that are not here any more.
        lost: why the file cannot be stored any more; None while it can.
        closing: completion was asked for; what the object is then may not be known yet.
    """

    def __init__(
        self, uploads: Uploads, staged: StagedFile, bucket: BucketName, name: str, part: int
    ) -> None:
        self._uploads = uploads
        self._staged = staged
        self._bucket = bucket
        self._name = name
        self._part = part
        self._fd = os.open(staged.path, os.O_RDWR | os.O_CLOEXEC)
        self._upload: PartsUpload | None = None
        self._parts = 0
        self._sent = 0
        self._hurried = False
        self._changed = trio.Event()
        self._over = trio.Event()
        self._running = trio.CancelScope()
        self._why = "the mount ended"
        self._put_together = False
        self._completed = False
        self.freed = 0
        self.lost: FsError | None = None
        self.closing = False

    # -- sending

    async def run(self) -> None:
        """Send parts as the file grows, until it is completed or over; never fails."""
        failure: FsError | None = None
        try:
            with self._running:
                free_on_disk(self._fd, self._staged.size, self._staged.size + 1)  # if that works
                for left in reversed(range(STARTS)):
                    if await self._try(last=left == 0):
                        break
        except FsError as error:
            failure = error
        except OSError as error:
            failure = IoFailure(f"freeing {self._staged.path}: {error.strerror}")
        finally:
            self._end(failure)
            await self._leave()

    async def _try(self, *, last: bool) -> bool:
        """Send until the file is completed; False if it failed, and may be tried again."""
        try:
            self._upload = await self._uploads.begin(self._bucket, self._name)
            await self._send()
        except FsError as error:
            if self.freed or last:
                raise
            log.info("sending %s in parts begins anew: %s", self._name, error)
            await self._leave()
            self._upload, self._parts, self._sent = None, 0, 0
            await trio.sleep(PAUSE_S)
            return False
        return True

    async def _send(self) -> None:
        while not self._completed:
            ready = self._staged.in_order - self._sent
            if ready < (1 if self._hurried else self._part):
                await self._changed.wait()
                continue
            self._hurried = False
            await self._send_part(self._sent + min(ready, self._part))

    async def _send_part(self, end: int) -> None:
        assert self._upload is not None
        self._parts += 1
        start = self._sent
        await self._uploads.store.send(self._upload, self._parts, Tail(self._fd, start, end))
        await trio.lowlevel.checkpoint_if_cancelled()  # who gave it up counts on all being here
        self._sent = end
        self.freed = end  # first: nobody must read what is on its way out
        with trio.CancelScope(shield=True):
            # From 0 on: blocks that two parts shared are free only once both are gone.
            await trio.to_thread.run_sync(free_on_disk, self._fd, 0, end)
        self._staged.give_back(self, end - start)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def advance(self) -> None:
        """Take note that the file has grown."""
        if self._staged.in_order - self._sent >= self._part:
            self._tell()

    def hurry(self, *, last: bool = False) -> None:
        """Send what is there, if it is less than a part: somebody waits for room, or it is all."""
        if last or self._parts < MAX_PARTS - 1:
            self._hurried = True
            self._tell()

    # -- what may be done with the file meanwhile

    async def check_change(self, offset: int, end: int) -> None:
        """Have bytes from `offset` on be others, in a file that reaches `end` then.

        Gives the upload up if that is what it takes and everything is here.

        Raises:
            SentOn: they are not here any more, or are part of an object.
            TooLarge: the cluster takes no more parts.
            FsError: why the file is lost.
        """
        self.check()
        if self.closing:
            raise SentOn(f"{self._name} was put together from its parts: fsync or close it first")
        if offset < self._staged.in_order:
            if self.freed:
                raise self._gone("changed")
            await self.give_up("bytes that may have been sent were changed")
            self.check()
        elif end > self._sent + (MAX_PARTS - self._parts) * self._part:
            raise TooLarge(f"{self._name}: {end} bytes are more than {MAX_PARTS} parts")

    def check_read(self, offset: int) -> None:
        """Have bytes from `offset` on be read; raises what `check_change` does."""
        self.check()
        if offset < self.freed:
            raise self._gone("read")

    def check(self) -> None:
        """Have the file be used at all.

        Raises:
            FsError: why it is lost.
        """
        if self.lost is not None:
            raise type(self.lost)(str(self.lost))

    def _gone(self, done: str) -> SentOn:
        return SentOn(
            f"{self._name} is larger than staging has room for and was sent in parts: its first "
            f"{self.freed} bytes cannot be {done} before it is closed; raise staging-quota"
        )

    # -- the end

    async def send_rest(self, bucket: BucketName, name: str, size: int) -> bool:
        """Send everything; False if the upload is over and everything is here.

        Raises:
            FsError: why the file is lost.
        """
        if (bucket, name) != (self._bucket, self._name):
            await self.give_up("the file was renamed")
        while self._sent < size and not self._over.is_set():
            self.hurry(last=True)
            await self._changed.wait()
        self.check()
        return not self._over.is_set()

    async def complete(self) -> None:
        """Ask the cluster to make the object; whether it did, even a failure does not tell."""
        assert self._upload is not None
        self.closing = True
        await self._uploads.store.complete(self._upload, self._parts, self._sent)
        self._put_together = True

    def completed(self) -> None:
        """Take note that the content is on the cluster."""
        self.closing = self._completed = True
        self._tell()

    def lose(self, why: FsError) -> FsError:
        """Have the file be lost, and return `why`."""
        self.lost = why
        self.abandon(str(why))
        return why

    def abandon(self, why: str) -> None:
        """End the upload soon; see `give_up`."""
        self._why = why
        self._running.cancel()

    async def give_up(self, why: str) -> None:
        """End the upload; return when nothing is freed here any more.

        If anything was, the file is lost.
        """
        self.abandon(why)
        await self._over.wait()

    def _end(self, failure: FsError | None) -> None:
        os.close(self._fd)
        if not self._completed:
            why = str(failure or self._why)
            log.info("%s is not stored in parts: %s", self._name, why)
            if self.freed and self.lost is None:
                kind = IoFailure if failure is None else type(failure)
                self.lost = kind(
                    f"{self._name} was larger than staging had room for, was sent in parts, and is "
                    f"lost: write it again ({why})"
                )
            self._staged.end_parts(self)
        self._over.set()
        self._tell()

    async def _leave(self) -> None:
        """Have the cluster keep nothing of the upload but the object, even when the mount ends."""
        if self._upload is not None:
            with trio.move_on_after(ABORT_LIMIT_S, shield=True):
                await self._uploads.end(self._upload, over=self._put_together)


class Uploads:
    """Where uploads in parts are, and the journal that remembers them: they may outlive a mount.

    Attributes:
        store: the former.
    """

    def __init__(self, store: PartsStore, journal: Journal) -> None:
        self.store = store
        self._journal = journal

    async def begin(self, bucket: BucketName, name: str) -> PartsUpload:
        """Begin an upload."""
        upload = await self.store.begin(bucket, name)
        try:
            await self._journal.begin_parts(upload)
        except FsError:
            await self.end(upload)
            raise
        return upload

    async def end(self, upload: PartsUpload, *, over: bool = False) -> None:
        """Have an upload be dropped if it is not `over`; where that fails, the next mount does."""
        try:
            if not over:
                with suppress(NotFound):
                    await self.store.abort(upload)
            await self._journal.end_parts(upload)
        except FsError as error:
            log.warning("parts of %s stay on the cluster for now: %s", upload.name, error)

    async def tidy_up(self, left: list[PartsUpload]) -> None:
        """Drop what earlier mounts left."""
        for upload in left:
            log.info("dropping the parts of %s that an earlier mount sent", upload.name)
            await self.end(upload)


class Parts:
    """Begins to send files in parts when staging has no room for more of them.

    Args:
        uploads: where to.
        nursery: in which they are sent.
        quota: the room that there is.
    """

    def __init__(self, uploads: Uploads, nursery: trio.Nursery, quota: Quota) -> None:
        self._uploads = uploads
        self._nursery = nursery
        self._quota = quota
        self._part = max(1, min(LARGEST_PART, quota.limit // PART_SHARE))

    def make_room(
        self, staged: StagedFile, place: tuple[BucketName | None, str], offset: int, size: int
    ) -> None:
        """Take note of a write that is to come: begin to send the file if it would have to wait.

        Args:
            staged: the file.
            place: where it belongs, and under which name.
            offset: where is to be written.
            size: how much.
        """
        bucket, name = place
        if self._quota.admits(staged.lacks(offset + size)) or bucket is None:
            return
        if staged.parts is not None or not self._uploads.store.takes(bucket):
            return
        if not offset == staged.in_order == staged.size >= self._part:
            return
        staged.end_stream()
        staged.parts = PartSender(self._uploads, staged, bucket, name, self._part)
        self._nursery.start_soon(staged.parts.run)
