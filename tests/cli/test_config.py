"""`aisfs config`: what would be used, what is used, and where it comes from."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisfs.cli.reference import reference
from aisfs.setting_table import SETTINGS
from aisfs.settings import load
from tests.support.mount import Mount, run_aisfs

if TYPE_CHECKING:
    from tests.support.store import StoreProcess

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def rows(*words: str | Path, **environment: str) -> dict[str, tuple[str, str]]:
    ended = run_aisfs("config", *words, environment=environment)
    assert ended.returncode == 0, ended.stderr
    parts = (line.split("\t") for line in ended.stdout.splitlines())
    return {name: (value, origin) for name, value, origin in parts}


def refusal(*words: str | Path, **environment: str) -> tuple[int, str]:
    ended = run_aisfs("config", *words, environment=environment)
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


def test_every_rank_is_shown(tmp_path: Path) -> None:
    toml = tmp_path / "config.toml"
    toml.write_text('[cache]\nmemory = "16MiB"')
    cli = tmp_path / ".config" / "ais" / "cli"
    cli.mkdir(parents=True)
    (cli / "cli.json").write_text('{"cluster": {"url": "http://cli:1"}}')
    words = ["ais://b", f"{tmp_path}/mnt", "--config", f"{toml}", "-o", "uid=3", "--gid", "4"]
    environment = {
        "HOME": str(tmp_path), "AISFS_STORE_NO_AIS_CLI": "no",
        "AISFS_LOG_LEVEL": "debug", "AIS_AUTHN_TOKEN": "hush",
    }  # fmt: skip
    found = rows(*words, **environment)
    assert list(found) == ["source", *(setting.name for setting in SETTINGS)]
    assert found["source"] == ("ais://b", "command line")
    assert found["store.idle_timeout"] == ("20s", "default")
    assert found["store.endpoint"] == ("http://cli:1", str(cli / "cli.json"))
    assert found["cache.memory"] == ("16MiB", str(toml))
    assert found["log.level"] == ("debug", "AISFS_LOG_LEVEL")
    assert found["mount.uid"] == ("3", "-o")
    assert found["mount.gid"] == ("4", "--gid")
    assert found["store.token"] == ("(hidden)", "AIS_AUTHN_TOKEN")
    ended = run_aisfs("config", *words, "--json", environment=environment)
    shown = json.loads(ended.stdout)
    assert {name: (row["value"], row["origin"]) for name, row in shown.items()} == found
    assert "hush" not in ended.stdout


def test_nothing_needs_to_be_named() -> None:
    assert rows()["source"][0] == "ais://"
    assert rows("ais://b")["source"][0] == "ais://b"
    assert rows("/no/such/place")["source"][0] == "ais://"


def test_what_cannot_be_used_is_told_as_by_mount() -> None:
    code, said = refusal("ais://b", "/mnt", "-o", "cache-memry=1G")
    assert code == 1
    assert "unknown option 'cache-memry' (nearest: cache-memory)" in said
    assert refusal("a", "b", "c")[0] == 2


def test_a_broken_file_of_the_cluster_s_command_line_is_told(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "ais" / "cli"
    folder.mkdir(parents=True)
    (folder / "cli.json").write_text("{")
    environment = {"HOME": str(tmp_path), "AISFS_STORE_NO_AIS_CLI": "no"}
    assert str(folder / "cli.json") in refusal(**environment)[1]
    ended = run_aisfs("config", "-o", "endpoint=http://o:1", environment=environment)
    assert ended.returncode == 0
    assert str(folder / "cli.json") in ended.stderr


def test_only_a_mount_can_be_reloaded(tmp_path: Path) -> None:
    code, said = refusal("--reload", tmp_path)
    assert code == 1
    assert "is no mount of aisfs" in said
    assert refusal("--reload")[0] == 2
    assert refusal("--reload", tmp_path, "-o", "ro")[0] == 2


@pytest.mark.fuse
def test_a_mount_tells_what_it_uses(store: StoreProcess) -> None:
    store.create_bucket("b")
    environment = {"AIS_AUTHN_TOKEN": "hush"}
    with Mount(
        store.endpoint, "ais://b", options=["cache-memory=32MiB"], environment=environment
    ) as mount:
        found = rows(mount.path)
        assert found["source"] == ("ais://b", "command line")
        assert found["cache.memory"] == ("32MiB", "-o")
        assert found["store.token"] == ("(hidden)", "AIS_AUTHN_TOKEN")
        # With anything else it is what another mount would use.
        assert rows("ais://c", mount.path)["cache.memory"] == ("256MiB", "default")
        mount.kill()
        assert "is a stale mount" in refusal(mount.path)[1]
        assert "is a stale mount" in refusal("--reload", mount.path)[1]


def test_the_document_has_every_setting_as_it_is() -> None:
    page = PAGE.read_text("utf-8")
    found = re.search(r"<!-- settings -->\n(.*)<!-- /settings -->", page, re.DOTALL)
    assert found is not None
    assert found[1] == reference(), "put in what 'aisfs config --reference' prints"
    assert run_aisfs("config", "--reference").stdout == reference()


def test_the_document_s_example_can_be_used(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        text, tables = block, tomllib.loads(block)
        for name in ("token_file", "ca_file"):
            if named := tables.get("store", {}).get(name):
                text = text.replace(named, "/dev/null")
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        config = load("ais://b", Path("/mnt"), file=str(file), environment={})
        assert config.origins
