"""How far work is, on a terminal while it goes on; nothing elsewhere.

Serves `job` and `warm`.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.progress import ProgressColumn


@contextmanager
def progress(
    columns: Callable[[], Sequence[ProgressColumn]], text: str, *, quiet: bool, **fields: Any
) -> Iterator[Callable[..., None]]:
    """Show one line on standard error, and give what changes it.

    Args:
        columns: makes those of the line, for terminals only.
        text: the description at first.
        quiet: show nothing, on a terminal either.
        fields: further ones at first, as of `rich.progress.Progress.update`.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda **_: None
        return
    from rich.console import Console  # noqa: PLC0415 - for terminals only
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(*columns(), console=Console(stderr=True), transient=True) as bar:
        yield partial(bar.update, bar.add_task(text, total=None, **fields))
