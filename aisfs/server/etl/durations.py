"""Durations as Go writes them: `45s`, `1h30m`, `250ms`."""

import re

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|us|µs|ns|h|m|s)")


def parse_duration(text: str) -> float:
    """Return seconds.

    Raises:
        ValueError: in Go's words.
    """
    if text == "0":
        return 0.0
    total, position = 0.0, 0
    for match in _PART.finditer(text):
        if match.start() != position:
            break
        total += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if not text or position != len(text):
        raise ValueError(f'time: invalid duration "{text}"')
    return total


def show_duration(seconds: float) -> str:
    """Return a duration in the form that details show: `0s`, `45s`, `5m`, `1h`."""
    whole = int(seconds)
    if whole != seconds or not whole:
        return f"{seconds:g}s"
    for unit, size in (("h", 3600), ("m", 60)):
        if whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"
