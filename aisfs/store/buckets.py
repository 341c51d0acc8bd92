"""The SDK's buckets by the mount's names, and what is known of them.

Serves the modules of `store`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.store.interface import is_xxh64
from aisfs_sdk import Namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisfs.config import BucketName
    from aisfs_sdk import Client
    from aisfs_sdk.bucket import Bucket
    from aisfs_sdk.object import Object


class Buckets:
    """All buckets that a mount has used.

    Attributes:
        range_checksums: those that answer a range with the range's own checksum.
        checksum_types: what kind of checksum a bucket keeps, where that is known.
        backed: those of the cluster's own that lie over a remote bucket.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[BucketName, Bucket] = {}
        self.range_checksums: set[BucketName] = set()
        self.checksum_types: dict[BucketName, str] = {}
        self.backed: set[BucketName] = set()

    def of(self, name: BucketName) -> Bucket:
        """Return a bucket; sends nothing."""
        bucket = self._known.get(name)
        if bucket is None:
            bucket = self._known[name] = self.new(name)
        return bucket

    def new(self, name: BucketName) -> Bucket:
        """Return a bucket that nobody else has; sends nothing."""
        space = None
        if name.uuid or name.namespace:
            space = Namespace(uuid=name.uuid, name=name.namespace)
        return self._client.bucket(name.name, provider=name.provider, namespace=space)

    def learn(self, name: BucketName, props: Mapping[str, object]) -> None:
        """Take note of a bucket's properties."""
        checksum, backend = props.get("checksum"), props.get("backend_bck")
        if isinstance(checksum, dict):
            self.checksum_types[name] = str(checksum.get("type", ""))
            _note(self.range_checksums, name, holds=bool(checksum.get("enable_read_range")))
        if isinstance(backend, dict):
            _note(self.backed, name, holds=bool(backend.get("name")))

    def is_own(self, name: BucketName) -> bool:
        """Tell whether a bucket is the cluster's own, with no remote one behind it."""
        return not name.remote and name not in self.backed

    def keeps_xxh64(self, name: BucketName) -> bool:
        """Tell whether the checksums that a bucket keeps are known to be XXH64."""
        return is_xxh64(self.checksum_types.get(name, ""))

    def object(self, bucket: BucketName, name: str) -> Object:
        """Return an object; sends nothing."""
        return self.of(bucket).object(name)


def _note(buckets: set[BucketName], name: BucketName, *, holds: bool) -> None:
    if holds:
        buckets.add(name)
    else:
        buckets.discard(name)
