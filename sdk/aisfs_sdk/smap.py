"""The cluster map, and which target owns an object.

Serves every caller that asks the cluster for its nodes, and those that go to an object's owner
without asking a gateway. Pure functions and values: this module sends nothing, and imports nothing
of this package, so that a server may use it too.

AIS places objects by highest random weight (HRW): each target's weight for a name is a mix of two
hashes, and the heaviest target owns the name. Every node computes the same answer from one map.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import xxhash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "HASH_SEED",
    "NetInfo",
    "Smap",
    "Snode",
    "digest",
    "hrw",
    "hrw_weight",
    "mix",
    "object_uname",
    "owner",
    "parse_smap",
]

HASH_SEED = 1103515245
"""AIS: the seed of XXH64 for node ids and object names."""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB

_NODE_OUT = 4 | 8
"""Node flags of a target that owns nothing: in maintenance, being decommissioned."""


def digest(text: str | bytes) -> int:
    """Return the 64-bit hash by which AIS places names and nodes.

    Args:
        text: a node id or a uname; text is taken as UTF-8, undecodable bytes (surrogateescape) as
            they were.

    Returns:
        An unsigned 64-bit integer. For a node id it is what newer maps publish as `id_digest`.
    """
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogateescape")
    return xxhash.xxh64_intdigest(text, HASH_SEED)


def mix(value: int) -> int:
    """Scramble an unsigned 64-bit integer: two splitmix64 rounds and a xoshiro output step."""
    z = (value + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * _MIX_1) & _MASK
    z = ((z ^ (z >> 27)) * _MIX_2) & _MASK
    z = ((z ^ (z >> 31)) + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * _MIX_1) & _MASK
    z = ((z ^ (z >> 27)) * _MIX_2) & _MASK
    z = ((z ^ (z >> 31)) * 5) & _MASK
    z = ((z << 7) | (z >> 57)) & _MASK
    return (z * 9) & _MASK


@lru_cache(maxsize=4096)
def _node_digest(node_id: str) -> int:
    return digest(node_id)


def hrw_weight(uname: str | bytes, node_id: str) -> int:
    """Return the weight of one node for one name, an unsigned 64-bit integer."""
    return mix(_node_digest(node_id) ^ digest(uname))


def hrw(uname: str | bytes, node_ids: Iterable[str]) -> str:
    """Return the id of the node that owns a name.

    Args:
        uname: `provider/@uuid#namespace/bucket/object`, see `object_uname`.
        node_ids: ids of all nodes that may own it.

    Raises:
        ValueError: there are no nodes.
    """
    name_digest = digest(uname)
    best_id, best_weight = "", -1
    for node_id in node_ids:
        weight = mix(_node_digest(node_id) ^ name_digest)
        if weight > best_weight:
            best_id, best_weight = node_id, weight
    if best_weight < 0:
        msg = "no node can own an object: the cluster map has no active targets"
        raise ValueError(msg)
    return best_id


def object_uname(provider: str, bucket: str, name: str, uuid: str = "", namespace: str = "") -> str:
    """Return the name that AIS hashes: `provider/@uuid#namespace/bucket/object`.

    Args:
        provider: in AIS's own spelling (`ais`, `aws`, `gcp`, `azure`, `oci`).
        bucket: name of the bucket.
        name: decoded name of the object, as in listings.
        uuid: uuid (not alias) of the remote AIS cluster that holds the bucket.
        namespace: name of the namespace within that cluster.
    """
    return f"{provider}/@{uuid}#{namespace}/{bucket}/{name}"


class NetInfo(msgspec.Struct, frozen=True):
    """One network address of a node; `direct_url` is the one to use."""

    node_hostname: str = ""
    node_ip_addr: str = ""
    daemon_port: str = ""
    direct_url: str = ""


class Snode(msgspec.Struct, frozen=True):
    """One node of the cluster.

    Attributes:
        daemon_type: `proxy` (gateway) or `target` (storage).
        flags: bits: 1 may not be primary, 2 knows jobs, 4 in maintenance, 8 leaving, 16 drained.
        id_digest: hash of the id, 0 where the cluster does not publish it (before 3.26).
    """

    daemon_id: str = ""
    daemon_type: str = ""
    public_net: NetInfo = NetInfo()
    intra_control_net: NetInfo = NetInfo()
    intra_data_net: NetInfo = NetInfo()
    flags: int = 0
    id_digest: int = 0

    @property
    def active(self) -> bool:
        """Whether the node takes part in placement."""
        return not self.flags & _NODE_OUT


class Smap(msgspec.Struct, frozen=True):
    """The cluster map.

    Attributes:
        tmap: targets by id.
        pmap: gateways by id.
        proxy_si: the primary gateway.
        version: rises with every change of membership.
        uuid: the cluster's uuid, fixed for its life.
        creation_time: as the cluster writes it; the form differs between releases.
    """

    tmap: dict[str, Snode]
    pmap: dict[str, Snode]
    proxy_si: Snode
    version: int = 0
    uuid: str = ""
    creation_time: str = ""

    def get_target_for_object(self, uname: str) -> Snode:
        """Return the target that owns an object.

        Args:
            uname: see `object_uname`.

        Raises:
            ValueError: no target is active.
        """
        return owner(uname, self.tmap)


def owner(uname: str | bytes, targets: Mapping[str, Snode]) -> Snode:
    """Return the target that owns a name, of those that take part in placement.

    Raises:
        ValueError: no target is active.
    """
    return targets[hrw(uname, (node_id for node_id, node in targets.items() if node.active))]


def parse_smap(data: bytes | Any) -> Smap:
    """Return the map that `GET /v1/daemon?what=smap` answers with, as bytes or as decoded JSON.

    Raises:
        msgspec.ValidationError: it is no cluster map.
    """
    if isinstance(data, bytes):
        # The version is a number in quotes, so the strict reading of types is off.
        return msgspec.json.decode(data, type=Smap, strict=False)
    return msgspec.convert(data, Smap, strict=False)
