"""Rows of a command's answer: a table for people, lines for programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


def print_rows(
    columns: Collection[str],
    rows: Sequence[Sequence[object]],
    nothing: str,
    styles: Mapping[str, str] | None = None,
) -> None:
    """Print rows: as a table on a terminal, elsewhere a line each, with tabs between.

    Args:
        columns: their names.
        rows: of cells; one that is None or "" shows as "-" in a table.
        nothing: what a terminal is told where there are no rows.
        styles: of cells that read so, in a table: rich's names.
    """
    texts = [["" if cell is None else " ".join(str(cell).split()) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in texts:
            print("\t".join(row))
    elif not rows:
        print(nothing)
    else:
        _print_table(list(columns), texts, styles or {})


def _print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, str]
) -> None:
    from rich import print as show  # noqa: PLC0415 - for terminals only
    from rich.box import SIMPLE  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*(name.upper() for name in columns), box=SIMPLE)
    for row in rows:
        table.add_row(*(Text(text or "-", styles.get(text, "")) for text in row))
    show(table)
