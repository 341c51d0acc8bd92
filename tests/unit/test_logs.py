"""The last lines of the log in memory: their form, and that they stay few."""

from __future__ import annotations

import logging
import re

import pytest

from aisfs import kernel_request, logs


class Scene:
    """A logger of its own, kept in little memory."""

    def __init__(self) -> None:
        self.recent = logs.Recent(2000)
        self.log = logging.Logger("some.part", logging.INFO)  # noqa: LOG001 - of this test alone
        self.log.addHandler(self.recent)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_lines_are_as_in_the_log(scene: Scene) -> None:
    request = [kernel_request.Handler("statfs", ""), None, None]
    token = kernel_request.current.set(request)
    scene.log.info("object %s has %d bytes", "é\udcff", 7)
    scene.log.debug("not logged")
    kernel_request.current.reset(token)
    time, rest = scene.recent.text().split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    found = re.fullmatch(r"INFO some\.part \[\d+ statfs\] object (.*) has 7 bytes\n", rest)
    assert found is not None
    assert found[1] == "é\\udcff"


def test_the_oldest_records_go(scene: Scene) -> None:
    for number in range(1000):
        scene.log.info("number %d", number)
    lines = scene.recent.text().splitlines()
    assert 1900 < len(scene.recent.text()) <= 2000
    numbers = [int(line.rpartition(" ")[2]) for line in lines]
    assert numbers == list(range(1000))[-len(lines) :]


def test_one_record_that_is_too_large_is_cut(scene: Scene) -> None:
    scene.log.info("before")
    scene.log.info("x" * 5000)
    assert len(scene.recent.text()) == 2000
    assert scene.recent.text().endswith("xxx\n")
    scene.log.info("behind")
    assert scene.recent.text().endswith("] behind\n")
    assert len(scene.recent.text().splitlines()) == 1


def test_what_failed_is_shown_with_its_trace(scene: Scene) -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        scene.log.exception("doing something")
    assert "doing something\nTraceback" in scene.recent.text()
    assert "RuntimeError: broken\n" in scene.recent.text()
