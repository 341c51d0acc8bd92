"""kill -9 of the daemon in the middle of a rename, again and again (C31, C32).

Requests are held up so that each state is really reached; another client of the cluster is the
judge. `./run long crashes` kills 40 times in each state. What must never happen: a content that is
lost or cut, a tree that is partly here and partly there, a mount that does not come up again.

    state                  the daemon is killed while                        the next mount shows
    file, copying          the copy is asked for, or is made                 the old name, or both
    file, deleting         the deletion is asked for, or is done             both names, or the new
    directory, copying     some members have their copies                    the new tree: finished
    directory, deleting    some old names are gone                           the new tree: finished
    directory, replay      the next mount finishes one of these              the new tree: finished

A file's rename is not written down, so what a crash cuts off stays as it is: each name that is
there is whole. Whoever renames it again loses nothing.

With `AIS_ENDPOINT` the daemon is killed at random moments of renames on a real cluster, too, until
each state was met as often; the journal tells which one it was.
"""

from __future__ import annotations

import itertools
import re
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import pytest

from aisfs.vfs.paths import MARKER
from aisfs_sdk import Client
from tests.support.blocks import body
from tests.support.crashes import kill_while_mounting, owed, phase_of_rename, renaming
from tests.support.mount import Mount
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aisfs_sdk import Bucket
    from tests.support.nodes import Machine
    from tests.support.store import StoreProcess

pytestmark = pytest.mark.fuse

HELD: dict[str, Any] = {"action": "delay", "seconds": 3600}
"""The request is held up until the daemon is dead, and longer than the store lives."""

DONE: dict[str, Any] = {"role": "target", "action": "stall", "seconds": 5}
"""The request is carried out, and the daemon never hears of it."""

METHODS = {"copying": "PUT", "deleting": "DELETE"}

MEMBERS = 24
SIZES = (0, 20, 5_000, 300_000)

Objects = dict[str, bytes]


class _Trial:
    """One mount that is killed in the middle of renames, and the judge's view of its bucket.

    Args:
        endpoint, bucket: where it is mounted.
        state: what is under way when the daemon is killed.
        dice: decides sizes, and at which request or moment it is killed.
        told: adds to the table of state × outcome.
    """

    def __init__(
        self,
        endpoint: str,
        bucket: Bucket,
        state: str,
        dice: random.Random,
        told: Callable[[str, int], None],
    ) -> None:
        self._bucket = bucket
        self._state = state
        self._dice = dice
        self._told = told
        self._numbers = itertools.count()
        self._mount = Mount(endpoint, f"ais://{bucket.name}")

    def _fill(self, old: str, new: str) -> Objects:
        """Make a tree, and half of the time an empty directory where it is to go."""
        if self._dice.random() < 0.5:
            (self._mount.path / new).mkdir()
        (self._mount.path / old / "empty").mkdir(parents=True)
        for number in range(MEMBERS):
            name = f"{old}/s{number % 3}/f{number:02}"
            self._bucket.object(name).put_content(body(name, 1, self._dice.choice(SIZES)))
        return self._objects(old, new)

    def _fill_file(self, old: str, new: str) -> tuple[bytes, Objects]:
        """Make a file, and half of the time another one that it is to replace."""
        source = body(old, 1, self._dice.choice(SIZES))
        before = {old: source}
        if self._dice.random() < 0.5:
            before[new] = body(new, 1, self._dice.choice(SIZES[1:]))
        for name, data in before.items():
            self._bucket.object(name).put_content(data)
        return source, before

    def _rename_again(self, old: str, new: str, source: bytes) -> None:
        """Whoever was told that it failed does it again, if there is still anything to do."""
        if (self._mount.path / old).exists():
            (self._mount.path / old).rename(self._mount.path / new)
        assert self._objects(old, new) == {new: source}

    @staticmethod
    def _moved(before: Objects, old: str, new: str) -> Objects:
        return {
            new + name[len(old) :]: data
            for name, data in before.items()
            if name.startswith(f"{old}/")
        }

    def _objects(self, old: str, new: str) -> Objects:
        """Return all objects of either name or below them, as another client sees them."""
        return {
            entry.name: self._bucket.object(entry.name).get().read_all()
            for entry in self._bucket.list_all_objects()
            if entry.name.split("/")[0] in {old, new}
        }

    def _judge(self, old: str, new: str, expected: Objects, outcome: str, state: str = "") -> None:
        """Compare objects and mount with what is expected, and look for remains."""
        assert differing(self._objects(old, new), expected) == []
        tops = [self._mount.path / name for name in (old, new)]
        shown = {path: path.read_bytes() for top in tops for path in files_at(top)}
        wanted = {
            self._mount.path / name: data
            for name, data in expected.items()
            if not name.endswith(MARKER)
        }
        assert differing(shown, wanted) == []
        assert owed(self._mount.state) == {}
        self._told(f"{state or self._state}: {outcome}", 1)


class _StoreTrial(_Trial, ABC):
    """On an embedded store, which holds requests up."""

    def __init__(self, store: StoreProcess, *rest: Any) -> None:
        super().__init__(store.endpoint, Client(store.endpoint).bucket("crashes").create(), *rest)
        self._store = store

    def run(self, kills: int) -> None:
        """Kill the daemon so often."""
        with self._mount:
            for _ in range(kills):
                number = next(self._numbers)
                self.kill(f"old{number}", f"new{number}", (HELD, DONE)[number % 2])

    @abstractmethod
    def kill(self, old: str, new: str, fault: dict[str, Any]) -> None:
        """Kill the daemon once while it renames, and judge what the next mount shows."""

    def _hold(self, method: str, name: str, fault: dict[str, Any]) -> None:
        path = f"^/v1/objects/crashes/{re.escape(name)}$"
        self._store.faults([{**fault, "method": method, "path": path}])

    def _kill_while_renaming(
        self, old: str, new: str, reached: Callable[[], bool], what: str
    ) -> None:
        with renaming(self._mount.path / old, self._mount.path / new) as rename:
            wait_until(lambda: self._store.struck() and reached(), what)
            time.sleep(self._dice.random() * 0.05)  # the random moment is the point
            self._mount.kill()
        assert rename.errno, "a rename that was cut off said that all was well"
        self._store.clear_faults()


class FileTrial(_StoreTrial):
    """Renames of single files."""

    def kill(self, old: str, new: str, fault: dict[str, Any]) -> None:
        """Kill the daemon once; see `_Trial.kill`."""
        source, before = self._fill_file(old, new)
        both = {old: source, new: source}
        if self._state == "copying":
            expected = both if fault is DONE else before
        else:
            expected = {new: source} if fault is DONE else both
        self._hold(METHODS[self._state], old, fault)
        self._kill_while_renaming(
            old, new, lambda: self._objects(old, new) == expected, f"{self._state} {old}"
        )
        self._mount.remount()
        self._judge(old, new, expected, outcome_of(expected, old, new))
        self._rename_again(old, new, source)


class DirectoryTrial(_StoreTrial):
    """Renames of directories."""

    def kill(self, old: str, new: str, fault: dict[str, Any]) -> None:
        """Kill the daemon once, or twice in the state "replay"; see `_Trial.kill`."""
        phase = self._state
        if phase == "replay":
            phase = self._dice.choice(("copying", "deleting"))
        before = self._fill(old, new)
        self._bring_about(phase, old, new, before, fault)
        assert phase_of_rename(self._mount.state) == phase
        if self._state == "replay":
            self._kill_while_settling(phase, old, new)
        self._mount.remount()
        self._judge(old, new, self._moved(before, old, new), "new tree, whole")
        assert (self._mount.path / new / "empty").is_dir()

    def _bring_about(
        self, phase: str, old: str, new: str, before: Objects, fault: dict[str, Any]
    ) -> None:
        members = [name for name in before if name.startswith(f"{old}/")]
        own_marker = f"{old}/{MARKER}"
        if phase == "copying" or self._state == "replay":
            members.remove(own_marker)  # it comes last: nothing is left when it is deleted
        held = self._dice.choice(members)
        self._hold(METHODS[phase], held, fault)
        half = {
            "copying": lambda: len(self._names()) > len(before),
            "deleting": lambda: len(self._names() & set(members)) < len(members),
        }
        self._kill_while_renaming(old, new, half[phase], f"{phase} {held}")

    def _kill_while_settling(self, phase: str, old: str, new: str) -> None:
        """Kill the daemon of the next mount while it makes a copy or deletes an old name."""
        names = self._names()
        left = sorted(name for name in names if name.startswith(f"{old}/"))
        if phase == "copying":
            left.remove(f"{old}/{MARKER}")  # it comes last: nothing is left when it is deleted
            lacking = [name for name in left if new + name[len(old) :] not in names]
            if lacking and self._dice.random() < 0.5:
                left = lacking
            else:
                phase = "deleting"
        held = self._dice.choice(left)
        self._hold(METHODS[phase], held, self._dice.choice((HELD, DONE)))
        assert kill_while_mounting(self._mount, self._store.struck, f"{phase} {held}")
        self._store.clear_faults()
        assert phase_of_rename(self._mount.state) == phase

    def _names(self) -> set[str]:
        return {entry.name for entry in self._bucket.list_all_objects()}


class ClusterTrial(_Trial):
    """On a real cluster, at random moments."""

    def run(self, kills: int) -> None:
        """Kill the daemon until the state was met so often."""
        with self._mount:
            while kills:
                number = next(self._numbers)
                kill = self._kill_file if self._state == "file" else self._kill_directory
                kills -= kill(f"old{number}", f"new{number}")
                assert number < 1000, f"{self._state} was met too seldom: {kills} kills are left"

    def _kill_during(self, old: str, new: str, longest_s: float) -> bool:
        """Kill the daemon in a rename; tell whether that was cut off."""
        with renaming(self._mount.path / old, self._mount.path / new) as rename:
            time.sleep(self._dice.random() * longest_s)
            self._mount.kill()
        return rename.errno != 0

    def _kill_file(self, old: str, new: str) -> bool:
        source, before = self._fill_file(old, new)
        cut_off = self._kill_during(old, new, 0.012)
        self._mount.remount()
        found = self._objects(old, new)
        moved = {new: source}
        assert found in ([before, {**before, **moved}, moved] if cut_off else [moved])
        self._judge(old, new, found, outcome_of(found, old, new))
        self._rename_again(old, new, source)
        return cut_off

    def _kill_directory(self, old: str, new: str) -> bool:
        before = self._fill(old, new)
        self._kill_during(old, new, 0.12)
        state = phase = phase_of_rename(self._mount.state)
        if phase and self._dice.random() < 0.5:
            self._kill_while_settling()
            state += ", replay"
        self._mount.remount()
        moved = self._moved(before, old, new)
        if phase:
            expected = before if phase == "listing" else moved
        else:
            expected = before if self._objects(old, new) == before else moved
        outcome = "old tree, whole" if expected == before else "new tree, whole"
        self._judge(old, new, expected, outcome, state or "before or after")
        return phase == self._state

    def _kill_while_settling(self) -> None:
        began = time.monotonic() + self._dice.random() * 0.8

        def reached() -> bool:
            return time.monotonic() > began

        kill_while_mounting(self._mount, reached, "a moment of the start")


def outcome_of(expected: Objects, old: str, new: str) -> str:
    """Return which names a file is to have, in words."""
    if old not in expected:
        return "new name, whole"
    return "both names, whole" if expected.get(new) == expected[old] else "old name, whole"


def files_at(top: Path) -> Iterator[Path]:
    """Return a file, or the files below a directory."""
    return (path for path in (top, *top.rglob("*")) if path.is_file())


def differing(found: dict[Any, bytes], expected: dict[Any, bytes]) -> list[str]:
    """Return where two sets of contents differ, in words, without their bytes."""
    return [
        f"{name}: {len(found[name]) if name in found else 'no'} bytes, "
        f"not the {len(expected[name]) if name in expected else 'no'} expected"
        for name in found.keys() | expected.keys()
        if found.get(name) != expected.get(name)
    ]


STATES: dict[str, type[FileTrial | DirectoryTrial]] = {
    "file, copying": FileTrial,
    "file, deleting": FileTrial,
    "directory, copying": DirectoryTrial,
    "directory, deleting": DirectoryTrial,
    "directory, replay": DirectoryTrial,
}


@pytest.mark.long
@pytest.mark.parametrize("state", STATES)
def test_rename_crashes(
    store: StoreProcess,
    state: str,
    seeded: random.Random,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    """After each kill every content is whole, under the names that the state promises."""
    STATES[state](store, state.split(", ")[1], seeded, tally).run(rounds(2, 40))


@pytest.mark.long
@pytest.mark.parametrize("state", ["file", "copying", "deleting"])
def test_rename_crashes_on_a_cluster(
    machine: Machine,
    bucket: Bucket,
    state: str,
    seeded: random.Random,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    """The same where the cluster decides what a cut request leaves."""
    ClusterTrial(machine.endpoint, bucket, state, seeded, tally).run(rounds(2, 40))
