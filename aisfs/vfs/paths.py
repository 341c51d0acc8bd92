"""File names ⇄ bucket and object names. Pure functions; every rule about names is here.

Serves all of `vfs`. Invariant (C28): every object is reachable by exactly one path.
An object `a/b` is the file `b` in the directory `a`; where an object `a` stands beside objects
`a/…`, the directory takes the name and the object shows as `a.aisfs-object`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.config import ConfigError, Source
from aisfs.errors import Invalid, NameTooLong, NotPermitted

if TYPE_CHECKING:
    from aisfs.config import BucketName
    from aisfs.store.interface import NameRules

MARKER = ".aisfs-dir"
"""Basename of the object that keeps an empty directory and a directory's attributes (C26)."""

RESERVED = ".aisfs"
"""Basenames that begin so belong to aisfs and cannot be made by applications."""

SHADOWED = ".aisfs-object"
"""Suffix under which an object shows whose name is also a directory."""


def to_text(name: bytes) -> str:
    """Decode a file name; bytes that are not UTF-8 survive as surrogates."""
    return name.decode("utf-8", "surrogateescape")


def to_bytes(name: str) -> bytes:
    """Encode what `to_text` decoded."""
    return name.encode("utf-8", "surrogateescape")


def bucket_directory(bucket: BucketName) -> str:
    """Return the directory name of a bucket below the root of all buckets."""
    if bucket.space:
        return f"{bucket.provider}{bucket.space}:{bucket.name}"
    return bucket.name if bucket.provider == "ais" else f"{bucket.provider}:{bucket.name}"


def bucket_of_directory(basename: str) -> BucketName:
    """Return the bucket that `bucket_directory` names so.

    Raises:
        Invalid: no bucket is named so.
    """
    head, _, name = basename.rpartition(":")
    provider, hash_sign, namespace = (head or "ais").partition("#")
    provider, _, uuid = provider.partition("@")
    space = (f"@{uuid}" if uuid else "") + hash_sign + namespace
    try:
        bucket = Source.parse(f"{provider}://{space}{'/' if space else ''}{name}").bucket
    except ConfigError as error:
        raise Invalid(str(error)) from None
    if bucket is None or bucket_directory(bucket) != basename:
        raise Invalid(f"{basename!r} is the name of no bucket")
    return bucket


def split(name: str) -> tuple[str, str]:
    """Split an object name or a directory prefix into its directory's prefix and its basename.

    >>> split("a/b/c"), split("a/b/"), split("c")
    (('a/b/', 'c'), ('a/', 'b'), ('', 'c'))
    """
    head, slash, tail = name.rstrip("/").rpartition("/")
    return head + slash, tail


def is_presentable(component: str) -> bool:
    """Tell whether a component from the cluster can be a file name at all.

    The kernel fails a whole directory for one empty name or one with a slash; such objects
    (`a//b`, `./x`) are left out.
    """
    return component not in {"", ".", ".."} and "\0" not in component


def shadowed_name(component: str) -> str | None:
    """Return the object's basename that a `….aisfs-object` file stands for, or None."""
    return component[: -len(SHADOWED)] if component.endswith(SHADOWED) else None


def check_length(component: str, rules: NameRules) -> None:
    """Refuse a component that is longer than AIS stores, with `NameTooLong`."""
    size = len(to_bytes(component))
    if size > rules.last_component:
        raise NameTooLong(
            f"{component[:40]!r}… has {size} bytes, at most {rules.last_component} fit"
        )


def check_new(prefix: str, component: str, rules: NameRules) -> None:
    """Refuse names that an application must not create below the directory `prefix`.

    Raises:
        NotPermitted: the name is reserved.
        Invalid: AIS would refuse or mangle it.
        NameTooLong: a component is longer than AIS stores.
    """
    if component.startswith(RESERVED):
        raise NotPermitted(f"{component!r} is reserved: names of aisfs begin with {RESERVED}")
    if component.endswith(SHADOWED):
        raise NotPermitted(f"{component!r} is reserved: {SHADOWED} marks what a directory shadows")
    check_length(component, rules)
    if any(ord(c) < 0x20 or c == "\x7f" or 0xDC80 <= ord(c) <= 0xDCFF for c in component):
        raise Invalid(f"{component!r}: AIS stores no control characters and only UTF-8 in names")
    if any(c in rules.mangled for c in component):
        raise Invalid(f"{component!r}: this AIS release mangles names with any of {rules.mangled}")
    if (prefix + component + "/").startswith("~/"):
        raise Invalid("AIS stores no names that begin with ~/")
