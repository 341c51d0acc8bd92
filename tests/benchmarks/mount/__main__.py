"""`python -m tests.benchmarks.mount ROW…`: the mount's reads and writes, each row by one command.

Every figure is a ratio of things measured in the same rounds on the same bytes: our mount, curl
straight at the targets, a null mount, and whatever peers are installed. Everybody is mounted anew
for every run. Runs on the cluster of --endpoint or AIS_ENDPOINT, else on the embedded store.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tests.benchmarks.mount import archives, listings, small_files, streams, table, warm, writes
from tests.benchmarks.mount.bench import Bench
from tests.benchmarks.mount.place import place
from tests.benchmarks.mount.wire import Wire
from tests.support.modes import MODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.benchmarks.mount.figures import Figure

ROWS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "B1": streams.b1,
    "B2": streams.b2,
    "B3": streams.b3,
    "B4": small_files.b4,
    "B5": streams.b5,
    "B6": listings.b6,
    "B6t": listings.b6t,
    "B6m": listings.b6m,
    "B7": writes.b7,
    "B8": writes.b8,
    "B9": writes.b9,
    "B10": writes.b10,
    "B13": streams.b13,
    "B16": warm.b16,
    "B18": streams.b18,
    "B20": archives.b20,
}


def parser() -> argparse.ArgumentParser:
    """Return the description of the command line."""
    made = argparse.ArgumentParser(
        prog="./run bench",
        description=__doc__,
        epilog="\n".join(f"{name:4} {row.__doc__}" for name, row in ROWS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("rows", nargs="+", metavar="ROW", choices=[*ROWS, "all"])
    made.add_argument("--endpoint", default=os.environ.get("AIS_ENDPOINT", ""))
    made.add_argument(
        "--mode",
        choices=MODES,
        default="plain",
        help="how the store is reached (B4 only): targets refuse direct access, TLS, a token,"
        " transport=sdk",
    )
    made.add_argument(
        "--delay", type=float, default=0.0, metavar="MS", help="latency each way, by relays"
    )
    made.add_argument("--bucket", default="", help="keep the files in this bucket, for other runs")
    made.add_argument("--quick", action="store_true", help="small sizes: shows only that it works")
    made.add_argument("--rounds", type=int, default=0, help="default: 3, with --quick 1")
    made.add_argument("--no-peers", action="store_true", help="leave installed peers out")
    made.add_argument("-o", dest="options", default="", help="options of our mount")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all runs")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios (.svg, .png)")
    return made


def measure(bench: Bench, rows: Sequence[str]) -> list[Figure]:
    """Measure rows, showing each figure as it comes."""
    console = Console(stderr=True)
    figures = []
    for name in rows:
        for figure in ROWS[name](bench):
            figures.append(figure)
            console.print("  ".join(table.speed(figure)), markup=False, soft_wrap=True)
    return figures


def settings(bench: Bench, wire_problem: str) -> list[str]:
    """Return what a reader of the figures has to know of how they came about."""
    where = (
        "the embedded store" if bench.place.embedded else f"the cluster at {bench.place.endpoint}"
    )
    kernel, _, _ = platform.release().partition("-")  # the rest names whose it is
    lines = [
        (
            f"On {where}, {os.cpu_count()} CPUs, Linux {kernel}, Python"
            f" {platform.python_version()}; {bench.rounds} rounds, medians; client and store on the"
            " CPUs of this machine unless the store is elsewhere."
        ),
        *(["Relays keep every byte for a while, see --delay."] if bench.place.reached else []),
        *([] if bench.place.direct else ["curl goes by the gateway: targets refuse others."]),
        "Ratios are of the figures as they stand: more is better of a rate, less of a time.",
        *(f"{each.name}: {each.settings}" for each in bench.everybody),
    ]
    if not bench.peers:
        lines.append("No peer is installed.")
    return lines + [wire_problem] * bool(wire_problem)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = parser().parse_args(words)
    rows = list(ROWS) if "all" in asked.rows else asked.rows
    if asked.mode != "plain" and set(rows) != {"B4"}:
        parser().error(f"--mode {asked.mode} is for B4")
    with contextlib.ExitStack() as stack:
        try:
            where = stack.enter_context(
                place(asked.endpoint, asked.bucket, MODES[asked.mode], asked.delay / 1e3)
            )
        except ValueError as error:
            parser().error(str(error))
        wire, problem = None, ""
        try:
            wire = stack.enter_context(Wire(where.ports))
        except PermissionError as error:
            problem = f"Bytes on the wire are not counted, nor is coldness judged: {error}."
        bench = Bench(
            where,
            wire,
            quick=asked.quick,
            rounds=asked.rounds or (1 if asked.quick else 3),
            peers=not asked.no_peers,
            options=[word for word in asked.options.split(",") if word],
        )
        figures = measure(bench, rows)
        notes = settings(bench, problem)
    table.show(figures, notes)
    if asked.json:
        data = {"settings": notes, "figures": [figure.as_data() for figure in figures]}
        asked.json.write_text(json.dumps(data, indent=1))
    if asked.markdown:
        asked.markdown.write_text(table.markdown(figures, notes))
    if asked.plot:
        from tests.benchmarks.mount import plot  # noqa: PLC0415 - matplotlib is slow to load

        plot.save(figures, asked.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
