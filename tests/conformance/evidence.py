"""What the clause tests have shown, on which cluster, of which commit: docs/evidence.md.

A run of these tests with AISFS_TEST_OUTPUT=DIRECTORY writes what it saw of each clause to a file of
that directory. `python -m tests.conformance.evidence FILE…` puts such files into docs/evidence, in
the place of earlier ones of the same cluster, and writes the page anew.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conformance.semantics import promises

if TYPE_CHECKING:
    from collections import Counter

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "evidence"
PAGE = ROOT / "docs" / "evidence.md"

_HEAD = """\
# What was shown, where, and when

Each clause of [semantics.md](semantics.md) has tests that bear its number. This page says how they
ended, on which cluster and of which commit: passed, failed, or not run because the cluster has no
such thing. `python -m tests.conformance.evidence` makes it of `docs/evidence/*.json` alone.

"""


_FOOT = """
## Half an hour of everything

`./run long nothing_grows` on the embedded store: one writer, two readers, one who lists and one who
uses control files, with the store killed and started again every three minutes. What each call gave
is checked; what the daemon took:

![memory, descriptors, threads, and the slowest of 100 calls](evidence/soak.svg)

The figures behind it: [soak.json](evidence/soak.json).

## Speed

Every run of the benchmarks with its raw data, beside curl, a null mount and peers with their flags:
[benchmarks](benchmarks.md#runs-with-all-their-data).
"""


def commit() -> str:
    """Return the commit of the tree, marked where files differ from it."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    return subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def write(directory: Path, cluster: str, ends: dict[str, Counter[str]]) -> Path:
    """Write how the tests of each clause ended on a cluster."""
    told = {
        "cluster": cluster,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "clauses": {clause: dict(sorted(counts.items())) for clause, counts in ends.items()},
    }
    name = re.sub(r"[^a-z0-9.]+", "-", cluster.lower())
    path = directory / f"clauses-{name}.json"
    path.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    return path


def page() -> str:
    """Return the page, made of what is kept."""
    runs = [json.loads(path.read_text()) for path in sorted(KEPT.glob("clauses-*.json"))]
    titles = [f"{run['cluster']}<br>{run['date']}, `{run['commit']}`" for run in runs]
    lines = ["| clause | " + " | ".join(titles) + " |", "|---" * (len(runs) + 1) + "|"]
    for number in sorted(promises()):
        cells = [_cell(run["clauses"].get(f"C{number}", {})) for run in runs]
        lines.append(f"| C{number} | " + " | ".join(cells) + " |")
    return _HEAD + "\n".join(lines) + "\n" + _FOOT


def _cell(counts: dict[str, Any]) -> str:
    words = [f"{count} {end}" for end, count in sorted(counts.items())]
    return ", ".join(words) if words else "not run"


def main() -> None:
    """Keep the files that are named, and write the page."""
    KEPT.mkdir(exist_ok=True)
    for name in sys.argv[1:]:
        (KEPT / Path(name).name).write_text(Path(name).read_text())
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
