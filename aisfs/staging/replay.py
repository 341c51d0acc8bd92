"""What earlier mounts owe the cluster, done by this one (C11, C19).

Serves `assembly` and `aisfs recover`. A row of the journal is worth what its staged file is: bytes
that are not those that were written down are never sent. Everything here may be killed at any
moment and done again: the cluster is asked first, and a conflict copy has the same name each time.

    upload     bytes as recorded? ─ no ─▶ kept, and told
                   │ yes
               HEAD ─ our bytes ─▶ settled
                   ├─ as expected, or what was tried before ─▶ PUT ─▶ settled
                   └─ another content ─▶ PUT beside it ─▶ settled
    deletion   HEAD ─ still that content ─▶ DELETE ─▶ forgotten
                   └─ another, or none ─▶ forgotten
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from aisfs.errors import (
    Busy,
    Corrupt,
    FsError,
    IoFailure,
    NotFound,
    TimedOut,
    Unreachable,
    Unsendable,
)
from aisfs.staging.outbox import WORKERS
from aisfs.store.interface import Identity, Upload, is_xxh64, new_digest
from aisfs.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aisfs.config import BucketName
    from aisfs.staging.journal import Deletion, Owed
    from aisfs.staging.state import StateDirectory
    from aisfs.store.interface import ObjectInfo, ObjectStore

log = logging.getLogger(__name__)

STEP = 4 << 20
"""Bytes that are hashed at a time."""


PATIENCE = 3
"""Requests in a row without an answer, after which the mount is served without what is left."""


SHOWN_S = 0.5
REPEATED_S = 5.0
"""Seconds after which progress is shown although there is none: who waits sees that we live."""


class _Progress:
    """How far a replay is."""

    def __init__(self, owed: list[Owed], shown: Callable[[str], None]) -> None:
        self._all = len(owed)
        self._bytes = sum(each.size for each in owed)
        self._shown = shown
        self._sent = 0
        self.left: list[Owed] = []
        self.unanswered = 0

    def note(self, owed: Owed, error: FsError | None) -> None:
        """Take note of what became of one file."""
        if error is None:
            self._sent += 1
        else:
            self.left.append(owed)
        silent = isinstance(error, (Unreachable, TimedOut, Busy))
        self.unanswered = self.unanswered + 1 if silent else 0

    async def show(self) -> None:
        """Tell again and again how far it is, until cancelled."""
        before, told_at = "", trio.current_time()
        while True:
            text = self.text()
            if text != before or trio.current_time() - told_at >= REPEATED_S:
                log.info("%s", text)
                self._shown(text)
                before, told_at = text, trio.current_time()
            await trio.sleep(SHOWN_S)

    def text(self) -> str:
        """Return how far it is, in words."""
        text = f"sending {self._all} files ({self._bytes} bytes) of an earlier mount: "
        text += f"{self._sent} are stored"
        return text + (f", {len(self.left)} have to stay" if self.left else "")


@dataclass(frozen=True, slots=True)
class _Bytes:
    """An open staged file that is as its row says."""

    fd: int
    owed: Owed

    def identity(self, checksum_type: str) -> Identity:
        """Return what an object of these bytes is on a bucket with such checksums."""
        if is_xxh64(checksum_type):
            return Identity(self.owed.size, self.owed.checksum, checksum_type)
        return Identity(self.owed.size, _hashed(self.fd, checksum_type), checksum_type)


class Replay:
    """Does again what the journal of a state directory names.

    Args:
        store: the cluster that it is owed to.
        state: where it is written down.
        freed: learns how many bytes each staged file had that is gone.
    """

    def __init__(
        self,
        store: ObjectStore,
        state: StateDirectory,
        freed: Callable[[int], None] = lambda size: None,  # noqa: ARG005
    ) -> None:
        self._store = store
        self._state = state
        self._freed = freed
        self._reasons: dict[str, FsError] = {}

    async def run(self, owed: list[Owed], shown: Callable[[str], None]) -> list[Owed]:
        """Do everything once, and return what could not be sent.

        It ends whatever the cluster does: each request has its deadline, and when `PATIENCE` in a
        row had no answer the rest is not tried.

        Args:
            owed: what there is to be sent, oldest first.
            shown: is told in words how far it is.
        """
        for deletion in await self._state.journal.deletions():
            try:
                await self.delete(deletion)
            except FsError as error:
                log.error("%s, which was unlinked, is not deleted: %s", deletion.name, error)  # noqa: TRY400
        by_place: dict[tuple[BucketName, str], list[Owed]] = {}
        for each in owed:
            by_place.setdefault((each.bucket, each.name), []).append(each)
        progress = _Progress(owed, shown)

        async def bring(same_object: list[Owed]) -> None:
            for each in same_object:
                await self._try(each, progress)

        if not owed:
            return []
        async with trio.open_nursery() as showing:
            showing.start_soon(progress.show)
            await for_each(by_place.values(), bring, WORKERS)
            showing.cancel_scope.cancel()
        log.info("%s", progress.text())
        return progress.left

    async def _try(self, owed: Owed, progress: _Progress) -> None:
        error: FsError | None = TimedOut("the cluster does not answer: it is sent later")
        if progress.unanswered < PATIENCE:
            error = None
            try:
                await self.send(owed)
            except FsError as failure:
                error = failure
        progress.note(owed, error)

    def failure_of(self, owed: Owed) -> FsError | None:
        """Return why a row stays, if it was tried."""
        return self._reasons.get(owed.data)

    # -- uploads

    async def send(self, owed: Owed) -> str:
        """Bring one staged file to the cluster, and forget it then.

        Returns:
            What became of it, in words.

        Raises:
            Unsendable: the staged file is not what was written down, or not complete; it stays.
            FsError: the cluster refuses it, or does not answer; it stays, with this reason.
        """
        known = self._reasons.get(owed.data)
        if isinstance(known, Unsendable):
            raise known
        try:
            if await self._was_settled(owed):
                outcome = "was stored already"
            else:
                with self._opened(owed) as fd:
                    await trio.to_thread.run_sync(_check, fd, owed)
                    outcome = await self._bring(_Bytes(fd, owed))
        except FsError as error:
            self._reasons[owed.data] = error
            await self._note(owed, str(error))
            raise
        await self.discard(owed)
        log.info("%s of an earlier mount %s", owed.bucket.url_of(owed.name), outcome)
        return outcome

    async def discard(self, owed: Owed) -> None:
        """Forget a staged file, row first: without one, the next sweep takes what is left."""
        size = self._state.size_of(owed)
        await self._state.journal.settle(owed.data)
        self._state.path_of(owed).unlink(missing_ok=True)
        self._freed(size)

    async def _note(self, owed: Owed, reason: str) -> None:
        """Write down why a row stays; also where that cannot be written, the row stays."""
        log.error(
            "%s of an earlier mount is not stored, its bytes wait in %s: %s",
            owed.bucket.url_of(owed.name),
            self._state.path_of(owed),
            reason,
        )
        try:
            await self._state.journal.owe(replace(owed, reason=reason))
        except FsError as error:
            log.error("and this could not be written down: %s", error)  # noqa: TRY400

    @contextmanager
    def _opened(self, owed: Owed) -> Iterator[int]:
        try:
            fd = os.open(self._state.path_of(owed), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Unsendable(f"its staged file cannot be read: {error.strerror}") from error
        try:
            yield fd
        finally:
            os.close(fd)

    async def _bring(self, staged: _Bytes) -> str:
        """Store the bytes where they belong, unless they are there; return what was done."""
        owed = staged.owed
        now = await self._present(owed)
        if now is None:
            free = owed.expected is None
        else:
            kind = now.identity.checksum_type
            ours = await trio.to_thread.run_sync(staged.identity, kind)
            if ours.verifiable and now.identity.same_content(ours):
                if now.attributes != owed.attributes:
                    await self._store.set_attributes(owed.bucket, owed.name, owed.attributes)
                return "was stored already"
            free = owed.expected is not None and owed.expected.admits(now.identity)
            free = free or any(now.identity.same_content(each) for each in owed.tried)
        name = owed.name if free else _conflict_name(owed)
        await self._put(staged, name)
        if free:
            return "is stored now"
        what = "was deleted" if now is None else "was changed"
        log.warning("%s %s by others: it is stored as %s", owed.name, what, name)
        return f"{what} by others, its bytes are stored as {name}"

    async def _was_settled(self, owed: Owed) -> bool:
        """Tell whether only a row is left of what is stored: the disk was too full to drop it."""
        if self._state.path_of(owed).exists():
            return False
        now = await self._present(owed)
        ours = Identity(owed.size, owed.checksum, "xxhash")
        return now is not None and ours.verifiable and now.identity.same_content(ours)

    async def _present(self, owed: Owed) -> ObjectInfo | None:
        try:
            return await self._store.head(owed.bucket, owed.name)
        except NotFound:
            return None

    async def _put(self, staged: _Bytes, name: str) -> None:
        owed = staged.owed
        upload = Upload(staged.fd, owed.size, owed.checksum, owed.attributes)
        info = await self._store.put(owed.bucket, name, upload)
        kind = info.identity.checksum_type
        if is_xxh64(kind) and not info.identity.same_content(staged.identity(kind)):
            raise Corrupt(f"storing {name}: the cluster holds other bytes than were sent")
        if info.attributes != owed.attributes:
            await self._store.set_attributes(owed.bucket, name, owed.attributes)

    # -- deletions

    async def delete(self, deletion: Deletion) -> None:
        """Delete an object that was unlinked while open, if it still is the same (C19).

        Raises:
            FsError: the cluster refuses it, or does not answer; the row stays.
        """
        url = deletion.bucket.url_of(deletion.name)
        try:
            now = await self._store.head(deletion.bucket, deletion.name)
            if now.identity.same_content(deletion.identity):
                await self._store.delete(deletion.bucket, deletion.name)
                log.info("%s is deleted: an earlier mount unlinked it while it was open", url)
            else:
                log.warning("%s was replaced after an earlier mount unlinked it: kept", url)
        except NotFound:
            log.info("%s, which an earlier mount unlinked, is gone", url)
        await self._state.journal.bury(deletion.number)


def _conflict_name(owed: Owed) -> str:
    """Return the same name each time that a row is replayed."""
    stamp = owed.since[:19].replace("-", "").replace(":", "")
    return f"{owed.name}.aisfs-conflict-{stamp}Z-{owed.checksum[:8]}"


def _check(fd: int, owed: Owed) -> None:
    """Compare a staged file with its row; `Unsendable` if it is another, or was never complete."""
    if not owed.checksum:
        raise Unsendable("its staged file has only what was written, not the rest of the object")
    size = os.fstat(fd).st_size
    if size != owed.size:
        raise Unsendable(f"its staged file has {size} bytes instead of {owed.size}")
    if _hashed(fd, "xxhash") != owed.checksum:
        raise Unsendable("its staged file was changed after it was written down")


def _hashed(fd: int, checksum_type: str) -> str:
    """Return the checksum of a whole file; "" where it cannot be computed."""
    digest, offset = new_digest(checksum_type), 0
    if digest is None:
        return ""
    try:
        while block := os.pread(fd, STEP, offset):
            digest.update(block)
            offset += len(block)
    except OSError as error:
        raise IoFailure(f"its staged file cannot be read: {error.strerror}") from error
    return digest.hexdigest()
