"""What packages carry besides the code: man pages that are right, and completions that complete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import COMPLETIONS, MAN, SHELLS, completions, man_pages
from tests.support.mount import clean_environment

WORDS = "'python -m tests.docs.pages' writes them anew"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of click, in click-man
def test_the_man_pages_are_those_of_the_command_line() -> None:
    kept = {path.name: path.read_text("utf-8") for path in MAN.iterdir()}
    assert kept == man_pages(), WORDS
    assert "aisfs-mount.1" in kept


def test_the_completions_are_those_of_the_command_line() -> None:
    kept = {path.name: path.read_text("utf-8") for path in COMPLETIONS.iterdir()}
    assert kept == completions(), WORDS
    assert set(kept) == set(SHELLS.values())


@pytest.mark.parametrize("page", sorted(MAN.parent.glob("man*/*")), ids=lambda page: page.name)
def test_a_man_page_has_what_each_has(page: Path) -> None:
    text = page.read_text("utf-8")
    sections = [line[4:] for line in text.splitlines() if line.startswith(".SH ")]
    assert sections[:2] == ["NAME", "SYNOPSIS"]
    assert "..." not in text.split(".SH")[1], "its short description is cut off"


def test_a_shell_completes_commands(tmp_path: Path) -> None:
    script = f"""
        source '{COMPLETIONS}/aisfs.bash'
        COMP_WORDS=(aisfs umo) COMP_CWORD=1
        _aisfs_completion aisfs
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    ended = subprocess.run(
        ["bash", "-c", script],
        capture_output=True, text=True, check=True, env=clean_environment(PATH=path),
    )  # fmt: skip
    assert ended.stdout.split() == ["umount"]
