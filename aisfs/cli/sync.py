"""`aisfs sync`: wait until everything under some paths is on the cluster.

The daemon does the work: this command writes the paths to `.aisfs/sync` in each mount's root, and
reads from the same descriptor how far it is.
"""

from __future__ import annotations

import errno
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aisfs.cli import Failure
from aisfs.cli.control_handle import ControlHandle, by_mount, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTROL = Path(".aisfs") / "sync"

_ASK_S = 0.1
_MOST_SHOWN = 20


@dataclass
class Report:
    """What became of the paths of all mounts.

    Attributes:
        done: whether nothing is under way any more.
        files: that were stored.
        failed: files and paths that could not be.
        failures: path and reason of those that were named.
    """

    done: bool = True
    files: int = 0
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, text: str, root: Path) -> None:
        """Take in what a control file told; paths are made absolute."""
        for line in text.splitlines():
            key, value, why = (*line.split("\t"), "")[:3]
            if key == "state":
                self.done &= value == "done"
            elif key == "files_done":
                self.files += int(value)
            elif key == "failed":
                self.failed += int(value)
            elif key == "failure":
                self.failures.append((str(root / value), why))


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def sync(paths: tuple[str, ...], as_json: bool) -> int:
    """Wait until the cluster has everything that was written at or below the PATHs.

    Files that are open are stored as they are now, those that wait or failed are sent at once.

    Exit code 0 only if nothing is unsent.
    """
    handles: list[tuple[Path, ControlHandle]] = []
    try:
        for root, relative in by_mount(paths).items():
            handles.append((root, _begin(root, relative)))
        report = _wait(handles)
    finally:
        for _, handle in handles:
            handle.close()
    if as_json:
        failures = [{"path": path, "reason": why} for path, why in report.failures]
        print(
            json.dumps(
                {"stored": report.files, "failed": report.failed, "failures": failures}, indent=2
            )
        )
    else:
        _say(report)
    return 1 if report.failed else 0


def _begin(root: Path, paths: Sequence[str]) -> ControlHandle:
    try:
        return ControlHandle(root / CONTROL, (path or "." for path in paths))
    except OSError as error:
        if error.errno == errno.EROFS:
            raise Failure(f"{root} is read-only: nothing is written there") from None
        raise refusal(error, root, CONTROL, "is synced by") from None


def _wait(handles: Sequence[tuple[Path, ControlHandle]]) -> Report:
    while True:
        report = Report()
        try:
            for root, handle in handles:
                report.add(handle.told(), root)
        except OSError as error:
            raise Failure(f"the mount does not answer any more: {error.strerror}") from None
        if report.done:
            return report
        time.sleep(_ASK_S)


def _say(report: Report) -> None:
    for path, why in report.failures[:_MOST_SHOWN]:
        print(f"aisfs: {path}: {why}", file=sys.stderr)
    unnamed = report.failed - min(len(report.failures), _MOST_SHOWN)
    if unnamed:
        print(f"aisfs: and {unnamed} more could not be stored", file=sys.stderr)
    if not report.failed:
        print(f"everything is on the cluster; {report.files} files had to be sent")
