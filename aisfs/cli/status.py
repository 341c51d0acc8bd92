"""`aisfs status`: the mounts of this machine, who serves them, and whether they answer."""

from __future__ import annotations

import json
import sys

import click

from aisfs.cli import mounts

_COLUMNS = ("source", "mountpoint", "pid", "state")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="as a JSON list")
def status(as_json: bool) -> None:
    """List the mounts of aisfs on this machine.

    STATE is "ok", "stale" (the daemon has died), "no answer" (within 2 s) or an error's number. The
    daemon's PID is shown where this user may look at it.
    """
    rows = [_row(mount) for mount in mounts.mounted()]
    if as_json:
        print(json.dumps(rows, indent=2))
    elif sys.stdout.isatty():
        _print_table(rows)
    else:
        for row in rows:
            print("\t".join("" if row[name] is None else str(row[name]) for name in _COLUMNS))


def _row(mount: mounts.MountedSource) -> dict[str, str | int | None]:
    code = mounts.probe(mount.path)
    state = {0: "ok", mounts.NO_ANSWER: "no answer"}.get(code, f"errno {code}")
    return {
        "source": mount.source,
        "mountpoint": str(mount.path),
        "pid": next(reversed(mounts.daemons(mount.path)), None),
        "state": "stale" if mounts.is_stale(code) else state,
    }


def _print_table(rows: list[dict[str, str | int | None]]) -> None:
    from rich import print as show  # noqa: PLC0415 - for terminals only
    from rich.box import SIMPLE  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    if not rows:
        print("nothing is mounted: 'aisfs mount ais://BUCKET DIRECTORY' mounts a bucket")
        return
    table = Table(*(name.upper() for name in _COLUMNS), box=SIMPLE)
    for row in rows:
        table.add_row(*(escape(str(row[name] or "-")) for name in _COLUMNS))
    show(table)
