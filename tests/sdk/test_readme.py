"""The examples of the documents run, in their order."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["sdk/README.md", "docs/sdk.md"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_run(endpoint: str, name: str) -> None:
    document = ROOT / name
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 8
    names: dict[str, object] = {"ENDPOINT": endpoint, "__name__": "readme"}
    for block in blocks:
        line = text[: text.index(block)].count("\n")
        # Errors show the line of the document.
        exec(compile("\n" * line + block, str(document), "exec"), names)
