"""What clears the way for an automounter: takes a mount down when its daemon has died.

Serves `mount_helper`. A dead mount hides the automounter's own, which would mount anew at the next
look; without an automounter it stays, for a directory that is suddenly empty invites a mirror job
to delete everything. Runs as a small process of its own that imports nothing of aisfs: one waits
beside each daemon.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys


def start(pid: int, mountpoint: str) -> None:
    """Start a process that waits for the end of a daemon."""
    null = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in range(3)]
    arguments = [sys.executable, "-I", "-S", __file__, str(pid), mountpoint]
    os.posix_spawn(sys.executable, arguments, os.environ, file_actions=null, setsid=True)


def main() -> None:
    """Wait for a daemon's end, and take its mount down if it is still there."""
    pid, mountpoint = int(sys.argv[1]), os.fsencode(sys.argv[2])
    os.chdir("/")
    try:
        daemon = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    device = _topmost(mountpoint)
    select.select([daemon], [], [])
    if device and _topmost(mountpoint) == device:
        command = ["fusermount3", "-u", "-z", "-q", "--", sys.argv[2]]
        subprocess.run(command, check=False)  # noqa: S603 - a fixed program, a path behind "--"


def _topmost(mountpoint: bytes) -> bytes:
    """Return the device of our mount that is seen at a path, b"" if none; it is not touched."""
    device = b""
    with open("/proc/self/mountinfo", "rb") as table:  # noqa: PTH123 - pathlib is half the memory
        for line in table:
            fields = line.split(b" ")
            where = re.sub(rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8)]), fields[4])
            if where == mountpoint:
                device = fields[2] if b" - fuse.aisfs " in line else b""
    return device


if __name__ == "__main__":
    main()
