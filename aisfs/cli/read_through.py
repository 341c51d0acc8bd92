"""Filling the cache of a read-only mount, to which nobody can tell anything: by reading its files.

Serves `warm`. What the daemon does better is missing here: nothing is prefetched by the cluster,
and the kernel's own cache is filled as well.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aisfs.cache.room import KNOWN_CONTENTS
from aisfs.cli.warm import Report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READERS = 8
"""Files that are read beside each other."""

AHEAD = 1024
"""Files that are found and not read yet."""

STEP = 1 << 20

MOST_FAILURES = 100


class ReadingJob:
    """Paths of one mount, read by threads of this process."""

    def __init__(self, root: Path, paths: list[str]) -> None:
        self._root = root
        self._paths = paths
        self._report = Report("filling")
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._room = threading.Semaphore(AHEAD)
        self._report.figures["capacity_files"] = KNOWN_CONTENTS
        self._report.figures["capacity_bytes"] = self._left = self._capacity()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def report(self) -> Report:
        """Return how far it is."""
        return self._report

    def close(self) -> None:
        """End it, once the reads that are under way have returned."""
        self._stopped.set()
        self._room.release()
        self._thread.join()

    def _capacity(self) -> int:
        lines = (self._root / ".aisfs" / "stats").read_text("utf-8").splitlines()
        return int(dict(line.split("\t") for line in lines)["cache.capacity_bytes"])

    def _run(self) -> None:
        with ThreadPoolExecutor(READERS) as pool:
            for path in self._paths:
                for file, size in self._files(self._root / path):
                    if self._stopped.is_set():
                        pool.shutdown(wait=False, cancel_futures=True)
                        return
                    self._take(pool, file, size)
        self._report.state = "done"

    def _take(self, pool: ThreadPoolExecutor, file: Path | str, size: int) -> None:
        """Have a file read if it fits."""
        figures = self._report.figures
        figures["files"] += 1
        figures["bytes"] += size
        if size > self._left or figures["files"] - figures["does_not_fit"] > KNOWN_CONTENTS:
            figures["does_not_fit"] += 1
            figures["does_not_fit_bytes"] += size
            return
        self._left -= size
        self._room.acquire()
        pool.submit(self._read, file)

    def _files(self, path: Path | str) -> Iterator[tuple[Path | str, int]]:
        """Yield the regular files at and below a path, with their sizes."""
        try:
            if not os.path.isdir(path):  # noqa: PTH112 - strings on the way down
                yield path, os.stat(path).st_size  # noqa: PTH116
                return
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        yield from self._files(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield entry.path, entry.stat().st_size
        except OSError as error:
            self._fail(path, error)

    def _read(self, path: Path | str) -> None:
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                while not self._stopped.is_set() and (part := file.read(STEP)):
                    self._add("bytes_done", len(part))
            self._add("files_done", 1)
        except OSError as error:
            self._fail(path, error)
        finally:
            self._room.release()

    def _add(self, figure: str, amount: int) -> None:
        with self._lock:
            self._report.figures[figure] += amount

    def _fail(self, path: Path | str, error: OSError) -> None:
        self._add("failed", 1)
        if len(self._report.failures) < MOST_FAILURES:
            self._report.failures.append((os.fspath(path), error.strerror or str(error)))
