"""What clusters tell of a dSort, and how one is described to them."""

from __future__ import annotations

from typing import Any

import msgspec

from aisfs_sdk.types import BucketModel

__all__ = [
    "DetailedStats",
    "DsortMetrics",
    "JobInfo",
    "LocalExtraction",
    "MetaSorting",
    "PhaseInfo",
    "ShardCreation",
    "TimeStats",
    "decode_dsort",
]


class TimeStats(msgspec.Struct):
    """How long single requests took, in milliseconds."""

    total_ms: int = 0
    count: int = 0
    min_ms: int = 0
    max_ms: int = 0
    avg_ms: int = 0


class DetailedStats(TimeStats):
    """The same with throughput, in bytes per second."""

    total_bytes: int = 0
    min_throughput: int = 0
    max_throughput: int = 0
    avg_throughput: int = 0


class PhaseInfo(msgspec.Struct):
    """One of the three phases on one target."""

    started_time: str = ""
    end_time: str = ""
    elapsed: int = 0
    running: bool = False
    finished: bool = False


class LocalExtraction(PhaseInfo):
    """First phase: the input shards are taken apart."""

    total_count: int = 0
    extracted_count: int = 0
    extracted_size: int = 0
    extracted_record_count: int = 0
    extracted_to_disk_count: int = 0
    extracted_to_disk_size: int = 0
    single_shard_stats: DetailedStats | None = None


class MetaSorting(PhaseInfo):
    """Second phase: the targets agree on the order."""

    sent_stats: TimeStats | None = None
    recv_stats: TimeStats | None = None


class ShardCreation(PhaseInfo):
    """Third phase: the output shards are made."""

    to_create: int = 0
    created_count: int = 0
    moved_shard_count: int = 0
    req_stats: TimeStats | None = None
    resp_stats: TimeStats | None = None
    local_send_stats: DetailedStats | None = None
    local_recv_stats: DetailedStats | None = None
    single_shard_stats: DetailedStats | None = None


class DsortMetrics(msgspec.Struct):
    """A dSort on one target, phase by phase."""

    local_extraction: LocalExtraction = msgspec.field(default_factory=LocalExtraction)
    meta_sorting: MetaSorting = msgspec.field(default_factory=MetaSorting)
    shard_creation: ShardCreation = msgspec.field(default_factory=ShardCreation)
    aborted: bool = False
    archived: bool = False
    description: str = ""
    warnings: list[str] | None = None
    errors: list[str] | None = None
    extended: bool = False


class JobInfo(msgspec.Struct):
    """A dSort on one target. Clusters of 2023 tell the metrics only.

    Attributes:
        started_meta_sorting: seconds or nanoseconds, by release; so are its neighbours.
        objs: taken apart here.
        bytes: of them.
    """

    id: str = ""
    src_bck: BucketModel = msgspec.field(default=BucketModel(""), name="src-bck")
    dst_bck: BucketModel = msgspec.field(default=BucketModel(""), name="dst-bck")
    started_time: str = ""
    finish_time: str = ""
    started_meta_sorting: int = 0
    started_shard_creation: int = 0
    finished_shard_creation: int = 0
    objs: int = msgspec.field(default=0, name="loc-objs")
    bytes: int = msgspec.field(default=0, name="loc-bytes")
    metrics: DsortMetrics = msgspec.field(default_factory=DsortMetrics, name="Metrics")
    aborted: bool = False
    archived: bool = False


def decode_dsort(data: bytes) -> dict[str, JobInfo]:
    """Return what each target tells of a dSort, in either release's form."""
    found: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    return {target: _info(told) for target, told in found.items()}


def _info(told: dict[str, Any]) -> JobInfo:
    if "Metrics" in told or "local_extraction" not in told:
        return msgspec.convert(told, JobInfo, strict=False)
    metrics = msgspec.convert(told, DsortMetrics, strict=False)
    return JobInfo(metrics=metrics, aborted=metrics.aborted, archived=metrics.archived)
