"""Replays what a real AIS 3.17 answered about jobs, storage and its nodes.

Like `storage_replay.py`, whose set-ups it shares as far as they are the same.
"""

import io
import json
import re
import tarfile
import zipfile
from typing import Any

from tests.server import storage_replay
from tests.server.storage_replay import Look, Setup, StorageReplay

SECTIONS = {
    "what", "reverse", "log", "health", "path", "method", "msg", "metrics", "config", "stats",
    "start", "status", "status_all", "running_all", "snaps", "idle", "stop", "rename", "copybck",
    "select", "reuse", "copyobjs", "delete", "evict", "prefetch", "evictbck", "archive", "promote",
    "mirror", "ec", "action", "member",
}  # fmt: skip
NAMES = (
    "at@2", "br{ace", "dir/a", "dir/sub/b", "dirx", "plain",
    *(f"n-{number}" for number in range(12)), *(f"s-{number:02d}.bin" for number in range(12)),
)  # fmt: skip
_IDS = re.compile(r"(x-[a-z-]+)\[[\w-]{9,10}\]")
_CLOCK = re.compile(r"\d\d:\d\d:\d\d\.\d+")
_SOURCE = re.compile(r" \(\w+\.go, #N\)")
_NUMBER = re.compile(r"\(0x[0-9a-f]+\)")
_COMPARED = {"count", "names", "left", "members", "text"}
_ANY_NAME = re.compile(r"<|t?aisfs\d|paisfs\d|/")
_SHOWN_NAMES = 14
"""Names that the recording keeps of a longer list."""


def load_rows() -> list[dict[str, Any]]:
    """Return the recorded rows of the sections that are compared."""
    return storage_replay.load_rows("jobs-3.17", SECTIONS)


class JobReplay(StorageReplay):
    """Plays the rows in order against a store that answers like 3.17."""

    def rows(self) -> list[dict[str, Any]]:
        """Return what is to be played."""
        return load_rows()

    def setups(self) -> list[Setup]:
        """Return what is made before which case."""
        return SETUPS

    def look(self, case: str) -> Look | None:
        """Return what finds out the facts of a case."""
        if case.startswith("select."):
            return _selected(case.split(".")[1:-1])
        if case.startswith("archive."):
            return _members(case.removesuffix(".got"))
        return FACTS.get(case)

    def facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return what of recorded facts is compared: not times, nor what targets did."""
        compared = {key: value for key, value in facts.items() if key in _COMPARED}
        if compared.get("members"):
            compared["members"] = sorted(compared["members"])
        return compared

    def endpoint(self, row: dict[str, Any]) -> str:
        """Return the node that a request goes to."""
        if "node" not in row["request"]:
            return self.store.endpoint
        node = next(iter(self.store.smap()["tmap"].values()))
        return str(node["public_net"]["direct_url"])

    def shapes(self, text: str) -> str:
        """Return a recorded text with the placeholders of the other recording."""
        text = _NUMBER.sub("(0x<BID>)", _SOURCE.sub("", text))
        text = text.replace("(cnt=3)", "(cnt=<NS>)").replace("start.rebalance>", "g1>")
        text = text.replace("<JOB g1>", "<REBALANCE>")
        return storage_replay.shapes(_CLOCK.sub("<SOURCE>", _IDS.sub(r"\1[<JOB>]", text)))

    def body_differs(self, case: str, recorded: str, text: str) -> str:
        """Return how a body differs from the recorded one; figures are compared by their form."""
        if case.startswith("status_all"):
            recorded = recorded.replace("1700000000000000000", '"<NS>"')
        if not case.startswith(("what.", "reverse.ok", "config.get")):
            return super().body_differs(case, recorded, text)
        try:
            expected, actual = json.loads(recorded), json.loads(text)
        except json.JSONDecodeError:
            return super().body_differs(case, recorded, text)
        if "status" in expected and "message" in expected:
            return super().body_differs(case, recorded, text)
        left, right = _form(expected), _form(actual)
        return "" if left == right else f"{left} != {right}"


def _form(value: Any) -> Any:
    """Return keys and types of a JSON value; of names and counters only that there are some."""
    if isinstance(value, dict):
        named = {"*" if _ANY_NAME.match(key) else key: item for key, item in value.items()}
        return {key: key if key == "tracker" else _form(item) for key, item in named.items()}
    if isinstance(value, list):
        return "list"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _selected(words: list[str]) -> Look:
    """Return the count and the first names of a selection's copy; bucket: see the requests."""

    def look(play: StorageReplay) -> dict[str, Any]:
        names = play.names(f"pj-to-{''.join(words)}")
        return {"count": len(names), "names": names[:_SHOWN_NAMES]}

    return look


def _members(case: str) -> Look:
    """Return the members of the archive that a case has made, sorted; empty if it made none."""
    row = next(row for row in load_rows() if row["case"] == case)
    name: str = json.loads(row["request"]["body"])["value"]["archname"]

    def look(play: StorageReplay) -> dict[str, Any]:
        answer = play.send("GET", f"/v1/objects/pj-arto/{name}?provider=ais")
        if answer.status == 404:
            return {"members": []}
        file = io.BytesIO(answer.body)
        if name.endswith(".zip"):
            return {"members": sorted(zipfile.ZipFile(file).namelist())}
        return {"members": sorted(tarfile.open(fileobj=file).getnames())}

    return look


def left(play: StorageReplay) -> dict[str, Any]:
    """Return how many objects a deletion left."""
    return {"left": len(play.names("pj-m"))}


def reused(play: StorageReplay) -> dict[str, Any]:
    """Return what copies of single objects made."""
    return {"names": play.names("pj-to")}


def fill_many(play: StorageReplay) -> None:
    """Make the bucket of the selections anew."""
    play.send("DELETE", "/v1/buckets/pj-m?provider=ais", '{"action":"destroy-bck"}')
    play.make("pj-m")
    for name in NAMES:  # sizes as in the recorded counters
        play.put("pj-m", name, "x" * 50)


def fill_first(play: StorageReplay) -> None:
    """Make the bucket of the questions about jobs."""
    play.make("pj-a")
    for number in range(10):
        play.put("pj-a", f"o{number}", "x" * 1000)


DELETIONS = (
    "list", "listmissing", "range", "rangemissing", "prefix", "emptylist", "neither", "star",
    "novalue",
)  # fmt: skip


def _shards(play: StorageReplay) -> None:
    play.make("pj-arto")
    play.make("pj-ar")
    for number in range(4):
        play.put("pj-ar", f"d/s{number}.txt", f"content {number} " * 40)


SETUPS: list[Setup] = [
    ("start.lru", fill_first),
    *(pair for pair in storage_replay.SETUPS if pair[0] in {"rename", "copybck", "mirror"}),
    ("select.step", fill_many),
    *((f"delete.{case}", fill_many) for case in DELETIONS),
    ("evict.aisbck", fill_many),
    ("archive.make.tar", _shards),
]
FACTS: dict[str, Look] = {
    "rename.names": storage_replay.FACTS["rename.names"],
    **{
        f"copybck.{case}": storage_replay.FACTS["copybck.names"]
        for case in ("names", "prefix.names", "ext.names")
    },
    **{f"delete.{case}.left": left for case in DELETIONS},
    "evictbck.aisbck.left": left,
    **{f"reuse.{case}.got": reused for case in ("first", "prepend", "dry", "missing", "after")},
    "promote.keep.content": storage_replay.FACTS["promote.keep.content"],
    "promote.ovw.content": storage_replay.FACTS["promote.ovw.content"],
}
