"""Planted defects: each a patch of `tests/mutants`, tried on a copy of the tree (see its README).

A mutant is caught when a test that its patch names fails. A test that cannot be collected or set up
has seen nothing, so that a copy which does not even run is never taken for a caught mutant.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.mount import clean_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted((ROOT / "tests" / "mutants").glob("*.patch"))

LIMIT_S = 900.0
"""Longest that pytest may take; each test has a limit of its own."""

_FIELD = re.compile(r"^(Harm|Caught-by): *(.*(?:\n +.*)*)", re.MULTILINE)
_CHANGED = re.compile(r"^\+\+\+ b/(.*)$", re.MULTILINE)
_FAILED = re.compile(r"^FAILED ([^\[\n]+?)(?:\[.*?\])?(?: - (.*))?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted defect.

    Attributes:
        harm: what a user would suffer from it.
        caught_by: tests that are expected to fail, fastest first; `FILE::TEST`.
        changed: files that it changes.
    """

    patch: Path
    harm: str
    caught_by: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self.patch.stem

    @classmethod
    def read(cls, patch: Path) -> Mutant:
        """Read a patch and what is said before it."""
        text = patch.read_text("utf-8")
        told = text.partition("\n--- ")[0]
        fields: dict[str, list[str]] = {"Harm": [], "Caught-by": []}
        for name, value in _FIELD.findall(told):
            fields[name].append(" ".join(value.split()))
        return cls(
            patch,
            " ".join(fields["Harm"]),
            tuple(fields["Caught-by"]),
            tuple(_CHANGED.findall(text)),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the tests that a mutant names said of it.

    Attributes:
        caught_by: the test that failed; "" if the mutant survived.
        words: its failure, or what happened instead.
    """

    mutant: Mutant
    caught_by: str
    words: str
    took_s: float

    def __str__(self) -> str:
        by = self.caught_by.rpartition("::")[2] or "SURVIVES"
        return f"{self.mutant.name:40} {self.took_s:5.1f} s  {by}: {self.words}"


class Tree:
    """A copy of the tree, in which tests run as in a checkout: nothing of this one is imported.

    It has a directory of its own, in which the tests' files lie beside it. Elsewhere pytest tidies
    up what other runs left, and trips over those that do so at the same time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_checkout(cls, path: Path) -> Tree:
        """Copy what is in the working tree and not ignored, changes that are not committed too."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if listed.returncode != 0:
            pytest.skip("not a checkout: nobody knows what belongs to the tree")
        for name in listed.stdout.split("\0"):
            if name and (ROOT / name).is_file():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, path / name)
        return cls(path)

    def copied(self, path: Path) -> Tree:
        """Return a copy of its own, with what Python has compiled so far."""
        return Tree(Path(shutil.copytree(self.path, path)))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Python here: its children, too, import this tree and not what is installed."""
        packages = os.pathsep.join([str(self.path), str(self.path / "sdk")])
        environment = clean_environment(
            PYTHONPATH=packages, AISFS_SEED="1", AISFS_REQUIRE_FUSE="1", COLUMNS="200"
        )
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
        )

    def test(self, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run tests until the first one fails."""
        options = [
            "-x",
            "-q",
            "-rf",
            "-p",
            "no:cacheprovider",
            f"--basetemp={self.path.parent / 't'}",
        ]
        return self.run("-m", "pytest", *options, *tests)

    def apply(self, mutant: Mutant) -> None:
        """Plant a defect; the code is still code."""
        apply(mutant, self.path)
        for name in mutant.changed:
            compile((self.path / name).read_text("utf-8"), name, "exec")

    def outcome(self, mutant: Mutant) -> Outcome:
        """Plant a defect and run the tests that are expected to see it."""
        began = time.monotonic()
        self.apply(mutant)
        try:
            ended = self.test(mutant.caught_by)
        except subprocess.TimeoutExpired:
            return Outcome(mutant, "", f"nothing within {LIMIT_S:g} s", LIMIT_S)
        took_s = time.monotonic() - began
        failed = _FAILED.search(ended.stdout)
        if ended.returncode == pytest.ExitCode.TESTS_FAILED and failed is not None:
            return Outcome(mutant, failed[1], failed[2] or "", took_s)
        if ended.returncode == pytest.ExitCode.OK:
            return Outcome(mutant, "", "all tests passed", took_s)
        last = "; ".join((ended.stdout + ended.stderr).strip().splitlines()[-3:])
        return Outcome(mutant, "", f"no test failed, exit {ended.returncode}: {last}", took_s)


def apply(mutant: Mutant, path: Path, *options: str) -> None:
    """Apply a patch to a tree, to the letter: context that has changed is a failure."""
    ended = subprocess.run(
        ["git", "apply", *options, str(mutant.patch)],
        cwd=path,
        env=os.environ | {"GIT_CEILING_DIRECTORIES": str(path.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, (
        f"{mutant.name} fits the code no more, plant it anew: {ended.stderr}"
    )
