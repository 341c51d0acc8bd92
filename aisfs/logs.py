"""How aisfs logs: one handler, one line per record, and the request that a record belongs to.

Serves the daemon and the command line, which call `configure` once, at their start. Everybody else
only asks for `logging.getLogger(__name__)`; what is true of a whole request (its number, operation
and ino) comes from `request`, not from each call.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

request: ContextVar[str] = ContextVar("request", default="-")
"""What the running task works on, for instance "17 read ino=4"; "-" outside of requests."""


class _AddRequest(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request = request.get()
        return True


def configure(level: str, file: Path | None) -> None:
    """Send all records of at least `level` to `file`, or to standard error.

    The file is opened anew when logrotate has moved it. It and the directories that are made for it
    belong to the user alone, since names of objects appear in it.

    Args:
        level: debug, info, warning or error.
        file: None for standard error.

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
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s [%(request)s] %(message)s",
        "%Y-%m-%dT%H:%M:%S",
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(_AddRequest())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for library in ("urllib3", "asyncio"):  # their debug records repeat ours
        logging.getLogger(library).setLevel(max(logging.INFO, root.level))
    logging.captureWarnings(capture=True)
