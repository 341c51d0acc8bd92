"""The man pages and shell completions that packages carry: made of the command line itself.

mount.aisfs(8), which mount(8) calls, is written by hand.

`python -m tests.docs.pages` writes them anew to docs/man/man1 and docs/completions.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click_man.core import write_man_pages  # type: ignore[import-untyped]

from aisfs.cli import cli
from tests.docs.blocks import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

MAN = ROOT / "docs" / "man" / "man1"
COMPLETIONS = ROOT / "docs" / "completions"
SHELLS = {"bash": "aisfs.bash", "zsh": "_aisfs", "fish": "aisfs.fish"}


def man_pages() -> dict[str, str]:
    """Return the man page of each command, by file name, without the day on which it was made."""
    context = click.Context(cli, info_name="aisfs")
    whole = click.Group("aisfs", help=cli.help, params=list(cli.params))
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        _say_whole(command)
        whole.add_command(command, name)
    with tempfile.TemporaryDirectory() as directory:
        write_man_pages("aisfs", whole, version="", target_dir=directory)
        return {path.name: _plain(path.read_text("utf-8")) for path in Path(directory).iterdir()}


def _say_whole(command: click.Command) -> None:
    """Let a command's first line be its short help, which else is cut off."""
    command.short_help = (command.help or "").strip().partition("\n")[0].rstrip(".")
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        _say_whole(each)


def _plain(page: str) -> str:
    return re.sub(r'^(\.TH "[^"]*" "1") "[^"]*".*$', r"\1", page, count=1, flags=re.MULTILINE)


def completions() -> dict[str, str]:
    """Return what each shell has to source, by file name."""
    script = "import sys; sys.argv[0] = 'aisfs'; from aisfs.cli import cli; cli(prog_name='aisfs')"
    return {
        name: subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"_AISFS_COMPLETE": f"{shell}_source"},
            capture_output=True, text=True, check=True,
        ).stdout
        for shell, name in SHELLS.items()
    }  # fmt: skip


def _write(directory: Path, files: Mapping[str, str]) -> None:
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    for name, text in files.items():
        (directory / name).write_text(text, "utf-8")


if __name__ == "__main__":
    _write(MAN, man_pages())
    _write(COMPLETIONS, completions())
