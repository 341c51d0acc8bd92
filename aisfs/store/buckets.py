"""The SDK's buckets by the mount's names, and what is known of them.

Serves the modules of `store`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs_sdk import Namespace

if TYPE_CHECKING:
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
            space = None
            if name.uuid or name.namespace:
                space = Namespace(uuid=name.uuid, name=name.namespace)
            bucket = self._client.bucket(name.name, provider=name.provider, namespace=space)
            self._known[name] = bucket
        return bucket

    def object(self, bucket: BucketName, name: str) -> Object:
        """Return an object; sends nothing."""
        return self.of(bucket).object(name)
