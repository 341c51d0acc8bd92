"""The figures as a picture: our ratio to each of the others, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure as Picture

from tests.benchmarks.mount.figures import SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.benchmarks.mount.figures import Figure

SLOWER_IS_MORE = {SECONDS.name, "ms", "ms p99"}


def speed_ratio(figure: Figure, who: str) -> float | None:
    """Return how many times as fast as somebody we are, whatever the figure's unit."""
    ratio = figure.ratio(who)
    if not ratio:
        return None
    return 1 / ratio if figure.unit.name in SLOWER_IS_MORE else ratio


def save(figures: Sequence[Figure], path: Path) -> None:
    """Write bars, 1 being as fast as the other one; the ending of the path says the format."""
    shown = [figure for figure in figures if figure.others]
    others = list(dict.fromkeys(who for figure in shown for who in figure.others))
    height = 0.8 / max(len(others), 1)
    picture = Picture(figsize=(9, 1.5 + 0.5 * len(shown)), layout="constrained")
    axes = picture.subplots()
    for number, who in enumerate(others):
        bars = [
            (row + number * height, ratio)
            for row, figure in enumerate(shown)
            if (ratio := speed_ratio(figure, who)) is not None
        ]
        axes.barh([at for at, _ in bars], [ratio for _, ratio in bars], height, label=f"of {who}")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(
        [row + 0.4 - height / 2 for row in range(len(shown))],
        [f"{figure.row} {figure.title}" for figure in shown],
        fontsize=7,
    )
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("speed of aisfs, cold, as a multiple (1: as fast as the other)")
    axes.legend(fontsize=7)
    picture.savefig(path)
