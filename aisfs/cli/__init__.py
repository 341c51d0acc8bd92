"""The command line `aisfs`: one module per command, each loaded when it is asked for.

Serves users, mount(8), systemd and scripts. Whatever goes wrong is one line on standard error and
an exit code: 2 for a command that was typed wrong, 32 for any failed `mount` (as mount(8) has it),
130 after Ctrl-C, 1 for the rest. A traceback is for the log, never for the terminal.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from aisfs import __version__
from aisfs.control.verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import ReadableBuffer as Buffer

_COMMANDS = {
    "mount": "Mount a bucket, a prefix, or all buckets of a cluster.",
    "umount": "Unmount, and wait until everything is stored.",
    "systemd": "Install the units that run mounts as services.",
    "warm": "Fill the cache with files before they are read.",
    "sync": "Wait until files are on the cluster.",
    "recover": "Show, send, save or drop what mounts left unsent.",
    "status": "List the mounts of this machine.",
    "config": "Show every setting and where its value comes from.",
    "doctor": "Say why a mount does not work, or would not work.",
    "bucket": "Create, destroy, rename and set up buckets of the cluster.",
    "etl": "List, start, stop and delete transformers of the cluster.",
    "job": "List, show, await and stop jobs of the cluster.",
    "purge-markers": "Remove from a bucket what keeps its empty directories.",
    "demo": "Mount sample data from a store of its own and show it.",
    "serve": "Run the embedded store alone.",
}
_HIDDEN = ("daemon",)
GROUPED = {
    "bucket": ("create", "destroy", "rename", "set", "make-copies"),
    "etl": ("etl-init", "etl-start", "etl-stop", "etl-delete"),
    "job": ("abort",),
}
"""The cluster's own verbs that are in groups."""

_VERBS = {
    verb.name: verb.help
    for verb in VERBS.values()
    if not any(verb.name in group for group in GROUPED.values())
}
"""The others."""

MOUNT_FAILURE = 32
"""Exit code of `mount`, whatever kept it from mounting (mount(8))."""


class Failure(click.ClickException):
    """A command that cannot do its work: one line for the user, and an exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def tell_remarks(remarks: Iterable[str]) -> None:
    """Tell the user what a configuration has to say of itself."""
    for remark in remarks:
        print("aisfs:", remark, file=sys.stderr)


class _LateGroup(click.Group):
    """Imports a command's module when the command is used, so that `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return [*_COMMANDS, *_VERBS]

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name in _VERBS:
            return importlib.import_module("aisfs.cli.verb").command_of(cmd_name)  # type: ignore[no-any-return]
        if cmd_name not in _COMMANDS and cmd_name not in _HIDDEN:
            return None
        module = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"aisfs.cli.{module}"), module)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click would say an empty line first
            raise click.Abort from None

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))
        with formatter.section("Work of the cluster"):
            formatter.write_dl([(name, _sentence(text)) for name, text in _VERBS.items()])


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="aisfs %(version)s")
def cli() -> None:
    """Use NVIDIA AIStore as a filesystem."""


def main() -> NoReturn:
    """Run the command that the process's arguments name, and exit."""
    logging.getLogger().addHandler(logging.NullHandler())  # what libraries warn of is for a log
    _prepare_output()
    if "://" in "".join(sys.argv[1:2]) or sys.argv[1:2] == ["none"]:  # mount -t fuse.aisfs
        importlib.import_module("aisfs.cli.mount_helper").main()
    try:
        catch_interrupts()
        code = cli.main(prog_name="aisfs", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        code = error.exit_code
    except click.UsageError as error:
        code = _say(f"{error.format_message()} ({_help_of(error)} says how)", error)
    except click.ClickException as error:
        code = _say(error.format_message(), error)
    except click.Abort:
        print("aisfs: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of our output has gone; say nothing more
        code = 1
    except Exception as error:  # noqa: BLE001 - the last resort: a bug gets one line, too
        if isinstance(error, FileNotFoundError) and _is_nowhere():
            print("aisfs: the current directory is gone: change to another one", file=sys.stderr)
        else:
            say_bug(error)
        code = MOUNT_FAILURE if "mount" in sys.argv[1:2] else 1
    sys.exit(code)


def catch_interrupts() -> None:
    """Have Ctrl-C raise `KeyboardInterrupt` again, which it does not since `aisfs.start`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Output(io.FileIO):
    """Standard output: that it takes no more is no bug, and is told once."""

    _failed = False

    def write(self, data: Buffer, /) -> int:
        if self._failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except BrokenPipeError:
            self._failed = True
            raise
        except OSError as error:
            self._failed = True
            raise Failure(f"standard output: {error.strerror}") from error


def _prepare_output() -> None:
    """Have all streams there, which may be closed, and let names through that are no text."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            null = Path(os.devnull).open("r+")  # noqa: SIM115 - as long as the process lives
            setattr(sys, name, null)
    shown = sys.stdout
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(os.dup(shown.fileno()), "w")),
        encoding=shown.encoding,
        errors="surrogateescape",
        line_buffering=shown.isatty(),
    )


def _is_nowhere() -> bool:
    """Tell whether the directory that we are in was removed: relative paths lead nowhere then."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _help_of(error: click.UsageError) -> str:
    return f"{error.ctx.command_path if error.ctx else 'aisfs'} --help"


def _say(message: str, error: click.ClickException) -> int:
    print("aisfs:", " ".join(message.split()), file=sys.stderr)
    context = getattr(error, "ctx", None)
    return (
        MOUNT_FAILURE
        if context and context.info_name == "mount"
        else getattr(error, "code", error.exit_code)
    )


def say_bug(error: Exception) -> None:
    """Put the traceback into a file and its name on the terminal."""
    import tempfile  # noqa: PLC0415 - needed for bugs only
    import traceback  # noqa: PLC0415

    with tempfile.NamedTemporaryFile(
        "w", prefix="aisfs-error-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        traceback.print_exception(error, file=log)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"aisfs: an error in aisfs itself ({text}): please report {log.name}", file=sys.stderr)
