"""Names: buckets with their namespaces, object names, and the URIs that messages quote.

Pure functions and values; nothing here knows a request or a file. Object names are `str` with
surrogateescape, so that a name that is not UTF-8 survives unchanged (AIS accepts such names).
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

from aisfs.server.http.errors import AisError

PROVIDERS = {
    "": "ais",
    "ais": "ais",
    "aws": "aws",
    "s3": "aws",
    "gcp": "gcp",
    "gs": "gcp",
    "azure": "azure",
    "az": "azure",
    "oci": "oci",
    "oc": "oci",
}
SCHEMES = {"ais": "ais", "aws": "s3", "gcp": "gs", "azure": "az", "oci": "oc"}
BACKENDS = {"aws": "AWS", "gcp": "GCP", "azure": "Azure", "oci": "OCI"}
MAX_BUCKET_NAME = 64
"""AIS 5.0 refuses longer bucket names."""

_BUCKET_NAME = re.compile(r"[A-Za-z0-9._-]+")
_REENCODED = re.compile(r"[\x00-\x20%?#+\x7f]")
_NON_ASCII = re.compile(r"[^\x00-\x7f]")


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


def parse_provider(text: str) -> str:
    """Return the canonical provider of a query value.

    Raises:
        AisError: 400 ErrInvalidBackendProvider for anything AIS does not know.
    """
    provider = PROVIDERS.get(text)
    if provider is None:
        raise AisError(
            400,
            f'invalid backend provider "{text}": must be one of '
            "[ais, aws (s3://), gcp (gs://), azure (az://), oci (oc://)]",
            "ErrInvalidBackendProvider",
        )
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
    return BucketName(name, PROVIDERS.get(provider, "ais"), uuid, ns_name), obj


def check_bucket_name(name: str) -> None:
    """Refuse what AIS 5.0 does not take as the name of a new bucket.

    Raises:
        AisError: 400 with the reason.
    """
    if not _BUCKET_NAME.fullmatch(name) or ".." in name:
        raise AisError(
            400,
            "bucket name is invalid: may only contain letters, numbers, "
            "dashes (-), underscores (_), and dots (.)",
        )
    if name.startswith("."):
        raise AisError(400, f'reserved bucket name "{name}" (unknown system bucket)')
    if len(name) > MAX_BUCKET_NAME:
        raise AisError(400, f"bucket name is too long: {len(name)} > {MAX_BUCKET_NAME}(max length)")


def is_valid_object_name(name: str) -> bool:
    """Tell whether AIS 5.0 takes the name: no `.` or `..` part, no trailing slash, no `~/`."""
    if not name or name.endswith("/") or name.startswith("~/"):
        return False
    return not any(part in {".", ".."} for part in name.split("/"))


def check_object_name(name: str) -> None:
    """Raise 400 errInvalidPath for a name that `is_valid_object_name` refuses."""
    if not is_valid_object_name(name):
        raise AisError(400, f'invalid object name "{name}"', "errInvalidPath")


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


def escape_location(path: str) -> tuple[str, bool]:
    """Encode a decoded path for `Location` as AIS 5.0 does.

    Returns:
        The encoded path, and whether it had to be re-encoded in full. 5.0 does that for blank,
        `%`, `?`, `#`, `+`; this server also for control characters, whose raw form 5.0 sends and
        every client then trips over.
    """
    if _REENCODED.search(path):
        return quote(encode_name(path), safe="$&+,/:;=@-_.~"), True

    def hexed(match: re.Match[str]) -> str:
        return "".join(f"%{byte:02x}" for byte in encode_name(match.group()))

    return _NON_ASCII.sub(hexed, path), False
