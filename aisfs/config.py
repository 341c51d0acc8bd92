"""The configuration of one mount: what may be set, its defaults, and what a SOURCE means.

Serves every part of aisfs; each part receives its own section only. Sizes are bytes, durations
seconds. All values are checked before a part sees them, so that no part has to doubt them. How they
are found, in files, environment and options, is `aisfs.settings`.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import platformdirs

if TYPE_CHECKING:
    from collections.abc import Iterable

PROVIDERS = {
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
"""Provider names and aliases, as they stand in URLs → as AIS spells them in queries."""


class ConfigError(ValueError):
    """A value that cannot be used; the text says which, why, and what to write instead."""


class BucketName(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """One bucket of a cluster (AIS: objects.md 1.6).

    Attributes:
        uuid: of the remote cluster that has the bucket; "" for the one that is asked.
        namespace: "" for the global one.
    """

    name: str
    provider: str = "ais"
    uuid: str = ""
    namespace: str = ""

    @property
    def remote(self) -> bool:
        """Whether the bucket lies behind the cluster: in a cloud, or on another cluster."""
        return self.provider != "ais" or bool(self.uuid)

    @property
    def space(self) -> str:
        """The namespace as AIS writes it, `@UUID#NAMESPACE` with either left out, or both."""
        uuid = f"@{self.uuid}" if self.uuid else ""
        return uuid + (f"#{self.namespace}" if self.namespace else "")

    def url_of(self, name: str) -> str:
        """Return the URL of an object, or of what has a prefix."""
        return f"{self.provider}://{self.space}{'/' if self.space else ''}{self.name}/{name}"


@dataclass(frozen=True, slots=True)
class Source:
    """What is mounted: all buckets of a cluster, one bucket, or the objects below one prefix.

    Attributes:
        bucket: None for all buckets.
        prefix: "" or a text that ends in "/".
        endpoint: URL of a gateway when SOURCE itself names one, else "".
    """

    bucket: BucketName | None = None
    prefix: str = ""
    endpoint: str = ""

    def __str__(self) -> str:
        if self.bucket is None:
            return self.endpoint or "ais://"
        return self.bucket.url_of(self.prefix).rstrip("/")

    @classmethod
    def parse(cls, text: str) -> Source:
        """Read `PROVIDER://[@UUID][#NS/]BUCKET[/PREFIX]`, an endpoint URL, or "" for all buckets.

        Raises:
            ConfigError: the text is none of these.
        """
        if not text:
            return cls()
        scheme, separator, rest = text.partition("://")
        if not separator:
            raise ConfigError(f"SOURCE {text!r} has no scheme: write ais://{text.lstrip('/')}")
        if scheme in {"http", "https"}:
            return cls(endpoint=parse_endpoint(text))
        if scheme not in PROVIDERS:
            hint = nearest(scheme.lower(), [*PROVIDERS, "http", "https"])
            raise ConfigError(
                f"SOURCE {text!r} has an unknown scheme{hint}: write ais://BUCKET[/PREFIX] "
                "(or s3, gs, az, oc), or http://HOST:PORT for all buckets"
            )
        return _parse_bucket_source(text, PROVIDERS[scheme], rest)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (nearest: NAME)" for the known name that looks most like `name`, or ""."""
    matches = difflib.get_close_matches(name, known, n=1)
    return f" (nearest: {matches[0]})" if matches else ""


_BUCKET_CHARACTERS = re.compile(r"[A-Za-z0-9._-]{1,255}", re.ASCII)
"""What the oldest supported cluster takes; newer ones allow 64 characters and say so themselves."""

_SPACE = re.compile(
    r"(?:@(?P<uuid>[A-Za-z0-9._-]+))?(?:#(?P<namespace>[A-Za-z0-9._-]+))?", re.ASCII
)


_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and the surrogates by which Python shows bytes that are not UTF-8."""


def _parse_bucket_source(text: str, provider: str, rest: str) -> Source:
    uuid = namespace = ""
    if rest[:1] in {"@", "#"}:
        space, _, rest = rest.partition("/")
        match = _SPACE.fullmatch(space)
        if match is None:
            raise ConfigError(
                f"SOURCE {text!r}: {space!r} is no namespace: write {provider}://@UUID#NS/BUCKET"
            )
        uuid, namespace = match["uuid"] or "", match["namespace"] or ""
    name, _, prefix = rest.partition("/")
    if not name:
        raise ConfigError(
            f"SOURCE {text!r} names no bucket: write {provider}://BUCKET, "
            "or http://HOST:PORT for all buckets"
        )
    if not _BUCKET_CHARACTERS.fullmatch(name) or ".." in name or name == ".":
        raise ConfigError(
            f"SOURCE {text!r}: {name!r} is no bucket name: it may have letters, digits, "
            "'-', '_' and single dots, at most 255"
        )
    return Source(BucketName(name, provider, uuid, namespace), _parse_prefix(text, prefix))


def _parse_prefix(text: str, prefix: str) -> str:
    if not prefix:
        return ""
    prefix = prefix.removesuffix("/")
    for component in prefix.split("/"):
        if component in {"", ".", ".."}:
            raise ConfigError(
                f"SOURCE {text!r}: the prefix has an empty component, '.' or '..': "
                "write the folder's plain name, as in ais://BUCKET/a/b"
            )
    if prefix.split("/")[0] == "~" or _UNSTORABLE.search(prefix):
        raise ConfigError(
            f"SOURCE {text!r}: AIS takes no names with control characters, bytes that are "
            "not UTF-8, or '~/' at the start: mount the bucket and go to the folder"
        )
    return prefix + "/"


def parse_endpoint(text: str) -> str:
    """Read a gateway's URL, `http(s)://HOST[:PORT]`, and return it without a trailing slash.

    Raises:
        ConfigError: it is not one.
    """
    example = "write http://HOST:PORT, as in http://127.0.0.1:8080"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ConfigError(f"{text!r} is no endpoint: {example}") from None
    if url.scheme not in {"http", "https"} or not url.hostname or port == 0:
        raise ConfigError(f"{text!r} is no endpoint: {example}")
    if url.username is not None or url.path not in {"", "/"} or url.query or url.fragment:
        raise ConfigError(f"{text!r} has more than a host and a port: {example}")
    return f"{url.scheme}://{url.netloc}"


_ADDRESS = re.compile(r"(?:(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[\w.-]*)):)?(?P<port>\d{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """Read where to listen, `HOST:PORT`; without a host that is this machine alone.

    Raises:
        ConfigError: it is not one.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 1 << 16:
        raise ConfigError(
            f"{text!r} is no address to listen at: write HOST:PORT, as in 127.0.0.1:9101"
        )
    return match["six"] or match["host"] or "127.0.0.1", int(match["port"])


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """How the cluster is reached.

    Attributes:
        transport: "direct": small reads on sockets of the event loop; "sdk": all by the SDK.
        no_ais_cli: what AIS's command line is set up for is left alone.
        max_rate: bytes in a second, read and written; 0: no limit.
        max_requests: requests in a second; 0: no limit.
    """

    endpoint: str = "http://127.0.0.1:8080"
    token: str = field(default="", repr=False)
    token_file: str = ""
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    skip_verify: bool = False
    connect_timeout_s: float = 3.0
    first_byte_timeout_s: float = 20.0
    idle_timeout_s: float = 20.0
    connections: int = 32
    transport: str = "direct"
    no_ais_cli: bool = False
    max_rate: int = 0
    max_requests: int = 0


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Where bytes already read are kept.

    Attributes:
        memory: bytes of memory.
        dir: where a second level is kept on disk; "" for none.
        size: bytes that the second level may take; 0 means the smaller of 10 GiB and half of the
            free space.
        free: bytes that the second level leaves free on its file system; 0 means the smaller of
            1 GiB and 5 % of it.
    """

    memory: int = 256 << 20
    dir: str = ""
    size: int = 0
    free: int = 0


@dataclass(frozen=True, slots=True)
class ReadaheadConfig:
    """How far a sequential reader is read ahead."""

    window: int = 16 << 20


@dataclass(frozen=True, slots=True)
class StagingConfig:
    """Where bytes wait that are not yet stored.

    Attributes:
        state_dir: "" chooses the platform's state directory.
        quota: 0 means the smaller of 10 GiB and half of the free space.
        stream_after: bytes written in order after which a file is sent while it is written; 0:
            never.
        write_back: a close returns when the content is durable here, and it is sent afterwards.
        drain_timeout_s: longest that the end of a mount sends what is left.
    """

    state_dir: str = ""
    quota: int = 0
    stream_after: int = 8 << 20
    write_back: bool = False
    drain_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ViewsConfig:
    """What views of objects may take.

    Attributes:
        spool: bytes on disk of what had to be unpacked; 0 means the smaller of 10 GiB and half of
            the free space.
    """

    spool: int = 0


class Control(StrEnum):
    """Whether there is a control directory: found by name only, listed as well, or not at all."""

    HIDDEN = "hidden"
    VISIBLE = "visible"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class MountConfig:
    """What the mount shows and allows. `uid`/`gid` of -1 mean the mounter's."""

    read_only: bool = False
    allow_other: bool = False
    uid: int = -1
    gid: int = -1
    umask: int = 0o022
    file_mode: int = -1
    dir_mode: int = -1
    noexec: bool = False
    nonempty: bool = False
    persist_owner: bool = False
    bucket_ops: bool = False
    no_delete: bool = False
    no_overwrite: bool = False
    commands: str = "all"
    control: Control = Control.HIDDEN
    attribute_ttl_s: float = 1.0
    negative_ttl_s: float = 1.0
    listing_ttl_s: float = 1.0
    fuse_debug: bool = False


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Where the daemon's log goes, and in which form.

    Attributes:
        file: "" is standard error in front, `Config.log_file` else.
        format: "text", or "json": one object for each line.
        slow_s: requests of the kernel that take longer get a line; 0: none does. By default longer
            than the close of a file of some hundred MiB takes, and a part of the limits after
            which a silent cluster becomes an error.
    """

    level: str = "info"
    file: str = ""
    format: str = "text"
    slow_s: float = 5.0


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """Where the metrics can be scraped.

    Attributes:
        listen: HOST:PORT; "" for nowhere but `.aisfs/metrics`.
    """

    listen: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration of one mount.

    Attributes:
        origins: TOML name of each setting that is not at its default → where its value came from.
        file: the TOML file that was read, or would have been; a reload reads it again.
        remarks: what the user should know about how the values were found.
    """

    source: Source
    mountpoint: Path
    store: StoreConfig = StoreConfig()
    cache: CacheConfig = CacheConfig()
    readahead: ReadaheadConfig = ReadaheadConfig()
    staging: StagingConfig = StagingConfig()
    views: ViewsConfig = ViewsConfig()
    mount: MountConfig = MountConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
    origins: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    file: Path = field(default=Path(os.devnull), compare=False, repr=False)
    remarks: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def to_json(self) -> bytes:
        """Return everything, the token included: for a pipe to the daemon, never for eyes."""
        return msgspec.json.encode(self, enc_hook=_encode_path)

    @classmethod
    def from_json(cls, data: bytes) -> Config:
        """Return what `to_json` was given."""
        return msgspec.json.decode(data, type=cls, dec_hook=_decode_path)

    @property
    def state_directory(self) -> Path:
        """Where everything that must survive the daemon lies."""
        chosen = self.staging.state_dir
        return Path(chosen) if chosen else platformdirs.user_state_path("aisfs", appauthor=False)

    @property
    def log_file(self) -> Path:
        """The file that a daemon in the background logs to."""
        if self.log.file:
            return Path(self.log.file)
        name = os.fsencode(self.mountpoint).decode("utf-8", "replace").strip("/").replace("/", "-")
        return self.state_directory / "log" / f"{name[-200:] or 'root'}.log"


def _encode_path(value: object) -> str:
    """File names are bytes, JSON is not: Latin-1 carries each byte as one character."""
    if isinstance(value, Path):
        return os.fsencode(value).decode("latin-1")
    raise TypeError(type(value).__name__)


def _decode_path(kind: type, value: object) -> Path:
    if kind is Path and isinstance(value, str):
        return Path(os.fsdecode(value.encode("latin-1")))
    raise TypeError(kind.__name__)
