"""Replays recorded requests about jobs, remote clusters, promotion and configuration.

Like `replay.py`, of the other recording: a store, and a second one as the remote cluster. Rows with
`facts` say what several requests together showed (names in a listing, what was left): a function
of FACTS finds the same out here.
"""

import gzip
import json
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from tests.server import replay, wire
from tests.support.store import StoreProcess

SECTIONS = (
    "path", "method", "msg", "reverse", "config", "rename", "copybck", "evict", "prefetch",
    "evictbck", "promote", "attach", "remote", "detach", "rem", "mirror", "rechunk", "action",
    "member",
)  # fmt: skip
_JOB = re.compile(r"<JOB ([^>]+)>")
_IDS = re.compile(r"(x[a]?-[\w-]*)\[[\w-]{9}\]")
_NODES = re.compile(r"<(REMOTE-)?(PROXY|TARGET)\d-ID>")
PROMOTE_ROOT = "/var/lib/ais/promote"
_SOME_TIME = 1_700_000_000_000_000_000
_REMOTE = "namespace=%40<REMOTE>"
_CHECKED_HEADERS = ("Hdr-Error", "Ais-Present", "Content-Range", "Ais-Mirror-Copies")


def load_rows(
    name: str = "storage-5.0", wanted: Collection[str] = SECTIONS
) -> list[dict[str, Any]]:
    """Return the recorded rows of the sections that are compared."""
    with gzip.open(replay.RECORDED / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row for row in rows if section_of(row) in wanted]


def section_of(row: dict[str, Any]) -> str:
    """Return the section of a recorded row."""
    name: str = row["case"].split(".")[0]
    return name.partition("?")[0]


def shapes(text: str) -> str:
    """Return a recorded text with the placeholders of the other recording."""
    text = _NODES.sub(lambda match: "<REMOTE-NODE>" if match[1] else f"<{match[2]}>", text)
    text = text.replace("<REMOTE-UUID>", "<REMOTE>").replace("<ADDR>", "<CLIENT>")
    text = text.replace("probe-rem", "rem").replace("<LIST>", "<JOB>")
    return _JOB.sub("<JOB>", _IDS.sub(r"\1[<JOB>]", text))


class StorageReplay:
    """Plays the rows in order; `differences` says of each case how it differs (empty: not)."""

    def __init__(self, store: StoreProcess, origin: StoreProcess, root: Path) -> None:
        self.store = store
        self.root = root
        self.origin = origin
        self.uuid: str = origin.smap()["uuid"]
        self.differences: dict[str, str] = {}
        self._jobs: dict[str, str] = {}

    def run(self) -> None:
        """Play everything."""
        for row in self.rows():
            case = row["case"]
            refilled = case not in {"promote.unknownkey", "promote.nobck", "promote.withobj"}
            if (
                refilled
                and case.startswith("promote.")
                and row.get("request", {}).get("method") == "POST"
            ):
                _fill_sources(self, case)
            for start, setup in self.setups():
                if start == case:
                    setup(self)
            facts = row.get("facts")
            self.differences[case] = self._play(row) if facts is None else self._check(case, facts)

    # ---- what another recording has otherwise ------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """Return what is to be played."""
        return load_rows()

    def setups(self) -> "list[Setup]":
        """Return what is made before which case."""
        return SETUPS

    def look(self, case: str) -> "Look | None":
        """Return what finds out the facts of a case."""
        return FACTS.get(case)

    def facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return what of recorded facts is compared."""
        return facts

    def endpoint(self, row: dict[str, Any]) -> str:
        """Return the node that a request goes to."""
        return self.origin.endpoint if row["case"] in AT_ORIGIN else self.store.endpoint

    def shapes(self, text: str) -> str:
        """Return a recorded text with the placeholders of the other recording."""
        return shapes(text)

    # ---- set-ups and looks ------------------------------------------------------------------

    def send(
        self, method: str, target: str, body: str = "", *, origin: bool = False
    ) -> wire.Answer:
        """Send a request to the store or to its origin."""
        endpoint = (self.origin if origin else self.store).endpoint
        return wire.follow(endpoint, method, self._fill(target), [], body.encode())

    def names(self, bucket: str, query: str = "provider=ais", flags: int = 0) -> list[str]:
        """List a bucket of the store."""
        message = json.dumps({"action": "list", "value": {"props": "name", "flags": str(flags)}})
        answer = self.send("GET", f"/v1/buckets/{bucket}?{query}", message)
        return [entry["name"] for entry in json.loads(answer.body)["entries"] or []]

    def fill(self, bucket: str, count: int, body: str = "x") -> None:
        """Make objects in a bucket of the store."""
        for number in range(count):
            self.put(bucket, f"o{number}", body)

    def make(self, bucket: str, *names: str) -> None:
        """Make a bucket of the store with some objects."""
        self.store.create_bucket(bucket)
        for name in names:  # sizes as in the recorded counters
            self.put(bucket, name, "x" * SIZES.get(name.partition("/")[0], 500))

    def put(self, bucket: str, name: str, body: str = "x") -> None:
        """Make an object in a bucket of the store."""
        self.send("PUT", f"/v1/objects/{bucket}/{name}?provider=ais", body)

    def cached(self) -> dict[str, Any]:
        """Return what the store holds of the remote bucket."""
        return {"names": self.names("pj-r", f"provider=ais&{_REMOTE}", 1)}

    def origin_status(self, name: str) -> int:
        """Return the status of a HEAD at the origin."""
        target = f"/v1/objects/pj-r/{name}?provider=ais"
        return self.send("HEAD", target, origin=True).status

    def put_at_origin(self, name: str, body: str) -> None:
        """Store an object at the origin."""
        target = f"/v1/objects/pj-r/{name}?provider=ais"
        assert self.send("PUT", target, body, origin=True).status == 200

    def delete_at_origin(self, name: str) -> None:
        """Delete an object at the origin."""
        self.send("DELETE", f"/v1/objects/pj-r/{name}?provider=ais", origin=True)

    # ---- one row ----------------------------------------------------------------------------

    def _fill(self, text: str) -> str:
        target = next(iter(self.store.smap()["tmap"]))
        text = text.replace(PROMOTE_ROOT, str(self.root)).replace("<DIR>", str(self.root.parent))
        text = text.replace("<REMOTE-UUID>", self.uuid).replace("<REMOTE>", self.uuid)
        text = text.replace("probe-rem", "rem").replace("<TARGET1-ID>", target)
        text = text.replace("http://<REMOTE-PROXY1>", self.origin.endpoint)
        return _JOB.sub(lambda match: self._jobs.get(match[1], "nojob"), text)

    def _play(self, row: dict[str, Any]) -> str:
        request, hop = row["request"], row["hops"][-1]
        headers = [(name, self._fill(value)) for name, value in request["headers"].items()]
        body = self._fill(request.get("body") or "").encode()
        if row["case"].startswith("promote."):
            token = (self.store.data / "token").read_text().strip()
            headers.append(("Authorization", f"Bearer {token}"))
        answers = wire.hops(
            self.endpoint(row), request["method"], self._fill(request["path"]), headers, body
        )
        answer = answers[-1]
        if [one["status"] for one in row["hops"]] != [one.status for one in answers]:
            return f"status {hop['status']} != {answer.status} {answer.body!r}"
        recorded = hop.get("body")
        if recorded and _JOB.fullmatch(recorded):
            self._jobs[row["case"]] = answer.body.decode()
            wire.wait_for_job(self.store.endpoint, answer.body.decode())
        for name in _CHECKED_HEADERS:
            if found := self._header_differs(hop.get("headers") or {}, answer, name):
                return found
        if not recorded or row["case"] in ONLY_STATUS:
            return ""
        return self.body_differs(row["case"], recorded, answer.body.decode())

    def _header_differs(self, expected: dict[str, Any], answer: wire.Answer, name: str) -> str:
        left, right = self.shapes(str(expected.get(name, ""))), answer.get(name)
        if name == "Hdr-Error" and left and right:
            return replay.value_differs(json.loads(left), json.loads(right), name)
        return f"{name}: {left} != {right}" if replay.text_differs(left, right) else ""

    def body_differs(self, case: str, recorded: str, text: str) -> str:
        """Return how a body differs from the recorded one."""
        recorded = self.shapes(recorded).replace(PROMOTE_ROOT, str(self.root))
        recorded = recorded.replace("<DIR>", str(self.root.parent))
        try:
            expected, actual = json.loads(recorded), json.loads(text)
        except json.JSONDecodeError:
            return replay.body_differs({"text": recorded}, text.encode())
        if isinstance(expected, dict) and expected.get("end_time") == _SOME_TIME:
            expected["end_time"] = actual.get("end_time") or _SOME_TIME
        if isinstance(expected, dict) and any("<TARGET>" in key for key in expected):
            return _snapshots_differ(row_of(recorded), actual)
        _forget_places(expected, actual)
        return replay.value_differs(expected, actual)

    def _check(self, case: str, facts: dict[str, Any]) -> str:
        if case.startswith("promote.") and case.endswith(".got"):
            return self._promoted_differs(facts)
        look = self.look(case)
        if look is None:
            return f"nobody looks for {facts}"
        found = look(self)
        facts = self.facts(facts)
        return "" if found == facts else f"{facts} != {found}"

    def _promoted_differs(self, facts: dict[str, Any]) -> str:
        """Compare the names that were promoted and how many sources are left."""
        names: Any = self.names("pj-p")
        if isinstance(facts["names"], int):
            names = len(names)
        if names != facts["names"]:
            return f"names {facts['names']} != {names}"
        left = facts.get("source_left")
        if type(left) is not int:
            return ""
        found = sum(not path.is_dir() for path in (self.root / "pj/src").rglob("*"))
        return "" if found == left or not names else f"left {left} != {found}"


def row_of(recorded: str) -> list[dict[str, Any]]:
    """Return the snapshots of all targets; JSON objects with equal keys would hide each other."""
    pairs: list[tuple[str, Any]] = json.loads(recorded, object_pairs_hook=list)
    return [dict(snap) for _, snaps in pairs for snap in snaps]


def _snapshots_differ(expected: list[dict[str, Any]], actual: dict[str, Any]) -> str:
    """Compare the sums over all targets; which of them did the work is not said."""
    snaps = [snap for found in actual.values() for snap in found]
    for name in ("loc-objs", "loc-bytes"):
        wanted = sum(int(dict(snap["stats"])[name]) for snap in expected)
        found = sum(int(snap["stats"][name]) for snap in snaps)
        if wanted != found:
            return f"{name}: {wanted} != {found}"
    kinds = {str(snap["kind"]) for snap in expected} ^ {snap["kind"] for snap in snaps}
    return f"kinds {kinds}" if kinds else ""


def _forget_places(expected: Any, actual: Any) -> None:
    """Take out what depends on how nodes of a cluster talk to each other."""
    if not isinstance(expected, dict) or not isinstance(actual, dict):
        return
    if str(expected.get("url_path", "")).startswith(("/v1/txn", "/v1/xactions")):
        for key in ("caller", "node", "method", "url_path"):
            expected.pop(key, None)
            actual.pop(key, None)
    for fields in (expected, actual):
        attached = sorted(fields.get("a") or [], key=lambda item: str(item["alias"]))
        for item in attached:
            item["smap"] = bool(item["smap"])
            item.pop("url")
        if attached:
            fields["a"] = attached


# ---- what the recording left out ----------------------------------------------------------------

ONLY_STATUS = {"rem.list.buckets.all", "rem.summary", "mirror.again", "rename.list.now"}
"""Bodies that hold what else there was in the recorded cluster."""

SIZES = {"k": 1, "img": 900}

AT_ORIGIN = {"rem.create.direct"}


def _fill_sources(play: StorageReplay, case: str) -> None:
    """Make the bucket and the files of a promotion anew."""
    play.send("DELETE", "/v1/buckets/pj-p?provider=ais", '{"action":"destroy-bck"}')
    play.store.create_bucket("pj-p")
    shutil.rmtree(play.root / "pj", ignore_errors=True)
    source = play.root / "pj/src"
    (source / "sub/deep").mkdir(parents=True)
    (source / "emptydir").mkdir()
    names = [".hidden", "sub/g.txt", "sub/deep/h.txt", *(f"f{number}.txt" for number in range(5))]
    if case.startswith("promote.large"):
        names += [f"many-{number}" for number in range(35)]
    for name in names:  # sizes as in the recorded counters
        body = f"file {name[1]}" if name.startswith(("f", "many")) else "hh"
        (source / name).write_text("s" * 17 if name.startswith("sub") else body)
    (source / "link").symlink_to(source / "f0.txt")
    if case in {"promote.keep", "promote.ovw"}:
        play.send("PUT", "/v1/objects/pj-p/f0.txt?provider=ais", "OLD")


def _promoted_text(play: StorageReplay) -> dict[str, Any]:
    return {"text": play.send("GET", "/v1/objects/pj-p/f0.txt?provider=ais").body.decode()}


def _fill_remote(play: StorageReplay) -> None:
    for number in range(6):
        play.put_at_origin(f"r{number}", f"remote {number}" * 50)


def _attach(play: StorageReplay) -> None:
    headers = [("Ais-Remote-Ais-Alias", "rem"), ("Ais-Remote-Ais-Url", play.origin.endpoint)]
    wire.follow(play.store.endpoint, "PUT", "/v1/cluster/attach?what=remote", headers)
    detach = [("Ais-Remote-Ais-Alias", "pj-bad")]
    wire.follow(play.store.endpoint, "PUT", "/v1/cluster/detach?what=remote", detach)


def _new_bucket(name: str) -> Callable[[StorageReplay], None]:
    return lambda play: play.store.create_bucket(name)


def _fill_big(play: StorageReplay) -> None:
    play.send("DELETE", "/v1/buckets/pj-s?provider=ais", '{"action":"destroy-bck"}')
    play.store.create_bucket("pj-s")
    play.put("pj-s", "big")


Setup = tuple[str, Callable[[StorageReplay], None]]
Look = Callable[[StorageReplay], dict[str, Any]]

SETUPS: list[Setup] = [
    ("rename", lambda play: play.make("pj-old", "k")),
    ("rename", lambda play: play.make("pj-taken")),
    ("copybck", lambda play: play.make("pj-src", "d", "img/a.jpg", "img/b.jpg", "txt/c.txt")),
    ("copybck", lambda play: play.make("pj-dst")),
    ("evict.aisbck", _new_bucket("pj-m")),
    ("evictbck.aisbck", lambda play: play.fill("pj-m", 31)),
    ("rem.create", _attach),
    ("rem.head.uuid", _fill_remote),
    ("rem.get.stale", lambda play: play.put_at_origin("r0", "changed")),
    ("rem.get.deleted", lambda play: play.delete_at_origin("r1")),
    ("rem.prefetch.list", lambda play: play.put_at_origin("r1", "remote 1" * 50)),
    ("mirror", _new_bucket("pj-s")),
    ("mirror", lambda play: play.fill("pj-s", 6, "x" * 3000)),
    ("rechunk", _fill_big),
    ("rem.delete.list", lambda play: play.delete_at_origin("r4")),
]

FACTS: dict[str, Look] = {
    "rename.names": lambda play: {"names": play.names("pj-new")},
    **{
        f"copybck.{case}": lambda play: {"names": play.names("pj-dst")}
        for case in ("names", "prefix.names", "ext.names")
    },
    "evictbck.aisbck.left": lambda play: {"left": len(play.names("pj-m"))},
    "promote.keep.content": _promoted_text,
    "promote.ovw.content": _promoted_text,
    "rem.put.origin": lambda play: {
        "text": play.send("GET", "/v1/objects/pj-r/new?provider=ais", origin=True).body.decode()
    },
    "rem.delete.origin": lambda play: {"status": play.origin_status("new")},
    **{
        f"rem.{case}": StorageReplay.cached
        for case in (
            "prefetch.list.cached", "evict.list.cached", "prefetch.all.cached",
            "evict.range.cached", "evictbck.keep.cached",
        )
    },
    "rem.evict.object.origin": lambda play: {
        "status": play.origin_status("r4"), "cached": play.cached()["names"],
    },
    "rem.evict.object.cached": lambda play: {**play.cached(), "origin": play.origin_status("r4")},
    "rem.delete.list.origin": lambda play: {"status": play.origin_status("r5")},
    "rem.copy.down.names": lambda play: {"names": play.names("pj-l")},
    "rem.copy.up.names": lambda play: {
        "names": play.names("pj-r2", f"provider=ais&{_REMOTE}"),
        "origin": [
            entry["name"]
            for entry in json.loads(
                play.send(
                    "GET", "/v1/buckets/pj-r2?provider=ais", '{"action":"list","value":{}}',
                    origin=True,
                ).body
            )["entries"]
        ],
    },
}  # fmt: skip


def sections(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the sections that the rows are of."""
    yield from dict.fromkeys(map(section_of, rows))
