"""A reader as training jobs have it: whole samples, a new random order each epoch, several at once.

Run as `python3 -m aisfs.cli.demo.reader DIRECTORY`. Every sample's header is checked, and the
digest of all contents must come out the same in each epoch.
"""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aisfs.cli.demo.data import HEADER, MAGIC, content_digest

EPOCHS = 2
WORKERS = 4


def read_sample(path: Path) -> bytes:
    """Read one sample and check that its header fits its content.

    Raises:
        ValueError: it does not.
    """
    content = path.read_bytes()
    magic, label, _, size = HEADER.unpack_from(content)
    if magic != MAGIC or size != len(content) - HEADER.size or path.parent.name != str(label):
        raise ValueError(f"{path} is not the sample that its header tells")
    return content


def orders(names: list[str]) -> list[list[str]]:
    """Return the order of each epoch: the given names, shuffled the same way on every machine."""
    return [random.Random(epoch).sample(names, len(names)) for epoch in range(1, EPOCHS + 1)]


def epoch_lines(directory: Path) -> list[str]:
    """Read everything below `directory`, once per epoch, and return one line about each epoch."""
    found = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.bin"))
    lines = []
    with ThreadPoolExecutor(WORKERS) as workers:
        for epoch, names in enumerate(orders(found), 1):
            contents = list(workers.map(lambda name: read_sample(directory / name), names))
            lines.append(
                f"epoch {epoch}: {len(names)} samples from {names[0]} to {names[-1]}, "
                f"{sum(map(len, contents)):,} bytes, content "
                + content_digest(zip(names, contents, strict=True))
            )
    return lines


if __name__ == "__main__":
    print("\n".join(epoch_lines(Path(sys.argv[1]))))
