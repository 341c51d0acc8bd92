import io
import json
import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from aisfs_sdk import Client, RetryConfig, deadline, errors
from aisfs_sdk.exchange import TWO_STEP_SIZE
from aisfs_sdk.request_client import RequestClient
from aisfs_sdk.smap import Smap
from tests.sdk.wire import Reply, Request, Wire, http
from tests.support.store import StoreProcess, free_port

QUICK = RetryConfig(first_wait_s=0.001, max_wait_s=0.002)
TOKEN = "t0ps3cret"


def failing(*replies: Reply) -> Callable[[Request], Reply]:
    """Answer with each reply in turn, and with the last one for ever."""
    left = list(replies)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def redirect(location: str) -> Reply:
    return http(307, b"", f"Location: {location}")


# ---- redirects ----


def test_objects_keep_their_own_path_on_redirects() -> None:
    def answer(request: Request) -> Reply:
        if "pid=" in request.target:
            return http(200, b"data")
        return redirect(f"{wire.endpoint}/v1/objects/b/a?b%zz x?provider=ais&pid=p1&utm=17")

    with Wire(answer) as wire:
        assert Client(wire.endpoint).bucket("b").object("a?b x").get().read_all() == b"data"
        assert wire.requests[1].target == "/v1/objects/b/a%3Fb%20x?provider=ais&pid=p1&utm=17"


def test_signed_redirects_are_followed_to_the_letter() -> None:
    target = "/v1/objects/b/o?provider=ais&pid=p1&utm=17&vpams=3&x=ab&u=cd"
    with Wire(failing(redirect(target), http(200, b"data"))) as wire:
        assert Client(wire.endpoint).bucket("b").object("o").get().read_all() == b"data"
        assert wire.requests[1].target == target


def test_range_and_method_go_along() -> None:
    ranged = http(206, b"lo", "Content-Range: bytes 3-4/5")
    with Wire(failing(redirect("/v1/objects/b/o?provider=ais&pid=p&utm=1"), ranged)) as wire:
        reader = Client(wire.endpoint).bucket("b").object("o").get(byte_range="bytes=3-4")
        assert reader.read_all() == b"lo"
        assert [request.headers["range"] for request in wire.requests] == ["bytes=3-4"] * 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_every_kind_of_redirect_keeps_method_and_body(status: int) -> None:
    moved = http(status, b"<a>moved</a>", "Location: /v1/objects/b/o?pid=p&utm=1")
    with Wire(failing(moved, http(200))) as wire:
        Client(wire.endpoint).bucket("b").object("o").set_custom_props({"k": "v"})
        assert [request.method for request in wire.requests] == ["PATCH", "PATCH"]
        assert wire.requests[0].body == wire.requests[1].body
        assert wire.connections == 1


def test_redirects_in_a_circle_end(store: StoreProcess) -> None:
    store.create_bucket("circle")
    store.faults([{"action": "redirect-loop", "method": "GET", "path": "^/v1/objects/"}])
    with pytest.raises(
        requests.TooManyRedirects, match=r"GET ais://circle/o: more than 5 redirects"
    ):
        Client(store.endpoint).bucket("circle").object("o").get()


@pytest.mark.parametrize("location", ["", "ftp://h/x", "mailto:x"])
def test_redirects_to_nowhere(location: str) -> None:
    with (
        Wire(lambda request: redirect(location)) as wire,
        pytest.raises(requests.exceptions.InvalidURL),
    ):
        Client(wire.endpoint).bucket("b").object("o").head()


def test_the_token_goes_to_the_gateway_only() -> None:
    with Wire(lambda request: http(200, b"data")) as target:
        location = f"{target.endpoint}/v1/objects/b/o?pid=p&utm=1"
        with Wire(lambda request: redirect(location)) as gateway:
            client = Client(gateway.endpoint, token=TOKEN)
            assert client.bucket("b").object("o").get().read_all() == b"data"
            assert gateway.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
            assert "authorization" not in target.requests[0].headers


# ---- repeating ----


def test_an_overloaded_cluster_is_asked_again() -> None:
    with Wire(failing(http(503), http(429), http(200, b"data"))) as wire:
        client = Client(wire.endpoint, retry_config=QUICK)
        assert client.bucket("b").object("o").get().read_all() == b"data"
        assert len(wire.requests) == 3


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_but_not_for_ever(status: int) -> None:
    with Wire(lambda request: http(status)) as wire:
        with pytest.raises(errors.UnavailableError) as caught:
            Client(wire.endpoint, retry_config=QUICK).bucket("b").head()
        assert isinstance(caught.value, requests.HTTPError)
        assert len(wire.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 409, 500, 501, 507])
def test_other_refusals_are_final(status: int) -> None:
    with Wire(lambda request: http(status)) as wire:
        with pytest.raises(errors.AISError):
            Client(wire.endpoint, retry_config=QUICK).bucket("b").object("o").head()
        assert len(wire.requests) == 1


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    busy = http(503, b"", "Retry-After: 30")
    with Wire(lambda request: busy) as wire:
        began = time.monotonic()
        with deadline(5), pytest.raises(errors.UnavailableError):
            Client(wire.endpoint).bucket("b").head()
        assert time.monotonic() - began < 4
        assert len(wire.requests) == 1


def test_the_cluster_may_ask_for_a_longer_wait() -> None:
    with Wire(failing(http(503, b"", "Retry-After: 1"), http(200))) as wire:
        began = time.monotonic()
        Client(wire.endpoint, retry_config=QUICK).bucket("b").head()
        assert time.monotonic() - began >= 1


def test_what_starts_a_job_is_sent_once() -> None:
    with Wire(lambda request: Reply(b"", "close")) as wire:
        bucket = Client(wire.endpoint, retry_config=QUICK).bucket("b")
        with pytest.raises(requests.ConnectionError, match="POST ais://b"):
            bucket.make_request("POST", "copy-bck", {})
        assert len(wire.requests) == 1


def test_what_never_left_may_be_sent_again_whatever_it_is() -> None:
    port = free_port()
    with pytest.raises(requests.ConnectionError) as caught:
        Client(f"http://127.0.0.1:{port}", retry_config=QUICK).cluster().get_info()
    assert str(port) in str(caught.value)
    assert not isinstance(caught.value, requests.Timeout)


def test_a_deletion_whose_answer_was_lost_is_done(store: StoreProcess) -> None:
    store.create_bucket("lost")
    obj = Client(store.endpoint, retry_config=QUICK).bucket("lost").object("o")
    obj.put_content(b"1")
    store.faults(
        [
            {
                "action": "cut",
                "method": "DELETE",
                "path": "^/v1/objects/",
                "role": "target",
                "times": 1,
            }
        ]
    )
    obj.delete()
    with pytest.raises(errors.ErrObjNotFound):
        obj.delete()


def test_a_reply_cut_short_is_asked_for_again(store: StoreProcess) -> None:
    store.create_bucket("short")
    bucket = Client(store.endpoint, retry_config=QUICK).bucket("short")
    for i in range(20):
        bucket.object(f"o{i}").put_content(b"1")
    cut = {"action": "cut", "method": "GET", "path": "^/v1/buckets/", "after_bytes": 30}
    store.faults([{**cut, "times": 2}])
    assert len(bucket.list_all_objects()) == 20
    store.faults([cut])
    with pytest.raises(requests.RequestException):
        bucket.list_all_objects()


def test_a_body_is_sent_again_from_its_beginning(store: StoreProcess, tmp_path: Path) -> None:
    store.create_bucket("again")
    obj = Client(store.endpoint, retry_config=QUICK).bucket("again").object("o")
    data = bytes(range(256)) * 4096
    (tmp_path / "f").write_bytes(b"head" + data)
    fault = {"action": "cut-upload", "method": "PUT", "path": "^/v1/objects/", "role": "target"}
    for source in ("file", "memory"):
        store.faults([{**fault, "after_bytes": 100_000, "times": 1}])
        with (tmp_path / "f").open("rb") as file:
            file.seek(4)
            sent = file if source == "file" else io.BytesIO(data)
            obj.get_writer().put(sent, len(data))
        assert obj.get().read_all() == data


def test_bodies_keep_to_a_pace_in_whatever_pieces(store: StoreProcess, tmp_path: Path) -> None:
    store.create_bucket("paced")
    obj = Client(store.endpoint).bucket("paced").object("o")
    data = bytes(range(256)) * 1000
    (tmp_path / "f").write_bytes(data)
    passed = 0

    def pace(size: int) -> int:
        nonlocal passed
        passed += min(size, 99_999)
        return min(size, 99_999)

    with (tmp_path / "f").open("rb") as file, deadline(None, pace=pace):
        for source in (data, file, io.BytesIO(data)):
            passed = 0
            obj.get_writer().put(source, len(data))
            assert passed == len(data)
            assert obj.get().read_all() == data
            assert passed == 2 * len(data)
            obj.delete()


# ---- time ----


def test_a_silent_cluster_ends_within_the_deadline() -> None:
    with Wire(lambda request: Reply(b"", "hang")) as wire:
        began = time.monotonic()
        with deadline(0.3), pytest.raises(requests.Timeout, match="HEAD ais://b"):
            Client(wire.endpoint).bucket("b").head()
        assert time.monotonic() - began < 3


def test_a_silent_cluster_ends_within_the_read_timeout() -> None:
    with Wire(lambda request: Reply(b"", "hang")) as wire:
        client = Client(wire.endpoint, timeout=(3, 0.05), retry_config=QUICK)
        with pytest.raises(requests.ReadTimeout):
            client.bucket("b").head()
        assert len(wire.requests) == 3


def test_nothing_is_sent_after_the_deadline() -> None:
    with Wire(lambda request: http(200)) as wire:
        client = Client(wire.endpoint)
        assert client.era.version == (5, 0)
        with deadline(0), pytest.raises(requests.Timeout, match="before it could be sent"):
            client.bucket("b").head()
        assert not wire.requests


def test_an_event_ends_the_waiting_between_tries() -> None:
    cancelled = threading.Event()

    def answer(request: Request) -> Reply:
        cancelled.set()
        return http(503, b"", "Retry-After: 50")

    with Wire(answer) as wire, deadline(100, cancelled):
        began = time.monotonic()
        with pytest.raises(errors.UnavailableError):
            Client(wire.endpoint).bucket("b").head()
        assert time.monotonic() - began < 10


def test_a_target_that_takes_no_bytes_is_given_up(tmp_path: Path) -> None:
    size = 64 << 20
    with (tmp_path / "f").open("wb") as file:
        file.truncate(size)
    location = "/v1/objects/b/o?provider=ais&pid=p&utm=1"

    def answer(request: Request) -> Reply:
        return Reply(b"", "hang") if "pid=" in request.target else redirect(location)

    with Wire(answer, reads_body=lambda request: False) as wire:
        client = Client(wire.endpoint, timeout=(3, 0.2), retry_config=RetryConfig(attempts=1))
        with pytest.raises(requests.ReadTimeout):
            client.bucket("b").object("o").put_file(tmp_path / "f")
        with pytest.raises(requests.ReadTimeout):
            client.bucket("b").object("o").get_writer().put(bytes(size))


# ---- uploads ----


def test_a_large_body_goes_out_once() -> None:
    data = b"x" * (TWO_STEP_SIZE + 1)

    def holds_body(request: Request) -> bool:
        return "pid=" in request.target

    def answer(request: Request) -> Reply:
        if holds_body(request):
            return http(200)
        reply = redirect("/v1/objects/b/o?provider=ais&pid=p&utm=1")
        return Reply(reply.data, "close")

    with Wire(answer, reads_body=holds_body) as wire:
        Client(wire.endpoint).bucket("b").object("o").get_writer().put(data, custom={"k": "v"})
        first, second = wire.requests
        assert first.headers["connection"] == "close"
        assert first.headers["content-length"] == second.headers["content-length"] == str(len(data))
        assert second.body == data
        assert second.headers["ais-custom-md"] == "k=v"


def test_a_store_that_is_content_with_headers_still_gets_the_body() -> None:
    data = b"x" * (TWO_STEP_SIZE + 1)
    replies = failing(http(200, then="close"), http(200))
    with Wire(replies, reads_body=lambda request: "connection" not in request.headers) as wire:
        Client(wire.endpoint).bucket("b").object("o").put_content(data)
        assert [len(request.body) for request in wire.requests] == [0, len(data)]


def test_the_false_length_of_2023_is_not_read() -> None:
    stored = http(200, b"", "Ais-Checksum-Value: ab", "Ais-Version: 7", length=5, then="close")
    with Wire(lambda request: stored, release=b'{"ais_version":"3.17."}') as wire:
        attributes = Client(wire.endpoint).bucket("b").object("o").get_writer().put(b"12345")
        assert (attributes.obj_version, attributes.checksum_value, attributes.size) == (
            "7",
            "ab",
            5,
        )
        assert len(wire.requests) == 1


# ---- settings ----


@pytest.mark.parametrize(
    "endpoint", ["", "host:8080", "ftp://h", "http://", "http://h/v1", "unix:/x"]
)
def test_endpoints_that_cannot_be(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        Client(endpoint)


def test_no_password_in_the_endpoint() -> None:
    with pytest.raises(ValueError, match="user name") as caught:
        Client(f"http://user:{TOKEN}@h:1")
    assert TOKEN not in str(caught.value)


def test_a_trailing_slash_is_no_part_of_the_endpoint() -> None:
    assert RequestClient("http://h:1/").base_url == "http://h:1/v1"


@pytest.mark.parametrize(
    ("argument", "environment", "expected"),
    [
        (None, {}, (3.0, 20.0)),
        (None, {"AIS_CONNECT_TIMEOUT": "1.5", "AIS_READ_TIMEOUT": "0"}, (1.5, None)),
        (None, {"AIS_CONNECT_TIMEOUT": "x", "AIS_READ_TIMEOUT": "-1"}, (3.0, 20.0)),
        (None, {"AIS_READ_TIMEOUT": "inf"}, (3.0, 20.0)),
        (7, {"AIS_READ_TIMEOUT": "1"}, (7, 7)),
        (0, {}, (None, None)),
        ((1, None), {}, (1, None)),
    ],
)
def test_timeouts(
    argument: float | None,
    environment: dict[str, str],
    expected: tuple[float | None, float | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert RequestClient("http://h:1", timeout=argument).timeout == expected


def test_tokens_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert RequestClient("http://h:1").token == ""
    file = tmp_path / "token"
    monkeypatch.setenv("AIS_AUTHN_TOKEN_FILE", str(file))
    with pytest.raises(OSError, match="token"):
        RequestClient("http://h:1")
    for text, expected in ((json.dumps({"token": TOKEN}), TOKEN), (f"{TOKEN}\n", TOKEN)):
        file.write_text(text)
        assert RequestClient("http://h:1").token == expected
    for text in ("{}", "{", f'{{"token": ["{TOKEN}"]}}'):
        file.write_text(text)
        with pytest.raises(ValueError, match="holds no token") as caught:
            RequestClient("http://h:1")
        assert TOKEN not in repr(caught.value)
    monkeypatch.setenv("AIS_AUTHN_TOKEN", "other")
    assert RequestClient("http://h:1").token == "other"
    assert RequestClient("http://h:1", token=TOKEN).token == TOKEN
    file.write_text("third")
    assert RequestClient("http://h:1", token_file=str(file)).token == "third"
    assert RequestClient("http://h:1", token=TOKEN, token_file=str(file)).token == TOKEN


@pytest.fixture
def token_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("first-token")
    monkeypatch.setenv("AIS_AUTHN_TOKEN_FILE", str(file))
    return file


def test_a_token_file_is_read_again_when_it_changes(
    token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Wire(lambda request: http(200, b"data")) as wire:
        bucket = Client(wire.endpoint).bucket("b")
        bucket.head()
        token_file.write_text(json.dumps({"token": "second-token"}))
        bucket.head()
        # What is being written, or gone, changes nothing.
        token_file.write_text("")
        bucket.head()
        token_file.unlink()
        for _ in range(3):
            bucket.head()
        sent = [request.headers["authorization"] for request in wire.requests]
        assert sent == ["Bearer first-token"] + ["Bearer second-token"] * 5
        assert caplog.text.count("its last token holds") == 1


REFUSED = http(401, b'{"message":"invalid token [err: token expired]","status":401}')


def test_a_refused_token_is_renewed_once(token_file: Path) -> None:
    seen: list[str] = []

    def answer(request: Request) -> Reply:
        seen.append(request.headers["authorization"])
        if len(seen) == 1:
            # Of the same length and at the same time: only reading tells.
            state = token_file.stat()
            token_file.write_text("other-token")
            os.utime(token_file, ns=(state.st_atime_ns, state.st_mtime_ns))
        return http(200) if seen[-1].endswith("other-token") else REFUSED

    with Wire(answer) as wire:
        bucket = Client(wire.endpoint).bucket("b")
        bucket.create()
        assert seen == ["Bearer first-token", "Bearer other-token"]


def test_a_new_token_that_the_cluster_does_not_know_yet_is_tried_again(token_file: Path) -> None:
    seen: list[str] = []

    def answer(request: Request) -> Reply:
        seen.append(request.headers["authorization"])
        known = seen.count("Bearer second-token") >= 4 or seen[-1] == "Bearer first-token"
        return http(200) if known else REFUSED

    with Wire(answer) as wire:
        bucket = Client(wire.endpoint).bucket("b")
        bucket.head()
        token_file.write_text("second-token")
        bucket.head()
        assert seen == ["Bearer first-token"] + ["Bearer second-token"] * 4


def test_a_new_token_that_stays_refused_is_told_soon(token_file: Path) -> None:
    with Wire(lambda request: REFUSED) as wire:
        bucket = Client(wire.endpoint).bucket("b")
        token_file.write_text("second-token")
        began = time.monotonic()
        with pytest.raises(errors.AuthError, match="STATUS:401"):
            bucket.head()
        assert time.monotonic() - began < 10
        asked = len(wire.requests)
        with pytest.raises(errors.AuthError, match="STATUS:401"):
            bucket.head()
        assert len(wire.requests) == asked + 1


def test_a_token_that_stays_refused_is_told(token_file: Path) -> None:
    with Wire(lambda request: REFUSED) as wire:
        with pytest.raises(errors.AuthError, match="STATUS:401"):
            Client(wire.endpoint).bucket("b").head()
        assert len(wire.requests) == 1


def test_the_token_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with Wire(lambda request: http(503)) as wire:
        client = Client(wire.endpoint, token=TOKEN, retry_config=QUICK)
        with pytest.raises(errors.UnavailableError) as caught:
            client.bucket("b").object("o").head()
    with pytest.raises(requests.ConnectionError) as unreachable:
        client.bucket("b").object("o").head()
    shown = [caught.value, unreachable.value, client, client.request_client, client.bucket("b")]
    shown += [caught.value.response, caught.value.response.request.headers]  # type: ignore[union-attr]
    assert TOKEN not in " ".join([caplog.text, *map(repr, shown), *map(str, shown)])
    assert "trying again" in caplog.text


def test_environment_does_not_choose_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with Wire(lambda request: http(200)) as wire:
        Client(wire.endpoint).bucket("b").head()


def test_a_proxy_that_was_configured_is_used() -> None:
    with Wire(lambda request: http(200, b"data")) as proxy:
        client = Client("http://gateway.invalid:8080")
        client.request_client.session.proxies = {"http": proxy.endpoint}
        assert client.bucket("b").object("o").get().read_all() == b"data"
        assert (
            proxy.requests[-1].target == "http://gateway.invalid:8080/v1/objects/b/o?provider=ais"
        )


# ---- the documented face ----


def test_requests_of_ones_own(endpoint: str) -> None:
    client = RequestClient(endpoint)
    assert client.get_full_url("a/b", {"x": "y z"}) == f"{endpoint}/v1/a/b?x=y%20z"
    smap = client.request_deserialize("GET", "daemon", Smap, params={"what": "smap"})
    assert smap.uuid
    response = client.request("GET", "daemon", params={"what": "smap"})
    assert isinstance(response, requests.Response)
    assert response.json()["uuid"] == smap.uuid
    with pytest.raises(errors.AISError):
        client.request("GET", "daemon", params={"what": "bogus"})
    client.close()


def test_a_plain_session_shares_the_connections(endpoint: str) -> None:
    client = RequestClient(endpoint)
    assert client.session.get(f"{endpoint}/v1/health").status_code == 200
    client.close()


def test_clients_can_be_pickled(endpoint: str) -> None:
    client = pickle.loads(pickle.dumps(Client(endpoint, timeout=(1, 5), token=TOKEN)))
    assert client.request_client.timeout == (1, 5)
    assert client.request_client.token == TOKEN
    assert client.cluster().get_uuid()
    client.close()
