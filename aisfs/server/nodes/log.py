"""What a node tells of its doings: `GET /v1/daemon?what=log`, at a target through `/v1/reverse`.

The nodes of this store are one process, so all have one log: its newest lines, kept in memory.
"""

import io
import logging
import tarfile
import time
from collections import deque

from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply, text_reply
from aisfs_sdk import const

LINES = 2000
_SEVERITIES = {
    "": logging.INFO,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class NodeLog(logging.Handler):
    """Keeps the newest lines of the store's log."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[tuple[int, str]] = deque(maxlen=LINES)
        self.setFormatter(logging.Formatter("%(levelname).1s %(asctime)s %(name)s %(message)s"))

    def start(self) -> None:
        """Listen to the store's modules from here on; warnings also go to standard error."""
        logger = logging.getLogger("aisfs.server")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        errors = logging.StreamHandler()
        errors.setLevel(logging.WARNING)
        logger.addHandler(errors)
        logger.info("started")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as a line."""
        self._lines.append((record.levelno, self.format(record)))

    def text(self, level: int) -> str:
        """Return the lines of this level and above, oldest first."""
        return "".join(f"{line}\n" for severity, line in self._lines if severity >= level)


def answer_log(call: Call) -> Reply:
    """Answer with the log's lines, or with `all=true` with a compressed archive of them.

    Raises:
        AisError: 400 for an unknown severity.
    """
    severity = call.query.text("severity")
    if severity not in _SEVERITIES:
        raise AisError(400, f'invalid severity "{severity}" (expecting info, warning or error)')
    text = call.store.node_log.text(_SEVERITIES[severity])
    if not call.query.flag("all"):
        return text_reply(text)
    return Reply(200, (), _packed(f"{call.node.id}.log", text.encode()), const.OCTET_STREAM)


def _packed(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size, info.mtime = len(data), int(time.time())
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
