"""What gateways let a client do, so that requests straight to targets are no way round them.

Serves `placement`. Targets check no token, and not what a bucket's properties allow: without this a
client that knows the cluster map could read what its token does not open, or write to a bucket that
takes no writes. So the owners of a bucket's objects are asked only after a gateway let the same
token do the same to that bucket, and for a while only. Reading without a token is always allowed.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time

from aisfs_sdk import const

GRANT_S = 60.0
"""How long a gateway's consent is believed: then one request goes by a gateway again."""

_MOST = 1024

_READING = frozenset((const.HTTP_METHOD_GET, const.HTTP_METHOD_HEAD))


class Grants:
    """The consents of the last minute. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str, str, str], float] = {}

    def allows(self, token: str, method: str, uname: str) -> bool:
        """Tell whether a target may be asked without a gateway."""
        if not token and method in _READING:
            return True
        return self._until.get((token, method, _bucket_of(uname)), 0.0) > time.monotonic()

    def note(self, token: str, method: str, uname: str) -> None:
        """Take note that a gateway let a token do something, until the token ends at most."""
        if not token and method in _READING:
            return
        now = time.monotonic()
        with self._lock:
            if len(self._until) >= _MOST:
                self._until = {key: end for key, end in self._until.items() if end > now}
            left = min(GRANT_S, _left_s(token))
            self._until[token, method, _bucket_of(uname)] = now + left


def _bucket_of(uname: str) -> str:
    """Return `provider/@uuid#namespace/bucket` of an object's `smap.object_uname`."""
    return "/".join(uname.split("/", 3)[:3])


def _left_s(token: str) -> float:
    """Return the seconds until a JWT expires; no limit for what is none or says nothing."""
    parts = token.split(".")
    if len(parts) != 3:
        return GRANT_S
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
        ends = float(claims["exp"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return GRANT_S
    return ends - time.time()
