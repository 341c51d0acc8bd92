"""`aisfs warm`: fill the cache of a mount with files before they are read, and show how it goes.

The daemon does the work: this command writes the paths to `.aisfs/warm` in each mount's root, reads
from the same descriptor how far it is, and ends it by closing that. Nobody can write to a read-only
mount; there this command reads the files itself, through the mount.
"""

from __future__ import annotations

import errno
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from aisfs.cli import Failure
from aisfs.cli.control_handle import ControlHandle, by_mount, refusal
from aisfs.cli.progress import progress
from aisfs.cli.sizes import in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.progress import ProgressColumn

CONTROL = Path(".aisfs") / "warm"

_ASK_S = 0.1
_MOST_SHOWN = 20
_FITTING = (("files", ""), ("bytes", "_bytes"))
_FIGURES = (
    "files",
    "files_done",
    "bytes",
    "bytes_done",
    "cold",
    "prefetched",
    "failed",
    "does_not_fit",
    "does_not_fit_bytes",
    "capacity_bytes",
    "capacity_files",
)


@dataclass
class Report:
    """What became of the paths of one mount, or of several together.

    Attributes:
        state: what is being done; "done" at the end.
        figures: by the names that `.aisfs/warm` has for them.
        warnings: what went wrong without keeping anything from being brought.
        failures: path and reason of what could not be brought; those that were named.
    """

    state: str = "done"
    figures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_FIGURES, 0))
    warnings: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def read(cls, text: str, root: Path) -> Report:
        """Return what a control file told; paths are made absolute."""
        report = cls()
        for line in text.splitlines():
            key, value, why = (*line.split("\t"), "")[:3]
            if key == "state":
                report.state = value
            elif key == "warning":
                report.warnings.append(value)
            elif key == "failure":
                report.failures.append((str(root / value), why))
            else:
                report.figures[key] = int(value)
        return report

    @property
    def complete(self) -> bool:
        """Whether everything was brought."""
        return not self.figures["failed"] and not self.figures["does_not_fit"]


class Job(Protocol):
    """The paths of one mount, being brought."""

    def report(self) -> Report:
        """Return how far it is."""

    def close(self) -> None:
        """End it; what was brought stays."""


class DaemonJob:
    """What the daemon of a mount brings.

    Raises:
        OSError: the control file cannot be opened or written.
    """

    def __init__(self, root: Path, paths: Iterable[str]) -> None:
        self._root = root
        self._control = ControlHandle(root / CONTROL, paths)

    def report(self) -> Report:
        """Return how far it is."""
        return Report.read(self._control.told(), self._root)

    def close(self) -> None:
        """End it."""
        self._control.close()


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def warm(paths: tuple[str, ...], as_json: bool) -> int:
    """Fill the cache with the files and directories at PATH…, before they are read.

    Objects of remote buckets that are not in the cluster are prefetched by the cluster first. What
    does not fit the cache is left out. Ctrl-C stops; what was brought stays.

    Exit code 0 only if everything was brought.
    """
    named = by_mount(paths)
    jobs: list[Job] = []
    try:
        for root, relative in named.items():
            jobs.append(_begin(root, relative))
        report = _wait(jobs, quiet=as_json)
    finally:
        for job in jobs:
            job.close()
    if as_json:
        print(json.dumps(_as_json(report), indent=2))
    else:
        _say(report)
    return 0 if report.complete else 1


# -- which mounts


def _begin(root: Path, paths: list[str]) -> Job:
    try:
        return DaemonJob(root, (path or "." for path in paths))
    except OSError as error:
        if error.errno == errno.EROFS:
            from aisfs.cli.read_through import ReadingJob  # noqa: PLC0415 - seldom needed

            return ReadingJob(root, paths)
        raise refusal(error, root, CONTROL, "fills its cache for") from None


# -- what is shown


def _wait(jobs: Sequence[Job], *, quiet: bool) -> Report:
    """Return the report of all jobs once they are done."""
    with progress(_columns, "listing", quiet=quiet, files="") as show_progress:
        while True:
            try:
                report = _together([job.report() for job in jobs])
            except OSError as error:
                raise Failure(f"the mount does not answer any more: {error.strerror}") from None
            show_progress(**_line_of(report))
            if report.state == "done":
                return report
            time.sleep(_ASK_S)


def _together(reports: Sequence[Report]) -> Report:
    total = Report()
    for report in reports:
        if report.state != "done":
            total.state = report.state
        for key, value in report.figures.items():
            total.figures[key] = total.figures.get(key, 0) + value
        total.warnings += report.warnings
        total.failures += report.failures
    return total


def _columns() -> Sequence[ProgressColumn]:
    from rich.progress import (  # noqa: PLC0415 - for terminals only
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.fields[files]}"),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )


def _line_of(report: Report) -> dict[str, object]:
    """Return what the line of progress shows."""
    figures = report.figures
    files = f"{figures['files_done']}/{figures['files'] - figures['does_not_fit']} files"
    if report.state == "prefetching":
        files = f"{figures['prefetched']}/{figures['cold']} from the remote bucket"
    return {
        "description": report.state,
        "completed": figures["bytes_done"],
        "total": figures["bytes"] - figures["does_not_fit_bytes"],
        "files": files,
    }


def _as_json(report: Report) -> dict[str, object]:
    return {
        "complete": report.complete,
        **report.figures,
        "warnings": report.warnings,
        "failures": [{"path": path, "reason": why} for path, why in report.failures],
    }


def _say(report: Report) -> None:
    """Print the summary, and on standard error what is missing."""
    figures = report.figures
    for text in report.warnings[:_MOST_SHOWN]:
        print("aisfs: warning:", text, file=sys.stderr)
    for path, why in report.failures[:_MOST_SHOWN]:
        print(f"aisfs: {path}: {why}", file=sys.stderr)
    unnamed = figures["failed"] - min(len(report.failures), _MOST_SHOWN)
    if unnamed:
        print(f"aisfs: and {unnamed} more could not be brought", file=sys.stderr)
    if figures["does_not_fit"]:
        print("aisfs: does not fit:", _overflow(figures), file=sys.stderr)
    print(f"{figures['files_done']} files, {in_words(figures['bytes_done'])} in the cache")


def _overflow(figures: Mapping[str, int]) -> str:
    """Say how much of what was named fits the cache, and what to do about the rest."""
    files, size = (figures[key] - figures[f"does_not_fit{of}"] for key, of in _FITTING)
    if files >= figures["capacity_files"]:
        limit = "fit: the cache remembers no more files, name fewer or pack them into larger ones"
    else:
        limit = f"fit the cache of {in_words(figures['capacity_bytes'])}: raise cache-size"
    share = f"{in_words(size)} of {in_words(figures['bytes'])}"
    return f"{share} ({files} of {figures['files']} files) {limit}"
