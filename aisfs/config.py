"""The configuration of one mount: what may be set, its defaults, and what a SOURCE means.

Serves every part of aisfs; each part receives its own section only. Nothing else of aisfs reads the
environment. Sizes are bytes, durations seconds. All values are checked here, at start, so that no
other part has to doubt them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

PROVIDERS = {"ais": "ais", "aws": "aws", "s3": "aws", "gcp": "gcp", "gs": "gcp",
             "azure": "azure", "az": "azure", "oci": "oci", "oc": "oci"}
"""Provider names and aliases, as they stand in URLs → as AIS spells them in queries."""


class ConfigError(ValueError):
    """A value that cannot be used; the text says which, why, and what to write instead."""


@dataclass(frozen=True, slots=True)
class BucketName:
    """One bucket of a cluster: provider, remote cluster's uuid, namespace and name (AIS: objects.md 1.6)."""

    name: str
    provider: str = "ais"
    uuid: str = ""
    namespace: str = ""


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
        b = self.bucket
        space = (f"@{b.uuid}" if b.uuid else "") + (f"#{b.namespace}" if b.namespace else "")
        return f"{b.provider}://{space}{'/' if space else ''}{b.name}{'/' if self.prefix else ''}{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """How the cluster is reached."""

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


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Memory for bytes already read."""

    memory: int = 256 << 20


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
    """

    state_dir: str = ""
    quota: int = 0


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
    persist_owner: bool = False
    bucket_ops: bool = False
    attribute_ttl_s: float = 1.0
    negative_ttl_s: float = 1.0
    listing_ttl_s: float = 1.0
    fuse_debug: bool = False


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Where the daemon's log goes: "" is standard error in front, the system's log directory else."""

    level: str = "info"
    file: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration of one mount."""

    source: Source
    mountpoint: Path
    store: StoreConfig = StoreConfig()
    cache: CacheConfig = CacheConfig()
    readahead: ReadaheadConfig = ReadaheadConfig()
    staging: StagingConfig = StagingConfig()
    mount: MountConfig = MountConfig()
    log: LogConfig = LogConfig()
