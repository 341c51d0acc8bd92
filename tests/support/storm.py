"""A process that does the same random things in two directories and compares what comes of them.

`python -m tests.support.storm ONE TWO NAME SEED SECONDS` works below `NAME` and on names of its own
in `shared`, so that several of them may run at once. It ends with 1, and says why, where one
directory differs from the other in an errno, in bytes, or in the end in anything that `difference`
compares.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SHARED = "shared"
NAMES = "abcde"
DEPTH = 4
MOST_OPEN = 6
LARGEST = 200_000
SAME = {errno.EEXIST: errno.ENOTEMPTY}
"""POSIX allows either for a directory that is not empty; filesystems differ."""


def difference(one: Path, two: Path) -> str:
    """Return how two trees differ in names, types, modes or contents; "" if they do not."""
    found = [{p.relative_to(root): p for p in root.rglob("*")} for root in (one, two)]
    if found[0].keys() != found[1].keys():
        apart = sorted(map(str, found[0].keys() ^ found[1].keys()))
        return f"only in one of {one} and {two}: {apart[:20]}"
    for name, path in found[0].items():
        facts = [_facts(path), _facts(found[1][name])]
        if facts[0] != facts[1]:
            return f"{name} differs: {facts[0]!r:.300} and {facts[1]!r:.300}"
    return ""


def _facts(path: Path) -> tuple[object, ...]:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "link", os.fspath(path.readlink())
    if stat.S_ISDIR(mode):
        return "directory", mode
    return "file", mode, path.lstat().st_size, path.read_bytes()


class Storm:
    """One process's work. `counts` tells how often each verb succeeded."""

    def __init__(self, roots: tuple[Path, Path], name: str, dice: random.Random) -> None:
        self._roots = roots
        self._own = name
        self._dice = dice
        self._open: list[tuple[int, list[int]]] = []
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

    def both(self, work: Callable[[Path], Any]) -> tuple[int, list[Any]]:
        """Do something in both directories; it must end alike in both."""
        ends, results = [], []
        for root in self._roots:
            try:
                results.append(work(root))
                ends.append(0)
            except OSError as error:
                number = error.errno or -1
                ends.append(SAME.get(number, number))
        if ends[0] != ends[1]:
            told = [errno.errorcode.get(number, str(number)) for number in ends]
            raise AssertionError(f"ended with {told[0]} here and {told[1]} there")
        return ends[0], results

    def agreed(self, work: Callable[[Path], Any]) -> bool:
        """Do something whose results must be alike, too; tell whether it succeeded."""
        number, results = self.both(work)
        if not number and results[0] != results[1]:
            raise AssertionError(f"{results[0]!r:.300} here and {results[1]!r:.300} there")
        return not number

    def place(self) -> str:
        """Choose a path: below our own directory, or one of our names in the shared one."""
        if self._dice.random() < 0.15:
            return f"{SHARED}/{self._own}-{self._dice.choice(NAMES)}"
        depth = self._dice.randrange(1, DEPTH)
        return "/".join([self._own, *(self._dice.choice(NAMES) for _ in range(depth))])

    def body(self) -> bytes:
        size = self._dice.choice((0, 1, 100, 4096, 5000, self._dice.randrange(LARGEST)))
        return self._dice.randbytes(size)

    # -- verbs

    def create(self) -> bool:
        name, body = self.place(), self.body()
        return self.agreed(lambda root: (root / name).write_bytes(body))

    def overwrite(self) -> bool:
        name, body, offset = self.place(), self.body(), self._dice.randrange(LARGEST)

        def work(root: Path) -> None:
            fd = os.open(root / name, os.O_WRONLY)
            try:
                os.pwrite(fd, body, offset)
            finally:
                os.close(fd)

        return self.agreed(work)

    def mkdir(self) -> bool:
        name = self.place()
        return self.agreed(lambda root: (root / name).mkdir())

    def rename(self) -> bool:
        old, new = self.place(), self.place()
        return self.agreed(lambda root: os.rename(root / old, root / new))  # noqa: PTH104

    def unlink(self) -> bool:
        name = self.place()
        return self.agreed(lambda root: (root / name).unlink())

    def rmdir(self) -> bool:
        name = self.place()
        return self.agreed(lambda root: (root / name).rmdir())

    def symlink(self) -> bool:
        name, target = self.place(), self._dice.choice(NAMES)
        return self.agreed(lambda root: (root / name).symlink_to(target))

    def truncate(self) -> bool:
        name, size = self.place(), self._dice.randrange(LARGEST)
        return self.agreed(lambda root: os.truncate(root / name, size))

    def chmod(self) -> bool:
        name, mode = self.place(), self._dice.choice((0o600, 0o644, 0o755, 0o700))
        return self.agreed(lambda root: (root / name).chmod(mode))

    def read(self) -> bool:
        name = self.place()
        return self.agreed(lambda root: (root / name).read_bytes())

    def list(self) -> bool:
        name = self.place()
        return self.agreed(lambda root: sorted(os.listdir(root / name)))  # noqa: PTH208

    def open(self) -> bool:
        if len(self._open) >= MOST_OPEN:
            return False
        name, flags = self.place(), self._dice.choice((os.O_RDONLY, os.O_RDWR, os.O_RDWR))
        number, fds = self.both(lambda root: os.open(root / name, flags))
        if number:
            return False
        if stat.S_ISREG(os.fstat(fds[0]).st_mode):
            self._open.append((flags, fds))
            return True
        for fd in fds:
            os.close(fd)
        return False

    def use_open(self) -> bool:
        """Write to and read from an open file, whatever became of its name."""
        if not self._open:
            return False
        flags, fds = self._dice.choice(self._open)
        body, offset = self.body(), self._dice.randrange(LARGEST)
        if flags == os.O_RDWR and self._dice.random() < 0.5:
            for fd in fds:
                os.pwrite(fd, body, offset)
        parts = [os.pread(fd, 2 * LARGEST, 0) for fd in fds]
        if parts[0] != parts[1]:
            raise AssertionError(f"open: {parts[0]!r:.200} here and {parts[1]!r:.200} there")
        return True

    def close(self) -> bool:
        if not self._open:
            return False
        _, fds = self._open.pop(self._dice.randrange(len(self._open)))
        for fd in fds:
            os.close(fd)
        return True


def main() -> int:
    one, two, name, seed, seconds = sys.argv[1:]
    storm = Storm((Path(one), Path(two)), name, random.Random(seed))
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
