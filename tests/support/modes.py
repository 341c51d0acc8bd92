"""Ways to reach a store on which reads take another path, for tests and benchmarks alike.

plain    Nothing is special.
refused  Targets serve nobody who comes straight: reads go by the gateway and its redirects.
https    The store speaks TLS by an authority of its own, which the mount trusts by `ca-file`.
token    The store serves nobody without its token (`token-file`). Targets know no tokens, so reads
         follow the gateway's signed redirects.
sdk      `transport=sdk`: all reads go by the SDK, none on sockets of the loop.

A real cluster refuses direct access by itself where it has AuthN or signs its own requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aisfs_sdk import Client
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from pathlib import Path

REFUSE_DIRECT = {"action": "refuse-direct", "role": "target", "path": "^/v1/objects/"}


@dataclass(frozen=True)
class Mode:
    """One way, see above.

    Attributes:
        serve: words for the embedded store's command line.
        rules: faults of the store, from when there is something to read.
        words: words for `-o` of a mount, `{ca}` and `{token}` being the store's files.
    """

    name: str
    serve: tuple[str, ...] = ()
    rules: tuple[dict[str, Any], ...] = ()
    words: tuple[str, ...] = ()

    @property
    def direct(self) -> bool:
        """Whether targets serve whoever comes straight to them."""
        return self.name not in {"refused", "token"}

    def store(self) -> StoreProcess:
        """Return a store that is to be reached this way, not started yet."""
        return StoreProcess(extra=self.serve)

    def options(self, store: StoreProcess | None) -> list[str]:
        """Return what a mount needs; None for a cluster that asks for nothing."""
        if store is None:
            return [word for word in self.words if "{" not in word]
        return [word.format(ca=store.ca_file, token=store.token_file) for word in self.words]

    def client(self, store: StoreProcess) -> Client:
        """Return a client that gets along with the store."""

        def file(kind: str, path: Path) -> str | None:
            return str(path) if any(kind in word for word in self.words) else None

        return Client(
            store.endpoint,
            ca_cert=file("{ca}", store.ca_file),
            token_file=file("{token}", store.token_file),
        )


MODES = {
    mode.name: mode
    for mode in (
        Mode("plain"),
        Mode("refused", rules=(REFUSE_DIRECT,)),
        Mode("https", serve=("--tls",), words=("ca-file={ca}",)),
        Mode("token", serve=("--require-token",), words=("token-file={token}",)),
        Mode("sdk", words=("transport=sdk",)),
    )
}
