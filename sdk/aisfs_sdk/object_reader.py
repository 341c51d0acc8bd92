"""The bytes of an object, as they come.

`Object.get` makes readers. A reader is one open answer: it is read once, from one thread; `abort`
alone may be called from others. Whoever does not read to the end closes it.

Bulk readers use `readinto`: it receives into the caller's memory, below requests and urllib3, which
would each copy once more. Measured on loopback, CPU seconds per GB: 0.17 in steps of 1 MiB, where
`iter_content` of requests takes 0.20, and 0.53 in steps of 32 KiB. Without TLS `block_receiver`
fills each step by one system call, and so takes the interpreter's lock once.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
import ssl
import threading
from typing import IO, TYPE_CHECKING, NamedTuple, Self, cast

from urllib3 import exceptions as lib

from aisfs_sdk import const, errors, retry
from aisfs_sdk.block_receiver import BlockReceiver
from aisfs_sdk.checksums import new_digest
from aisfs_sdk.network_errors import network_error
from aisfs_sdk.object_attributes import ObjectAttributes
from aisfs_sdk.object_file import ObjectFileReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from urllib3 import BaseHTTPResponse

    from aisfs_sdk.traffic import Traffic

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(-?\d+)/(\d+)")
_JOIN_BLOCK = 1 << 20


class ContentRange(NamedTuple):
    """Which bytes of an object an answer holds: from `start` up to, not including, `end`."""

    start: int
    end: int
    total: int


class ObjectReader:
    """The content of one object, or of the part of it that was asked for.

    Attributes of the object come with the first bytes: `attributes` sends no request.

    Attributes:
        open_at: opens the same content again, that many bytes on; None where that cannot be done.

    Invariant: bytes are handed out only as long as they can be those that were announced. A body
    that ends early, or has more than was announced, ends in `IntegrityError`; a whole object whose
    bytes do not have the announced checksum, in `ChecksumError` at its end.
    """

    def __init__(
        self,
        raw: BaseHTTPResponse,
        request: str = "",
        chunk_size: int = const.DEFAULT_CHUNK_SIZE,
        byte_range: tuple[int | None, int | None] | None = None,
        *,
        verify: bool = False,
        traffic: Traffic | None = None,
    ) -> None:
        """Take over an answer whose body is unread.

        Args:
            raw: the answer.
            request: method and object, for error texts.
            chunk_size: bytes per item of iteration.
            byte_range: what was asked for: first and last byte, or (None, count) for the end.
            verify: the body is a whole object, whose checksum is to be compared.
            traffic: counts what comes.

        Raises:
            IntegrityError: the answer does not say how long it is, or holds another range.
        """
        self._raw = raw
        self._traffic = traffic
        self._request = request
        self._chunk_size = chunk_size
        self._attributes = ObjectAttributes(raw.headers)
        self._lock = threading.Lock()
        self._aborted = False
        self._done = False
        self._deadline = retry.current(None)
        self.open_at: Callable[[int], ObjectReader] | None = None
        self._source, self._socket = _source(raw)
        self._blocks = BlockReceiver.over(self._source, self._socket)
        try:
            self._range = self._check_range(byte_range)
            self._goal = self._attributes.checksum_value if verify and not self._range else ""
            kind = self._attributes.checksum_type if self._goal else ""
            self._digest = new_digest(kind)
            self._remaining = self._announced()
        except BaseException:
            raw.close()
            raise

    # ---- what is known without reading ----

    @property
    def attributes(self) -> ObjectAttributes:
        """Size of the whole object, checksum, version and custom metadata."""
        return self._attributes

    def header(self, name: str) -> str:
        """Return a header of the answer, "" if it has none of that name."""
        return self._raw.headers.get(name, "")

    @property
    def content_range(self) -> ContentRange | None:
        """Which bytes the body holds, None if it is the whole object (or a member, a transform)."""
        return self._range

    @property
    def remaining(self) -> int | None:
        """Bytes still to come; None where the cluster does not know it in advance."""
        return self._remaining

    def limit_silence(self, seconds: float | None) -> None:
        """Let reads from now on fail with `requests.Timeout` after so long without a byte.

        Args:
            seconds: None for no limit; until this call the client's limit holds.
        """
        self._may_buffer()
        if self._socket is not None:
            self._socket.settimeout(seconds)

    # ---- reading ----

    def readinto(self, buffer: memoryview | bytearray) -> int:
        """Receive into memory of the caller.

        Args:
            buffer: contiguous and writable, best a `mmap.mmap(-1, size)` that is used again: copies
                into its whole pages cost least. It is filled, unless the body ends before.

        Returns:
            How many bytes were received; 0 at the end.

        Raises:
            IntegrityError: the body is shorter or longer than announced, or (`ChecksumError`) a
                whole object that is not what the cluster stored.
            AbortedError: `abort` was called.
            requests.RequestException: the connection broke, or was silent for too long. What came
                in this call before is lost, what came in calls before is right.
        """
        view = self._within(buffer)
        if self._done or not len(view):
            self._refuse_if_aborted()
            return 0
        try:
            if self._blocks is not None:
                count = self._blocks.fill(view, (self._remaining or 0) - len(view))
            else:
                count = cast("int", self._source.readinto(view))  # type: ignore[attr-defined]
        except Exception as error:
            raise self._failed(error) from error
        self._took(count, len(view), view[:count])
        return count

    def _within(self, buffer: memoryview | bytearray) -> memoryview:
        """Return the part of a buffer that the rest of the body can fill."""
        view = memoryview(buffer)
        return view if self._remaining is None else view[: self._remaining]

    def readinto1(self, buffer: memoryview | bytearray) -> int:
        """Receive what is there, or wait for some: as `readinto`, but nothing that came is lost.

        Returns:
            How many bytes were received; 0 at the end.

        Raises:
            IntegrityError, AbortedError, requests.RequestException: see `readinto`.
        """
        view = self._within(buffer)
        if self._done or not len(view):
            self._refuse_if_aborted()
            return 0
        try:
            count = self._receive_some(view)
        except Exception as error:
            raise self._failed(error) from error
        # As many as were wanted, unless that is the end.
        self._took(count, count or len(view), view[:count])
        return count

    def _receive_some(self, view: memoryview) -> int:
        self._may_buffer()
        if isinstance(self._source, io.BufferedReader):
            return self._source.readinto1(view)
        data = cast("bytes", self._source.read1(len(view)))  # type: ignore[attr-defined]
        view[: len(data)] = data
        return len(data)

    def _may_buffer(self) -> None:
        """Let the source be read past the blocks: its own buffer may hold bytes from now on."""
        if self._blocks is not None:
            self._blocks.give_back()

    def read_all(self) -> bytes:
        """Return all that is still to come, and close.

        Raises:
            IntegrityError, AbortedError, requests.RequestException: see `readinto`.
        """
        if self._remaining is None:
            return b"".join(self._chunks(_JOIN_BLOCK))
        return self._read(self._remaining)

    def raw(self) -> IO[bytes]:
        """Return the stream below, for callers that read and close it themselves."""
        return cast("IO[bytes]", self._raw)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the content in chunks, and close at the end.

        Raises:
            IntegrityError, AbortedError, requests.RequestException: see `readinto`.
        """
        try:
            yield from self._chunks(self._chunk_size)
        finally:
            self.close()

    def _chunks(self, size: int) -> Iterator[bytes]:
        while chunk := self._read(size if self._remaining is None else min(size, self._remaining)):
            yield chunk

    def _read(self, size: int) -> bytes:
        if self._done or not size:
            self._refuse_if_aborted()
            return b""
        self._may_buffer()
        try:
            data = self._source.read(size)
        except Exception as error:
            raise self._failed(error) from error
        self._took(len(data), size, data)
        return data

    def as_file(
        self, buffer_size: int | None = None, max_resume: int | None = 5
    ) -> ObjectFileReader:
        """Return the rest of the content as a file that goes on where a connection breaks.

        It takes this reader over.

        Args:
            buffer_size: bytes that are read ahead; None for 1 MiB.
            max_resume: how often it may go on, over the file's life; None for no limit.

        Raises:
            ValueError: `max_resume` is negative, or reading has begun.
        """
        return ObjectFileReader(self, buffer_size, max_resume)

    # ---- ending ----

    def close(self) -> None:
        """Give the connection back; one that still has bytes to come is closed. May be repeated."""
        with self._lock:
            if self._done:
                return
            self._done = True
            self._socket = None
        self._raw.close()

    def abort(self) -> None:
        """End the stream from any thread: a blocked read returns at once with `AbortedError`."""
        with self._lock:
            self._aborted = True
            if self._socket is None:
                return
            with contextlib.suppress(OSError):  # the peer was faster
                # Not the TLS socket's own method: the blocked reader would go on in plain text.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- the body's length ----

    def _announced(self) -> int | None:
        length = self._raw.headers.get(const.HEADER_CONTENT_LENGTH, "")
        if length.isdigit():
            announced = int(length)
            if self._range is not None and announced != self._range.end - self._range.start:
                raise self._broken(f"{announced} bytes announced for {self._range}")
            if not announced:
                self._finish()
            return announced
        if "chunked" in self._raw.headers.get("Transfer-Encoding", "").lower():
            return None if self._range is None else self._range.end - self._range.start
        raise self._broken("the answer does not tell its length")

    def _check_range(self, asked: tuple[int | None, int | None] | None) -> ContentRange | None:
        header = self._raw.headers.get(const.HEADER_CONTENT_RANGE, "")
        found = _CONTENT_RANGE.fullmatch(header)
        if found is None:
            if asked is not None or header:
                raise self._broken(f"the answer holds no range of the object ({header!r})")
            return None
        answer = ContentRange(int(found[1]), int(found[2]) + 1, int(found[3]))
        if asked is not None:
            first, last = asked
            if first is None:
                first, last = max(0, answer.total - (last or 0)), None
            end = answer.total if last is None else min(last + 1, answer.total)
            if (answer.start, answer.end) != (first, end):
                raise self._broken(f"asked for bytes {first} to {end}, got {answer}")
        return answer

    def _took(self, count: int, wanted: int, data: bytes | memoryview) -> None:
        self._deadline.have_passed(count)
        self._refuse_if_aborted()
        if self._traffic is not None:
            self._traffic.received(count)
        if self._digest is not None:
            self._digest.update(data)
        if self._remaining is not None:
            self._remaining -= count
            if count < wanted:
                raise self._broken(f"the body ended {self._remaining} bytes early")
            if not self._remaining:
                self._finish()
        elif count < wanted:
            self._finish()

    def _finish(self) -> None:
        """Look for bytes too many, then give the connection back."""
        try:
            self._may_buffer()
            extra = self._socket is not None and _more_came(self._source, self._socket)
        except Exception as error:
            raise self._failed(error) from error
        with self._lock:
            # From here on an abort must not touch the connection: it may serve the next request.
            self._socket = None
            self._done = True
        if extra:
            self._raw.close()
            raise self._broken("the body is longer than announced")
        if self._digest is not None and self._digest.hexdigest() != self._goal:
            self._raw.close()
            message = f"the bytes do not have the checksum {self._goal} of the object"
            raise errors.ChecksumError(self._raw.status, message, self._request)
        original = getattr(self._raw, "_fp", None)
        if isinstance(original, http.client.HTTPResponse):
            original.close()
            self._raw.release_conn()
        else:
            self._raw.close()

    def _broken(self, message: str) -> errors.IntegrityError:
        self.close()
        return errors.IntegrityError(self._raw.status, message, self._request)

    def _refuse_if_aborted(self) -> None:
        if self._aborted:
            self.close()
            raise errors.AbortedError(0, "the stream was aborted", self._request)

    def _failed(self, error: Exception) -> Exception:
        self.close()
        if self._aborted:
            return errors.AbortedError(0, "the stream was aborted", self._request)
        if isinstance(error, http.client.IncompleteRead | lib.IncompleteRead):
            return self._broken(f"the body ended early: {error}")
        if isinstance(error, lib.HTTPError | http.client.HTTPException | OSError):
            return network_error(error, self._request)
        return error


def _source(raw: BaseHTTPResponse) -> tuple[IO[bytes], socket.socket | None]:
    """Return where to read a body from, as far below as it can be, and the socket.

    A body of known length is read from the socket's buffered file itself, whose `readinto` goes
    straight to recv(2). Chunked ones are read from `http.client`, which knows where chunks end.
    Both hang on names that urllib3 and http.client do not document: without them, or with an
    encoded body, urllib3's stream serves.
    """
    original = getattr(raw, "_fp", None)
    if not isinstance(original, http.client.HTTPResponse) or raw.headers.get("Content-Encoding"):
        return cast("IO[bytes]", raw), None
    file = getattr(original, "fp", None)
    below = getattr(getattr(file, "raw", None), "_sock", None)
    if not isinstance(file, io.BufferedReader) or not isinstance(below, socket.socket):
        return cast("IO[bytes]", original), None
    return cast("IO[bytes]", original if original.chunked else file), below


def _more_came(source: IO[bytes], sock: socket.socket) -> bool:
    """Tell whether bytes lie behind the end of a body, without waiting for any."""
    if isinstance(source, http.client.HTTPResponse):
        # Chunked: what follows has to be the last, empty chunk.
        return not source.isclosed() and bool(source.read(1))
    if not isinstance(source, io.BufferedReader):
        return False
    timeout = sock.gettimeout()
    try:
        sock.settimeout(0)
        return bool(source.peek(1))
    except (ssl.SSLWantReadError, OSError):
        return False
    finally:
        sock.settimeout(timeout)
