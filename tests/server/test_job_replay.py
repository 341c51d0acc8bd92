"""Recorded requests about jobs of a real AIS 5.0, replayed and compared by status and body."""

import gzip
import json
import re
from typing import Any

import pytest

from tests.server import replay, wire
from tests.server.differences import JOB_DIFFERENCES
from tests.support.store import StoreProcess

_JOB = re.compile(r"<JOB ([^>]+)>")
_NODES = re.compile(r"<(PROXY|TARGET)\d-ID>")
_IDS = re.compile(r"(x[a]?-[\w-]*)\[[\w-]{9}\]")
_SOME_TIME = 1_700_000_000_000_000_000


def _load() -> list[dict[str, Any]]:
    with gzip.open(replay.RECORDED / "jobs-5.0.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


CASES = _load()


def _shapes(text: str) -> str:
    """Return a recorded text with the placeholders of the other recording."""
    text = _IDS.sub(r"\1[<JOB>]", _NODES.sub(r"<\1>", text.replace("<ADDR>", "<CLIENT>")))
    text = text.replace("<JOB start.rebalance>", "<REBALANCE>")
    return _JOB.sub("<JOB>", text)


def _differs(recorded: str, text: str) -> str:
    try:
        expected, actual = json.loads(_shapes(recorded)), json.loads(text)
    except json.JSONDecodeError:
        return replay.body_differs({"text": _shapes(recorded)}, text.encode())
    if isinstance(expected, dict) and expected.get("end_time") == _SOME_TIME:
        expected["end_time"] = actual.get("end_time") or _SOME_TIME
    if isinstance(expected, dict) and any("<TARGET>" in key for key in expected):
        return "" if any(actual.values()) else "no snapshot"
    if isinstance(expected, dict) and expected.get("url_path", "").startswith("/v1/xactions"):
        for key in ("caller", "node", "method", "url_path"):  # who refused, within the cluster
            expected.pop(key)
            actual.pop(key)
    return replay.value_differs(expected, actual)


@pytest.fixture(scope="module")
def replayed() -> dict[str, str]:
    with StoreProcess() as store:
        store.create_bucket("pj-a")
        jobs: dict[str, str] = {}
        found: dict[str, str] = {}
        for row in CASES:
            found[row["case"]] = _play(store, row, jobs)
    return found


def _play(store: StoreProcess, row: dict[str, Any], jobs: dict[str, str]) -> str:
    request, hop = row["request"], row["hops"][-1]
    target = next(iter(store.smap()["tmap"]))
    body = (request.get("body") or "").replace("<TARGET1-ID>", target)
    body = _JOB.sub(lambda match: jobs.get(match[1], "nojob"), body)
    answer = wire.follow(store.endpoint, request["method"], request["path"], [], body.encode())
    if answer.status != hop["status"]:
        return f"status {hop['status']} != {answer.status} {answer.body!r}"
    recorded = hop.get("body")
    if recorded and _JOB.fullmatch(recorded):
        jobs[row["case"]] = answer.body.decode()
        wire.wait_for_job(store.endpoint, answer.body.decode())
    return _differs(recorded, answer.body.decode()) if recorded else ""


@pytest.mark.parametrize("case", [row["case"] for row in CASES])
def test_answer_is_as_recorded(case: str, replayed: dict[str, str]) -> None:
    if case in JOB_DIFFERENCES:
        assert replayed[case], f"{case} no longer differs: take it out of the table"
    else:
        assert not replayed[case]
