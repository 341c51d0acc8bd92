"""What a client has sent and received: for who watches over it.

Serves `session`, which counts each request of the SDK, and whoever asks the same cluster past it
and counts with it.
"""

from __future__ import annotations

import threading
from collections import Counter

NO_ANSWER = 0
"""The status of a request that was not answered."""


class Traffic:
    """Counts requests and bytes. Thread-safe.

    Attributes:
        received_bytes, sent_bytes: of bodies.
        retries: requests that were sent again after a failure.
    """

    def __init__(self) -> None:
        self.received_bytes = self.sent_bytes = self.retries = 0
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()

    def answered(self, method: str, path: str, status: int) -> None:
        """Count a request by what it is about, the word behind `/v1/`, and its status class."""
        about = path.split("?", 1)[0].split("/", 3)[2:3]
        known = about[0] if about and about[0] in _ABOUT else "other"
        with self._lock:
            self._requests[method, known, status // 100] += 1

    def received(self, size: int) -> None:
        """Count bytes of bodies that came."""
        with self._lock:
            self.received_bytes += size

    def sent(self, size: int) -> None:
        """Count bytes of bodies that went out."""
        with self._lock:
            self.sent_bytes += size

    def repeated(self) -> None:
        """Count a request that is sent again."""
        with self._lock:
            self.retries += 1

    def requests(self) -> list[tuple[str, str, str, int]]:
        """Return method, what it is about, status class (such as "2xx", or "none"), how often."""
        with self._lock:
            counted = sorted(self._requests.items())
        return [
            (method, about, f"{hundreds}xx" if hundreds else "none", times)
            for (method, about, hundreds), times in counted
        ]


_ABOUT = frozenset(
    (
        "objects", "buckets", "cluster", "daemon", "download", "dsort", "etl", "health", "ml",
        "sort", "xactions",
    )
)  # fmt: skip
"""What requests can be about; anything else, as paths of transformers, is "other"."""
