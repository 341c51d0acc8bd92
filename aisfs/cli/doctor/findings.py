"""What one check found, and what the checks of one run know of each other.

Serves all checks of `doctor`. A check is a plain function from the `Case` to a `Finding`; what a
later check needs, it leaves in the case. No check waits for ever: whatever speaks to the network
or touches a foreign path has a limit of its own, and `within` bounds what cannot have one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from aisfs.config import Source, StoreConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aisfs.cli.mounts import MountedSource
    from aisfs.config import Config
    from aisfs_sdk import Client
    from aisfs_sdk.smap import Smap

T = TypeVar("T")

Fact = str | int | float | bool | list[str]

STEP_S = 10.0
"""Seconds that one question to a cluster may take in all."""


class State(Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name.
        words: what is so, for people.
        remedy: what to do; "" where nothing has to be done.
        cause: one word for programs that says what is wrong; "" if nothing is.
        facts: numbers and names behind the words, for programs.
    """

    state: State
    check: str
    words: str
    remedy: str = ""
    cause: str = ""
    facts: dict[str, Fact] = field(default_factory=dict)


def ok(check: str, words: str, **facts: Fact) -> Finding:
    """Return a finding of something that is as it should be."""
    return Finding(State.OK, check, words, facts=facts)


def warning(check: str, cause: str, words: str, remedy: str, **facts: Fact) -> Finding:
    """Return a finding of something that works, but not well."""
    return Finding(State.WARNING, check, words, remedy, cause, facts)


def broken(check: str, cause: str, words: str, remedy: str, **facts: Fact) -> Finding:
    """Return a finding of something because of which a mount does not work."""
    return Finding(State.BROKEN, check, words, remedy, cause, facts)


def not_checked(check: str, why: str, remedy: str = "") -> Finding:
    """Return what stands for a check that could not be done."""
    return Finding(State.NOT_CHECKED, check, why, remedy)


@dataclass(slots=True)
class Case:
    """What is looked at, and what the checks so far know of it.

    Attributes:
        source, mountpoint, options, file: as they were given to `aisfs mount`.
        there: the mount of ours that is at the mount point.
        config: None until the settings were read.
        clock: seconds by which the cluster's clock is ahead of this machine's; None if not known.
        client: None until the connection to the gateway was found to work.
        smap: the cluster map; None where it was not, or may not be, read.
    """

    source: str = ""
    mountpoint: Path | None = None
    options: tuple[str, ...] = ()
    file: str = ""
    there: MountedSource | None = None
    config: Config | None = None
    clock: float | None = None
    client: Client | None = None
    smap: Smap | None = None

    @property
    def store(self) -> StoreConfig:
        """How the cluster is reached."""
        return self.config.store if self.config else StoreConfig()

    @property
    def what(self) -> Source:
        """What is to be mounted."""
        return self.config.source if self.config else Source()

    @property
    def sdk(self) -> Client:
        """The client of a connection that works."""
        assert self.client is not None  # checks that need it come after the one that makes it
        return self.client


def within(seconds: float, work: Callable[[], T]) -> T:
    """Do something that has no limit of its own; what does not end in time is left behind.

    Raises:
        TimeoutError: it took longer.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again for whoever waits
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return done[0]
