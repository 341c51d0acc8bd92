"""The figures as tables: on a terminal, and as Markdown for the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tests.benchmarks.mount.figures import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.benchmarks.mount.figures import Figure, Run

MIB, GIB = 1 << 20, 1 << 30

SPEED = ("row", "work, cold", OURS, "of the others", "goal")
COST = (
    "row",
    "work, cold",
    "p50, p99 ms",
    "CPU s/GiB: mount + reader",
    "CPU s/1000 operations",
    "MiB of memory: PSS, RSS",
    "MiB on the wire",
    "requests",
)


def speed(figure: Figure) -> list[str]:
    """Return the figure, its ratios to the others' with theirs, and whether goals are reached."""
    ratios = [
        f"{_number(figure.ratio(who))} of {who} ({_number(figure.value(who))})"
        for who in figure.others
    ]
    ours = f"{_number(figure.value())} {figure.unit.name}" if figure.runs else "-"
    goals = [goal.verdict(figure) for goal in figure.goals] if figure.runs else []
    notes = [figure.note] * bool(figure.note) + figure.discarded
    return [figure.row, figure.title, ours, "; ".join(ratios), "; ".join(goals + notes)]


def cost(figure: Figure) -> list[str]:
    """Return what our runs cost."""

    def median(of: Callable[[Run], float | None]) -> float | None:
        return figure.median(OURS, of)

    def each(amount: Callable[[Run], float]) -> str:
        mount = median(lambda run: run.daemon_cpu / amount(run) if amount(run) else None)
        reader = median(lambda run: run.reader_cpu / amount(run) if amount(run) else None)
        return f"{_number(mount)} + {_number(reader)}"

    kinds = list(dict.fromkeys(k for run in figure.runs.get(OURS, []) for k in run.requests))
    counts = {
        kind: median(lambda run, kind=kind: run.requests.get(kind, 0))  # type: ignore[misc]
        for kind in kinds
    }
    wire = median(lambda run: None if run.wire is None else run.wire / MIB)
    return [
        figure.row,
        figure.title,
        (
            f"{_number(median(lambda run: run.p50 * 1e3 or None))},"
            f" {_number(median(lambda run: run.p99 * 1e3 or None))}"
        ),
        each(lambda run: run.bytes / GIB),
        each(lambda run: run.operations / 1e3),
        (
            f"{_number(median(lambda run: run.pss / MIB))},"
            f" {_number(median(lambda run: run.rss / MIB))}"
        ),
        _number(wire),
        " ".join(f"{count:.0f} {kind}" for kind, count in counts.items() if count) or "-",
    ]


def show(figures: Sequence[Figure], settings: Sequence[str]) -> None:
    """Print both tables, and the settings."""
    console = Console(width=None if Console().is_terminal else 200)
    for heads, row in ((SPEED, speed), (COST, cost)):
        table = Table(*heads)
        for figure in figures:
            table.add_row(*row(figure))
        console.print(table)
    for line in settings:
        console.print(line, markup=False, soft_wrap=True)


def markdown(figures: Sequence[Figure], settings: Sequence[str]) -> str:
    """Return both tables and the settings as Markdown."""
    lines = []
    for heads, row in ((SPEED, speed), (COST, cost)):
        lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        lines += ["| " + " | ".join(row(figure)) + " |" for figure in figures]
        lines.append("")
    return "\n".join([*lines, *(f"- {line}" for line in settings)]) + "\n"


def _number(value: float | None) -> str:
    """Return a number with three digits that count, "-" for none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
