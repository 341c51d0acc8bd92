"""Telling a mount's daemon paths through a control file, and reading what becomes of them.

Serves `warm` and `sync`. A task of the daemon belongs to the descriptor that its paths were written
to, and ends with it.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aisfs.cli import Failure, mounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ASK_S = 0.1
_PIECE = 64 << 10


class ControlHandle:
    """An open control file that paths were written to.

    Raises:
        OSError: it cannot be opened or written.
    """

    def __init__(self, file: Path, paths: Iterable[str]) -> None:
        self._descriptor = opened(file, os.O_RDWR)
        text = b"".join(os.fsencode(path) + b"\n" for path in paths)
        for start in range(0, len(text), _PIECE):
            self._write(text[start : start + _PIECE])

    def _write(self, piece: bytes) -> None:
        """Hand paths over; a daemon that has enough of them for now gets them later."""
        while piece:
            try:
                piece = piece[os.write(self._descriptor, piece) :]
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                time.sleep(_ASK_S)

    def told(self) -> str:
        """Return what the daemon tells of the task now."""
        text = b""
        while part := os.pread(self._descriptor, 1 << 20, len(text)):
            text += part
        return os.fsdecode(text)

    def close(self) -> None:
        """End the task."""
        with suppress(OSError):  # the daemon has died
            os.close(self._descriptor)


def opened(file: Path, flags: int) -> int:
    """Open a control file, and nothing that a mount without any has at its place."""
    from aisfs.vfs.control_tree import FIRST_INO  # noqa: PLC0415 - late: loads trio

    descriptor = os.open(file, flags | os.O_CLOEXEC)
    if os.fstat(descriptor).st_ino < FIRST_INO:
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
    return descriptor


def refusal(error: OSError, root: Path, control: Path, busy: str) -> Failure:
    """Return in words why a control file was not opened.

    Args:
        error: what opening it raised.
        root: the mount point.
        control: the file, relative to it.
        busy: what the mount does for too many others.
    """
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return Failure(
            f"{root} has no {control}: it is mounted with control=off, by another release, or is "
            "a part of a mount: mount it again without control=off, or name a path below the "
            "mount's own root"
        )
    if error.errno == errno.EBUSY:
        return Failure(f"{root} {busy} too many others: try again later")
    return Failure(f"{root / control}: {error.strerror}")


def by_mount(paths: Sequence[str]) -> dict[Path, list[str]]:
    """Return mount point → what to bring there, relative to it; nothing is named twice."""
    roots = sorted({each.path for each in mounts.mounted()}, key=lambda p: -len(p.parts))
    found: dict[Path, list[str]] = {}
    answering: set[Path] = set()
    for text in paths:
        lexical = Path(text).absolute()
        above = {root for root in roots if lexical.is_relative_to(root)}
        check_answers(above - answering)
        answering |= above
        try:
            path = Path(text).resolve(strict=True)
        except (OSError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or error
            raise Failure(f"{text}: {why}") from None
        root = next((root for root in roots if path.is_relative_to(root)), None)
        if root is None:
            raise Failure(f"{text} is not in a mount of aisfs: 'aisfs status' lists them")
        relative = str(path.relative_to(root))
        if "\n" in relative:
            raise Failure(f"{text!r}: name the directory that it is in, for its name has two lines")
        found.setdefault(root, []).append("" if relative == "." else relative)
    return {root: outermost(relative) for root, relative in found.items()}


def check_answers(roots: Iterable[Path]) -> None:
    """Make sure that a mount answers before anything waits for it.

    Raises:
        Failure: it does not.
    """
    for root in roots:
        code = mounts.probe(root)
        if mounts.is_stale(code):
            raise Failure(
                f"{root} is a stale mount, its daemon has died: 'aisfs umount {root}', then mount "
                "it again"
            )
        if code == mounts.NO_ANSWER:
            raise Failure(f"{root} does not answer: 'fusermount3 -uz {root}' takes it down")


def outermost(paths: list[str]) -> list[str]:
    """Return paths without those that are named twice, or lie below another one."""
    kept: dict[str, None] = {}
    for path in sorted(set(paths), key=len):
        above = [path[:end] for end, sign in enumerate(path) if sign == "/"]
        if "" not in kept and not any(each in kept for each in above):
            kept[path] = None
    return [path for path in dict.fromkeys(paths) if path in kept]
