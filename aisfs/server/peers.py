"""Whose process is at the other end of a loopback connection.

The kernel knows the owner of every local socket: it is asked over netlink (sock_diag(7)), and where
a sandbox lacks that, read from `/proc/net/tcp`. A socket that its process has closed is shown as
root's with no inode, so only sockets with an inode count.
"""

import os
import socket
import struct
from pathlib import Path

NETLINK_SOCK_DIAG = 4
_DIAG_BY_FAMILY = 20
_REQUEST = 1
_ERROR = 2
_NO_COOKIE = 0xFFFFFFFF
_HEAD = struct.Struct("=LHHLL")
_QUERY = struct.Struct("=BBBBL")
_PLACES = struct.Struct("=4s12s4s12sLLL")
_OWNER = struct.Struct("=LLLLL")
"""End of an inet_diag_msg: expires, rqueue, wqueue, uid, inode."""

_TABLE = Path("/proc/net/tcp")

Address = tuple[str, int]


def owner_of(peer: Address, here: Address) -> int | None:
    """Return the uid that owns the local socket `peer`, connected to ours at `here` (IPv4).

    None when there is none: the peer is on another machine, or has closed its end.
    """
    try:
        return _ask_kernel(peer, here)
    except OSError:
        return _search_table(peer, here)


def _ask_kernel(peer: Address, here: Address) -> int | None:
    ports = struct.pack("!HH", peer[1], here[1])
    addresses = (socket.inet_aton(peer[0]), b"", socket.inet_aton(here[0]), b"")
    places = ports + _PLACES.pack(*addresses, 0, _NO_COOKIE, _NO_COOKIE)
    query = _QUERY.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + places
    head = _HEAD.pack(_HEAD.size + len(query), _DIAG_BY_FAMILY, _REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        netlink.send(head + query)
        answer = netlink.recv(4096)
    _, kind, _, _, _ = _HEAD.unpack_from(answer)
    if kind == _ERROR:
        code = -struct.unpack_from("=i", answer, _HEAD.size)[0]
        if code == 2:  # ENOENT: no such socket on this machine
            return None
        raise OSError(code, os.strerror(code))
    offset = _HEAD.size + 4 + 4 + _PLACES.size
    _, _, _, uid, inode = _OWNER.unpack_from(answer, offset)
    return uid if inode else None


def _search_table(peer: Address, here: Address) -> int | None:
    wanted = [_shown(peer), _shown(here)]
    try:
        with _TABLE.open() as table:
            for line in table:
                fields = line.split()
                if fields[1:3] == wanted:
                    return int(fields[7]) if int(fields[9]) else None
    except OSError:
        return None
    return None


def _shown(address: Address) -> str:
    number = struct.unpack("=L", socket.inet_aton(address[0]))[0]
    return f"{number:08X}:{address[1]:04X}"
