"""`aisfs status`: the mounts of this machine, who serves them, and whether they answer."""

from __future__ import annotations

import json

import click

from aisfs.cli import Failure, mounts
from aisfs.cli.tables import print_rows
from aisfs.errors import FsError
from aisfs.staging.journal import unsent
from aisfs.staging.state import JOURNAL

_COLUMNS = ("source", "mountpoint", "pid", "state", "queued", "failed", "bytes")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="as a JSON list")
def status(as_json: bool) -> None:
    """List the mounts of aisfs on this machine.

    STATE is "ok", "stale" (the daemon has died), "no answer" (within 2 s) or an error's number. The
    daemon's PID is shown where this user may look at it, and with it what the cluster does not have
    yet: files that wait (QUEUED), files that could not be stored (FAILED), and the BYTES of both.
    """
    rows = [_row(mount) for mount in mounts.mounted()]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        nothing = "nothing is mounted: 'aisfs mount ais://BUCKET DIRECTORY' mounts a bucket"
        print_rows(_COLUMNS, [[row[name] for name in _COLUMNS] for row in rows], nothing)


def _row(mount: mounts.MountedSource) -> dict[str, str | int | None]:
    code = mounts.probe(mount.path)
    state = {0: "ok", mounts.NO_ANSWER: "no answer"}.get(code, f"errno {code}")
    pid = next(reversed(mounts.daemons(mount.path)), None)
    return {
        "source": mount.source,
        "mountpoint": str(mount.path),
        "pid": pid,
        "state": "stale" if mounts.is_stale(code) else state,
        **_unsent(pid),
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
