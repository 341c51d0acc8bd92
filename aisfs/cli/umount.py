"""`aisfs umount`: take a mount down and wait until its daemon has stored what it still holds."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from aisfs.cli import Failure, mounts
from aisfs.cli.fstab import FSTAB, update
from aisfs.cli.sizes import in_words
from aisfs.config import ConfigError
from aisfs.errors import FsError
from aisfs.setting_values import parse_duration
from aisfs.settings import places_of
from aisfs.staging.journal import unsent
from aisfs.staging.state import JOURNAL

_SHOWN_S = 0.5


@click.command()
@click.argument("mountpoint", required=False)
@click.option("-z", "--lazy", is_flag=True, help="take the name away even while files are open")
@click.option(
    "--wait", default="10m", show_default=True, metavar="DURATION", help="longest wait for uploads"
)
@click.option("--stale", is_flag=True, help="only take down a mount whose daemon has died")
@click.option("--config", metavar="FILE", default="", help="a TOML file that has the mount point")
@click.option("--update-fstab", is_flag=True, help="remove its line from fstab, too")
@click.option("--fstab", metavar="FILE", default=FSTAB, show_default=True, help="the file for it")
def umount(  # noqa: PLR0913 - click gives each option as an argument
    mountpoint: str | None,
    *,
    lazy: bool,
    wait: str,
    stale: bool,
    config: str,
    update_fstab: bool,
    fstab: str,
) -> None:
    """Unmount MOUNTPOINT and wait until everything written to it is stored.

    Exit code 0 only when the mount is down, its daemon has ended, and nothing is unsent.
    """
    try:
        limit_s = parse_duration(wait)
    except ValueError:
        raise click.UsageError(f"--wait {wait!r} is not a duration such as 30s or 10m") from None
    path = _resolve(mountpoint or "", config)
    if stale:
        if problem := mounts.clean_stale(path):
            raise Failure(problem)
        return
    if update_fstab:
        changed = update(Path(fstab), path, None)
        print(f"{fstab} {'has no line any more' if changed else 'had no line'} for {path}")
    if mounts.mounted_at(path) is None:
        if update_fstab:
            return
        raise Failure(f"{path} is not a mount of aisfs: 'aisfs status' lists them")
    serving = {pid: mounts.state_directory(pid) for pid in mounts.daemons(path)}
    if problem := mounts.unmount(path, lazy=lazy):
        raise Failure(_advice(path, problem))
    _wait_for(path, serving, limit_s)


def _resolve(mountpoint: str, config: str) -> Path:
    """Return the mount point that is meant, absolute.

    Raises:
        Failure: there is none.
    """
    try:
        mountpoint = mountpoint or (config and places_of(config)[1])
        if not mountpoint:
            raise click.UsageError("Missing MOUNTPOINT, or --config FILE that has it")
        return mounts.resolve(mountpoint)
    except ConfigError as error:
        raise Failure(str(error)) from None
    except (OSError, RuntimeError) as error:
        raise Failure(f"{mountpoint}: {error}") from None


def _advice(path: Path, problem: str) -> str:
    if "busy" in problem:
        return (
            f"{path} is in use ('fuser -vm {path}' says by whom): close the files, leave the "
            "directory and repeat, or take its name away now with --lazy"
        )
    if "not answer" in problem:
        return f"{path} does not answer: 'fusermount3 -uz {path}' takes it down at once"
    return f"{path}: {problem}"


def _wait_for(path: Path, serving: dict[int, Path | None], limit_s: float) -> None:
    """Wait for the daemons, and tell what they left unsent.

    Raises:
        Failure: one has not ended, or something is not on the cluster.
    """
    deadline = time.monotonic() + limit_s
    for pid, state in serving.items():
        shown = ""
        while not mounts.wait_for_exit(pid, min(_SHOWN_S, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                raise Failure(
                    f"{path} is unmounted, but after {limit_s:g} s its daemon (pid {pid}) "
                    + _business(state)
                )
            text = _left(state)
            if text not in {"", shown} and sys.stderr.isatty():
                print(f"aisfs: still to be stored: {text}", file=sys.stderr)
                shown = text
        if left := _left(state):
            raise Failure(
                f"{path} is unmounted, but not everything is stored: {left}; {state} keeps it, the "
                "next mount of the same source sends it, 'aisfs recover' shows it"
            )


def _business(state: Path | None) -> str:
    """Return in words what a daemon is at that has not ended, and what to do."""
    if left := _left(state):
        return f"still stores {left}: leave it running, and look at its log if it does not end"
    return "serves on: a program or a loop device ('losetup -a') has a file of it open still"


def _left(state: Path | None) -> str:
    """Return in words what a state directory holds, "" if nothing."""
    if state is None:
        return ""
    try:
        found = unsent(state / JOURNAL)
    except FsError as error:
        return str(error)
    texts = []
    if found.queued or found.failed:
        texts.append(f"{found.queued + found.failed} files ({in_words(found.size)})")
    if found.other:
        texts.append(f"{found.other} deletions or renames")
    return " and ".join(texts) + (f" ({found.reason})" if found.reason else "")


def end_quietly(path: Path, limit_s: float) -> bool:
    """Take down whatever of ours is at `path`, for a caller that made it; tell whether all ended.

    A daemon that has not ended within `limit_s` is killed: what it held is in its state directory.
    """
    serving = mounts.daemons(path)
    while mounts.mounted_at(path) is not None:
        if mounts.unmount(path) and mounts.unmount(path, lazy=True):
            return False
    deadline = time.monotonic() + limit_s
    ended = True
    for pid in serving:
        if not mounts.wait_for_exit(pid, max(0.0, deadline - time.monotonic())):
            ended = False
            os.kill(pid, 9)
            mounts.wait_for_exit(pid, limit_s)
    return ended
