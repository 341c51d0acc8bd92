"""`aisfs systemd`: the units as they are installed, and what must never be in them."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from aisfs.cli.helper_link import program
from aisfs.cli.systemd import UNIT, unit_text, units
from tests.support.mount import run_aisfs
from tests.support.not_run import leave_out

ROOT = Path(__file__).resolve().parents[2]

HIDING = (
    "PrivateTmp PrivateMounts PrivateIPC ProtectSystem ProtectHome ProtectKernelTunables "
    "ProtectKernelModules ProtectKernelLogs ProtectControlGroups ProtectProc ProcSubset "
    "ReadWritePaths ReadOnlyPaths InaccessiblePaths BindPaths BindReadOnlyPaths "
    "TemporaryFileSystem MountFlags DynamicUser"
)
"""Each gives the service mounts of its own: the start succeeds, and nobody sees the mount."""

FAILING = "PrivateDevices PrivateUsers"

IMPLYING_NO_NEW_PRIVILEGES = (
    "NoNewPrivileges LockPersonality MemoryDenyWriteExecute PrivateDevices ProtectClock "
    "ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables "
    "RestrictAddressFamilies RestrictNamespaces RestrictRealtime RestrictSUIDSGID "
    "SystemCallArchitectures SystemCallFilter SystemCallLog"
)
"""An ordinary user mounts by fusermount3, which is set-user-id."""


def settings(text: str) -> dict[str, list[str]]:
    """Return a unit's settings by name."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("user", [False, True])
def test_no_unit_hides_its_mount(user: bool) -> None:
    assert not set(settings(unit_text(user=user))) & set(f"{HIDING} {FAILING}".split())


def test_unit_of_a_user_implies_no_no_new_privileges() -> None:
    assert not set(settings(unit_text(user=True))) & set(IMPLYING_NO_NEW_PRIVILEGES.split())


@pytest.mark.parametrize("user", [False, True])
def test_units_run_a_mount_that_notifies_and_is_waited_for(user: bool) -> None:
    found = settings(unit_text(user=user))
    assert found["Type"] == ["notify"]
    assert found["KillMode"] == ["mixed"]
    assert found["Restart"] == ["on-failure"]
    assert "ExecStop" not in found
    assert "WatchdogSec" in found
    for name in ("ExecStartPre", "ExecStopPost"):
        assert found[name][0].startswith("-/usr/bin/aisfs umount --stale --config ")


def test_wheel_gets_the_units() -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = tables["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"systemd": "aisfs/systemd"}
    assert (ROOT / "systemd" / UNIT).exists()


def test_install_names_this_program_and_uninstall_leaves_nothing(tmp_path: Path) -> None:
    ended = run_aisfs("systemd", "install", "--root", tmp_path)
    assert ended.returncode == 0, ended.stderr
    unit = tmp_path / "etc/systemd/system" / UNIT
    link = tmp_path / "sbin/mount.aisfs"
    assert str(unit) in ended.stdout
    text = unit.read_text("utf-8")
    plain = text.replace('"', "")  # which a path with blanks needs
    assert f"ExecStart={program('aisfs')} mount --foreground" in plain
    assert "/usr/bin/aisfs" not in text
    assert link.readlink() == program("mount.aisfs")
    assert run_aisfs("systemd", "install", "--root", tmp_path).returncode == 0
    ended = run_aisfs("systemd", "uninstall", "--root", tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert not unit.exists()
    assert not link.is_symlink()
    assert "is not there" in run_aisfs("systemd", "uninstall", "--root", tmp_path).stdout


def test_install_for_a_user_goes_to_his_own(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    ended = run_aisfs("systemd", "install", "--user", environment=environment)
    assert ended.returncode == 0, ended.stderr
    assert "systemctl --user daemon-reload" in ended.stdout
    unit = tmp_path / "config/systemd/user" / UNIT
    assert "WantedBy=default.target" in unit.read_text("utf-8")
    ended = run_aisfs("systemd", "uninstall", "--user", environment=environment)
    assert (ended.returncode, unit.exists()) == (0, False)


def test_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "etc").touch()
    ended = run_aisfs("systemd", "install", "--root", tmp_path)
    assert ended.returncode == 1
    assert "cannot be written" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_systemd_understands_all_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        leave_out("there is no systemd-analyze")
        return
    run_aisfs("systemd", "install", "--root", tmp_path)
    for example in (units() / "examples").iterdir():
        shutil.copy(example, tmp_path / "etc/systemd/system")
    drop_in = tmp_path / f"etc/systemd/system/{UNIT}.d"
    drop_in.mkdir()
    shutil.move(tmp_path / "etc/systemd/system/token.conf", drop_in)
    system = [str(path) for path in (tmp_path / "etc/systemd/system").glob("*.*") if path.is_file()]
    assert len(system) == 3
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    run_aisfs("systemd", "install", "--user", environment=environment)
    user = str(tmp_path / "systemd/user" / UNIT)
    for words in (["--system", "verify", *system], ["--user", "verify", user]):
        ended = subprocess.run(
            [analyze, *words], capture_output=True, text=True, env=environment, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, "")
