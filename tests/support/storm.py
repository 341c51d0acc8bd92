"""A process that does the same random things in two directories and compares what comes of them.

`python -m tests.support.storm ONE TWO NAME SEED SECONDS [apart]` works below `NAME` and on names of
its own in `shared`, so that several of them may run at once. It ends with 1, and says why, where
one directory differs from the other in an errno, in bytes, or in the end in anything that
`difference` compares. With `apart` files and directories have other names: real clusters keep a
directory when its last object is gone, and store no object under its name.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

from tests.support.twins import Twins, agreed

SHARED = "shared"
NAMES = "abcde"
DIRECTORIES = "ABCDE"
DEPTH = 4
MOST_OPEN = 6
LARGEST = 200_000


class Storm:
    """One process's work. `counts` tells how often each verb succeeded."""

    def __init__(self, twins: Twins, name: str, dice: random.Random, *, apart: bool) -> None:
        self._twins = twins
        self._own = name
        self._dice = dice
        self._directories = DIRECTORIES if apart else NAMES
        self._open: list[tuple[int, tuple[int, int]]] = []
        self.counts: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        verbs = [
            *[self.create] * 5,
            *[self.overwrite] * 4,
            *[self.mkdir] * 4,
            *[self.rename] * 6,
            *[self.unlink] * 3,
            *[self.truncate] * 2,
            self.rmdir, self.symlink, self.chmod, self.read, self.list,
            *[self.open] * 2, *[self.use_open] * 4, *[self.close] * 2,
        ]  # fmt: skip
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            verb = self._dice.choice(verbs)
            if verb():
                self.counts[verb.__name__] += 1
        while self._open:
            self.close()

    def place(self, names: str = "") -> str:
        """Choose a path: below our own directory, or one of our names in the shared one.

        Args:
            names: of which the last component is; "" for that of a file or of a directory.
        """
        last = self._dice.choice(names or self._dice.choice((NAMES, self._directories)))
        if self._dice.random() < 0.15:
            return f"{SHARED}/{self._own}-{last}"
        parents = self._dice.choices(self._directories, k=self._dice.randrange(DEPTH - 1))
        return "/".join([self._own, *parents, last])

    def body(self) -> bytes:
        size = self._dice.choice((0, 1, 100, 4096, 5000, self._dice.randrange(LARGEST)))
        return self._dice.randbytes(size)

    # -- verbs

    def create(self) -> bool:
        return self._twins.write_whole(self.place(NAMES), self.body())

    def overwrite(self) -> bool:
        return self._twins.write_into(self.place(), self.body(), self._dice.randrange(LARGEST))

    def mkdir(self) -> bool:
        return self._twins.mkdir(self.place(self._directories))

    def rename(self) -> bool:
        names = self._dice.choice((NAMES, self._directories))
        return self._twins.rename(self.place(names), self.place(names))

    def unlink(self) -> bool:
        return self._twins.unlink(self.place())

    def rmdir(self) -> bool:
        return self._twins.rmdir(self.place())

    def symlink(self) -> bool:
        return self._twins.symlink(self.place(NAMES), self._dice.choice(NAMES))

    def truncate(self) -> bool:
        return self._twins.truncate(self.place(), self._dice.randrange(LARGEST))

    def chmod(self) -> bool:
        return self._twins.chmod(self.place(), self._dice.choice((0o600, 0o644, 0o755, 0o700)))

    def read(self) -> bool:
        return self._twins.read(self.place())

    def list(self) -> bool:
        return self._twins.list(self.place())

    def open(self) -> bool:
        if len(self._open) >= MOST_OPEN:
            return False
        flags = self._dice.choice((os.O_RDONLY, os.O_RDWR, os.O_RDWR))
        fds = self._twins.open(self.place(), flags)
        if fds is None:
            return False
        self._open.append((flags, fds))
        return True

    def use_open(self) -> bool:
        """Write to and read from an open file, whatever became of its name."""
        if not self._open:
            return False
        flags, fds = self._dice.choice(self._open)
        body, offset = self.body(), self._dice.randrange(LARGEST)
        if flags == os.O_RDWR and self._dice.random() < 0.5:
            for fd in fds:
                os.pwrite(fd, body, offset)
        return agreed(fds, lambda fd: os.pread(fd, 2 * LARGEST, 0))

    def close(self) -> bool:
        if not self._open:
            return False
        _, fds = self._open.pop(self._dice.randrange(len(self._open)))
        for fd in fds:
            os.close(fd)
        return True


def main() -> int:
    one, two, name, seed, seconds, *how = sys.argv[1:]
    twins = Twins(Path(one), Path(two))
    storm = Storm(twins, name, random.Random(seed), apart=how == ["apart"])
    try:
        storm.run(float(seconds))
    except AssertionError as error:
        frames = []
        trace = error.__traceback__
        while trace is not None:
            known = {
                k: v for k, v in trace.tb_frame.f_locals.items() if k in {"name", "old", "new"}
            }
            frames.append(f"{trace.tb_frame.f_code.co_name}{known}")
            trace = trace.tb_next
        print(f"{name}: {error} in {frames} after {dict(storm.counts)}")
        return 1
    print(" ".join(f"{verb}={count}" for verb, count in storm.counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
