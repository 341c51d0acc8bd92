"""Runs one program under supervision: `python -I -S launcher.py`, a file of its own.

Imports nothing of this package, so that a program costs 10 MB of supervision and no more. Standard
input is the life line: its first line is the order (JSON: argv, env, cwd, log, limits, …), and its
end is the end of the program. The kernel closes it when the store dies, also by `kill -9`.

Nothing of the program outlives this process: it is the reaper of all descendants, also of those
that left the program's process group, and kills them before it ends. The exit code is the
program's, or 128 and the number of the signal that killed it.
"""

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CANNOT_RUN = 127
DRAIN_S = 0.5
"""Seconds for which the last words of a dead program are read."""


class Log:
    """What the program prints: at most `limit` bytes, the newest, in two files."""

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._half = limit // 2
        self._file = Path(path).open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, data: bytes) -> None:
        """Append; a full file becomes the old one. A full disk loses the line, not the program."""
        try:
            if self._size + len(data) > self._half and self._size:
                self._file.close()
                Path(self._path).replace(self._path + ".1")
                self._file = Path(self._path).open("ab", buffering=0)
                self._size = 0
            self._size += len(data)
            self._file.write(data)
        except OSError:
            return


def read_order() -> dict[str, Any]:
    """Read the first line of standard input, and nothing after it."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            raise SystemExit(CANNOT_RUN)
        line += byte
    order: dict[str, Any] = json.loads(line)
    return order


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; kernels that lack it are let be."""
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def become(order: dict[str, Any], output: int) -> None:
    """In the child: turn into the program. Does not return."""
    parent = os.getppid()
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(CANNOT_RUN)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        for name, value in order["limits"].items():
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (bound, bound))
        os.nice(order["nice"])
        os.chdir(order["cwd"])
        os.umask(0o077)
        for fd in order["keep"]:
            os.set_inheritable(fd, True)
        os.execve(order["argv"][0], order["argv"], order["env"])
    except OSError as error:
        os.write(2, f"cannot run {order['argv'][0]}: {error.strerror}\n".encode())
    os._exit(CANNOT_RUN)


class Supervisor:
    """The parent: watches life line and program, writes the log, cleans up."""

    def __init__(self, order: dict[str, Any], child: int, output: int, wakeup: int) -> None:
        self.child = child
        self.code: int | None = None
        self._order = order
        self._output: int | None = output
        self._wakeup = wakeup
        self._log = Log(order["log"], order["log_limit"])

    def run(self) -> int:
        """Serve until the program or the life line ends; returns the exit code."""
        while self.code is None:
            ready, _, _ = select.select([0, self._wakeup, *self._outputs()], [], [])
            if self._output in ready:
                self._copy()
            if self._wakeup in ready:
                os.read(self._wakeup, 512)
                self._reap()
            if 0 in ready and not os.read(0, 512):
                self._ask_to_end()
                break
        self._kill_all()
        self._drain()
        return self.code if self.code is not None else 128 + signal.SIGKILL

    def _outputs(self) -> list[int]:
        return [] if self._output is None else [self._output]

    def _copy(self) -> None:
        if self._output is None:
            return
        data = os.read(self._output, 65536)
        if data:
            self._log.write(data)
        else:
            os.close(self._output)
            self._output = None

    def _drain(self) -> None:
        end = time.monotonic() + DRAIN_S
        while self._output is not None and time.monotonic() < end:
            ready, _, _ = select.select([self._output], [], [], 0)
            if not ready:
                return
            self._copy()

    def _reap(self) -> bool:
        """Collect the dead; returns whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if pid == self.child:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code

    def _ask_to_end(self) -> None:
        """Give the program some time to end by itself."""
        _signal_group(self.child, signal.SIGTERM)
        end = time.monotonic() + self._order["grace_s"]
        while self.code is None and time.monotonic() < end:
            watched = [self._wakeup, *self._outputs()]
            ready, _, _ = select.select(watched, [], [], max(end - time.monotonic(), 0))
            if self._output in ready:
                self._copy()
            if self._wakeup in ready:
                os.read(self._wakeup, 512)
                self._reap()

    def _kill_all(self) -> None:
        """Kill until nothing is left; orphans become this process's children, round by round."""
        _signal_group(self.child, signal.SIGKILL)
        while self._reap():
            for pid in _children():
                _signal(pid, signal.SIGKILL)
            time.sleep(0.005)


def _children() -> list[int]:
    """Return the direct children of this process."""
    me = str(os.getpid())
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(errors="replace")
            except OSError:
                continue
            if stat.rpartition(")")[2].split()[1] == me:
                found.append(int(entry.name))
    return found


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        return


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except OSError:
        _signal(pid, number)


def start_time(pid: int) -> str:
    """Return when a process began, in ticks: with its number it names the process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def main() -> int:
    """Run the ordered program to its end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    order = read_order()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wakeup, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    output, program_output = os.pipe()
    child = os.fork()
    if not child:
        become(order, program_output)
    os.close(program_output)
    for fd in order["keep"]:
        os.close(fd)
    pids = (os.getpid(), child)
    Path(order["pidfile"]).write_text("".join(f"{pid} {start_time(pid)}\n" for pid in pids))
    code = Supervisor(order, child, output, wakeup).run()
    Path(order["pidfile"]).unlink(missing_ok=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
