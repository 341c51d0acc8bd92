"""The rounds: everybody does the same work in turn, each on a cold mount, measured alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.mount import measure
from tests.benchmarks.mount.figures import Figure, Run
from tests.benchmarks.mount.mounts import Mounted, Null, Ours, installed_peers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.benchmarks.mount.mounts import Contestant
    from tests.benchmarks.mount.place import Place
    from tests.benchmarks.mount.readers import Readings
    from tests.benchmarks.mount.sets import FileSet
    from tests.benchmarks.mount.wire import Wire

COLD = 0.95
"""A run that fetched less than this part of what it had to fetch was not cold."""


class Bench:
    """Measures figures.

    Args:
        place: where the files are.
        wire: counts bytes; None where the kernel does not let us.
        quick: sizes that show that everything works, and nothing else.
        rounds: how often everybody is measured.
        peers: whether installed peers take part.
        options: words for `-o` of our mount.
    """

    def __init__(
        self,
        place: Place,
        wire: Wire | None,
        *,
        quick: bool = False,
        rounds: int = 3,
        peers: bool = True,
        options: Sequence[str] = (),
    ) -> None:
        self.place = place
        self.quick = quick
        self.ours = Ours(place.entrance, place.bucket.name, (*place.options, *options))
        self.null = Null()
        self.peers = installed_peers(place.entrance, place.bucket.name) if peers else []
        self.rounds = rounds
        self._wire = wire

    def size(self, full: int, quick: int) -> int:
        """Return one of two sizes."""
        return quick if self.quick else full

    @property
    def everybody(self) -> list[Contestant]:
        """All that mount."""
        return [self.ours, self.null, *self.peers]

    @property
    def writers(self) -> list[Contestant]:
        """All that mount and can be written to."""
        return [self.ours, *filter(None, (peer.for_writing() for peer in self.peers))]

    def compare(
        self,
        figure: Figure,
        sets: Sequence[FileSet],
        work: Callable[[Path], Readings],
        *,
        fetched: int = 0,
        references: Mapping[str, Callable[[], Readings]] | None = None,
        contestants: Sequence[Contestant] | None = None,
        before: Callable[[Path], object] | None = None,
        rounds: int = 0,
    ) -> Figure:
        """Measure a figure, in rounds, and return it.

        Args:
            figure: takes the runs in.
            sets: what has to be there.
            work: what is measured, given the mount point.
            fetched: bytes that a cold run cannot do without; a run with less does not count.
            references: work without a mount, such as curl's.
            contestants: who takes part; everybody by default.
            before: what is done on the fresh mount before the measured part.
            rounds: how often; as the bench was told by default.
        """
        for files in sets:
            self.place.fill(files)
        for _ in range(rounds or self.rounds):
            for contestant in self.everybody if contestants is None else contestants:
                with contestant.mounted(sets) as mounted:
                    if before is not None:
                        before(mounted.path)
                    run = self.measured(mounted, work)
                if contestant.remote:
                    run.problem = cold_problem(run, fetched)
                figure.add(contestant.name, run)
            for name, reference in (references or {}).items():
                figure.add(name, _run_of(reference()))
        return figure

    def measured(self, mounted: Mounted, work: Callable[[Path], Readings]) -> Run:
        """Do a piece of work on a mount and return what it took."""
        wire = self._wire.moved() if self._wire else None
        requests = self.place.requests()
        pids = measure.tree(mounted.pid)
        cpu = measure.cpu_seconds(*pids)
        with measure.PeakMemory(mounted.pid) as memory:
            readings = work(mounted.path)
        run = _run_of(readings)
        pids = measure.tree(mounted.pid)
        run.daemon_cpu = measure.cpu_seconds(*pids) - cpu
        run.rss, run.pss, run.pss_before = measure.peak_rss(*pids), memory.peak, memory.before
        if self._wire and wire:
            moved = self._wire.moved() - wire
            run.wire, run.sent = moved.received, moved.sent
        run.requests = {
            kind: count - requests[kind] for kind, count in self.place.requests().items()
        }
        return run


def cold_problem(run: Run, fetched: int) -> str:
    """Return why a run was not cold, "" if it was or if nobody can tell."""
    if run.wire is None or run.wire >= COLD * fetched:
        return ""
    return f"not cold: {run.wire:,} bytes on the wire of {fetched:,}"


def _run_of(readings: Readings) -> Run:
    ns = sorted(readings.ns)
    p50, p99 = (ns[len(ns) // 2] / 1e9, ns[len(ns) * 99 // 100] / 1e9) if ns else (0.0, 0.0)
    return Run(
        seconds=readings.seconds,
        operations=readings.operations,
        bytes=readings.bytes,
        p50=p50,
        p99=p99,
        reader_cpu=readings.cpu,
    )
