"""The values of a mount's settings, and where each comes from.

Serves the command line, which hands the finished `Config` on; nothing else of aisfs reads the
environment. What there is to be set is in `setting_table`. Unknown names and bad values are errors.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from aisfs import ais_cli
from aisfs.config import Config, ConfigError, Source, nearest
from aisfs.setting_table import SETTINGS
from aisfs.setting_values import Kind, Setting, Value, parse, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_OTHER_VARIABLES = ("AISFS_CONFIG", "AISFS_REQUIRE_FUSE", "AISFS_SEED", "AISFS_TEST_")
"""Names (or starts of names) that begin with AISFS_ and are no settings."""

_MOUNT_WORDS = re.compile(
    r"defaults|_r?netdev|(no)?fail|(no)?auto|(no)?user|users|owner|group|silent|loud"
    r"|(no)?(relatime|strictatime|lazytime|atime|diratime|dev|suid)|exec|async"
    r"|([xX]-|comment=|user=|fsname=|subtype=).*"
)
"""Options that mount(8) and fstab carry for themselves, or that are always so here."""

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
        values[setting] = (parse(setting, text, origin), origin)
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
            values[setting] = (parse(setting, text, origin), origin)
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
    return show(setting, _value(setting, config))


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
            found[_BY_NAME[name]] = (parse(_BY_NAME[name], text, str(file)), str(file))
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
