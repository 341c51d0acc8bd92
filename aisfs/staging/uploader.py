"""What becomes of a staged file: stored by `transfer`, or kept with a record on disk (C10).

Serves `vfs`.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError
from aisfs.staging.state import StateDirectory, Unsent, object_url
from aisfs.staging.transfer import transfer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.staging.staged_file import StagedFile
    from aisfs.staging.transfer import Target
    from aisfs.store.interface import ObjectInfo, ObjectStore

log = logging.getLogger(__name__)


class Uploader:
    """Stores staged files and keeps what could not be stored."""

    def __init__(self, store: ObjectStore, state: StateDirectory) -> None:
        self._store = store
        self._state = state

    async def commit(
        self,
        staged: StagedFile,
        target: Target,
        release: Callable[[], Awaitable[None]] | None = None,
    ) -> ObjectInfo:
        """Store the present content and return the object as stored.

        Args:
            staged: what to store; nobody changes it meanwhile.
            target: where.
            release: ends our own reads of the object, which would block its writer on AIS; called
                when the content is complete.

        Raises:
            Stale: the object changed since it was opened. Our bytes are in a conflict copy, and
                the staged file is clean; if it is still dirty, they could not even be completed.
            FsError: the content is not stored; it stays in staging, with a record.
        """
        try:
            info = await transfer(self._store, staged, target, release)
        except FsError as error:
            if staged.dirty:
                await self._keep(staged, target, error)
            else:  # stored, though under another name
                self._state.forget(staged.path)
            raise
        staged.reset()
        self._state.forget(staged.path)
        return info

    async def _keep(self, staged: StagedFile, target: Target, error: FsError) -> None:
        """Write down that the content is not stored, even when the caller was cancelled."""
        url = object_url(target.bucket, target.name)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        unsent = Unsent(str(staged.path), url, staged.size, str(error), now)
        log.error("%s is not stored, its bytes wait in %s: %s", url, staged.path, error)
        try:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._state.record, unsent)
        except OSError as failure:
            log.error("and this could not be written down: %s", failure)  # noqa: TRY400
