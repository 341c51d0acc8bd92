"""Reading processes and commands, started, let go together, and what they tell."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAM = Path(__file__).with_name("reader.py")
SEED = 20


@dataclass
class Readings:
    """What the readers did.

    Attributes:
        seconds: from their start to the end of the last one.
        operations, bytes: of all of them; an operation is a read, a file or a name.
        ns: duration of each operation, where it is known.
        cpu: CPU seconds of the readers.
    """

    seconds: float
    operations: int
    bytes: int = 0
    ns: list[int] = field(default_factory=list)
    cpu: float = 0.0


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", os.fspath(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _tell(process: subprocess.Popen[str], work: Sequence[Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(work) + "\n")
    process.stdin.flush()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a reader ended with {process.wait()}")
    return line


@contextlib.contextmanager
def ready(count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Start so many readers and wait until all are ready; they end with the block."""
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(count):
            process = stack.enter_context(_start())
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            _line(process)
        yield processes


def read(*works: Sequence[Any]) -> Readings:
    """Give each work to a reader of its own and let all go at once."""
    with ready(len(works)) as processes:
        start = time.perf_counter()
        for process, work in zip(processes, works, strict=True):
            _tell(process, work)
        return _gather(processes, start)


def cat(directory: Path, count: int, *, shuffled: bool) -> Readings:
    """List a directory and read all its files, dealt out to so many readers.

    The order is that of `os.listdir`, or shuffled. Listing counts, as it does for a program.
    """
    with ready(count) as processes:
        start, cpu = time.perf_counter(), time.process_time()
        names = os.listdir(directory)  # noqa: PTH208 - what programs call
        if shuffled:
            random.Random(SEED).shuffle(names)
        paths = [f"{directory}/{name}" for name in names]
        for number, process in enumerate(processes):
            _tell(process, ["cat", paths[number::count]])
        cpu = time.process_time() - cpu
        readings = _gather(processes, start)
    readings.cpu += cpu
    return readings


@contextlib.contextmanager
def streaming(paths: Sequence[Path]) -> Iterator[None]:
    """Stream each file in a reader of its own, over and over, while the block runs."""
    with ready(len(paths)) as processes:
        for process, path in zip(processes, paths, strict=True):
            _tell(process, ["loop", str(path)])
        yield


def _gather(processes: list[subprocess.Popen[str]], start: float) -> Readings:
    answers = [json.loads(_line(process)) for process in processes]
    ns = [one for answer in answers for one in answer["ns"]]
    return Readings(
        seconds=max(answer["end"] for answer in answers) - start,
        operations=len(ns),
        bytes=sum(answer["bytes"] for answer in answers),
        ns=ns,
        cpu=sum(answer["cpu"] for answer in answers),
    )


def command(words: Sequence[str | Path], operations: int, count: int = 0) -> Readings:
    """Run a program, or a shell's line, to its end; its output goes nowhere.

    Args:
        words: the program and its arguments.
        operations: how many things (names, files) it handles.
        count: bytes that it is known to read.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [os.fspath(word) for word in words], stdout=subprocess.DEVNULL, env=os.environ | PLAIN
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Readings(seconds, operations, count, cpu=usage.ru_utime + usage.ru_stime)


PLAIN = {"LC_ALL": "C"}
"""Sorting by bytes: the order of a language would cost `ls` more than the mount."""
