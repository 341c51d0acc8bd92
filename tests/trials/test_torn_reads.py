"""Answers that break in the middle of a read on a mount: resumed or an errno, never wrong data.

One mount serves all cases, so each also shows that the mount goes on after those before it.
"""

from __future__ import annotations

import errno
import itertools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import Client
from tests.support.blocks import body, origins, read_fully
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

SMALL, LARGE = 100_000, 12 << 20
STEP = 128 << 10
IDLE_S = 1
OPTIONS = ["cache-memory=8MiB", "readahead=4MiB", f"idle-timeout={IDLE_S}s"]
LIMIT_S = 30
"""Seconds that a read may take until its errno: its caller cannot interrupt it."""


@pytest.fixture(scope="module")
def faulty() -> Iterator[StoreProcess]:
    with StoreProcess() as process:
        yield process


@pytest.fixture(scope="module")
def objects(faulty: StoreProcess) -> Bucket:
    return Client(faulty.endpoint).bucket("torn").create()


@pytest.fixture(scope="module")
def torn(faulty: StoreProcess, objects: Bucket) -> Iterator[Mount]:
    with Mount(faulty.endpoint, f"ais://{objects.name}", options=OPTIONS) as mounted:
        yield mounted


@pytest.fixture(autouse=True)
def no_fault_outlives_its_test(faulty: StoreProcess) -> Iterator[None]:
    yield
    faulty.clear_faults()


class Case:
    """An object that nobody has read yet, and a way to read it.

    Attributes:
        after: bytes of an answer after which a fault strikes.
        compare: whether a byte that is not the object's fails the test.
    """

    def __init__(self, path: Path, content: bytes, way: Way, dice: random.Random) -> None:
        self._path = path
        self._content = content
        self._offsets = list(range(way.first, way.size, way.stride))
        if way.stride > STEP:
            dice.shuffle(self._offsets)
        self._flags = os.O_RDONLY | way.flags
        self.after = way.after
        self.compare = True

    def read(self) -> int:
        """Read all steps; return the errno, 0 if there was none."""
        began = time.monotonic()
        fd = os.open(self._path, self._flags)
        try:
            for offset in self._offsets:
                self._check(offset, read_fully(fd, STEP, offset))
        except OSError as error:
            return error.errno or -1
        finally:
            os.close(fd)
            assert time.monotonic() - began < LIMIT_S
        return 0

    def _check(self, offset: int, data: bytes) -> None:
        right = self._content[offset : offset + STEP]
        assert len(data) == len(right), f"{len(data)} bytes at {offset}"
        assert data == right or not self.compare, f"at {offset}: {origins(data)}"


@dataclass(frozen=True)
class Way:
    """How a file is read: in steps from `first` on, `stride` apart."""

    size: int
    after: int
    flags: int = 0
    first: int = 0
    stride: int = STEP


WAYS = {
    "small": Way(SMALL, 70_000),
    "large": Way(LARGE, 3 << 20),
    "direct": Way(LARGE, 3 << 20, os.O_DIRECT),
    # Far from each other, in no order: each is a request of its own.
    "scattered": Way(LARGE, 50_000, os.O_DIRECT, first=2 * STEP, stride=17 * STEP),
}
numbers = itertools.count()


@pytest.fixture(params=WAYS)
def case(
    request: pytest.FixtureRequest, objects: Bucket, torn: Mount, seeded: random.Random
) -> Case:
    way = WAYS[request.param]
    name = f"{request.param}-{next(numbers)}"
    content = body(name, 1, way.size)
    objects.object(name).put_content(content)
    return Case(torn.path / name, content, way, seeded)


def rule(action: str, after: int, times: int = -1) -> dict[str, Any]:
    """Return a fault of the targets' answers to GET."""
    return {
        "method": "GET",
        "role": "target",
        "action": action,
        "after_bytes": after,
        "times": times,
        "seconds": 2 * IDLE_S,
    }


@pytest.mark.parametrize(
    ("action", "ends"),
    [
        ("cut", {0}),
        # The whole of a shorter object looks like this: the file is taken to have changed.
        ("short", {0, errno.ESTALE}),
        # What was received is kept; who waited for the rest is told, who comes next has it.
        ("stall", {0, errno.ETIMEDOUT}),
    ],
)
def test_a_body_that_breaks_twice(
    faulty: StoreProcess, case: Case, action: str, ends: set[int]
) -> None:
    faulty.faults([rule(action, case.after, 2)])
    assert case.read() in ends
    assert 0 < faulty.struck() <= 2
    faulty.clear_faults()
    assert case.read() == 0


@pytest.mark.parametrize("action", ["cut", "short", "stall"])
def test_a_body_that_never_comes(faulty: StoreProcess, case: Case, action: str) -> None:
    faulty.faults([rule(action, 0)])
    assert case.read() in {errno.EIO, errno.ETIMEDOUT, errno.ESTALE}
    assert faulty.struck() > 0
    faulty.clear_faults()
    assert case.read() == 0


@pytest.mark.parametrize("case", ["small", "large", "direct"], indirect=True)
def test_a_damaged_body_is_never_read_to_its_end(faulty: StoreProcess, case: Case) -> None:
    """A program has read up to a page when the checksum of a large file is known; then it is EIO.

    Ranges carry no checksum, so of scattered reads nothing is said here.
    """
    faulty.faults([rule("corrupt", case.after)])
    case.compare = case.after < SMALL
    assert case.read() == errno.EIO
    assert faulty.struck() > 0
    faulty.clear_faults()
    case.compare = True
    assert case.read() == 0


@pytest.mark.parametrize("case", ["small", "large", "direct"], indirect=True)
def test_a_body_under_another_checksum_is_another_object(faulty: StoreProcess, case: Case) -> None:
    faulty.faults([rule("wrong-checksum", 0)])
    assert case.read() == errno.ESTALE
    faulty.clear_faults()
    assert case.read() == 0
