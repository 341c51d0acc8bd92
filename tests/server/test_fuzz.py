"""Requests that nobody would send: the store answers, lives on, and stays in its folder."""

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.server import samples, wire
from tests.support.store import StoreProcess

BUCKET = "fuzz"
METHODS = [b"GET", b"HEAD", b"PUT", b"POST", b"PATCH", b"DELETE", b"OPTIONS"]
FAMILIES = [
    b"objects", b"buckets", b"cluster", b"daemon", b"health", b"etl", b"sort", b"download", b"ml",
    b"reverse", b"xactions", b"tokens", b"s3", b"",
]  # fmt: skip
NAMES = [
    b"x", b"..", b"../../escaped", b"a/../../b", b"/etc/passwd", b"%2e%2e/x", b".", b"a//b", b"a/",
    b"\0", b"\n", b"\xff\xfe", b"\xc3\xa9", b"?x=1", b"#", b"%", b"%zz", b"w" * 5000, b"a\\b",
    b"s.tar", b"moss", b"{0..9}", b"*",
]  # fmt: skip
KEYS = [
    b"provider", b"namespace", b"archpath", b"archregx", b"archmode", b"archmime", b"append_type",
    b"append_handle", b"uploadid", b"part", b"object_to", b"bck_to", b"what", b"props", b"presence",
    b"latest-ver", b"pid", b"utm", b"etl_name", b"etl_args", b"etl_pipeline", b"uuid", b"coloc",
    b"bsumm_remote", b"keep_bck_md", b"cii", b"x", b"u", b"new-custom", b"owt",
]  # fmt: skip
HEADERS = [
    b"Range", b"Ais-Checksum-Type", b"Ais-Checksum-Value", b"Ais-Custom-Md", b"Ais-Pine",
    b"Content-Type", b"Expect", b"Accept", b"Authorization", b"If-None-Match", b"Ais-Blob-Download",
    b"Ais-Node-Id", b"Ais-Node-Url", b"Content-Encoding", b"Transfer-Encoding", b"Connection",
    b"Ais-Atime", b"Ais-Version",
]  # fmt: skip
USUAL_PAIRS = [
    (b"provider", b"ais"), (b"archpath", b"img/1.jpg"), (b"archpath", b"new"),
    (b"archmode", b"prefix"), (b"archregx", b"img"), (b"archmime", b".tar"),
    (b"append_type", b"append"), (b"append_type", b"flush"), (b"presence", b"2"),
    (b"props", b"checksum,etag,version"), (b"object_to", b"ais/@#/fuzz/copy"), (b"part", b"1"),
    (b"bck_to", b"ais/@#/other/"), (b"what", b"status"), (b"what", b"smap"), (b"coloc", b"0"),
    (b"latest-ver", b"true"), (b"bsumm_remote", b"true"), (b"new-custom", b"true"),
]  # fmt: skip
USUAL_HEADERS = [
    (b"Range", b"bytes=1-3"), (b"Range", b"bytes=-2"), (b"Ais-Custom-Md", b"color=red"),
    (b"Ais-Pine", b"1"), (b"Accept", b"application/msgpack"), (b"Ais-Checksum-Type", b"md5"),
    (b"Ais-Checksum-Value", b"abc"), (b"Expect", b"100-continue"),
]  # fmt: skip
USUAL_MESSAGES: list[dict[str, Any]] = [
    {"action": "list", "value": {"uuid": "abcdefghi", "props": "name,size,custom", "pagesize": 2}},
    {"action": "list", "value": {"flags": "8", "prefix": "s"}},
    {"action": "summary-bck", "value": {"prefix": "x"}},
    {"action": "create-bck"}, {"action": "copy-bck", "value": {"prepend": "p/"}},
    {"action": "copy-listrange", "value": {"tobck": {"name": "other"}, "template": "{0..3}"}},
    {"action": "delete-listrange", "value": {"objnames": ["n"]}},
    {"action": "archive", "value": {"archname": "a.tar", "template": "x", "tobck": {"name": "o"}}},
    {"action": "rename-obj", "name": "y"}, {"action": "mpt-upload"}, {"action": "check-lock"},
    {"action": "set-bprops", "value": {"checksum": {"type": "md5"}}},
    {"action": "start", "value": {"Kind": "lru"}}, {"action": "stop", "value": {"Kind": "archive"}},
    {"color": "blue"}, {"in": [{"objname": "x"}, {"objname": "s.tar", "archpath": "top"}]},
    {"kind": "lru"},
]  # fmt: skip
ACTIONS = [
    "list", "create-bck", "destroy-bck", "copy-bck", "move-bck", "summary-bck", "set-bprops",
    "reset-bprops", "delete-listrange", "copy-listrange", "evict-listrange", "prefetch-listrange",
    "archive", "promote", "rename-obj", "mpt-upload", "mpt-complete", "mpt-abort", "start", "stop",
    "make-n-copies", "etl-bck", "etl-listrange", "blob-download", "check-lock", "set-config", "",
]  # fmt: skip
VALUE_KEYS = [
    "prefix", "props", "pagesize", "continuation_token", "uuid", "flags", "start_after", "objnames",
    "template", "tobck", "name", "provider", "namespace", "prepend", "archname", "mime", "in", "ID",
    "Kind", "Bck", "src", "obj", "tid", "objname", "archpath", "length", "start", "ext", "coer",
]  # fmt: skip

words = st.one_of(
    st.sampled_from(NAMES),
    st.binary(max_size=40),
    st.integers(-(2**70), 2**70).map(lambda n: b"%d" % n),
)
texts = words.map(lambda data: data.decode("utf-8", "replace"))
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(VALUE_KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)
odd_messages = st.fixed_dictionaries(
    {"action": st.sampled_from(ACTIONS), "name": texts, "value": values}
)


def _with_odd_value(message: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return messages of which one part, however deep, is something else."""
    inner = message.get("value")
    if isinstance(inner, dict):
        key = st.sampled_from([*inner, *VALUE_KEYS])
        changed = st.builds(lambda name, value: {**inner, name: value}, key, values)
        return changed.map(lambda value: {**message, "value": value})
    return st.builds(
        lambda name, value: {**message, name: value}, st.sampled_from(list(message)), values
    )


usual_messages = st.sampled_from(USUAL_MESSAGES)
messages = st.one_of(usual_messages, usual_messages.flatmap(_with_odd_value), odd_messages).map(
    lambda message: json.dumps(message).encode()
)
bodies = st.one_of(
    messages,
    values.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=300),
    st.just(b"[" * 100_000),
)
ranges = st.builds(
    lambda unit, first, last: b"%s=%s-%s" % (unit, first, last),
    st.sampled_from([b"bytes", b"bits", b""]), words, words,
)  # fmt: skip


def escaped(data: bytes, *, raw: bool) -> bytes:
    """Return a word as it goes into a request line: percent-encoded, or nearly as it is."""
    return data.translate(None, b"\r\n \0") if raw else quote_from_bytes(data, safe=b"/").encode()


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw from the first three times out of four: only a sound frame gets odd parts far inside."""
    return st.integers(0, 3).flatmap(lambda number: odd if number == 3 else usual)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw a whole request as its bytes."""
    method = draw(st.sampled_from(METHODS))
    raw = draw(mostly(st.just(False), st.just(True)))
    family = draw(mostly(st.sampled_from([b"objects", b"buckets"]), st.sampled_from(FAMILIES)))
    parts = [family, draw(mostly(st.just(BUCKET.encode()), words))]
    if family == b"objects":
        parts.append(draw(mostly(st.sampled_from([b"x", b"s.tar", b"new"]), words)))
    path = b"/v1/" + b"/".join(escaped(part, raw=raw) for part in parts)
    usual = st.sampled_from(USUAL_PAIRS)
    pairs = draw(st.lists(mostly(usual, st.tuples(st.sampled_from(KEYS), words)), max_size=3))
    pairs += draw(mostly(st.just([(b"pid", b"p"), (b"utm", b"1")]), st.just([])))
    query = b"&".join(key + b"=" + escaped(value, raw=raw) for key, value in pairs)
    field = st.tuples(st.sampled_from(HEADERS), st.one_of(words, ranges))
    fields = draw(st.lists(mostly(st.sampled_from(USUAL_HEADERS), field), max_size=2))
    body = draw(bodies)
    length = draw(mostly(st.just(len(body)), st.just(0)))
    head = b"%s %s?%s HTTP/1.1\r\nHost: x\r\n" % (method, path, query)
    for name, value in fields:
        head += name + b": " + value.translate(None, b"\r\n") + b"\r\n"
    return head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % length + body[:length]


class Fuzzed:
    """A store under fire, and the folder around it."""

    def __init__(self, store: StoreProcess, around: Path) -> None:
        self.store = store
        self.around = around
        self.pid = store.pid
        hosts = [store.endpoint] + [
            node["public_net"]["direct_url"] for node in store.smap()["tmap"].values()
        ]
        self.hosts = [host.removeprefix("http://") for host in hosts]
        self.outside = self.listing()

    def fill(self) -> None:
        """Make the bucket and the objects that requests name, if they are gone."""
        target = f"/v1/buckets/{BUCKET}?provider=ais"
        wire.follow(self.store.endpoint, "POST", target, [], b'{"action":"create-bck"}')
        for name, body in (("x", b"content"), ("s.tar", samples.tar_of())):
            wire.follow(self.store.endpoint, "PUT", f"/v1/objects/{BUCKET}/{name}", [], body)

    def listing(self) -> set[str]:
        """Return what lies beside the data directory, and its owner's files in it."""
        beside = {path.name for path in self.around.iterdir()}
        return beside | {path.name for path in self.store.data.iterdir()}

    def send(self, request: bytes) -> None:
        """Send a request to a node and look at the answer."""
        name, _, port = self.hosts[len(request) % len(self.hosts)].rpartition(":")
        with socket.create_connection((name, int(port)), timeout=20) as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(request)
            reply = http.client.HTTPResponse(sock, method=request.partition(b" ")[0].decode())
            try:
                reply.begin()
                body = reply.read()
            except (http.client.HTTPException, ConnectionError):
                return  # what is no HTTP may be answered by closing the connection
        told = body + (reply.getheader("Hdr-Error") or "").encode()
        assert reply.status != 500 or b"BAD DATA CHECKSUM" in told, (reply.status, told, request)


@pytest.fixture
def fuzzed(tmp_path: Path) -> Iterator[Fuzzed]:
    with StoreProcess(tmp_path / "around" / "data", targets=1, faults=False) as store:
        yield Fuzzed(store, tmp_path / "around")


@pytest.mark.long
def test_no_request_breaks_the_store_or_leaves_its_folder(
    fuzzed: Fuzzed, rounds: Callable[[int, int], int]
) -> None:
    count = 0
    passwd = Path("/etc/passwd").stat()

    @settings(
        max_examples=rounds(600, 20_000),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(requests())
    def fire(request: bytes) -> None:
        nonlocal count
        if count % 25 == 0:
            fuzzed.fill()
        count += 1
        fuzzed.send(request)

    fire()
    assert fuzzed.store.pid == fuzzed.pid
    assert wire.follow(fuzzed.store.endpoint, "GET", "/v1/health").status == 200
    assert fuzzed.listing() == fuzzed.outside
    assert Path("/etc/passwd").stat().st_mtime_ns == passwd.st_mtime_ns
    assert "Traceback" not in fuzzed.store.stderr()
