"""Bucket properties: their defaults, and what a client may change.

AIS: the JSON of `Ais-Bucket-Props`; `set-bprops` takes a partial tree of the same shape.
"""

import copy
from typing import Any

from aisfs.server.http.errors import AisError
from aisfs.server.storage.checksums import CHECKSUM_TYPES

DEFAULTS: dict[str, Any] = {
    "backend_bck": {"name": "", "provider": "", "namespace": {"uuid": "", "name": ""}},
    "write_policy": {"data": "immediate", "md": "immediate"},
    "provider": "ais",
    "Renamed": "",
    "checksum": {
        "type": "xxhash2",
        "validate_cold_get": False,
        "validate_warm_get": False,
        "validate_obj_move": False,
        "enable_read_range": False,
    },
    "extra": {"aws": {}, "gcp": {}, "oci": {}},
    "rate_limit": {
        "backend": {"interval": "1m", "max_tokens": 1000, "enabled": False, "num_retries": 3},
        "frontend": {"interval": "1m", "max_tokens": 1000, "enabled": False, "burst_size": 375},
    },
    "ec": {
        "compression": "never",
        "bundle_multiplier": 2,
        "burst_buffer": 512,
        "objsize_limit": 262144,
        "data_slices": 2,
        "parity_slices": 2,
        "enabled": False,
        "disk_only": False,
    },
    "chunks": {"objsize_limit": "0B", "max_monolithic_size": "1TiB", "chunk_size": "1GiB"},
    "mirror": {"copies": 2, "burst_buffer": 512, "enabled": False},
    "lru": {
        "dont_evict_time": "2h0m",
        "capacity_upd_time": "10m",
        "batch_size": 32768,
        "enabled": False,
    },
    "access": "18446744073709551615",
    "features": "0",
    "bid": "",
    "created": "",
    "versioning": {"enabled": True, "validate_warm_get": False, "synchronize": False},
}
"""What a fresh AIS 5.0 cluster gives a bucket, in its order of keys."""

_FIXED = {"provider", "Renamed", "bid", "created"}
_QUOTED_NUMBERS = {"access", "features"}


def default_props() -> dict[str, Any]:
    """Return a fresh copy of the defaults."""
    return copy.deepcopy(DEFAULTS)


def changed(props: dict[str, Any], change: Any, head: str) -> dict[str, Any]:
    """Return properties with a partial tree applied; `props` stays as it is.

    Args:
        props: Properties before.
        change: What the client sent; null means nothing.
        head: Put before messages about unknown fields and wrong types.

    Raises:
        AisError: 400 for unknown fields, wrong types, unknown checksum types.
    """
    result = copy.deepcopy(props)
    if change is None:
        return result
    if not isinstance(change, dict):
        raise AisError(400, f"{head}readObjectStart: expect {{ or n")
    known = {key: value for key, value in change.items() if key != "force"}
    _merge(result, known, head, _FIXED)
    kind = result["checksum"]["type"]
    if kind not in CHECKSUM_TYPES:
        raise AisError(
            400, f'invalid checksum type "{kind}" (expecting [{" ".join(CHECKSUM_TYPES)}])'
        )
    return result


def _merge(tree: dict[str, Any], change: dict[str, Any], head: str, fixed: set[str]) -> None:
    for key, value in change.items():
        if key not in tree or key in fixed:
            raise AisError(400, f"{head}cmn.BpropsToSet.ReadObject: found unknown field: {key}")
        if value is None:
            continue
        old = tree[key]
        if isinstance(old, dict) and old and isinstance(value, dict):
            _merge(old, value, head, set())
        elif _fits(key, old, value):
            tree[key] = value
        else:
            raise AisError(400, f"{head}cmn.BpropsToSet.{key}: unexpected value {value!r}")


def _fits(key: str, old: Any, value: Any) -> bool:
    if key in _QUOTED_NUMBERS:
        return isinstance(value, str) and value.isascii() and value.isdigit()
    return type(old) is type(value)
