"""What connections to the store sent and received, as the kernel counts it: no byte goes elsewhere.

The kernel's socket diagnostics (sock_diag(7)) tell what each open TCP connection has moved, and
announce each connection that goes, with its last counts. Both together are exact, for connections
of any length, and cost nothing per byte. The store's own counters would not do: an answer that a
client gives up half-way is not counted there, and that is the waste that has to show.

Counted are connections *to* the store's ports, of whoever: nobody else may use the store meanwhile.
Needs CAP_NET_ADMIN; without it `Wire.open` says so, and no row has bytes on the wire.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

# From <linux/netlink.h>, <linux/sock_diag.h>, <linux/inet_diag.h>, <linux/tcp.h>.
NETLINK_SOCK_DIAG = 4
SO_RCVBUFFORCE = 33  # <asm/socket.h>; a full buffer would lose announcements
TCP_CONNECTIONS_THAT_GO = 1  # SKNLGRP_INET_TCP_DESTROY, as a mask
SOCK_DIAG_BY_FAMILY = 20
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST_DUMP = 0x1 | 0x300
INET_DIAG_INFO = 2
BYTES_ACKED = 120  # offset of tcpi_bytes_acked in struct tcp_info; tcpi_bytes_received follows
HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
SOCKET_ID = struct.Struct(
    ">HH16s16s4xQ"
)  # ports, addresses, interface, cookie of struct inet_diag_sockid
MESSAGE_SIZE = 72  # struct inet_diag_msg, whose id starts at 4
SETTLE_S = 0.05  # the kernel announces connections that go a little later


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes either way, as those see it who are measured."""

    sent: int = 0
    received: int = 0

    def __add__(self, other: Moved) -> Moved:
        return Moved(self.sent + other.sent, self.received + other.received)

    def __sub__(self, other: Moved) -> Moved:
        return Moved(self.sent - other.sent, self.received - other.received)


class Wire:
    """Bytes that connections to some ports moved: `before = wire.moved() … wire.moved() - before`.

    Args:
        ports: where the nodes of the store listen.
    """

    def __init__(self, ports: set[int]) -> None:
        self._ports = ports
        self._gone = Moved()
        self._events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
        self._events.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._events.bind((0, TCP_CONNECTIONS_THAT_GO))
        self._events.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._events.close()

    def moved(self) -> Moved:
        """Return what connections to the ports, open or gone, have moved so far."""
        time.sleep(SETTLE_S)
        open_now = dict(self._open())
        while True:
            try:
                batch = self._events.recv(1 << 20)
            except BlockingIOError:
                break
            for name, count in self._connections(batch):
                self._gone += count
                open_now.pop(name, None)
        return sum(open_now.values(), self._gone)

    def _open(self) -> Iterator[tuple[int, Moved]]:
        """Ask for the connections that are open."""
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as asked:
            extensions = 1 << (INET_DIAG_INFO - 1)
            body = struct.pack(
                "=BBBBI48x", socket.AF_INET, socket.IPPROTO_TCP, extensions, 0, 0xFFFFFFFF
            )
            size = HEADER.size + len(body)
            asked.send(HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 0, 0) + body)
            while True:
                batch = asked.recv(1 << 20)
                yield from self._connections(batch)
                if any(kind in {NLMSG_DONE, NLMSG_ERROR} for kind, _ in _messages(batch)):
                    return

    def _connections(self, batch: bytes) -> Iterator[tuple[int, Moved]]:
        """Yield the cookie of each connection to the ports, and what it has moved."""
        for kind, body in _messages(batch):
            if kind != SOCK_DIAG_BY_FAMILY:
                continue
            _, port, _, _, cookie = SOCKET_ID.unpack_from(body, 4)
            info = _attribute(body[MESSAGE_SIZE:], INET_DIAG_INFO)
            if port in self._ports and len(info) >= BYTES_ACKED + 16:
                yield cookie, Moved(*struct.unpack_from("=QQ", info, BYTES_ACKED))


def _messages(batch: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the body of each netlink message."""
    at = 0
    while at + HEADER.size <= len(batch):
        size, kind, *_ = HEADER.unpack_from(batch, at)
        yield kind, batch[at + HEADER.size : at + size]
        at += (size + 3) & ~3


def _attribute(attributes: bytes, wanted: int) -> bytes:
    """Return the value of a netlink attribute, b"" if it is not there."""
    at = 0
    while at + 4 <= len(attributes):
        size, kind = struct.unpack_from("=HH", attributes, at)
        if kind == wanted:
            return attributes[at + 4 : at + size]
        at += max((size + 3) & ~3, 4)
    return b""
