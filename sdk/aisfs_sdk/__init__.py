"""Client SDK for NVIDIA AIStore: synchronous, typed, on requests.

from aisfs_sdk import Client

client = Client("http://gateway:8080")
bucket = client.bucket("photos").create(exist_ok=True)
bucket.object("a/1.jpg").put_content(b"...")
print(bucket.object("a/1.jpg").get().read_all())

Names are loaded when they are first used, so that `aisfs_sdk.const` or `aisfs_sdk.smap` alone cost
little.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aisfs_sdk.bucket import Bucket
    from aisfs_sdk.client import Client
    from aisfs_sdk.cluster import Cluster
    from aisfs_sdk.dsort import Dsort
    from aisfs_sdk.errors import AISError
    from aisfs_sdk.etl import Etl
    from aisfs_sdk.job import Job
    from aisfs_sdk.list_object_flag import ListObjectFlag
    from aisfs_sdk.multiobj import ObjectGroup, ObjectRange
    from aisfs_sdk.namespace import Namespace
    from aisfs_sdk.object import Object
    from aisfs_sdk.object_attributes import ObjectAttributes
    from aisfs_sdk.object_reader import ObjectReader
    from aisfs_sdk.object_writer import ObjectWriter
    from aisfs_sdk.retry import RetryConfig, deadline

__all__ = [
    "AISError",
    "Bucket",
    "Client",
    "Cluster",
    "Dsort",
    "Etl",
    "Job",
    "ListObjectFlag",
    "Namespace",
    "Object",
    "ObjectAttributes",
    "ObjectGroup",
    "ObjectRange",
    "ObjectReader",
    "ObjectWriter",
    "RetryConfig",
    "deadline",
]

_HOMES = {
    "AISError": "errors",
    "Bucket": "bucket",
    "Client": "client",
    "Cluster": "cluster",
    "Dsort": "dsort",
    "Etl": "etl",
    "Job": "job",
    "ListObjectFlag": "list_object_flag",
    "Namespace": "namespace",
    "Object": "object",
    "ObjectAttributes": "object_attributes",
    "ObjectGroup": "multiobj",
    "ObjectRange": "multiobj",
    "ObjectReader": "object_reader",
    "ObjectWriter": "object_writer",
    "RetryConfig": "retry",
    "deadline": "retry",
}


def __getattr__(name: str) -> Any:
    """Load a public name (PEP 562)."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
