"""The tables of all settings that docs/configuration.md has.

Serves `config`; a test compares the document with them.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from aisfs.config import Config, Source
from aisfs.setting_table import SETTINGS
from aisfs.setting_values import values_of
from aisfs.settings import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs.setting_values import Setting

_COLUMNS = ("name", "flag, `-o`", "environment", "default", "values", "live", "meaning")


def reference() -> str:
    """Return all settings in Markdown, a table for each section."""
    tables = []
    for section, settings in groupby(SETTINGS, lambda setting: setting.section):
        rows = [_COLUMNS, ["---"] * len(_COLUMNS), *map(list, map(_cells, settings))]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        tables.append("\n".join([f"### {section}", "", *lines, ""]))
    return "\n".join(tables)


def _cells(setting: Setting) -> Iterator[str]:
    yield f"`{setting.name.partition('.')[2]}`"
    yield f"`{setting.flag}`" if setting.flag else ""
    names = (setting.variable, setting.own_variable)
    yield ", ".join(f"`{name}`" for name in names if name)
    yield shown(setting, Config(Source(), Path("/")))
    yield values_of(setting)
    yield "yes" if setting.live else ""
    yield setting.help
