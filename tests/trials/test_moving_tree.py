"""Files that are written, cut, renamed and removed in directories that are renamed meanwhile.

What a program sees of it is at most that a name is gone; afterwards nothing is owed and nothing is
left over. `./run long moving_tree` goes on for a minute.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.conftest import SEED
from tests.support.crashes import wait_until_let_go
from tests.support.mount import Mount, run_aisfs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

MIB = 1 << 20


class Movers:
    """Threads that each do one kind of thing until the time is over; their errors are kept."""

    def __init__(self, top: Path, seconds: float) -> None:
        self._top = top
        self._end = time.monotonic() + seconds
        self.errors: list[str] = []
        self.done = dict.fromkeys(("write", "change", "rename", "look"), 0)
        kinds = (self._write, self._change, self._rename, self._look)
        self._threads = [
            threading.Thread(target=self._go_on, args=(name, work, random.Random(f"{SEED} {name}")))
            for name, work in zip(self.done, kinds, strict=True)
        ]

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _go_on(
        self, name: str, work: Callable[[Path, random.Random], None], chance: random.Random
    ) -> None:
        for directory in itertools.cycle(("d", "e")):
            if time.monotonic() > self._end:
                return
            try:
                work(self._top / directory, chance)
                self.done[name] += 1
            except FileNotFoundError:
                pass  # it has just been renamed or removed
            except OSError as error:
                # Of a name that was replaced twice while it was opened: the kernel looks once more.
                if error.errno != errno.ESTALE or error.filename is None:
                    self.errors.append(f"{name}: {error}")

    @staticmethod
    def _write(directory: Path, chance: random.Random) -> None:
        with (directory / f"f{chance.randrange(3)}").open("wb", buffering=0) as file:
            for _ in range(chance.randrange(12)):
                file.write(chance.randbytes(MIB // 4))
                if chance.random() < 0.2:
                    os.fsync(file.fileno())

    @staticmethod
    def _change(directory: Path, chance: random.Random) -> None:
        path = directory / f"f{chance.randrange(3)}"
        changes: list[Callable[[], object]] = [
            lambda: path.chmod(0o600 + chance.randrange(64)),
            lambda: os.utime(path),
            lambda: os.setxattr(path, "user.a", chance.randbytes(9)),
            lambda: os.truncate(path, chance.choice([0, 100])),
            lambda: path.rename(directory / f"f{chance.randrange(3)}"),
            path.unlink,
        ]
        chance.choice(changes)()

    def _rename(self, directory: Path, chance: random.Random) -> None:
        other = self._top / ("e" if directory.name == "d" else "d")
        try:
            directory.rename(other)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
        time.sleep(0.2)

    def _look(self, directory: Path, chance: random.Random) -> None:
        names = [path.name for path in directory.iterdir()]
        if len(names) != len(set(names)):
            self.errors.append(f"listed twice: {sorted(names)}")
        for name in names:
            with suppress(FileNotFoundError):
                (directory / name).read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("options", [[], ["write-back"]], ids=str)
def test_a_moving_tree_loses_nothing(
    endpoint: str,
    bucket: Bucket,
    options: list[str],
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    with Mount(endpoint, f"ais://{bucket.name}", options=options) as mount:
        (mount.path / "d").mkdir()
        movers = Movers(mount.path, rounds(5, 60))
        movers.run()
        for name, count in movers.done.items():
            tally(name, count)
            assert count > 0
        assert movers.errors == []
        ended = run_aisfs("sync", mount.path)
        assert ended.returncode == 0, ended.stderr
        wait_until_let_go(mount)
        (directory,) = mount.path.iterdir()
        left = {path.name: path.read_bytes() for path in directory.iterdir()}
        assert run_aisfs("umount", mount.path).returncode == 0
        stored = {
            entry.name.partition("/")[2]: bucket.object(entry.name).get().read_all()
            for entry in bucket.list_all_objects()
        }
        assert {name: body for name, body in stored.items() if name != ".aisfs-dir"} == left
