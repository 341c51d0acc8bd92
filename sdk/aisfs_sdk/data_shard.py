"""Shards of a bucket as one part of the samples of a dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aisfs_sdk import const
from aisfs_sdk.client import Client

if TYPE_CHECKING:
    from aisfs_sdk.bucket import Bucket


@dataclass
class DataShard:
    """Archives of a bucket whose members are one part of each sample. Making one sends nothing.

    Attributes:
        client_url: URL of a gateway, or a client whose connections and token are to be used.
        bucket_name: of the bucket that holds them.
        provider: of the bucket.
        prefix: of the archives' names.
        etl_name: transformer that the archives go through when they are read.
        bucket: the bucket itself.

    Raises:
        ValueError: the URL is none of a gateway, or the name is none of a bucket.
    """

    client_url: str | Client
    bucket_name: str
    provider: str = const.PROVIDER_AIS
    prefix: str = ""
    etl_name: str | None = None
    bucket: Bucket = field(init=False)

    def __post_init__(self) -> None:
        given = self.client_url
        client = given if isinstance(given, Client) else Client(given)
        self.bucket = client.bucket(self.bucket_name, self.provider)
