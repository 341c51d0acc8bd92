"""What a setting is, and what its text looks like: read, checked and shown.

Serves `settings`, and whoever shows settings. Sizes are bytes, durations seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from aisfs.config import ConfigError, Control, parse_address, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

Value = str | int | float | bool

_NO_LIMIT = 1 << 60


class Kind(Enum):
    """What a setting's text looks like; the value says it to the user."""

    SIZE = "a size such as 256MiB, 1G or 64k"
    DURATION = "a duration such as 1s, 500ms or 2m"
    COUNT = "a whole number"
    MODE = "an octal mode such as 022 or 0644"
    SWITCH = "yes or no"
    ENDPOINT = "an endpoint such as http://127.0.0.1:8080"
    PATH = "the name of a file or directory"
    FILE = "the name of a file that can be read"
    TOKEN = "a token"  # noqa: S105 - the word, not a secret
    LEVEL = "one of debug, info, warning, error"
    TRANSPORT = "direct or sdk"
    CONTROL = "hidden, visible or off"
    FORMAT = "text or json"
    ADDRESS = "an address such as 127.0.0.1:9101"
    VERBS = "all, none, or verbs of the cluster such as copy:archive"


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that may be set.

    Attributes:
        section: field of `Config`, table of the TOML file.
        key: field of the section.
        flag: short name on the command line and in `-o`; "" when it may not stand there.
        least, most: range of sizes, durations and counts, in bytes, seconds and units.
        or_zero: 0 is no value of the range, but may be given: it chooses the default, or no limit.
        variable: the name in the environment that AIS's own clients use, "" if none.
        live: a mount that is told to reload takes another value without a remount.
    """

    section: str
    key: str
    kind: Kind
    flag: str
    help: str
    least: float = 0
    most: float = _NO_LIMIT
    or_zero: bool = False
    variable: str = ""
    live: bool = False

    @property
    def name(self) -> str:
        """`section.name` as in the TOML file; units belong to the value there."""
        return f"{self.section}.{self.key.removesuffix('_s')}"

    @property
    def own_variable(self) -> str:
        """The mount's name in the environment."""
        return "AISFS_" + self.name.replace(".", "_").upper()


_VERBS = re.compile(r"[a-z-]+(?::[a-z-]+)*")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|)", re.ASCII)
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SWITCHES = {
    text: value
    for value, texts in ((True, ("yes", "true", "on", "1")), (False, ("no", "false", "off", "0")))
    for text in texts
}


def parse_duration(text: str) -> float:
    """Read a duration into seconds; a bare number is seconds.

    Raises:
        ValueError: it is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return float(match[1]) * _SECONDS[match[2]]


def _parse_size(text: str) -> int:
    """Read a size; units are powers of 1024, whichever way they are spelt, as in dd and mount."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def _parse_mode(text: str) -> int:
    mode = int(text.removeprefix("0o"), 8)
    if not 0 <= mode <= 0o777:
        raise ValueError(text)
    return mode


def _parse_path(text: str) -> str:
    return str(Path(text).expanduser().absolute()) if text else ""


def _parse_file(text: str) -> str:
    path = _parse_path(text or ".")
    try:
        with Path(path).open("rb"):
            return path
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _parse_level(text: str) -> str:
    if text.lower() not in {"debug", "info", "warning", "error"}:
        raise ValueError(text)
    return text.lower()


def _parse_transport(text: str) -> str:
    if text.lower() not in {"direct", "sdk"}:
        raise ValueError(text)
    return text.lower()


def _parse_control(text: str) -> Control:
    return Control(text.lower())


def _parse_format(text: str) -> str:
    if text.lower() not in {"text", "json"}:
        raise ValueError(text)
    return text.lower()


def _parse_listen(text: str) -> str:
    if text:
        parse_address(text)
    return text


def _parse_verbs(text: str) -> str:
    if not _VERBS.fullmatch(text):
        raise ValueError(text)
    return text


def _parse_switch(text: str) -> bool:
    if text.lower() not in _SWITCHES:
        raise ValueError(text)
    return _SWITCHES[text.lower()]


_PARSERS: dict[Kind, Callable[[str], Value]] = {
    Kind.SIZE: _parse_size,
    Kind.DURATION: parse_duration,
    Kind.COUNT: int,
    Kind.MODE: _parse_mode,
    Kind.SWITCH: _parse_switch,
    Kind.ENDPOINT: parse_endpoint,
    Kind.PATH: _parse_path,
    Kind.FILE: _parse_file,
    Kind.TOKEN: str,
    Kind.LEVEL: _parse_level,
    Kind.TRANSPORT: _parse_transport,
    Kind.CONTROL: _parse_control,
    Kind.FORMAT: _parse_format,
    Kind.ADDRESS: _parse_listen,
    Kind.VERBS: _parse_verbs,
}


_RANGED = {Kind.SIZE, Kind.DURATION, Kind.COUNT}


def values_of(setting: Setting) -> str:
    """Return in words what a setting takes."""
    if setting.kind not in _RANGED:
        return setting.kind.value
    least, most = show(setting, setting.least), show(setting, setting.most)
    zero = "0, or " if setting.or_zero else ""
    if setting.most == _NO_LIMIT:
        return f"{zero}from {least}"
    return f"{zero}{least} to {most}"


def parse(setting: Setting, text: str, origin: str) -> Value:
    """Read a setting's text.

    Args:
        setting: which it is.
        text: as somebody wrote it.
        origin: where that was, for the error.

    Raises:
        ConfigError: it is no value of the setting.
    """
    where = f"{origin}: " if origin.startswith("AIS") else ""
    where += setting.name if "/" in origin else setting.flag or setting.name
    try:
        value = _PARSERS[setting.kind](text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except (ValueError, RuntimeError):  # the latter: of a user "~NAME" whom nobody knows
        raise ConfigError(f"{where}: {text!r} is not {setting.kind.value}") from None
    ranged = setting.kind in _RANGED and not (setting.or_zero and value == 0)
    if ranged and not setting.least <= float(value) <= setting.most:
        least, most = show(setting, setting.least), show(setting, setting.most)
        raise ConfigError(f"{where}: {text} is out of range: give {least} to {most}")
    return value


def show(setting: Setting, value: Value) -> str:
    """Return a value as text that `parse` reads; of a secret only that there is one."""
    text = str(value)
    match setting.kind:
        case Kind.SIZE:
            text = _show_size(int(value))
        case Kind.DURATION:
            text = f"{value:g}s"
        case Kind.MODE | Kind.COUNT if int(value) < 0:
            text = ""
        case Kind.MODE:
            text = f"{value:04o}"
        case Kind.COUNT:
            text = f"{value:.0f}"
        case Kind.SWITCH:
            text = "yes" if value else "no"
        case Kind.TOKEN:
            text = "(hidden)" if value else ""
        case Kind.ENDPOINT | Kind.PATH | Kind.FILE | Kind.LEVEL | Kind.TRANSPORT:
            pass
        case Kind.FORMAT | Kind.ADDRESS | Kind.CONTROL | Kind.VERBS:
            pass
    return text


def _show_size(size: int) -> str:
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return str(size)
