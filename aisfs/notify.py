"""What a service manager is told while it runs a mount: systemd's protocol, sd_notify(3).

Serves `daemon`. A message is one datagram of NAME=VALUE lines to the socket that the manager named.
Where there is no manager every call does nothing. Nothing here raises, and nothing waits long: a
manager that hangs, maybe on this very mount, must not hang the mount as well.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

SEND_LIMIT_S = 1.0
"""Longest that a message waits for room in the manager's queue; it is lost then."""

EXTENSION_S = 30.0
"""For how long each word of a start or an end that goes on keeps the manager from giving it up."""

REPEATED_S = 5.0
"""After how long such a word is repeated."""

_WATCHDOG_SHARE = 3
"""Signs of life within the time that the manager allows between two of them."""


class Notifier:
    """The manager of this service.

    Args:
        address: of its socket; "" if there is no manager, "@" begins an abstract name.
        watchdog_s: longest time between two signs of life; 0 if it does not wait for any.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.alive_every_s = watchdog_s / _WATCHDOG_SHARE

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return who started this process, as the environment names it."""
        watchdog = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_s = int(watchdog) / 1e6 if watchdog.isdecimal() and mine else 0.0
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_s)

    @property
    def listens(self) -> bool:
        """Whether there is a manager."""
        return self._address != ""

    def ready(self, status: str) -> None:
        """Tell that the mount answers."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def starting(self, status: str) -> None:
        """Tell how far a start is that takes its time, and ask for more of it."""
        self._send(f"STATUS={_line(status)}\n{_extension()}")

    def stopping(self, status: str) -> None:
        """Tell how far the end is, and ask for time until the next such word."""
        self._send(f"STOPPING=1\nSTATUS={_line(status)}\n{_extension()}")

    def alive(self) -> None:
        """Give a sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self.listens:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
                way.settimeout(SEND_LIMIT_S)
                way.sendto(message.encode("utf-8", "replace"), self._address)
        except OSError as error:
            first = message.partition("\n")[0]
            log.warning("the service manager was not told %s: %s", first, error)


def _extension() -> str:
    return f"EXTEND_TIMEOUT_USEC={EXTENSION_S * 1e6:.0f}"


def _line(text: str) -> str:
    return " ".join(text.split())
