"""What AIS's own command line keeps in `~/.config/ais/cli`, as far as a mount can use it.

Serves `settings`, where it comes right after the defaults: whoever has set up `ais` need not say
the same again. AIS: cmd/cli/config; `authn.LoadToken`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from aisfs.config import ConfigError

T = TypeVar("T")

CONFIGURATION = "cli.json"
TOKEN = "auth.token"  # noqa: S105 - a file's name

_FOLDER = (".config", "ais", "cli")

TLS = ("store.ca_file", "store.client_cert", "store.client_key", "store.skip_verify")
"""Settings that are taken together or not at all: what the one allows must not undo the other."""

_TIMEOUT = re.compile(r"(?!60s|0+[a-z])\d+(\.\d+)?(ms|s|m)")
"""60 s is what `ais` writes into every file by itself: far longer than a mount may wait. Go takes
other forms, too (`1m30s`): not worth refusing a mount."""


class _Cluster(msgspec.Struct):
    url: str = ""
    default_ais_host: str = ""
    client_crt: str = ""
    client_crt_key: str = ""
    client_ca_tls: str = ""
    skip_verify_crt: bool = False


class _Timeout(msgspec.Struct):
    tcp_timeout: str = ""


class _File(msgspec.Struct):
    cluster: _Cluster = msgspec.field(default_factory=_Cluster)
    timeout: _Timeout = msgspec.field(default_factory=_Timeout)


class _TokenFile(msgspec.Struct):
    token: str = ""


def folder(home: str) -> Path:
    """Return where the command line keeps its files, for a user with this home directory."""
    return Path(home, *_FOLDER)


def wrote(origin: str) -> bool:
    """Tell whether a value comes from there."""
    return Path(origin).parts[-4:-1] == _FOLDER


def connection(file: Path) -> dict[str, str]:
    """Return the settings that a `cli.json` gives, as TOML name → text; nothing if it is not there.

    Docker is not asked for an address. `http_timeout` is left out: it limits whole transfers.

    Raises:
        ConfigError: it cannot be read.
    """
    found = _read(file, _File)
    if found is None:
        return {}
    cluster, timeout = found.cluster, found.timeout.tcp_timeout
    given = {
        "store.endpoint": cluster.url or cluster.default_ais_host,
        "store.ca_file": cluster.client_ca_tls,
        "store.client_cert": cluster.client_crt,
        "store.client_key": cluster.client_crt_key,
        "store.skip_verify": "yes" if cluster.skip_verify_crt else "",
        "store.connect_timeout": timeout if _TIMEOUT.fullmatch(timeout) else "",
    }
    return {name: text for name, text in given.items() if text}


def has_token(file: Path) -> bool:
    """Tell whether there is a token file, as `ais auth login` writes it.

    Raises:
        ConfigError: there is one, but it cannot be read, or holds no token.
    """
    found = _read(file, _TokenFile)
    if found is not None and not found.token:
        raise ConfigError(f"{file} holds no token")
    return found is not None


def _read(file: Path, kind: type[T]) -> T | None:
    """Return a file's content; None if there is no such file."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Without what the decoder says: it could be a piece of a token.
        raise ConfigError(f"{file} is not what `ais` writes there") from None
