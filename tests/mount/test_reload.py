"""A mount whose configuration changes while it runs."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount, run_aisfs

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

MIB = 1 << 20
SIZE = 12 * MIB


def reload(mount: Mount, *words: str) -> CompletedProcess[str]:
    return run_aisfs("config", "--reload", mount.path, *words)


def settings(mount: Mount) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((mount.path / ".aisfs/config.json").read_text())
    return found


def configured(store: StoreProcess, toml: Path) -> Mount:
    return Mount(store.endpoint, "ais://b", environment={"AISFS_CONFIG": str(toml)})


def seconds_to_read(mount: Mount, name: str) -> float:
    began = time.monotonic()
    assert len((mount.path / name).read_bytes()) == SIZE
    return time.monotonic() - began


def test_a_cap_holds_and_is_raised_while_the_mount_runs(
    store: StoreProcess, tmp_path: Path
) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    body = os.urandom(SIZE)
    for name in ("slow", "fast"):
        bucket.object(name).put_content(body)
    toml = tmp_path / "config.toml"
    toml.write_text('[store]\nmax_rate = "4MiB"')
    with configured(store, toml) as mount:
        capped = seconds_to_read(mount, "slow")
        assert capped >= 2.5
        began = time.monotonic()
        (mount.path / "written").write_bytes(body)
        assert time.monotonic() - began >= 2.5
        assert bucket.object("written").get().read_all() == body
        toml.write_text('[store]\nmax_rate = "1GiB"')
        os.kill(mount.daemon_pid, signal.SIGHUP)
        while settings(mount)["store.max_rate"]["value"] != "1GiB":
            time.sleep(0.05)
        assert seconds_to_read(mount, "fast") < capped
        assert "store.max_rate is 1GiB from now on, was 4MiB" in mount.log


def test_what_cannot_change_is_told(store: StoreProcess, tmp_path: Path) -> None:
    store.create_bucket("b")
    toml = tmp_path / "config.toml"
    toml.write_text("")
    with configured(store, toml) as mount:
        toml.write_text(
            '[readahead]\nwindow = 0\n[staging]\nquota = "5MiB"\nwrite_back = true\n'
            '[mount]\nlisting_ttl = 0\n[log]\nlevel = "error"'
        )
        ended = reload(mount)
        assert ended.returncode == 0, ended.stderr
        rows = {line.split("\t")[0]: line.split("\t")[1:] for line in ended.stdout.splitlines()}
        assert rows["readahead.window"] == ["16MiB", "0", "now"]
        assert rows["mount.listing_ttl"] == ["1s", "0s", "now"]
        assert rows["staging.write_back"] == ["no", "yes", "remount"]
        assert "log.level" not in rows  # -o says it
        assert settings(mount)["readahead.window"]["value"] == "0"
        assert settings(mount)["staging.write_back"]["value"] == "no"
        assert "staging.write_back is still no: yes needs a remount" in mount.log
        (mount.path / "small").write_bytes(bytes(4 * MIB))
        with pytest.raises(OSError, match=r"File too large|No space"):
            (mount.path / "large").write_bytes(bytes(6 * MIB))
        again = json.loads(reload(mount, "--json").stdout)
        assert again["number"] == 2
        assert again["changed"] == {}
        assert list(again["remount"]) == ["staging.write_back"]


def test_a_bad_file_leaves_everything_as_it_is(store: StoreProcess, tmp_path: Path) -> None:
    store.create_bucket("b")
    toml = tmp_path / "config.toml"
    toml.write_text('[readahead]\nwindow = "4MiB"')
    with configured(store, toml) as mount:
        before = settings(mount)
        toml.write_text('[readahead]\nwindow = "8MiB"\nwidow = 1')
        ended = reload(mount)
        assert ended.returncode == 1
        assert "unknown setting readahead.widow (nearest: readahead.window)" in ended.stderr
        assert "the mount goes on as it was" in ended.stderr
        assert settings(mount) == before
        assert "the configuration stays as it is" in mount.log
        (mount.path / "f").write_bytes(b"it works")


def test_the_file_may_lie_on_the_mount_itself(store: StoreProcess) -> None:
    Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b") as mount:
        toml = mount.path / "config.toml"
        toml.write_text('[readahead]\nwindow = "4MiB"')
        mount.unmount()
        toml.write_text("")  # what the mount hides
        mount.options.append("nonempty")
        mount._environment["AISFS_CONFIG"] = str(toml)
        mount.mount()
        ended = reload(mount)
        assert ended.returncode == 0, ended.stderr
        assert settings(mount)["readahead.window"]["value"] == "4MiB"
        mount.unmount()
        toml.unlink()
