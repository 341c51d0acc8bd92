"""Which node a request goes to: a gateway, or straight to the target that owns the object.

Without a cluster map every request goes to the configured gateway. Once the client has asked for
the map (`Cluster.get_info`), reads of objects skip the gateway, and another gateway takes over when
the configured one is gone. A map is used for some seconds and then asked for again; whatever a
target answers that is no success is asked of a gateway, which knows better.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aisfs_sdk.grants import Grants
from aisfs_sdk.smap import owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisfs_sdk.smap import Smap

log = logging.getLogger(__name__)

_MAP_AGE_S = 10.0
"""How long a map is believed: so long may an object that moved be read where it was."""

_REFUSED_S = 60.0
"""How long a target is not asked directly after it refused that."""


class Placement:
    """What is known of the cluster's nodes. Thread-safe.

    Args:
        endpoint: the configured gateway.
        direct: send reads of objects to their owners.
        address_map: addresses as the cluster tells them, and as they are reached from here: of
            nodes (`http://10.0.0.5:51081`), of hosts with port (`10.0.0.5:51081`), or of hosts.

    Attributes:
        grants: what gateways let our token do.
    """

    def __init__(
        self, endpoint: str, *, direct: bool = True, address_map: Mapping[str, str] | None = None
    ) -> None:
        self._endpoint = endpoint
        self._direct = direct
        self._addresses = dict(address_map or {})
        self._lock = threading.Lock()
        self._smap: Smap | None = None
        self._learned = 0.0
        self._gateway = endpoint
        self._gateways = {endpoint}
        self._unreachable: set[str] = set()
        self._refused: dict[str, float] = {}
        self._doubted = False
        self.grants = Grants()

    @property
    def gateway(self) -> str:
        """Where requests go that are not for one target."""
        return self._gateway

    @property
    def stale(self) -> bool:
        """Whether there is a map that has to be asked for again before it is used."""
        old = self._doubted or time.monotonic() - self._learned > _MAP_AGE_S
        return self._smap is not None and old

    def is_gateway(self, base: str) -> bool:
        """Tell whether an address is that of a gateway, which may see the token."""
        return base in self._gateways

    def learn(self, smap: Smap) -> None:
        """Take a map as the newest one."""
        with self._lock:
            if self._smap is None or smap.version != self._smap.version:
                self._unreachable.clear()
            self._smap, self._learned, self._doubted = smap, time.monotonic(), False
            nodes = {self.rewrite(node.public_net.direct_url) for node in smap.pmap.values()}
            self._gateways = {self._endpoint, *filter(None, nodes)}

    def forget(self) -> None:
        """Use no map until another one is learned; the gateways stay."""
        with self._lock:
            self._smap = None

    def straight_to(self, token: str, method: str, uname: str) -> str:
        """Return the target that a request may be sent to at once; "" for a gateway.

        Targets do not look at tokens: with one, a gateway has to have allowed the like before.
        """
        return self.target_of(uname) if self.grants.allows(token, method, uname) else ""

    def target_of(self, uname: str) -> str:
        """Return the address of the target that owns an object; "" where a gateway is to be asked.

        Args:
            uname: see `smap.object_uname`.
        """
        smap = self._smap
        if smap is None or not self._direct or not uname:
            return ""
        try:
            base = self.rewrite(owner(uname, smap.tmap).public_net.direct_url)
        except ValueError:
            return ""
        if base in self._unreachable or self._refused.get(base, 0.0) > time.monotonic():
            return ""
        return base

    @property
    def targets(self) -> list[str]:
        """Addresses of the targets that may be asked straight; none without a map."""
        smap = self._smap
        if smap is None or not self._direct:
            return []
        every = [self.rewrite(node.public_net.direct_url) for node in smap.tmap.values()]
        return sorted({base for base in every if base} - self._unreachable)

    def target_refused(self, base: str) -> None:
        """Note that a target takes nothing but what gateways send it; it is asked later again."""
        if base not in self._refused:
            log.warning("target %s refuses direct access: its objects go by the gateway", base)
        self._refused[base] = time.monotonic() + _REFUSED_S

    def target_failed(self, base: str, error: Exception) -> None:
        """Note that a target cannot be reached: it is not tried again with this map.

        Perhaps there is a newer one without it.
        """
        with self._lock:
            if base in self._unreachable:
                return
            self._unreachable.add(base)
            self._doubted = True
        log.warning("target %s cannot be reached (%s): its objects go by the gateway", base, error)

    def gateway_failed(self, base: str) -> None:
        """Go on to another gateway of the map, if there is one."""
        with self._lock:
            others = sorted(self._gateways - {base})
            if base != self._gateway or not others:
                return
            # The configured one is tried again when the next one fails.
            at = next((i for i, other in enumerate(others) if other > base), 0)
            self._gateway = others[at]
        log.warning("gateway %s cannot be reached, going on with %s", base, self._gateway)

    def rewrite(self, base: str) -> str:
        """Return an address as it is reached from here."""
        base = base.rstrip("/")
        if not self._addresses or not base:
            return base
        if base in self._addresses:
            return self._addresses[base].rstrip("/")
        parts = urlsplit(base)
        if parts.netloc in self._addresses:
            return _joined(parts.scheme, self._addresses[parts.netloc])
        if parts.hostname in self._addresses:
            port = f":{parts.port}" if parts.port else ""
            return _joined(parts.scheme, self._addresses[parts.hostname] + port)
        return base


def _joined(scheme: str, address: str) -> str:
    return address if "://" in address else f"{scheme}://{address}"
