"""How records become lines: text, JSON, the journal's; what repeats; whose request it was."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from aisfs import kernel_request, logs
from aisfs.kernel_request import Handler, Request, Wait, waiting
from aisfs.log_lines import FIRST, OF_EACH, PERIOD_S, Repeats, is_journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger("aisfs.test")


class Handles:
    def inode_of(self, handle: int) -> int:
        return {5: 77}.get(handle, 0)


@pytest.fixture(autouse=True)
def kept_root() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


@pytest.fixture
def request_of_read() -> Iterator[Request]:
    token = kernel_request.current.set([Handler("read", "fh"), Handles(), 5])
    made = kernel_request.of(kernel_request.current.get())
    assert made is not None
    yield made
    kernel_request.current.reset(token)


def test_text_names_time_level_logger_and_request(tmp_path: Path, request_of_read: Request) -> None:
    logs.configure("info", tmp_path / "log")
    log.info("said %s", "this")
    log.debug("not this")
    (line,) = (tmp_path / "log").read_text().splitlines()
    when, level, name, rest = line.split(" ", 3)
    assert time.strptime(when.partition(".")[0], "%Y-%m-%dT%H:%M:%S")
    assert (level, name) == ("INFO", "aisfs.test")
    assert rest == f"[{request_of_read.number} read ino=77] said this"


def test_json_is_one_object_for_each_record(tmp_path: Path, request_of_read: Request) -> None:
    logs.configure("debug", tmp_path / "log", "json")
    log.warning("name %s\nand a line", "\udcff")
    try:
        raise KeyError("a bug")
    except KeyError:
        log.exception("unexpected")
    first, second = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "warning",
        "logger": "aisfs.test",
        "request": request_of_read.number,
        "operation": "read",
        "ino": 77,
        "message": "name \udcff\nand a line",
    }
    assert "KeyError: 'a bug'" in second["traceback"]


def test_json_outside_of_requests_names_none(tmp_path: Path) -> None:
    logs.configure("info", tmp_path / "log", "json")
    log.info("alone")
    told = json.loads((tmp_path / "log").read_text())
    assert {"request", "operation", "ino"}.isdisjoint(told)


def test_threads_of_a_request_are_told_as_its(tmp_path: Path, request_of_read: Request) -> None:
    import contextvars  # noqa: PLC0415

    logs.configure("info", tmp_path / "log", "json")
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(log.info, "from a thread"))
    thread.start()
    thread.join()
    assert json.loads((tmp_path / "log").read_text())["request"] == request_of_read.number


SAY = """
import logging, sys
from aisfs import logs
log = logging.getLogger("aisfs.test")
logs.configure("debug", None, *sys.argv[1:])
log.error("two\\nlines")
log.warning("w")
log.info("i")
log.debug("d")
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_journal_gets_priorities_and_no_time(form: str, tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as journal:
        found = os.fstat(journal.fileno())
        words = [sys.executable, "-c", SAY, form, f"{found.st_dev}:{found.st_ino}"]
        subprocess.run(words, stderr=journal, check=True)
    lines = (tmp_path / "journal").read_text().splitlines()
    if form == "text":
        assert lines[:2] == ["<3>aisfs.test [-] two", "<3>lines"]
        assert [line[:3] for line in lines[2:]] == ["<4>", "<6>", "<7>"]
    else:
        assert [line[:3] for line in lines] == ["<3>", "<4>", "<6>", "<7>"]
        assert json.loads(lines[0][3:])["message"] == "two\nlines"


def test_standard_error_that_was_redirected_is_no_journal(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        assert not is_journal("8:12345", file.fileno())
        assert not is_journal("", file.fileno())
    assert not is_journal("", -1)


# -- what repeats


class Shown(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.now = 0.0
        self.repeats = Repeats(self.handle, lambda: self.now)
        self.addFilter(self.repeats)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def shown() -> Shown:
    made = Shown()
    logging.getLogger().addHandler(made)
    return made


def test_repetitions_are_summed_up(shown: Shown) -> None:
    for number in range(FIRST + 123):
        log.warning("trouble with %d", number)
    assert shown.texts == [f"trouble with {number}" for number in range(FIRST)]
    log.warning("another trouble")
    assert shown.texts[FIRST:] == ["another trouble"]
    shown.now += PERIOD_S
    shown.repeats.tell()
    last = f"… and 123 more like it, the last one: trouble with {FIRST + 122}"
    assert shown.texts[FIRST + 1 :] == [last]
    shown.repeats.tell()
    log.warning("trouble with %d", 0)
    assert shown.texts[FIRST + 2 :] == ["trouble with 0"]


def test_the_next_of_them_tells_of_those_before(shown: Shown) -> None:
    for _ in range(FIRST + 2):
        log.error("trouble")
    shown.now += PERIOD_S
    log.error("trouble")
    assert shown.texts[FIRST:] == ["… and 2 more like it, the last one: trouble", "trouble"]


def test_errors_of_different_kinds_are_not_alike(shown: Shown) -> None:
    for _ in range(FIRST):
        log.warning("%s", ValueError("value"))
        log.warning("%s", KeyError("key"))
    assert len(shown.texts) == 2 * FIRST


def test_what_may_be_lost_is_always_named(shown: Shown) -> None:
    for number in range(5 * FIRST):
        log.error("%d is not stored", number, extra=OF_EACH)
    assert len(shown.texts) == 5 * FIRST


def test_information_is_never_held_back(shown: Shown) -> None:
    logging.getLogger().setLevel(logging.INFO)
    for _ in range(5 * FIRST):
        log.info("a command")
    assert len(shown.texts) == 5 * FIRST


def test_threads_that_repeat_at_once_lose_none(shown: Shown) -> None:
    def work() -> None:
        for _ in range(200):
            log.warning("trouble")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shown.now += PERIOD_S
    shown.repeats.tell()
    assert len(shown.texts) == FIRST + 1
    assert shown.texts[-1].startswith(f"… and {8 * 200 - FIRST} more")


# -- what a request waits for


def test_waits_at_once_are_one_wait(request_of_read: Request) -> None:
    with waiting(Wait.CLUSTER), waiting(Wait.CLUSTER), waiting(Wait.DISK):
        time.sleep(0.05)
    told = request_of_read.waits()
    assert set(told) == {Wait.CLUSTER, Wait.DISK}
    assert 0.05 <= told[Wait.CLUSTER] < 0.1 + told[Wait.DISK]
    time.sleep(0.01)
    assert request_of_read.waits() == told


def test_waiting_outside_of_a_request_is_nobodys() -> None:
    with waiting(Wait.CLUSTER):
        assert kernel_request.of(kernel_request.current.get()) is None
