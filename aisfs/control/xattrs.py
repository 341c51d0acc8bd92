"""Extended attributes: the user's own, kept with the object, and facts of the cluster by name.

Serves `vfs/filesystem`. Facts (`user.ais.…`) are answered by name and not listed: listed ones make
`rsync -X`, `cp --preserve=xattr` and `mv` complain. `security.*`, `trusted.*` and `system.*` are
answered without asking anybody: `ls -l` asks for some of them for every file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.errors import Invalid, NoAttribute, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.store.interface import BucketName, Identity

USER = "user."
FACTS = "user.ais."
STATE = FACTS + "state"
"""Whether the cluster has a file's content: the one fact that only the mount knows."""

MAX_NAME = 255
MAX_VALUE = 64 << 10

_FACTS: dict[str, Callable[[Identity], str]] = {
    "checksum": lambda identity: identity.checksum,
    "checksum-type": lambda identity: identity.checksum_type,
    "version": lambda identity: identity.version,
}


def is_fact(name: str) -> bool:
    """Tell whether a name is one of the cluster's, not the user's."""
    return name.startswith(FACTS)


def check_settable(name: str, value: bytes) -> None:
    """Refuse names and values that cannot be kept.

    Raises:
        Unsupported: a namespace that objects do not have, or a fact of the cluster.
        Invalid: too long.
    """
    if not name.startswith(USER):
        raise Unsupported(f"{name}: objects keep only attributes in {USER}*")
    if is_fact(name):
        raise Unsupported(f"{name} is the cluster's and cannot be set")
    if len(name.encode("utf-8", "surrogateescape")) > MAX_NAME or len(value) > MAX_VALUE:
        raise Invalid(f"{name[:40]}: the name or the value is too long")


def fact(name: str, bucket: BucketName, object_name: str, identity: Identity | None) -> bytes:
    """Return a fact about an object.

    Raises:
        NoAttribute: there is no such fact, or the object is not stored yet.
    """
    key = name[len(FACTS) :]
    if key == "object":
        return f"{bucket.provider}://{bucket.name}/{object_name}".encode("utf-8", "surrogateescape")
    if identity is None or key not in _FACTS:
        raise NoAttribute(name)
    value = _FACTS[key](identity)
    if not value:
        raise NoAttribute(name)
    return value.encode()
