"""`docs/embedded-store-differences.md`, made from the tables that the replays are checked by.

`python -m tests.server.differences_page` writes it.
"""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.server import differences, differences_3_17
from tests.server.test_official_client import REFUSED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "embedded-store-differences.md"
WIDTH = 100

_HEAD = """\
<!-- Made by `python -m tests.server.differences_page`; edit the tables it reads, not this. -->
# Where the embedded store differs from AIS

Requests were made to real clusters of AIS 5.0 and 3.17 and their answers recorded. The tests make
the same requests to the [embedded store](embedded-store.md) and compare the answers, but for times,
ids and the like. Of what was recorded, what is listed here differs on purpose and all else is the
same; a case that is listed and no longer differs fails the tests, too. A name such as
`list/start-after-b-2048` is that of the [recorded case](../tests/server/recorded/README.md).
"""

SECTIONS: dict[str, Mapping[str, str]] = {
    "AIS 5.0: buckets, objects, archives, batches": differences.DIFFERENCES,
    "AIS 5.0: jobs": differences.JOB_DIFFERENCES,
    "AIS 5.0: storage jobs, remote buckets, promotion": differences.STORAGE_DIFFERENCES,
    "AIS 5.0: transformers": differences.ETL_DIFFERENCES["5.0"],
    "AIS 3.17: buckets, objects, archives": differences_3_17.DIFFERENCES,
    "AIS 3.17: jobs, storage, nodes": differences_3_17.JOB_DIFFERENCES,
    "AIS 3.17: transformers": differences.ETL_DIFFERENCES["3.17"],
}


def page() -> str:
    """Return the whole page."""
    parts = [_HEAD, _client_methods()]
    parts += [_section(title, table) for title, table in SECTIONS.items()]
    return "\n".join(parts)


def _client_methods() -> str:
    lines = [
        "## What the methods of the official Python client meet",
        "",
        "Every public method of it is called by the tests. All work but these:",
        "",
        "| Method | Why it is refused |",
        "|---|---|",
        *(f"| `{method}` | {reason} |" for method, reason in REFUSED.items()),
    ]
    return "\n".join(lines) + "\n"


def _section(title: str, table: Mapping[str, str]) -> str:
    return "\n".join([f"## {title}", "", *_groups(table)]) + "\n"


def _groups(table: Mapping[str, str]) -> list[str]:
    """Return one item of a list per reason, in the order of the table, with its cases."""
    by_reason: dict[str, list[str]] = {}
    for case, reason in table.items():
        by_reason.setdefault(reason, []).append(case)
    return [line for reason, cases in by_reason.items() for line in _item(reason, cases)]


def _item(reason: str, cases: list[str]) -> Iterator[str]:
    head = f"- {reason[0].upper()}{reason[1:]}:"
    yield from textwrap.wrap(head, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    yield from textwrap.wrap(
        ", ".join(f"`{case}`" for case in cases) + ".",
        WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
