"""What becomes of a staged file: stored by `transfer`, or written down in the journal (C10).

Serves `vfs`. A commit that succeeds writes nothing down. A row is made when one failed, and when
bytes are promised that the cluster does not have yet (write-back); it goes when they are stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError, IoFailure
from aisfs.log_lines import OF_EACH
from aisfs.staging.journal import Owed
from aisfs.staging.transfer import transfer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection

    from aisfs.config import BucketName
    from aisfs.staging.staged_file import StagedFile
    from aisfs.staging.state import StateDirectory
    from aisfs.staging.transfer import Target
    from aisfs.store.interface import Identity, ObjectInfo, ObjectStore

log = logging.getLogger(__name__)

Told = Callable[[str, FsError | None], None]
"""Learns of an object, by its URL, why it could not be stored; None: that it is stored now."""


@dataclass(frozen=True, slots=True)
class _Row:
    """What the journal knows of a staged file of this mount.

    Attributes:
        promised: a close returned 0 for these bytes.
        since: when they were first written down, as of `Owed`.
    """

    generation: int
    target: Target
    promised: bool
    since: str


def _nobody(url: str, failure: FsError | None) -> None:
    """Tell nobody what becomes of an object."""


class Uploader:
    """Stores staged files and keeps what could not be stored, or need not be yet.

    Args:
        store: where they go.
        state: where it is written down what is not stored.
        told: learns which objects could not be stored, and why; later, without a failure, that one
            of them is.

    Attributes:
        earlier: objects for which earlier mounts left bytes that are still to be sent: one PUT at
            a time, for each looks at what is there before it.
        doomed: objects that earlier mounts unlinked and are still to be deleted, by the journal's
            rows: what is stored under the name now must not go, were it the same bytes.
    """

    def __init__(self, store: ObjectStore, state: StateDirectory, told: Told = _nobody) -> None:
        self._store = store
        self._state = state
        self._told = told
        self._failed: set[str] = set()
        self._rows: dict[str, _Row] = {}
        self._tried: dict[tuple[BucketName, str], set[Identity]] = {}
        self.earlier: dict[tuple[BucketName, str], trio.Lock] = {}
        self.doomed: dict[tuple[BucketName, str], int] = {}

    async def commit(
        self,
        staged: StagedFile,
        target: Target,
        release: Callable[[], Awaitable[None]] | None = None,
        instead_of: StagedFile | None = None,
    ) -> ObjectInfo:
        """Store the present content and return the object as stored.

        Args:
            staged: what to store; nobody changes it meanwhile.
            target: where.
            release: ends our own reads of the object, which would block its writer on AIS; called
                when the content is complete.
            instead_of: an earlier content that need not be stored any more once this one is kept.

        Raises:
            Stale: the object changed since it was opened. Our bytes are in a conflict copy, and
                the staged file is clean; if it is still dirty, they could not even be completed.
            FsError: the content is not stored; it stays in staging, with a row in the journal.
        """
        url = target.bucket.url_of(target.name)
        place = target.bucket, target.name
        await self.spare(*place)
        tried = self._tried.setdefault(place, set())
        try:
            async with self.earlier.get(place, nullcontext()):
                info = await transfer(self._store, staged, target, release, tried)
        except FsError as error:
            self._failed.add(staged.path.name)
            self._told(url, error)
            if staged.dirty:
                await self.keep(staged, target, str(error), instead_of)
            else:  # stored, though under another name
                self._tried.pop(place, None)
                await self.settle(staged)
            raise
        self._tried.pop(place, None)
        staged.reset()
        if staged.path.name in self._failed:
            self._told(url, None)
        await self.settle(staged)
        return info

    def tried(self, bucket: BucketName, name: str) -> Collection[Identity]:
        """Return what the cluster may hold of ours under a name without having told us."""
        return self._tried.get((bucket, name), ())

    async def spare(self, bucket: BucketName, name: str) -> None:
        """Have nothing deleted of what is stored from now on under a name, or a prefix ("…/")."""
        places = [(bucket, name)]
        if name.endswith("/"):
            places = [p for p in self.doomed if p[0] == bucket and p[1].startswith(name)]
        for place in places:
            if number := self.doomed.pop(place, 0):
                await self._state.journal.bury(number)

    async def keep(
        self,
        staged: StagedFile,
        target: Target,
        reason: str,
        instead_of: StagedFile | None = None,
    ) -> None:
        """Write down that the content is not stored, even when the caller was cancelled.

        Nothing can be kept of a file that was sent on in parts: its first bytes are not here.
        What lacks bytes of its base is kept without a checksum: nobody can send it as it is.
        """
        url = target.bucket.url_of(target.name)
        if staged.freed:
            text = "%s is not stored, it was sent in parts and not put together: %s"
            log.error(text, url, reason, extra=OF_EACH)
            return
        text = "%s is not stored, its bytes wait in %s: %s"
        log.error(text, url, staged.path, reason, extra=OF_EACH)
        try:
            with trio.CancelScope(shield=True):
                if staged.whole:
                    checksum = await staged.complete()
                    await self._write_down(staged, target, checksum, reason, instead_of)
                else:
                    await self._write_down(staged, target, "", reason)
        except (OSError, FsError) as failure:
            log.error("and this could not be written down: %s", failure)  # noqa: TRY400

    async def promise(
        self, staged: StagedFile, target: Target, instead_of: StagedFile | None = None
    ) -> None:
        """Make the present content durable here, so that it may be stored later (C9, write-back).

        Args:
            staged: what is to be stored; nobody changes it meanwhile.
            target: where.
            instead_of: an earlier content of the same object, which need not be stored any more.

        Raises:
            FsError: the content cannot be completed, or the local disk does not take it; nothing
                is promised.
        """
        checksum = await staged.complete()
        try:
            await self._write_down(staged, target, checksum, "", instead_of)
        except OSError as error:
            raise IoFailure(f"syncing {staged.path}: {error.strerror}") from error

    async def _write_down(
        self,
        staged: StagedFile,
        target: Target,
        checksum: str,
        reason: str,
        instead_of: StagedFile | None = None,
    ) -> None:
        generation, name = staged.generation, staged.path.name
        promised = not reason or self.has_promised(staged)
        if instead_of is not None:  # its bytes are owed with these
            promised = promised or self.has_promised(instead_of)
        known = self._row_of(staged)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        since = known.since if known is not None else now  # not the last attempt's
        await trio.to_thread.run_sync(self._state.sync, staged.path)
        owed = Owed(
            name, target.bucket, target.name, target.expected, target.attributes, staged.size,
            checksum, reason, since, tuple(self._tried.get((target.bucket, target.name), ())),
        )  # fmt: skip
        await self._state.journal.owe(owed, instead_of.path.name if instead_of else "")
        self._rows[name] = _Row(generation, target, promised, since)
        if instead_of is not None:
            self._rows.pop(instead_of.path.name, None)

    async def settle(self, staged: StagedFile) -> None:
        """Forget a staged file that is stored, or given up.

        Where that fails, the next mount sees by the checksum that the cluster has the bytes.
        """
        self._failed.discard(staged.path.name)
        if self._rows.pop(staged.path.name, None) is not None:
            try:
                await self._state.journal.settle(staged.path.name)
            except FsError as error:
                log.error("%s is stored, but its row stays: %s", staged.path, error)  # noqa: TRY400

    def knows(self, staged: StagedFile) -> bool:
        """Tell whether the journal names a staged file, be it with an earlier content."""
        return staged.path.name in self._rows

    def target_of(self, staged: StagedFile) -> Target | None:
        """Return where the present content is to go, if the journal names it, else None."""
        row = self._row_of(staged)
        return row.target if row is not None else None

    def has_promised(self, staged: StagedFile) -> bool:
        """Tell whether a close returned 0 for the present content, which is not stored yet."""
        row = self._row_of(staged)
        return row is not None and row.promised

    def _row_of(self, staged: StagedFile) -> _Row | None:
        """Return what the journal knows of the present content."""
        row = self._rows.get(staged.path.name)
        return row if row is not None and row.generation == staged.generation else None
