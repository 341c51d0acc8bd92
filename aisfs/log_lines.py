"""How a record of the log becomes lines: text, JSON, lines for the journal, and what repeats.

Serves `logs`.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisfs.kernel_request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

FIRST = 10
"""How many of the same kind are shown within `PERIOD_S`."""

PERIOD_S = 10.0

_MOST_KINDS = 256

OF_EACH = {"each": True}
"""For `extra` of records that name what may be lost: none of them is held back."""


class TextLines(logging.Formatter):
    """Time, level, logger, request, message. What the journal notes itself is left out there."""

    def __init__(self, *, bare: bool = False) -> None:
        head = "" if bare else "%(asctime)s.%(msecs)03dZ %(levelname)s "
        super().__init__(f"{head}%(name)s [%(request)s] %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime


class JsonLines(logging.Formatter):
    """One JSON object for each record, in ASCII, so that names of any bytes survive in it."""

    def __init__(self) -> None:
        super().__init__()
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Return the object: `ino` or `parent` where there is one, `traceback` for a bug."""
        moment = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        told: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        request = getattr(record, "request", None)
        if isinstance(request, Request):
            told |= {"request": request.number, "operation": request.handler.name, **request.place}
        told["message"] = record.getMessage()
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            told["stack"] = record.stack_info
        return json.dumps(told)


class JournalLines(logging.Formatter):
    """Lines of another form, each with its priority before it (systemd: sd-daemon(3))."""

    def __init__(self, lines: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines; the journal takes each for an entry of its own."""
        return "\n".join(
            f"<{_priority(record.levelno)}>{line}"
            for line in self._lines.format(record).splitlines()
        )


def _priority(level: int) -> int:
    """Return a level as syslog(3) has it."""
    steps = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((priority for least, priority in steps if level >= least), 7)


def is_journal(stream: str, descriptor: int) -> bool:
    """Tell whether a descriptor leads to the journal.

    Args:
        stream: what systemd says the journal is: JOURNAL_STREAM, "DEVICE:INODE".
        descriptor: for instance of standard error, which may have been redirected since.
    """
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


@dataclass(slots=True)
class _Kind:
    """Records of one kind within one period."""

    ends_at: float
    shown: int = 0
    last: logging.LogRecord | None = None
    held: int = 0


class Repeats(logging.Filter):
    """Shows warnings and errors of one kind `FIRST` times in a period, and then how many more.

    Of one kind is what one logger says in the same words, whatever the values in them; errors that
    are told by their text alone are of one kind if they are of one class. What must be told of each
    object is logged with `OF_EACH`. Thread-safe.

    Args:
        show: shows a record, perhaps by way of this filter.
        clock: tells seconds.
    """

    def __init__(
        self,
        show: Callable[[logging.LogRecord], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._show = show
        self._clock = clock
        self._kinds: dict[Hashable, _Kind] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is to be shown."""
        if record.levelno < logging.WARNING or getattr(record, "each", False):
            return True
        self.tell()
        with self._lock:
            key = _kind_of(record)
            if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
                return True
            kind = self._kinds.setdefault(key, _Kind(self._clock() + PERIOD_S))
            if kind.shown < FIRST:
                kind.shown += 1
                return True
            kind.held += 1
            kind.last = record
            return False

    def tell(self) -> None:
        """Show how many were held back in the periods that are over; call it now and then."""
        with self._lock:
            summaries = list(self._over(self._clock()))
        for summary in summaries:
            self._show(summary)

    def _over(self, now: float) -> Iterator[logging.LogRecord]:
        for key, kind in [(k, kind) for k, kind in self._kinds.items() if kind.ends_at <= now]:
            del self._kinds[key]
            if kind.last is not None:
                yield _summary(kind.last, kind.held)


def _kind_of(record: logging.LogRecord) -> Hashable:
    arguments = record.args if isinstance(record.args, tuple) else ()
    errors = tuple(type(each) for each in arguments if isinstance(each, Exception))
    return record.name, record.levelno, str(record.msg), errors


def _summary(last: logging.LogRecord, held: int) -> logging.LogRecord:
    text = f"… and {held} more like it, the last one: {last.getMessage()}"
    changes = {"msg": text, "args": None, "exc_info": None, "exc_text": None, **OF_EACH}
    return logging.makeLogRecord({**last.__dict__, **changes})
