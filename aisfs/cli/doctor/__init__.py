"""`aisfs doctor`: why a mount does not work, or would not, in words that a user can act on.

Serves users and scripts. `checkup` has the checks in their order; each looks at one thing and
leaves what later ones need. Nothing is changed anywhere, and no token is shown.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aisfs.cli import mounts
from aisfs.cli.tables import print_rows

if TYPE_CHECKING:
    from aisfs.cli.doctor.findings import Case, Finding

_COLUMNS = ("check", "state", "what is so", "what to do")
_STYLES = {"ok": "green", "warning": "yellow", "broken": "bold red", "not checked": "dim"}


@click.command()
@click.argument("names", nargs=-1, metavar="[SOURCE] [MOUNTPOINT]")
@click.option("-o", "options", multiple=True, metavar="LIST", help="options as for the mount")
@click.option("--config", metavar="FILE", default="", help="a TOML file with settings")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def doctor(names: tuple[str, ...], options: tuple[str, ...], config: str, as_json: bool) -> int:
    """Say why a mount does not work, or would not work.

    Give what `aisfs mount` is given, or a MOUNTPOINT alone. Changes nothing, and writes nothing to
    the cluster. Exit code 0 if nothing is broken, else 1.
    """
    from aisfs.cli.doctor.checkup import examine  # noqa: PLC0415 - late: loads the SDK

    findings = list(examine(_case(names, options, config)))
    broken = any(finding.state.value == "broken" for finding in findings)
    if as_json:
        told = {"ok": not broken, "checks": [_json(finding) for finding in findings]}
        print(json.dumps(told, indent=2))
    else:
        rows = [(f.check, f.state.value, f.words, f.remedy) for f in findings]
        print_rows(_COLUMNS, rows, "", _STYLES)
    return 1 if broken else 0


def _case(names: tuple[str, ...], options: tuple[str, ...], file: str) -> Case:
    """Return what is to be looked at; a name with a scheme is a SOURCE."""
    from aisfs.cli.doctor.findings import Case  # noqa: PLC0415

    sources = [name for name in names if "://" in name]
    places = [name for name in names if "://" not in name]
    if len(sources) > 1 or len(places) > 1:
        raise click.UsageError("too many names: give [SOURCE] [MOUNTPOINT]")
    case = Case(source="".join(sources), options=options, file=file)
    if places:
        try:
            case.mountpoint = mounts.resolve(places[0])
        except (OSError, RuntimeError):
            case.mountpoint = Path(places[0]).absolute()  # its check says why
        case.there = mounts.mounted_at(case.mountpoint)
    return case


def _json(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check,
        "state": finding.state.value,
        "cause": finding.cause,
        "words": finding.words,
        "remedy": finding.remedy,
        "facts": finding.facts,
    }
