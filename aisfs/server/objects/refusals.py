"""Refusals that several handlers share."""

from aisfs.server.http.errors import AisError
from aisfs.server.naming import BucketName
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const


def not_remote(action: str, bucket: BucketName) -> AisError:
    """Return the refusal of a cloud-only action on an ais bucket."""
    shown = "evict-remote-bck" if action.startswith("evict") else action
    return AisError(400, f"{shown}: expecting remote bucket (have {bucket.uri})", "ErrNotRemoteBck")


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
