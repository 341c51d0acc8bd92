"""curl straight at the targets that own the objects: what the store gives without any filesystem.

One process each, the connection kept; the body goes to /dev/null. Many objects, or many ranges, are
given to one curl as a list, so that starting it counts once.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

from tests.benchmarks.mount.readers import Readings, command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

QUIET = ("curl", "-sf", "-o", "/dev/null")


def whole(urls: Sequence[str], size: int) -> Readings:
    """Fetch objects at the same time, one curl for each."""
    start = time.perf_counter()
    processes = [subprocess.Popen([*QUIET, url]) for url in urls]
    codes = [process.wait() for process in processes]
    seconds = time.perf_counter() - start
    if any(codes):
        raise RuntimeError(f"curl ended with {codes}")
    return Readings(seconds, len(urls), len(urls) * size)


def listed(
    urls: Sequence[str],
    size: int,
    *,
    ranges: Sequence[int] = (),
    at_once: int = 1,
    lines: Sequence[str] = (),
) -> Readings:
    """Fetch objects by one curl.

    Args:
        urls: of the objects.
        size: of each, or of each range.
        ranges: where each range starts; whole objects without.
        at_once: how many are in flight.
        lines: what each URL needs besides, as in curl's configuration files.
    """
    with tempfile.NamedTemporaryFile("w") as file:
        for number, url in enumerate(urls):
            if number:
                file.write("next\n")
            file.write(f'url = "{url}"\noutput = /dev/null\nsilent\nfail\n')
            file.writelines(f"{line}\n" for line in lines)
            if ranges:
                file.write(f"range = {ranges[number]}-{ranges[number] + size - 1}\n")
        file.flush()
        parallel = ["-Z", "--parallel-max", str(at_once)] if at_once > 1 else []
        return command(["curl", *parallel, "-K", file.name], len(urls), len(urls) * size)


def stored(urls: Sequence[str], path: Path, *, at_once: int = 1) -> Readings:
    """Store a file as objects, by one curl.

    Args:
        urls: of the objects, as `Place.put_url` tells them.
        path: the file.
        at_once: how many are in flight.
    """
    with tempfile.NamedTemporaryFile("w") as file:
        for number, url in enumerate(urls):
            if number:
                file.write("next\n")
            file.write(f'url = "{url}"\nupload-file = "{path}"\noutput = /dev/null\nsilent\nfail\n')
        file.flush()
        parallel = ["-Z", "--parallel-max", str(at_once)] if at_once > 1 else []
        count = len(urls) * path.stat().st_size
        return command(["curl", *parallel, "-K", file.name], len(urls), count)


def first_byte(url: str) -> Readings:
    """Return how long the first byte took: connecting, asking, waiting; not the start of curl."""
    words = [*QUIET, "-w", "%{time_starttransfer}", url]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return Readings(float(said), 1, 1)
