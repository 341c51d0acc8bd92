"""What the cluster's answers mean, in the plain values of `store/interface.py`.

Serves the modules of `store`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from aisfs.errors import Corrupt
from aisfs.store.interface import (
    ATTRIBUTES_KEY,
    BucketName,
    Identity,
    Listing,
    ObjectInfo,
    new_digest,
)

if TYPE_CHECKING:
    from aisfs_sdk.object_attributes import ObjectAttributes
    from aisfs_sdk.types import BucketList, BucketModel


def name_of(model: BucketModel) -> BucketName:
    """Return a bucket's name as the mount uses it."""
    space = model.namespace
    if space is None:
        return BucketName(model.name, str(model.provider))
    return BucketName(model.name, str(model.provider), space.uuid, space.name)


def props_of(text: str) -> dict[str, object]:
    """Return bucket properties from their JSON; {} if it is none."""
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except msgspec.DecodeError:
        return {}


def own_value(display: str) -> str:
    """Take our key's value out of a listing's display string of custom metadata.

    AIS: objects.md 5.3: `[a:1 b:2]` on 5.0, `map[a:1 b:2]` on 3.17; our value holds none of blank,
    colon and bracket, whatever other keys hold.
    """
    start = display.find(f"{ATTRIBUTES_KEY}:")
    if start < 0 or display[start - 1 : start] not in {"[", " "}:
        return ""
    start += len(ATTRIBUTES_KEY) + 1
    return display[start:].split(" ", 1)[0].rstrip("]")


def listing_of(page: BucketList, bucket: BucketName, prefix: str, *, lacking: bool) -> Listing:
    """Return one batch of a listing; `lacking` as in `Listing`."""
    objects: list[ObjectInfo] = []
    directories: list[str] = []
    cold: list[str] = []
    for entry in page.entries:
        if not entry.name.startswith(prefix):
            continue
        if entry.is_dir():
            directories.append(entry.name.rstrip("/") + "/")
            continue
        # Versions are mostly alike, and there is one for each name that is remembered.
        version = sys.intern(entry.version)
        identity = Identity(entry.size, entry.checksum, "", version)
        own = own_value(entry.custom) if entry.custom else ""
        objects.append(ObjectInfo(entry.name, identity, own))
        if bucket.remote and not entry.is_cached():
            cold.append(entry.name)
    return Listing(objects, directories, page.continuation_token, cold, lacking)


def identity_of(attributes: ObjectAttributes) -> Identity:
    """Return which content an answer is about."""
    return Identity(
        attributes.size,
        attributes.checksum_value,
        attributes.checksum_type,
        attributes.obj_version,
    )


def object_info(
    name: str, attributes: ObjectAttributes, identity: Identity | None = None
) -> ObjectInfo:
    """Return an object's facts from a HEAD's or GET's answer; `identity` if it is known better."""
    own = attributes.custom_metadata.get(ATTRIBUTES_KEY, "")
    return ObjectInfo(name, identity or identity_of(attributes), own)


def described(told: ObjectAttributes) -> dict[str, str]:
    """Return what a HEAD tells of an object besides its content; as `ObjectStore.describe`.

    An object that only the remote bucket has lies nowhere on the cluster, whatever is told.
    """
    facts = {
        "cached": "yes" if told.present else "no",
        "checksum-type": told.checksum_type,
        "copies": str(told.mirror_copies if told.present else 0),
        "etag": told.etag,
        "last-modified": told.last_modified,
    }
    if told.present:
        facts["atime"] = told.access_time
        facts["chunks"] = str(told.chunks or "")
        facts["location"] = told.location
    return {key: value for key, value in facts.items() if value}


def stored_info(name: str, stored: ObjectAttributes, size: int, checksum: str) -> ObjectInfo:
    """Return what a PUT's reply says; of a body that was there already it says nothing.

    Where the bucket keeps no checksums the version is the sign of a reply that says something.
    """
    told = identity_of(stored)
    if told.checksum or told.version:
        own = stored.custom_metadata.get(ATTRIBUTES_KEY, "")
        identity = Identity(size, told.checksum, told.checksum_type, told.version)
        return ObjectInfo(name, identity, own)
    return ObjectInfo(name, Identity(size, checksum, "xxhash" if checksum else "", ""), "")


def identity_of_whole(
    reply: ObjectAttributes, pinned: Identity, *, range_checksum: bool
) -> Identity:
    """Return what a GET's reply says of the object, to be compared with `pinned` (C4).

    Args:
        reply: its headers.
        pinned: the content that is wanted.
        range_checksum: the checksum is that of the range that was asked for (buckets with
            `enable_read_range`): then the version stands for the object's.
    """
    now = identity_of(reply)
    if not range_checksum:
        return now
    if pinned.version and pinned.version != now.version:
        return Identity(now.size, "", "", now.version)
    return Identity(now.size, pinned.checksum, pinned.checksum_type, now.version)


def verify(name: str, body: memoryview, identity: Identity) -> None:
    """Compare a whole body with the checksum that the cluster keeps of it, if there is one (C13).

    Raises:
        Corrupt: it is another one.
    """
    if not identity.checksum:
        return
    digest = new_digest(identity.checksum_type)
    if digest is None:
        return
    digest.update(body)
    if digest.hexdigest() != identity.checksum:
        raise Corrupt(
            f"reading {name}: the bytes do not have the checksum {identity.checksum} that the "
            "cluster keeps: store the object again"
        )
