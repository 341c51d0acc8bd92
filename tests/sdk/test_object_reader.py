import os
import threading
from collections.abc import Callable

import pytest
import requests

from aisfs_sdk import Bucket, Client, errors
from aisfs_sdk.object_reader import ObjectReader
from tests.sdk.wire import Reply, Wire, http
from tests.support.store import StoreProcess

DATA = os.urandom(300_000)


def read(reader: ObjectReader, size: int) -> bytes:
    """Read to the end through a buffer of that size."""
    buffer = bytearray(size)
    parts = []
    while count := reader.readinto(memoryview(buffer)):
        parts.append(bytes(buffer[:count]))
    return b"".join(parts)


def opened(wire: Wire, byte_range: str | None = None) -> ObjectReader:
    client = Client(wire.endpoint, timeout=(3, 5))
    return client.bucket("b").object("o").get(byte_range=byte_range)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", headers: str = "") -> Reply:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode()
    return Reply(head + body + end, "close" if end != b"0\r\n\r\n" else "keep")


@pytest.mark.parametrize("size", [1000, 65536, 299_999, 300_000, 300_001, 1 << 20])
def test_readinto_fills_the_buffer(bucket: Bucket, size: int) -> None:
    obj = bucket.object("o")
    obj.put_content(DATA)
    buffer = bytearray(size)
    with obj.get() as reader:
        assert reader.remaining == len(DATA)
        count = reader.readinto(memoryview(buffer))
        assert count == min(size, len(DATA))
        assert buffer[:count] == DATA[:count]
        assert read(reader, size) == DATA[count:]
        assert reader.readinto(memoryview(buffer)) == 0


def test_the_other_ways_to_read(bucket: Bucket) -> None:
    obj = bucket.object("o")
    obj.put_content(DATA)
    assert obj.get().read_all() == DATA
    chunks = list(obj.get(chunk_size=1000))
    assert b"".join(chunks) == DATA
    assert {len(chunk) for chunk in chunks} == {1000}
    with obj.get() as reader:
        assert reader.readinto(bytearray(10)) == 10
        assert reader.read_all() == DATA[10:]
        assert reader.read_all() == b""
    with obj.get() as reader:
        assert reader.raw().read(5) == DATA[:5]


def test_an_empty_object(bucket: Bucket) -> None:
    bucket.object("o").put_content(b"")
    for reader in (bucket.object("o").get(), bucket.object("o").get()):
        assert reader.remaining == 0
        assert reader.readinto(bytearray(5)) == 0
    assert bucket.object("o").get().read_all() == b""
    assert list(bucket.object("o").get()) == []


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-0", (0, 1, 300_000)),
        ("bytes=10-19", (10, 20, 300_000)),
        ("bytes=299999-", (299_999, 300_000, 300_000)),
        ("bytes=100-9999999", (100, 300_000, 300_000)),
        ("bytes=-7", (299_993, 300_000, 300_000)),
        ("bytes=-9999999", (0, 300_000, 300_000)),
    ],
)
def test_ranges(bucket: Bucket, asked: str, expected: tuple[int, int, int]) -> None:
    obj = bucket.object("o")
    obj.put_content(DATA)
    with obj.get(byte_range=asked) as reader:
        assert reader.content_range == expected
        assert reader.attributes.size == len(DATA)
        assert read(reader, 1000) == DATA[expected[0] : expected[1]]


def test_whole_objects_have_no_range(bucket: Bucket) -> None:
    bucket.object("o").put_content(b"1")
    with bucket.object("o").get() as reader:
        assert reader.content_range is None


def test_connections_are_used_again() -> None:
    with Wire(lambda request: http(200, b"data")) as wire:
        client = Client(wire.endpoint)
        for _ in range(5):
            assert client.bucket("b").object("o").get().read_all() == b"data"
            assert read(client.bucket("b").object("o").get(), 3) == b"data"
            assert list(client.bucket("b").object("o").get()) == [b"data"]
        assert wire.connections == 1
        client.close()


# ---- bodies that are not what was announced ----


WAYS: dict[str, Callable[[ObjectReader], object]] = {
    "readinto": lambda reader: read(reader, 100),
    "read_all": ObjectReader.read_all,
    "iterate": list,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "reply",
    [
        http(200, b"x" * 900, length=1000, then="close"),
        http(200, b"", length=1000, then="close"),
        http(200, b"x" * 1001, length=1000),
        http(200, b"x" * 5000, length=1000),
        chunked(b"x" * 500, b"x" * 400, end=b"64\r\nxx"),
        chunked(b"x" * 500, end=b""),
        chunked(b"x" * 500, end=b"zz\r\n"),
    ],
    ids=["short", "empty", "one-more", "long", "torn-chunk", "no-last-chunk", "no-chunk"],
)
def test_bodies_of_another_length(reply: Reply, way: str) -> None:
    with Wire(lambda request: reply) as wire:
        reader = opened(wire)
        with pytest.raises((errors.IntegrityError, requests.RequestException)) as caught:
            WAYS[way](reader)
        assert "ais://b/o" in str(caught.value)


@pytest.mark.parametrize("size", [1, 100, 1000])
def test_short_and_long_are_integrity_errors(size: int) -> None:
    for reply in (http(200, b"x" * 7, length=10, then="close"), http(200, b"x" * 11, length=10)):
        with (
            Wire(lambda request, reply=reply: reply) as wire,  # type: ignore[misc]
            pytest.raises(errors.IntegrityError),
        ):
            read(opened(wire), size)


def test_a_body_cut_by_the_store(store: StoreProcess) -> None:
    store.create_bucket("cut")
    obj = Client(store.endpoint).bucket("cut").object("o")
    obj.put_content(DATA)
    store.faults([{"action": "cut", "method": "GET", "path": "^/v1/objects/", "after_bytes": 70_000,
                   "role": "target"}])  # fmt: skip
    buffer = bytearray(50_000)
    with obj.get() as reader:
        assert reader.readinto(buffer) == 50_000
        assert buffer == DATA[:50_000]
        with pytest.raises((errors.IntegrityError, requests.ConnectionError)):
            reader.readinto(buffer)


def test_chunks_are_read_to_their_end() -> None:
    with Wire(lambda request: chunked(b"x" * 500, b"y" * 400)) as wire:
        client = Client(wire.endpoint)
        for size in (1, 100, 450, 900, 901, 5000):
            assert read(client.bucket("b").object("o").get(), size) == b"x" * 500 + b"y" * 400
        assert client.bucket("b").object("o").get().read_all() == b"x" * 500 + b"y" * 400
        assert wire.connections == 1


def test_more_chunks_than_a_range_has() -> None:
    headers = "Content-Range: bytes 0-4/9\r\n"
    with (
        Wire(lambda request: chunked(b"12345", b"6", headers=headers)) as wire,
        pytest.raises(errors.IntegrityError, match="longer"),
    ):
        opened(wire, "bytes=0-4").read_all()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Content-Range: bytes 1-5/10"],
        ["Content-Range: bytes 0-3/10"],
        ["Content-Range: bytes 0-9/10"],
        ["Content-Range: nonsense"],
        ["Content-Range: bytes */10"],
    ],
)
def test_another_range_than_asked_for(headers: list[str]) -> None:
    with (
        Wire(lambda request: http(200, b"12345", *headers)) as wire,
        pytest.raises(errors.IntegrityError),
    ):
        opened(wire, "bytes=0-4")


def test_an_answer_without_length() -> None:
    with (
        Wire(lambda request: Reply(b"HTTP/1.1 200 OK\r\n\r\nabc", "close")) as wire,
        pytest.raises(errors.IntegrityError, match="length"),
    ):
        opened(wire)


def test_an_error_page_is_no_data() -> None:
    with (
        Wire(lambda request: http(500, b"<html>sorry</html>")) as wire,
        pytest.raises(errors.AISError, match="sorry"),
    ):
        opened(wire)


def test_an_encoded_body_comes_as_it_is() -> None:
    reply = http(200, b"\x1f\x8bzz", "Content-Encoding: gzip")
    with Wire(lambda request: reply) as wire:
        assert opened(wire).read_all() == b"\x1f\x8bzz"


# ---- ending ----


def blocked(reader: ObjectReader, size: int = 1 << 20) -> tuple[threading.Thread, list[Exception]]:
    """Read in a thread; return it once it has begun, and where its error will be."""
    caught: list[Exception] = []
    begun = threading.Event()

    def run() -> None:
        begun.set()
        try:
            reader.readinto(bytearray(size))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(10)
    return thread, caught


def test_abort_wakes_a_blocked_reader() -> None:
    with Wire(lambda request: http(200, b"x" * 100, length=1000, then="hang")) as wire:
        reader = opened(wire)
        thread, caught = blocked(reader)
        reader.abort()
        thread.join(2)
        assert not thread.is_alive()
        assert [type(error) for error in caught] == [errors.AbortedError]
        with pytest.raises(errors.AbortedError):
            reader.read_all()
        reader.abort()


def test_abort_before_reading() -> None:
    with Wire(lambda request: http(200, b"data")) as wire:
        reader = opened(wire)
        reader.abort()
        with pytest.raises(errors.AbortedError):
            reader.readinto(bytearray(1))


def test_abort_after_the_end_leaves_the_connection_alone() -> None:
    with Wire(lambda request: http(200, b"data")) as wire:
        client = Client(wire.endpoint)
        first = client.bucket("b").object("o").get()
        assert first.read_all() == b"data"
        second = client.bucket("b").object("o").get()
        first.abort()
        assert second.read_all() == b"data"
        assert wire.connections == 1


def test_silence_ends_in_a_timeout() -> None:
    with Wire(lambda request: http(200, b"x" * 100, length=1000, then="hang")) as wire:
        client = Client(wire.endpoint, timeout=(3, 0.1))
        reader = client.bucket("b").object("o").get()
        with pytest.raises(requests.ReadTimeout, match="GET ais://b/o"):
            reader.readinto(bytearray(1000))


def test_silence_within_a_body_has_a_limit_of_its_own() -> None:
    with Wire(lambda request: http(200, b"x" * 100, length=1000, then="hang")) as wire:
        reader = Client(wire.endpoint, timeout=(3, None)).bucket("b").object("o").get()
        reader.limit_silence(0.2)
        with pytest.raises(requests.Timeout):
            reader.read_all()


def test_closing_half_way_drops_the_connection() -> None:
    with Wire(lambda request: http(200, b"x" * 100)) as wire:
        client = Client(wire.endpoint)
        for _ in range(3):
            with client.bucket("b").object("o").get() as reader:
                assert reader.readinto(bytearray(10)) == 10
            reader.close()
        assert wire.connections == 3
        assert client.bucket("b").object("o").get().read_all() == b"x" * 100
        assert wire.connections == 4


def test_a_writer_gets_everything(bucket: Bucket, tmp_path: os.PathLike[str]) -> None:
    bucket.object("o").put_content(DATA)
    path = os.path.join(tmp_path, "out")  # noqa: PTH118
    with open(path, "wb") as file:  # noqa: PTH123
        bucket.object("o").get(writer=file)
    with open(path, "rb") as file:  # noqa: PTH123
        assert file.read() == DATA
