"""The page of what the mount promises: what the docstrings of the clauses' tests say.

`python -m tests.conformance.semantics` makes docs/semantics.md of the tests named after a clause.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "semantics.md"

SECTIONS = {
    "Visibility": range(1, 8),
    "Durability and errors": range(8, 15),
    "Files": range(15, 22),
    "Attributes": range(22, 26),
    "Names": range(26, 34),
    "Limits and operation": range(34, 41),
}
"""Titles of the page's tables, and the numbers of the clauses in each."""

_HEAD = """\
# What the mount promises

Three tenets decide what is not written here: **never lie** (an operation does what it says or
returns an errno), **never lose** (bytes that `fsync` or `close` acknowledged survive anything but
the loss of the cluster), **never hang for ever**.

This page is made of tests: each promise is what the docstrings of the tests named after its clause
say (`pytest tests -k c07`), which run on the embedded store and on real clusters
(`AIS_ENDPOINT=… ./run conformance`). How they ended where: [evidence](evidence.md).

An object's *identity* is its checksum and size; where one has no checksum (the cluster knows none
of what only a remote bucket has), its version and size. Where there is neither, only sizes can be
compared: C4 and C6 do not hold for such an object until the cluster has a copy of it.
"""

_FOOT = """
## What it cannot promise

Exclusive create, atomic directory rename and locks across mounts; conflict-free concurrent writers;
small random writes into huge objects without storing the whole object again. A directory's
modification time changes only when it is set.
"""


def clause_of(test: str) -> int:
    """Return the number of the clause that a test is of; 0 for none.

    >>> clause_of("test_c07_opening_waits[x]")
    7
    """
    found = re.match(r"test_c(\d+)_", test)
    return int(found[1]) if found else 0


def promises() -> dict[int, list[str]]:
    """Return what the tests of each clause show, a sentence or more of each, in their order."""
    said = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and (number := clause_of(node.name)):
                said[number].append(" ".join((ast.get_docstring(node) or "").split()))
    return said


def page() -> str:
    """Return the page, made of the tests alone."""
    said, lines = promises(), [_HEAD]
    for title, numbers in SECTIONS.items():
        lines += [f"## {title}\n", "| # | promise |", "|---|---|"]
        for number in numbers:
            promise = " ".join(filter(None, said[number])).replace("|", r"\|")
            lines.append(f"| C{number} | {promise} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n" + _FOOT


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
