"""The house as drawn: what lies where, and which way imports go."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = [path for folder in ("aisfs", "sdk/aisfs_sdk") for path in (ROOT / folder).rglob("*.py")]
TOP = {
    "aisfs", "sdk", "tests", "systemd", "docs", "run",
    "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE",
}  # fmt: skip


def test_imports_go_one_way() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_top_level_holds_nothing_unplanned() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:  # not a checkout, but an unpacked archive
        names = {path.name for path in ROOT.iterdir()}
    else:
        names = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in names if not name.startswith(".")} <= TOP


@pytest.mark.parametrize("name", ["utils", "common", "helpers", "misc", "util"])
def test_no_module_of_the_mount_is_called_by_what_it_is_not(name: str) -> None:
    assert not list((ROOT / "aisfs").rglob(f"{name}.py"))


def test_sdk_folder_is_no_package() -> None:
    assert not (ROOT / "sdk" / "__init__.py").exists()


def test_both_packages_are_typed_and_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert packages == ["aisfs", "sdk/aisfs_sdk"]
    assert all((ROOT / package / "py.typed").exists() for package in packages)


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith('"""')
    assert "TODO" not in text
    assert "FIXME" not in text
