"""The table of metrics, and the text in which a scrape shows them."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aisfs import metrics
from aisfs.metrics import BOUNDS, METRICS, Kind, Operation, Timing, exposition, of_figures

ROOT = Path(__file__).resolve().parents[2]


def test_names_are_unique_and_say_their_unit() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for metric in METRICS:
        assert re.fullmatch(r"(aisfs|process)_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        for unit in ("bytes", "seconds"):
            bare = metric.name.removesuffix("_total")
            assert bare.endswith(f"_{unit}") == (metric.unit == unit), metric.name


def test_figures_carry_a_value_for_each_label() -> None:
    for metric in METRICS:
        for figure, *values in metric.figures:
            assert figure
            assert len(values) == len(metric.labels), metric.name


def test_prometheus_reads_what_is_shown() -> None:
    counts = Operation()
    for duration_ns in (1, 200_000, 5_000_000_000, 10**12):
        counts.took(duration_ns)
    odd = 'a "quoted" \\ name\nwith lines'
    text = exposition(
        [
            ("aisfs_operation_seconds", ("read",), counts),
            ("aisfs_operations_total", ("read", odd), 3),
            ("process_open_fds", (), 17),
        ]
    )
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert set(families) == {"aisfs_operation_seconds", "aisfs_operations", "process_open_fds"}
    assert families["process_open_fds"].samples[0].value == 17
    assert families["aisfs_operations"].samples[0].labels["errno"] == odd
    rows = {
        (sample.name, sample.labels.get("le")): sample.value
        for sample in families["aisfs_operation_seconds"].samples
    }
    buckets = [rows["aisfs_operation_seconds_bucket", f"{(1 << b) / 1e9:.9g}"] for b in BOUNDS]
    assert buckets == [1, 2, 2, 2, 2, 2, 3]
    assert rows["aisfs_operation_seconds_bucket", "+Inf"] == 4
    assert rows["aisfs_operation_seconds_count", None] == 4
    assert rows["aisfs_operation_seconds_sum", None] == pytest.approx(1005.000200001)


@pytest.mark.parametrize("bits", BOUNDS)
def test_a_bucket_holds_what_is_below_its_bound(bits: int) -> None:
    timing = Timing()
    timing.took((1 << bits) - 1)
    timing.took(1 << bits)
    assert sum(timing.spans[: bits + 1]) == 1


def test_what_the_table_does_not_know_is_refused() -> None:
    with pytest.raises(KeyError):
        exposition([("aisfs_unknown", (), 1)])
    with pytest.raises(ValueError, match="zip"):
        exposition([("aisfs_operations_total", ("read",), 1)])


def test_figures_that_are_missing_show_nothing() -> None:
    assert list(of_figures({"handles.open": 2})) == [("aisfs_open_handles", (), 2)]


def test_errors_are_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Operation()
    counts.took(5)
    counts.took(6)
    counts.failed(errno.ENOENT)
    monkeypatch.setattr(metrics, "OPERATIONS", {"lookup": counts, "never": Operation()})
    told = [row for row in metrics.of_operations() if row[0] == "aisfs_operations_total"]
    assert told == [
        ("aisfs_operations_total", ("lookup", "OK"), 1),
        ("aisfs_operations_total", ("lookup", "ENOENT"), 1),
    ]


def test_the_process_is_measured() -> None:
    told = {name: value for name, _, value in metrics.of_process()}
    assert isinstance(told["process_resident_memory_bytes"], int)
    assert told["process_resident_memory_bytes"] > 1 << 20
    assert all(name in {metric.name for metric in METRICS} for name in told)


def test_the_documentation_has_the_table() -> None:
    assert metrics.reference() in (ROOT / "docs" / "monitoring.md").read_text("utf-8")
