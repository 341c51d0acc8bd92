"""Bucket permissions: the bits of the property `access`, and their names in refusals."""

from typing import Final

from aisfs.server.eras import NEWEST, Era
from aisfs.server.storage.catalog import Bucket

GET: Final = 1
HEAD: Final = 2
PUT: Final = 4
APPEND: Final = 8
DELETE: Final = 16
MOVE: Final = 32
PROMOTE: Final = 64
UPDATE: Final = 128
HEAD_BUCKET: Final = 256
LIST: Final = 512
DESTROY_BUCKET: Final = 32768
MOVE_BUCKET: Final = 65536

_NAMES = (
    "GET",
    "HEAD-OBJECT",
    "PUT",
    "APPEND",
    "DELETE-OBJECT",
    "MOVE-OBJECT",
    "PROMOTE",
    "UPDATE-OBJECT",
    "HEAD-BUCKET",
    "LIST-OBJECTS",
    "PATCH",
    "SET-BUCKET-ACL",
    "LIST-BUCKETS",
    "SHOW-CLUSTER",
    "CREATE-BUCKET",
    "DESTROY-BUCKET",
    "MOVE-BUCKET",
    "ADMIN",
)


def bucket_number(bucket: Bucket) -> int:
    """Return the number by which messages tell a bucket from an earlier one of its name."""
    return int(bucket.props["bid"]) & (1 << 63) - 1


def check(bucket: Bucket, permission: int, era: Era = NEWEST) -> None:
    """Refuse what the bucket's `access` does not allow.

    Raises:
        AisError: 403 ErrBucketAccessDenied.
    """
    allowed = int(bucket.props["access"])
    if allowed & permission == permission:
        return
    names = ",".join(name for bit, name in enumerate(_NAMES) if allowed >> bit & 1)
    raise era.said.access_denied.error(
        uri=bucket.name.uri,
        number=bucket_number(bucket),
        permission=_NAMES[permission.bit_length() - 1],
        names=names,
        allowed_hex=str(allowed).encode().hex(),
    )
