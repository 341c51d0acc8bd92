"""Jobs that commands started are looked at while somebody listens, until they have ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import trio

from aisfs.control.events import Events, Listener
from aisfs.control.files import Caller
from aisfs.control.job_watch import MOST_WATCHED, JobWatch
from aisfs.errors import NotFound, TimedOut, WouldBlock
from aisfs.store.cluster_facts import JobFacts

if TYPE_CHECKING:
    from aisfs.errors import FsError

ME = Caller(os.getuid(), os.getgid(), os.getpid())


class Facts:
    """Tells of each job the next of what was prepared; the last one again and again."""

    def __init__(self) -> None:
        self.states: dict[str, list[str | FsError]] = {}
        self.asked = 0

    async def job(self, job_id: str) -> JobFacts:
        self.asked += 1
        states = self.states.get(job_id, [NotFound(job_id)])
        state = states.pop(0) if len(states) > 1 else states[0]
        if not isinstance(state, str):
            raise state
        error = "disk gone" if state == "failed" else ""
        return JobFacts(job_id, "copy-bck", state, error, "", "", 3, 30, None, {})


class Scene:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.facts, self.events = Facts(), Events()
        facts: Any = self.facts
        self.watch = JobWatch(facts, self.events)
        nursery.start_soon(self.watch.run)

    def listen(self) -> Listener:
        return self.events.listen(ME, waits=False)


@pytest.fixture
def scene(nursery: trio.Nursery) -> Scene:
    return Scene(nursery)


async def told(listener: Listener) -> list[str]:
    found: list[str] = []
    while True:
        try:
            line = (await listener.read(4096)).decode()
        except WouldBlock:
            return found
        found.append(line.strip().partition("\t")[2])


async def test_the_end_of_a_job_is_told_once(scene: Scene, autojump_clock: object) -> None:
    scene.facts.states["j"] = ["running", "idle", "running", TimedOut("busy"), "finished"]
    listener = scene.listen()
    scene.watch.add("j")
    await trio.sleep(3.5)
    assert await told(listener) == []
    await trio.sleep(10)
    expected = "job\tid=j\tkind=copy-bck\tstate=finished\tobjects=3\tbytes=30"
    assert await told(listener) == [expected]
    asked = scene.facts.asked
    await trio.sleep(10)
    assert scene.facts.asked == asked == 5


async def test_a_failure_is_told_in_words(scene: Scene, autojump_clock: object) -> None:
    scene.facts.states["j"] = ["failed"]
    listener = scene.listen()
    scene.watch.add("j")
    await trio.sleep(3)
    (line,) = await told(listener)
    assert line.endswith("state=failed\tobjects=3\tbytes=30\terror=disk gone")


async def test_what_idles_twice_has_nothing_left_to_do(
    scene: Scene, autojump_clock: object
) -> None:
    scene.facts.states["j"] = ["idle"]
    listener = scene.listen()
    scene.watch.add("j")
    await trio.sleep(5)
    assert [line.split("\t")[3] for line in await told(listener)] == ["state=idle"]


async def test_nobody_is_asked_while_nobody_listens(scene: Scene, autojump_clock: object) -> None:
    scene.facts.states["j"] = ["finished"]
    scene.watch.add("j")
    await trio.sleep(60)
    assert scene.facts.asked == 0
    listener = scene.listen()
    await trio.sleep(2)
    assert len(await told(listener)) == 1
    listener.close()
    scene.facts.states["k"] = ["finished"]
    await trio.sleep(2)
    scene.watch.add("k")
    await trio.sleep(60)
    assert scene.facts.asked == 1


async def test_a_job_that_nobody_knows_is_given_up(scene: Scene, autojump_clock: object) -> None:
    scene.facts.states["late"] = [NotFound("late"), "finished"]
    listener = scene.listen()
    scene.watch.add("never")
    scene.watch.add("late")
    await trio.sleep(30)
    assert [line.split("\t")[1] for line in await told(listener)] == ["id=late"]
    assert scene.facts.asked == 3 + 2


async def test_the_oldest_of_too_many_are_given_up(scene: Scene, autojump_clock: object) -> None:
    for number in range(MOST_WATCHED + 2):
        scene.facts.states[str(number)] = ["finished"]
        scene.watch.add(str(number))
    listener = scene.listen()
    await trio.sleep(5)
    ids = [line.split("\t")[1] for line in await told(listener)]
    assert ids == [f"id={number}" for number in range(2, MOST_WATCHED + 2)]
