"""How a large remote object is brought into the cluster while it is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlobDownloadConfig:
    """In how many parts, and by how many workers.

    Attributes:
        chunk_size: bytes per part, as a number or as AIS writes sizes ("4mb"); None: the cluster's.
        num_workers: of the target; None: the cluster's.
    """

    chunk_size: str | int | None = None
    num_workers: str | int | None = None
