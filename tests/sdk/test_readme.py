"""The examples of the README run, in their order."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "sdk" / "README.md"


def test_examples_run(endpoint: str) -> None:
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 8
    names: dict[str, object] = {"ENDPOINT": endpoint, "__name__": "readme"}
    for block in blocks:
        line = text[: text.index(block)].count("\n")
        # Errors show the line of the README.
        exec(compile("\n" * line + block, str(README), "exec"), names)
