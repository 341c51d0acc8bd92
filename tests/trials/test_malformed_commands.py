"""Commands that are none, thousands of them: each has its errno and its words, none half an effect.

`./run long malformed` gives 10,000. What a write carried out is what it says that it did: the lines
before its first bad one, which other clients see on the cluster.
"""

from __future__ import annotations

import errno
import os
import string
from typing import TYPE_CHECKING

import pytest

from aisfs.control.verbs import VERBS
from aisfs_sdk import Client
from tests.support.mount import Mount

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

ERRNOS = {
    errno.EINVAL, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.E2BIG,
    errno.EBUSY,
}  # fmt: skip

NONSENSE = [
    "{verb}",
    "{verb} ''",
    "{verb} a b c d e",
    "{verb} /b/absent {noise}=1",
    "{verb} '/b/absent",
    '{verb} "/b/absent',
    "{verb} xyz://b/o xyz://b/p",
    "{verb} ais:// ais://",
    "{verb} /b/../etc /b/./p",
    "{verb} /b//x /b/y/",
    "{verb} /b/absent /b/absent etl=absent from=/b/absent",
    "{noise} /b/o /b/p",
    "{noise}",
    "{verb}\t\x01",
    "copy /b/o /b/{noise} etl=",
    "copy /b/absent /b/{noise}",
    "archive /b/x.tar from=/b/ template=/ more=1",
    "evict /b/o keep-md={noise}",
    "abort {noise}",
    "etl-init {noise} code=/b/absent",
]
"""Lines that no cluster can carry out; `noise` is a word, `verb` any of the verbs."""


class Giver:
    """Writes commands as a program does, one write each, and compares what is told with them."""

    def __init__(self, mount: Path, dice: random.Random) -> None:
        self._control = mount / ".aisfs"
        self._dice = dice
        self._made = 0
        self.copied: set[str] = set()
        self._fd = os.open(self._control / "ctl", os.O_WRONLY)

    def close(self) -> None:
        """Close the control file."""
        os.close(self._fd)

    def give(self) -> str:
        """Write some good lines and a bad one; return the errno's name, or what was done of it."""
        bad = self._bad()
        good = [self._good() for _ in range(self._dice.choice((0, 0, 0, 1, 3)))]
        lines = [f"copy /b/o /b/{name}\n".encode() for name in good]
        done = sum(map(len, lines))
        written, number = self._write(b"".join([*lines, bad, b"\n"]))
        told = (self._control / "last").read_text("utf-8", "surrogateescape")
        error, name, _, words = told.rstrip("\n").split("\t")
        assert (error, told.count("\n")) == ("error", 1)
        assert len(words) > 10, told
        assert written == done, (good, bad, told)
        assert bool(number) == (not good), (good, bad, told)
        self.copied |= set(good)
        if good:
            return "the lines before it"
        assert number in ERRNOS, (bad, told)
        assert name == errno.errorcode[number]
        return name

    def _write(self, data: bytes) -> tuple[int, int]:
        """Return how many bytes were taken, or the errno."""
        try:
            return os.write(self._fd, data), 0
        except OSError as error:
            return 0, error.errno or -1

    def _good(self) -> str:
        self._made += 1
        return f"copy-{self._made}"

    def _noise(self) -> str:
        return "".join(self._dice.choices(string.ascii_letters, k=8))

    def _bad(self) -> bytes:
        if self._dice.random() < 0.2:
            return b"no-" + self._dice.randbytes(20).replace(b"\n", b"?")
        verb = self._dice.choice([name for name in VERBS if name != "start"])
        form = self._dice.choice(NONSENSE)
        return form.format(verb=verb, noise=self._noise()).encode()


@pytest.mark.long
def test_malformed_commands(
    store: StoreProcess,
    seeded: random.Random,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    """Only what was said to be done is done."""
    bucket = Client(store.endpoint).bucket("b").create()
    bucket.object("o").put_content(b"content")
    with Mount(store.endpoint, options=["log-level=error"]) as mount:
        giver = Giver(mount.path, seeded)
        try:
            for _ in range(rounds(300, 10_000)):
                tally(giver.give(), 1)
        finally:
            giver.close()
        assert (mount.path / "b/o").read_bytes() == b"content"
    found = {entry.name for entry in bucket.list_all_objects()}
    assert found == {"o"} | giver.copied
