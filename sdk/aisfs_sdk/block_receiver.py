"""Whole blocks of a body by one system call each.

Serves `object_reader`. A socket with a time limit is non-blocking below: Python polls it and takes
its lock again for each piece that came, some ten times per MiB, beside every other thread that
wants the lock. Here the kernel collects the block (`MSG_WAITALL`) and keeps the limit
(`SO_RCVTIMEO`). Measured on loopback with blocks of 1 MiB: 5 to 10 % less CPU in a thread alone;
beside an event loop that is busy the lock is fought for once per block.

In the middle of a body the kernel is also told not to wake the thread for less than half a MiB
(`SO_RCVLOWAT`): a switch for each piece that the peer sends costs both sides more than the copy.
"""

from __future__ import annotations

import io
import math
import socket
import ssl
import struct
from typing import IO, Self

_SILENT_SLICES = 2
"""A limit is counted in so many waits: the kernel does not tell when the last byte of an unfinished
block came. A peer is given up after 1 to 1.5 times the limit."""

_WAKE_AT = 512 << 10
"""Bytes that have to wait before a thread is woken, where at least as many are known to follow the
block: it would wait for ever for what nobody sends. The kernel lowers it to half of what its buffer
can hold, and wakes the thread when memory is short or the time is over."""


class BlockReceiver:
    """Fills memory from a connection whose buffered file may hold the first bytes.

    From the first block on the socket is set up for blocks alone; `give_back` makes it as it was,
    for whatever else reads from it or from its file.

    Args:
        file: the connection's buffered file.
        sock: its socket; the limit of silence is the one that it has (`settimeout`).
    """

    def __init__(self, file: io.BufferedReader, sock: socket.socket) -> None:
        self._file = file
        self._sock = sock
        self._buffered = True
        self._taken = False
        self._limit: float | None = None
        self._wake_at = 1

    @classmethod
    def over(cls, source: IO[bytes], sock: socket.socket | None) -> Self | None:
        """Return a receiver where that can be: over plain TCP, for a body of known length."""
        if not isinstance(source, io.BufferedReader) or sock is None:
            return None
        if isinstance(sock, ssl.SSLSocket) or not hasattr(socket, "MSG_WAITALL"):
            return None
        return cls(source, sock)

    def fill(self, view: memoryview, following: int = 0) -> int:
        """Receive until `view` is full.

        Args:
            view: where the bytes go.
            following: bytes of the body that come behind them for certain.

        Returns:
            How many bytes came: less than asked for if the peer ended the connection.

        Raises:
            TimeoutError: nothing came for too long.
            OSError: the connection broke.
        """
        count = 0
        if self._buffered:
            if len(view) < io.DEFAULT_BUFFER_SIZE:
                return self._file.readinto(view)  # a smaller view might leave bytes behind
            count = self._file.readinto1(view)
            self._buffered = False
            if count == 0:
                return 0
        if not self._taken:
            self._take()
        self._set_wake_at(_WAKE_AT if following >= _WAKE_AT else 1)
        return self._collect(view, count)

    def give_back(self) -> None:
        """Leave the socket to others, whose file may hold bytes from now on."""
        self._buffered = True
        if self._taken:
            self._taken = False
            self._set_wake_at(1)
            self._sock.settimeout(self._limit)

    def _take(self) -> None:
        """Let the kernel keep the limit. Each change of a socket's mode costs Python's lock."""
        self._limit = self._sock.gettimeout()
        if self._limit == 0:
            raise BlockingIOError("a body cannot be received from a non-blocking socket")
        self._sock.settimeout(None)
        self._taken = True
        fraction, seconds = math.modf((self._limit or 0) / _SILENT_SLICES)
        value = struct.pack("@ll", int(seconds), math.ceil(fraction * 1e6))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)

    def _set_wake_at(self, count: int) -> None:
        if count != self._wake_at:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._wake_at = count

    def _collect(self, view: memoryview, count: int) -> int:
        silent = 0
        while count < len(view):
            try:
                came = self._sock.recv_into(view[count:], 0, socket.MSG_WAITALL)
            except BlockingIOError:
                silent += 1
                if silent == _SILENT_SLICES:
                    raise TimeoutError(f"nothing came for {self._limit:g} s") from None
                continue
            if came == 0:
                break
            count += came
            silent = 0
        return count
