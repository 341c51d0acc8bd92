"""Every metric of a mount in one table, and the text in which a scrape shows them.

Serves `vfs/filesystem`, which gathers the values when somebody asks for them, and whoever counts:
on the way of a request that is a plain integer in a slot or a list and nothing else. Written here
rather than taken from a library, since counting must not cost what a library's children cost (a
lock each), and the exposition is the thirty lines of `exposition`. Prometheus's own parser judges
them in the tests.

Formats: Prometheus text exposition 0.0.4.
"""

from __future__ import annotations

import platform
import resource
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from aisfs import __version__
from aisfs.errors import errno_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[str, tuple[str, ...], "float | Timing"]
"""A metric's name, the values of its labels, and its value."""


class Kind(Enum):
    """What becomes of a metric with time, in the words of the exposition."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        unit: what it counts or measures.
        labels: their names.
        figures: which of a mount's figures (`.aisfs/stats`) it shows: the figure's name, then the
            values of the labels. Empty for what is gathered elsewhere.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    figures: tuple[tuple[str, ...], ...] = ()


def _counter(
    name: str, unit: str, meaning: str, labels: str = "", *figures: tuple[str, ...]
) -> Metric:
    return Metric(name, Kind.COUNTER, unit, meaning, tuple(labels.split()), figures)


def _gauge(
    name: str, unit: str, meaning: str, labels: str = "", *figures: tuple[str, ...]
) -> Metric:
    return Metric(name, Kind.GAUGE, unit, meaning, tuple(labels.split()), figures)


def _histogram(name: str, unit: str, meaning: str, labels: str = "") -> Metric:
    return Metric(name, Kind.HISTOGRAM, unit, meaning, tuple(labels.split()))


METRICS = (
    # -- what the kernel asks
    _gauge("aisfs_info", "1", "the versions of aisfs and Python, as labels", "version python"),
    _counter(
        "aisfs_operations_total",
        "requests",
        "kernel requests that were answered; `errno` is OK or the name of the error",
        "operation errno",
    ),
    _histogram(
        "aisfs_operation_seconds",
        "seconds",
        "from taking a kernel request to its answer, errors included",
        "operation",
    ),
    _counter("aisfs_read_bytes_total", "bytes", "read by programs that the kernel asked us for"),
    _counter("aisfs_written_bytes_total", "bytes", "written by programs"),
    _gauge("aisfs_open_handles", "handles", "open files and directories", "", ("handles.open",)),
    _gauge(
        "aisfs_inodes",
        "inodes",
        "inodes that are remembered, of files and directories or of control files and views",
        "kind",
        ("inodes.known", "file"),
        ("inodes.control", "control"),
    ),
    # -- what was read
    _counter(
        "aisfs_cache_hits_total",
        "requests (memory), pages (disk)",
        "memory: reads of the kernel that were answered without waiting; disk: pages loaded",
        "level",
        ("cache.hits", "memory"),
        ("disk.hits", "disk"),
    ),
    _counter(
        "aisfs_cache_misses_total",
        "requests (memory), pages (disk)",
        "memory: reads of stored files that had to wait for their bytes; disk: pages that came "
        "from the cluster",
        "level",
        ("cache.misses", "memory"),
        ("disk.misses", "disk"),
    ),
    _gauge(
        "aisfs_cache_used_bytes",
        "bytes",
        "held by what was read",
        "level",
        ("cache.used_bytes", "memory"),
        ("disk.used_bytes", "disk"),
    ),
    _gauge(
        "aisfs_cache_capacity_bytes",
        "bytes",
        "that may be held; 0 without a cache on disk",
        "level",
        ("cache.capacity_bytes", "memory"),
        ("disk.capacity_bytes", "disk"),
    ),
    _counter(
        "aisfs_disk_cache_written_pages_total",
        "pages",
        "written to the cache on disk",
        "",
        ("disk.written",),
    ),
    _counter(
        "aisfs_disk_cache_corrupt_total",
        "pages",
        "pages and files of the cache on disk whose bytes had changed",
        "",
        ("disk.corrupt",),
    ),
    _counter(
        "aisfs_fetch_ahead_objects_total",
        "objects",
        "small objects fetched before they were read: `fetched`, and of these `used` (read) or "
        "`dropped` (given up unread); `failed`: not brought",
        "outcome",
        ("fetch_ahead.fetched", "fetched"),
        ("fetch_ahead.used", "used"),
        ("fetch_ahead.dropped", "dropped"),
        ("fetch_ahead.failed", "failed"),
    ),
    _gauge(
        "aisfs_readahead_streams",
        "streams",
        "streaming reads ahead of sequential readers, now",
        "",
        ("streams.open",),
    ),
    _counter(
        "aisfs_readahead_streams_total",
        "streams",
        "streaming reads begun; many for few bytes: readers stop early",
        "",
        ("streams.begun",),
    ),
    # -- what was written
    _gauge(
        "aisfs_unsent_files",
        "files",
        "files that the cluster does not have yet: `queued`, or `failed` at least once",
        "state",
        ("unsent.queued", "queued"),
        ("unsent.failed", "failed"),
    ),
    _gauge("aisfs_unsent_bytes", "bytes", "of these files", "", ("unsent.bytes",)),
    _gauge(
        "aisfs_unsent_changes",
        "changes",
        "deletions and renames that are still to be carried out",
        "",
        ("unsent.other",),
    ),
    _gauge(
        "aisfs_staging_used_bytes",
        "bytes",
        "of staging-quota that written files hold",
        "",
        ("staging.used_bytes",),
    ),
    _gauge(
        "aisfs_staging_capacity_bytes", "bytes", "staging-quota", "", ("staging.capacity_bytes",)
    ),
    _counter(
        "aisfs_uploads_total",
        "uploads",
        "written files that were `stored`, or `failed` to be",
        "outcome",
        ("uploads.stored", "stored"),
        ("uploads.failed", "failed"),
    ),
    _counter(
        "aisfs_upload_retries_total",
        "uploads",
        "files and changes that were sent again after a failure",
        "",
        ("uploads.retries",),
    ),
    # -- HTTP
    _counter(
        "aisfs_http_requests_total",
        "requests",
        "requests to the cluster by what they are about and how they were answered: 2xx to 5xx, "
        "or `none`; each redirect is a request of its own",
        "method about status",
    ),
    _counter(
        "aisfs_http_received_bytes_total",
        "bytes",
        "bodies received from the cluster",
        "",
        ("http.received_bytes",),
    ),
    _counter(
        "aisfs_http_sent_bytes_total",
        "bytes",
        "bodies sent to the cluster",
        "",
        ("http.sent_bytes",),
    ),
    _counter(
        "aisfs_http_retries_total",
        "requests",
        "requests that were sent again after a failure",
        "",
        ("http.retries",),
    ),
    _counter(
        "aisfs_http_declined_total",
        "requests",
        "requests that did not come about straight at a target and went by the SDK",
        "",
        ("http.declined",),
    ),
    _gauge(
        "aisfs_http_connections",
        "connections",
        "connections that wait for a request: of the event loop (`loop`) or of threads (`threads`)",
        "pool",
        ("http.loop.idle", "loop"),
        ("http.threads.idle", "threads"),
    ),
    _gauge(
        "aisfs_http_busy",
        "requests",
        "requests that are under way, control calls and streams included",
        "pool",
        ("http.loop.busy", "loop"),
        ("http.threads.busy", "threads"),
    ),
    _gauge(
        "aisfs_http_busy_limit",
        "requests",
        "most requests that may be under way",
        "pool",
        ("http.loop.limit", "loop"),
        ("http.threads.limit", "threads"),
    ),
    # -- the process
    _histogram(
        "aisfs_loop_lag_seconds",
        "seconds",
        "how late the event loop is to do what is due, looked at once a second",
    ),
    _counter("process_cpu_seconds_total", "seconds", "CPU time, of user and system"),
    _gauge("process_resident_memory_bytes", "bytes", "memory in use, the cache's included"),
    _gauge("process_open_fds", "descriptors", "open file descriptors"),
    _gauge("process_max_fds", "descriptors", "most file descriptors that may be open"),
    _gauge("process_threads", "threads", "threads"),
    _gauge("process_start_time_seconds", "seconds", "when the mount began, since the epoch"),
)
"""Everything that is shown, in this order."""

_BY_NAME = {metric.name: metric for metric in METRICS}

SPANS = 64
"""Lengths in bits of the nanoseconds that anything can take."""

BOUNDS = (17, 20, 23, 26, 29, 32, 35)
"""Buckets of a histogram: 2^17 ns is 0.13 ms, what memory answers; each next one is 8 times as
long, up to 34 s, which nothing should reach. Powers of two, so that the length of a number in bits
tells the bucket, which takes 30 ns; a comparison with each bound takes ten times as long."""


class Timing:
    """How long something took: a histogram.

    Attributes:
        spans: how often it took a number of nanoseconds of so many bits.
        total_ns: in all.
    """

    __slots__ = ("spans", "total_ns")

    def __init__(self) -> None:
        self.spans = [0] * SPANS
        self.total_ns = 0

    @property
    def count(self) -> int:
        """How often it was measured."""
        return sum(self.spans)

    def took(self, duration_ns: int) -> None:
        """Take note of a duration."""
        self.spans[duration_ns.bit_length()] += 1
        self.total_ns += duration_ns


class Operation(Timing):
    """What is counted of one operation of the kernel.

    Attributes:
        errors: errno → how often.
        slow_ns: longer ones are worth a line in the log.
    """

    __slots__ = ("errors", "slow_ns")

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[int, int] = {}
        self.slow_ns = 1 << 62

    def failed(self, errno: int) -> None:
        """Take note that a request was answered by an error."""
        self.errors[errno] = self.errors.get(errno, 0) + 1


class Applications:
    """What programs read and wrote.

    Attributes:
        read_bytes, written_bytes: by requests of the kernel.
        waited: reads that were not answered at once.
    """

    __slots__ = ("read_bytes", "waited", "written_bytes")

    def __init__(self) -> None:
        self.read_bytes = self.written_bytes = self.waited = 0


class Uploads:
    """What became of written files.

    Attributes:
        stored, failed: uploads that ended so.
        retries: files and changes that were sent again.
    """

    __slots__ = ("failed", "retries", "stored")

    def __init__(self) -> None:
        self.stored = self.failed = self.retries = 0


_STARTED = time.time()

OPERATIONS: dict[str, Operation] = {}
APPLICATIONS = Applications()
UPLOADS = Uploads()
LOOP_LAG = Timing()


def operation(name: str) -> Operation:
    """Return the counts of an operation, to be kept by who counts."""
    return OPERATIONS.setdefault(name, Operation())


def of_figures(figures: Mapping[str, float]) -> Iterator[Sample]:
    """Yield the metrics that show figures of a mount; a figure that is not there is left out."""
    for metric in METRICS:
        for figure, *values in metric.figures:
            if figure in figures:
                yield metric.name, tuple(values), figures[figure]


def of_operations() -> Iterator[Sample]:
    """Yield what is counted on the way of each request."""
    for name, counts in OPERATIONS.items():
        answered = counts.count
        if answered:
            fine = max(answered - sum(counts.errors.values()), 0)
            yield "aisfs_operations_total", (name, "OK"), fine
            for number, times in counts.errors.items():
                yield "aisfs_operations_total", (name, errno_name(number)), times
            yield "aisfs_operation_seconds", (name,), counts
    yield "aisfs_read_bytes_total", (), APPLICATIONS.read_bytes
    yield "aisfs_written_bytes_total", (), APPLICATIONS.written_bytes


def of_requests(requests: Iterable[tuple[str, str, str, int]]) -> Iterator[Sample]:
    """Yield how many requests were sent: method, about what, status class, times."""
    for method, about, status, times in requests:
        yield "aisfs_http_requests_total", (method, about, status), times


def of_process() -> Iterator[Sample]:
    """Yield what the system tells of this process, and how late its event loop is."""
    yield "aisfs_info", (__version__, platform.python_version()), 1
    yield "aisfs_loop_lag_seconds", (), LOOP_LAG
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield "process_cpu_seconds_total", (), usage.ru_utime + usage.ru_stime
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    yield "process_resident_memory_bytes", (), pages * resource.getpagesize()
    yield "process_open_fds", (), len(list(Path("/proc/self/fd").iterdir()))
    yield "process_max_fds", (), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield "process_threads", (), len(list(Path("/proc/self/task").iterdir()))
    yield "process_start_time_seconds", (), _STARTED


def exposition(samples: Iterable[Sample]) -> str:
    """Return samples as a scrape shows them: by metric, each with its meaning and kind.

    Raises:
        KeyError: a sample is of no metric of the table.
        ValueError: it has not the labels that the table says.
    """
    rows: dict[str, list[str]] = {metric.name: [] for metric in METRICS}
    for name, values, value in samples:
        labels = dict(zip(_BY_NAME[name].labels, values, strict=True))
        if isinstance(value, Timing):
            rows[name] += _histogram_rows(name, labels, value)
        else:
            rows[name].append(_row(name, labels, value))
    return "".join(
        f"# HELP {name} {_BY_NAME[name].meaning}\n# TYPE {name} {_BY_NAME[name].kind.value}\n"
        + "".join(lines)
        for name, lines in rows.items()
        if lines
    )


def _histogram_rows(name: str, labels: Mapping[str, str], timing: Timing) -> Iterator[str]:
    spans, total = list(timing.spans), timing.total_ns
    for bits in BOUNDS:
        bound = f"{(1 << bits) / 1e9:.9g}"
        yield _row(f"{name}_bucket", {**labels, "le": bound}, sum(spans[: bits + 1]))
    yield _row(f"{name}_bucket", {**labels, "le": "+Inf"}, sum(spans))
    yield _row(f"{name}_sum", labels, total / 1e9)
    yield _row(f"{name}_count", labels, sum(spans))


def _row(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{told}}} {value!r}\n" if told else f"{name} {value!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def reference() -> str:
    """Return the table as it stands in the documentation."""
    lines = ["| metric | kind | unit | labels | meaning |", "|---|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(
            f"| `{metric.name}` | {metric.kind.value} | {metric.unit} | {labels} | "
            f"{metric.meaning} |"
        )
    return "\n".join(lines) + "\n"
