"""A cluster for tests of effects, and another way to it than our client."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 30


@dataclass
class Server:
    """A cluster.

    Attributes:
        release: "5.0" or "3.17".
        folder: whose files may be promoted; None on a cluster that is not ours.
        cloud: what the bucket aws://cloud has; None likewise.
    """

    endpoint: str
    release: str
    token: str | None = None
    folder: Path | None = None
    cloud: Path | None = None

    def raw(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Send a request below /v1/ and return its answer."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        url = f"{self.endpoint}/v1/{path}"
        return requests.request(method, url, data=data, headers=headers, timeout=TIMEOUT_S)

    def content(self, bucket: str, name: str) -> bytes | None:
        found = self.raw("GET", f"objects/{bucket}/{name}?provider=ais")
        return found.content if found.ok else None

    def put(self, bucket: str, **objects: bytes) -> None:
        for name, content in objects.items():
            url = f"{self.endpoint}/v1/objects/{bucket}/{name}?provider=ais"
            # What 2023 answers announces a body that never comes: it is not read.
            with requests.put(url, content, timeout=TIMEOUT_S, stream=True) as reply:
                assert reply.ok

    def exists(self, bucket: str) -> bool:
        return self.raw("HEAD", f"buckets/{bucket}?provider=ais").ok

    def names(self, bucket: str, query: str = "provider=ais", flags: str = "0") -> list[str]:
        value = {"prefix": "", "pagesize": 0, "flags": flags}
        found = self.raw("GET", f"buckets/{bucket}?{query}", {"action": "list", "value": value})
        return [entry["name"] for entry in found.json()["entries"] or []]
