"""The benchmark tool works: its cheapest rows, small, on the embedded store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.mount.__main__ import main
from tests.benchmarks.mount.place import place
from tests.support.modes import MODES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.store import StoreProcess


def test_rows_give_figures_beside_the_references(tmp_path: Path) -> None:
    data, text = tmp_path / "runs.json", tmp_path / "table.md"
    words = [
        "B5",
        "B6",
        "B8",
        "B10",
        "--quick",
        "--no-peers",
        "--json",
        str(data),
        "--markdown",
        str(text),
    ]
    assert main(words) == 0
    figures = json.loads(data.read_text())["figures"]
    assert {figure["row"] for figure in figures} == {"B5", "B6", "B8", "B10"}
    assert all("null" in figure["ratios"] for figure in figures if figure["row"] == "B5")
    assert all("curl -T" in figure["ratios"] for figure in figures if figure["row"] == "B8")
    assert "first byte" in text.read_text()


def test_a_mode_that_a_cluster_is_not_in_is_refused(store: StoreProcess) -> None:
    with pytest.raises(SystemExit):
        main(["B5", "--mode", "https"])
    for mode, words in (("refused", "serve who comes straight"), ("https", "embedded store")):
        with pytest.raises(ValueError, match=words), place(store.endpoint, "", MODES[mode]):
            pass
