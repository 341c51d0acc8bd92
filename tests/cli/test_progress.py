"""The line that says on a terminal how far work is."""

from __future__ import annotations

import os
import pty
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from aisfs.cli import job, warm
from aisfs.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest


def test_the_line_tells_of_a_job_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with progress(job._columns, "the job begins", quiet=False) as show:
            show(description="download[bold1] running: 1 objects, 1 B")
    screen = ""
    with suppress(OSError):  # EIO: that was all
        while part := os.read(ours, 1 << 16):
            screen += part.decode()
    os.close(ours)
    words = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen)
    assert "the job begins" in words
    assert "download[bold1] running: 1 objects, 1 B" in words


def test_elsewhere_than_on_a_terminal_nothing_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def columns() -> Sequence[object]:
        raise AssertionError

    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr("sys.stderr", log)
        with progress(columns, "listing", quiet=False) as show:  # type: ignore[arg-type]
            show(**warm._line_of(warm.Report()))
    assert (tmp_path / "log").read_text() == ""
