"""What each documented member sends is what official clients sent to real clusters."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from aisfs_sdk import Client
from tests.sdk import evidence
from tests.sdk.recording import Recorder, record, without_repetitions
from tests.sdk.scene import CALLS
from tests.sdk.servers import Server
from tests.sdk.test_messages import NEW, OLD, phase
from tests.sdk.wire import Reply, Request, Wire, http

Sent = list[dict[str, Any]]
ROWS: dict[tuple[str, str], dict[str, Any]] = {
    (row["member"], row["release"]): row
    for row in map(
        json.loads,
        (Path(__file__).parent / "recorded" / "requests.jsonl").read_text("utf-8").splitlines(),
    )
}

QUESTIONS = {
    ("GET", "/v1/daemon", "node_status"): "which release it is",
    ("GET", "/v1/daemon", "status"): "which release of 2023 it is",
    (
        "GET",
        "/v1/cluster",
        "qryxstats",
    ): "which jobs run, so as to join none",
    ("GET", "/v1/etl", ""): "whether it runs: clusters of 2023 lose one that is started again",
}
"""What ours asks besides, and why."""

DIFFERENT: dict[tuple[str, str], dict[str, str]] = {
    ("Bucket.list_all_objects", ""): {"body.value.pagesize": "fewer requests for large buckets"},
    ("Object.get", ""): {"query.archpath": "sent where one is asked for"},
    ("Object.promote", ""): {"body.value.obj": "a directory ends with / for clusters of now"},
    ("Job.start", ""): {"body.value.Bck.namespace": "left out where there is none"},
    ("Bucket.info", "3.17"): {"query.bsumm_remote": "no such option in 2023"},
    ("Etl.init_spec", "5.0"): {"body.obj_timeout": "no argument for it: the cluster's default"},
}
"""Where ours differs from the recording on purpose: by member and release ("" is both), and why."""


def allowed(member: str, release: str) -> dict[str, str]:
    return DIFFERENT.get((member, release)) or DIFFERENT.get((member, ""), {})


def differences(one: Any, other: Any, place: str = "") -> set[str]:
    """Return the places where two values differ, such as `body.value.prefix`."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return set() if one == other else {place}
    nothing = object()
    return set().union(*(
        differences(one.get(key, nothing), other.get(key, nothing), f"{place}.{key}".lstrip("."))
        for key in one.keys() | other.keys()
    ))  # fmt: skip


def own_questions_left_out(sent: Sent, expected: Sent) -> Sent:
    """Return what was sent without what ours may ask besides."""
    known = [said(one) for one in expected]
    return [
        one
        for one in sent
        if said(one) in known
        or (one["method"], one["path"], one["query"].get("what", "")) not in QUESTIONS
    ]


def said(request: dict[str, Any]) -> dict[str, Any]:
    """Return all of a request but how it was answered."""
    return {name: request[name] for name in ("method", "path", "query", "body")}


def source_of(row: dict[str, Any]) -> str:
    """Return which recording it is, how it was answered, and where ours differs."""
    statuses = ", ".join(str(one["status"]) for one in row["requests"])
    but = "".join(
        f", but {place}: {why}" for place, why in allowed(row["member"], row["release"]).items()
    )
    return f"{row['source']} ({statuses}){but}"


@pytest.mark.parametrize("member", sorted(CALLS))
def test_the_request_is_the_official_client_s(server: Server, member: str) -> None:
    row = ROWS[member, server.release]
    with (
        Recorder(server.endpoint, server.token or "") as recorder,
        evidence.request(member, source_of(row)),
    ):
        sent, _ = record(member, recorder, Client)
        found = own_questions_left_out(sent, row["requests"])
        assert len(found) == len(row["requests"]), found
        facts = form if row["source"].startswith("case") else said
        differing: set[str] = set()
        for one, recorded in zip(found, row["requests"], strict=True):
            differing |= differences(facts(one), facts(recorded))
        assert differing == allowed(member, server.release).keys()


# ---- what needs a cluster that runs transformers or sorts ---------------------------------------


def form(request: dict[str, Any]) -> dict[str, Any]:
    """Return all of a request without names and other choices of the recording."""
    _, version, kind, *rest = request["path"].split("/")
    if rest and kind != "sort":
        rest[0] = "*"
    return {
        "method": request["method"], "path": [version, kind, *rest],
        "query": dict.fromkeys(request["query"]), "body": keys(request["body"]),
    }  # fmt: skip


def keys(body: Any) -> Any:
    """Return what keys there are, at every depth; what is done counts by its name."""
    if isinstance(body, dict):
        return {name: value if name == "action" else keys(value) for name, value in body.items()}
    return [keys(one) for one in body[:1]] if isinstance(body, list) else None


def upper(data: bytes) -> bytes:
    return data.upper()


INFO = http(200, b'{"id":"md5-etl","communication":"hpush://","timeout":"5m","spec":""}')
NO_CODE = http(400, b'{"message":"invalid etl.InitMsg: ETLSpecMsg error: x","status":400}')
SORTED = http(200, json.dumps({"t": phase(True)}).encode())
Case = tuple[Callable[[Client, dict[str, Any]], Any], Reply]
CASES: dict[str, Case] = {
    "Cluster.list_running_etls": (lambda c, _: c.cluster().list_running_etls(), http(200, b"[]")),
    "Etl.init_spec": (
        lambda c, body: c.etl("md5-etl").init_spec(base64.b64decode(body["spec"]).decode()),
        http(200, b"etl-1"),
    ),
    "Etl.init_code": (lambda c, _: c.etl("md5-etl").init_code(upper), http(200, b"etl-1")),
    "Etl.view": (lambda c, _: c.etl("md5-etl").view(), INFO),
    "Etl.start": (lambda c, _: c.etl("md5-etl").start(), http(200, b"[]")),
    "Etl.stop": (lambda c, _: c.etl("md5-etl").stop(), http(200)),
    "Etl.delete": (lambda c, _: c.etl("md5-etl").delete(), http(200, b"[]")),
    "Dsort.start": (lambda c, body: c.dsort().start(body), http(200, b"srt-1")),
    "Dsort.abort": (lambda c, _: c.dsort("srt-1").abort(), http(200)),
    "Dsort.metrics": (lambda c, _: c.dsort("srt-1").metrics(), SORTED),
    "Dsort.get_job_info": (lambda c, _: c.dsort("srt-1").get_job_info(), SORTED),
    "Dsort.wait": (lambda c, _: c.dsort("srt-1").wait(5), SORTED),
}


def taken_apart(request: Request) -> dict[str, Any]:
    parts = urlsplit(request.target)
    return {
        "method": request.method, "path": unquote(parts.path),
        "query": dict(parse_qsl(parts.query, keep_blank_values=True)),
        "body": json.loads(request.body) if request.body else None, "status": 200,
    }  # fmt: skip


@pytest.mark.parametrize("member", sorted(CASES))
def test_the_request_has_the_recorded_form(server: Server, member: str) -> None:
    row = ROWS[member, server.release]
    [recorded] = row["requests"]
    verb, reply = CASES[member]

    def answer(request: Request) -> Reply:
        # Clusters of now take no code: what follows is the start that counts.
        return NO_CODE if new and b'"code"' in request.body else reply

    new = server.release == "5.0"
    with (
        Wire(answer, release=NEW if new else OLD) as wire,
        evidence.request(member, source_of(row)),
    ):
        verb(Client(wire.endpoint), recorded["body"])
        sent = without_repetitions([taken_apart(one) for one in wire.requests])
        if new and member == "Etl.init_code":
            assert "code" in sent.pop(0)["body"]
        [found] = own_questions_left_out(sent, row["requests"])
        if member == "Dsort.start":
            assert found["body"] == recorded["body"]
        assert differences(form(found), form(recorded)) == allowed(member, server.release).keys()


def test_every_request_of_the_table_is_recorded() -> None:
    wanted = {name for name, row in evidence.CHECKLIST.items() if row.request}
    assert wanted == CALLS.keys() | CASES.keys()
    assert ROWS.keys() == {(name, release) for name in wanted for release in ("3.17", "5.0")}
