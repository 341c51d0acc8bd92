"""Which node a request goes to: a gateway, or straight to the target that owns the object.

Without a cluster map every request goes to the configured gateway. Once the client has asked for
the map (`Cluster.get_info`), reads of objects skip the gateway, and another gateway takes over when
the configured one is gone. A map is used for some seconds and then asked for again; whatever a
target answers that is no success is asked of a gateway, which knows better.

What gateways know is not all either: a cluster that lost a target goes on without it and says of
its objects that they do not exist, and a target that joined says so until it has begun to ask its
neighbours. Maps of before and after tell which objects these are (`Placement.doubt`).
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from aisfs_sdk import const
from aisfs_sdk.grants import Grants
from aisfs_sdk.smap import hrw, owner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aisfs_sdk.eras import Era
    from aisfs_sdk.smap import Smap, Snode

log = logging.getLogger(__name__)

_MAP_AGE_S = 10.0
"""How long a map is believed: so long may an object that moved be read where it was."""

_UNREACHABLE_S = 10.0
"""How long a target is not asked directly after it could not be reached."""

_REFUSED_S = 60.0
"""How long a target is not asked directly after it refused that."""

_MISSED_S = 600.0
"""How long the objects of a target that left without notice are awaited: longer than a restart of
its machine takes. After that the cluster's word counts, for somebody may have given it up."""

_MOVED_S = 6.0
"""How long a new owner is not believed that it lacks an object (seen on 5.0: 2 s)."""


class Doubt(NamedTuple):
    """Why an object may exist although the cluster says that it does not.

    Attributes:
        wait_s: when to ask again; 0 if that is of no use for now.
        why: in words.
    """

    wait_s: float
    why: str


def _nobody(smap: Smap) -> None:
    """Tell nobody of a map."""


class Placement:
    """What is known of the cluster's nodes. Thread-safe.

    Args:
        endpoint: the configured gateway.
        direct: send reads of objects to their owners.
        address_map: addresses as the cluster tells them, and as they are reached from here: of
            nodes (`http://10.0.0.5:51081`), of hosts with port (`10.0.0.5:51081`), or of hosts.

    Attributes:
        grants: what gateways let our token do.
        learned: called with each map that is learned, in the thread that asked for it.
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
        self._avoided: dict[str, float] = {}
        self._doubted = False
        self._members: frozenset[str] = frozenset()
        self._earlier: frozenset[str] = frozenset()
        self._changed = -_MOVED_S
        self._missed: dict[str, float] = {}
        self.grants = Grants()
        self.learned: Callable[[Smap], None] = _nobody

    @property
    def gateway(self) -> str:
        """Where requests go that are not for one target."""
        return self._gateway

    @property
    def smap(self) -> Smap | None:
        """The newest map; None if there is none to be used."""
        return self._smap

    @property
    def stale(self) -> bool:
        """Whether the map has to be asked for again before a request uses it."""
        old = self._doubted or time.monotonic() - self._learned > _MAP_AGE_S
        return bool(self._learned) and old

    @property
    def knows_members(self) -> bool:
        """Whether a map was ever learned."""
        return bool(self._members)

    @property
    def misses_targets(self) -> bool:
        """Whether listings lack what targets hold that left, or what new ones do not have yet."""
        now = time.monotonic()
        moving = now - self._changed < _MOVED_S
        return moving or any(until > now for until in self._missed.values())

    def is_gateway(self, base: str) -> bool:
        """Tell whether an address is that of a gateway, which may see the token."""
        return base in self._gateways

    def learn(self, smap: Smap) -> None:
        """Take a map as the newest one."""
        with self._lock:
            now = time.monotonic()
            self._note_members(smap.tmap, now)
            self._smap = smap
            self._learned, self._doubted = now, False
            nodes = {self.rewrite(node.public_net.direct_url) for node in smap.pmap.values()}
            self._gateways = {self._endpoint, *filter(None, nodes)}
        self.learned(smap)

    def _note_members(self, targets: Mapping[str, Snode], now: float) -> None:
        """Note which targets came, and which left that nobody had announced as leaving."""
        before = self._members
        self._members = frozenset(each for each, node in targets.items() if node.active)
        if not before or self._members == before:
            return
        self._earlier, self._changed = before, now
        awaited = {each: until for each, until in self._missed.items() if until > now}
        gone = dict.fromkeys(before - targets.keys(), now + _MISSED_S)
        self._missed = {e: until for e, until in (gone | awaited).items() if e not in targets}
        for each in gone:
            log.warning("target %s left the cluster: its objects may not be found", each)

    def forget(self) -> None:
        """Use no map until another one is learned, and ask for it later; the gateways stay."""
        with self._lock:
            self._smap = None
            self._learned, self._doubted = time.monotonic(), False

    def doubt(self, uname: str) -> Doubt | None:
        """Return why an object may exist of which the cluster says that it does not.

        Args:
            uname: see `smap.object_uname`.
        """
        now = time.monotonic()
        with self._lock:
            members, earlier = self._members, self._earlier
            missed = {each for each, until in self._missed.items() if until > now}
            moving = now - self._changed < _MOVED_S
        if not members:
            return None
        if missed and (lost := hrw(uname, members | missed)) in missed:
            return Doubt(0.0, f"its target {lost} left the cluster and may come back with it")
        if moving and hrw(uname, earlier) != hrw(uname, members):
            return Doubt(_MOVED_S / 2, "the cluster changed, and the object may be on its way")
        return None

    def straight_to(self, token: str, method: str, uname: str) -> str:
        """Return the target that a request may be sent to at once; "" for a gateway.

        Targets look neither at tokens nor at what a bucket allows: with a token, and for what is no
        reading, a gateway has to have allowed the like before.
        """
        return self.target_of(uname) if self.grants.allows(token, method, uname) else ""

    def target_of(self, uname: str) -> str:
        """Return the address of the target that owns an object; "" where a gateway is to be asked.

        Args:
            uname: see `smap.object_uname`.
        """
        base = self.owner_of(uname) if self._direct and uname else ""
        return "" if self._avoided.get(base, 0.0) > time.monotonic() else base

    def owner_of(self, uname: str) -> str:
        """Return the address of the target that owns an object by the map; "" without one."""
        smap = self._smap
        if smap is None:
            return ""
        try:
            return self.rewrite(owner(uname, smap.tmap).public_net.direct_url)
        except ValueError:
            return ""

    @property
    def version(self) -> tuple[str, int]:
        """The cluster and the version of its map that objects are placed by; ("", 0) without."""
        smap = self._smap
        return (smap.uuid, smap.version) if smap is not None else ("", 0)

    def redirect_marks(self, era: Era) -> str:
        """Return what a target wants in the query of a change: what a gateway's redirect has.

        AIS: `pid` is the gateway, `utm` its clock in nanoseconds. "" without a map.
        """
        smap = self._smap
        if smap is None:
            return ""
        now = era.clock(time.time_ns())
        return f"{const.QPARAM_PROXY_ID}={smap.proxy_si.daemon_id}&{const.QPARAM_UNIX_TIME}={now}"

    @property
    def targets(self) -> list[str]:
        """Addresses of the targets that may be asked straight; none without a map."""
        smap = self._smap
        if smap is None or not self._direct:
            return []
        now = time.monotonic()
        every = {self.rewrite(node.public_net.direct_url) for node in smap.tmap.values()}
        return sorted(base for base in every if base and self._avoided.get(base, 0.0) <= now)

    def target_refused(self, base: str) -> None:
        """Note that a target takes nothing but what gateways send it; it is asked later again."""
        if self._avoid(base, _REFUSED_S):
            log.warning("target %s refuses direct access: its objects go by the gateway", base)

    def target_failed(self, base: str, error: Exception) -> None:
        """Note that a target cannot be reached: it is asked again later, and the map now."""
        if self._avoid(base, _UNREACHABLE_S):
            self._doubted = True
            log.warning(
                "target %s cannot be reached (%s): its objects go by the gateway", base, error
            )

    def _avoid(self, base: str, seconds: float) -> bool:
        """Send a target nothing for some time; tell whether that is news."""
        now = time.monotonic()
        with self._lock:
            news = self._avoided.get(base, 0.0) <= now
            self._avoided[base] = now + seconds
        return news

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
