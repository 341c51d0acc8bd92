"""`aisfs status`: the mounts of this machine, whether they answer, what they hold and lack."""

from __future__ import annotations

import json
import sys
import time

import click

from aisfs.cli import Failure, mounts
from aisfs.cli.asking import figures_of
from aisfs.cli.sizes import in_words
from aisfs.cli.tables import print_rows
from aisfs.errors import FsError
from aisfs.staging.journal import unsent
from aisfs.staging.state import JOURNAL

_COLUMNS = (
    "source", "mountpoint", "pid", "state", "queued", "failed", "bytes", "memory", "disk", "jobs",
)  # fmt: skip
_SIZES = {"bytes", "memory", "disk"}
_FIGURES = {"memory": "cache.used_bytes", "disk": "disk.used_bytes", "jobs": "jobs.running"}
_PAUSE_S = 2.0
_TO_THE_TOP = "\x1b[H\x1b[J"
"""ECMA-48: cursor to the first line, erase what is below it."""

Row = dict[str, str | int | None]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="as a JSON list")
@click.option("--watch", is_flag=True, help="show it anew every 2 s, until Ctrl-C")
def status(as_json: bool, watch: bool) -> None:
    """List the mounts of aisfs on this machine.

    STATE is "ok", "stale" (the daemon has died), "no answer" (within 2 s) or an error's number. The
    daemon's PID is shown where this user may look at it, and with it what the cluster does not have
    yet: files that wait (QUEUED), files that could not be stored (FAILED), and the BYTES of both.
    MEMORY and DISK are what the cache holds, JOBS how many jobs of the cluster run; a mount that
    does not answer in time tells none of these.

    With --watch and --json, each line is one list.
    """
    _show(as_json=as_json, watch=watch)
    while watch:
        time.sleep(_PAUSE_S)
        _show(as_json=as_json, watch=watch)


def _show(*, as_json: bool, watch: bool) -> None:
    rows = [_row(mount) for mount in mounts.mounted()]
    if as_json:
        print(json.dumps(rows, indent=None if watch else 2), flush=True)
        return
    terminal = sys.stdout.isatty()
    if watch and terminal:
        print(_TO_THE_TOP, end="")
    nothing = "nothing is mounted: 'aisfs mount ais://BUCKET DIRECTORY' mounts a bucket"
    print_rows(_COLUMNS, [_cells(row, in_units=terminal) for row in rows], nothing)
    sys.stdout.flush()


def _cells(row: Row, *, in_units: bool) -> list[str | int | None]:
    """Return a row's cells; sizes in units for people, in bytes for programs."""
    return [
        in_words(value) if in_units and name in _SIZES and isinstance(value, int) else value
        for name, value in ((name, row[name]) for name in _COLUMNS)
    ]


def _row(mount: mounts.MountedSource) -> Row:
    code = mounts.probe(mount.path)
    state = {0: "ok", mounts.NO_ANSWER: "no answer"}.get(code, f"errno {code}")
    figures = figures_of(mount.path) if code == 0 else {}
    pid = next(reversed(mounts.daemons(mount.path)), None)
    return {
        "source": mount.source,
        "mountpoint": str(mount.path),
        "pid": pid,
        "state": "stale" if mounts.is_stale(code) else state,
        **_unsent(pid),
        **{name: figures.get(figure) for name, figure in _FIGURES.items()},
    }


def _unsent(pid: int | None) -> dict[str, int | None]:
    directory = None if pid is None else mounts.state_directory(pid)
    if directory is None:
        return dict.fromkeys(("queued", "failed", "bytes"))
    try:
        found = unsent(directory / JOURNAL)
    except FsError as error:
        raise Failure(str(error)) from None
    return {"queued": found.queued, "failed": found.failed, "bytes": found.size}
