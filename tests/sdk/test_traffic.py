"""What a client counts of its requests and bytes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import requests

from aisfs_sdk import Client
from aisfs_sdk.traffic import Traffic

if TYPE_CHECKING:
    from tests.support.store import StoreProcess


def test_requests_and_bodies_are_counted(store: StoreProcess) -> None:
    client = Client(store.endpoint)
    bucket = client.bucket("b").create()
    bucket.object("a").put_content(b"x" * 100_000)
    with bucket.object("a").get_reader() as reader:
        assert len(reader.read_all()) == 100_000
    traffic = client.request_client.traffic
    told = {(method, about, status): times for method, about, status, times in traffic.requests()}
    assert told["PUT", "objects", "2xx"] == 1
    assert told["PUT", "objects", "3xx"] == 1
    assert told["GET", "objects", "2xx"] == 1
    assert traffic.sent_bytes >= 100_000
    assert 100_000 <= traffic.received_bytes < 200_000
    assert client.request_client.idle_connections >= 1


def test_what_is_not_answered_is_counted_and_so_are_repetitions() -> None:
    client = Client("http://127.0.0.1:1")
    with pytest.raises(requests.ConnectionError):
        client.cluster().get_info()
    (row,) = client.request_client.traffic.requests()
    assert row[:3] == ("GET", "daemon", "none")
    assert client.request_client.traffic.retries == row[3] - 1


def test_threads_count_together() -> None:
    traffic = Traffic()

    def work() -> None:
        for _ in range(1000):
            traffic.received(1)
            traffic.answered("GET", "/v1/objects/b/o?x", 206)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert traffic.received_bytes == 4000
    assert traffic.requests() == [("GET", "objects", "2xx", 4000)]


@pytest.mark.parametrize("path", ["/", "", "/transform/x", "/v1", "/v1/made-up"])
def test_what_it_is_about_is_one_of_few_words(path: str) -> None:
    traffic = Traffic()
    traffic.answered("GET", path, 200)
    assert traffic.requests() == [("GET", "other", "2xx", 1)]
