"""A cluster that is far away: relays in front of its nodes that keep every byte for a while.

For kernels without a queue that delays. What comes from either side is handed on, in order, `delay`
seconds after it came. The addresses of nodes in the cluster's own answers (its map, redirects) are
replaced by the relays', which have the same length. The way's bandwidth is not limited, but what
one connection may have on its way is, as TCP's windows do it: what shows is the number of
round-trips, and whether one connection is enough. The relays are a process of their own; its CPU
time is nobody's.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CHUNK = 256 << 10
WINDOW = 4 << 20
"""Bytes of one direction of a connection that are on their way at most: Linux's tcp_wmem."""

HEAD = 64 << 10
"""Bytes of the largest chunk that may hold addresses: heads and maps; bodies are random."""


class _Window:
    """Bytes that may be on their way, until the sender has word that they arrived."""

    def __init__(self) -> None:
        self._size = 0
        self._words: queue.Queue[tuple[float, int]] = queue.Queue()

    def take(self, size: int) -> None:
        """Wait until there is room for `size` bytes more."""
        self._size += size
        while self._size > WINDOW:
            told_at, arrived = self._words.get()
            time.sleep(max(told_at - time.monotonic(), 0))
            self._size -= arrived

    def arrived(self, told_at: float, size: int) -> None:
        """Take note that bytes arrived, of which the sender hears at `told_at`."""
        self._words.put((told_at, size))


def _relay(source: socket.socket, sink: socket.socket, delay: float, names: Names) -> None:
    """Hand on one direction of a connection."""
    kept: queue.Queue[tuple[float, bytes]] = queue.Queue()
    window = _Window()

    def hand_on() -> None:
        while True:
            due, data = kept.get()
            time.sleep(max(due - time.monotonic(), 0))
            with contextlib.suppress(OSError):  # the other side went: its own thread ends, too
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
            window.arrived(time.monotonic() + delay, len(data))  # the word of it goes back

    threading.Thread(target=hand_on, daemon=True).start()
    data = b"more"
    while data:
        try:
            data = source.recv(CHUNK)
        except OSError:
            data = b""
        if len(data) < HEAD:
            for real, relayed in names.items():
                data = data.replace(real, relayed)
        window.take(len(data))
        kept.put((time.monotonic() + delay, data))


def _serve(listener: socket.socket, node: tuple[str, int], delay: float, names: Names) -> None:
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(node)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink, replaced in ((near, far, {}), (far, near, names)):
            threading.Thread(
                target=_relay, args=(source, sink, delay, replaced), daemon=True
            ).start()


def _run(
    listeners: list[tuple[socket.socket, tuple[str, int]]], delay: float, names: Names
) -> None:
    for listener, node in listeners:
        threading.Thread(target=_serve, args=(listener, node, delay, names), daemon=True).start()
    threading.Event().wait()


Names = dict[bytes, bytes]


def _listen_like(port: int) -> socket.socket:
    """Listen at a port whose number has as many digits as another's."""
    while True:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        if len(str(listener.getsockname()[1])) == len(str(port)):
            return listener
        listener.close()


@contextlib.contextmanager
def far_away(nodes: Iterable[str], delay: float) -> Iterator[Mapping[str, str]]:
    """Put relays in front of nodes and yield their addresses.

    Args:
        nodes: URLs `http://127.0.0.1:PORT`, all of one cluster.
        delay: seconds in each direction.

    Yields:
        URL of a node → URL of its relay.

    Raises:
        ValueError: a node is elsewhere, or not spoken to in plain text.
    """
    listeners, addresses = [], {}
    for url in nodes:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname != "127.0.0.1" or parts.port is None:
            raise ValueError(f"distance is made for nodes at http://127.0.0.1, not for {url}")
        listener = _listen_like(parts.port)
        listeners.append((listener, (parts.hostname, parts.port)))
        addresses[url] = f"http://127.0.0.1:{listener.getsockname()[1]}"
    names = {real[7:].encode(): relayed[7:].encode() for real, relayed in addresses.items()}
    process = multiprocessing.get_context("fork").Process(
        target=_run, args=(listeners, delay, names), daemon=True
    )
    process.start()
    try:
        yield addresses
    finally:
        process.kill()
        process.join()
        for listener, _ in listeners:
            listener.close()
