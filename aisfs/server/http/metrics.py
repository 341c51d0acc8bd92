"""What the store has done, counted since its start: `GET /metrics`, in Prometheus's text format."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from aisfs.server.http.replies import Reply

if TYPE_CHECKING:
    from aisfs.server.http.call import Call

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
"""Methods with a figure of their own: a client can send any word."""

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters of all nodes."""

    def __init__(self) -> None:
        self.active = 0
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._sent: Counter[str] = Counter()
        self._received: Counter[str] = Counter()

    def count(self, call: "Call", status: int, seconds: float) -> None:
        """Count a request that has ended; status 0 means that it got no answer."""
        node = call.node.id
        method = call.method if call.method in METHODS else "other"
        self._requests[node, method, status] += 1
        self._seconds[node] += seconds
        self._sent[node] += call.sent
        self._received[node] += call.request.content.total_bytes

    def render(self, call: "Call") -> str:
        """Return all metrics as text."""
        store = call.store
        jobs = store.jobs.find()
        families: list[tuple[str, str, str, Iterable[tuple[Labels, float]]]] = [
            (
                "requests_total", "counter", "Requests that have ended.",
                [
                    ((("node", node), ("method", method), ("status", str(status))), count)
                    for (node, method, status), count in sorted(self._requests.items())
                ],
            ),
            ("seconds_total", "counter", "Time that requests took.", _by_node(self._seconds)),
            ("sent_bytes_total", "counter", "Bytes of reply bodies.", _by_node(self._sent)),
            ("received_bytes_total", "counter", "Bytes of requests.", _by_node(self._received)),
            ("requests_active", "gauge", "Requests being served.", [((), self.active)]),
            ("buckets", "gauge", "Buckets.", [((), len(store.catalog.buckets))]),
            ("jobs_running", "gauge", "Jobs that run.", [((), sum(job.running for job in jobs))]),
        ]  # fmt: skip
        return "".join(_family(*family) for family in families)


def _by_node(counter: Mapping[str, float]) -> list[tuple[Labels, float]]:
    return [((("node", node),), count) for node, count in sorted(counter.items())]


def _family(name: str, kind: str, help_text: str, samples: Iterable[tuple[Labels, float]]) -> str:
    name = f"aisfs_store_{name}"
    lines = [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        shown = ",".join(f'{key}="{text}"' for key, text in labels)
        lines.append(f"{name}{{{shown}}} {value:.15g}" if shown else f"{name} {value:.15g}")
    return "\n".join(lines) + "\n"


async def serve_metrics(call: "Call") -> Reply:
    """Answer `/metrics` at any node: the counters of all."""
    return Reply(200, (), call.store.metrics.render(call).encode(), CONTENT_TYPE)
