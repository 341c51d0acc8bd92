"""Objects as files: reading that survives broken connections, and writing by appending."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any, Literal

import requests

from aisfs_sdk import errors

if TYPE_CHECKING:
    from types import TracebackType

    from aisfs_sdk.object_reader import ObjectReader
    from aisfs_sdk.object_writer import ObjectWriter

log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_CLOSED = "I/O operation on closed file."


class _Resuming(io.RawIOBase):
    """The bytes of a reader, and of those that it is replaced by when its connection breaks.

    Invariant: all bytes are of one version of the object.
    """

    def __init__(self, reader: ObjectReader, max_resume: int | None) -> None:
        self._reader = reader
        self._identity = _identity(reader)
        self._left = max_resume
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            try:
                count = self._reader.readinto1(memoryview(buffer))
            except errors.ChecksumError:
                raise  # reading on does not mend what was handed out
            except (errors.IntegrityError, requests.RequestException) as error:
                self._resume(error)
                continue
            self._offset += count
            return count

    def _resume(self, error: Exception) -> None:
        """Open the rest of the object.

        Raises:
            ObjectFileReaderMaxResumeError: it was resumed often enough.
            PreconditionError: it is another object by now.
        """
        self._reader.close()
        open_at = self._reader.open_at
        if open_at is None:
            raise error
        if self._left is not None:
            if not self._left:
                msg = f"the content broke off after {self._offset} bytes: {error}"
                raise errors.ObjectFileReaderMaxResumeError(0, msg) from error
            self._left -= 1
        log.warning("reading goes on after %d bytes: %s", self._offset, error)
        try:
            reader = open_at(self._offset)
        except (errors.UnavailableError, requests.RequestException) as failure:
            # It counts as a try: `open_at` has repeated the request by itself.
            self._reader.open_at = open_at
            self._resume(failure)
            return
        if _identity(reader) != self._identity:
            reader.close()
            msg = f"the object was replaced after {self._offset} bytes of it had been read"
            raise errors.PreconditionError(0, msg) from error
        reader.open_at = open_at
        self._reader = reader

    def close(self) -> None:
        self._reader.close()
        super().close()


class ObjectFileReader(io.BufferedReader):
    """An object's content as a binary file. It cannot be searched (`seek`).

    A connection that breaks, or ends early, is replaced by another one that goes on where it ended,
    as long as the object is the same. Every other error closes the file. Made by
    `ObjectReader.as_file`.
    """

    def __init__(
        self, reader: ObjectReader, buffer_size: int | None = None, max_resume: int | None = 5
    ) -> None:
        """Take over a reader whose content is unread.

        Raises:
            ValueError: `max_resume` is negative.
        """
        if max_resume is not None and max_resume < 0:
            msg = f"max_resume cannot be {max_resume}"
            raise ValueError(msg)
        super().__init__(_Resuming(reader, max_resume), buffer_size or _BLOCK)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return that many bytes, fewer only at the end; all that is left if negative or None.

        Raises:
            ValueError: the file is closed.
            ObjectFileReaderMaxResumeError: the content broke off too often.
            PreconditionError: the object was replaced while it was read.
            AISError: the cluster refused or failed it otherwise.
        """
        if self.closed:
            raise ValueError(_CLOSED)
        try:
            return super().read(size)
        except (errors.AISError, requests.RequestException):
            self.close()
            raise


class ObjectFileWriter(io.RawIOBase):
    """An object as a binary file to write. Readers see what was written after `flush` or `close`.

    Made by `ObjectWriter.as_file`.
    """

    def __init__(self, writer: ObjectWriter, mode: Literal["a", "w"] = "a") -> None:
        """Start writing.

        Args:
            writer: of the object.
            mode: "a" goes on after what the object holds, "w" empties it first.

        Raises:
            ValueError: there is no such mode.
            UnsupportedError: the cluster cannot append to this object.
            AISError, requests.RequestException: see `ObjectWriter.put`.
        """
        if mode not in {"a", "w"}:
            msg = f"the mode is a or w, not {mode!r}"
            raise ValueError(msg)
        self._writer = writer
        self._handle = ""
        self._buffer = bytearray()
        self._begun = False
        if mode == "w":
            writer.put_content(b"")

    def writable(self) -> bool:
        """Tell that it can be written."""
        return True

    def write(self, data: Any, /) -> int:
        """Take bytes; they go to the cluster in blocks.

        Returns:
            How many were taken: all.

        Raises:
            ValueError: the file is closed.
            AISError, requests.RequestException: see `ObjectWriter.append_content`.
        """
        if self.closed:
            raise ValueError(_CLOSED)
        view = memoryview(data).cast("B")
        self._buffer += view
        if len(self._buffer) >= _BLOCK:
            self._send()
        return len(view)

    def flush(self) -> None:
        """Make visible what was written.

        Raises:
            ValueError: the file is closed.
            AISError, requests.RequestException: see `ObjectWriter.append_content`.
        """
        if self.closed:
            raise ValueError(_CLOSED)
        if self._buffer:
            self._send()
        if self._handle:
            handle, self._handle = self._handle, ""
            self._writer.append_content(b"", handle, flush=True)

    def _send(self) -> None:
        data = bytes(self._buffer)
        self._handle = self._writer.append_content(data, self._handle)
        self._buffer.clear()

    def close(self) -> None:
        """Make visible what was written, and end. May be repeated.

        Raises:
            AISError, requests.RequestException: see `ObjectWriter.append_content`.
        """
        # `io` flushes first, and is closed even if that fails.
        super().close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            # Half of what was meant stays invisible.
            self._buffer.clear()
            self._handle = ""
        self.close()


def _identity(reader: ObjectReader) -> tuple[str, ...]:
    """Return what tells two versions of an object apart."""
    found = reader.attributes
    return found.checksum_type, found.checksum_value, found.obj_version, str(found.size)
