"""The command line as a whole: quick help, one line for every mistake."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aisfs import __version__
from tests.support.mount import clean_environment, run_aisfs


def test_help_names_every_command() -> None:
    ended = run_aisfs("--help")
    assert ended.returncode == 0
    for command in (
        "mount",
        "umount",
        "status",
        "config",
        "doctor",
        "purge-markers",
        "demo",
        "serve",
    ):
        assert f"\n  {command} " in ended.stdout
        assert run_aisfs(command, "--help").returncode == 0


def test_help_imports_nothing_heavy() -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "aisfs", "--help"],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert not imported & {"trio", "pyfuse3", "requests", "aiohttp", "rich", "msgspec", "aisfs_sdk"}


def test_help_is_quick() -> None:
    def cpu_seconds() -> float:
        before = os.times()
        run_aisfs("--help")
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])  # those of children

    assert min(cpu_seconds() for _ in range(5)) < 0.3


INTERRUPTED_IMPORT = """
import signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from aisfs import start
start.{command}()
"""


@pytest.mark.parametrize("command", ["aisfs", "mount_helper"])
@pytest.mark.parametrize("ignored", [False, True])
def test_an_interrupt_while_modules_are_imported_shows_no_traceback(
    command: str, ignored: bool
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", INTERRUPTED_IMPORT.format(command=command), "--bogus"],
            capture_output=True,
            text=True,
            env=clean_environment(),
            check=False,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    if ignored:
        assert (ended.returncode > 0, len(ended.stderr.splitlines())) == (True, 1)
    else:
        assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_version_is_told() -> None:
    assert run_aisfs("--version").stdout == f"aisfs {__version__}\n"


def test_unknown_command_is_one_line() -> None:
    ended = run_aisfs("frobnicate")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "aisfs --help" in ended.stderr


@pytest.mark.parametrize("words", [[], ["job"]])
def test_a_group_alone_shows_its_help_as_it_is(words: list[str]) -> None:
    ended = run_aisfs(*words)
    assert ended.returncode == 2
    assert ended.stderr == run_aisfs(*words, "--help").stdout


@pytest.mark.parametrize("command", ["config", "--help"])
def test_output_that_cannot_be_written_is_no_bug(command: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "aisfs", command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (
        1,
        "aisfs: standard output: No space left on device\n",
    )


def test_closed_streams_do_no_harm() -> None:
    words = ["sh", "-c", '"$0" -m aisfs config <&- >&- 2>&-', sys.executable]
    assert subprocess.run(words, env=clean_environment(), check=False).returncode == 0


def test_a_directory_that_is_gone_is_no_bug(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = 'mkdir "$1" && cd "$1" && rmdir "$1" && "$0" -m aisfs sync .'
    ended = subprocess.run(
        ["sh", "-c", script, sys.executable, gone],
        capture_output=True, text=True, env=clean_environment(), check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (
        1,
        "aisfs: the current directory is gone: change to another one\n",
    )
