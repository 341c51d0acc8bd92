"""Refusals that several handlers share."""

from aisfs.server.eras import NEWEST, Era
from aisfs.server.http.errors import AisError
from aisfs.server.naming import BucketName
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const


def not_remote(action: str, bucket: BucketName, era: Era = NEWEST) -> AisError:
    """Return the refusal of a cloud-only action on an ais bucket."""
    shown = "evict-remote-bck" if action.startswith("evict") else action
    return era.said.not_remote.error(action=shown, uri=bucket.uri, bucket=bucket.name)


def object_missing(bucket: Bucket, name: str) -> AisError:
    """Return the 404 for an object, without the word that clients take for a missing bucket."""
    return AisError(404, f"{{node}}: {bucket.name.uri}/{name} does not exist", "ErrNotFound")


def refuse_remote_rename(bucket: Bucket) -> None:
    """Refuse to rename an object of a remote bucket.

    Raises:
        AisError: 501 ErrUnsupp.
    """
    if bucket.remote:
        number = int(bucket.props["bid"])
        raise AisError(
            501,
            f'invalid action "{const.ACT_RENAME_OBJECT}": not supported for remote buckets '
            f"({bucket.name.uri}({number:#x}))",
            "ErrUnsupp",
        )
