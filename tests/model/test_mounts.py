"""Two mounts of one bucket against a local directory, with remounts and kill -9 between steps.

Each step is done on one of the mounts and in the local directory, and must end alike. Times to live
are 0, so either mount has to show what the other closed. What is closed to nobody yet, the other
does not see: while a file is open for writing, or was unlinked while it was open, everything that
concerns it is done on the mount that has it open.

A kill takes the descriptors of one mount. What close or fsync acknowledged must be there after it;
of what was written since, a file may hold any state that it had, and the local one follows.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.crashes import deletions, owed
from tests.support.mount import Mount
from tests.support.twins import Twins, agreed, difference
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

OPTIONS = ["attribute-ttl=0s", "negative-ttl=0s", "listing-ttl=0s", "stream-after=64KiB"]

NAMES = "ab"
LARGEST = 120_000
MOST_OPEN = 4
READ_ONLY = os.O_RDONLY
WAYS = [
    READ_ONLY,
    READ_ONLY,
    os.O_RDWR,
    os.O_RDWR | os.O_CREAT,
    os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    os.O_RDWR | os.O_CREAT | os.O_EXCL,
    os.O_RDWR | os.O_CREAT | os.O_APPEND,
]

sides = st.integers(0, 1)
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
numbers = st.integers(0, 9)
places = st.one_of(numbers, numbers, numbers, paths)
"""Where something is done: by number, mostly where there is something."""

bodies = st.one_of(
    st.binary(max_size=20),
    st.tuples(st.binary(min_size=1, max_size=5), st.sampled_from((900, 9_000, 20_000))).map(
        lambda parts: parts[0] * parts[1]
    ),
)
sizes = st.integers(0, LARGEST)
picks = st.integers(0, MOST_OPEN - 1)


@dataclass(eq=False)
class Open:
    """A descriptor on one mount and its local twin.

    Attributes:
        doubtful: the other mount changed the file, so that this one may be stale (C4).
    """

    side: int
    flags: int
    fds: tuple[int, int]
    doubtful: bool = False

    @property
    def writable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY

    @property
    def ino(self) -> int:
        """Of the local file, which is open, so that no other has this number."""
        return os.fstat(self.fds[1]).st_ino

    @property
    def local_content(self) -> bytes:
        return Path(f"/proc/self/fd/{self.fds[1]}").read_bytes()


@dataclass(eq=False)
class Written:
    """A local file that is open for writing on a mount.

    Attributes:
        states: what its object may hold after a kill: what was acknowledged last, None if there
            need not be one, and what was written since.
    """

    side: int
    states: list[bytes | None] = field(default_factory=list)


class Machine(RuleBasedStateMachine):
    """The rules. The local directory is the model.

    Args:
        mounts: both mounts; each example works in a directory of its own.
        local: where the local twins lie.
        numbers: give each example its directory.
        counts: how often each thing was done.
    """

    def __init__(
        self,
        mounts: tuple[Mount, Mount],
        local: Path,
        numbers: Iterator[int],
        counts: Counter[str],
    ) -> None:
        super().__init__()
        self.mounts = mounts
        self.counts = counts
        self.name = f"example{next(numbers)}"
        self.local = local / self.name
        self.twins = [Twins(mount.path / self.name, self.local) for mount in mounts]
        self.open: list[Open] = []
        self.written: dict[int, Written] = {}
        self.unlinked: dict[str, Open] = {}
        self.killed = self.remounted = False

    @initialize(side=sides)
    def begin(self, side: int) -> None:
        """Start with something: most steps on nothing are refusals."""
        for mount in self.mounts:
            if not mount.daemon_pid:  # the example before failed while it was away
                mount.remount()
        twins = self.twins[side]
        for name in ("", "a", "b", "a/b"):
            assert twins.mkdir(name)
        for name in ("a/a", "a/b/a"):
            assert twins.write_whole(name, name.encode() * 10_000)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:  # else the step that failed is what counts
                while self.open:
                    self._close(self.open[0])
                self._compare(0, 1)
        finally:
            for fd in (fd for each in self.open for fd in each.fds):
                with contextlib.suppress(OSError):
                    os.close(fd)
            shutil.rmtree(self.local, ignore_errors=True)

    # -- whose turn it is

    def _concerned(self, path: str) -> set[int]:
        """Return the local files that a path, what leads there, and what lies below it are."""
        places = [self.local / path, self._real(path)]
        places += [above for place in places for above in place.parents if above != self.local]
        found = set()
        for place in (*places, *places[0].rglob("*"), *places[1].rglob("*")):
            with contextlib.suppress(OSError):  # it is not there, or a loop of links
                found.add(place.lstat().st_ino)
        return found

    def _real(self, path: str) -> Path:
        return Path(os.path.realpath(self.local / path))

    def _owners(self, *names: str) -> set[int]:
        """Return the mounts that have something open which the other cannot know."""
        owners = set()
        for path in names:
            files = self._concerned(path)
            owners |= {w.side for ino, w in self.written.items() if ino in files}
            for gone, handle in self.unlinked.items():
                for place in (self.local / path, self._real(path)):
                    hidden = self.local / gone
                    if hidden.is_relative_to(place) or place.is_relative_to(hidden):
                        owners.add(handle.side)
        return owners

    def _side(self, drawn: int, *names: str) -> int | None:
        """Return the mount on which something is to be done; None if neither knows all."""
        owners = self._owners(*names)
        if len(owners) > 1:
            return None
        return owners.pop() if owners else drawn

    def _do(self, side: int, verb: str, *arguments: object, changes: tuple[str, ...] = ()) -> bool:
        """Do something by name; `changes` are the names whose other descriptors may be stale."""
        files = {ino for path in changes for ino in self._concerned(path)}
        done: bool = getattr(self.twins[side], verb)(*arguments)
        if done:
            self.counts[verb] += 1
            self._doubt(side, files)
            self._take_note()
        return done

    def _doubt(self, side: int, files: set[int]) -> None:
        for each in self.open:
            if each.side != side and each.ino in files:
                each.doubtful = True

    def _take_note(self) -> None:
        """Remember what files have become that are open for writing."""
        for each in self.open:
            states = self.written[each.ino].states if each.ino in self.written else None
            if states is not None and states[-1] != each.local_content:
                states.append(each.local_content)

    def _acknowledge(self, ino: int) -> None:
        if ino in self.written:
            self.written[ino].states = self.written[ino].states[-1:]

    def _acknowledge_at(self, path: str) -> None:
        """Take note that a program closed what it wrote there."""
        self._acknowledge((self.local / path).stat().st_ino)

    # -- by name

    def _place(self, place: int | str, *, file: bool = False) -> str:
        """Return a path; a number means one of those that are there, or of the files there."""
        if isinstance(place, str):
            return place
        known = sorted(
            os.fspath(path.relative_to(self.local))
            for path in self.local.rglob("*")
            if path.is_file() or not file
        )
        return known[place % len(known)] if known else NAMES[0]

    @rule(
        side=sides,
        verb=st.sampled_from(("write_whole", "write_into", "append", "truncate", "chmod")),
        place=places,
        body=bodies,
        size=sizes,
        mode=st.sampled_from((0o600, 0o644, 0o755, 0o700)),
    )
    def change(
        self, side: int, verb: str, place: int | str, body: bytes, size: int, mode: int
    ) -> None:
        path = self._place(place, file=verb != "chmod")
        arguments: dict[str, tuple[object, ...]] = {
            "write_whole": (body,),
            "write_into": (body, size),
            "append": (body,),
            "truncate": (size,),
            "chmod": (mode,),
        }
        here = self._side(side, path)
        if here is None or not self._do(here, verb, path, *arguments[verb], changes=(path,)):
            return
        if verb in {"write_whole", "write_into", "append"}:  # with a descriptor, closed at once
            self._acknowledge((self.local / path).stat().st_ino)

    @rule(
        side=sides,
        verb=st.sampled_from(("rename", "rename", "remove", "mkdir", "symlink")),
        place=places,
        to=places,
        made=paths,
    )
    def change_names(
        self, side: int, verb: str, place: int | str, to: int | str, made: str
    ) -> None:
        old, new = self._place(place), self._place(to)
        here = self._side(side, *{"rename": (old, new), "remove": (old,)}.get(verb, (made,)))
        if here is None:
            return
        match verb:
            case "rename":
                self._do(here, "rename", old, new, changes=(old, new))
            case "remove":
                self._remove(here, old)
            case "mkdir":
                self._do(here, "mkdir", made)
            case _:
                self._do(here, "symlink", made, NAMES[len(made) % 2])

    def _remove(self, here: int, path: str) -> None:
        local = self.local / path
        if local.is_dir() and not local.is_symlink():
            self._do(here, "rmdir", path)
            return
        ino = local.lstat().st_ino if os.path.lexists(local) else -1
        name = os.fspath(
            (self._real(os.fspath(Path(path).parent)) / local.name).relative_to(self.local)
        )
        if self._do(here, "unlink", path, changes=(path,)):
            users = [each for each in self.open if each.side == here and each.ino == ino]
            if users:
                self.unlinked[name] = users[0]
            else:
                self._wait_for_deletion(here, name)

    def _wait_for_deletion(self, side: int, path: str) -> None:
        """Wait until nothing has the file open on the mount: the kernel tells it after close(2)."""
        name, state = f"{self.name}/{path}", self.mounts[side].state
        wait_until(lambda: name not in deletions(state), f"the deletion of {name}")

    @rule(side=sides, place=places)
    def look(self, side: int, place: int | str) -> None:
        path = self._place(place)
        here = self._side(side, path)
        if here is not None:
            self._do(here, "stat", path)
            self._do(here, "list" if (self.local / path).is_dir() else "read", path)

    # -- descriptors that stay open

    @precondition(lambda self: len(self.open) < MOST_OPEN)
    @rule(side=sides, place=places, flags=st.sampled_from(WAYS))
    def open_file(self, side: int, place: int | str, flags: int) -> None:
        path = self._place(place, file=True)
        here = self._side(side, path)
        if here is None:
            return
        before = None
        with contextlib.suppress(OSError):  # then it is made, or the open is refused
            before = (self.local / path).read_bytes()
        files = self._concerned(path)
        fds = self.twins[here].open(path, flags)
        if fds is None:
            return
        self.counts["open"] += 1
        handle = Open(here, flags, fds)
        self.open.append(handle)
        if handle.writable:
            self.written.setdefault(handle.ino, Written(here, [before]))
        if flags & os.O_TRUNC:
            self._doubt(here, files)
        self._take_note()

    def _picked(self, pick: int) -> Open:
        return self.open[pick % len(self.open)]

    @precondition(lambda self: self.open)
    @rule(
        pick=picks,
        verb=st.sampled_from(("write", "write", "truncate", "read", "read", "fsync", "close")),
        body=bodies.filter(bool),
        size=sizes,
    )
    def use_open(self, pick: int, verb: str, body: bytes, size: int) -> None:
        handle = self.open[pick % len(self.open)]
        if verb == "close":
            self._close(handle)
            return
        if verb == "read":
            self._read_open(handle)
        elif handle.writable:
            works: dict[str, Callable[[int], object]] = {
                "write": lambda fd: os.pwrite(fd, body, size),
                "truncate": lambda fd: os.ftruncate(fd, size),
                "fsync": os.fsync,
            }
            assert agreed(handle.fds, works[verb])
            self._doubt(handle.side, {handle.ino})
            self._take_note()
            if verb == "fsync":
                self._acknowledge(handle.ino)
        self.counts[f"{verb} open"] += 1

    def _read_open(self, handle: Open) -> None:
        if not handle.doubtful:
            assert agreed(handle.fds, lambda fd: os.pread(fd, 10 * LARGEST, 0))
            assert agreed(handle.fds, lambda fd: os.fstat(fd).st_size)
            return
        try:
            os.pread(handle.fds[0], 10 * LARGEST, 0)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise

    def _close(self, handle: Open) -> None:
        ino = handle.ino
        self.open.remove(handle)
        last = all(each.ino != ino for each in self.open if each.side == handle.side)
        if handle.writable:
            self._acknowledge(ino)
            if not any(each.writable for each in self.open if each.ino == ino):
                del self.written[ino]
        assert agreed(handle.fds, os.close)
        self.counts["close"] += 1
        for path, other in list(self.unlinked.items()):
            if other is handle:
                self._last_of(path, handle, last=last, ino=ino)

    def _last_of(self, path: str, handle: Open, *, last: bool, ino: int) -> None:
        """Take note that a descriptor of an unlinked file is gone."""
        if last:
            del self.unlinked[path]
            self._wait_for_deletion(handle.side, path)
            return
        rest = (each for each in self.open if each.side == handle.side and each.ino == ino)
        self.unlinked[path] = next(rest)

    # -- mounts that come and go

    def _compare(self, *sides: int) -> None:
        """Compare the whole tree on mounts, if they have to know all of it."""
        for side in sides:
            if self._owners(".") <= {side}:
                assert difference(*self.twins[side].roots) == ""

    @precondition(lambda self: not self.remounted)
    @rule(side=sides)
    def remount(self, side: int) -> None:
        self.remounted = True
        for handle in [each for each in self.open if each.side == side]:
            self._close(handle)
        self.mounts[side].remount()
        self.counts["remount"] += 1
        self._compare(side)

    @precondition(lambda self: not self.killed)
    @rule(side=sides)
    def kill(self, side: int) -> None:
        self.killed = True
        mount = self.mounts[side]
        mount.kill()
        lost = [each for each in self.open if each.side == side]
        for handle in lost:
            with contextlib.suppress(OSError):  # there is nobody to flush to
                os.close(handle.fds[0])
        mount.remount()
        self.counts["kill"] += 1
        for ino, written in list(self.written.items()):
            if written.side == side:
                self._follow(ino, written)
                del self.written[ino]
        for handle in lost:
            self.open.remove(handle)
            os.close(handle.fds[1])
        self.unlinked = {p: each for p, each in self.unlinked.items() if each.side != side}
        self._compare(side)
        assert owed(mount.state) == {}

    def _follow(self, ino: int, written: Written) -> None:
        """Check what a kill left of a file that was open for writing, and have it here, too."""
        places = [path for path in self.local.rglob("*") if path.lstat().st_ino == ino]
        if not places:
            return  # it was unlinked
        (local,) = places
        found = [twins.roots[0] / local.relative_to(self.local) for twins in self.twins]
        now, there = (path.read_bytes() if path.exists() else None for path in found)
        assert now in written.states, f"{local} was never what is there now, or is lost"
        assert there == now
        if now is None:
            local.unlink()
            self.counts["gone with the daemon"] += 1
            return
        newest = now == written.states[-1]
        self.counts["newest after a kill" if newest else "older after a kill"] += 1
        local.write_bytes(now)
        local.chmod(found[0].stat().st_mode & 0o777)


@pytest.fixture
def mounts(endpoint: str, bucket: Bucket) -> Iterator[tuple[Mount, Mount]]:
    source = f"ais://{bucket.name}"
    with (
        Mount(endpoint, source, options=OPTIONS) as one,
        Mount(endpoint, source, options=OPTIONS) as two,
    ):
        yield one, two


@pytest.mark.long
def test_two_mounts_are_one_directory(
    mounts: tuple[Mount, Mount],
    tmp_path: Path,
    seeded: random.Random,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    """The sample is the same each time; `./run long two_mounts` goes by AISFS_SEED."""
    full_run = rounds(0, 1) == 1
    counts: Counter[str] = Counter()
    machine = functools.partial(Machine, mounts, tmp_path, itertools.count(), counts)
    if full_run:
        hypothesis.seed(seeded.randrange(1 << 32))(machine)
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]
        settings=settings(
            max_examples=rounds(7, 120),
            stateful_step_count=rounds(50, 100),
            derandomize=not full_run,
            database=None,
            phases=list(Phase)
            if full_run
            else [Phase.generate],  # no time to look for a smaller one
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    for what, count in counts.items():
        tally(what, count)


def test_a_kill_leaves_what_was_acknowledged(mounts: tuple[Mount, Mount], tmp_path: Path) -> None:
    """One example by hand, of what few of the random ones have: all that a kill can leave."""
    counts: Counter[str] = Counter()
    machine = Machine(mounts, tmp_path, itertools.count(), counts)
    machine.begin(0)
    machine.open_file(0, "a/a", os.O_RDWR)
    machine.open_file(0, "b/new", os.O_RDWR | os.O_CREAT)
    machine.open_file(0, "b/synced", os.O_RDWR | os.O_CREAT)
    for pick in range(3):
        machine.use_open(pick, "write", b"bytes", 7)
    machine.use_open(2, "fsync", b"", 0)
    machine.kill(0)
    machine.teardown()
    after = {what: counts[what] for what in counts if "after a kill" in what or "gone" in what}
    assert after == {"older after a kill": 1, "gone with the daemon": 1, "newest after a kill": 1}
