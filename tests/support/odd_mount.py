"""A mount whose filesystem misbehaves on purpose: `python -m tests.support.odd_mount KIND` .

Reads the configuration as JSON from standard input, as the real daemon does, and prints "ready".

- `raising`: names that begin with `boom` raise what no handler should, one kind after the other.
- `recording`: every request is written to the log file `requests` in the state directory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aisfs import daemon, logs
from aisfs.config import Config
from aisfs.vfs.filesystem import Filesystem

if TYPE_CHECKING:
    from aisfs.vfs.nodes import Node

FAILURES: dict[bytes, Exception] = {
    b"boom-runtime": RuntimeError("unexpected"),
    b"boom-os": OSError(5, "from a library"),
    b"boom-overflow": OverflowError("too large"),
    b"boom-group": ExceptionGroup("several", [ValueError("one")]),
}


class Raising(Filesystem):
    """Fails in unexpected ways for some names."""

    async def lookup(self, parent: int, name: bytes) -> Node:
        """Raise what the name says, or look it up."""
        if name in FAILURES:
            raise FAILURES[name]
        if name == b"boom-type":
            return "not a node"  # type: ignore[return-value]
        return await super().lookup(parent, name)

    def forget(self, ino: int, count: int) -> None:
        """Forget, and fail afterwards: the kernel hears nothing of it."""
        super().forget(ino, count)
        raise KeyError(ino)


class Recording(Filesystem):
    """Writes down which verbs the kernel asks for."""

    def __getattribute__(self, name: str) -> Any:
        """Record the use of a public verb."""
        value = super().__getattribute__(name)
        if callable(value) and not name.startswith("_"):
            with Path(sys.argv[2]).open("a") as log:
                log.write(f"{name}\n")
        return value


KINDS: dict[str, type[Filesystem]] = {"raising": Raising, "recording": Recording}


def main() -> int:
    """Mount until unmounted."""
    config = Config.from_json(sys.stdin.buffer.read())
    logs.configure("info", config.log_file)
    return daemon.run(config, report, KINDS[sys.argv[1]])


def report() -> None:
    """Tell the test that the mount answers."""
    print("ready", flush=True)


if __name__ == "__main__":
    sys.exit(main())
