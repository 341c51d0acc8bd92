"""`aisfs umount`: take a mount down and wait until its daemon has stored what it still holds."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from aisfs.cli import Failure, mounts
from aisfs.settings import parse_duration

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("mountpoint")
@click.option("-z", "--lazy", is_flag=True, help="take the name away even while files are open")
@click.option(
    "--wait", default="10m", show_default=True, metavar="DURATION", help="longest wait for uploads"
)
def umount(mountpoint: str, lazy: bool, wait: str) -> None:
    """Unmount MOUNTPOINT and wait until everything written to it is stored.

    Exit code 0 only when the mount is down and its daemon has ended.
    """
    try:
        limit_s = parse_duration(wait)
    except ValueError:
        raise click.UsageError(f"--wait {wait!r} is not a duration such as 30s or 10m") from None
    try:
        path = mounts.resolve(mountpoint)
    except (OSError, RuntimeError) as error:
        raise Failure(f"{mountpoint}: {error}") from None
    if mounts.mounted_at(path) is None:
        raise Failure(f"{path} is not a mount of aisfs: 'aisfs status' lists them")
    serving = mounts.daemons(path)
    if problem := mounts.unmount(path, lazy=lazy):
        raise Failure(_advice(path, problem))
    _wait_for(path, serving, limit_s)


def _advice(path: Path, problem: str) -> str:
    if "busy" in problem:
        return (
            f"{path} is in use ('fuser -vm {path}' says by whom): close the files, leave the "
            "directory and repeat, or take its name away now with --lazy"
        )
    if "not answer" in problem:
        return f"{path} does not answer: 'fusermount3 -uz {path}' takes it down at once"
    return f"{path}: {problem}"


def _wait_for(path: Path, serving: list[int], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    for pid in serving:
        if not mounts.wait_for_exit(pid, max(0.0, deadline - time.monotonic())):
            raise Failure(
                f"{path} is unmounted, but its daemon (pid {pid}) still stores data after "
                f"{limit_s:g} s: leave it running, and look at its log if it does not end"
            )


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
