"""Names of buckets and objects in URLs: checked, and percent-encoded once.

The path that is sent is always the one made here. A gateway's redirect repeats the path in its own
encoding, and older gateways mangle it there so that another object would be meant.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from aisfs_sdk import const
from aisfs_sdk.errors import InvalidURLException
from aisfs_sdk.namespace import Namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = re.compile(r"[A-Za-z0-9/._~!$*,:;=@+()-]*")
_SAFE = "/._~!$*,:;=@+()-"

# What no release stores as it is: empty components are dropped on disk, so that the object is
# never listed; "." and ".." leave their place or are refused; NUL, LF and CR break the redirect.
_MANGLED = re.compile(r"^/|//|/$|(?:^|/)\.\.?(?:/|$)|^~/|[\0\n\r]")

_SCHEMES = frozenset(
    (const.PROVIDER_AIS, const.PROVIDER_AMAZON, const.PROVIDER_AZURE, const.PROVIDER_GOOGLE,
     const.PROVIDER_ORACLE)
)  # fmt: skip

_BUCKET = re.compile(r"[^/?#%\s\x00-\x1f\x7f]+")


def check_object_name(name: str) -> None:
    """Refuse names that no cluster keeps as they are.

    Raises:
        ValueError: the name is empty, begins or ends with "/", begins with "~/", has an empty, "."
            or ".." component, or holds NUL or a line break.
    """
    if not name or _MANGLED.search(name):
        msg = f"AIS cannot store an object under the name {name!r}"
        raise ValueError(msg)


def quote_name(name: str) -> str:
    """Return an object's name as it stands in a path; surrogate escapes become their bytes."""
    if _PLAIN.fullmatch(name):
        return name
    return quote(name.encode(const.UTF_ENCODING, "surrogateescape"), safe=_SAFE)


def _check_bucket_name(bucket: str) -> None:
    if not _BUCKET.fullmatch(bucket):
        # Would become the path of another bucket, or of all of them.
        msg = f"{bucket!r} cannot be the name of a bucket"
        raise ValueError(msg)


def bucket_path(bucket: str) -> str:
    """Return the path of a bucket's own requests, below the endpoint.

    Raises:
        ValueError: the name cannot be that of a bucket.
    """
    _check_bucket_name(bucket)
    return f"/{const.URL_PATH_VERSION}/{const.URL_PATH_BUCKETS}/{bucket}"


def objects_path(bucket: str) -> str:
    """Return the path of requests about objects that are named in their message.

    Raises:
        ValueError: the name cannot be that of a bucket.
    """
    _check_bucket_name(bucket)
    return f"/{const.URL_PATH_VERSION}/{const.URL_PATH_OBJECTS}/{bucket}"


def object_path(bucket: str, name: str) -> str:
    """Return the path of an object's requests, below the endpoint.

    Raises:
        ValueError: see `check_object_name`.
    """
    _check_bucket_name(bucket)
    check_object_name(name)
    return f"/{const.URL_PATH_VERSION}/{const.URL_PATH_OBJECTS}/{bucket}/{quote_name(name)}"


def split_url(url: str) -> tuple[str, Namespace | None, str, str]:
    """Return provider, namespace, bucket and name of an object's URL.

    Raises:
        InvalidURLException: it is none.
    """
    scheme, separator, rest = url.partition("://")
    provider = const.PROVIDER_ALIASES.get(scheme, scheme)
    namespace = None
    if rest[:1] in {"@", "#"}:
        space, _, rest = rest.partition("/")
        uuid, _, name = space.removeprefix("@").partition("#")
        namespace = Namespace(uuid if space.startswith("@") else "", name)
    bucket, _, obj_name = rest.partition("/")
    if not separator or provider not in _SCHEMES or not bucket or not obj_name:
        msg = f"{url!r} is no URL of an object, such as ais://bucket/name"
        raise InvalidURLException(msg)
    return provider, namespace, bucket, obj_name


def query_string(params: Mapping[str, str]) -> str:
    """Return query parameters encoded, without the "?"."""
    return "&".join(
        f"{key}={quote(value.encode(const.UTF_ENCODING, 'surrogateescape'), safe='')}"
        for key, value in params.items()
    )
