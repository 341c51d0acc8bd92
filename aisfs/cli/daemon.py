"""`aisfs daemon`: the process that serves one mount. Hidden: only `aisfs mount` starts it.

Its configuration comes through standard input. In front it may be a service of systemd, which it
then tells that the mount answers. In the background it reports on descriptor `REPORT_FD`, in lines:
"progress" and how far the start is, any number of times, then "ready", or "error" and one line for
the user. It leaves the caller's session only then: an automounter lets nobody but the caller's
process group reach the mount point before.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys

import click

from aisfs import logs
from aisfs.cli import MOUNT_FAILURE, Failure
from aisfs.config import Config, ConfigError
from aisfs.errors import Forbidden, FsError, Invalid, IoFailure, NotFound, TimedOut, Unreachable
from aisfs.notify import Notifier

REPORT_FD = 3

_log = logging.getLogger(__name__)


@click.command(hidden=True)
@click.option("--front", is_flag=True)
@click.argument("source")
@click.argument("mountpoint")
def daemon(front: bool, source: str, mountpoint: str) -> int:  # noqa: ARG001 - for ps
    """Serve one mount until it is unmounted."""
    config = Config.from_json(sys.stdin.buffer.read())
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    return _serve_in_front(config) if front else _serve_behind(config)


def _serve_in_front(config: Config) -> int:
    file = config.log_file if config.log.file else None
    journal = os.environ.get("JOURNAL_STREAM", "")
    logs.configure(config.log.level, file, config.log.format, journal)
    faulthandler.enable()
    manager = Notifier.of_environment(os.environ)
    report = _ManagerReport(manager, f"{config.source} is mounted at {config.mountpoint}")
    try:
        return _serve(config, report, manager)
    except (ConfigError, FsError) as error:
        raise Failure(_with_advice(error, config), MOUNT_FAILURE) from None


def _serve_behind(config: Config) -> int:
    os.set_inheritable(REPORT_FD, False)  # a helper of the mount must not keep it open
    report = _Report(REPORT_FD)
    try:
        logs.configure(config.log.level, config.log_file, config.log.format)
        faulthandler.enable()
        return _serve(config, report, Notifier())
    except (ConfigError, FsError) as error:
        _log.info("not mounted: %s", error)
        report.send(f"error {_with_advice(error, config)}")
    except Exception as error:  # noqa: BLE001 - a bug, too, must reach who waits for us
        _log.exception("the daemon of %s ends", config.mountpoint)
        kind = type(error).__name__
        report.send(f"error an error in aisfs itself ({kind}: {error}): see {config.log_file}")
    return MOUNT_FAILURE


def _serve(config: Config, report: _Report | _ManagerReport, manager: Notifier) -> int:
    from aisfs.daemon import run  # noqa: PLC0415 - late: loads pyfuse3 and trio

    return run(config, report.ready, shown=report.progress, manager=manager)


def _with_advice(error: ConfigError | FsError, config: Config) -> str:
    """Return what went wrong, and what the user can do about it."""
    advice = ""
    if isinstance(error, NotFound):
        advice = ": create it first, or name one that exists"
    elif isinstance(error, Forbidden):
        advice = ": give a token that may, with AIS_AUTHN_TOKEN or token-file"
    elif isinstance(error, (Invalid, IoFailure, Unreachable, TimedOut)):
        where = f"is {config.store.endpoint} the gateway's address?"
        advice = f": {where} AIS_ENDPOINT or --endpoint sets it"
    return f"{error}{advice}"


class _ManagerReport:
    """What a service manager gets to know of the start, if there is one."""

    def __init__(self, manager: Notifier, status: str) -> None:
        self._manager = manager
        self._status = status

    def ready(self) -> None:
        """Tell that the mount answers."""
        self._manager.ready(self._status)

    def progress(self, text: str) -> None:
        """Tell how far the start is."""
        self._manager.starting(text)


class _Report:
    """What the process that waits for the mount gets to know."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def ready(self) -> None:
        """Leave the caller's session and tell it that the mount answers.

        Standard error stays the log: what a library or the interpreter says on it is not lost.
        """
        with contextlib.suppress(PermissionError):  # leads its group already
            os.setsid()
        os.chdir("/")
        self.send("ready")

    def progress(self, text: str) -> None:
        """Send how far the start is."""
        self._write(f"progress {text}")

    def send(self, line: str) -> None:
        """Send the last line, if it was not sent yet."""
        self._write(line)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, line: str) -> None:
        """Write a line; a caller that has gone does not matter."""
        if self._descriptor < 0:
            return
        text = " ".join(line.split()) + "\n"
        try:
            os.write(self._descriptor, text.encode("utf-8", "replace"))
        except BrokenPipeError:
            _log.warning("the process that asked for the mount has gone")
