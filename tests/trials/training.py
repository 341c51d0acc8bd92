"""A training job as people write it: a dataset of class folders, four workers, shuffled epochs.

Run as `python training.py DIRECTORY EPOCHS`: prints a line of JSON per epoch, and waits for a line
on standard input before the next one. It knows files only. With torch it is torch's `DataLoader`;
else four processes that are handed shuffled samples, as its workers are.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

try:
    from torch.utils.data import DataLoader
except ImportError:
    DataLoader = None

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 4
BATCH = 16


class ImageFolder:
    """Samples of a directory of class folders, found as torchvision's class of that name does.

    Attributes:
        samples: path and number of the class of each.
    """

    def __init__(self, root: Path) -> None:
        self.classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        self.samples = [
            (path, number)
            for number, name in enumerate(self.classes)
            for path in sorted((root / name).rglob("*"))
            if path.is_file()
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[str, int]:
        """Return a sample's digest, in the place of a decoded picture, and its class."""
        path, number = self.samples[index]
        with path.open("rb") as file:
            return hashlib.sha256(file.read()).hexdigest(), number


def batches(dataset: ImageFolder, epoch: int) -> Iterator[list[str]]:
    """Give the digests of an epoch, batch by batch."""
    if DataLoader is not None:
        for digests, _ in DataLoader(dataset, BATCH, shuffle=True, num_workers=WORKERS):
            yield list(digests)
        return
    order = random.Random(epoch).sample(range(len(dataset)), len(dataset))
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        for start in range(0, len(order), BATCH):
            yield [digest for digest, _ in pool.map(dataset.__getitem__, order[start:][:BATCH])]


def main() -> None:
    """Read each epoch, and tell what it brought."""
    dataset = ImageFolder(Path(sys.argv[1]))
    for epoch in range(int(sys.argv[2])):
        digests = sorted(each for batch in batches(dataset, epoch) for each in batch)
        content = hashlib.sha256("".join(digests).encode()).hexdigest()
        loader = "torch" if DataLoader is not None else "processes"
        told = {"epoch": epoch, "samples": len(digests), "content": content, "loader": loader}
        print(json.dumps(told), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
