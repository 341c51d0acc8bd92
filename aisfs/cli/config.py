"""`aisfs config`: what a mount uses, or would use, and where each value comes from."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from aisfs.cli import Failure, mounts, tell_remarks
from aisfs.cli.control_handle import check_answers, opened, refusal
from aisfs.cli.mount import given_flags, setting_flags
from aisfs.cli.reference import reference
from aisfs.cli.tables import print_rows
from aisfs.config import Config, ConfigError
from aisfs.running import Reload
from aisfs.settings import describe, load, places_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SETTINGS_FILE = Path(".aisfs") / "config.json"
RELOAD_FILE = Path(".aisfs") / "reload.json"

_RELOAD_LIMIT_S = 30.0
_ASK_S = 0.05


@click.command(
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
    epilog="All flags of 'aisfs mount' may be given as well, and mean the same.",
)
@click.argument("paths", nargs=-1, metavar="[SOURCE] [MOUNTPOINT]")
@click.option("-o", "options", multiple=True, metavar="LIST", help="options as in mount(8)")
@click.option("--config", "file", metavar="FILE", default="", help="a TOML file with settings")
@click.option("--json", "as_json", is_flag=True, help="as a JSON object")
@click.option("--reload", is_flag=True, help="let the mount at MOUNTPOINT read its file again")
@click.option("--reference", "shows_reference", is_flag=True, help="all settings, in Markdown")
@setting_flags
def config(
    paths: tuple[str, ...],
    options: tuple[str, ...],
    file: str,
    as_json: bool,
    reload: bool,
    shows_reference: bool,
    **flags: str | bool | None,
) -> None:
    """Show every setting, its value, and where that comes from.

    With the MOUNTPOINT of a running mount alone: what it uses now. With anything else: what 'aisfs
    mount' would use, given the same words. Secrets are not shown.

    --reload exits 0 if the file was good, and tells what changed and what needs a remount.
    """
    given = given_flags(flags)
    if shows_reference:
        print(reference(), end="")
    elif reload:
        if len(paths) != 1 or options or file or given:
            raise click.UsageError("give --reload the MOUNTPOINT of a running mount, nothing else")
        _show_reload(_reload(_running_mount(paths[0])), as_json=as_json)
    elif len(paths) > 2:
        raise click.UsageError("too many names: give [SOURCE] [MOUNTPOINT]")
    else:
        running = None
        if len(paths) == 1 and not (options or file or given):
            running = mounts.mounted_at(_resolved(paths[0]))
        if running is not None:
            _show(_settings_of(running.path), as_json=as_json)
        else:
            _show(_settings_for(paths, options, file, given), as_json=as_json)


def _settings_for(
    paths: Sequence[str], options: Sequence[str], file: str, flags: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Return what a mount would use."""
    names = list(paths)
    try:
        source, place = places_of(file, options) if len(names) < 2 else ("", "")
        if len(names) == 2 or (names and "://" in names[0]):
            source = names.pop(0)
        path = _resolved(names[0] if names else place or "/")
        found: Config = load(source, path, options=options, flags=flags, file=file)
    except ConfigError as error:
        raise Failure(str(error)) from None
    tell_remarks(found.remarks)
    return describe(found)


def _resolved(text: str) -> Path:
    try:
        return mounts.resolve(text)
    except (OSError, RuntimeError) as error:
        raise Failure(f"mount point {text}: {error}") from None


def _settings_of(root: Path) -> list[tuple[str, str, str]]:
    """Return what a running mount uses."""
    found = json.loads(_read(root, SETTINGS_FILE))
    return [(name, each["value"], each["origin"]) for name, each in found.items()]


def _read(root: Path, control: Path) -> bytes:
    check_answers([root])
    try:
        with os.fdopen(opened(root / control, os.O_RDONLY), "rb") as file:
            return file.read()
    except OSError as error:
        raise refusal(error, root, control, "is read by") from None


def _show(rows: Sequence[tuple[str, str, str]], *, as_json: bool) -> None:
    if as_json:
        shown = {name: {"value": value, "origin": origin} for name, value, origin in rows}
        print(json.dumps(shown, indent=2))
    else:
        print_rows(("setting", "value", "from"), rows, "")


# -- reloading


def _running_mount(text: str) -> Path:
    path = _resolved(text)
    if mounts.mounted_at(path) is None:
        raise Failure(f"{text} is no mount of aisfs: 'aisfs status' lists them")
    return path


def _reload(root: Path) -> Reload:
    """Let a daemon read its file again, and return what came of it."""
    before = _last_reload(root).number
    theirs = f"the daemon of {root} is another user's: do it as that user, or as root"
    daemons = mounts.daemons(root)
    if not daemons:
        raise Failure(theirs)
    try:
        os.kill(daemons[-1], signal.SIGHUP)
    except ProcessLookupError:
        raise Failure(f"the daemon of {root} has just ended: mount it again") from None
    except PermissionError:
        raise Failure(theirs) from None
    deadline = time.monotonic() + _RELOAD_LIMIT_S
    while (last := _last_reload(root)).number == before:
        if time.monotonic() > deadline:
            raise Failure(f"the daemon of {root} has not read its file in {_RELOAD_LIMIT_S:g} s")
        time.sleep(_ASK_S)
    return last


def _last_reload(root: Path) -> Reload:
    return msgspec.json.decode(_read(root, RELOAD_FILE), type=Reload)


def _show_reload(last: Reload, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(msgspec.to_builtins(last), indent=2))
    if last.error:
        raise Failure(f"the mount goes on as it was: {last.error}")
    if not as_json:
        rows = [(name, each.old, each.new, "now") for name, each in last.changed.items()]
        rows += [(name, each.old, each.new, "remount") for name, each in last.remount.items()]
        print_rows(("setting", "was", "file says", "takes effect"), rows, "nothing is new")
