"""Unfinished uploads: appends before their flush, multipart uploads before their completion.

They live in memory with their bytes in `work/`, and end with the process: after a restart a
handle or upload id is unknown, the object is as it was.
"""

from dataclasses import dataclass, field

from aisfs.server.storage.blobs import BlobWriter, unlink_quietly
from aisfs.server.storage.catalog import Bucket

MAX_PARTS = 9999
"""Part numbers run from 1 to this."""


@dataclass(slots=True)
class Append:
    """An append in progress: the whole object so far, in one work file."""

    bucket: Bucket
    name: str
    writer: BlobWriter


@dataclass(slots=True)
class Part:
    """One part of a multipart upload."""

    writer: BlobWriter

    @property
    def size(self) -> int:
        """Bytes."""
        return self.writer.size


@dataclass(slots=True)
class Multipart:
    """A multipart upload in progress."""

    id: str
    bucket: Bucket
    name: str
    parts: dict[int, Part] = field(default_factory=dict)


class Uploads:
    """Appends by the name of their work file, multipart uploads by id."""

    def __init__(self) -> None:
        self.appends: dict[str, Append] = {}
        self.flushed: set[str] = set()
        self.multiparts: dict[str, Multipart] = {}

    def find_multipart(self, upload_id: str, bucket: Bucket, name: str) -> Multipart | None:
        """Return the upload if it exists and is of this object."""
        upload = self.multiparts.get(upload_id)
        if upload is None or upload.bucket is not bucket or upload.name != name:
            return None
        return upload

    def drop(self, upload: Multipart) -> None:
        """Forget a multipart upload and delete its parts."""
        self.multiparts.pop(upload.id, None)
        for part in upload.parts.values():
            part.writer.close()
            unlink_quietly(part.writer.path)

    def drop_bucket(self, bucket: Bucket) -> None:
        """Forget everything of a destroyed bucket."""
        for upload in [item for item in self.multiparts.values() if item.bucket is bucket]:
            self.drop(upload)
        for key in [key for key, item in self.appends.items() if item.bucket is bucket]:
            self.appends.pop(key).writer.discard()
