"""Listings against a plain model: complete, in order, whatever the page size."""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.server import wire
from tests.support.store import StoreProcess

PART = st.text(st.sampled_from("ab-./0é\U0001f600"), min_size=1, max_size=4)
NAMES = st.sets(PART, max_size=12)


def is_valid(name: str) -> bool:
    parts = name.split("/")
    return not name.endswith("/") and "." not in parts and ".." not in parts


def listed(store: StoreProcess, bucket: str, **value: Any) -> list[str]:
    """Return all names of a listing, page by page, checking that pages are full."""
    names: list[str] = []
    token = ""
    while True:
        page = list_page(store, bucket, **value, continuation_token=token)
        names += [entry["name"] for entry in page["entries"] or []]
        token = page["continuation_token"]
        if not token:
            return names
        assert len(page["entries"]) == value["pagesize"]


def list_page(store: StoreProcess, bucket: str, **value: Any) -> dict[str, Any]:
    message = json.dumps({"action": "list", "value": value}).encode()
    answer = wire.follow(store.endpoint, "GET", f"/v1/buckets/{bucket}", [], message)
    assert answer.status == 200, answer
    page: dict[str, Any] = json.loads(answer.body)
    return page


def model(names: set[str], prefix: str, after: str, *, recursive: bool) -> list[str]:
    """Return what a listing must contain, from the plain set of names."""
    found = {name for name in names if name.startswith(prefix)}
    if not recursive:
        found = {level_name(name, prefix) for name in found}
    ordered = sorted(found, key=str.encode)
    return [name for name in ordered if name.encode() > after.encode()]


def level_name(name: str, prefix: str) -> str:
    slash = name.find("/", len(prefix))
    return name if slash < 0 else name[: slash + 1]


@dataclass
class Filled:
    """A bucket whose objects are exactly `names`."""

    store: StoreProcess
    bucket: str
    names: set[str]

    def become(self, names: set[str]) -> None:
        for name in self.names - names:
            self._send("DELETE", name)
        for name in names - self.names:
            self._send("PUT", name)
        self.names = names

    def _send(self, method: str, name: str) -> None:
        target = f"/v1/objects/{self.bucket}/{quote(name)}?provider=ais"
        body = name.encode() if method == "PUT" else None
        assert wire.follow(self.store.endpoint, method, target, [], body).status == 200


@pytest.fixture(scope="module")
def filled(store: StoreProcess) -> Filled:
    store.create_bucket("model")
    return Filled(store, "model", set())


@given(
    names=NAMES.map(lambda names: {name for name in names if is_valid(name)}),
    prefix=st.sampled_from(["", "a", "a/", "a/b", "b", "0", "é"]),
    after=st.one_of(st.just(""), PART),
    pagesize=st.integers(1, 5),
    recursive=st.booleans(),
)
@example({"a/b", "a.b", "a-b", "a0"}, "", "", 1, False)
@example({"a/b", "a.b", "a-b", "a0"}, "a", "a/", 2, False)
@example({"//b", "/a"}, "", "", 1, False)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_listing_is_what_a_model_says(
    filled: Filled, names: set[str], prefix: str, after: str, pagesize: int, recursive: bool
) -> None:
    filled.become(names)
    flags = "0" if recursive else "2048"
    if any(part in {".", ".."} for part in prefix.split("/")):
        return
    found = listed(
        filled.store, "model", prefix=prefix, start_after=after, pagesize=pagesize, flags=flags
    )
    assert found == model(names, prefix, after, recursive=recursive)


@pytest.fixture(scope="module")
def siblings(store: StoreProcess) -> set[str]:
    """Names that continue a directory's name with a byte below the slash: AIS loses some."""
    names = {f"n{i}{rest}" for i in range(60) for rest in ("/f", ".txt", "-x")}
    store.create_bucket("siblings")
    Filled(store, "siblings", set()).become(names)
    return names


@pytest.mark.parametrize("pagesize", [1, 7, 50, 1000])
@pytest.mark.parametrize("flags", ["0", "2048"])
def test_no_name_is_lost_at_a_border(
    store: StoreProcess, siblings: set[str], pagesize: int, flags: str
) -> None:
    found = listed(store, "siblings", pagesize=pagesize, flags=flags)
    assert found == model(siblings, "", "", recursive=flags == "0")


def test_long_page_from_a_thread_is_the_same(store: StoreProcess, siblings: set[str]) -> None:
    short = list_page(store, "siblings", pagesize=1000, props="name,size,checksum,atime")
    long = list_page(store, "siblings", pagesize=2000, props="name,size,checksum,atime")
    assert short["entries"] == long["entries"]


def test_names_that_are_no_utf8_are_listed_as_they_are(store: StoreProcess, bucket: str) -> None:
    for name in ("plain", "a%FFb", "z%22%5C%0A"):
        target = f"/v1/objects/{bucket}/{name}?provider=ais"
        assert wire.follow(store.endpoint, "PUT", target, [], b"x").status == 200
    message = b'{"action":"list","value":{"props":"name,size"}}'
    target = f"/v1/buckets/{bucket}"
    text = wire.follow(store.endpoint, "GET", target, [], message).body
    assert b'"name":"a\xffb"' in text
    entries = json.loads(text.decode("utf-8", "surrogateescape"))["entries"]
    assert [entry["name"] for entry in entries] == ["a\udcffb", "plain", 'z"\\\n']
    accept = [("Accept", "application/msgpack")]
    packed = wire.follow(store.endpoint, "GET", target, accept, message).body
    assert b"\xa3a\xffb" in packed
    sound = msgspec.msgpack.decode(packed.replace(b"\xff", b"_"))
    assert [entry["n"] for entry in sound["Entries"]] == ["a_b", "plain", 'z"\\\n']


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("2006-01-02T15:04:05.000000000Z07:00", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"),
        ("Mon, 02 Jan 2006 15:04:05 MST", r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d UTC"),
        ("", r"\d\d \w{3} \d\d \d\d:\d\d UTC"),
    ],
)
def test_access_times_follow_the_layout(
    store: StoreProcess, siblings: set[str], layout: str, expected: str
) -> None:
    value = {"pagesize": 1, "props": "name,atime", "time_format": layout}
    (entry,) = list_page(store, "siblings", **value)["entries"]
    assert re.fullmatch(expected, entry["atime"])
