"""Staged file → object on the cluster: one whole PUT, checked before and after (C2, C5, C6, C13).

Serves `vfs`. A commit:

    complete the content ─▶ HEAD, if there was a base ─ same ─▶ PUT with checksum and attributes
             │                    │ changed                          │ reply: as stored
             │                    ▼                                  ├─ attributes differ ─▶ PATCH
             │             conflict copy, Stale                      └─▶ clean
             └─ any failure: the bytes stay in staging with a record on disk, and the errno goes out
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from aisfs.errors import Corrupt, FsError, NotFound, Stale
from aisfs.staging.state import StateDirectory, Unsent, object_url
from aisfs.store.interface import BucketName, Identity, ObjectInfo, ObjectStore, Upload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.staging.staged_file import StagedFile

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a staged file is to be stored.

    Attributes:
        expected: what the cluster must still hold (C6); None when the name is new.
        attributes: value of our custom key.
    """

    bucket: BucketName
    name: str
    expected: Identity | None
    attributes: str


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
            info = await self._commit(staged, target, release)
        except FsError as error:
            if staged.dirty:
                await self._keep(staged, target, error)
            raise
        staged.reset()
        self._state.forget(staged.path)
        return info

    async def _commit(
        self,
        staged: StagedFile,
        target: Target,
        release: Callable[[], Awaitable[None]] | None,
    ) -> ObjectInfo:
        checksum = await staged.complete()
        if release is not None:
            await release()
        upload = Upload(staged.fd, staged.size, checksum, target.attributes)
        if target.expected is not None:
            await self._check_unchanged(staged, upload, target)
        info = await self._store.put(target.bucket, target.name, upload)
        stored = info.identity
        ours = Identity(upload.size, checksum, "xxhash")
        if stored.checksum_type in {"xxhash", "xxhash2"} and not stored.same_content(ours):
            raise Corrupt(f"storing {target.name}: the cluster holds other bytes than were sent")
        if info.attributes != target.attributes:
            # AIS: a PUT of the bytes that are there already is a no-op that drops its headers.
            await self._store.set_attributes(target.bucket, target.name, target.attributes)
            info = ObjectInfo(info.name, stored, target.attributes)
        return info

    async def _check_unchanged(self, staged: StagedFile, upload: Upload, target: Target) -> None:
        """Compare the object with what was opened; on a conflict store our bytes beside it."""
        assert target.expected is not None
        try:
            now = (await self._store.head(target.bucket, target.name)).identity
        except NotFound:
            now = None
        if now is not None and now.same_content(target.expected):
            return
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"{target.name}.aisfs-conflict-{stamp}-{uuid.uuid4().hex[:8]}"
        await self._store.put(target.bucket, name, upload)
        staged.reset()  # stored, though under another name
        self._state.forget(staged.path)
        what = "was deleted" if now is None else "was changed"
        raise Stale(
            f"{object_url(target.bucket, target.name)} {what} by another client after it was "
            f"opened here; the bytes written here are stored as {name}"
        )

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
