"""Every documented member: the request it sends, and the exceptions that all of them share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from aisfs_sdk import Bucket, Client, ObjectRange, RetryConfig, deadline, errors
from aisfs_sdk.multiobj import ObjectGroup
from aisfs_sdk.types import Smap
from tests.sdk import evidence
from tests.sdk.test_messages import JOB, SPEC_2023, message, phase, sent, snap, snaps, status
from tests.sdk.wire import Reply, Request, Wire, http
from tests.support.store import free_port

Verb = Callable[[Client], Any]
Expected = tuple[str, str, dict[str, str], Any]
Q = {"provider": "ais"}
SMAP = json.dumps({"tmap": {}, "pmap": {}, "proxy_si": {}, "version": "1"}).encode()
PAGE = http(200, b'{"entries":null}')
PROPS = http(200, b"", 'Ais-Bucket-Props: {"a":1}', 'Ais-Bucket-Summ: {"name":"b"}')
LISTED = message("list", {"prefix": "", "pagesize": 0, "uuid": "", "props": "",
                          "continuation_token": "", "flags": "0", "target": ""})  # fmt: skip
DSORT = http(200, json.dumps({"t": phase(True)}).encode())
HERE = str(Path(__file__).parent)


REQUESTS: list[tuple[str, Verb, Reply, list[Expected]]] = [
    ("Cluster.get_info", lambda c: c.cluster().get_info(), http(200, SMAP),
     [("GET", "/v1/daemon", {"what": "smap"}, None)]),
    ("Cluster.list_buckets", lambda c: c.cluster().list_buckets("aws"), http(200, b"[]"),
     [("GET", "/v1/buckets", {"provider": "aws"}, message("list"))]),
    ("Cluster.is_aistore_running", lambda c: c.cluster().is_aistore_running(), http(200),
     [("GET", "/v1/health", {"prr": "true"}, None)]),
    ("Bucket.head", lambda c: c.bucket("b").head(), PROPS, [("HEAD", "/v1/buckets/b", Q, None)]),
    ("Bucket.info", lambda c: c.bucket("b").info(), PROPS,
     [("HEAD", "/v1/buckets/b", {**Q, "presence": "0"}, None)]),
    ("Bucket.list_objects_iter", lambda c: list(c.bucket("b").list_objects_iter()), PAGE,
     [("GET", "/v1/buckets/b", Q, LISTED)]),
    ("ObjectIterator.__next__", lambda c: next(c.bucket("b").list_objects_iter(), None), PAGE,
     [("GET", "/v1/buckets/b", Q, LISTED)]),
    ("Bucket.list_all_objects", lambda c: c.bucket("b").list_all_objects(page_size=10), PAGE,
     [("GET", "/v1/buckets/b", Q, {**LISTED, "value": {**LISTED["value"], "pagesize": 10}})]),
    ("Object.head", lambda c: c.bucket("b").object("o").head(), http(200),
     [("HEAD", "/v1/objects/b/o", Q, None)]),
    ("Object.get", lambda c: c.bucket("b").object("o").get("x"), http(200),
     [("GET", "/v1/objects/b/o", {**Q, "archpath": "x"}, None)]),
    ("Object.get", lambda c: c.bucket("b").object("o").get(etl_name="e"), http(200),
     [("GET", "/v1/objects/b/o", {**Q, "etl_name": "e"}, None)]),
    ("Object.delete", lambda c: c.bucket("b").object("o").delete(), http(200),
     [("DELETE", "/v1/objects/b/o", Q, None)]),
    ("Job.status", lambda c: c.job("j").status(), status(),
     [("GET", "/v1/cluster", {"what": "status"}, JOB)]),
    ("Job.wait", lambda c: c.job("j").wait(5), status(end_time=5),
     [("GET", "/v1/cluster", {"what": "status"}, JOB)]),
    ("Etl.view", lambda c: c.etl("md5-etl").view(),
     http(200, b'{"id":"md5-etl","communication":"hpush://","timeout":"5m","spec":""}'),
     [("GET", "/v1/etl/md5-etl", {}, None)]),
    ("Dsort.metrics", lambda c: c.dsort("s").metrics(), DSORT,
     [("GET", "/v1/sort", {"uuid": "s"}, None)]),
    ("Dsort.get_job_info", lambda c: c.dsort("s").get_job_info(), DSORT,
     [("GET", "/v1/sort", {"uuid": "s"}, None)]),
    ("Dsort.wait", lambda c: c.dsort("s").wait(5), DSORT,
     [("GET", "/v1/sort", {"uuid": "s"}, None)]),
    ("RequestClient.request",
     lambda c: c.request_client.request("PUT", "x", {"a": "1"}, {"k": 2}), http(200),
     [("PUT", "/v1/x", {"a": "1"}, {"k": 2})]),
    ("RequestClient.request_deserialize",
     lambda c: c.request_client.request_deserialize("GET", "daemon", Smap, params={"what": "smap"}),
     http(200, SMAP), [("GET", "/v1/daemon", {"what": "smap"}, None)]),
]  # fmt: skip


@pytest.mark.parametrize(("member", "verb", "reply", "expected"), REQUESTS)
def test_requests(member: str, verb: Verb, reply: Reply, expected: list[Expected]) -> None:
    with evidence.request(member):
        assert sent(lambda client, bucket: verb(client), reply=reply) == expected


def test_the_primary_is_asked_where_the_map_says() -> None:
    def answer(request: Request) -> Reply:
        node = {"daemon_id": "p", "public_net": {"direct_url": wire.endpoint}}
        smap = {"tmap": {}, "pmap": {"p": node}, "proxy_si": node, "version": "1"}
        return http(200, json.dumps(smap).encode())

    with Wire(answer) as wire:
        cluster = Client(wire.endpoint).cluster()
        with evidence.request("Cluster.get_primary_url"):
            assert cluster.get_primary_url() == wire.endpoint
            assert [one.target for one in wire.requests] == ["/v1/daemon?what=smap"]
        with evidence.request("Cluster.is_ready"):
            assert cluster.is_ready()
            assert wire.requests[-1].target == "/v1/health?prr=true"


def test_bodies_of_writes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    with Wire(lambda request: http(200)) as wire:
        bucket = Client(wire.endpoint).bucket("b")
        for member, verb in (
            ("Object.put_content", lambda: bucket.object("p/f").put_content(b"12345")),
            ("Object.put_file", lambda: bucket.object("p/f").put_file(str(tmp_path / "f"))),
            ("Bucket.put_files", lambda: bucket.put_files(str(tmp_path), prepend="p/")),
        ):
            wire.requests.clear()
            with evidence.request(member):
                verb()
                found = [(one.method, one.target, one.body) for one in wire.requests]
                assert found == [("PUT", "/v1/objects/b/p/f?provider=ais", b"12345")]


def test_listings_behind_other_members() -> None:
    with evidence.request("Bucket.list_urls"):
        [(method, path, query, body)] = sent(lambda c, b: list(b.list_urls("p")), reply=PAGE)
        assert (method, path, query) == ("GET", "/v1/buckets/b", Q)
        value = {**LISTED["value"], "prefix": "p", "props": "name"}
        assert body == {**LISTED, "value": value}
    with evidence.request("Job.wait_for_idle"):
        replies = Wire(lambda request: snaps([snap(is_idle=True)]))
        with replies as wire:
            assert Client(wire.endpoint).job("j").wait_for_idle(5)
            assert {one.target for one in wire.requests} == {"/v1/cluster?what=qryxstats"}
            assert json.loads(wire.requests[0].body) == JOB


def test_a_summary_repeats_its_value_with_the_job() -> None:
    replies = iter([http(202, b"s1"), http(200, b'[{"name":"b"}]')])
    with Wire(lambda request: next(replies)) as wire, evidence.request("Bucket.summary"):
        assert Client(wire.endpoint).bucket("b").summary() == {"name": "b"}
        assert {one.target for one in wire.requests} == {"/v1/buckets/b?provider=ais"}
        value = {"uuid": "", "prefix": "", "cached": True, "present": True}
        bodies = [json.loads(one.body) for one in wire.requests]
        assert bodies == [
            message("summary-bck", value), message("summary-bck", {**value, "uuid": "s1"})
        ]  # fmt: skip


# ---- exceptions that all share ------------------------------------------------------------------

CALLS: dict[str, Verb] = {
    **{member: verb for member, verb, _, _ in REQUESTS},
    "Cluster.get_primary_url": lambda c: c.cluster().get_primary_url(),
    "Cluster.list_jobs_status": lambda c: c.cluster().list_jobs_status(),
    "Cluster.list_running_jobs": lambda c: c.cluster().list_running_jobs(),
    "Cluster.list_running_etls": lambda c: c.cluster().list_running_etls(),
    "Bucket.create": lambda c: c.bucket("b").create(),
    "Bucket.delete": lambda c: c.bucket("b").delete(),
    "Bucket.rename": lambda c: c.bucket("b").rename("c"),
    "Bucket.evict": lambda c: c.bucket("b", "aws").evict(),
    "Bucket.summary": lambda c: c.bucket("b").summary(),
    "Bucket.copy": lambda c: c.bucket("b").copy(c.bucket("c")),
    "Bucket.list_objects": lambda c: c.bucket("b").list_objects(),
    "Bucket.transform": lambda c: c.bucket("b").transform("md5-etl", c.bucket("c")),
    "Bucket.put_files": lambda c: c.bucket("b").put_files(HERE, pattern="evidence.txt"),
    "Bucket.make_request": lambda c: c.bucket("b").make_request("POST", "x"),
    "Object.put_content": lambda c: c.bucket("b").object("o").put_content(b"1"),
    "Object.put_file": lambda c: c.bucket("b").object("o").put_file(__file__),
    "Object.promote": lambda c: c.bucket("b").object("o").promote("/d"),
    "ObjectGroup.delete": lambda c: c.bucket("b").objects(["a"]).delete(),
    "ObjectGroup.evict": lambda c: c.bucket("b", "aws").objects(["a"]).evict(),
    "ObjectGroup.prefetch": lambda c: c.bucket("b", "aws").objects(["a"]).prefetch(),
    "ObjectGroup.copy": lambda c: c.bucket("b").objects(["a"]).copy(c.bucket("c")),
    "ObjectGroup.transform":
        lambda c: c.bucket("b").objects(["a"]).transform(c.bucket("c"), "md5-etl"),
    "ObjectGroup.archive": lambda c: c.bucket("b").objects(["a"]).archive("x.tar"),
    "Job.wait_for_idle": lambda c: c.job("j").wait_for_idle(5),
    "Job.start": lambda c: c.job(job_kind="lru").start(),
    "Etl.init_spec": lambda c: c.etl("md5-etl").init_spec("pod"),
    "Etl.init_code": lambda c: c.etl("md5-etl").init_code(len),
    "Etl.start": lambda c: c.etl("md5-etl").start(),
    "Etl.stop": lambda c: c.etl("md5-etl").stop(),
    "Etl.delete": lambda c: c.etl("md5-etl").delete(),
    "Dsort.start": lambda c: c.dsort().start(SPEC_2023),
    "Dsort.abort": lambda c: c.dsort("s").abort(),
}  # fmt: skip
CALLS["Bucket.list_urls"] = lambda c: c.bucket("b").list_urls()
LAZY = {"Bucket.list_urls", "Bucket.list_objects_iter"}
LOUD = sorted(name for name, row in evidence.CHECKLIST.items() if "AISError" in row.exceptions)
REFUSED = http(403, b'{"message":"not here","status":403}')


def called(member: str, client: Client) -> None:
    made = CALLS[member](client)
    if member in LAZY:
        list(made)


@pytest.mark.parametrize("member", LOUD)
def test_refusals_and_dead_clusters(member: str) -> None:
    with Wire(lambda request: REFUSED) as wire:
        client = Client(wire.endpoint)
        with evidence.raises(member, errors.AISError):
            called(member, client)
    once = Client(f"http://127.0.0.1:{free_port()}", retry_config=RetryConfig(attempts=1))
    with deadline(10), evidence.raises(member, requests.ConnectionError):
        called(member, once)


# ---- exceptions of their own --------------------------------------------------------------------


def error(status: int, tcode: str, text: str) -> Reply:
    body = {"status": status, "tcode": tcode, "message": text}
    return http(status, json.dumps(body).encode())


NO_BUCKET = error(404, "ErrBckNotFound", 'bucket "ais://b" does not exist')


@pytest.mark.parametrize(
    "member",
    ["Bucket.delete", "Bucket.rename", "Bucket.copy", "Bucket.list_objects", "Bucket.summary",
     "Bucket.list_objects_iter", "Bucket.list_all_objects", "Bucket.list_urls", "Object.get",
     "Object.put_content", "Object.put_file"],
)  # fmt: skip
def test_missing_buckets(member: str) -> None:
    with Wire(lambda request: NO_BUCKET) as wire:
        client = Client(wire.endpoint)
        with evidence.raises(member, errors.ErrBckNotFound):
            called(member, client)


def test_other_refusals_have_their_classes() -> None:
    taken = error(409, "ErrBckAlreadyExists", 'bucket "ais://b" already exists')
    gone = http(404, b"")
    for member, kind, reply in (
        ("Bucket.create", errors.ErrBckAlreadyExists, taken),
        ("Bucket.rename", errors.ErrBckAlreadyExists, taken),
        ("Object.head", errors.ErrObjNotFound, gone),
        ("Object.head", requests.HTTPError, gone),
        ("Object.get", errors.ErrObjNotFound, error(404, "ErrNotFound", "ais://b/o: no object")),
        ("Object.delete", errors.ErrObjNotFound, error(404, "ErrNotFound", "ais://b/o: no")),
        ("Bucket.head", errors.ErrBckNotFound, gone),
        ("Bucket.info", errors.ErrBckNotFound, gone),
        ("Job.status", errors.JobInfoNotFound, error(404, "ErrNotFound", "x-[j] does not exist")),
    ):
        with (
            Wire(lambda request, reply=reply: reply) as wire,  # type: ignore[misc]
            evidence.raises(member, kind),
        ):
            called(member, Client(wire.endpoint))


def test_arguments_that_are_refused(tmp_path: Path) -> None:
    with Wire(lambda request: http(200, b"[]")) as wire:
        client = Client(wire.endpoint)
        bucket, cloud = client.bucket("b"), client.bucket("c", "aws")
        wrong: list[tuple[str, type[Exception], Callable[[], Any]]] = [
            ("Bucket.create", errors.InvalidBckProvider, lambda: cloud.create(exist_ok=True)),
            ("Bucket.delete", errors.InvalidBckProvider, lambda: cloud.delete(missing_ok=True)),
            ("Bucket.rename", errors.InvalidBckProvider, lambda: cloud.rename("d")),
            ("Bucket.evict", errors.InvalidBckProvider, lambda: bucket.evict(keep_md=True)),
            ("Bucket.verify_cloud_bucket", errors.InvalidBckProvider,
             lambda: Bucket("b").verify_cloud_bucket()),
            ("Bucket.make_request", ValueError, lambda: Bucket("b").make_request("GET", "x")),
            ("Bucket.create", ValueError, lambda: Bucket("b").create()),
            ("Bucket.info", ValueError, lambda: bucket.info(6)),
            ("Bucket.put_files", ValueError, lambda: bucket.put_files(str(tmp_path / "none"))),
            ("Object.put_file", ValueError, lambda: bucket.object("o").put_file()),
            ("ObjectGroup", ValueError, lambda: ObjectGroup(bucket)),
            ("ObjectGroup", TypeError, lambda: ObjectGroup(bucket, obj_range="a")),  # type: ignore[arg-type]
            ("ObjectGroup.evict", errors.InvalidBckProvider,
             lambda: bucket.objects(["a"]).evict()),
            ("ObjectGroup.prefetch", errors.InvalidBckProvider,
             lambda: bucket.objects(["a"]).prefetch()),
            ("ObjectRange", errors.InvalidObjectRangeIndex, lambda: ObjectRange("p", 5, 1)),
            ("ObjectRange", ValueError, lambda: ObjectRange("p", suffix="s")),
            ("Job.status", ValueError, lambda: client.job().status()),
            ("Etl.init_spec", ValueError, lambda: client.etl("md5-etl").init_spec("pod", "io")),
            ("Etl.init_code", ValueError,
             lambda: client.etl("md5-etl").init_code(len, communication_type="ftp")),
            ("Dsort.start", ValueError, lambda: client.dsort().start(tmp_path / "none.json")),
        ]  # fmt: skip
        for member, kind, verb in wrong:
            with evidence.raises(member, kind):
                verb()
        assert wire.requests == []


def test_waits_that_end() -> None:
    running = {"t": phase(False)}
    cases: list[tuple[str, Reply, Verb]] = [
        ("Job.wait", status(), lambda c: c.job("j").wait(0.1)),
        ("Job.wait_for_idle", snaps([snap()]), lambda c: c.job("j").wait_for_idle(0.1)),
        ("Dsort.wait", http(200, json.dumps(running).encode()), lambda c: c.dsort("s").wait(0.1)),
    ]
    for member, reply, verb in cases:
        with (
            Wire(lambda request, reply=reply: reply) as wire,  # type: ignore[misc]
            evidence.raises(member, errors.Timeout),
        ):
            verb(Client(wire.endpoint))


def test_a_summary_that_does_not_begin() -> None:
    with (
        Wire(lambda request: http(200, b"[]")) as wire,
        evidence.raises("Bucket.summary", errors.UnexpectedHTTPStatusCode),
    ):
        Client(wire.endpoint).bucket("b").summary()


def test_the_table_has_every_member_and_every_member_is_called() -> None:
    assert set(evidence.CHECKLIST) == set(evidence.MODULES)
    assert set(LOUD) == set(CALLS) - {"Cluster.is_aistore_running"}


def test_a_fact_needs_the_call() -> None:
    before = set(evidence.LEDGER.pending)
    with pytest.raises(AssertionError), evidence.effect("Bucket.head"):
        pass
    with pytest.raises(AssertionError), evidence.request("Bucket.head"):
        pass
    with pytest.raises(AssertionError), evidence.raises("Bucket.head", ValueError):
        raise ValueError
    assert evidence.LEDGER.pending == before
    assert evidence.Ledger().missing().keys() >= {"Bucket.head", "ObjectRange"}
