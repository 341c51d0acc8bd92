"""Staged file → object on the cluster: one whole PUT, checked before and after (C2, C5, C6, C13).

Serves `uploader`.

    complete the content ─▶ HEAD, if there was a base ─ same ─▶ PUT with checksum and attributes
                                  │ changed                          │ reply: as stored
                                  ▼                                  ├─ attributes differ ─▶ PATCH
                           conflict copy, Stale                      └─▶ done
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aisfs.errors import Corrupt, NotFound, Stale
from aisfs.staging.state import object_url
from aisfs.store.interface import BucketName, Identity, ObjectInfo, ObjectStore, Upload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.staging.staged_file import StagedFile


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


async def transfer(
    store: ObjectStore,
    staged: StagedFile,
    target: Target,
    release: Callable[[], Awaitable[None]] | None = None,
) -> ObjectInfo:
    """Store the present content and return the object as stored.

    Raises:
        Stale: the object changed since it was opened. Our bytes are in a conflict copy, and the
            staged file is clean; if it is still dirty, they could not even be completed.
        FsError: the content is not stored.
    """
    checksum = await staged.complete()
    if release is not None:
        await release()
    upload = Upload(staged.fd, staged.size, checksum, target.attributes)
    if target.expected is not None:
        await _check_unchanged(store, staged, upload, target)
    info = await store.put(target.bucket, target.name, upload)
    stored = info.identity
    ours = Identity(upload.size, checksum, "xxhash")
    if stored.checksum_type in {"xxhash", "xxhash2"} and not stored.same_content(ours):
        raise Corrupt(f"storing {target.name}: the cluster holds other bytes than were sent")
    if info.attributes != target.attributes:
        # AIS: a PUT of the bytes that are there already is a no-op that drops its headers.
        await store.set_attributes(target.bucket, target.name, target.attributes)
        info = ObjectInfo(info.name, stored, target.attributes)
    return info


async def _check_unchanged(
    store: ObjectStore, staged: StagedFile, upload: Upload, target: Target
) -> None:
    """Compare the object with what was opened; on a conflict store our bytes beside it."""
    assert target.expected is not None
    try:
        now = (await store.head(target.bucket, target.name)).identity
    except NotFound:
        now = None
    if now is not None and now.same_content(target.expected):
        return
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{target.name}.aisfs-conflict-{stamp}-{uuid.uuid4().hex[:8]}"
    await store.put(target.bucket, name, upload)
    staged.reset()  # stored, though under another name
    what = "was deleted" if now is None else "was changed"
    raise Stale(
        f"{object_url(target.bucket, target.name)} {what} by another client after it was "
        f"opened here; the bytes written here are stored as {name}"
    )
