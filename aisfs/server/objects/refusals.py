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


def refuse_remote_rename(bucket: Bucket, era: Era) -> None:
    """Refuse to rename an object of a remote bucket.

    Raises:
        AisError: 501 ErrUnsupp; of 3.17, 400.
    """
    if bucket.remote:
        number = int(bucket.props["bid"])
        raise era.said.remote_rename.error(
            action=const.ACT_RENAME_OBJECT, uri=bucket.name.uri, number=number
        )
