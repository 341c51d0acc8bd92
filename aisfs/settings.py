"""Every setting of a mount: its name, kind and range, and where its value may come from.

Serves the command line, which hands the finished `Config` on; nothing else of aisfs reads the
environment. One table, `SETTINGS`, drives the TOML file, the environment, the `-o` list, the flags
and the documentation, so that they cannot drift apart. Unknown names and bad values are errors.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from aisfs import ais_cli
from aisfs.config import (
    Config,
    ConfigError,
    Control,
    Source,
    nearest,
    parse_address,
    parse_endpoint,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


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


_HOUR_S = 3600.0
_MIB = 1 << 20
_LARGEST_ID = (1 << 32) - 2

SETTINGS = (
    Setting(
        "store", "endpoint", Kind.ENDPOINT, "endpoint", "URL of a gateway", variable="AIS_ENDPOINT"
    ),
    Setting("store", "token", Kind.TOKEN, "", "authentication token", variable="AIS_AUTHN_TOKEN"),
    Setting(
        "store",
        "token_file",
        Kind.FILE,
        "token-file",
        "file that holds the token",
        variable="AIS_AUTHN_TOKEN_FILE",
    ),
    Setting(
        "store",
        "ca_file",
        Kind.FILE,
        "ca-file",
        "certificates to trust, PEM",
        variable="AIS_CLIENT_CA",
    ),
    Setting(
        "store", "client_cert", Kind.FILE, "cert", "client certificate, PEM", variable="AIS_CRT"
    ),
    Setting(
        "store",
        "client_key",
        Kind.FILE,
        "key",
        "the client certificate's key, PEM",
        variable="AIS_CRT_KEY",
    ),
    Setting(
        "store",
        "skip_verify",
        Kind.SWITCH,
        "insecure",
        "accept any server certificate",
        variable="AIS_SKIP_VERIFY_CRT",
    ),
    Setting(
        "store",
        "connect_timeout_s",
        Kind.DURATION,
        "connect-timeout",
        "longest wait for a connection",
        least=0.1,
        most=_HOUR_S,
    ),
    Setting(
        "store",
        "first_byte_timeout_s",
        Kind.DURATION,
        "timeout",
        "longest wait for the start of an answer",
        least=0.1,
        most=_HOUR_S,
    ),
    Setting(
        "store",
        "idle_timeout_s",
        Kind.DURATION,
        "idle-timeout",
        "longest pause within an answer",
        least=0.1,
        most=_HOUR_S,
    ),
    Setting(
        "store",
        "connections",
        Kind.COUNT,
        "connections",
        "most connections at once",
        least=1,
        most=1024,
    ),
    Setting(
        "store",
        "transport",
        Kind.TRANSPORT,
        "transport",
        "how small reads travel: direct, on sockets of their own, or sdk",
    ),
    Setting(
        "store",
        "no_ais_cli",
        Kind.SWITCH,
        "no-ais-cli",
        "take nothing from what AIS's own command line is set up for",
    ),
    Setting(
        "store",
        "max_rate",
        Kind.SIZE,
        "max-rate",
        "most bytes in a second, read and written together; 0: no limit",
        least=256 << 10,
        or_zero=True,
        live=True,
    ),
    Setting(
        "store",
        "max_requests",
        Kind.COUNT,
        "max-requests",
        "most requests in a second; 0: no limit",
        least=1,
        most=1_000_000,
        or_zero=True,
        live=True,
    ),
    Setting(
        "cache", "memory", Kind.SIZE, "cache-memory", "memory for what was read", least=8 * _MIB
    ),
    Setting(
        "cache", "dir", Kind.PATH, "cache-dir", "directory where what was read outlives the mount"
    ),
    Setting(
        "cache",
        "size",
        Kind.SIZE,
        "cache-size",
        "most that cache-dir may take; 0 is the smaller of 10 GiB and half of the free "
        "space; where no cache-dir is given, another name of cache-memory",
        least=8 * _MIB,
        or_zero=True,
    ),
    Setting(
        "cache",
        "free",
        Kind.SIZE,
        "cache-free",
        "what cache-dir leaves free on its disk; 0 is the smaller of 1 GiB and 5 %",
    ),
    Setting(
        "readahead",
        "window",
        Kind.SIZE,
        "readahead",
        "how far a sequential reader is read ahead; 0: nothing is read that nobody asked for",
        live=True,
    ),
    Setting("staging", "state_dir", Kind.PATH, "state-dir", "where unsent data is kept"),
    Setting(
        "staging",
        "quota",
        Kind.SIZE,
        "staging-quota",
        "room for unsent data; 0 is the smaller of 10 GiB and half of the free space",
        live=True,
    ),
    Setting(
        "staging",
        "stream_after",
        Kind.SIZE,
        "stream-after",
        "a new file that is longer is sent while it is written; 0: at close and fsync only",
    ),
    Setting(
        "staging",
        "write_back",
        Kind.SWITCH,
        "write-back",
        "let close return when the content is durable here, and send it afterwards",
    ),
    Setting(
        "staging",
        "drain_timeout_s",
        Kind.DURATION,
        "drain-timeout",
        "how long an unmount sends what is unsent; the rest is left to the next mount",
        most=24 * _HOUR_S,
        live=True,
    ),
    Setting(
        "views",
        "spool",
        Kind.SIZE,
        "view-spool",
        "room below state-dir for what views unpack; 0 is the smaller of 10 GiB and half of the "
        "free space",
    ),
    Setting("mount", "read_only", Kind.SWITCH, "ro", "refuse every change"),
    Setting("mount", "allow_other", Kind.SWITCH, "allow-other", "let other users in"),
    Setting("mount", "uid", Kind.COUNT, "uid", "owner shown", most=_LARGEST_ID),
    Setting("mount", "gid", Kind.COUNT, "gid", "group shown", most=_LARGEST_ID),
    Setting("mount", "umask", Kind.MODE, "umask", "permissions taken away"),
    Setting("mount", "file_mode", Kind.MODE, "file-mode", "mode of files that carry none"),
    Setting("mount", "dir_mode", Kind.MODE, "dir-mode", "mode of directories that carry none"),
    Setting("mount", "noexec", Kind.SWITCH, "noexec", "run no programs from the mount"),
    Setting("mount", "nonempty", Kind.SWITCH, "nonempty", "mount over a directory with files"),
    Setting(
        "mount", "persist_owner", Kind.SWITCH, "persist-owner", "show the owners that objects carry"
    ),
    Setting(
        "mount",
        "bucket_ops",
        Kind.SWITCH,
        "bucket-ops",
        "let mkdir and rmdir create and destroy buckets",
    ),
    Setting(
        "mount", "no_delete", Kind.SWITCH, "no-delete", "refuse to remove or replace what is there"
    ),
    Setting(
        "mount",
        "no_overwrite",
        Kind.SWITCH,
        "no-overwrite",
        "refuse to write to or replace what is stored; new files can be made",
    ),
    Setting(
        "mount",
        "commands",
        Kind.VERBS,
        "commands",
        "what the cluster may be told to do: all, none, or verbs such as copy:archive",
    ),
    Setting(
        "mount",
        "control",
        Kind.CONTROL,
        "control",
        "the directory .aisfs in the mount's root: hidden, found by name only; visible; or off",
    ),
    Setting(
        "mount",
        "attribute_ttl_s",
        Kind.DURATION,
        "attribute-ttl",
        "age up to which attributes are believed",
        most=24 * _HOUR_S,
        live=True,
    ),
    Setting(
        "mount",
        "negative_ttl_s",
        Kind.DURATION,
        "negative-ttl",
        "age up to which a missing name is believed missing",
        most=24 * _HOUR_S,
        live=True,
    ),
    Setting(
        "mount",
        "listing_ttl_s",
        Kind.DURATION,
        "listing-ttl",
        "age up to which a listing is believed",
        most=24 * _HOUR_S,
        live=True,
    ),
    Setting("mount", "fuse_debug", Kind.SWITCH, "fuse-debug", "log every kernel request"),
    Setting("log", "level", Kind.LEVEL, "log-level", "least severity that is logged", live=True),
    Setting("log", "file", Kind.PATH, "log-file", "where the log goes"),
    Setting("log", "format", Kind.FORMAT, "log-format", "text, or json: one object for each line"),
    Setting(
        "log",
        "slow_s",
        Kind.DURATION,
        "log-slow",
        "a request of the kernel that takes longer is logged; 0: none is",
        most=_HOUR_S,
    ),
    Setting(
        "metrics",
        "listen",
        Kind.ADDRESS,
        "metrics-listen",
        "HOST:PORT where metrics can be scraped; a port alone is for this machine only",
    ),
)
"""Everything that may be set, in the order of the documentation."""

_OTHER_VARIABLES = ("AISFS_CONFIG", "AISFS_REQUIRE_FUSE", "AISFS_SEED", "AISFS_TEST_")
"""Names (or starts of names) that begin with AISFS_ and are no settings."""

_MOUNT_WORDS = re.compile(
    r"defaults|_r?netdev|(no)?fail|(no)?auto|(no)?user|users|owner|group|silent|loud"
    r"|(no)?(relatime|strictatime|lazytime|atime|diratime|dev|suid)|exec|async"
    r"|([xX]-|comment=|user=|fsname=|subtype=).*"
)
"""Options that mount(8) and fstab carry for themselves, or that are always so here."""

Value = str | int | float | bool
_Values = dict[Setting, tuple[Value, str]]
"""Setting → its value, and where that comes from."""


def split_options(text: str) -> list[tuple[str, str]]:
    r"""Split a mount(8) list into (name, value) pairs; a word without "=" gets the value "yes".

    A comma or backslash within a value has a backslash before it. What mount(8) keeps for itself
    is dropped; `rw` is the opposite of `ro`.
    """
    pairs = []
    for word in _words(text):
        if _MOUNT_WORDS.fullmatch(word):
            continue
        name, separator, value = word.partition("=")
        if word == "rw":
            name, value = "ro", "no"
        elif not separator:
            value = "yes"
        pairs.append((name, value))
    return pairs


def mount_words(text: str) -> list[str]:
    """Return what `split_options` drops of a list: the words that mount(8) keeps for itself."""
    return [word for word in _words(text) if _MOUNT_WORDS.fullmatch(word)]


def joined_options(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a list of which `split_options` makes these pairs."""
    words = (name if value == "yes" else f"{name}={value}" for name, value in pairs)
    return ",".join(re.sub(r"([\\,])", r"\\\1", word) for word in words)


def _words(text: str) -> list[str]:
    words = re.findall(r"(?:\\.|[^,\\]|\\$)+", text, re.DOTALL)
    return [re.sub(r"\\(.)", r"\1", each) for each in words]


def load(
    source: str,
    mountpoint: Path,
    *,
    options: Iterable[str] = (),
    flags: Mapping[str, str] | None = None,
    file: str = "",
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Put a mount's configuration together.

    Defaults < what AIS's command line is set up for < TOML file < environment < -o < flags.

    Args:
        source: as `Source.parse` takes it.
        mountpoint: absolute.
        options: texts of -o.
        flags: flat name → text, as on the command line.
        file: the TOML file; "" takes that of `config` in -o, else of AISFS_CONFIG, else the user's
            own, if there is one.
        environment: None for the process's own.

    Raises:
        ConfigError: a name is unknown, a value cannot be used, or the file cannot be read.
    """
    variables = os.environ if environment is None else environment
    options = tuple(options)
    file = file or _file_of(options)
    values: _Values = {}
    for setting, text, origin in (
        *_from_file(file, variables),
        *_from_environment(variables),
        *_from_options(options),
        *_from_flags(flags or {}),
    ):
        values[setting] = (_parse(setting, text, origin), origin)
    what = Source.parse(source)
    if what.endpoint:
        endpoint = next(each for each in SETTINGS if each.variable == "AIS_ENDPOINT")
        given, origin = values.get(endpoint, (what.endpoint, ""))
        if given != what.endpoint and origin in {"-o", "--endpoint"}:
            raise ConfigError(f"SOURCE is {what.endpoint}, the endpoint {given}: give only one")
        values[endpoint] = (what.endpoint, "SOURCE")
    remarks = _add_ais_cli(values, variables.get("HOME", ""))
    path = _file_path(file, variables).absolute()
    return replace(_build(what, mountpoint, values), file=path, remarks=remarks)


def reread(config: Config) -> Config:
    """Return a configuration with what its TOML file says now; all else stays.

    Raises:
        ConfigError: the file is gone or cannot be used.
    """
    values: _Values = {}
    file = str(config.file)
    if file in config.origins.values() or config.file.exists():
        for setting, text, origin in _from_file(file, {}):
            values[setting] = (_parse(setting, text, origin), origin)
    for setting in SETTINGS:
        origin = config.origins.get(setting.name, file)
        lower = ais_cli.wrote(origin) and setting in values
        if origin != file and not lower:
            values[setting] = (_value(setting, config), origin)
    if config.origins.get("cache.memory", file) != file and not config.cache.size:
        values.pop(_BY_NAME["cache.size"], None)  # it was another name of what is settled above
    again = _build(config.source, config.mountpoint, values)
    return replace(again, file=config.file, remarks=config.remarks)


def adopt(config: Config, found: Config) -> Config:
    """Return a configuration with the live settings of another one."""
    live = [setting for setting in SETTINGS if setting.live]
    values = {setting: _value(setting, found) for setting in live}
    origins = dict(config.origins)
    for setting in live:
        origins.pop(setting.name, None)
        if setting.name in found.origins:
            origins[setting.name] = found.origins[setting.name]
    return replace(_with_values(config, values), origins=origins)


def _value(setting: Setting, config: Config) -> Value:
    value: Value = getattr(getattr(config, setting.section), setting.key)
    return value


def shown(setting: Setting, config: Config) -> str:
    """Return a setting's value as text; of a secret only whether there is one."""
    return _show(setting, _value(setting, config))


def places_of(file: str, options: Iterable[str] = ()) -> tuple[str, str]:
    """Return what the TOML file says above its sections: `source` and `mountpoint`, "" if nothing.

    Args:
        file: as for `load`.
        options: as for `load`.

    Raises:
        ConfigError: it cannot be read, or one of them is no text.
    """
    path, tables = _tables(file or _file_of(options), os.environ)
    source, mountpoint = (_place(tables, name, path) for name in PLACES)
    if mountpoint:
        mountpoint = str(path.absolute().parent / Path(mountpoint).expanduser())
    return source, mountpoint


def _place(tables: Mapping[str, object], name: str, path: Path) -> str:
    text = tables.get(name, "")
    if not isinstance(text, str):
        raise ConfigError(f'{path}: {name} must be a text, as in {name} = "{PLACES[name]}"')
    return text


def describe(config: Config) -> list[tuple[str, str, str]]:
    """Return (name, value, origin) of each setting, as TOML names and texts, secrets removed."""
    rows = [("source", str(config.source), "command line")]
    for setting in SETTINGS:
        origin = config.origins.get(setting.name, "default")
        rows.append((setting.name, shown(setting, config), origin))
    return rows


def _build(source: Source, mountpoint: Path, values: Mapping[Setting, tuple[Value, str]]) -> Config:
    values = _without_alias(values)
    plain = {setting: value for setting, (value, _) in values.items()}
    origins = {setting.name: origin for setting, (_, origin) in values.items()}
    config = replace(_with_values(Config(source, mountpoint), plain), origins=origins)
    if bool(config.store.client_cert) != bool(config.store.client_key):
        raise ConfigError("a client certificate needs its key: give both cert and key, or neither")
    return config


def _with_values(config: Config, values: Mapping[Setting, Value]) -> Config:
    sections = {}
    for section in {setting.section for setting in values}:
        changes = {s.key: value for s, value in values.items() if s.section == section}
        sections[section] = replace(getattr(config, section), **changes)
    return replace(config, **sections)


def _without_alias(
    values: Mapping[Setting, tuple[Value, str]],
) -> Mapping[Setting, tuple[Value, str]]:
    """Let cache-size stand for cache-memory where nothing is kept on disk."""
    memory, directory, size = (_BY_FLAG[f"cache-{word}"] for word in ("memory", "dir", "size"))
    if not values.get(size, (0, ""))[0] or values.get(directory, ("", ""))[0]:
        return values
    if memory in values and values[memory][0] != values[size][0]:
        raise ConfigError(
            f"cache-memory ({values[memory][1]}) and cache-size ({values[size][1]}) both say how "
            "much memory the cache takes: give only one, or cache-dir for cache-size to limit"
        )
    return {memory if each is size else each: value for each, value in values.items()}


PLACES = {"source": "ais://BUCKET", "mountpoint": "/mnt/data"}
"""What a TOML file may have above its sections, for a mount that is started without words."""


def _file_path(file: str, environment: Mapping[str, str]) -> Path:
    """Return the TOML file that is to be read, if it is there."""
    chosen = file or environment.get("AISFS_CONFIG", "")
    return Path(chosen) if chosen else platformdirs.user_config_path("aisfs") / "config.toml"


def _tables(file: str, environment: Mapping[str, str]) -> tuple[Path, dict[str, object]]:
    """Read the TOML file that is to be used; return its name as well."""
    chosen = file or environment.get("AISFS_CONFIG", "")
    path = _file_path(file, environment).absolute()
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if chosen:
            raise ConfigError(f"no configuration file {path}: name one that exists") from None
        return path, {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def _from_file(file: str, environment: Mapping[str, str]) -> Iterator[tuple[Setting, str, str]]:
    path, tables = _tables(file, environment)
    known = {setting.name: setting for setting in SETTINGS}
    for section, table in tables.items():
        if section in PLACES:
            continue
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {section!r} stands outside of a section such as [mount]")
        for key, value in table.items():
            name = f"{section}.{key.replace('-', '_')}"
            if name not in known:
                raise ConfigError(f"{path}: unknown setting {name}{nearest(name, known)}")
            yield known[name], _toml_text(known[name], value, path), str(path)


def _add_ais_cli(values: _Values, home: str) -> tuple[str, ...]:
    """Add what is named nowhere else and AIS's command line knows; return what went wrong.

    Raises:
        ConfigError: its file cannot be used, and nothing else names the cluster.
    """
    if not home or values.get(_BY_NAME["store.no_ais_cli"], (False, ""))[0]:
        return ()
    remarks, folder = [], ais_cli.folder(home)
    file, token_file = folder / ais_cli.CONFIGURATION, folder / ais_cli.TOKEN
    try:
        _add_connection(values, file)
    except ConfigError as error:
        if _BY_NAME["store.endpoint"] not in values:
            raise ConfigError(f"{error}: mend it, or name an endpoint") from None
        remarks.append(f"{error}: nothing is taken from that file")
    if not any(_BY_NAME[name] in values for name in ("store.token", "store.token_file")):
        try:
            if ais_cli.has_token(token_file):
                values[_BY_NAME["store.token_file"]] = (str(token_file), str(token_file))
        except ConfigError as error:
            remarks.append(f"{error}: no token is sent")
    return tuple(remarks)


def _add_connection(values: _Values, file: Path) -> None:
    found: _Values = {}
    for name, text in ais_cli.connection(file).items():
        try:
            found[_BY_NAME[name]] = (_parse(_BY_NAME[name], text, str(file)), str(file))
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from None
    if any(_BY_NAME[name] in values for name in ais_cli.TLS):
        for name in ais_cli.TLS:
            found.pop(_BY_NAME[name], None)
    values.update({setting: value for setting, value in found.items() if setting not in values})


def _toml_text(setting: Setting, value: object, path: Path) -> str:
    if setting.kind is Kind.MODE and not isinstance(value, str):
        raise ConfigError(f'{path}: {setting.name} is octal: write it in quotes, as in "022"')
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, (str, int, float)):
        raise ConfigError(f"{path}: {setting.name} must be {setting.kind.value}")
    if setting.kind in {Kind.PATH, Kind.FILE} and value:
        return str(path.absolute().parent / Path(str(value)).expanduser())
    return str(value)


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[Setting, str, str]]:
    own = {setting.own_variable: setting for setting in SETTINGS}
    for name in environment:
        if name.startswith("AISFS_") and name not in own and not name.startswith(_OTHER_VARIABLES):
            raise ConfigError(f"unknown variable {name} in the environment{nearest(name, own)}")
    for setting in SETTINGS:
        for name in (setting.variable, setting.own_variable):
            if text := environment.get(name, ""):
                yield setting, text, name


_BY_FLAG = {setting.flag: setting for setting in SETTINGS if setting.flag}
_BY_NAME = {setting.name: setting for setting in SETTINGS}


def _file_of(options: Iterable[str]) -> str:
    """Return the TOML file that -o names, "" if none."""
    named = [text for each in options for name, text in split_options(each) if name == "config"]
    return named[-1] if named else ""


def _from_options(options: Iterable[str]) -> Iterator[tuple[Setting, str, str]]:
    for each in options:
        for name, text in split_options(each):
            if name == "config":
                continue
            yield _by_flag(name), text, "-o"


def _from_flags(flags: Mapping[str, str]) -> Iterator[tuple[Setting, str, str]]:
    for name, text in flags.items():
        setting = _by_flag(name)
        yield setting, text, f"--{setting.flag}"


def _by_flag(name: str) -> Setting:
    flat = name.replace("_", "-")
    if flat == "token":
        raise ConfigError(
            "a token on the command line can be read by every user: "
            "use token-file=FILE or AIS_AUTHN_TOKEN"
        )
    if flat not in _BY_FLAG:
        hint = nearest(flat, _BY_FLAG) or ": 'aisfs mount --help' lists them"
        raise ConfigError(f"unknown option {name!r}{hint}")
    return _BY_FLAG[flat]


_VERBS = re.compile(r"[a-z-]+(?::[a-z-]+)*")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|)", re.ASCII)
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": _HOUR_S}
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
    least, most = _show(setting, setting.least), _show(setting, setting.most)
    zero = "0, or " if setting.or_zero else ""
    if setting.most == _NO_LIMIT:
        return f"{zero}from {least}"
    return f"{zero}{least} to {most}"


def _parse(setting: Setting, text: str, origin: str) -> Value:
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
        least, most = _show(setting, setting.least), _show(setting, setting.most)
        raise ConfigError(f"{where}: {text} is out of range: give {least} to {most}")
    return value


def _show(setting: Setting, value: Value) -> str:
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
