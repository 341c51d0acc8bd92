"""One large object, read by several ranged requests at once into one buffer.

That pays where one connection is slower than the network: on long distances, and where targets read
from slow disks. On loopback one connection is as fast, as long as nobody keeps the bytes.
"""

from __future__ import annotations

import mmap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import requests

from aisfs_sdk import const, errors
from aisfs_sdk.checksums import new_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aisfs_sdk.object_attributes import ObjectAttributes
    from aisfs_sdk.object_reader import ObjectReader

PART_SIZE = 32 << 20
"""Bytes of one request. Parts of 8 MiB took a tenth more CPU time, 64 MiB were no faster."""

_RESUMES = 3
"""How often a part is gone on with after its connection broke."""


class ParallelReader:
    """The content of one object as it was when the reader was made.

    Args:
        open_range: opens bytes FIRST-LAST of the object.
        attributes: of the object now; a reply that tells others ends the read.
        subject: the object in words.
        num_workers: requests at a time.
        part_size: bytes of one request.
        verify: compare the checksum of the whole at the end.
    """

    def __init__(
        self,
        open_range: Callable[[str], ObjectReader],
        attributes: ObjectAttributes,
        subject: str,
        num_workers: int,
        *,
        part_size: int = PART_SIZE,
        verify: bool = True,
    ) -> None:
        if num_workers < 2 or part_size < 1:
            msg = f"a parallel read has 2 workers or more, not {num_workers}, and parts of 1 byte"
            raise ValueError(msg)
        self._open_range = open_range
        self._attributes = attributes
        self._subject = subject
        self._workers = num_workers
        self._part_size = part_size
        self._verify = verify
        self._stop = threading.Event()

    @property
    def attributes(self) -> ObjectAttributes:
        """Size, checksum, version and custom metadata."""
        return self._attributes

    def read_all(self) -> memoryview:
        """Return the whole content, in memory of its own that goes with the view.

        Raises:
            IntegrityError: the object changed meanwhile, or its bytes are not what was stored.
            AISError: the cluster refused or failed a part.
            requests.RequestException: the network failed.
        """
        buffer = _memory(self._attributes.size)
        self.readinto(buffer)
        return buffer

    def readinto(self, buffer: memoryview | bytearray) -> int:
        """Receive the whole content into memory of the caller.

        Args:
            buffer: writable, of the object's size at least; worthless after an error.

        Returns:
            The object's size in bytes.

        Raises:
            ValueError: the buffer is too small.
            IntegrityError, AISError, requests.RequestException: see `read_all`.
        """
        size = self._attributes.size
        view = memoryview(buffer).cast("B")
        if len(view) < size:
            msg = f"{self._subject} has {size} bytes, the buffer {len(view)}"
            raise ValueError(msg)
        self._stop.clear()
        with ThreadPoolExecutor(self._workers, "aisfs-read") as pool:
            parts = [
                pool.submit(self._read_part, view, start, min(start + self._part_size, size))
                for start in range(0, size, self._part_size)
            ]
            try:
                for part in parts:
                    part.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self._check(view[:size])
        return size

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the content in parts, once all of it came and was compared."""
        content = self.read_all()
        for start in range(0, len(content), self._part_size):
            yield content[start : start + self._part_size]

    def _read_part(self, view: memoryview, start: int, end: int) -> None:
        resumes = 0
        while start < end and not self._stop.is_set():
            try:
                start = self._receive(view, start, end)
            except (errors.ErrObjNotFound, errors.ObjectChangedError):
                raise
            except (errors.IntegrityError, requests.RequestException):
                resumes += 1
                if resumes > _RESUMES:
                    raise

    def _receive(self, view: memoryview, start: int, end: int) -> int:
        """Receive one range as far as it comes; returns where the rest begins."""
        with self._open_range(f"bytes={start}-{end - 1}") as reader:
            self._same(reader.attributes)
            while start < end and not self._stop.is_set():
                start += reader.readinto1(view[start : min(end, start + (1 << 20))])
        return start

    def _same(self, found: ObjectAttributes) -> None:
        """Compare what identifies a content; a range may have a checksum of its own."""
        ours = self._attributes
        if (found.size, found.obj_version) != (ours.size, ours.obj_version):
            raise errors.ObjectChangedError(
                200, "the object changed while it was read", self._subject
            )

    def _check(self, view: memoryview) -> None:
        goal = self._attributes.checksum_value
        digest = new_digest(self._attributes.checksum_type) if self._verify and goal else None
        if digest is None:
            return
        digest.update(view)
        if digest.hexdigest() != goal:
            message = f"the bytes do not have the checksum {goal} of the object"
            raise errors.ChecksumError(200, message, f"{const.HTTP_METHOD_GET} {self._subject}")


def _memory(size: int) -> memoryview:
    """Return memory of that many bytes, whose pages are made as the bytes arrive.

    A `bytearray` is written with zeros first: 1 GiB took 1.4 s into one, 1.2 s into this. Huge
    pages took 2.7 s, where the memory had to come from the host of a virtual machine.
    """
    if not size:
        return memoryview(bytearray())
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
