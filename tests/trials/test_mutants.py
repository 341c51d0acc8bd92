"""Tests that can fail: of each planted defect at least one of the tests that it names tells.

`./run long mutants` plants all of `tests/mutants`, one after the other, and shows a table: which
test saw it, and by which words. What survives is named.
"""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from difflib import unified_diff
from typing import TYPE_CHECKING

import pytest

from tests.support.mutants import PATCHES, ROOT, Mutant, Tree, apply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.mutants import Outcome

SAMPLE = {"inode-number-reused", "flush-error-swallowed"}
"""What is planted in every run: one defect that a unit test sees, one in a daemon that mounts."""

CHANGED = "aisfs/vfs/nodes.py"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Return a copy of the tree."""
    return Tree.of_checkout(tmp_path_factory.mktemp("mutants") / "tree")


def planted(directory: Path, old: str, new: str) -> Mutant:
    """Return a mutant that replaces a text of a module that its test imports."""
    before = (ROOT / CHANGED).read_text("utf-8")
    after = before.replace(old, new, 1)
    assert after != before
    old_lines, new_lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
    changes = "".join(unified_diff(old_lines, new_lines, f"a/{CHANGED}", f"b/{CHANGED}"))
    patch = directory / "planted.patch"
    test = "tests/unit/vfs/test_inodes.py::test_numbers_are_never_used_again"
    patch.write_text(f"Harm: none\nCaught-by: {test}\n\n{changes}", encoding="utf-8")
    return Mutant.read(patch)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_defect_fits_the_code_and_names_its_tests(patch: Path) -> None:
    mutant = Mutant.read(patch)
    apply(mutant, ROOT, "--check")
    assert mutant.harm
    assert mutant.caught_by
    for test in mutant.caught_by:
        file, _, name = test.partition("::")
        text = (ROOT / file).read_text("utf-8")
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"there is no {test}"


def test_a_copy_imports_nothing_of_this_tree(tree: Tree) -> None:
    paths = "import aisfs, aisfs_sdk, tests.support.mount as m; "
    paths += "print(aisfs.__file__, aisfs_sdk.__file__, m.__file__)"
    for words in (("-c", paths), ("-P", "-c", paths)):  # -P: as the daemon is started
        found = tree.run(*words).stdout.split()
        assert len(found) == 3
        assert all(path.startswith(f"{tree.path}/") for path in found), found


def test_a_change_that_does_no_harm_survives(tree: Tree, tmp_path: Path) -> None:
    mutant = planted(tmp_path, "Lock order:", "The order of locks:")
    outcome = tree.copied(tmp_path / "tree").outcome(mutant)
    assert (outcome.caught_by, outcome.words) == ("", "all tests passed")


def test_code_that_does_not_even_run_is_no_caught_mutant(tree: Tree, tmp_path: Path) -> None:
    mutant = planted(tmp_path, "\nROOT = Ino(1)\n", "\nROOT = Inode(1)\n")
    outcome = tree.copied(tmp_path / "tree").outcome(mutant)
    assert outcome.caught_by == ""
    assert "no test failed, exit" in outcome.words
    assert "NameError" in outcome.words


@pytest.mark.fuse
@pytest.mark.long
def test_mutants(
    tree: Tree,
    tmp_path: Path,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a defect all the tests pass that are named, with it one of them fails."""
    full = rounds(0, 1) == 1
    mutants = [m for m in map(Mutant.read, PATCHES) if full or m.name in SAMPLE]
    assert len(mutants) >= len(SAMPLE)
    unchanged = tree.test(sorted({test for mutant in mutants for test in mutant.caught_by}))
    assert unchanged.returncode == pytest.ExitCode.OK, unchanged.stdout + unchanged.stderr
    survivors = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        trials = [pool.submit(tried, tree, mutant, tmp_path) for mutant in mutants]
        for trial in as_completed(trials):
            outcome = trial.result()
            if full:
                with capsys.disabled():
                    print(f"\n{outcome}", end="", flush=True)
            if outcome.caught_by:
                tally("caught", 1)
            else:
                survivors.append(str(outcome))
    assert not survivors, "\n".join(survivors)


def tried(tree: Tree, mutant: Mutant, directory: Path) -> Outcome:
    """Plant a mutant in a copy of its own, which goes again."""
    path = directory / mutant.name
    try:
        return tree.copied(path / "tree").outcome(mutant)
    finally:
        shutil.rmtree(path)
