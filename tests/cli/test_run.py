"""The script `run`: what it asks of a machine, and of whom."""

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL = "apt-get install -y --no-install-recommends rsync"
LIMIT_S = 60.0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder, with a space in its name, that has the script and a finished set-up."""
    path = tmp_path / "a checkout"
    path.mkdir()
    shutil.copy(ROOT / "run", path)
    shutil.copy(ROOT / "pyproject.toml", path)
    return path


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Return a folder with every program of this machine but rsync, and a sudo that only notes."""
    path = tmp_path / "bin"
    path.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name not in {"rsync", "sudo"}:
            (path / program.name).symlink_to(program)
    (path / "sudo").write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/sudo"\nexit 1\n')
    (path / "sudo").chmod(0o755)
    return path


def ordinary(checkout: Path, tools: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment that run the script as a user who is not root."""
    become = ["unshare", "--user"] if os.geteuid() == 0 else []
    return [*become, str(checkout / "run"), *words], os.environ | {"PATH": str(tools)}


def run(checkout: Path, tools: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command, environment = ordinary(checkout, tools, *words)
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        timeout=LIMIT_S,
        check=False,
    )


def test_help_names_the_verbs_and_needs_nothing(checkout: Path, tools: Path) -> None:
    ended = run(checkout, tools)
    assert ended.returncode == 0
    for verb in ("setup", "demo", "test", "check", "long", "conformance", "bench"):
        assert f"\n  {verb} " in ended.stdout


def test_unknown_verb_is_refused(checkout: Path, tools: Path) -> None:
    ended = run(checkout, tools, "frobnicate")
    assert ended.returncode == 2
    assert "no verb 'frobnicate'" in ended.stderr


def test_ordinary_user_without_a_terminal_is_told_the_exact_command(
    checkout: Path, tools: Path, tmp_path: Path
) -> None:
    ended = run(checkout, tools, "test")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "missing: rsync" in ended.stderr
    assert f"sudo apt-get update && sudo {INSTALL}" in ended.stderr
    assert not (tmp_path / "sudo").exists()


def test_sudo_is_used_when_the_user_said_yes_before(
    checkout: Path, tools: Path, tmp_path: Path
) -> None:
    ended = run(checkout, tools, "-y", "test")
    assert ended.returncode == 2  # this sudo fails, and that is not ignored
    assert "this failed" in ended.stderr
    assert (tmp_path / "sudo").read_text() == "apt-get update -qq\n"


@pytest.mark.parametrize("answer", ["n", ""])
def test_sudo_is_not_used_when_the_user_says_no(
    checkout: Path, tools: Path, tmp_path: Path, answer: str
) -> None:
    command, environment = ordinary(checkout, tools, "test")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        _, said = process.communicate(timeout=LIMIT_S)
    os.close(ours)
    assert process.returncode == 2
    assert INSTALL in said
    assert not (tmp_path / "sudo").exists()


def test_only_what_running_needs_is_asked_for_a_demo(checkout: Path, tools: Path) -> None:
    (tools / "pkg-config").unlink()
    ended = run(checkout, tools, "demo")
    assert ended.returncode == 2
    assert "rsync" not in ended.stderr
    assert "--no-install-recommends pkg-config\n" in ended.stderr
