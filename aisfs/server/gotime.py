"""Times as Go layouts print them: the `time_format` of listings."""

import re
import time
from datetime import UTC, datetime
from functools import lru_cache

RFC822 = "02 Jan 06 15:04 MST"
"""AIS's default for listings: minutes, no seconds."""

_TOKENS = re.compile(
    r"2006|January|Jan|Monday|Mon|MST|Z07:00|Z0700|-07:00|-0700|-07|[.,]0+|[.,]9+"
    r"|01|02|03|04|05|06|15|_2|PM|pm|1|2|3|4|5"
)
_STRFTIME = {
    "2006": "%Y", "January": "%B", "Jan": "%b", "Monday": "%A", "Mon": "%a", "01": "%m",
    "02": "%d", "03": "%I", "04": "%M", "05": "%S", "06": "%y", "15": "%H", "PM": "%p",
}  # fmt: skip
_FIXED = {
    "MST": "UTC", "Z07:00": "Z", "Z0700": "Z", "-07:00": "+00:00", "-0700": "+0000", "-07": "+00"
}  # fmt: skip


def format_time(ns: int, layout: str) -> str:
    """Return a time (nanoseconds since the epoch) in UTC by a Go layout, the default if empty."""
    if not layout or layout == RFC822:
        return _minute(ns // (60 * 10**9))
    moment = datetime.fromtimestamp(ns // 10**9, UTC)
    fraction = ns % 10**9

    def part(match: re.Match[str]) -> str:
        token = match.group()
        if token in _STRFTIME:
            return moment.strftime(_STRFTIME[token])
        if token in _FIXED:
            return _FIXED[token]
        return _small(token, moment, fraction)

    return _TOKENS.sub(part, layout)


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    return time.strftime("%d %b %y %H:%M UTC", time.gmtime(minutes * 60))


def _small(token: str, moment: datetime, fraction: int) -> str:
    if token[0] in ".,":
        digits = f"{fraction:09d}"[: len(token) - 1]
        if token[1] == "9":
            digits = digits.rstrip("0")
        return token[0] + digits if digits else ""
    if token == "_2":  # noqa: S105 -- a layout, not a secret
        return f"{moment.day:2d}"
    if token == "pm":  # noqa: S105 -- a layout, not a secret
        return moment.strftime("%p").lower()
    hour = moment.hour % 12 or 12
    numbers = {
        "1": moment.month, "2": moment.day, "3": hour, "4": moment.minute, "5": moment.second
    }  # fmt: skip
    return str(numbers[token])


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|m(?!s)|s|ms|us|ns)")
_UNIT_NS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def parse_duration(text: str) -> int:
    """Return a Go duration (`2h0m`) in nanoseconds; what is none counts as 0."""
    return sum(int(float(number) * _UNIT_NS[unit]) for number, unit in _DURATION.findall(text))
