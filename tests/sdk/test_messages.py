"""What is sent, byte for byte, to clusters of either time."""

import base64
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import cloudpickle
import pytest

from aisfs_sdk import Bucket, Client, Namespace, ObjectRange, errors, etl_templates
from aisfs_sdk.etl import validate_etl_name
from aisfs_sdk.etl_start import seconds
from tests.sdk.wire import Reply, Request, Wire, http

OLD, NEW = b'{"ais_version":"3.17."}', b'{"ais_version":"5.0."}'
SELECTION = {"objnames": ["a"]}
COPY = {"prefix": "", "prepend": "", "dry_run": False, "force": False}
TO = {"name": "to", "provider": "ais"}
JOB = {"ID": "j", "Kind": "", "DaemonID": "", "Bck": None, "Buckets": None}


def sent(
    verb: Callable[[Client, Bucket], Any], release: bytes = OLD, reply: Reply | None = None
) -> list[tuple[str, str, dict[str, str], Any]]:
    """Return method, path, query and body of each request but questions about live jobs."""

    def answer(request: Request) -> Reply:
        if "what=qryxstats" in request.target:
            return http(200, b"{}")
        return reply or http(200, b"jobid")

    with Wire(answer, release=release) as wire:
        client = Client(wire.endpoint)
        verb(client, client.bucket("b"))
        return [_taken_apart(one) for one in wire.requests if "qryxstats" not in one.target]


def _taken_apart(request: Request) -> tuple[str, str, dict[str, str], Any]:
    parts = urlsplit(request.target)
    body = json.loads(request.body) if request.body else None
    return request.method, parts.path, dict(parse_qsl(parts.query)), body


def message(action: str, value: Any = None, name: str = "") -> dict[str, Any]:
    return {"action": action, "name": name, "value": value}


BUCKET_CALLS: list[tuple[Callable[[Client, Bucket], Any], str, str, dict[str, str], Any]] = [
    (lambda c, b: b.create(), "POST", "b", {}, message("create-bck")),
    (lambda c, b: b.delete(), "DELETE", "b", {}, message("destroy-bck")),
    (lambda c, b: b.rename("n"), "POST", "b", {"bck_to": "ais/@#/n/"}, message("move-bck")),
    (lambda c, b: b.set_props({"mirror": {"copies": 2}}), "PATCH", "b", {},
     message("set-bprops", {"mirror": {"copies": 2}})),
    (lambda c, b: b.make_copies(2), "POST", "b", {}, message("make-n-copies", 2)),
    (lambda c, b: b.copy(c.bucket("to")), "POST", "b", {"bck_to": "ais/@#/to/"},
     message("copy-bck", COPY)),
    (lambda c, b: b.copy(c.bucket("to", namespace=Namespace("u", "n")), "p", "q", True, True),
     "POST", "b", {"bck_to": "ais/@u#n/to/"},
     message("copy-bck", {"prefix": "p", "prepend": "q", "dry_run": True, "force": True})),
    (lambda c, b: b.transform("etl-name", c.bucket("to")), "POST", "b",
     {"bck_to": "ais/@#/to/"},
     message("etl-bck", {**COPY, "id": "etl-name", "request_timeout": "5m"})),
    (lambda c, b: b.transform("etl-name", c.bucket("to"), ext={"a": "b"}), "POST", "b",
     {"bck_to": "ais/@#/to/"},
     message("etl-bck", {**COPY, "ext": {"a": "b"}, "id": "etl-name", "request_timeout": "5m"})),
    (lambda c, b: b.make_request("PUT", "x", {"k": 1}), "PUT", "b", {}, message("x", {"k": 1})),
    (lambda c, b: b.objects(["a"]).delete(), "DELETE", "b", {},
     message("delete-listrange", SELECTION)),
    (lambda c, b: b.objects(obj_range=ObjectRange("p", 1, 20, 3, 2, "s")).delete(), "DELETE", "b",
     {}, message("delete-listrange", {"template": "p{001..020..2}s"})),
    (lambda c, b: b.objects(["a"]).copy(c.bucket("to"), "x", True), "POST", "b", {},
     message("copy-listrange", {**SELECTION, **COPY, "prepend": "x", "tobck": TO, "coer": True})),
    (lambda c, b: b.objects(["a"]).transform(c.bucket("to"), "etl-name", "1m"), "POST", "b", {},
     message("etl-listrange", {**SELECTION, **COPY, "tobck": TO, "coer": False,
                               "id": "etl-name", "request_timeout": "1m"})),
    (lambda c, b: b.objects(obj_template="t").archive("x.tar"), "PUT", "b", {},
     message("archive", {"template": "t", "archname": "x.tar", "isbn": False, "aate": False,
                         "coer": False, "tobck": {"name": "b", "provider": "ais"}})),
    (lambda c, b: b.objects(["a"]).archive("x", ".tar", c.bucket("to"), True, True, True), "PUT",
     "b", {}, message("archive", {**SELECTION, "archname": "x", "isbn": True, "aate": True,
                                  "coer": True, "tobck": TO, "mime": ".tar"})),
]  # fmt: skip


@pytest.mark.parametrize("release", [OLD, NEW])
@pytest.mark.parametrize(("verb", "method", "bucket", "query", "body"), BUCKET_CALLS)
def test_buckets_and_groups(
    verb: Callable[[Client, Bucket], Any],
    method: str,
    bucket: str,
    query: dict[str, str],
    body: Any,
    release: bytes,
) -> None:
    expected = (method, f"/v1/buckets/{bucket}", {"provider": "ais", **query}, body)
    assert sent(verb, release) == [expected]


def test_remote_buckets() -> None:
    def verbs(client: Client, bucket: Bucket) -> None:
        cloud = client.bucket("c", "aws")
        cloud.evict()
        cloud.evict(keep_md=True)
        cloud.objects(["a"]).evict()
        assert cloud.objects(["a"]).prefetch() == "jobid"
        attached = client.bucket("r", namespace=Namespace("uuid"))
        attached.evict()

    aws = {"provider": "aws"}
    evict = message("evict-remote-bck")
    assert sent(verbs) == [
        ("DELETE", "/v1/buckets/c", {**aws, "keep_bck_md": "False"}, evict),
        ("DELETE", "/v1/buckets/c", {**aws, "keep_bck_md": "True"}, evict),
        ("DELETE", "/v1/buckets/c", aws, message("evict-listrange", SELECTION)),
        ("POST", "/v1/buckets/c", aws, message("prefetch-listrange", SELECTION)),
        ("DELETE", "/v1/buckets/r",
         {"provider": "ais", "namespace": "@uuid#", "keep_bck_md": "False"}, evict),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "added"),
    [
        (lambda c, b: b.copy(c.bucket("to"), latest=True),
         {"latest-ver": True, "synchronize": False}),
        (lambda c, b: b.copy(c.bucket("to"), sync=True),
         {"latest-ver": False, "synchronize": True}),
        (lambda c, b: b.copy(c.bucket("to"), num_workers=0), {"num-workers": 0}),
        (lambda c, b: b.copy(c.bucket("to"), ext={"a": "b"}), {"ext": {"a": "b"}}),
        (lambda c, b: b.transform("etl-name", c.bucket("to"), etl_pipeline=["second"]),
         {"pipeline": ["second"]}),
        (lambda c, b: b.inspect("etl-name"), {"dry_run": True, "coer": True}),
        (lambda c, b: c.bucket("b", "aws").objects(["a"]).prefetch(latest=True),
         {"latest-ver": True}),
        (lambda c, b: c.bucket("b", "aws").objects(["a"]).prefetch(blob_threshold=1 << 20),
         {"blob-threshold": 1 << 20}),
    ],
)  # fmt: skip
def test_options_that_came_later_are_sent_when_asked_for(
    verb: Callable[[Client, Bucket], Any], added: dict[str, Any]
) -> None:
    [(_, _, _, body)] = sent(verb, NEW)
    assert body["value"].items() >= added.items()
    with Wire(lambda request: http(200, b"jobid"), release=OLD) as wire:
        client = Client(wire.endpoint)
        with pytest.raises(errors.UnsupportedError, match=r"this is AIS 3\.17"):
            verb(client, client.bucket("b"))
        assert wire.requests == []


def test_a_listing_has_all_keys() -> None:
    page = http(200, b'{"entries":null}')
    [(_, _, _, body)] = sent(lambda c, b: b.list_objects(), reply=page)
    assert body == message(
        "list",
        {
            "prefix": "", "pagesize": 0, "uuid": "", "props": "", "continuation_token": "",
            "flags": "0", "target": "",
        },
    )  # fmt: skip


def test_promote() -> None:
    value = {
        "tid": "", "src": "/d", "obj": "o/", "rcr": True, "ovw": False, "dls": False,
        "notshr": False,
    }  # fmt: skip

    def promote(client: Client, bucket: Bucket) -> None:
        headers = bucket.object("o").promote("/d", recursive=True)
        assert headers["Ais-Xaction-Id"] == "jobid"

    query = {"provider": "ais"}
    assert sent(promote) == [("POST", "/v1/objects/b", query, message("promote", value, "/d"))]


# ---- summaries ----------------------------------------------------------------------------------


def answering(*replies: Reply) -> Callable[[Request], Reply]:
    rest = iter(replies)
    return lambda request: next(rest)


def test_a_summary_is_asked_for_until_it_is_there() -> None:
    answer = answering(http(202, b"s1"), http(202, b"s1"), http(200, b'[{"name":"b"}]'))
    with Wire(answer) as wire:
        assert Client(wire.endpoint).bucket("b").summary(prefix="p") == {"name": "b"}
        bodies = [json.loads(request.body) for request in wire.requests]
    value = {"uuid": "", "prefix": "p", "cached": True, "present": True}
    assert bodies[0] == message("summary-bck", value)
    assert bodies[1:] == [message("summary-bck", {**value, "uuid": "s1"})] * 2


@pytest.mark.parametrize("first", [200, 206])
def test_a_summary_has_to_be_begun(first: int) -> None:
    with Wire(lambda request: http(first, b"[]")) as wire:
        with pytest.raises(errors.UnexpectedHTTPStatusCode, match=f"received {first}"):
            Client(wire.endpoint).bucket("b").summary()
        assert len(wire.requests) == 1


def test_info_of_both_times() -> None:
    props, summary = 'Ais-Bucket-Props: {"a":1}', 'Ais-Bucket-Summ: {"name":"b"}'
    answer = answering(http(202, b"", props, "Ais-Xaction-Id: s1"), http(200, b"", props, summary))
    with Wire(answer, release=NEW) as wire:
        found = Client(wire.endpoint).bucket("b").info(2, bsumm_remote=False)
        assert found == ('{"a":1}', {"name": "b"})
        queries = [dict(parse_qsl(urlsplit(request.target).query)) for request in wire.requests]
    asked = {"provider": "ais", "presence": "2", "bsumm_remote": "False"}
    assert queries == [asked, {**asked, "uuid": "s1"}]
    with Wire(lambda request: http(200, b"", props, summary), release=OLD) as wire:
        assert Client(wire.endpoint).bucket("b").info() == ('{"a":1}', {"name": "b"})
        assert [urlsplit(request.target).query for request in wire.requests] == [
            "provider=ais&presence=0"
        ]


# ---- jobs ---------------------------------------------------------------------------------------


def test_questions_about_jobs() -> None:
    def verbs(client: Client, bucket: Bucket) -> None:
        client.cluster().list_jobs_status("lru", "")
        client.cluster().list_running_jobs()
        client.cluster().list_running_etls()

    assert sent(verbs, reply=http(200, b"null")) == [
        ("GET", "/v1/cluster", {"what": "status_all"},
         {"kind": "lru", "node": "", "show_active": False}),
        ("GET", "/v1/cluster", {"what": "running_all"},
         {"kind": "", "node": "", "show_active": True}),
        ("GET", "/v1/etl", {}, None),
    ]  # fmt: skip


def test_starting_and_stopping_jobs() -> None:
    def verbs(client: Client, bucket: Bucket) -> None:
        job = client.job(job_kind="lru")
        assert job.start() == "jobid"
        job.start("t1", force=True, buckets=[bucket])
        job.start(buckets=[bucket, client.bucket("c", "aws")])
        client.job("j").abort()

    lru = {**JOB, "ID": "", "Kind": "lru"}
    b, c = {"name": "b", "provider": "ais"}, {"name": "c", "provider": "aws"}
    forced = {**lru, "DaemonID": "t1", "Bck": b, "Force": True}
    assert sent(verbs) == [
        ("PUT", "/v1/cluster", {}, message("start", lru)),
        ("PUT", "/v1/cluster", {"frc": "true"}, message("start", forced)),
        ("PUT", "/v1/cluster", {}, message("start", {**lru, "Buckets": [b, c]})),
        ("PUT", "/v1/cluster", {}, message("stop", JOB)),
    ]


def status(**fields: Any) -> Reply:
    return http(200, json.dumps({"uuid": "j", "err": "", "end_time": 0, **fields}).encode())


def test_wait_looks_first_and_ends_at_the_first_end() -> None:
    answer = answering(status(), status(), status(end_time=1_000_000_000))
    with Wire(answer) as wire:
        result = Client(wire.endpoint).job("j").wait(20)
        assert result
        assert result.end_time is not None
        assert result.end_time.year == 1970
        assert [json.loads(request.body) for request in wire.requests] == [JOB] * 3


def test_wait_gives_up_in_time() -> None:
    with Wire(lambda request: status()) as wire:
        with pytest.raises(errors.Timeout, match="job to finish"):
            Client(wire.endpoint).job("j").wait(0.2, verbose=False)
        assert len(wire.requests) >= 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (status(end_time=5, err="broken disk"), "broken disk"),
        (status(end_time=5, err="user abort", aborted=True), "user abort"),
        # What clusters of 2023 say of a job that failed.
        (http(400, b'{"message":"nl-copy-bck[j]-failed: broken disk","status":400}'),
         "nl-copy-bck[j]-failed: broken disk"),
    ],
)  # fmt: skip
def test_a_failed_job_is_told_not_raised(reply: Reply, error: str) -> None:
    with Wire(lambda request: reply) as wire:
        result = Client(wire.endpoint).job("j").wait()
        assert not result
        assert (result.success, result.error) == (False, error)


def test_other_refusals_of_a_status_are_raised() -> None:
    mismatch = b'{"message":"kind mismatch: x-copy-bck[j], expected kind=lru","status":400}'
    with (
        Wire(lambda request: http(400, mismatch)) as wire,
        pytest.raises(errors.InvalidRequestError, match="kind mismatch"),
    ):
        Client(wire.endpoint).job("j", "lru").wait()


def snap(**fields: Any) -> dict[str, Any]:
    return {
        "id": "j", "kind": "copy-listrange", "start-time": "2026-08-20T10:11:12.000000001Z",
        "end-time": "0001-01-01T00:00:00Z", "aborted": False, "is_idle": False, **fields,
    }  # fmt: skip


def snaps(*targets: list[dict[str, Any]]) -> Reply:
    named = {f"t{number}": found for number, found in enumerate(targets)}
    return http(200, json.dumps(named).encode())


NO_STATUS = http(404, b'{"tcode":"ErrNotFound","message":"x-[j] does not exist","status":404}')


def test_wait_for_a_job_without_status_waits_for_idling() -> None:
    busy = snaps([snap()], [snap(is_idle=True)])
    idle = snaps([snap(is_idle=True)], [snap(is_idle=True), snap(id="other")])
    answer = answering(NO_STATUS, busy, busy, idle, idle)
    with Wire(answer) as wire:
        job = Client(wire.endpoint).job("j")
        assert job.wait(20)
        assert job.job_kind == "copy-listrange"
        assert len(wire.requests) == 5


def test_an_abort_on_one_target_ends_a_wait_for_idling() -> None:
    aborted = snaps([snap(aborted=True, **{"abort-err": "user abort"})], [snap()])
    with Wire(lambda request: aborted) as wire:
        result = Client(wire.endpoint).job("j").wait_for_idle()
        assert (result.success, result.error) == (False, "user abort")


def test_wait_for_idle_says_what_it_did_not_find() -> None:
    for reply, text in (
        (snaps([], []), "No information found for job j."),
        (NO_STATUS, "No job information found."),
    ):
        with (
            Wire(lambda request, reply=reply: reply) as wire,  # type: ignore[misc]
            pytest.raises(errors.Timeout, match=text),
        ):
            Client(wire.endpoint).job("j").wait_for_idle(0.1)


def test_wait_single_node() -> None:
    ended = snaps([snap(**{"end-time": "2026-08-20T10:11:14Z"})], [snap()])
    with Wire(answering(snaps([snap()]), ended)) as wire:
        assert Client(wire.endpoint).job("j", "blob-download").wait_single_node(20)


# ---- jobs that others may join ------------------------------------------------------------------


def test_a_group_is_never_served_with_another_s_options() -> None:
    between = {"src-bck": {"name": "b", "provider": "ais"},
               "dst-bck": {"name": "to", "provider": "ais"}}  # fmt: skip
    live: list[dict[str, Any]] = []

    def answer(request: Request) -> Reply:
        if "what=qryxstats" in request.target:
            return snaps(live)
        live[:] = live or [snap(id="j1", is_idle=True, **between)]
        return http(200, b"j1")

    with Wire(answer, release=NEW) as wire:
        client = Client(wire.endpoint)
        group, to_bck = client.bucket("b").objects(["a"]), client.bucket("to")
        assert group.copy(to_bck, prepend="x/") == "j1"
        # With the same options it may join.
        assert client.bucket("b").objects(["c"]).copy(to_bck, prepend="x/") == "j1"
        with pytest.raises(errors.ConflictError, match="the job j1 from ais://b to ais://to"):
            group.copy(to_bck, dry_run=True)
        # Another client cannot know the options of a job that it did not start.
        other = Client(wire.endpoint).bucket("b").objects(["a"])
        with pytest.raises(errors.ConflictError):
            other.copy(to_bck, prepend="x/")
        # Other buckets have jobs of their own, and so has everybody when this one has ended.
        group.copy(client.bucket("elsewhere"))
        live[0]["end-time"] = "2026-08-20T10:11:14Z"
        group.copy(to_bck, dry_run=True)


# ---- transformers -------------------------------------------------------------------------------


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_spec_in_each_release_s_words() -> None:
    def verb(client: Client, bucket: Bucket) -> None:
        assert client.etl("md5-etl").init_spec("pod", "hpull", "1m") == "jobid"

    spec = {"communication": "hpull://", "spec": b64("pod")}
    assert sent(verb, OLD) == [("PUT", "/v1/etl", {}, {"id": "md5-etl", "timeout": "1m", **spec})]
    new = {"name": "md5-etl", "init_timeout": "1m", **spec}
    assert sent(verb, NEW) == [("PUT", "/v1/etl", {}, new)]


def upper(data: bytes) -> bytes:
    return data.upper()


def test_code_carries_the_function_itself(tmp_path: Path) -> None:
    needed = ["numpy==2.1"]

    def verb(client: Client, bucket: Bucket) -> None:
        client.etl("upper-etl").init_code(upper, needed, ["json"], chunk_size=1024)

    [(_, _, _, body)] = sent(verb, OLD)
    assert needed == ["numpy==2.1"]
    text = base64.b64decode(body.pop("code")).decode()
    # The function comes along, though this module cannot be imported there.
    script = f"import sys; sys.path.insert(0, '')\n{text}\nprint(transform(b'abc'))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "b'ABC'\n"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    runtime = f"python{version}v2" if version in {"3.10", "3.11"} else "python3.8v2"
    assert body == {
        "id": "upper-etl", "runtime": runtime, "communication": "hpush://", "timeout": "5m",
        "funcs": {"transform": "transform"}, "transform_url": False, "chunk_size": 1024,
        "dependencies": b64(f"numpy==2.1\ncloudpickle=={cloudpickle.__version__}"),
    }  # fmt: skip


def test_code_of_the_io_kind_runs_itself() -> None:
    def verb(client: Client, bucket: Bucket) -> None:
        client.etl("upper-etl").init_code(upper, communication_type="io")

    [(_, _, _, body)] = sent(verb, OLD)
    assert base64.b64decode(body["code"]).decode().endswith("\ntransform()\n")


def test_bad_arguments_are_refused_before_anything_is_sent() -> None:
    with Wire(lambda request: http(200)) as wire:
        etl = Client(wire.endpoint).etl("md5-etl")
        with pytest.raises(ValueError, match="communication_type is one of hpush, hrev, hpull"):
            etl.init_spec("pod", "io")
        with pytest.raises(ValueError, match="communication_type"):
            etl.init_code(upper, communication_type="ftp")
        with pytest.raises(ValueError, match="chunk_size"):
            etl.init_code(upper, chunk_size=-1)
        assert wire.requests == []


NO_KUBERNETES = http(400, b'{"message":"the operation requires Kubernetes","status":400}')


def test_a_cluster_without_transformers_says_so() -> None:
    missing = http(404, b'{"message":"the operation requires Kubernetes","status":404}')
    verbs: list[tuple[Callable[[Client], Any], Reply]] = [
        (lambda c: c.etl("md5-etl").init_spec("pod"), NO_KUBERNETES),
        (lambda c: c.cluster().list_running_etls(), NO_KUBERNETES),
        (lambda c: c.bucket("b").transform("md5-etl", c.bucket("c")), missing),
    ]
    for verb, reply in verbs:
        with (
            Wire(lambda request, reply=reply: reply) as wire,  # type: ignore[misc]
            pytest.raises(errors.UnsupportedError, match="Kubernetes"),
        ):
            verb(Client(wire.endpoint))


RUNNING = b'[{"id":"md5-etl","xaction_id":"x","obj_count":1,"in_bytes":2,"out_bytes":3}]'


def test_what_loses_a_transformer_of_2023_is_not_sent() -> None:
    with Wire(lambda request: http(200, RUNNING), release=OLD) as wire:
        etl = Client(wire.endpoint).etl("md5-etl")
        etl.start()
        with pytest.raises(errors.ConflictError, match="stop it first"):
            etl.delete()
        assert {request.method for request in wire.requests} == {"GET"}
        etl.stop()
        assert wire.requests[-1].target == "/v1/etl/md5-etl/stop"


def test_verbs_of_transformers() -> None:
    def verbs(client: Client, bucket: Bucket) -> None:
        etl = client.etl("md5-etl")
        etl.start()
        etl.stop()
        etl.delete()

    assert [(method, path) for method, path, _, _ in sent(verbs, NEW)] == [
        ("POST", "/v1/etl/md5-etl/start"),
        ("POST", "/v1/etl/md5-etl/stop"),
        ("DELETE", "/v1/etl/md5-etl"),
    ]


def test_lists_and_details_of_transformers() -> None:
    stages = b'[{"id":"b-etl-x","stage":"Aborted"},{"id":"a-etl-x","stage":"Running"}]'
    with Wire(lambda request: http(200, stages)) as wire:
        cluster = Client(wire.endpoint).cluster()
        assert [info.id for info in cluster.list_running_etls()] == ["a-etl-x"]
        assert [info.id for info in cluster.list_etls(None)] == ["a-etl-x", "b-etl-x"]
    old = {
        "id": "md5-etl", "communication": "hpush://", "timeout": "5m", "code": b64("code"),
        "dependencies": b64("x"), "runtime": "python3.10v2", "transform_url": True,
        "Funcs": {"transform": "transform"}, "chunk_size": 7, "flags": 0,
    }  # fmt: skip
    new = {
        "init_msg": {"name": "md5-etl", "communication": "hpull://", "init_timeout": "5m",
                     "obj_timeout": "45s", "runtime": {"image": "i"}},
        "obj_errors": [{"obj_name": "o", "msg": "m", "ecode": 500}],
    }  # fmt: skip
    with Wire(answering(*(http(200, json.dumps(one).encode()) for one in (old, new)))) as wire:
        etl = Client(wire.endpoint).etl("md5-etl")
        details = etl.view()
        assert (details.id, details.code, details.argument) == ("md5-etl", b"code", "url")
        assert (details.runtime, details.chunk_size) == ("python3.10v2", 7)
        details = etl.view("job")
        assert (details.id, details.timeout) == ("md5-etl", "5m")
        assert details.runtime == {"image": "i"}
        assert [(one.obj_name, one.ecode) for one in details.obj_errors] == [("o", 500)]
        assert wire.requests[-1].target == "/v1/etl/md5-etl?uuid=job"


@pytest.mark.parametrize("name", etl_templates.__all__)
def test_templates_are_pods_as_ais_wants_them(name: str) -> None:
    yaml = pytest.importorskip("yaml")
    template = getattr(etl_templates, name)
    assert isinstance(template, str)
    pod = yaml.safe_load(template.format(communication_type="hpull://", transform='{"a": [1]}'))
    [container] = pod["spec"]["containers"]
    assert [port["name"] for port in container["ports"]] == ["default"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/health", "port": "default"}
    assert pod["metadata"]["annotations"]["communication_type"] == "hpull://"


def test_names_and_durations() -> None:
    validate_etl_name("md5-etl")
    for name in ("short", "-leading", "Upper-case", "x" * 33):
        with pytest.raises(ValueError, match="6 to 32"):
            validate_etl_name(name)
    assert [seconds(text) for text in ("5m", "1h30m", "500ms", "")] == [300, 5400, 0.5, 0]


# ---- dSort --------------------------------------------------------------------------------------

SPEC_2023 = {
    "bck": {"name": "in"}, "extension": ".tar", "input_format": "s-{0..9}",
    "output_format": "n-{0..9}", "output_shard_size": "1MB",
}  # fmt: skip
SPEC_NOW = {
    "input_bck": {"name": "in"}, "input_extension": ".tar",
    "input_format": {"template": "s-{0..9}"}, "output_format": "n-{0..9}",
    "output_shard_size": "1MB", "dsorter_type": "dsort_general",
}  # fmt: skip


@pytest.fixture(params=["2023", "now"])
def spec_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(SPEC_2023 if request.param == "2023" else SPEC_NOW))
    return path


def test_a_dsort_is_described_in_the_cluster_s_words(spec_file: Path) -> None:
    def verb(client: Client, bucket: Bucket) -> None:
        dsort = client.dsort()
        assert dsort.start(str(spec_file)) == "jobid"
        assert dsort.dsort_id == "jobid"
        dsort.abort()

    abort = ("DELETE", "/v1/sort/abort", {"uuid": "jobid"}, None)
    [start, end] = sent(verb, NEW)
    assert (start, end) == (("POST", "/v1/sort", {}, SPEC_NOW), abort)
    [start, end] = sent(verb, OLD)
    assert start[3].items() >= SPEC_2023.items()
    assert end == abort


def test_descriptions_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "half.json").write_text("{}")
    with Wire(lambda request: http(200)) as wire:
        dsort = Client(wire.endpoint).dsort()
        for name in ("none.json", "list.json", "half.json"):
            with pytest.raises(ValueError, match=r"Path|JSON object|needs output_format"):
                dsort.start(tmp_path / name)
        assert wire.requests == []


def phase(finished: bool, **more: Any) -> dict[str, Any]:
    return {
        "local_extraction": {"finished": True, "total_count": "10"},
        "shard_creation": {"finished": finished, "created_count": "5"}, "aborted": False, **more,
    }  # fmt: skip


def test_a_dsort_is_waited_for_in_both_forms() -> None:
    old = [http(200, json.dumps({"t": phase(done)}).encode()) for done in (False, True)]
    with Wire(answering(*old, old[1])) as wire:
        dsort = Client(wire.endpoint).dsort("srt-1")
        assert dsort.wait(20)
        assert dsort.metrics()["t"].shard_creation.created_count == 5
        assert {request.target for request in wire.requests} == {"/v1/sort?uuid=srt-1"}
    new = {"t": {"id": "srt-1", "Metrics": phase(True), "loc-objs": "10", "aborted": False}}
    with Wire(lambda request: http(200, json.dumps(new).encode())) as wire:
        info = Client(wire.endpoint).dsort("srt-1").get_job_info()["t"]
        assert (info.objs, info.metrics.local_extraction.total_count) == (10, 10)
    stopped = {"t": phase(False, aborted=True, errors=["stopped by hand"])}
    with Wire(lambda request: http(200, json.dumps(stopped).encode())) as wire:
        result = Client(wire.endpoint).dsort("srt-1").wait()
        assert (result.success, result.error) == (False, "stopped by hand")


def test_a_build_without_dsort() -> None:
    with (
        Wire(lambda request: http(501, b"dsort not enabled in this build\n")) as wire,
        pytest.raises(errors.UnsupportedError, match="dsort not enabled"),
    ):
        Client(wire.endpoint).dsort().start(SPEC_NOW)


def test_clients_travel_to_other_processes() -> None:
    client = pickle.loads(pickle.dumps(Client("http://gateway:8080")))
    assert repr(client) == "<Client http://gateway:8080>"
