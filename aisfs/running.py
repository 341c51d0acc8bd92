"""The configuration that a mount uses now, and how a part of it changes without a remount.

Serves `daemon` and `assembly`, which say what is to be done with new values, and `control`, which
shows them. Only the TOML file is read again: the environment and the command line of a process do
not change.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from aisfs.config import ConfigError
from aisfs.setting_table import SETTINGS
from aisfs.settings import adopt, reread, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.config import Config

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that the file says anew, as texts without secrets."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Reload:
    """What became of reading the file again.

    Attributes:
        number: counts them; 0: it never was.
        error: why nothing changed, "" if the file was good.
        changed: TOML name → what holds from now on.
        remount: TOML name → what a new mount would use.
    """

    number: int = 0
    error: str = ""
    changed: dict[str, Change] = field(default_factory=dict)
    remount: dict[str, Change] = field(default_factory=dict)


class RunningConfig:
    """What a mount uses now.

    Args:
        config: what it was started with.

    Attributes:
        config: what it uses now.
        last: the last reload.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.last = Reload()
        self._followers: list[Callable[[Config], None]] = []

    def followed_by(self, follower: Callable[[Config], None]) -> None:
        """Let somebody know the configuration whenever it changed."""
        self._followers.append(follower)

    async def reload(self) -> None:
        """Read the file again, use what can change, and say what cannot.

        A file that is bad in any way changes nothing.
        """
        number = self.last.number + 1
        try:
            # In a thread: the file may lie on this very mount.
            found = await trio.to_thread.run_sync(reread, self.config)
        except ConfigError as error:
            self.last = Reload(number, str(error))
            log.error("the configuration stays as it is: %s", error)  # noqa: TRY400 - in words
            return
        last = Reload(number)
        for setting in SETTINGS:
            old, new = shown(setting, self.config), shown(setting, found)
            if old != new:
                (last.changed if setting.live else last.remount)[setting.name] = Change(old, new)
        self.config = adopt(self.config, found)
        for follower in self._followers:
            follower(self.config)
        self.last = last
        self._tell()

    def _tell(self) -> None:
        for name, change in self.last.changed.items():
            log.warning("%s is %s from now on, was %s", name, change.new, change.old)
        for name, change in self.last.remount.items():
            log.warning("%s is still %s: %s needs a remount", name, change.old, change.new)
        if not (self.last.changed or self.last.remount):
            log.info("the configuration was read again: nothing is new")
