"""Many readers and writers, and a store that is killed among them: no object torn, none lost."""

import asyncio
import hashlib
import http.client
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.server import wire
from tests.support.store import StoreProcess

WRITERS = READERS = 8
NAMES = 12
SIZES = (0, 100, 5_000, 200_000, 3_000_000)
SEED = 20


@dataclass
class Put:
    """A version that somebody wrote. `end` is infinite until the store has acknowledged it."""

    start: float
    end: float = float("inf")


@dataclass
class Storm:
    """Clients of a store, and what they know of it."""

    endpoint: str
    stop: threading.Event = field(default_factory=threading.Event)
    puts: dict[str, dict[str, Put]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    acknowledged: int = 0
    reads: int = 0

    def run(self, seconds: float, kill: Callable[[], None]) -> None:
        """Let everybody work; `kill` is called in the middle."""
        self.puts = {f"n{number}": {} for number in range(NAMES)}
        works = [self._write] * WRITERS + [self._read] * READERS
        threads = [
            threading.Thread(target=work, args=(random.Random(SEED + number),))
            for number, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds / 2)
        kill()
        time.sleep(seconds / 2)
        self.stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()

    def _write(self, dice: random.Random) -> None:
        count = 0
        while not self.stop.is_set():
            name, size = f"n{dice.randrange(NAMES)}", dice.choice(SIZES)
            count += 1
            body = sealed(f"{threading.get_ident()}-{count}".encode(), size)
            put = self.puts[name][key_of(body)] = Put(time.monotonic())
            if self._ask("PUT", name, body) is not None:
                put.end = time.monotonic()
                self.acknowledged += 1

    def _read(self, dice: random.Random) -> None:
        while not self.stop.is_set():
            name = f"n{dice.randrange(NAMES)}"
            body = self._ask("GET", name)
            if body is None:
                continue
            self.reads += 1
            if not is_whole(body) or key_of(body) not in self.puts[name]:
                self.problems.append(f"read of {name}: {len(body)} bytes that nobody wrote")

    def _ask(self, method: str, name: str, body: bytes | None = None) -> bytes | None:
        """Return the answer's body, None where there was no success, or it was cut off."""
        try:
            answer = wire.follow(self.endpoint, method, f"/v1/objects/b/{name}", [], body)
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
            return None
        if answer.status not in {0, 200} and (method, answer.status) != ("GET", 404):
            self.problems.append(f"{method} {name}: {answer.status} {answer.body[:200]!r}")
        return answer.body if answer.status == 200 and not answer.short else None

    def check(self, name: str, body: bytes | None) -> str:
        """Return what is wrong with an object at the end, empty if nothing."""
        puts = self.puts[name]
        if body is None:
            lost = any(put.end != float("inf") for put in puts.values())
            return f"{name} is gone" if lost else ""
        if not is_whole(body) or key_of(body) not in puts:
            return f"{name}: {len(body)} bytes that nobody wrote"
        ended = puts[key_of(body)].end
        newer = [put for put in puts.values() if put.start > ended and put.end != float("inf")]
        return f"{name}: {len(newer)} acknowledged later versions are lost" if newer else ""


def sealed(tag: bytes, size: int) -> bytes:
    """Return bytes of about a size, unlike all others, that tell whether they are whole."""
    filling = (tag * (size // len(tag) + 1))[: max(size, len(tag))]
    return hashlib.sha256(filling).digest() + filling


def is_whole(body: bytes) -> bool:
    return hashlib.sha256(body[32:]).digest() == body[:32]


def key_of(body: bytes) -> str:
    return body[:32].hex()


@pytest.mark.long
def test_a_kill_among_writers_and_readers_tears_and_loses_nothing(
    tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    """After kill -9 each object is the last acknowledged version, or one that was being written."""
    with StoreProcess(tmp_path / "data") as store:
        store.create_bucket("b")
        storm = Storm(store.endpoint)

        def kill() -> None:
            os.kill(store.pid, signal.SIGKILL)
            store.kill()
            store.start()

        storm.run(rounds(3, 60), kill)
        store.kill()
        store.start()
        for name in storm.puts:
            answer = wire.follow(store.endpoint, "GET", f"/v1/objects/b/{name}")
            found = answer.body if answer.status == 200 else None
            if problem := storm.check(name, found):
                storm.problems.append(problem)
        assert not storm.problems[:5]
        assert storm.acknowledged > 100
        assert storm.reads > 100
        assert not list((store.data / "new").iterdir())


@pytest.fixture
def stalled(store: StoreProcess, bucket: str) -> Iterator[int]:
    """Fifty readers that asked for 64 MiB and take none of it; returns how many there are."""
    target = f"/v1/objects/{bucket}/large"
    assert wire.follow(store.endpoint, "PUT", target, [], bytes(64 << 20)).status == 200
    location = wire.send(store.endpoint.removeprefix("http://"), "GET", target).get("Location")
    host, path = wire.split_url(location)
    name, _, port = host.rpartition(":")
    sockets = []
    for _ in range(50):
        sock = socket.create_connection((name, int(port)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        sockets.append(sock)
    yield len(sockets)
    for sock in sockets:
        sock.close()


@pytest.mark.long
def test_stalled_readers_hold_nobody_up(
    store: StoreProcess, bucket: str, stalled: int, rounds: Callable[[int, int], int]
) -> None:
    """200 GETs of 1 MiB at a time beside 50 readers that take nothing: no error."""
    body = random.Random(SEED).randbytes(1 << 20)
    url = f"{store.endpoint}/v1/objects/{bucket}/small"
    answer = wire.follow(store.endpoint, "PUT", f"/v1/objects/{bucket}/small", [], body)
    assert (answer.status, stalled) == (200, 50)
    problems: list[str] = []
    served = 0

    async def read(session: aiohttp.ClientSession, until: float) -> None:
        nonlocal served
        while time.monotonic() < until:
            async with session.get(url) as reply:
                found = await reply.read()
                if reply.status != 200 or found != body:
                    problems.append(f"{reply.status}, {len(found)} bytes")
                served += 1

    async def storm() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            until = time.monotonic() + rounds(2, 30)
            results = await asyncio.gather(
                *(read(session, until) for _ in range(200)), return_exceptions=True
            )
            problems.extend(repr(result) for result in results if result is not None)

    asyncio.run(storm())
    assert not problems[:5]
    assert served >= 200
    # The stalled readers' object can be replaced, and read in its new form.
    target = f"/v1/objects/{bucket}/large"
    assert wire.follow(store.endpoint, "PUT", target, [], b"new").status == 200
    assert wire.follow(store.endpoint, "GET", target).body == b"new"
