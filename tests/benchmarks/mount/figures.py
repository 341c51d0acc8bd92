"""What a row of the table is made of: runs, figures with ratios, goals."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = "aisfs"


@dataclass
class Run:
    """One measured run of one contestant.

    Attributes:
        seconds, operations, bytes, reader_cpu: see `readers.Readings`.
        p50, p99: of the durations of the operations, in seconds; 0 where they are not known.
        daemon_cpu: CPU seconds of the mount's processes.
        rss, pss, pss_before: bytes of memory of the mount's processes: peaks, and before the run.
        wire: bytes received from the store, headers and all; None where that is not known.
        sent: bytes sent to the store, likewise.
        requests: that the store answered, by kind.
        problem: why this run does not count; "" if it does.
    """

    seconds: float
    operations: int
    bytes: int
    p50: float
    p99: float
    reader_cpu: float
    daemon_cpu: float = 0.0
    rss: int = 0
    pss: int = 0
    pss_before: int = 0
    wire: int | None = None
    sent: int | None = None
    requests: dict[str, int] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Unit:
    """What a figure says, and in which unit."""

    name: str
    of: Callable[[Run], float]


MB_S = Unit("MB/s", lambda run: run.bytes / 1e6 / run.seconds)
SECONDS = Unit("s", lambda run: run.seconds)
MS = Unit("ms", lambda run: run.seconds * 1e3)
MS_P99 = Unit("ms p99", lambda run: run.p99 * 1e3)


def per_second(what: str) -> Unit:
    """Return the unit of operations a second."""
    return Unit(f"{what}/s", lambda run: run.operations / run.seconds)


@dataclass(frozen=True)
class Goal:
    """What a figure should reach.

    Attributes:
        text: as the table shows it.
        value: what is compared; None where it could not be measured.
        least, most: the bounds.
    """

    text: str
    value: Callable[[Figure], float | None]
    least: float = float("-inf")
    most: float = float("inf")

    def verdict(self, figure: Figure) -> str:
        """Return `pass`, `MISS` or `not measured`, with the value."""
        found = self.value(figure)
        if found is None:
            return f"{self.text}: not measured"
        word = "pass" if self.least <= found <= self.most else "MISS"
        return f"{self.text}: {found:.3g} {word}"


def at_least(ratio: float, reference: str) -> Goal:
    """Return the goal of a ratio to a reference."""
    return Goal(f">= {ratio} x {reference}", lambda f: f.ratio(reference), least=ratio)


def at_most(ratio: float, reference: str) -> Goal:
    """Return the limit of a ratio to a reference."""
    return Goal(f"<= {ratio} x {reference}", lambda f: f.ratio(reference), most=ratio)


def limit(text: str, of: Callable[[Run], float | None], most: float) -> Goal:
    """Return the limit of something that is measured in our own runs."""
    return Goal(f"{text} <= {most:g}", lambda figure: figure.median(OURS, of), most=most)


@dataclass
class Figure:
    """One line of the table: runs of ours and of all that it is compared with, in rounds.

    Attributes:
        row: its id, such as B1.
        title: what is done.
        unit: of the figure.
        runs: by who was measured; runs of one round have the same index.
        note: what a reader has to know, such as why something was left out.
    """

    row: str
    title: str
    unit: Unit
    goals: tuple[Goal, ...] = ()
    runs: dict[str, list[Run]] = field(default_factory=dict)
    note: str = ""

    def add(self, who: str, run: Run) -> None:
        """Take a run in."""
        self.runs.setdefault(who, []).append(run)

    def median(self, who: str, of: Callable[[Run], float | None]) -> float | None:
        """Return the median over the runs that count, None if there are none."""
        counting = [run for run in self.runs.get(who, []) if not run.problem]
        values = [value for run in counting if (value := of(run)) is not None]
        return statistics.median(values) if values else None

    def value(self, who: str = OURS) -> float | None:
        """Return the figure of somebody."""
        return self.median(who, self.unit.of)

    def ratio(self, who: str) -> float | None:
        """Return the median of the ratios of our figure to somebody's, round by round."""
        ratios = [
            self.unit.of(ours) / self.unit.of(theirs)
            for ours, theirs in zip(self.runs.get(OURS, []), self.runs.get(who, []), strict=False)
            if not ours.problem and not theirs.problem
        ]
        return statistics.median(ratios) if ratios else None

    @property
    def others(self) -> list[str]:
        """Everybody that ours is compared with."""
        return [who for who in self.runs if who != OURS]

    @property
    def discarded(self) -> list[str]:
        """Say which runs do not count, and why."""
        problems = Counter(
            f"{who}: {run.problem}"
            for who, runs in self.runs.items()
            for run in runs
            if run.problem
        )
        return [f"{text} ({count} of the runs)" for text, count in problems.items()]

    def as_data(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {
            "row": self.row,
            "title": self.title,
            "unit": self.unit.name,
            "value": self.value(),
            "ratios": {who: self.ratio(who) for who in self.others},
            "goals": [goal.verdict(self) for goal in self.goals],
            "note": self.note,
            "runs": {who: [asdict(run) for run in runs] for who, runs in self.runs.items()},
        }
