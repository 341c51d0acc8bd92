"""Objects larger than the cache, read in steps and overwritten between them: never a mixture (C4).

`AIS_ENDPOINT=… ./run long overwrite` does it on a real cluster.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.blocks import body, origins, read_fully
from tests.support.mount import Mount

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

SIZE = 16 << 20
STEP = 64 << 10
STEPS = SIZE // STEP
OPTIONS = [
    "cache-memory=8MiB",
    "readahead=2MiB",
    "attribute-ttl=0s",
    "listing-ttl=0s",
    "log-level=info",
]
READERS = 3


class Trial:
    """One object, its reader on the mount and its writer, who is another client.

    Attributes:
        ends: how the tries ended: "read whole", "refused" (ESTALE).
    """

    def __init__(self, bucket: Bucket, name: str, directory: Path, dice: random.Random) -> None:
        self._object = bucket.object(name)
        self._path = directory / name
        self._name = name
        self._dice = dice
        self._version = 0
        self._body = b""
        self._overwriter = ThreadPoolExecutor(1)
        self.ends: Counter[str] = Counter()
        self.overwrite()

    def overwrite(self) -> None:
        """Store the next version."""
        self._version += 1
        self._body = body(self._name, self._version, SIZE)
        self._object.put_content(self._body)

    def run(self, tries: int) -> Counter[str]:
        """Read and overwrite so many times; return how the tries ended."""
        with self._overwriter:
            for _ in range(tries):
                self.ends[self._one()] += 1
        return self.ends

    def _one(self) -> str:
        """Open, read, overwrite meanwhile, read on: all bytes are of the version opened."""
        opened = self._body
        offsets = list(self._offsets())
        moment = self._dice.randrange(len(offsets))
        at_once = self._dice.random() < 0.5
        flags = os.O_RDONLY | (os.O_DIRECT if self._dice.random() < 0.25 else 0)
        fd = os.open(self._path, flags)
        writing = None
        try:
            for number, offset in enumerate(offsets):
                if number == moment:
                    writing = self._overwriter.submit(self.overwrite)
                    if at_once:  # else it happens while the next steps are read
                        writing.result()
                data = read_fully(fd, STEP, offset)
                assert data == opened[offset : offset + STEP], (
                    f"{self._name} v{self._version}, at {offset}: {origins(data)}"
                )
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            return "refused"
        finally:
            os.close(fd)
            if writing is not None:
                writing.result()
        return "read whole"

    def _offsets(self) -> Iterator[int]:
        """Choose steps: the whole file, a run somewhere, or single ones all over it."""
        kind = self._dice.random()
        if kind < 0.02:
            yield from range(0, SIZE, STEP)
        elif kind < 0.7:
            count = self._dice.randrange(1, 65)
            start = self._dice.randrange(STEPS - count)
            yield from range(start * STEP, (start + count) * STEP, STEP)
        else:
            for _ in range(self._dice.randrange(1, 16)):
                yield self._dice.randrange(STEPS) * STEP


@pytest.mark.long
def test_overwrite_while_it_is_read(
    endpoint: str,
    bucket: Bucket,
    seeded: random.Random,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    """A reader gets the whole old content or ESTALE; an open afterwards has the new one."""
    tries = rounds(100, 10_000)
    with (
        Mount(endpoint, f"ais://{bucket.name}", options=OPTIONS) as mount,
        ThreadPoolExecutor(READERS) as pool,
    ):
        trials = [
            Trial(bucket, f"f{number}", mount.path, type(seeded)(seeded.random()))
            for number in range(READERS)
        ]
        shares = [tries // READERS + (number < tries % READERS) for number in range(READERS)]
        ends = sum(pool.map(Trial.run, trials, shares), Counter())
    for what, count in sorted(ends.items()):
        tally(what, count)
    assert ends.total() == tries
    assert ends["read whole"] > 0
    assert ends["refused"] > 0
