"""Programs of users: started under the launcher, bounded, and never left behind.

The environment of a program is made from nothing: no variable of the store's own reaches it but
those in `PASSED`. Its order, environment included, goes through a pipe; nothing of it is in an
argument list, where every user of the machine could read it.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from aisfs.server.etl.launcher import start_time

LAUNCHER = Path(__file__).with_name("launcher.py")
PASSED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
LIMITS = {"RLIMIT_AS": 32 << 30, "RLIMIT_NOFILE": 4096, "RLIMIT_CORE": 0}
"""Address space is what numeric libraries reserve, not what they use: hence generous."""

NICE = 5
GRACE_S = 1.0
"""Seconds between asking a program to end and killing it."""

LOG_LIMIT = 1 << 20
"""Bytes of output kept per program."""

LOG_TAIL = 2048
"""Bytes of output quoted in errors."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to run.

    Attributes:
        argv: The program and its arguments; a name without a slash is looked up on `PATH`.
        env: Variables on top of the few that are passed on.
        directory: A directory of its own: working directory, temporary files, log, pid file.
        keep: Descriptors that the program inherits under their numbers.
        whole_env: `env` is all there is.
    """

    argv: list[str]
    env: dict[str, str]
    directory: Path
    keep: tuple[int, ...] = ()
    whole_env: bool = False


@dataclass(slots=True)
class Process:
    """A running program. `pid` is its launcher's."""

    order: Order
    launcher: asyncio.subprocess.Process
    stopped: bool = field(default=False)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.launcher.returncode is None

    @property
    def pid(self) -> int:
        """The launcher's process id."""
        return self.launcher.pid

    async def wait(self) -> int:
        """Wait for the end; returns the exit code (128 and more: killed by a signal)."""
        return await self.launcher.wait()

    async def stop(self) -> None:
        """End it and everything that it started, and wait until it is gone."""
        self.stopped = True
        if self.launcher.stdin is not None:
            self.launcher.stdin.close()
        await self.launcher.wait()

    def log(self) -> bytes:
        """Return the output kept so far."""
        return read_log(self.order.directory)

    def log_tail(self) -> str:
        """Return the end of the output, for an error text."""
        return self.log()[-LOG_TAIL:].decode("utf-8", "replace")


async def launch(order: Order) -> Process:
    """Start a program.

    Raises:
        OSError: the directory or the launcher cannot be used.
    """
    work = order.directory / "work"
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("log", "log.1"):
        (order.directory / name).unlink(missing_ok=True)
    env = order.env if order.whole_env else {**base_environment(work), **order.env}
    launcher = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        str(LAUNCHER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in PASSED if name in os.environ},
        start_new_session=True,
        pass_fds=order.keep,
    )
    process = Process(order, launcher)
    line = {
        "argv": [_find_program(order.argv[0], env), *order.argv[1:]],
        "env": env,
        "cwd": str(work),
        "log": str(order.directory / "log"),
        "pidfile": str(order.directory / "pids"),
        "limits": LIMITS,
        "nice": NICE,
        "grace_s": GRACE_S,
        "log_limit": LOG_LIMIT,
        "keep": list(order.keep),
    }
    try:
        assert launcher.stdin is not None
        launcher.stdin.write(json.dumps(line).encode() + b"\n")
        await launcher.stdin.drain()
    except (ConnectionError, asyncio.CancelledError):
        await process.stop()
        raise
    return process


def base_environment(work: Path) -> dict[str, str]:
    """Return the variables that every program gets."""
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    place = str(work)
    return {**passed, "HOME": place, "TMPDIR": place, "PYTHONUNBUFFERED": "1"}


def _find_program(name: str, env: dict[str, str]) -> str:
    """Return the path of a program; a name that is nowhere is left for the launcher to refuse."""
    if "/" in name:
        return name
    for directory in env.get("PATH", os.defpath).split(os.pathsep):
        path = Path(directory or ".", name)
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return name


def read_log(directory: Path) -> bytes:
    """Return the output that a program left in its directory."""
    data = b""
    for name in ("log.1", "log"):
        with contextlib.suppress(FileNotFoundError):
            data += (directory / name).read_bytes()
    return data


def listen() -> socket.socket:
    """Return a socket that listens on a free loopback port."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=256)
    sock.set_inheritable(True)
    return sock


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with listen() as sock:
        port: int = sock.getsockname()[1]
    return port


def usage(pid: int) -> tuple[float, int]:
    """Return CPU seconds and resident bytes of a process and its descendants."""
    ticks, pages = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    seconds, memory = 0.0, 0
    for descendant in _family(pid):
        try:
            stat = Path(f"/proc/{descendant}/stat").read_text(errors="replace")
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / ticks
        memory += int(fields[21]) * pages
    return seconds, memory


def _family(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(entry.path, "stat").read_text(errors="replace")
                parent = int(stat.rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += parents.get(found[-1], [])
    return found


def sweep(directory: Path) -> None:
    """Kill what a store that died left running, if its launcher was stopped or killed, too."""
    file = directory / "pids"
    with contextlib.suppress(FileNotFoundError):
        for line in reversed(file.read_text().splitlines()):
            pid, _, began = line.partition(" ")
            if began and pid.isdigit() and start_time(int(pid)) == began:
                for member in _family(int(pid)):
                    with contextlib.suppress(OSError):
                        os.kill(member, signal.SIGKILL)
        file.unlink()
