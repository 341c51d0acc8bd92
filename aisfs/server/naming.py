"""Names: buckets with their namespaces, object names, and the URIs that messages quote.

Pure functions and values; nothing here knows a request or a file. Object names are `str` with
surrogateescape, so that a name that is not UTF-8 survives unchanged (AIS accepts such names).
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from aisfs.server.eras import NEWEST, Era
from aisfs.server.http.errors import AisError

SCHEMES = {
    "ais": "ais", "aws": "s3", "gcp": "gs", "azure": "az", "oci": "oc", "hdfs": "hdfs", "ht": "ht",
}  # fmt: skip
BACKENDS = {"aws": "AWS", "gcp": "GCP", "azure": "Azure", "oci": "OCI"}

_BUCKET_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class BucketName:
    """Identity of a bucket: provider, namespace (remote cluster and name), bucket name."""

    name: str
    provider: str = "ais"
    uuid: str = ""
    namespace: str = ""

    @property
    def uri(self) -> str:
        """The form messages quote: `ais://b`, `ais://#ns/b`, `ais://@uuid/b`, `s3://b`."""
        uuid = f"@{self.uuid}" if self.uuid else ""
        namespace = f"#{self.namespace}" if self.namespace else ""
        slash = "/" if uuid or namespace else ""
        return f"{SCHEMES[self.provider]}://{uuid}{namespace}{slash}{self.name}"

    @property
    def uname(self) -> str:
        """The form that placement hashes and `bck_to` carries: `ais/@#/b/`."""
        return f"{self.provider}/@{self.uuid}#{self.namespace}/{self.name}/"

    def to_json(self) -> dict[str, object]:
        """Return the JSON form `{"name", "provider", "namespace": {"uuid", "name"}}`."""
        return {
            "name": self.name,
            "provider": self.provider,
            "namespace": {"uuid": self.uuid, "name": self.namespace},
        }


NO_BUCKET = BucketName("")
"""Stands for the bucket of what has none."""


def parse_provider(text: str, era: Era = NEWEST) -> str:
    """Return the canonical provider of a query value.

    Raises:
        AisError: 400 ErrInvalidBackendProvider for anything that the release does not know.
    """
    provider = era.providers.get(text)
    if provider is None:
        raise era.said.unknown_provider.error(provider=text)
    return provider


def parse_namespace(text: str) -> tuple[str, str]:
    """Split `@uuid#name` into uuid and name; text without `@` names a remote cluster."""
    uuid, _, name = text.removeprefix("@").partition("#")
    return uuid, name


def parse_uname(text: str) -> tuple[BucketName, str]:
    """Split a full uname into bucket and object name (empty for a bucket uname).

    An unknown provider is taken as `ais`, as AIS does.

    Raises:
        AisError: 400 when no bucket name is followed by a slash.
    """
    provider, _, rest = text.partition("/")
    namespace, _, rest = rest.partition("/")
    name, slash, obj = rest.partition("/")
    if not name or not slash:
        raise AisError(400, "bucket name is missing")
    uuid, ns_name = parse_namespace(namespace)
    return BucketName(name, NEWEST.providers.get(provider, "ais"), uuid, ns_name), obj


def check_bucket_name(name: str, era: Era = NEWEST) -> None:
    """Refuse what a release does not take as the name of a new bucket.

    Raises:
        AisError: 400 with the reason.
    """
    if not _BUCKET_NAME.fullmatch(name) or ".." in name:
        quoted = json.dumps(name, ensure_ascii=False)[1:-1]
        raise era.said.invalid_bucket_name.error(bucket=quoted)
    if name.startswith(".") and not era.names.dot_buckets:
        raise AisError(400, f'reserved bucket name "{name}" (unknown system bucket)')
    if len(name) > (longest := era.names.longest_bucket):
        raise AisError(400, f"bucket name is too long: {len(name)} > {longest}(max length)")


def is_valid_object_name(name: str, era: Era = NEWEST) -> bool:
    """Tell whether a name may be an object's: no `.` or `..` part, no trailing slash.

    Without a release to ask, nor `~/` at its beginning, which AIS 5.0 refuses. AIS 3.17 stores
    most of what is refused here, outside its place.
    """
    if not name or name.endswith("/"):
        return False
    if name.startswith("~/") and not era.names.home_prefix:
        return False
    return not any(part in {".", ".."} for part in name.split("/"))


def check_object_name(name: str, era: Era = NEWEST) -> None:
    """Raise 400 errInvalidPath for a name that `is_valid_object_name` refuses."""
    if not is_valid_object_name(name, era):
        raise AisError(400, f'invalid object name "{name}"', "errInvalidPath")


def check_name_length(name: str, era: Era) -> None:
    """Refuse a name that a release cannot keep on its disks.

    Raises:
        AisError: 500 PathError.
    """
    *directories, last = (len(encode_name(part)) for part in name.split("/"))
    rules = era.names
    limits = (
        (last, rules.longest_last_part),
        (max(directories, default=0), rules.longest_part),
        (len(encode_name(name)), rules.longest),
    )
    if any(limit and length > limit for length, limit in limits):
        raise AisError(500, f"{name}: file name too long", "PathError")


def check_prefix(prefix: str) -> None:
    """Raise 400 errInvalidPath for a listing prefix with `.` or `..` parts or a leading `~/`."""
    parts = prefix.split("/")
    if prefix.startswith("~/") or any(part in {".", ".."} for part in parts):
        raise AisError(
            400, f'bad list-objects request: invalid prefix "{prefix}"', "errInvalidPath"
        )


def encode_name(name: str) -> bytes:
    """Return the bytes of an object name, the key under which records are ordered."""
    return name.encode("utf-8", "surrogateescape")


def decode_name(name: bytes) -> str:
    """Return an object name as text; undo with `encode_name`."""
    return name.decode("utf-8", "surrogateescape")


def bucket_in_message(value: Any) -> BucketName | None:
    """Return the bucket that a part of a JSON message names, None if it names none.

    Raises:
        AisError: 400 for an unknown provider.
    """
    if not isinstance(value, dict) or not value.get("name"):
        return None
    namespace = value.get("namespace") or {}
    return BucketName(
        str(value["name"]),
        parse_provider(str(value.get("provider") or "")),
        str(namespace.get("uuid") or ""),
        str(namespace.get("name") or ""),
    )
