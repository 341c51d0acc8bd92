"""How aisfs logs: one handler, one line per record, and the request that a record belongs to.

Serves the daemon and the command line, which call `configure` once, at their start; the daemon also
keeps the last lines in memory, for who cannot look at the log (`keep_recent`). Everybody else only
asks for `logging.getLogger(__name__)`; what is true of a whole request (its number, operation and
ino) comes from `kernel_request.current`, not from each call.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
from collections import deque
from typing import TYPE_CHECKING

from aisfs import kernel_request
from aisfs.log_lines import JournalLines, JsonLines, Repeats, TextLines, is_journal

if TYPE_CHECKING:
    from pathlib import Path


_STDERR = 2


RECENT_BYTES = 256 << 10
"""What is kept of the log in memory: some 2000 lines."""


class _AddRequest(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request = kernel_request.of(kernel_request.current.get()) or "-"
        return True


class Recent(logging.Handler):
    """Keeps the last lines of the log, wherever the log goes. Thread-safe, as every handler.

    Invariant: what is kept is never larger than its bound, and begins with a whole record; the end
    of one record that is larger is cut off.
    """

    def __init__(self, size: int = RECENT_BYTES) -> None:
        super().__init__()
        self._size = size
        self._used = 0
        self._records: deque[bytes] = deque()
        self.setFormatter(TextLines())
        self.addFilter(_AddRequest())

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, and let go of the oldest ones that have no room beside it."""
        try:
            text = self.format(record).encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - as in other handlers: arguments that do not fit the text
            self.handleError(record)
            return
        kept = text[: self._size - 1] + b"\n"
        self._records.append(kept)
        self._used += len(kept)
        while self._used > self._size:
            self._used -= len(self._records.popleft())

    def text(self) -> str:
        """Return what is kept, oldest first."""
        self.acquire()
        try:
            return b"".join(self._records).decode("utf-8", "backslashreplace")
        finally:
            self.release()


def keep_recent() -> Recent:
    """Keep what is logged from now on in memory, too, beside where `configure` sends it."""
    recent = Recent()
    logging.getLogger().addHandler(recent)
    return recent


def configure(level: str, file: Path | None, form: str = "text", journal: str = "") -> None:
    """Send all records of at least `level` to `file`, or to standard error.

    What repeats is told as such, and standard error that is the journal gets lines as it wants
    them (`log_lines`).

    The file is opened anew when logrotate has moved it. It and the directories that are made for it
    belong to the user alone, since names of objects appear in it.

    Args:
        level: debug, info, warning or error.
        file: None for standard error.
        form: text, or json.
        journal: JOURNAL_STREAM of the environment.

    Raises:
        OSError: the file cannot be written.
    """
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        handler = logging.handlers.WatchedFileHandler(file, encoding="utf-8", errors="replace")
    bare = file is None and is_journal(journal, _STDERR)
    lines = JsonLines() if form == "json" else TextLines(bare=bare)
    handler.setFormatter(JournalLines(lines) if bare else lines)
    handler.addFilter(_AddRequest())
    handler.addFilter(Repeats(handler.handle))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    logging.captureWarnings(capture=True)


def set_level(level: str) -> None:
    """Log records of at least `level` from now on: debug, info, warning or error."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    for library in ("urllib3", "asyncio"):  # their debug records repeat ours
        logging.getLogger(library).setLevel(max(logging.INFO, root.level))


def tell_repeats() -> None:
    """Show how many records were held back as repetitions, once that is due."""
    filters = [each for handler in logging.getLogger().handlers for each in handler.filters]
    for each in filters:
        if isinstance(each, Repeats):
            each.tell()
