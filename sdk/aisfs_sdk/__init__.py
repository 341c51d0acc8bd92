"""Client SDK for NVIDIA AIStore: synchronous, typed, on requests.

from aisfs_sdk import Client

client = Client("http://gateway:8080")
bucket = client.bucket("photos").create(exist_ok=True)
bucket.object("a/1.jpg").put_content(b"...")
print(bucket.object("a/1.jpg").get().read_all())
"""

from aisfs_sdk.bucket import Bucket
from aisfs_sdk.client import Client
from aisfs_sdk.cluster import Cluster
from aisfs_sdk.errors import AISError
from aisfs_sdk.list_object_flag import ListObjectFlag
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
    "ListObjectFlag",
    "Namespace",
    "Object",
    "ObjectAttributes",
    "ObjectReader",
    "ObjectWriter",
    "RetryConfig",
    "deadline",
]
