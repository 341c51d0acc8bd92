"""Recorded requests about transformers, of AIS 5.0 and 3.17, replayed and compared.

The recorded clusters ran images of the recorder; here `transformer_server.py` stands for them, as
a command. Compared are status and body. Of lists only the recorded entries count, of snapshots that
there is one: clean-up between the cases was not recorded.
"""

import base64
import gzip
import json
import re
import time
from typing import Any

import pytest
import yaml

from tests.server import replay, wire
from tests.server import transformers as etl
from tests.server.differences import ETL_DIFFERENCES
from tests.support.store import StoreProcess

MODES = {"md5", "echo", "peek", "env", "upper"}
STANDARD = {
    **{f"st{status}-etl": ["echo", "--status", str(status)] for status in (201, 204, 302, 400)},
    **{f"st{status}-etl": ["echo", "--status", str(status)] for status in (404, 500, 503)},
    "pull-etl": ["upper"],
    "upper-etl": ["upper"],
    "rev-etl-1": ["reverse"],
    "args-etl-1": ["args"],
    "peek-etl-1": ["peek"],
    "fail-etl": ["echo", "--status", "500"],
    "gone-etl": ["echo", "--status", "404"],
    "slow2-etl": ["echo", "--delay", "60"],
    "slow3-etl": ["echo", "--delay", "60"],
}
QUICK = {"4s": "500ms", "2s": "300ms", "6s": "5s", "1s": "300ms"}
"""Timeouts of the recording that something runs into, and what they are here."""

_NODE = re.compile(r"<TARGET\d>")
_ADDRESS = re.compile(r"<(?:TARGET\d|PROXY)-(?:PUB|DATA)>|<ADDR>")
_FQN = re.compile(r"etl_fqn=[^\"&\\]*")
_NAMES = re.compile(r"etl_(?:name|pipeline)=([\w,-]+)|/v1/etl/([\w-]+)")
_JOB = re.compile(rb"(?:tco-|etl-)?[\w-]{9,11}")
SETTLING = {"crash/list", "abort-xaction/list"}
VARYING = ("Connection", "Accept-Encoding", "Ais-Node-Url")
"""Headers that processes see: of the HTTP library, or by where the objects are."""


def load(era: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the cases of an era; a name that comes again gets a number."""
    cases: list[tuple[str, dict[str, Any]]] = []
    seen: dict[str, int] = {}
    with gzip.open(replay.RECORDED / f"etl-{era}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            name = row["case"]
            seen[name] = seen.get(name, 0) + 1
            cases.append((f"{name}#{seen[name]}" if seen[name] > 1 else name, row))
    return cases


class Replay:
    """Sends the cases in order and notes how answers differ."""

    def __init__(self, store: StoreProcess, era: str) -> None:
        self.store = store
        self.new = era == "5.0"
        self.differences: dict[str, str] = {}
        self._known: set[str] = set()
        self._last = "nojob"
        for bucket in ("src", "odd"):
            store.create_bucket(bucket)
        for number in range(6 if self.new else 4):
            etl.put(store, f"src/dir/o{number}.txt", f"hello {number}\n".encode())
        etl.put(store, "src/top.bin", b"top")
        for name in ("we%20ird%25%C3%A9.txt", "a%20b%3Fc%23d.txt", "pl+us%26.txt", "a%20b.txt"):
            etl.put(store, f"odd/{name}", b"odd name")
        etl.put(store, "odd/%C3%A9.txt", b"odd name")

    def run(self, cases: list[tuple[str, dict[str, Any]]]) -> None:
        """Replay everything."""
        for name, row in cases:
            self.differences[name] = self._play(name, row)

    def _play(self, name: str, row: dict[str, Any]) -> str:
        request = row["request"]
        body = self._body(request.get("body"))
        self._prepare(request, body)
        path = request["path"].replace("<ID>", "nosuchjob" if "unknown" in name else self._last)
        changes = path.startswith(("/v1/etl", "/v1/cluster"))
        headers = [
            *(etl.bearer(self.store) if changes else []),
            *(request.get("headers") or {}).items(),
        ]
        data = None if body is None else body.encode()
        path = path.replace("<TARGET1>", next(iter(self.store.smap()["tmap"])))
        answers = wire.hops(self.store.endpoint, request["method"], path, headers, data)
        answer, hop = answers[-1], row["hops"][-1]
        recorded = hop.get("body") or ""
        if _JOB.fullmatch(answer.body) and answer.status == 200:
            self._last = answer.body.decode()
            if recorded == "<JOB>" and "stop-during" not in name:
                wire.wait_for_job(self.store.endpoint, self._last)
        if answer.status != hop["status"]:
            return f"status {hop['status']} != {answer.status} {answer.body[:300]!r}"
        if self.new and name in SETTLING:
            return self._settled(path, recorded)
        text = answer.body.decode("utf-8", "replace")
        if name == "crash/list" and not self.new:
            # A pod is started again; our process is not, and is listed until its end is noticed.
            gone = [each for each in json.loads(recorded) if each["id"] != "dying-etl"]
            return self._compare(recorded, text) and self._compare(json.dumps(gone), text)
        return self._compare(recorded, text)

    def _settled(self, path: str, recorded: str) -> str:
        """Compare a list until it is right: the end of a process is noticed a moment after it."""
        deadline = time.monotonic() + 20
        while True:
            text = etl.ask(self.store, "GET", path).body.decode()
            difference = self._compare(recorded, text)
            if not difference or time.monotonic() > deadline:
                return difference

    def _prepare(self, request: dict[str, Any], body: str | None) -> None:
        """Make what unrecorded requests made: transformers, and an empty destination."""
        found = [name for pair in _NAMES.findall(request["path"]) for name in pair]
        value: dict[str, Any] = {}
        if body and '"action"' in body:
            value = json.loads(body).get("value") or {}
            found += [str(value.get("id", "")), *value.get("pipeline", [])]
        if request["method"] == "PUT" and request["path"] == "/v1/etl" and body:
            found = []
            self._known.update(re.findall(r'"(?:name|id)":"([\w-]+)"', body))
        for name in ",".join(found).split(","):
            if name in STANDARD and name not in self._known:
                self._known.add(name)
                comm = "hpull://" if name == "pull-etl" else "hpush://"
                answer = self._init(name, STANDARD[name], comm)
                assert answer.status == 200, answer
        if "bck_to=ais%2F%40%23%2Fdst" in request["path"]:
            destroy = {"action": "destroy-bck"}
            etl.ask(self.store, "DELETE", "/v1/buckets/dst?provider=ais", destroy)
        if "object_to=" in request["path"]:
            create = {"action": "create-bck"}
            etl.ask(self.store, "POST", "/v1/buckets/dst?provider=ais", create)

    def _init(self, name: str, words: list[str], comm: str) -> wire.Answer:
        if self.new:
            message = etl.command_message(name, *words, communication=comm, obj_timeout="60s")
        else:
            command = ["python", str(etl.SERVER), *words, "--port=8000"]
            message = {"id": name, "timeout": "20s", "communication": comm}
            message["spec"] = etl.pod(command)
        return etl.ask(self.store, "PUT", "/v1/etl", message)

    def _body(self, text: str | None) -> str | None:
        """Return a request's body with images replaced by commands, and ids by real ones."""
        if text is None:
            return None
        try:
            message = json.loads(text)
        except json.JSONDecodeError:
            return text
        if isinstance(message.get("runtime"), dict):
            runtime = message["runtime"]
            command = _command(runtime.get("image", ""), runtime.get("command") or [])
            if command:
                runtime["command"] = command
        if message.get("spec"):
            message["spec"] = _with_command(message["spec"])
        for key in ("init_timeout", "obj_timeout", "timeout"):
            if message.get(key) in QUICK:
                message[key] = QUICK[message[key]]
        changed = json.dumps(message, separators=(",", ":"))
        return re.sub(r"(?:etl-|tco-)?<ID>", self._last, changed)

    def _compare(self, recorded: str, text: str) -> str:
        expected = _ADDRESS.sub("<CLIENT>", _NODE.sub("<TARGET>", recorded))
        expected = expected.replace("<NANOS>", "1").replace("etl-<ID>", "<JOB>")
        expected = re.sub(r'"<(?:CPU|MEM)>"', "1", expected.replace("<ID>", "<JOB>"))
        expected = expected.replace("<SECRET>", "<HANDLE>")
        if expected.startswith('{"<TARGET>":'):
            return "" if any(json.loads(text).values()) else "no snapshot"
        expected, text = _FQN.sub("etl_fqn=F", expected), _FQN.sub("etl_fqn=F", text)
        try:
            left, right = json.loads(expected), json.loads(text)
        except json.JSONDecodeError:
            return replay.body_differs({"text": expected}, text.encode())
        return _values_differ(left, right)


def _command(image: str, words: list[str]) -> list[str] | None:
    mode = image.rpartition(":")[2]
    if not image.startswith("local/transformer") or mode not in MODES:
        return None
    words = ["0.3" if word == "3" else word for word in words]
    return ["python", str(etl.SERVER), mode, "--port", "8000", *words]


def _with_command(spec: str) -> str:
    try:
        pod = yaml.safe_load(base64.b64decode(spec))
        container = pod["spec"]["containers"][0]
    except (yaml.YAMLError, KeyError, TypeError):
        return spec
    command = _command(container["image"], container.get("command") or [])
    if not command:
        return spec
    port = str((container.get("ports") or [{}])[0].get("containerPort"))
    container["command"] = [port if word == "8000" else word for word in command]
    return base64.b64encode(yaml.safe_dump(pod).encode()).decode()


def _values_differ(expected: Any, actual: Any) -> str:
    if isinstance(expected, list) and isinstance(actual, list):
        return _lists_differ(expected, actual)
    if not isinstance(expected, dict) or not isinstance(actual, dict):
        return replay.value_differs(expected, actual)
    if "entries" in expected:
        names = [
            [(entry["name"], entry["size"]) for entry in value.get("entries") or []]
            for value in (expected, actual)
        ]
        return "" if names[0] == names[1] else f"{names[0]} != {names[1]}"
    if "AIS_TARGET_URL" in expected:
        for key in ("HOSTNAME", "PORT"):
            expected.pop(key, None)
        actual = {key: value for key, value in actual.items() if key in expected}
    for value in (expected, actual):
        _drop_what_varies(value)
    return replay.value_differs(expected, actual)


def _lists_differ(expected: list[Any], actual: list[Any]) -> str:
    """Compare what is listed of the recorded transformers, but for counts and order."""
    if expected and "id" not in expected[0]:
        for item in (*expected, *actual):
            if "cpu" in item:
                item.update(cpu=1, mem=1, target_id="any")
        return replay.value_differs(expected, actual)
    counts = dict.fromkeys(("obj_count", "in_bytes", "out_bytes"), 0)
    ours = {item["id"]: {**item, **counts} for item in actual}
    pairs = [({**item, **counts}, ours.get(item["id"])) for item in expected]
    return next(filter(None, (replay.value_differs(*pair) for pair in pairs)), "")


def _drop_what_varies(value: dict[str, Any]) -> None:
    inner = value.get("init_msg", value)
    for key in ("runtime", "spec", "command", "init_timeout", "obj_timeout", "timeout"):
        inner.pop(key, None)  # what stands for the images
    for key in VARYING:
        value.get("headers", {}).pop(key, None)
    value.pop("end_time", None)
    if "err" in value:  # how many there are is a matter of who runs beside whom
        value["err"] = re.sub(r" \(and \d+ more errors?\)", "", value["err"])
    if "obj_errors" in value:
        value["obj_errors"] = value["obj_errors"][:1]
        value["obj_errors"][0]["obj_name"] = "any"


CASES = {era: load(era) for era in ("5.0", "3.17")}
NOT_BUILT = [(name, row) for name, row in CASES["5.0"] if name.startswith("not-built/")]
REPLAYED = {
    era: [(name, row) for name, row in cases if not name.startswith("not-built/")]
    for era, cases in CASES.items()
}


@pytest.fixture(scope="module")
def replayed() -> dict[str, dict[str, str]]:
    found = {}
    for era, cases in REPLAYED.items():
        with StoreProcess(extra=("--allow-etl", "--compat", era)) as store:
            replaying = Replay(store, era)
            replaying.run(cases)
            found[era] = replaying.differences
    return found


@pytest.mark.parametrize(
    ("era", "case"), [(era, name) for era, cases in REPLAYED.items() for name, _ in cases]
)
def test_answer_is_as_recorded(era: str, case: str, replayed: dict[str, dict[str, str]]) -> None:
    if case in ETL_DIFFERENCES[era]:
        assert replayed[era][case], f"{case} no longer differs: take it out of the table"
    else:
        assert not replayed[era][case]


def test_table_of_differences_names_recorded_cases() -> None:
    for era, cases in REPLAYED.items():
        assert {name for name, _ in cases} >= set(ETL_DIFFERENCES[era])


def test_a_store_without_etl_answers_as_a_cluster_built_without() -> None:
    with StoreProcess() as store:
        store.create_bucket("src")
        for name, row in NOT_BUILT:
            request, recorded = row["request"], row["hops"][-1]
            body = request.get("body")
            data = None if body is None else body.encode()
            answer = wire.follow(store.endpoint, request["method"], request["path"], [], data)
            expected, actual = json.loads(recorded["body"]), json.loads(answer.body)
            assert (answer.status, actual["tcode"]) == (recorded["status"], expected["tcode"]), name
