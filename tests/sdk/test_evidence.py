"""Every documented exception of every member, raised: by servers where they can cause it."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from aisfs_sdk import Bucket, Client, ObjectRange, RetryConfig, deadline, errors
from aisfs_sdk.multiobj import ObjectGroup
from tests.sdk import evidence
from tests.sdk.scene import CALLS, Missing
from tests.sdk.servers import Server
from tests.sdk.test_messages import SPEC_2023, message, phase, status
from tests.sdk.wire import Wire, http
from tests.support.store import StoreProcess, free_port

Verb = Callable[[Client], Any]
ARGUMENTS, NOBODY, SCRIPT = "arguments", "nobody listens", "scripted server"

OTHERS: dict[str, Verb] = {
    "Cluster.list_running_etls": lambda c: c.cluster().list_running_etls(),
    "Etl.init_spec": lambda c: c.etl("md5-etl").init_spec("pod"),
    "Etl.init_code": lambda c: c.etl("md5-etl").init_code(len),
    "Etl.view": lambda c: c.etl("md5-etl").view(),
    "Etl.start": lambda c: c.etl("md5-etl").start(),
    "Etl.stop": lambda c: c.etl("md5-etl").stop(),
    "Etl.delete": lambda c: c.etl("md5-etl").delete(),
    "Dsort.start": lambda c: c.dsort().start(SPEC_2023),
    "Dsort.abort": lambda c: c.dsort("s").abort(),
    "Dsort.metrics": lambda c: c.dsort("s").metrics(),
    "Dsort.get_job_info": lambda c: c.dsort("s").get_job_info(),
    "Dsort.wait": lambda c: c.dsort("s").wait(5),
}
LOUD = sorted(name for name, row in evidence.CHECKLIST.items() if "AISError" in row.exceptions)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "f").write_bytes(b"12345")
    return tmp_path


def called(member: str, client: Client, folder: Path) -> None:
    if member in OTHERS:
        OTHERS[member](client)
    else:
        CALLS[member](Missing(client, folder))


@pytest.mark.parametrize("member", LOUD)
def test_refusals_and_dead_clusters(store: StoreProcess, member: str, folder: Path) -> None:
    client = Client(store.endpoint)
    assert client.era.version > (0, 0)  # asked for before the store refuses everything
    store.faults([{"action": "error", "status": 403, "path": "^/v1/(?!faults)"}])
    with evidence.raises(member, errors.AISError, by="refusing store"):
        called(member, client, folder)
    once = Client(f"http://127.0.0.1:{free_port()}", retry_config=RetryConfig(attempts=1))
    with deadline(10), evidence.raises(member, requests.ConnectionError, by=NOBODY):
        called(member, once, folder)


# ---- exceptions of their own --------------------------------------------------------------------


@pytest.mark.parametrize(
    "member",
    [name for name, row in evidence.CHECKLIST.items() if "ErrBckNotFound" in row.exceptions],
)
def test_missing_buckets(server: Server, client: Client, member: str, folder: Path) -> None:
    with evidence.raises(member, errors.ErrBckNotFound):
        called(member, client, folder)


def test_missing_objects_and_jobs(server: Server, client: Client, bucket: Bucket) -> None:
    # Looked up by the call: a method taken before is not the one that is watched.
    cases: tuple[tuple[str, type[Exception], Callable[[], Any]], ...] = (
        ("Object.head", errors.ErrObjNotFound, lambda: bucket.object("none").head()),
        ("Object.head", requests.HTTPError, lambda: bucket.object("none").head()),
        ("Object.get", errors.ErrObjNotFound, lambda: bucket.object("none").get().read_all()),
        ("Object.delete", errors.ErrObjNotFound, lambda: bucket.object("none").delete()),
        ("Job.status", errors.JobInfoNotFound, lambda: client.job("nosuchjob").status()),
    )
    for member, kind, verb in cases:
        with evidence.raises(member, kind):
            verb()


def test_names_that_are_taken(server: Server, client: Client, bucket: Bucket) -> None:
    with evidence.raises("Bucket.create", errors.ErrBckAlreadyExists):
        bucket.create()
    other = client.bucket(f"sdk-{uuid.uuid4().hex[:12]}").create()
    try:
        with evidence.raises("Bucket.rename", errors.ErrBckAlreadyExists):
            other.rename(bucket.name)
    finally:
        other.delete()


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
            with evidence.raises(member, kind, by=ARGUMENTS):
                verb()
        assert wire.requests == []


def test_a_wait_for_a_job_that_never_shows(server: Server, client: Client) -> None:
    with evidence.raises("Job.wait_for_idle", errors.Timeout):
        client.job("nosuchjob").wait_for_idle(0.2)


def test_waits_for_what_does_not_end() -> None:
    # No server here has a job or sorts for as long as it takes.
    for member, reply, verb in (
        ("Job.wait", status(), lambda c: c.job("j").wait(0.1)),
        (
            "Dsort.wait",
            http(200, json.dumps({"t": phase(False)}).encode()),
            lambda c: c.dsort("s").wait(0.1),
        ),
    ):
        with (
            Wire(lambda request, reply=reply: reply) as wire,  # type: ignore[misc]
            evidence.raises(member, errors.Timeout, by=SCRIPT),
        ):
            verb(Client(wire.endpoint))  # type: ignore[no-untyped-call]


def test_a_summary_that_does_not_begin() -> None:
    # No server does it.
    with (
        Wire(lambda request: http(200, b"[]")) as wire,
        evidence.raises("Bucket.summary", errors.UnexpectedHTTPStatusCode, by=SCRIPT),
    ):
        Client(wire.endpoint).bucket("b").summary()


def test_values_of_requests_that_the_caller_makes() -> None:
    with Wire(lambda request: http(200)) as wire:
        client = Client(wire.endpoint)
        client.bucket("b").make_request("PUT", "x", {"k": 1}, {"p": "q"})
        client.request_client.request("PUT", "x", {"a": "1"}, {"k": 2})
        targets = [(one.method, one.target, json.loads(one.body)) for one in wire.requests]
    assert targets == [
        ("PUT", "/v1/buckets/b?p=q", message("x", {"k": 1})),
        ("PUT", "/v1/x?a=1", {"k": 2}),
    ]


def test_the_table_has_every_member_and_every_member_is_called() -> None:
    assert set(evidence.CHECKLIST) == set(evidence.MODULES)
    assert set(LOUD) <= CALLS.keys() | OTHERS.keys()


def test_a_fact_needs_the_call() -> None:
    before = set(evidence.LEDGER.pending)
    with pytest.raises(AssertionError), evidence.effect("Bucket.head"):
        pass
    with pytest.raises(AssertionError), evidence.request("Bucket.head", "nowhere"):
        pass
    with pytest.raises(AssertionError), evidence.raises("Bucket.head", ValueError):
        raise ValueError
    assert evidence.LEDGER.pending == before
    assert evidence.Ledger().missing().keys() >= {"Bucket.head", "ObjectRange"}
