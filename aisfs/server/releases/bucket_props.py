"""The properties that a fresh cluster of each release gives a bucket, in its order of keys.

AIS: the JSON of `Ais-Bucket-Props`.
"""

from typing import Any, Final

PROPS_5_0: Final[dict[str, Any]] = {
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


PROPS_3_17: Final[dict[str, Any]] = {
    "backend_bck": {"name": "", "provider": "", "namespace": {"uuid": "", "name": ""}},
    "extra": {"aws": {}, "http": {}, "hdfs": {}},
    "write_policy": {"data": "immediate", "md": "immediate"},
    "provider": "ais",
    "Renamed": "",
    "checksum": {
        "type": "xxhash",
        "validate_cold_get": True,
        "validate_warm_get": False,
        "validate_obj_move": False,
        "enable_read_range": False,
    },
    "ec": {
        "objsize_limit": 262144,
        "compression": "never",
        "bundle_multiplier": 2,
        "data_slices": 1,
        "parity_slices": 1,
        "enabled": False,
        "disk_only": False,
    },
    "lru": {"dont_evict_time": "2h0m", "capacity_upd_time": "10m", "enabled": False},
    "mirror": {"copies": 2, "burst_buffer": 512, "enabled": False},
    "access": "18446744073709551615",
    "bid": "",
    "created": "",
    "versioning": {"enabled": True, "validate_warm_get": False},
}
"""What a fresh AIS 3.17 cluster gives a bucket."""
