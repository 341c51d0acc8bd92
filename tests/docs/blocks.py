"""The fenced blocks of the documents, and how each is run.

A block of `sh` or `console` is one script of bash, which stops at the first command that fails; in
`console`, what stands behind `$ ` is typed, and all else is what has to be printed, where numbers,
times and ids may be others. A block of `python` runs with the names that its scene gives it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.mount import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120.0

_BLOCK = re.compile(r"^```(sh|console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIES = re.compile(r"\d[\d.,:]*|\b[KMGT]iB\b|\b[A-Za-z0-9_-]{9,12}\b(?=\s|$)")


@dataclass(frozen=True)
class Block:
    """One fenced block of a document.

    Attributes:
        page: the document, below the project's directory.
        line: of its first line.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first(self) -> str:
        """Its first line, by which it is named."""
        return self.text.partition("\n")[0]


def pages() -> list[str]:
    """Return all documents for people who use the project."""
    docs = [ROOT / "README.md", ROOT / "sdk" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [str(each.relative_to(ROOT)) for each in docs]


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a document that can be run, in their order."""
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(page, text[: found.start(2)].count("\n") + 1, found[1], found[2])
        for found in _BLOCK.finditer(text)
    ]


@dataclass
class Scene:
    """Where the blocks of a document run.

    Attributes:
        directory: the working directory, and HOME.
        here: words of the document → what they are here.
        names: what blocks of Python find.
        variables: of the environment.
    """

    directory: Path
    here: Mapping[str, str] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, block: Block) -> None:
        """Run a block; an AssertionError or its own error says what went wrong."""
        text = block.text
        for word, meant in sorted(self.here.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(word, meant)
        if block.language == "python":
            lines = "\n" * (block.line - 1)  # errors show the line of the document
            exec(compile(lines + text, str(ROOT / block.page), "exec"), self.names)
        elif block.language == "sh":
            self._script(block, text)
        else:
            typed = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
            wanted = [line for line in text.splitlines() if line[:2] not in {"$ ", "# "}]
            said = self._script(block, "\n".join(typed) + "\n")
            if any(wanted):
                assert _shape(said) == _shape("\n".join(wanted)), f"{block}: {said}"

    def _script(self, block: Block, text: str) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.directory, capture_output=True, text=True, timeout=LIMIT_S, check=False,
            env=clean_environment(HOME=str(self.directory), PATH=path, **self.variables),
        )  # fmt: skip
        assert ended.returncode == 0, f"{block}: {text}{ended.stdout}{ended.stderr}"
        return ended.stdout


def _shape(text: str) -> list[str]:
    """Return what is printed without what differs from run to run."""
    return [_VARIES.sub("…", line.rstrip()) for line in text.splitlines() if line.strip()]
