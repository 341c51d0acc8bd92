"""`aisfs demo`: a store, a bucket with real files, a mount, a tour of it, and nothing left behind.

Serves newcomers, and whoever wants one command that proves the whole way from a shell to the bytes
on a target and back. The tour consists of ordinary shell commands; each one's output is known
before it runs, so that a wrong byte is a failed demo and not a curious transcript.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from aisfs.cli import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from aisfs.cli.demo.place import Place
    from aisfs.cli.demo.tour import Tour

WITHOUT_MOUNT = 3
"""Exit code when all went well that can go without a mount."""


@click.command()
@click.option("--script", is_flag=True, help="no shell at the end; exit 0 only if all was right")
@click.option("--keep", is_flag=True, help="leave the mount and its data, and say where they are")
def demo(script: bool, keep: bool) -> int:
    """Mount sample data from a store of its own and show what can be done with it.

    With AIS_ENDPOINT set, the data goes into a new bucket of that cluster, which is removed at the
    end. Exit codes: 0 all right, 1 a step went wrong, 3 this machine cannot mount.
    """
    from aisfs.cli.demo import place  # noqa: PLC0415 - late: loads the SDK

    interactive = not script and sys.stdin.isatty() and sys.stdout.isatty()
    _end_on_signals()
    place.clean_up_dead()
    with place.Place.make(keep=keep) as here:
        return _show(here, interactive=interactive)


def _show(here: Place, *, interactive: bool) -> int:
    from aisfs.cli.demo.cluster import cluster  # noqa: PLC0415
    from aisfs.cli.demo.data import local_files, sample_objects  # noqa: PLC0415
    from aisfs.cli.demo.tour import Tour  # noqa: PLC0415

    objects = sample_objects()
    local_files(here.path / "local")
    with cluster(here, objects) as environment:
        tour = Tour(here.path, environment, objects)
        if problem := mounts.fuse_problem():
            print(f"aisfs: nothing is mounted here: {problem}", file=sys.stderr)
            return WITHOUT_MOUNT if tour.without_mount() else 1
        with _ended_at_last(here):
            right = tour.with_mount()
            if interactive:
                _run_shell(here, tour)
            elif not here.keep:
                right = tour.unmount() and right
            print(tour.verdict())
    return 0 if right else 1


@contextlib.contextmanager
def _ended_at_last(here: Place) -> Iterator[None]:
    """Take the mount down while its store still runs, so that it has nothing to wait for."""
    try:
        yield
    finally:
        if not here.keep:
            with _undisturbed():
                here.unmount()


def _run_shell(here: Place, tour: Tour) -> None:
    """Open the user's shell in the mount and wait until it is left."""
    shell = os.environ.get("SHELL") or "/bin/sh"
    print(f"This is a shell in the mount, {here.mountpoint}; 'exit' removes everything.\n")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the shell
    try:
        with subprocess.Popen([shell], cwd=here.mountpoint, env=tour.environment) as process:  # noqa: S603 - the user's own
            try:
                process.wait()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGHUP)
                raise
    finally:
        signal.signal(signal.SIGINT, before)


def _end_on_signals() -> None:
    """Let SIGTERM and a closed terminal end the demo as Ctrl-C does: with everything cleaned up."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal has it
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold back the signals that end the demo, so that a second Ctrl-C cannot stop the cleaning."""
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
