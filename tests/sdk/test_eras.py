import threading

import pytest

from aisfs_sdk import Client, errors
from aisfs_sdk.eras import UNKNOWN_ERA, Era, Feature, parse_version
from aisfs_sdk.list_object_flag import ListObjectFlag
from tests.sdk.wire import Reply, Request, Wire, http

UNKNOWN_WHAT = (
    b'{"message":"invalid GET /daemon request: unrecognized what=node_status","status":400}'
)


@pytest.mark.parametrize(
    ("text", "version"),
    [("5.0.", (5, 0)), ("3.17.abc", (3, 17)), ("v4.2", (4, 2)), ("", (0, 0)), ("dev", (0, 0))],
)
def test_versions(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text).version == version


def test_what_a_release_can_do() -> None:
    assert Era((5, 0)).has(Feature.OBJECT_COPY)
    assert not Era((3, 17)).has(Feature.OBJECT_COPY)
    with pytest.raises(
        errors.UnsupportedError, match=r"needs AIS 3\.30 or newer, this is AIS 3\.17"
    ):
        Era((3, 17)).require(Feature.OBJECT_COPY, "PUT ais://b/o")
    assert not any(UNKNOWN_ERA.has(feature) for feature in Feature)
    assert str(UNKNOWN_ERA) == "AIS of unknown release"


def test_list_flags_that_changed_their_place() -> None:
    flags = [ListObjectFlag.DONT_HEAD_REMOTE, ListObjectFlag.USE_CACHE, ListObjectFlag.NO_RECURSION]
    assert Era((3, 17)).list_flags(flags) == 64 + 512 + 2048
    assert Era((5, 0)).list_flags(flags) == 128 + 2048
    assert ListObjectFlag.join_flags([]) == 0


def test_a_cluster_of_2023_is_asked_in_its_own_words() -> None:
    def answer(request: Request) -> Reply:
        if request.target.endswith("what=node_status"):
            return http(400, UNKNOWN_WHAT)
        return http(200, b'{"ais_version":"3.17."}')

    with Wire(answer, release=None) as wire:
        assert Client(wire.endpoint).era == Era((3, 17))
        assert [request.target for request in wire.requests] == [
            "/v1/daemon?what=node_status",
            "/v1/daemon?what=status",
        ]


def test_many_threads_ask_once() -> None:
    asked = threading.Semaphore(0)

    def answer(request: Request) -> Reply:
        asked.release()
        return http(200, b'{"ais_version":"5.0."}')

    with Wire(answer, release=None) as wire:
        client = Client(wire.endpoint)
        found: list[Era] = []
        threads = [threading.Thread(target=lambda: found.append(client.era)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [Era((5, 0))] * 8
        assert len(wire.requests) == 1


def test_a_token_that_may_not_ask_leaves_the_release_unknown() -> None:
    refusal = http(403, b'{"message":"insufficient permissions","status":403}')
    with Wire(lambda request: refusal, release=None) as wire:
        assert Client(wire.endpoint).era is UNKNOWN_ERA


@pytest.mark.parametrize(
    "reply",
    [
        http(200, b"<html>welcome</html>"),
        http(200, b'{"status":"ok"}'),
        http(200, b"[1]"),
        http(200, b'"\xff"'),
        http(404, b"<html>not found</html>"),
        http(404, b'{"detail":"Not Found"}'),
        http(401, b"login first"),
        http(405),
    ],
)
def test_what_is_not_ais_is_told_before_any_data_is_sent(reply: Reply) -> None:
    with Wire(lambda request: reply, release=None) as wire:
        with pytest.raises(errors.NotAISError, match="is no AIS gateway"):
            Client(wire.endpoint).bucket("b").object("o").put_content(b"secret")
        assert {request.method for request in wire.requests} == {"GET"}
