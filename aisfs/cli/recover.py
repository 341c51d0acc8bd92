"""`aisfs recover`: what mounts left unsent, and what to do about it without one.

Works on state directories. Reading is allowed while a mount uses one; everything else needs its
lock, as a mount does.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import platformdirs
import trio

from aisfs.cli import Failure, tell_remarks
from aisfs.cli.sizes import in_words
from aisfs.cli.tables import print_rows
from aisfs.config import ConfigError
from aisfs.errors import Busy, FsError
from aisfs.settings import load
from aisfs.staging.journal import Journal, Owed
from aisfs.staging.replay import Replay
from aisfs.staging.state import DATA, JOURNAL, StateDirectory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")

_COLUMNS = ("id", "object", "bytes", "since", "reason")


@dataclass(frozen=True)
class _Choice:
    """What the command's options say.

    Attributes:
        directories: the state directories that are meant.
    """

    directories: list[Path]
    as_json: bool


@click.group(invoke_without_command=True)
@click.option("--state-dir", metavar="DIR", help="one state directory; else all of this user")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
@click.pass_context
def recover(ctx: click.Context, state_dir: str | None, as_json: bool) -> int:
    """Show what mounts left unsent, and send, save or drop it.

    A mount sends by itself what earlier ones left in its state directory. This is for what it
    cannot send, and for sources that are not mounted again.
    """
    ctx.obj = _Choice(_directories(state_dir), as_json)
    return _list(ctx.obj) if ctx.invoked_subcommand is None else 0


def _directories(given: str | None) -> list[Path]:
    """Return the state directories that are meant: those that have a journal."""
    if given is not None:
        path = Path(given).absolute()
        if not (path / JOURNAL).exists():
            raise Failure(f"{path} is no state directory of a mount: it has no {JOURNAL}")
        return [path]
    above = platformdirs.user_state_path("aisfs")
    return sorted(path.parent for path in above.glob(f"*/{JOURNAL}"))


# -- list


@recover.command("list")
@click.pass_obj
def list_(choice: _Choice) -> int:
    """Show what is unsent, oldest first; also while a mount uses the directory."""
    return _list(choice)


def _list(choice: _Choice) -> int:
    rows = [_row(path, owed) for path in choice.directories for owed in _owed(path)]
    if choice.as_json:
        print(json.dumps(rows, indent=2))
        return 0
    if sys.stdout.isatty():
        for row in rows:
            row |= {"bytes": in_words(int(row["bytes"])), "since": str(row["since"])[:19]}
    print_rows(_COLUMNS, [[row[name] for name in _COLUMNS] for row in rows], "nothing is unsent")
    return 0


def _owed(directory: Path) -> list[Owed]:
    """Return the rows of a journal that a mount may be using."""

    async def read() -> list[Owed]:
        journal = Journal(directory / JOURNAL)
        try:
            return await journal.owed()
        finally:
            journal.close()

    return _run(read)


def _row(directory: Path, owed: Owed) -> dict[str, str | int]:
    return {
        "id": owed.data.removesuffix(DATA),
        "object": owed.bucket.url_of(owed.name),
        "bytes": owed.size,
        "since": owed.since,
        "reason": owed.reason or "waits to be sent",
        "complete": bool(owed.checksum),
        "file": str(directory / "staging" / owed.data),
    }


# -- replay


@recover.command()
@click.option("--endpoint", metavar="ENDPOINT", help="URL of a gateway; else as for a mount")
@click.pass_obj
def replay(choice: _Choice, endpoint: str | None) -> int:
    """Send what is unsent, as the next mount would.

    Where others changed an object meanwhile, ours is stored beside it. What cannot be sent stays.
    Exit code 0 only if nothing is left.
    """
    left = sum(_run(_replay, directory, endpoint) for directory in choice.directories)
    return 1 if left else 0


async def _replay(directory: Path, endpoint: str | None) -> int:
    """Send what one directory holds; return how much of it stays."""
    from aisfs.store.aistore import connect  # noqa: PLC0415 - loads the SDK

    flags = {} if endpoint is None else {"endpoint": endpoint}
    try:
        config = load("", Path("/"), flags=flags)
    except ConfigError as error:
        raise Failure(str(error)) from None
    tell_remarks(config.remarks)
    with _Locked(directory) as state:
        if not await state.journal.unfinished():
            return 0
        store = connect(config.store)
        try:
            await state.journal.claim(await store.cluster_uuid())
            again = Replay(store, state)
            left = await again.run(await state.journal.owed(), _say)
            for owed in left:
                why = again.failure_of(owed) or "the cluster does not answer"
                print(f"aisfs: {owed.bucket.url_of(owed.name)}: {why}", file=sys.stderr)
            if moves := await state.journal.moves():
                print(
                    f"aisfs: {len(moves)} renames of directories are left to the next mount",
                    file=sys.stderr,
                )
            return await state.journal.unfinished()
        finally:
            await store.close()


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print("aisfs:", text, file=sys.stderr)


# -- export and discard


@recover.command()
@click.argument("directory", metavar="DIR")
@click.pass_obj
def export(choice: _Choice, directory: str) -> int:
    """Copy what is unsent into DIR, one file for each, by the objects' names.

    Nothing is removed: 'discard' does that. Never overwrites a file.
    """
    for state in choice.directories:
        _run(_export, state, Path(directory))
    return 0


async def _export(directory: Path, target: Path) -> None:
    with _Locked(directory) as state:
        for owed in await state.journal.owed():
            path = _free(target / owed.bucket.name / owed.name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(state.path_of(owed), path)
            except OSError as error:
                raise Failure(f"{path}: {error.strerror}") from None
            partly = "" if owed.checksum else "\tonly what was written of it, the rest is holes"
            print(f"{path}{partly}")


def _free(path: Path) -> Path:
    """Return a path that nothing has, by a number at its end where need be."""
    number, free = 1, path
    while os.path.lexists(free):
        free, number = path.with_name(f"{path.name}.{number}"), number + 1
    return free


@recover.command()
@click.argument("identifier", metavar="ID")
@click.pass_obj
def discard(choice: _Choice, identifier: str) -> int:
    """Drop what 'list' shows as ID: its bytes are gone then."""
    if not any(_run(_discard, state, identifier) for state in choice.directories):
        raise Failure(f"nothing unsent is called {identifier}: 'aisfs recover list' shows all")
    return 0


async def _discard(directory: Path, identifier: str) -> bool:
    journal = Journal(directory / JOURNAL)
    try:
        found = [each for each in await journal.owed() if each.data == identifier + DATA]
    finally:
        journal.close()
    if not found:
        return False
    with _Locked(directory) as state:
        await state.journal.settle(found[0].data)
        state.path_of(found[0]).unlink(missing_ok=True)
    return True


# -- state directories


class _Locked:
    """A state directory that no mount uses while the block runs."""

    def __init__(self, path: Path) -> None:
        try:
            self._state = StateDirectory(path)
        except Busy:
            raise Failure(
                f"a mount uses {path}: it sends by itself what is there ('aisfs sync' waits for "
                "it); unmount it first, or name another --state-dir"
            ) from None

    def __enter__(self) -> StateDirectory:
        return self._state

    def __exit__(self, *error: object) -> None:
        self._state.close()


def _run(work: Callable[..., Awaitable[_T]], *arguments: object) -> _T:
    """Run a coroutine; what the cluster or the disk refuses is one line for the user."""
    try:
        return trio.run(work, *arguments)
    except FsError as error:
        raise Failure(str(error)) from None
