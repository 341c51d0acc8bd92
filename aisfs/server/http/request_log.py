"""A line of JSON per request, for tests that count requests."""

import json
import time
from pathlib import Path
from typing import TextIO


class RequestLog:
    """Appends to a file, flushed per line; does nothing without a path."""

    def __init__(self, path: Path | None = None) -> None:
        self._file: TextIO | None = None
        if path is not None:
            self._file = path.open("a", encoding="ascii")

    @property
    def enabled(self) -> bool:
        """Whether lines are written at all."""
        return self._file is not None

    def write(self, line: dict[str, object]) -> None:
        """Write one line; adds the time of day as `t`."""
        if self._file is not None:
            self._file.write(json.dumps({"t": time.time(), **line}) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
