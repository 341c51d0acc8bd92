"""The program `mount.aisfs`: how mount(8), fstab and systemd's mount units mount.

mount(8) calls `/sbin/mount.aisfs SRC DIR [-sfnv] [-o LIST]`; for the type `fuse.aisfs`, fuse's own
helper calls `aisfs SRC DIR -o LIST`, which ends up here, too. It makes the same mount as `aisfs
mount`, but for two things: a stale mount at the place is taken down first, since nobody is there
who could, and the exit codes are those of mount(8). Below an automounter the
same happens when the daemon dies later, so that the next look mounts anew (`guard`).
"""

from __future__ import annotations

import getopt
import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import click

from aisfs.cli import MOUNT_FAILURE, Failure, catch_interrupts, guard, mounts, say_bug
from aisfs.cli.mount import configuration, problem_of, start_daemon
from aisfs.setting_table import SETTINGS
from aisfs.settings import joined_options, split_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisfs.config import Config

USAGE, BUG, INTERRUPTED = 1, 4, 8
"""Exit codes of mount(8), besides `MOUNT_FAILURE`."""

EARLIER_LIMIT_S = 60.0
"""Longest wait for the daemon of an earlier mount, which has the state directory: below the 90 s
that systemd gives a mount."""

_NOTHING = "none"
"""What fstab has as source where there is none: all buckets of the endpoint."""


@dataclass(frozen=True, slots=True)
class _Call:
    """What mount(8) asks for."""

    source: str
    mountpoint: str
    options: list[tuple[str, str]]
    fake: bool
    verbose: bool


def main() -> NoReturn:
    """Mount as the process's arguments say, and exit."""
    logging.getLogger().addHandler(logging.NullHandler())  # what libraries warn of is for a log
    try:
        catch_interrupts()
        _mount(_parse(sys.argv[1:]))
        code = 0
    except getopt.GetoptError as error:
        code = _say(f"{error.msg}: mount.aisfs SOURCE MOUNTPOINT [-sfnv] [-o LIST]", USAGE)
    except click.ClickException as error:
        code = _say(error.format_message(), MOUNT_FAILURE)
    except KeyboardInterrupt:
        code = _say("interrupted", INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug gets one line, too
        say_bug(error)
        code = BUG
    sys.exit(code)


def _say(message: str, code: int) -> int:
    print("mount.aisfs:", " ".join(message.split()), file=sys.stderr)
    return code


def _parse(arguments: Sequence[str]) -> _Call:
    """Read the arguments.

    Raises:
        GetoptError: they are none of mount(8).
    """
    given, names = getopt.gnu_getopt(arguments, "sfnvo:t:N:")
    letters = [letter for letter, _ in given]
    if len(names) != 2:
        raise getopt.GetoptError("a source and a mount point are needed")
    if "-N" in letters:
        raise getopt.GetoptError("-N is not known here, use nsenter(1)")
    pairs = [pair for letter, text in given if letter == "-o" for pair in split_options(text)]
    if "-s" in letters:
        known = {"remount", "config", *(each.flag for each in SETTINGS if each.flag)}
        pairs = [pair for pair in pairs if pair[0].replace("_", "-") in known]
    source = "" if names[0] == _NOTHING else names[0]
    return _Call(source, names[1], pairs, fake="-f" in letters, verbose="-v" in letters)


def _mount(call: _Call) -> None:
    """Do what was asked for.

    Raises:
        ClickException: it cannot be done.
    """
    if ("remount", "yes") in call.options:
        raise Failure(
            f"a mount of aisfs cannot be changed: 'aisfs umount {call.mountpoint}', then mount it "
            "again with the new options"
        )
    config = configuration([call.source, call.mountpoint], [joined_options(call.options)], {}, "")
    if problem := problem_of(config) if call.fake else _serve(config):
        raise Failure(problem)
    if call.verbose:
        done = "could be mounted" if call.fake else "is mounted"
        print(f"mount.aisfs: {config.source} {done} on {config.mountpoint}")


def _serve(config: Config) -> str:
    """Mount, in the place of what died there; return why not, or ""."""
    path = config.mountpoint
    if problem := mounts.clean_stale(path):
        return problem
    automounted = mounts.automounted(path)
    if automounted and mounts.mounted_at(path) is None:
        with suppress(OSError), os.scandir(path):
            pass  # it mounts now, unless it is the one that called us
        there = mounts.mounted_at(path)
        if there and there.source == str(config.source):
            return ""
    if mounts.mounted_at(path) is None:
        for pid in mounts.daemons(path):  # still stores what was written before an unmount
            mounts.wait_for_exit(pid, EARLIER_LIMIT_S)
    problem = problem_of(config) or start_daemon(config)
    if automounted and not problem:
        guard.start(mounts.daemons(path)[-1], os.fspath(path))
    return problem
