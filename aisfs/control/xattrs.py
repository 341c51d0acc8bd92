"""Extended attributes: the user's own, kept with the object, and facts of the cluster by name.

Serves `vfs/filesystem`. Facts (`user.ais.…`) are answered by name and not listed: listed ones make
`rsync -X`, `cp --preserve=xattr` and `mv` complain. `security.*`, `trusted.*` and `system.*` are
answered without asking anybody: `ls -l` asks for some of them for every file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.errors import Invalid, NoAttribute, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aisfs.store.interface import BucketName, Identity

USER = "user."
FACTS = "user.ais."
STATE = FACTS + "state"
"""Whether the cluster has a file's content: the one fact that only the mount knows."""

DO = FACTS + "do"
"""Set to a verb and what it takes besides the file: the cluster does it. See `commands`."""

JOB = FACTS + "job"
"""Id and state of the job that the last `user.ais.do` started."""

MAX_NAME = 255
MAX_VALUE = 64 << 10

_KNOWN: dict[str, Callable[[Identity], str]] = {
    "checksum": lambda identity: identity.checksum,
    "version": lambda identity: identity.version,
}
"""What a mount knows of every object that it shows."""

_ASKED = {
    "atime", "cached", "checksum-type", "chunks", "copies", "etag", "last-modified", "location",
}  # fmt: skip
"""What the cluster is asked for each time: see `ObjectStore.describe`."""


def is_fact(name: str) -> bool:
    """Tell whether a name is one of the cluster's, not the user's."""
    return name.startswith(FACTS)


def check_settable(name: str, value: bytes) -> None:
    """Refuse names and values that cannot be kept.

    Raises:
        Unsupported: a namespace that objects do not have, or a fact of the cluster (with another
            value than it has).
        Invalid: too long.
    """
    if not name.startswith(USER):
        raise Unsupported(f"{name}: objects keep only attributes in {USER}*")
    if is_fact(name):
        raise Unsupported(f"{name} is the cluster's and cannot be set")
    if len(name.encode("utf-8", "surrogateescape")) > MAX_NAME or len(value) > MAX_VALUE:
        raise Invalid(f"{name[:40]}: the name or the value is too long")


def is_asked_for(name: str) -> bool:
    """Tell whether a fact has to be asked for."""
    return name[len(FACTS) :] in _ASKED


def asked_fact(name: str, told: Mapping[str, str]) -> bytes:
    """Return a fact of what the cluster told of an object; `NoAttribute` if it told none."""
    value = told.get(name[len(FACTS) :], "")
    if not value:
        raise NoAttribute(name)
    return value.encode("utf-8", "surrogateescape")


def known_fact(name: str, bucket: BucketName, object_name: str, identity: Identity | None) -> bytes:
    """Return a fact for which nobody has to be asked.

    Raises:
        NoAttribute: there is no such fact, or the object is not stored yet.
    """
    key = name[len(FACTS) :]
    if key == "object":
        return bucket.url_of(object_name).encode("utf-8", "surrogateescape")
    if identity is None or key not in _KNOWN:
        raise NoAttribute(name)
    value = _KNOWN[key](identity)
    if not value:
        raise NoAttribute(name)
    return value.encode()
