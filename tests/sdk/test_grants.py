from __future__ import annotations

import base64
import json
import time

import pytest

from aisfs_sdk import grants
from aisfs_sdk.grants import Grants

UNAME = "ais/@#/b/dir/o"


def jwt(ends_in_s: float) -> str:
    claims = json.dumps({"exp": time.time() + ends_in_s}).encode()
    return f"eyJhbGciOiJIUzI1NiJ9.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.c2ln"


def test_without_a_token_reading_needs_no_grant() -> None:
    assert Grants().allows("", "GET", UNAME)
    assert Grants().allows("", "HEAD", UNAME)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_change_is_granted_first_for_a_bucket_may_be_read_only(method: str) -> None:
    given = Grants()
    assert not given.allows("", method, UNAME)
    given.note("", method, UNAME)
    assert given.allows("", method, UNAME)
    assert not given.allows("", method, "ais/@#/b2/dir/o")


@pytest.mark.parametrize(
    "token", ["opaque", pytest.param(jwt(3600), id="jwt"), "a.b.c", "eyJ9.e30.x"]
)
def test_a_grant_is_for_one_token_method_and_bucket(token: str) -> None:
    given = Grants()
    assert not given.allows(token, "GET", UNAME)
    given.note(token, "GET", UNAME)
    assert given.allows(token, "GET", "ais/@#/b/another")
    assert not given.allows(token, "HEAD", UNAME)
    assert not given.allows(token, "GET", "ais/@#/b2/dir/o")
    assert not given.allows(token, "GET", "aws/@#/b/dir/o")
    assert not given.allows(token + "x", "GET", UNAME)


def test_a_grant_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Grants()
    given.note("opaque", "GET", UNAME)
    later = time.monotonic() + grants.GRANT_S + 1
    monkeypatch.setattr("aisfs_sdk.grants.time.monotonic", lambda: later)
    assert not given.allows("opaque", "GET", UNAME)


def test_a_grant_ends_with_its_token() -> None:
    given = Grants()
    given.note(jwt(-1), "GET", UNAME)
    assert not given.allows(jwt(-1), "GET", UNAME)
    token = jwt(2)
    given.note(token, "GET", UNAME)
    assert given.allows(token, "GET", UNAME)
    time.sleep(2.1)
    assert not given.allows(token, "GET", UNAME)


def test_old_grants_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Grants()
    for index in range(3000):
        given.note("opaque", "GET", f"ais/@#/b{index}/o")
    start = time.monotonic()
    monkeypatch.setattr("aisfs_sdk.grants.time.monotonic", lambda: start + 2 * grants.GRANT_S)
    given.note("opaque", "GET", UNAME)
    assert given.allows("opaque", "GET", UNAME)
    assert not given.allows("opaque", "GET", "ais/@#/b2999/o")
