"""The same things done in two directories, one of them on a mount, and compared.

twins = Twins(mount.path, local)
twins.write_whole("d/f", b"…")      True: done in both; False: refused in both, alike
                                    AssertionError: they differ in an errno or in what they tell
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_T = TypeVar("_T")

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


def both(pair: tuple[_T, _T], work: Callable[[_T], Any]) -> tuple[int, list[Any]]:
    """Do something with each of two; it must end alike. Return its errno, or 0, and the results."""
    ends, results = [], []
    for each in pair:
        try:
            results.append(work(each))
            ends.append(0)
        except OSError as error:
            number = error.errno or -1
            ends.append(SAME.get(number, number))
    if ends[0] != ends[1]:
        told = [errno.errorcode.get(number, str(number)) for number in ends]
        raise AssertionError(f"ended with {told[0]} here and {told[1]} there")
    return ends[0], results


def agreed(pair: tuple[_T, _T], work: Callable[[_T], Any]) -> bool:
    """Do something with each of two whose results must be alike; tell whether it succeeded."""
    number, results = both(pair, work)
    if not number and results[0] != results[1]:
        raise AssertionError(f"{results[0]!r:.300} here and {results[1]!r:.300} there")
    return not number


class Twins:
    """Two directories, and what can be done by name below both. Each verb is as at the head."""

    def __init__(self, one: Path, two: Path) -> None:
        self.roots = one, two

    def _agreed(self, work: Callable[[Path], Any]) -> bool:
        return agreed(self.roots, work)

    def open(self, name: str, flags: int) -> tuple[int, int] | None:
        """Return a descriptor of each regular file; None if there are none."""
        number, fds = both(self.roots, lambda root: os.open(root / name, flags, 0o644))
        if number:
            return None
        if stat.S_ISREG(os.fstat(fds[0]).st_mode):
            return fds[0], fds[1]
        for fd in fds:
            os.close(fd)
        return None

    def write_whole(self, name: str, body: bytes) -> bool:
        return self._agreed(lambda root: (root / name).write_bytes(body))

    def write_into(self, name: str, body: bytes, offset: int) -> bool:
        def work(root: Path) -> None:
            fd = os.open(root / name, os.O_WRONLY)
            try:
                os.pwrite(fd, body, offset)
            finally:
                os.close(fd)

        return self._agreed(work)

    def append(self, name: str, body: bytes) -> bool:
        def work(root: Path) -> None:
            with (root / name).open("ab") as file:
                file.write(body)

        return self._agreed(work)

    def truncate(self, name: str, size: int) -> bool:
        return self._agreed(lambda root: os.truncate(root / name, size))

    def read(self, name: str) -> bool:
        return self._agreed(lambda root: (root / name).read_bytes())

    def unlink(self, name: str) -> bool:
        return self._agreed(lambda root: (root / name).unlink())

    def rename(self, old: str, new: str) -> bool:
        return self._agreed(lambda root: os.rename(root / old, root / new))  # noqa: PTH104

    def mkdir(self, name: str) -> bool:
        return self._agreed(lambda root: (root / name).mkdir())

    def rmdir(self, name: str) -> bool:
        return self._agreed(lambda root: (root / name).rmdir())

    def symlink(self, name: str, target: str) -> bool:
        return self._agreed(lambda root: (root / name).symlink_to(target))

    def chmod(self, name: str, mode: int) -> bool:
        return self._agreed(lambda root: (root / name).chmod(mode))

    def list(self, name: str) -> bool:
        return self._agreed(lambda root: sorted(os.listdir(root / name)))  # noqa: PTH208

    def stat(self, name: str) -> bool:
        """Compare kind and mode, and the size of files."""

        def work(root: Path) -> tuple[int, int]:
            found = (root / name).stat()
            return found.st_mode, found.st_size if stat.S_ISREG(found.st_mode) else 0

        return self._agreed(work)
