"""The shapes of requests that real clusters were recorded answering.

A shape is what a request says besides names and numbers: method, path without names, keys of the
query, and of a message its action and the keys of its value. Keys whose value says nothing (null,
"", 0, false, {}) are left out on both sides: clients differ in whether they send them.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

RECORDED = Path(__file__).parents[1] / "server" / "recorded"
SETS = {
    "3.17": ("objects-3.17", "jobs-3.17", "etl-3.17"),
    "5.0": ("objects-5.0", "jobs-5.0", "storage-5.0", "etl-5.0"),
}

Shape = tuple[str, str, tuple[str, ...], str]

_IDENTITY = {"provider", "namespace", "bck"}
"""Of which bucket: a cluster takes the default where a request does not say."""
_ROUTING = {"pid", "utm"}


def shape(method: str, target: str, body: bytes | str | None) -> Shape:
    """Return the shape of a request."""
    parts = urlsplit(target)
    keys = {key for key, value in parse_qsl(parts.query) if value}
    return method, _path(parts.path), tuple(sorted(keys - _IDENTITY - _ROUTING)), _message(body)


def _path(path: str) -> str:
    words = path.strip("/").split("/")
    if words[:2] == ["v1", "objects"]:
        return "/v1/objects/*"
    verbs = {"start", "stop", "logs", "abort", "etl", "ml"}
    return "/" + "/".join(
        word if index < 2 or word in verbs else "*" for index, word in enumerate(words)
    )


def _message(body: bytes | str | None) -> str:
    if not body:
        return ""
    try:
        message = json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return "content"
    if not isinstance(message, dict):
        return "content"
    if "action" in message:
        value = message.get("value")
        inner = _keys(value) if isinstance(value, dict) else "" if value in _NOTHING else "value"
        return f"{message['action']}({inner})"
    return f"({_keys(message)})"


_NOTHING: tuple[Any, ...] = (None, "", 0, False, "0")


def _keys(message: dict[str, Any]) -> str:
    said = {
        key for key, value in message.items()
        if value not in _NOTHING and value not in ({}, [])
    }  # fmt: skip
    return ",".join(sorted(said))


@cache
def recorded(era: str) -> frozenset[Shape]:
    """Return the shapes of all requests that a real cluster of an era answered with a success."""
    found = set()
    for name in SETS[era]:
        with gzip.open(RECORDED / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            for line in file:
                case = json.loads(line)
                asked, hops = case["request"], case["hops"]
                if not hops or not 200 <= hops[-1]["status"] < 300:
                    continue
                body = asked.get("body")
                if isinstance(body, dict):
                    body = body.get("text", "x")
                found.add(shape(asked["method"], asked["path"], body))
    return frozenset(found)
