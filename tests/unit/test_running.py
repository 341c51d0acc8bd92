"""What a file that is read again changes of a mount that runs, and what it does not."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisfs import running
from aisfs.config import Config
from aisfs.running import Change, RunningConfig
from aisfs.setting_table import SETTINGS
from aisfs.settings import describe, load, reread, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

TOML = """
[log]
level = "info"
[mount]
attribute_ttl = "2s"
[cache]
memory = "16MiB"
"""


class File:
    """A mount's TOML file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path.parent
        self.path.write_text(TOML)

    def says(self, text: str) -> None:
        self.path.write_text(text)

    def loaded(self, options: Sequence[str] = (), **environment: str) -> Config:
        environment = {"HOME": str(self.home), **environment}
        return load(
            "ais://b", Path("/mnt"), options=options, file=str(self.path), environment=environment
        )


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "config.toml")


async def test_live_settings_change_and_others_are_named(file: File) -> None:
    now = RunningConfig(file.loaded())
    seen: list[Config] = []
    now.followed_by(seen.append)
    file.says(
        '[log]\nlevel = "debug"\n[store]\nmax_rate = "1MiB"\n[cache]\nmemory = "32MiB"\n'
        "[staging]\nwrite_back = true\n"
    )
    await now.reload()
    assert now.last.number == 1
    assert now.last.error == ""
    assert now.last.changed == {
        "store.max_rate": Change("0", "1MiB"),
        "mount.attribute_ttl": Change("2s", "1s"),  # it is gone from the file
        "log.level": Change("info", "debug"),
    }
    assert now.last.remount == {
        "cache.memory": Change("16MiB", "32MiB"),
        "staging.write_back": Change("no", "yes"),
    }
    assert seen == [now.config]
    rows = {name: (value, origin) for name, value, origin in describe(now.config)}
    assert rows["store.max_rate"] == ("1MiB", str(file.path))
    assert rows["mount.attribute_ttl"] == ("1s", "default")
    assert rows["cache.memory"] == ("16MiB", str(file.path))
    assert rows["staging.write_back"] == ("no", "default")


async def test_every_reload_names_again_what_needs_a_remount(file: File) -> None:
    now = RunningConfig(file.loaded())
    file.says(TOML.replace("16MiB", "32MiB"))
    for number in (1, 2):
        await now.reload()
        assert now.last.number == number
        assert now.last.remount == {"cache.memory": Change("16MiB", "32MiB")}
    file.says(TOML)
    await now.reload()
    assert (now.last.changed, now.last.remount) == ({}, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[log]\nlevel = "loud"', "is not one of debug"),
        ('[log]\nlevel = "debug"\n[mount]\nattribute_tll = "9s"', "unknown setting"),
        ("[log", "is not TOML"),
        ('[log]\nlevel = "debug"\n[store]\nca_file = "gone.pem"', "cannot be read"),
        ('[log]\nlevel = "debug"\n[store]\nmax_rate = "1k"', "out of range"),
        (None, "no configuration file"),
    ],
)
async def test_a_bad_file_changes_nothing(
    file: File, text: str | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = file.loaded()
    now = RunningConfig(before)
    now.followed_by(lambda config: pytest.fail("nothing changed"))
    if text is None:
        file.path.unlink()
    else:
        file.says(text)
    with caplog.at_level(logging.ERROR, running.__name__):
        await now.reload()
    assert said in now.last.error
    assert said in caplog.text
    assert len(now.last.error.splitlines()) == 1
    assert (now.last.number, now.last.changed, now.last.remount) == (1, {}, {})
    assert now.config is before


def test_environment_and_command_line_stand_above_the_file_still(file: File) -> None:
    config = file.loaded(["attribute-ttl=5s"], AISFS_LOG_LEVEL="warning")
    file.says('[log]\nlevel = "debug"\n[mount]\nattribute_ttl = "9s"\nnegative_ttl = "9s"')
    again = reread(config)
    assert (again.log.level, again.mount.attribute_ttl_s) == ("warning", 5.0)
    assert again.mount.negative_ttl_s == 9.0
    assert again.origins["mount.attribute_ttl"] == "-o"


def test_the_file_stands_above_what_the_cluster_s_command_line_says(file: File) -> None:
    folder = file.home / ".config" / "ais" / "cli"
    folder.mkdir(parents=True)
    (folder / "cli.json").write_text(json.dumps({"cluster": {"url": "http://cli:1"}}))
    config = file.loaded()
    assert reread(config).store.endpoint == "http://cli:1"
    file.says('[store]\nendpoint = "http://toml:1"')
    assert reread(config).store.endpoint == "http://toml:1"


def test_a_size_that_stood_for_memory_does_so_still(file: File) -> None:
    file.says('[cache]\nsize = "16MiB"')
    config = file.loaded(["cache-size=32MiB"])
    again = reread(config)
    assert (again.cache.memory, again.cache.size) == (32 << 20, 0)


def test_a_file_that_was_never_there_gives_the_defaults(tmp_path: Path) -> None:
    config = Config(load("", Path("/"), file="/dev/null", environment={}).source, Path("/"))
    again = reread(config)
    assert all(shown(each, again) == shown(each, config) for each in SETTINGS)


async def test_one_that_appears_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    now = RunningConfig(load("ais://b", Path("/mnt"), environment={}))
    await now.reload()
    assert (now.last.error, now.last.changed) == ("", {})
    (tmp_path / "aisfs").mkdir()
    (tmp_path / "aisfs" / "config.toml").write_text('[log]\nlevel = "debug"')
    await now.reload()
    assert now.last.changed == {"log.level": Change("info", "debug")}


def test_a_relative_name_is_that_of_the_same_file_elsewhere(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.home)
    config = load("ais://b", Path("/mnt"), file="config.toml", environment={})
    monkeypatch.chdir("/")
    file.says('[log]\nlevel = "debug"')
    assert reread(config).log.level == "debug"
    assert reread(config).cache.memory == Config(config.source, Path("/")).cache.memory


async def test_secrets_are_told_by_nobody(file: File, caplog: pytest.LogCaptureFixture) -> None:
    now = RunningConfig(file.loaded())
    file.says('[store]\ntoken = "hush"')
    with caplog.at_level(logging.DEBUG):
        await now.reload()
    assert now.last.remount["store.token"] == Change("", "(hidden)")
    assert "hush" not in f"{now.last} {caplog.text}"
