"""The buckets of the cluster, as it listed them last.

Serves `resolver`, which makes directories of them, and `answers`: what others stored shows a time
that begins with its bucket's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from aisfs.store.interface import BucketInfo, BucketName, ObjectStore


class BucketList:
    """Buckets by name.

    Attributes:
        asked_at: when the cluster was asked for all of them.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: dict[BucketName, BucketInfo] = {}
        self.asked_at = float("-inf")

    async def load(self, lifetime_s: float) -> list[BucketInfo]:
        """Return all buckets, asked for at most once in their time to live."""
        now = trio.current_time()
        if now - self.asked_at >= lifetime_s:
            self._known = {info.name: info for info in await self._store.buckets()}
            self.asked_at = now
        return list(self._known.values())

    async def load_one(self, name: BucketName) -> BucketInfo:
        """Return one bucket, asked for now.

        Raises:
            NotFound: there is none of that name.
        """
        info = self._known[name] = await self._store.bucket(name)
        return info

    def forget(self) -> None:
        """Ask again at the next use: the list has changed."""
        self.asked_at = float("-inf")

    def created_ns(self, name: BucketName | None) -> int:
        """Return when a bucket was made, since the epoch; 0 if that is not known."""
        info = self._known.get(name) if name is not None else None
        return info.created_ns if info is not None else 0
