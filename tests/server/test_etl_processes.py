"""Nothing that a transformer starts outlives it or the store, whatever happens to either."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import transformers as etl
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

OBJECT = "src/o1.txt"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreProcess]:
    with StoreProcess(tmp_path / "data", extra=("--allow-etl",)) as process:
        process.create_bucket("src")
        etl.put(process, OBJECT, b"hello 1\n")
        yield process


def spawning(store: StoreProcess, name: str) -> list[int]:
    """Bring up one that starts a process of its own, in another session; returns all pids."""
    etl.init(store, etl.command_message(name, "upper", "--spawn"))
    pids = etl.family(store.pid)
    pids = [pid for pid in pids if etl.alive(pid)]
    assert len(pids) >= 3  # launcher, program, and what the program started
    return pids


@pytest.mark.parametrize("how", ["stop", "delete"])
def test_stopping_leaves_no_process(store: StoreProcess, how: str) -> None:
    pids = spawning(store, "spawn-etl")
    if how == "stop":
        assert etl.ask(store, "POST", "/v1/etl/spawn-etl/stop").status == 200
    else:
        etl.delete(store, "spawn-etl")
    assert not any(map(etl.alive, pids))
    assert etl.get(store, OBJECT, etl_name="spawn-etl").status == 404


def test_the_death_of_the_program_ends_what_it_started(store: StoreProcess) -> None:
    pids = spawning(store, "spawn-etl")
    program = children(pids[0])[0]
    os.kill(program, signal.SIGKILL)
    assert etl.all_gone(pids)


def children(pid: int) -> list[int]:
    return [child for child in etl.family(pid) if parent(child) == pid]


def parent(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return int(fields[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_store_ends_all(store: StoreProcess, number: signal.Signals) -> None:
    spawning(store, "spawn-etl")
    etl.init(store, etl.command_message("other-etl", "upper"))
    pids = etl.family(store.pid)
    if number == signal.SIGTERM:
        assert store.stop() == 0
    else:
        store.kill()
    assert etl.all_gone(pids)


def test_a_store_that_starts_again_runs_nothing_by_itself(store: StoreProcess) -> None:
    spawning(store, "spawn-etl")
    store.kill()
    store.start()
    assert etl.family(store.pid) == []
    listed = json.loads(etl.ask(store, "GET", "/v1/etl").body)
    assert [(item["id"], item["stage"]) for item in listed] == [("spawn-etl", "Aborted")]
    assert etl.get(store, OBJECT, etl_name="spawn-etl").status == 404
    assert etl.ask(store, "POST", "/v1/etl/spawn-etl/start").status == 200
    assert etl.get(store, OBJECT, etl_name="spawn-etl").body == b"HELLO 1\n"


def test_a_stopped_launcher_is_swept_at_the_next_start(store: StoreProcess) -> None:
    pids = spawning(store, "spawn-etl")
    os.kill(pids[0], signal.SIGSTOP)  # so it cannot notice that the store is gone
    store.kill()
    assert etl.alive(pids[0])
    store.start()
    assert etl.all_gone(pids)


def test_a_killed_launcher_takes_its_program_along(store: StoreProcess) -> None:
    etl.init(store, etl.command_message("lone-etl", "upper"))
    launcher, program = etl.family(store.pid)
    os.kill(launcher, signal.SIGKILL)
    assert etl.all_gone([launcher, program])
    etl.wait_until_aborted(store, "lone-etl")


def test_a_program_that_ignores_being_asked_is_killed(store: StoreProcess) -> None:
    code = (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "def transform(data): return data\n"
    )
    etl.init(store, etl.code_message("deaf-etl", code))
    pids = etl.family(store.pid)
    etl.delete(store, "deaf-etl")
    assert not any(map(etl.alive, pids))


def test_stopping_while_it_starts(store: StoreProcess) -> None:
    """The init request ends with an error, and the process with it."""
    message = etl.command_message("slow-etl", "upper", "--start-delay", "60", init_timeout="60s")
    answers: list[Any] = []
    starter = threading.Thread(target=lambda: answers.append(etl.refused(store, message)))
    starter.start()
    wait_until(lambda: len(etl.family(store.pid)) >= 2, "the process runs")
    pids = etl.family(store.pid)
    etl.delete(store, "slow-etl")
    starter.join(20)
    assert answers[0][0] == 400
    assert not any(map(etl.alive, pids))
    assert json.loads(etl.ask(store, "GET", "/v1/etl").body) == []


def limits_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): line[26:].split()[0] for line in lines}


def test_programs_are_limited(store: StoreProcess) -> None:
    etl.init(store, etl.command_message("limit-etl", "upper"))
    program = etl.family(store.pid)[1]
    limits = limits_of(program)
    assert limits["Max core file size"] == "0"
    assert int(limits["Max open files"]) <= 4096
    assert int(limits["Max address space"]) <= 32 << 30
    assert os.getpriority(os.PRIO_PROCESS, program) >= 5
    assert Path(f"/proc/{program}/cwd").resolve() == store.data / "etl" / "limit-etl" / "work"
    listening = Path("/proc/net/tcp").read_text()
    ports = [line.split()[1] for line in listening.splitlines() if inode_of(line, program)]
    assert ports
    assert all(port.startswith("0100007F:") for port in ports)  # 127.0.0.1


def inode_of(line: str, pid: int) -> bool:
    fields = line.split()
    if len(fields) < 10 or fields[3] != "0A":
        return False
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return f"socket:[{fields[9]}]" in links
