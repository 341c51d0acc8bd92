"""What the pages about the embedded store say is what the store has."""

import re

import pytest

from aisfs.server.command import serve
from aisfs.server.http.faults import ACTIONS
from tests.server.differences_page import PAGE, SECTIONS, page

TEXT = (PAGE.parent / "embedded-store.md").read_text("utf-8")


def first_cells(heading: str) -> list[str]:
    """Return the words in code of the first column of the table below a heading."""
    rows = TEXT.partition(heading)[2].split("\n\n", 1)[0].splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    return [word for cell in cells for word in re.findall(r"`([^`\s]+)[^`]*`", cell)]


def test_table_of_options_is_that_of_the_command() -> None:
    known = [name for option in serve.params for name in option.opts]
    assert sorted(first_cells("| Option |")) == sorted(known)


def test_table_of_faults_is_that_of_the_store() -> None:
    assert sorted(first_cells("| `action` |")) == sorted(ACTIONS)


def test_page_of_differences_is_made_from_the_tables() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.server.differences_page"


@pytest.mark.parametrize("title", SECTIONS)
def test_page_of_differences_has_every_case(title: str) -> None:
    section = page().partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("  `")]
    shown = re.findall(r"`([^`]+)`[,.]", "\n".join(lines))
    assert sorted(shown) == sorted(SECTIONS[title])
