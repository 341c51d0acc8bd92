"""The token that proves who we are, and its renewal.

A token from a file is read again when the file changes, and when the cluster refuses the one at
hand: whoever renews tokens replaces the file, and clients go on. Tokens appear in the header of
requests to gateways and nowhere else.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path

from aisfs_sdk import const

log = logging.getLogger(__name__)

SPREADING_S = 2.0
"""How long a new token may be unknown to some of a cluster: its file is there before that heard."""


class TokenSource:
    """One token, or a file that holds the token of the moment. Thread-safe.

    Args:
        token: the token itself; it wins over the file.
        file: path of the file, "" for none.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file holds no token.
    """

    def __init__(self, token: str = "", file: str = "") -> None:
        self._lock = threading.Lock()
        self._file = Path(file) if file and not token else None
        self._seen: tuple[int, ...] = ()
        self._token = token
        self._changed_at = -SPREADING_S
        self._trouble = ""
        if self._file is not None:
            self._seen = _state(self._file)
            self._token = read_token(self._file.read_text(encoding=const.UTF_ENCODING).strip())

    def __repr__(self) -> str:
        return f"<TokenSource {self._file or 'fixed'}>"

    def get(self) -> str:
        """Return the token of the moment, "" for none."""
        if self._file is None:
            return self._token
        with self._lock:
            try:
                state = _state(self._file)
                if state != self._seen:
                    self._read(self._file, state)
            except OSError as error:
                self._keep(error)
            return self._token

    def renewed(self, used: str) -> bool:
        """Tell, after the cluster refused a token, whether there is another one by now.

        Args:
            used: the token that was refused.
        """
        if self._file is None:
            return False
        with self._lock:
            try:
                self._read(self._file, _state(self._file))
            except OSError as error:
                self._keep(error)
            return bool(self._token) and self._token != used

    @property
    def spreads(self) -> bool:
        """Whether the token took another one's place so recently that it may be refused yet."""
        return time.monotonic() - self._changed_at < SPREADING_S

    def _read(self, file: Path, state: tuple[int, ...]) -> None:
        try:
            token = read_token(file.read_text(encoding=const.UTF_ENCODING).strip())
        except ValueError as error:
            self._keep(error)
            return
        # An empty file is one that is being written.
        if token:
            if token != self._token:
                self._changed_at = time.monotonic()
            self._token, self._seen, self._trouble = token, state, ""

    def _keep(self, error: Exception) -> None:
        """Say once, not with each request, what is wrong with the file."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.warning(
                "the token file %s cannot be read, its last token holds: %s", self._file, error
            )


def read_token(text: str) -> str:
    """Return the token that a token file holds: `{"token": "…"}`, or the bare token.

    Raises:
        ValueError: it is JSON, but holds no token.
    """
    if not text.startswith("{"):
        return text
    try:
        token = json.loads(text).get("token")
    except json.JSONDecodeError:
        token = None
    if isinstance(token, str):
        return token
    msg = "the token file holds no token"
    raise ValueError(msg)


def _state(file: Path) -> tuple[int, ...]:
    found = os.stat(file)  # noqa: PTH116 - as cheap as can be: it runs once per request
    return found.st_mtime_ns, found.st_size, found.st_ino
