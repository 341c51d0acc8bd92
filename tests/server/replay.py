"""Replays recorded requests against a store and tells how its answers differ.

Knows the set-up that the recording left out, and what of an answer is worth comparing: status,
headers by name and value, body. JSON is compared by value, placeholders by shape. The words of a
JSON decoder (after `err: ` of "failed to unmarshal") are its own and compared by the unknown field
they name, if any.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from tests.server import samples, wire
from tests.support.store import StoreProcess

RECORDED = Path(__file__).parent / "recorded"
SECTIONS = {
    "general", "bucket", "redirect", "object", "range", "cond", "checksum", "version", "custom",
    "list", "append", "mpt", "rename", "copy", "name", "direct", "arch", "archput", "moss",
    "remote", "blob",
}  # fmt: skip
"""What is compared of each release."""


_SHAPES = {
    "NS": r"\d+", "LEN": r"\d+", "BYTES": r"\d+", "BID": r"\w+", "CLIENT": r"[\d.]+:\d+",
    "PROXY": r"\w+", "TARGET": r"\w+", "PROXY-HOST": r"[\w.]+:\d+", "TARGET-HOST": r"[\w.]+:\d+",
    "UTM": r"\w+", "JOB": r"[\w-]{9,14}", "UPLOAD": r"[\w-]{9}", "HANDLE": r".+", "WORK": r"[\w-]+",
    "BOUNDARY": r"\w+", "REBALANCE": r"g\d+", "REMOTE": r"\w+", "REMOTE-NODE": r"\w+",
    "RFC822": r"\d\d \w{3} \d\d \d\d:\d\d UTC", "TIME": r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT",
    "MTIME": r"\w+", "MPATH": r"[^,\]]+", "SOURCE": r".*", "PROPS": r"\{.*\}", "SMAP": r"\{.*\}\s*",
    "CKSUM": r"[0-9a-f]{16}",
}  # fmt: skip
_PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9-]*)>")
_REPEATED = re.compile(r"\{\{([^{}*]*)\*(\d+)\}\}")
_DISK = re.compile(r"mp\[[^\]]*\]")
_SMAP_VERSION = re.compile(r"Smap v\d+")
_DECODER_WORDS = re.compile(
    r"(failed to unmarshal [^,]*, err: |\(msg=actm\[set-bprops\]\): ).*", re.DOTALL
)
_DECODER_PLACE = re.compile(r", error found in #\d+ byte of .*", re.DOTALL)
_UNKNOWN_FIELD = re.compile(r"found unknown field: \w+")
_WHOLE_REDIRECTS = ("redirect/", "moss/redirect")
_JOB_ID = re.compile(rb"[\w-]{9,14}")
_LISTING = re.compile(r'"uuid": "([A-Za-z0-9_-]{9})"')
_LISTED_AS = re.compile(rb'"uuid":"([A-Za-z0-9_-]+)","continuation_token"')
_IGNORED = {"date", "x-content-type-options", "transfer-encoding", "connection"}


@dataclass
class Case:
    """One recorded request with its answers."""

    name: str
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes | None
    hops: list[dict[str, Any]]


def expand(text: str) -> str:
    """Write out `{{w*8000}}`, from the inside out."""
    while (replaced := _REPEATED.sub(lambda m: m[1] * int(m[2]), text)) != text:
        text = replaced
    return text


def load_cases(era: str) -> Iterator[Case]:
    """Yield the cases of the sections that this store is compared in, of one release."""
    with gzip.open(RECORDED / f"objects-{era}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["case"].split("/")[0] in SECTIONS:
                request = row["request"]
                yield Case(
                    row["case"],
                    request["method"],
                    expand(request["path"]),
                    [(name, expand(value)) for name, value in request.get("headers", [])],
                    _body_bytes(request.get("body")),
                    row["hops"],
                )


def _body_bytes(body: dict[str, Any] | None) -> bytes | None:
    if body is None:
        return None
    if "base64" in body:
        return base64.b64decode(body["base64"])
    return expand(body["text"]).encode("utf-8", "surrogateescape")


# ---- comparing ----------------------------------------------------------------------------------


def text_differs(expected: str, actual: str) -> bool:
    """Tell whether a text is not of the recorded shape."""
    expected, actual = (_DISK.sub("mp[]", text) for text in (expand(expected), actual))
    expected, actual = (_SMAP_VERSION.sub("Smap v1", text) for text in (expected, actual))
    expected, actual = (_DECODER_WORDS.sub(_keep_field, text) for text in (expected, actual))
    expected = _DECODER_PLACE.sub("", expected)
    expected = expected.replace("x-get-batch-<JOB>-", "x-get-batch[gbt-<JOB>]-")
    pattern, position = "", 0
    for match in _PLACEHOLDER.finditer(expected):
        pattern += re.escape(expected[position : match.start()])
        pattern += _SHAPES.get(match[1], re.escape(match[0]))
        position = match.end()
    pattern += re.escape(expected[position:])
    return re.fullmatch(pattern, actual, re.DOTALL) is None


def _keep_field(match: re.Match[str]) -> str:
    found = _UNKNOWN_FIELD.search(match[0])
    return match[1] + (found[0] if found else "")


def value_differs(expected: Any, actual: Any, path: str = "") -> str:
    """Return where two JSON values differ, empty if they do not."""
    if isinstance(expected, str) and isinstance(actual, str):
        if path.endswith(("custom-md", ".m")):
            expected, actual = _sorted_words(expected), _sorted_words(actual)
        return f"{path}: {expected!r} != {actual!r}" if text_differs(expected, actual) else ""
    if isinstance(expected, dict) and isinstance(actual, dict):
        if expected.keys() != actual.keys():
            return f"{path}: keys {sorted(expected)} != {sorted(actual)}"
        pairs = [(expected[key], actual[key], f"{path}.{key}") for key in expected]
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return f"{path}: {len(expected)} != {len(actual)} items: {expected} != {actual}"
        pairs = [
            (*both, f"{path}[{n}]") for n, both in enumerate(zip(expected, actual, strict=True))
        ]
    elif isinstance(expected, str) and expected.startswith("<"):
        return "" if not text_differs(expected, str(actual)) else f"{path}: {expected} != {actual}"
    else:
        return "" if expected == actual else f"{path}: {expected!r} != {actual!r}"
    return next(filter(None, (value_differs(*pair) for pair in pairs)), "")


def _sorted_words(text: str) -> str:
    kind, _, rest = text.partition("[")
    return f"{kind}[" + " ".join(sorted(rest.removesuffix("]").split(" ")))


def _hash_differs(expected: str, actual: bytes) -> str:
    return "" if hashlib.sha256(actual).hexdigest() == expected else "other bytes"


def _bytes_differ(expected: str, actual: bytes) -> str:
    if base64.b64decode(expected).startswith(samples.LZ4_MAGIC):
        return samples.lz4_differs(expected, actual)
    return "" if base64.b64decode(expected) == actual else "other bytes"


def _msgpack_differs(expected: Any, actual: bytes) -> str:
    return value_differs(expected, msgspec.msgpack.decode(actual))


def _multipart_differs(expected: list[dict[str, Any]], actual: bytes) -> str:
    """Compare the two parts of a batch, the metadata without what depends on the target."""
    boundary, _, rest = actual.partition(b"\r\n")
    metadata, archive = rest.split(boundary)[:2]
    shown = metadata.partition(b"\r\n\r\n")[2].decode()
    recorded = expected[0]["body"]["text"]
    problem = value_differs(*(_batch_items(text) for text in (recorded, shown)))
    head, _, body = archive.partition(b"\r\n\r\n")
    if b'name="archive"; filename="get-batch[gbt-' not in head:
        return f"part {head!r}"
    members = samples.members_differ(expected[1]["body"]["members"], body[:-2])
    return problem or members


def _batch_items(text: str) -> Any:
    """Return metadata with the names that a target puts together, without providers."""
    value = json.loads(text)
    for item in value["out"]:
        item.pop("provider")
        item["objname"] = "/".join(filter(None, (item["objname"], item.pop("archpath", ""))))
    return value["out"]


_FORMS: dict[str, Callable[[Any, bytes], str]] = {
    "sha256": _hash_differs,
    "members": samples.members_differ,
    "multipart": _multipart_differs,
    "msgpack": _msgpack_differs,
    "base64": _bytes_differ,
}


def body_differs(expected: dict[str, Any] | None, actual: bytes) -> str:
    """Return how a body differs from the recorded one."""
    if expected is None:
        return f"unexpected body {actual[:200]!r}" if actual else ""
    for form, compare in _FORMS.items():
        if form in expected:
            return compare(expected[form], actual)
    text, recorded = actual.decode("utf-8", "backslashreplace"), expected["text"]
    if recorded.startswith(("{", "[")) and not recorded.startswith("{{"):
        try:
            return value_differs(json.loads(recorded), json.loads(text))
        except json.JSONDecodeError:
            pass
    return f"body {recorded[:200]!r} != {text[:200]!r}" if text_differs(recorded, text) else ""


def headers_differ(expected: list[list[str]], actual: list[tuple[str, str]]) -> str:
    """Return how headers differ by name or value."""
    wanted, found = _grouped((name, value) for name, value in expected), _grouped(iter(actual))
    for name in (wanted.keys() | found.keys()) - _IGNORED:
        left, right = wanted.get(name, []), found.get(name, [])
        if name == "content-length" and ("<LEN>" in left or not left or not right):
            continue
        if name == "hdr-error" and left and right:
            if problem := value_differs(json.loads(left[0]), json.loads(right[0]), name):
                return problem
        elif len(left) != len(right) or any(map(text_differs, left, right)):
            return f"header {name}: {left} != {right}"
    return ""


def _grouped(pairs: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, value in pairs:
        groups.setdefault(name.lower(), []).append(value.strip())
    return {name: sorted(values) for name, values in groups.items()}


# ---- replaying ----------------------------------------------------------------------------------


class Replay:
    """Sends the cases in order and collects how each answer differs (empty: not at all).

    `era` is the release that the store answers like; `origin` another store, to be attached as
    the remote cluster `rem`.
    """

    def __init__(self, store: StoreProcess, era: str, origin: StoreProcess) -> None:
        self.store = store
        self.era = era
        self.origin = origin
        self.differences: dict[str, str] = {}
        self._seen: dict[str, str] = {"REMOTE": origin.smap()["uuid"]}
        smap = store.smap()
        self._targets: dict[str, str] = {
            node["daemon_id"]: node["public_net"]["direct_url"].removeprefix("http://")
            for node in smap["tmap"].values()
        }

    def run(self) -> None:
        """Replay everything."""
        self.prepare("start")
        for case in load_cases(self.era):
            self.prepare(case.name)
            self.differences[case.name] = self._play(case)

    def prepare(self, name: str) -> None:
        """Make what an unrecorded request made before this case."""
        for start, setup in SETUPS:
            if name == start or (start.endswith("*") and re.fullmatch(start[:-1], name)):
                setup(self)

    # Requests of the set-ups.

    def attach_origin(self) -> None:
        """Fill a bucket of the other store and attach that."""
        self.origin.create_bucket("po-rem")
        for name in ("r1", "r2", "dir/r3"):
            self.put_at_origin(f"po-rem/{name}", name * 4)
        self.put_at_origin("po-rem/big", b"B" * (9 << 20))
        headers = [
            ("Ais-Remote-Ais-Alias", "rem"), ("Ais-Remote-Ais-Url", self.origin.endpoint),
        ]  # fmt: skip
        target = "/v1/cluster/attach?what=remote"
        assert wire.follow(self.store.endpoint, "PUT", target, headers).status == 200

    def change_origin(self) -> None:
        """Change one object at the origin and delete another."""
        self.put_at_origin("po-rem/r1", "changed remotely")
        wire.follow(self.origin.endpoint, "DELETE", "/v1/objects/po-rem/r2?provider=ais")

    def put_at_origin(self, path: str, body: str | bytes) -> None:
        """Store an object at the origin."""
        self._put(self.origin, path, body)

    def put(self, path: str, body: str | bytes, *custom: str) -> None:
        """Store an object of a bucket and check that it worked."""
        self._put(self.store, path, body, *custom)

    def _put(self, store: StoreProcess, path: str, body: str | bytes, *custom: str) -> None:
        headers = [("Ais-Custom-Md", pair) for pair in custom]
        target = f"/v1/objects/{path}?provider=ais"
        data = body if isinstance(body, bytes) else body.encode()
        answer = wire.follow(store.endpoint, "PUT", target, headers, data)
        assert answer.status == 200, (path, answer)

    def delete(self, path: str) -> None:
        """Delete an object, if it is there."""
        wire.follow(self.store.endpoint, "DELETE", f"/v1/objects/{path}?provider=ais")

    def bucket(self, name: str, props: dict[str, Any] | None = None) -> None:
        """Make an empty bucket, destroying one of that name."""
        self.drop_bucket(name)
        target = f"/v1/buckets/{name}?provider=ais"
        message = json.dumps({"action": "create-bck", "value": props}).encode()
        answer = wire.follow(self.store.endpoint, "POST", target, [], message)
        assert answer.status == 200, (name, answer)

    def drop_bucket(self, name: str) -> None:
        """Destroy a bucket, if it is there."""
        target = f"/v1/buckets/{name}?provider=ais"
        wire.follow(self.store.endpoint, "DELETE", target, [], b'{"action":"destroy-bck"}')

    # One case.

    def _play(self, case: Case) -> str:
        host = self._host(case)
        target = self._fill(case.path)
        body = None if case.body is None else self._fill(case.body.decode()).encode()
        answers: list[wire.Answer] = []
        for number, hop in enumerate(case.hops):
            if number:
                if answers[-1].status not in {301, 307}:
                    return f"hop {number}: no redirect but {answers[-1]}"
                host, target = wire.split_url(answers[-1].get("Location"))
            answer = wire.send(host, case.method, target, case.headers, body)
            answers.append(answer)
            if problem := self._compare(case, number, hop, answer):
                return f"hop {number}: {problem}"
        self._remember(case, answers[-1])
        if (
            case.path.startswith(("/v1/buckets/", "/v1/objects/po-rem?"))
            and answers[-1].status == 200
        ):
            self._wait_for_job(answers[-1])
        return ""

    def _wait_for_job(self, answer: wire.Answer) -> None:
        """Wait until the job that an answer names has ended; the recording did so, too."""
        if answer.get("Content-Type").startswith("text/plain") and _JOB_ID.fullmatch(answer.body):
            wire.wait_for_job(self.store.endpoint, answer.body.decode())

    def _host(self, case: Case) -> str:
        gateway = self.store.endpoint.removeprefix("http://")
        if case.name in {"list/direct-target", "moss/direct"}:
            return next(iter(self._targets.values()))
        if not case.name.startswith("direct/"):
            return gateway
        target = "/v1/objects/po-a/direct?provider=ais"
        owner, _ = wire.split_url(wire.send(gateway, "GET", target).get("Location"))
        if case.name.startswith("direct/wrong"):
            return next(host for host in self._targets.values() if host != owner)
        return owner

    def _fill(self, text: str) -> str:
        """Replace placeholders of a request by what was seen last."""
        fixed = {"TARGET": next(iter(self._targets)), "PROXY": "p1", "UTM": "1", "SMAPVER": "1"}
        fixed["TIME"] = "Wed, 21 Oct 2015 07:28:00 GMT"
        text = _PLACEHOLDER.sub(lambda m: self._seen.get(m[1], fixed.get(m[1], m[0])), text)
        return _LISTING.sub(lambda m: f'"uuid": "{self._seen.get("LISTING", m[1])}"', text)

    def _compare(self, case: Case, number: int, hop: dict[str, Any], answer: wire.Answer) -> str:
        if hop["status"] != answer.status:
            return f"status {hop['status']} != {answer.status} {answer.body[:300]!r}"
        if hop.get("short", False) != answer.short:
            return f"body {'ends early' if answer.short else 'is whole'}"
        expected = hop.get("headers", [])
        headers = list(answer.headers)
        if hop["status"] in {301, 307} and not case.name.startswith(_WHOLE_REDIRECTS):
            if number == 0 and not expected:
                expected = [["Location", _usual_location(case.path)]]
            keep = {"location"}
            headers = [pair for pair in headers if pair[0].lower() in keep]
            return headers_differ(expected, headers)
        if case.name.startswith("archput/"):
            expected = [_any_checksum(pair) for pair in expected]
        if problem := headers_differ(expected, headers):
            return problem
        return body_differs(hop.get("body"), answer.body)

    def _remember(self, case: Case, answer: wire.Answer) -> None:
        if handle := answer.get("Ais-Append-Handle"):
            self._seen["HANDLE"] = handle.replace("|", "%7C")
        if job := answer.get("Ais-Xaction-Id"):
            self._seen["JOB"] = job
        if answer.status == 202 and answer.body:
            self._seen["JOB"] = answer.body.decode()
        if listing := _LISTED_AS.search(answer.body):
            self._seen["LISTING"] = listing[1].decode()
        if case.name in {"mpt/create", "mpt/create2", "mpt/create3"}:
            self._seen["UPLOAD"] = answer.body.decode()


def _any_checksum(pair: list[str]) -> list[str]:
    """Return a header whose value does not matter if it is a checksum's: members bear the time."""
    name, value = pair
    return [name, "<CKSUM>" if name == "Ais-Checksum-Value" else value]


def _usual_location(path: str) -> str:
    separator = "&" if "?" in path else "?"
    return f"http://<TARGET-HOST>{path}{separator}pid=<PROXY>&utm=<UTM>"


# ---- what the recording left out ----------------------------------------------------------------

LISTED = {
    name: unquote(name)
    for name in (
        "Zcap", "a-x", "a.txt", "a/b", "a/b2", "a/c/d", "a/c/e", "ab/z", "b", "dir/obj-1",
        "dir/obj-2", "dir2/x", "sp%20ace/x%20y", "top.txt", "%C3%A9/%C3%BC",
    )
}  # fmt: skip


def _fill_list(replay: Replay) -> None:
    for name, body in LISTED.items():
        if replay.era == "5.0" or "%20" not in name:  # which a redirect of 3.17 breaks
            replay.put(f"po-l/{name}", body)
    replay.put("po-l/cust", "x", "color=red")


def _fill_b1(replay: Replay) -> None:
    replay.put("po-b1/a", "1" * 10)
    replay.put("po-b1/d/b", "2" * 30)


def _fill_shards(replay: Replay) -> None:
    replay.bucket("po-ar")
    raw = samples.tar_of()
    for name in ("s.tar", "noext", "dir/s2.tar"):
        replay.put(f"po-ar/{name}", raw)
    for name in ("s.tgz", "s.tar.gz"):
        replay.put(f"po-ar/{name}", gzip.compress(raw, mtime=0))
    replay.put("po-ar/s.zip", samples.zip_of())
    replay.put("po-ar/plain.txt", "not an archive")
    replay.put("po-ar/bad.tar", "x" * 2000)


def _fill_batch(replay: Replay) -> None:
    _fill_shards(replay)
    bodies = {"a.txt": "hello world", "dir/c.txt": "ccc", "zero": ""}
    for name, body in bodies.items():
        replay.put(f"po-ar/{name}", body)
    replay.put("po-ar/b.bin", bytes(range(256)))
    replay.bucket("po-ar2")
    replay.put("po-ar2/o.txt", "other")


def _drop_odd_buckets(replay: Replay) -> None:
    """Destroy what was made to try names."""
    for name in (".abc", "b" * 64, "b" * 65, "b" * 255, "PO-Upper", "po_under", "b", "po-b3"):
        replay.drop_bucket(name)


def _checksum_bucket(kind: str) -> Callable[[Replay], None]:
    return lambda replay: replay.bucket("po-ct", {"checksum": {"type": kind}})


SETUPS: list[tuple[str, Callable[[Replay], None]]] = [
    ("start", lambda replay: replay.bucket("po-a")),
    ("start", lambda replay: replay.put("po-a/base", "hello world")),
    ("general/head-bucket-provider-none", lambda replay: replay.put("po-a/base", "hello world")),
    ("bucket/head", _fill_b1),
    ("bucket/list-value-empty", _drop_odd_buckets),
    ("redirect/get", lambda replay: replay.put("po-a/red.txt", "hello world")),
    ("object/vdir-HEAD", lambda replay: replay.put("po-a/vdir/x", "x")),
    ("range/bytes-empty", lambda replay: replay.put("po-a/poison", "hello world")),
    (
        "range/checksummed",
        lambda replay: replay.bucket(
            "po-rr", {"checksum": {"type": "md5", "enable_read_range": True}}
        ),
    ),
    ("range/checksummed", lambda replay: replay.put("po-rr/o", "hello world")),
    *(
        (f"checksum/bucket-{kind}-put", _checksum_bucket(kind))
        for kind in ("none", "md5", "crc32c", "sha512", "xxhash", "xxhash2")
    ),
    ("version/off-put", lambda replay: replay.bucket("po-ct", {"versioning": {"enabled": False}})),
    ("object/delete-unknown-action", lambda replay: replay.put("po-a/base", "hello world")),
    ("custom/too-long-patch", lambda replay: replay.put("po-a/cmlimy", "x")),
    ("list/empty-json", lambda replay: replay.bucket("po-l")),
    ("list/default", _fill_list),
    ("list/emptied-dir-recursive", lambda replay: replay.put("po-l/gone/x", "x")),
    ("list/emptied-dir-recursive", lambda replay: replay.delete("po-l/gone/x")),
    ("append/first-rec", lambda replay: replay.bucket("po-w")),
    ("append/keeps-custom", lambda replay: replay.put("po-w/log4", "old", "k=v")),
    ("rename/ok", lambda replay: replay.put("po-w/src", "hello world", "k=v")),
    ("rename/onto-existing", lambda replay: replay.put("po-w/exists", "other")),
    ("copy/ok", lambda replay: replay.put("po-w/csrc", "hello world", "k=v")),
    ("name/space-put", lambda replay: replay.bucket("po-n")),
    ("arch/s.tar-member", _fill_shards),
    ("arch/list-archdir", lambda replay: replay.put("po-ar/dir/s2.tar", samples.tar_of())),
    ("moss/stream", _fill_batch),
    ("remote/head-bucket", Replay.attach_origin),
    ("remote/get-stale", Replay.change_origin),
    ("direct/owner-bare-GET", lambda replay: replay.put("po-a/direct", "direct")),
    ("direct/.*-GET*", lambda replay: replay.put("po-a/direct", "direct")),
    ("direct/.*-DELETE*", lambda replay: replay.put("po-a/direct", "direct")),
]
