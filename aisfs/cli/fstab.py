"""The file fstab(5): the line of one mount, added, replaced or taken out, all others untouched.

Serves `mount --update-fstab` and `umount --update-fstab`. The file is replaced as a whole by a
rename, so that nobody, not even after a crash, sees half of it.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aisfs.cli import Failure
from aisfs.setting_table import SETTINGS
from aisfs.setting_values import Kind
from aisfs.settings import describe, joined_options, mount_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aisfs.config import Config

FSTAB = "/etc/fstab"

TYPE = "aisfs"
"""As which file system mount(8) knows us: it starts /sbin/mount.aisfs."""

WORDS = ("_netdev", "nofail", "x-systemd.automount")
"""The network first; a boot that goes on without us; mounted when somebody looks."""

_OURS = {b"aisfs", b"fuse.aisfs"}
_ESCAPED = {" ": r"\040", "\t": r"\011", "\n": r"\012", "\\": r"\134", "#": r"\043"}


def line_of(config: Config, options: Iterable[str]) -> str:
    r"""Return the line by which mount(8) makes the same mount as this process would.

    So what came from the environment stands in it, too, and the TOML file's absolute name.

    Args:
        config: what is to be mounted.
        options: texts of -o, for the words that mount(8) keeps for itself.

    Raises:
        Failure: a secret would be needed, and the file can be read by everybody.
    """
    kept = [word for each in options for word in mount_words(each) if word != "defaults"]
    pairs = [(word, "yes") for word in dict.fromkeys([*WORDS, *kept])]
    by_name = {setting.name: setting for setting in SETTINGS}
    files = {origin for origin in config.origins.values() if _is_file(origin)}
    pairs += [("config", str(Path(file).absolute())) for file in files]
    for name, shown, origin in describe(config):
        if name not in config.origins or origin in {"SOURCE", *files}:
            continue
        if by_name[name].kind is Kind.TOKEN:
            raise Failure(
                f"the token of {origin} cannot stand in fstab, which everybody can read: write it "
                f"into a file that only root reads, and give -o token-file=FILE instead of {origin}"
            )
        pairs.append((by_name[name].flag, shown))
    fields = (str(config.source), os.fspath(config.mountpoint), TYPE, joined_options(pairs))
    return " ".join(_escape(field) for field in fields) + " 0 0"


def _is_file(origin: str) -> bool:
    variables = {name for each in SETTINGS for name in (each.variable, each.own_variable)}
    return origin not in {"SOURCE", *variables} and not origin.startswith("-")


def _escape(field: str) -> str:
    return "".join(_ESCAPED.get(sign, sign) for sign in field)


def with_line(text: bytes, line: str, mountpoint: Path) -> bytes:
    """Return an fstab in which `line` stands for a mount point, in the place of an older one.

    Raises:
        Failure: something else is to be mounted there.
    """
    new = os.fsencode(line) + b"\n"
    lines = text.splitlines(keepends=True)
    ours = list(_lines_of(lines, mountpoint))
    for number in ours:
        if lines[number].split()[2:3] not in [[kind] for kind in _OURS]:
            raise Failure(
                f"line {number + 1} of fstab mounts something else at {mountpoint}: remove it "
                "first, or take another mount point"
            )
    if ours:
        lines[ours[0]] = new
        return b"".join(each for number, each in enumerate(lines) if number not in ours[1:])
    end = b"" if not text or text.endswith(b"\n") else b"\n"
    return text + end + new


def without_line(text: bytes, mountpoint: Path) -> bytes:
    """Return an fstab without our line for a mount point."""
    lines = text.splitlines(keepends=True)
    ours = {
        number
        for number in _lines_of(lines, mountpoint)
        if set(lines[number].split()[2:3]) <= _OURS
    }
    return b"".join(each for number, each in enumerate(lines) if number not in ours)


def _lines_of(lines: list[bytes], mountpoint: Path) -> Iterable[int]:
    """Yield the numbers of the lines that mount anything there."""
    for number, line in enumerate(lines):
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith(b"#"):
            continue
        where = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8) & 255]), fields[1])
        if os.path.normpath(where) == os.fsencode(mountpoint):
            yield number


def update(file: Path, mountpoint: Path, line: str | None) -> bool:
    """Put a mount's line into an fstab, or take it out (None); tell whether that changed it.

    Raises:
        Failure: it cannot be done; the file is as it was.
    """
    try:
        there = file.resolve(strict=line is None)
        text = there.read_bytes() if there.exists() else b""
        new = without_line(text, mountpoint) if line is None else with_line(text, line, mountpoint)
        if new == text:
            return False
        _replace(there, new)
    except OSError as error:
        raise Failure(f"{file} cannot be changed ({error.strerror}): do it as root") from None
    return True


def _replace(file: Path, text: bytes) -> None:
    """Write a file anew, with owner and mode as they were."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as new:
            mode, owner, group = 0o644, -1, -1
            with suppress(FileNotFoundError):
                status = file.stat()
                mode, owner, group = status.st_mode & 0o7777, status.st_uid, status.st_gid
            os.fchmod(descriptor, mode)
            os.fchown(descriptor, owner, group)
            new.write(text)
            new.flush()
            os.fsync(descriptor)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
