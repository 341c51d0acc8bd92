"""What is taken over from AIS's own command line, and what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisfs.config import Config, ConfigError
from aisfs.settings import describe, load

if TYPE_CHECKING:
    from collections.abc import Sequence

# As `ais` writes it when it is first used.
WRITTEN: dict[str, dict[str, object]] = {
    "cluster": {
        "url": "http://gateway:51080",
        "default_ais_host": "http://127.0.0.1:8080",
        "default_docker_host": "http://172.50.0.2:8080",
        "client_crt": "",
        "client_crt_key": "",
        "client_ca_tls": "",
        "skip_verify_crt": False,
    },
    "timeout": {"tcp_timeout": "60s", "http_timeout": "0s"},
    "auth": {"url": "http://127.0.0.1:52001"},
    "aliases": {"ls": "bucket ls"},
}


class Home:
    """A home directory in which `ais` was used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / ".config" / "ais" / "cli"
        self.folder.mkdir(parents=True)
        self.file = self.folder / "cli.json"
        self.token = self.folder / "auth.token"
        self.write()

    def write(self, section: str = "cluster", **changes: object) -> None:
        sections = {name: dict(each) for name, each in WRITTEN.items()}
        sections[section] |= changes
        self.file.write_text(json.dumps(sections, indent=4))

    def loaded(self, source: str = "ais://b", options: Sequence[str] = (), **more: str) -> Config:
        environment = {"HOME": str(self.path), **more}
        return load(
            source, Path("/mnt/x"), options=options, file="/dev/null", environment=environment
        )

    def rows(self, **more: str) -> dict[str, tuple[str, str]]:
        return {name: (value, origin) for name, value, origin in describe(self.loaded(**more))}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_its_cluster_is_mounted_where_nothing_else_is_named(home: Home) -> None:
    config = home.loaded()
    assert config.store.endpoint == "http://gateway:51080"
    assert config.origins == {"store.endpoint": str(home.file)}
    assert config.remarks == ()


def test_what_is_named_anywhere_else_wins(home: Home, tmp_path: Path) -> None:
    toml = tmp_path / "config.toml"
    toml.write_text('[store]\nendpoint = "http://toml:1"')
    environment = {"HOME": str(home.path)}
    by_file = load("ais://b", Path("/mnt/x"), file=str(toml), environment=environment)
    assert by_file.store.endpoint == "http://toml:1"
    assert home.loaded(AIS_ENDPOINT="http://env:1").store.endpoint == "http://env:1"
    assert home.loaded("http://source:1").store.endpoint == "http://source:1"
    assert home.loaded(options=["endpoint=http://o:1"]).store.endpoint == "http://o:1"


def test_its_default_host_stands_for_an_empty_url(home: Home) -> None:
    home.write(url="", default_ais_host="http://host:1")
    assert home.loaded().store.endpoint == "http://host:1"


def test_its_certificates_are_taken_together_or_not_at_all(home: Home) -> None:
    names = {"client_crt": "crt", "client_crt_key": "key", "client_ca_tls": "ca"}
    files = {key: home.path / name for key, name in names.items()}
    for file in files.values():
        file.touch()
    given = {key: str(file) for key, file in files.items()}
    home.write(**given, skip_verify_crt=True)
    store = home.loaded().store
    assert store.ca_file == given["client_ca_tls"]
    assert (store.client_cert, store.client_key) == (given["client_crt"], given["client_crt_key"])
    assert store.skip_verify
    ours = home.path / "our-ca"
    ours.touch()
    store = home.loaded(AIS_CLIENT_CA=str(ours)).store
    assert store.ca_file == str(ours)
    assert not store.skip_verify  # else our certificate would count for nothing
    assert (store.client_cert, store.client_key) == ("", "")


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 3.0), ("0s", 3.0), ("1m30s", 3.0), ("10s", 10.0), ("500ms", 0.5)]
)
def test_its_limit_counts_if_somebody_chose_it(home: Home, text: str, seconds: float) -> None:
    home.write("timeout", tcp_timeout=text, http_timeout="1h")
    assert home.loaded().store.connect_timeout_s == seconds
    assert home.loaded().store.first_byte_timeout_s == 20.0


def test_its_token_is_the_last_resort(home: Home) -> None:
    assert home.rows()["store.token_file"] == ("", "default")
    home.token.write_text('{"token": "hush"}')
    assert home.rows()["store.token_file"] == (str(home.token), str(home.token))
    assert home.loaded(AIS_AUTHN_TOKEN="other").store.token_file == ""
    ours = home.path / "ours"
    ours.write_text("third")
    assert home.loaded(AIS_AUTHN_TOKEN_FILE=str(ours)).store.token_file == str(ours)


@pytest.mark.parametrize("content", ['{"token": ""}', "{}", "hush", '{"token": 7}', "\udcff"])
def test_a_token_file_without_token_is_told_and_not_used(home: Home, content: str) -> None:
    home.token.write_bytes(content.encode(errors="surrogateescape"))
    config = home.loaded()
    assert config.store.token_file == ""
    (remark,) = config.remarks
    assert str(home.token) in remark
    assert "no token is sent" in remark
    assert "hush" not in remark


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"cluster": {"url": 7}}', '{"cluster": {"url": "gateway"}}', "\udcff"]
)
def test_a_broken_file_is_an_error_only_where_it_is_needed(home: Home, content: str) -> None:
    home.file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        home.loaded()
    assert str(home.file) in str(caught.value)
    assert "name an endpoint" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    config = home.loaded(AIS_ENDPOINT="http://env:1")
    assert config.origins == {"store.endpoint": "AIS_ENDPOINT"}
    (remark,) = config.remarks
    assert str(home.file) in remark


def test_a_file_that_cannot_be_read_is_told(home: Home) -> None:
    home.file.unlink()
    home.file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        home.loaded()


def test_it_can_be_left_alone(home: Home) -> None:
    home.token.write_text('{"token": "hush"}')
    config = home.loaded(AISFS_STORE_NO_AIS_CLI="yes")
    assert config.origins == {"store.no_ais_cli": "AISFS_STORE_NO_AIS_CLI"}
    home.file.write_text("{")
    assert home.loaded(options=["no-ais-cli"]).remarks == ()


def test_nothing_is_sought_without_a_home(home: Home) -> None:
    config = load("ais://b", Path("/mnt/x"), file="/dev/null", environment={})
    assert config.origins == {}


def test_a_home_in_which_nobody_used_it_gives_nothing(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    config = load("ais://b", Path("/mnt/x"), file="/dev/null", environment=environment)
    assert (config.origins, config.remarks) == ({}, ())
