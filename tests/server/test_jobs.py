"""Jobs: run in the background, can be stopped, are told apart, and survive the process as rows."""

import json
import time
from typing import Any

import pytest

from aisfs.server.jobs.table import IDLE_NS, Job
from aisfs.server.naming import NO_BUCKET
from tests.server import samples, wire
from tests.server.messages import run, send
from tests.support.store import StoreProcess

MANY = 1 << 13


def ask(store: StoreProcess, what: str, **query: Any) -> Any:
    body = json.dumps(query).encode()
    answer = wire.follow(store.endpoint, "GET", f"/v1/cluster?what={what}", [], body)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def snapshot(store: StoreProcess, job: str) -> dict[str, Any]:
    (snap,) = [snap for found in ask(store, "qryxstats", ID=job).values() for snap in found]
    result: dict[str, Any] = snap
    return result


def fill(store: StoreProcess, bucket: str, bodies: dict[str, bytes]) -> None:
    for name, body in bodies.items():
        target = f"/v1/objects/{bucket}/{name}?provider=ais"
        assert wire.follow(store.endpoint, "PUT", target, [], body).status == 200


def fill_large(store: StoreProcess, bucket: str) -> None:
    """Make many small objects: each copy of the bucket into itself doubles it."""
    fill(store, bucket, {"x": b"x"})
    for number in range(MANY.bit_length() - 1):
        value = {"template": "", "tobck": {"name": bucket}, "prepend": f"{number:02}-"}
        run(store, "POST", f"/v1/buckets/{bucket}", "copy-listrange", value)


def list_names(store: StoreProcess, bucket: str) -> list[str]:
    answer = send(store, "GET", f"/v1/buckets/{bucket}", "list", {"props": "name"})
    return [entry["name"] for entry in json.loads(answer.body)["entries"] or []]


def start_long_copy(store: StoreProcess, bucket: str) -> str:
    target = f"/v1/buckets/{bucket}?bck_to=ais%2F%40%23%2F{bucket}-copy%2F"
    answer = send(store, "POST", target, "copy-bck", {})
    assert answer.status == 200
    return answer.body.decode()


def test_a_running_job_is_shown_and_can_be_stopped(store: StoreProcess, bucket: str) -> None:
    fill_large(store, bucket)
    second = start_long_copy(store, bucket)
    assert send(store, "PUT", "/v1/cluster", "stop", {"ID": second}).status == 200
    status = wire.wait_for_job(store.endpoint, second)
    assert (status["aborted"], status["err"]) == (True, "user abort")
    snap = snapshot(store, second)
    assert (snap["aborted"], snap["abort-err"], snap["is_idle"]) == (True, "user abort", True)
    assert int(snap["stats"]["loc-objs"]) < MANY
    job = start_long_copy(store, bucket)
    assert job != second
    assert ask(store, "running_all", kind="copy-bucket") == [f"copy-bck[{job}]"]
    assert wire.wait_for_job(store.endpoint, job)["aborted"] is False
    assert int(snapshot(store, job)["stats"]["loc-objs"]) == MANY
    assert ask(store, "running_all", kind="copy-bucket") == []


def test_a_job_that_may_get_more_work_is_idle_for_a_minute() -> None:
    for kind in ("archive", "copy-listrange", "etl-listrange", "get-batch"):
        job = Job("j", kind, NO_BUCKET)
        assert (job.running, job.idle, job.alive) == (True, False, True)
        job.end_ns = time.time_ns()
        assert (job.running, job.idle, job.alive) == (False, True, True)
        job.end_ns -= IDLE_NS
        assert (job.idle, job.alive) == (False, False)
    for other in (
        Job("j", "delete-listrange", NO_BUCKET, end_ns=time.time_ns()),
        Job("j", "archive", NO_BUCKET, end_ns=time.time_ns(), aborted=True),
        Job("j", "archive", NO_BUCKET, end_ns=time.time_ns(), failed=True),
    ):
        assert not other.alive


def copy_one(store: StoreProcess, bucket: str, *names: str) -> str:
    """Copy objects of a bucket within it, and return the job."""
    value = {"objnames": names, "prepend": "copy-", "tobck": {"name": bucket}}
    return str(run(store, "POST", f"/v1/buckets/{bucket}", "copy-listrange", value)["uuid"])


def test_an_idle_job_is_told_of_as_running(store: StoreProcess, bucket: str) -> None:
    fill(store, bucket, {"a": b"1"})
    job = copy_one(store, bucket, "a", "missing")
    shown = f"copy-listrange[{job}]"
    assert shown in ask(store, "running_all")
    assert shown in ask(store, "running_all", kind="copy-objects")
    assert shown not in ask(store, "running_all", kind="lru")
    snap = snapshot(store, job)
    assert (snap["end-time"], snap["is_idle"]) == ("0001-01-01T00:00:00Z", True)
    assert snap["err"].endswith("missing does not exist")
    for active, count in ((True, 1), (False, 0)):
        found = ask(store, "qryxstats", ID=job, show_active=active)
        assert sum(map(len, found.values())) == count
    assert send(store, "PUT", "/v1/cluster", "stop", {"ID": job}).status == 200
    assert shown not in ask(store, "running_all")
    snap = snapshot(store, job)
    assert (snap["aborted"], snap["end-time"] > "2000") == (True, True)
    assert "user abort" in snap["abort-err"] or "(and 1 more error)" in snap["abort-err"]


def test_what_failed_or_never_idles_is_not_running(store: StoreProcess, bucket: str) -> None:
    fill(store, bucket, {"a": b"1"})
    target, to = f"/v1/buckets/{bucket}", {"tobck": {"name": bucket}}
    nothing = {**to, "archname": "n.tar", "template": "zzz"}
    jobs = [
        run(store, "PUT", target, "archive", nothing),
        run(store, "POST", target, "copy-listrange", {**to, "template": "n-{5..1}"}),
        run(store, "DELETE", target, "delete-listrange", {"objnames": ["a"]}),
    ]
    running = " ".join(ask(store, "running_all"))
    assert not [job for job in jobs if job["uuid"] in running]


def test_the_end_of_a_bucket_ends_what_is_idle_of_it(store: StoreProcess, bucket: str) -> None:
    fill(store, bucket, {"a": b"1"})
    job = copy_one(store, bucket, "a")
    assert send(store, "DELETE", f"/v1/buckets/{bucket}", "destroy-bck").status == 200
    snap = snapshot(store, job)
    assert (snap["aborted"], snap["is_idle"]) == (True, True)
    assert snap["abort-err"].endswith(": remove bucket")


def test_jobs_of_a_killed_store_are_marked_aborted() -> None:
    with StoreProcess() as store:
        store.create_bucket("b")
        fill_large(store, "b")
        done = run(store, "DELETE", "/v1/buckets/b", "delete-listrange", {"objnames": ["x"]})
        job = start_long_copy(store, "b")
        assert ask(store, "status", ID=job)["end_time"] == 0
        store.kill()
        store.start()
        status = ask(store, "status", ID=job)
        assert status["aborted"] is True
        assert status["end_time"] > 0
        assert ask(store, "status", ID=done["uuid"]) == done
        copied = ask(store, "qryxstats", ID=job)
        assert copied
        job = start_long_copy(store, "b")
        started = time.monotonic()
        assert store.stop() == 0
        assert time.monotonic() - started < 10
        store.start()
        assert ask(store, "status", ID=job)["aborted"] is True


def test_named_objects_that_are_missing_are_told(store: StoreProcess, bucket: str) -> None:
    fill(store, bucket, {"a": b"1", "b": b"2"})
    value = {"objnames": ["a", "x", "b", "y"]}
    status = run(store, "DELETE", f"/v1/buckets/{bucket}", "delete-listrange", value)
    assert f"ais://{bucket}/x does not exist (and 1 more error)" in status["err"]
    assert status["aborted"] is False
    assert list_names(store, bucket) == []
    ranged = {"template": "a{0..5}"}
    status = run(store, "DELETE", f"/v1/buckets/{bucket}", "delete-listrange", ranged)
    assert status["err"] == ""


def test_a_bad_template_ends_a_copy_and_refuses_a_delete(store: StoreProcess, bucket: str) -> None:
    value = {"template": "n-{5..1}", "tobck": {"name": bucket}}
    status = run(store, "POST", f"/v1/buckets/{bucket}", "copy-listrange", value)
    assert status["err"].startswith("invalid 'bash' template \"n-{5..1}\"")
    answer = send(store, "DELETE", f"/v1/buckets/{bucket}", "delete-listrange", value)
    assert answer.status == 400


@pytest.mark.parametrize("suffix", [".tar", ".tgz", ".tar.gz", ".zip", ".tar.lz4"])
def test_archive_of_a_list_is_made_and_appended_to(
    store: StoreProcess, bucket: str, suffix: str
) -> None:
    bodies = {f"d/o{number}": b"%d" % number * 999 for number in range(20)}
    fill(store, bucket, bodies)
    name = f"out{suffix}"
    names = list(bodies)
    value = {"archname": name, "tobck": {"name": bucket}, "objnames": names[:10]}
    target = f"/v1/buckets/{bucket}"
    assert run(store, "PUT", target, "archive", value)["err"] == ""
    more = {**value, "objnames": names[10:], "aate": True, "bnonly": True}
    assert run(store, "PUT", target, "archive", more)["err"] == ""
    url = f"/v1/objects/{bucket}/{name}"
    members = dict(samples.members_of(wire.follow(store.endpoint, "GET", url).body))
    expected = {key if index < 10 else key[2:]: bodies[key] for index, key in enumerate(names)}
    assert members == expected
    again = {**value, "template": "d/o{0..1}", "isbn": True}
    del again["objnames"]
    job = run(store, "PUT", target, "archive", again)["uuid"]
    replaced = samples.members_of(wire.follow(store.endpoint, "GET", url).body)
    assert replaced == [(f"{bucket}/{key}", bodies[key]) for key in names[:2]]
    assert snapshot(store, job)["stats"]["loc-objs"] == "2"


def test_archive_of_missing_objects(store: StoreProcess, bucket: str) -> None:
    fill(store, bucket, {"a": b"1"})
    target, to = f"/v1/buckets/{bucket}", {"tobck": {"name": bucket}}
    partial = {**to, "archname": "p.tar", "objnames": ["a", "no"]}
    assert f"{bucket}/no does not exist" in run(store, "PUT", target, "archive", partial)["err"]
    nothing = {**to, "archname": "n.tar", "template": "zzz"}
    assert "empty o[" in run(store, "PUT", target, "archive", nothing)["err"]
    assert list_names(store, bucket) == ["a", "p.tar"]


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ({"archname": "x.rar", "tobck": {"name": "{}"}}, 400),
        ({"archname": "x.tar"}, 400),
        ({"archname": "x.tar", "tobck": {"name": "no-such"}}, 404),
        ({"archname": "x.tar", "mime": "tar", "tobck": {"name": "{}"}}, 400),
        ({"archname": "x.tar", "bogus": 1, "tobck": {"name": "{}"}}, 400),
        ({"archname": "../x.tar", "tobck": {"name": "{}"}}, 400),
    ],
)
def test_bad_archive_requests_are_refused(
    store: StoreProcess, bucket: str, value: dict[str, Any], status: int
) -> None:
    filled = json.loads(json.dumps(value).replace("{}", bucket))
    assert send(store, "PUT", f"/v1/buckets/{bucket}", "archive", filled).status == status


def test_a_destination_that_goes_away_ends_the_copy(store: StoreProcess, bucket: str) -> None:
    fill_large(store, bucket)
    job = start_long_copy(store, bucket)
    answer = send(store, "DELETE", f"/v1/buckets/{bucket}-copy", "destroy-bck")
    assert answer.status == 200
    status = wire.wait_for_job(store.endpoint, job)
    assert "does not exist" in status["err"]


@pytest.mark.parametrize("kind", ["etl-bck", "promote"])
def test_kinds_that_do_not_run_here_are_refused(store: StoreProcess, kind: str) -> None:
    answer = send(store, "PUT", "/v1/cluster", "start", {"Kind": kind})
    assert answer.status == 501
