from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from aisfs_sdk.block_receiver import BlockReceiver

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return the two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        yield near, far


def receiver(near: socket.socket, limit: float | None) -> BlockReceiver:
    near.settimeout(limit)
    made = BlockReceiver.over(near.makefile("rb"), near)
    assert made is not None
    return made


@pytest.mark.parametrize("first", [1, 100, 8191, 8192, 70_000])
def test_blocks_of_any_size_are_the_bytes_in_order(
    pair: Pair, seeded: random.Random, first: int
) -> None:
    near, far = pair
    content = seeded.randbytes(3 << 20)
    blocks = receiver(near, 30)
    sender = threading.Thread(target=far.sendall, args=(content,))
    sender.start()
    got = bytearray()
    size = first
    while len(got) < len(content):
        room = memoryview(bytearray(min(size, len(content) - len(got))))
        assert blocks.fill(room, len(content) - len(got) - len(room)) == len(room)
        got += room
        size = seeded.choice([10, 9000, 1 << 20])
    sender.join()
    assert got == content
    blocks.give_back()
    assert near.gettimeout() == 30


def test_what_the_file_has_buffered_comes_first(pair: Pair, seeded: random.Random) -> None:
    near, far = pair
    content = seeded.randbytes(200_000)
    file = near.makefile("rb")
    near.settimeout(30)
    blocks = BlockReceiver.over(file, near)
    assert blocks is not None
    far.sendall(content)
    room = memoryview(bytearray(50_000))
    got = bytearray()
    for _ in range(3):
        assert blocks.fill(room) == len(room)
        got += room
        blocks.give_back()
        got += file.read(100)  # takes more from the socket than it gives
    far.close()
    got += room[: blocks.fill(room)]
    assert got == content


def test_a_peer_that_goes_ends_the_block_early(pair: Pair) -> None:
    near, far = pair
    blocks = receiver(near, 30)
    far.sendall(b"x" * 20_000)
    far.close()
    assert blocks.fill(memoryview(bytearray(100_000))) == 20_000
    assert blocks.fill(memoryview(bytearray(100_000))) == 0


@pytest.mark.parametrize("before", [0, 20_000])
def test_silence_ends_in_a_timeout_not_sooner_than_the_limit(pair: Pair, before: int) -> None:
    near, far = pair
    blocks = receiver(near, 0.4)
    far.sendall(b"x" * 9000)
    assert blocks.fill(memoryview(bytearray(9000))) == 9000
    far.sendall(b"x" * before)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        blocks.fill(memoryview(bytearray(100_000)))
    assert time.monotonic() - began >= 0.4


def test_a_slow_peer_is_waited_for(pair: Pair) -> None:
    near, far = pair
    blocks = receiver(near, 2)

    def drip() -> None:
        for _ in range(10):
            time.sleep(0.3)
            far.sendall(b"x" * 10_000)

    sender = threading.Thread(target=drip)
    sender.start()
    assert blocks.fill(memoryview(bytearray(100_000))) == 100_000  # in 3 s, never silent for 2
    sender.join()


def test_a_socket_given_back_wakes_for_a_single_byte(pair: Pair) -> None:
    near, far = pair
    blocks = receiver(near, 5)
    far.sendall(bytes(9000))
    assert blocks.fill(memoryview(bytearray(9000)), 10 << 20) == 9000
    blocks.give_back()
    far.sendall(b"x")
    assert near.recv(1) == b"x"


def test_a_shutdown_from_another_thread_wakes_the_receiver(pair: Pair) -> None:
    near, _ = pair
    blocks = receiver(near, None)
    waker = threading.Timer(0.2, near.shutdown, [socket.SHUT_RDWR])
    waker.start()
    assert blocks.fill(memoryview(bytearray(100_000))) == 0
    waker.join()
