"""Buckets beyond the recording: copies, renames, namespaces, selections, jobs."""

import json
from typing import Any

import pytest

from tests.server import wire
from tests.support.store import StoreProcess


def act(
    store: StoreProcess, method: str, target: str, action: str, value: Any = None
) -> wire.Answer:
    """Send a message; a job that it starts has ended when this returns."""
    message = json.dumps({"action": action, "value": value}).encode()
    answer = wire.follow(store.endpoint, method, target, [], message)
    if answer.status == 200 and answer.get("Content-Type").startswith("text/plain"):
        wire.wait_for_job(store.endpoint, answer.body.decode())
    return answer


def fill(store: StoreProcess, bucket: str, *names: str) -> None:
    for name in names:
        target = f"/v1/objects/{bucket}/{name}?provider=ais"
        assert wire.follow(store.endpoint, "PUT", target, [], name.encode()).status == 200


def names(store: StoreProcess, target: str) -> list[str]:
    answer = act(store, "GET", target, "list", {"props": "name"})
    assert answer.status == 200, answer
    return [entry["name"] for entry in json.loads(answer.body)["entries"] or []]


def status(store: StoreProcess, job: bytes) -> dict[str, Any]:
    query = json.dumps({"ID": job.decode()}).encode()
    answer = wire.follow(store.endpoint, "GET", "/v1/cluster?what=status", [], query)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def test_copy_takes_prefix_and_prepend(store: StoreProcess, bucket: str) -> None:
    fill(store, bucket, "a/1", "a/2", "b/1")
    target = f"/v1/buckets/{bucket}?bck_to=ais%2F%40%23%2F{bucket}-copy%2F"
    answer = act(store, "POST", target, "copy-bck", {"prefix": "a/", "prepend": "new/"})
    assert answer.status == 200
    assert names(store, f"/v1/buckets/{bucket}-copy") == ["new/a/1", "new/a/2"]
    assert names(store, f"/v1/buckets/{bucket}") == ["a/1", "a/2", "b/1"]
    job = status(store, answer.body)
    assert (job["kind"], job["err"], job["aborted"]) == ("copy-bck", "", False)
    assert job["end_time"] > 0
    copied = f"/v1/objects/{bucket}-copy/new/a/1"
    act(store, "DELETE", f"/v1/buckets/{bucket}", "destroy-bck")
    assert wire.follow(store.endpoint, "GET", copied).body == b"a/1"


def test_dry_run_copies_nothing(store: StoreProcess, bucket: str) -> None:
    fill(store, bucket, "a")
    target = f"/v1/buckets/{bucket}?bck_to=ais%2F%40%23%2F{bucket}-dry%2F"
    assert act(store, "POST", target, "copy-bck", {"dry_run": True}).status == 200
    missing = wire.follow(store.endpoint, "GET", f"/v1/buckets/{bucket}-dry")
    assert missing.status == 404


def test_copying_a_bucket_into_itself_by_list_ends(store: StoreProcess, bucket: str) -> None:
    fill(store, bucket, "a", "b")
    value = {"template": "", "tobck": {"name": bucket}, "prepend": "z/"}
    assert act(store, "POST", f"/v1/buckets/{bucket}", "copy-listrange", value).status == 200
    assert names(store, f"/v1/buckets/{bucket}") == ["a", "b", "z/a", "z/b"]


def test_rename_moves_the_objects(store: StoreProcess, bucket: str) -> None:
    fill(store, bucket, "a")
    target = f"/v1/buckets/{bucket}?bck_to=ais%2F%40%23%2F{bucket}-new%2F"
    assert act(store, "POST", target, "move-bck").status == 200
    assert act(store, "HEAD", f"/v1/buckets/{bucket}", "").status == 404
    assert names(store, f"/v1/buckets/{bucket}-new") == ["a"]


def test_namespaces_are_apart(store: StoreProcess, bucket: str) -> None:
    other = f"/v1/buckets/{bucket}?namespace=%40%23ns1"
    assert act(store, "POST", other, "create-bck").status == 200
    fill(store, bucket, "a")
    assert names(store, other) == []
    target = f"/v1/objects/{bucket}/a?namespace=%40%23ns1"
    assert wire.follow(store.endpoint, "PUT", target, [], b"ns").status == 200
    assert wire.follow(store.endpoint, "GET", f"/v1/objects/{bucket}/a").body == b"a"
    assert wire.follow(store.endpoint, "GET", target).body == b"ns"
    listed = json.loads(act(store, "GET", "/v1/buckets?namespace=%40%23ns1", "list").body)
    assert {"uuid": "", "name": "ns1"} in [entry["namespace"] for entry in listed]


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        ({"objnames": ["o-01", "nope"]}, ["o-02", "o-10", "p"]),
        ({"template": "o-{01..02}"}, ["o-10", "p"]),
        ({"template": "o-{1..2}"}, ["o-01", "o-02", "o-10", "p"]),
        ({"template": "o-0"}, ["o-10", "p"]),
        ({"template": "o-{0..1}{0..1}"}, ["o-02", "p"]),
        ({"template": "o-{02..10..8}"}, ["o-01", "p"]),
    ],
)
def test_selections(
    store: StoreProcess, bucket: str, selection: dict[str, Any], left: list[str]
) -> None:
    fill(store, bucket, "o-01", "o-02", "o-10", "p")
    answer = act(store, "DELETE", f"/v1/buckets/{bucket}", "delete-listrange", selection)
    assert answer.status == 200
    assert names(store, f"/v1/buckets/{bucket}") == left


@pytest.mark.parametrize("template", ["o-{9..0}", "o-{a..b}", "o-{1..", "{1..9999999}"])
def test_bad_templates_delete_nothing(store: StoreProcess, bucket: str, template: str) -> None:
    fill(store, bucket, "o-1")
    selection = {"template": template}
    answer = act(store, "DELETE", f"/v1/buckets/{bucket}", "delete-listrange", selection)
    assert (answer.status, json.loads(answer.body)["tcode"]) == (400, "errTemplateInvalid")
    assert names(store, f"/v1/buckets/{bucket}") == ["o-1"]


def test_destroyed_bucket_leaves_no_files(store: StoreProcess, bucket: str) -> None:
    before = {file for file in (store.data / "blobs").rglob("*") if file.is_file()}
    fill(store, bucket, "a", "b/c")
    act(store, "DELETE", f"/v1/buckets/{bucket}", "destroy-bck")
    assert {file for file in (store.data / "blobs").rglob("*") if file.is_file()} == before
    store.create_bucket(bucket)
    assert names(store, f"/v1/buckets/{bucket}") == []


def test_props_are_changed_one_by_one(store: StoreProcess, bucket: str) -> None:
    target = f"/v1/buckets/{bucket}"
    value = {"checksum": {"type": "md5"}, "access": "771"}
    assert act(store, "PATCH", target, "set-bprops", value).status == 200
    props = json.loads(wire.follow(store.endpoint, "HEAD", target).get("Ais-Bucket-Props"))
    assert (props["checksum"]["type"], props["access"]) == ("md5", "771")
    assert props["versioning"]["enabled"] is True
    put = f"/v1/objects/{bucket}/x"
    assert wire.follow(store.endpoint, "PUT", put, [], b"x").status == 403
    assert act(store, "PATCH", target, "reset-bprops").status == 200
    assert wire.follow(store.endpoint, "PUT", put, [], b"x").status == 200


@pytest.mark.parametrize(
    ("method", "target", "action"),
    [
        ("POST", "/v1/sort", ""),
        ("GET", "/s3/{}", ""),
    ],
)
def test_what_is_not_built_says_so(
    store: StoreProcess, bucket: str, method: str, target: str, action: str
) -> None:
    answer = act(store, method, target.format(bucket), action)
    error = json.loads(answer.body)
    assert (answer.status, error["status"], error["tcode"]) == (501, 501, "ErrNotImpl")
    assert "not implemented" in error["message"]


def message_of(answer: wire.Answer) -> str:
    """Return what a refusal says; that of a HEAD is in a header."""
    error = json.loads(answer.body or answer.get("Hdr-Error"))
    return str(error["message"])


def summary_below(store: StoreProcess, bucket: str, below: str) -> dict[str, Any]:
    """Ask for the summary that a HEAD gives, in its two steps: only the first has the prefix."""
    asked = f"/v1/buckets/{bucket}{{}}?provider=ais&bsumm_remote=true"
    first = wire.follow(store.endpoint, "HEAD", asked.format(below))
    assert first.status == 202, first
    fill(store, bucket, "a/later")
    again = f"{asked.format('')}&uuid={first.get('Ais-Xaction-Id')}"
    second = wire.follow(store.endpoint, "HEAD", again)
    assert second.status == 200, second
    found: dict[str, Any] = json.loads(second.get("Ais-Bucket-Summ"))
    return found


@pytest.mark.parametrize(
    ("below", "count"),
    [("", 4), ("/a", 3), ("/a/", 2), ("/a%2F1", 1), ("/a/*", 2), ("/c", 0), ("/%20", 0)],
)
def test_a_summary_is_of_what_the_path_begins(
    store: StoreProcess, bucket: str, below: str, count: int
) -> None:
    fill(store, bucket, "a/1", "a/2", "a", "b/1")
    summary = summary_below(store, bucket, below)
    assert summary["ObjCount"]["obj_count_present"] == str(count)
    sizes = {"": 10, "/a": 7, "/a/": 6, "/a%2F1": 3, "/a/*": 6}
    assert summary["TotalSize"]["size_all_present_objs"] == str(sizes.get(below, 0))


def test_a_prefix_needs_a_summary(store: StoreProcess, bucket: str) -> None:
    target = f"/v1/buckets/{bucket}/a/b"
    for query in ("", "?presence=2", "?bsumm_remote="):
        answer = wire.follow(store.endpoint, "HEAD", f"{target}{query}")
        assert answer.status == 400
        assert message_of(answer) == (
            f"invalid URL '{target}': expecting just the bucket name, got '{bucket}' and 'a/b'"
        )


def test_a_summary_has_to_be_asked_for_first(store: StoreProcess, bucket: str) -> None:
    target = f"/v1/buckets/{bucket}?bsumm_remote=true&uuid=Abcdefghi"
    answer = wire.follow(store.endpoint, "HEAD", target)
    assert answer.status == 404
    assert "summary-bck job Abcdefghi does not exist" in message_of(answer)
    empty = wire.follow(store.endpoint, "HEAD", f"/v1/buckets/{bucket}?bsumm_remote=")
    assert (empty.status, empty.get("Ais-Xaction-Id")) == (200, "")


_NAME = "may only contain letters, numbers, dashes (-), underscores (_), and dots (.)"


@pytest.mark.parametrize("below", ["/", "/x", "/x/y", "//"])
@pytest.mark.parametrize(
    ("method", "action"),
    [("DELETE", "destroy-bck"), ("DELETE", "delete-listrange"), ("PATCH", "set-bprops")],
)
def test_nothing_below_a_bucket_stands_for_the_bucket(
    store: StoreProcess, bucket: str, method: str, action: str, below: str
) -> None:
    fill(store, bucket, "kept")
    answer = act(store, method, f"/v1/buckets/{bucket}{below}", action, {})
    assert (answer.status, message_of(answer)) == (400, f"bucket name is invalid: {_NAME}")
    assert names(store, f"/v1/buckets/{bucket}") == ["kept"]


@pytest.mark.parametrize("action", ["create-bck", "copy-listrange", "nosuch"])
def test_a_post_ends_with_the_bucket(store: StoreProcess, bucket: str, action: str) -> None:
    target = f"/v1/buckets/{bucket}-new/below"
    answer = act(store, "POST", target, action, {})
    assert (answer.status, message_of(answer)) == (400, f'invalid request URI "{target}"')
    assert wire.follow(store.endpoint, "HEAD", f"/v1/buckets/{bucket}-new").status == 404
    assert act(store, "POST", f"/v1/buckets/{bucket}-new/", "create-bck").status == 200


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a%20b", f"bucket name is invalid: {_NAME}"),
        ("a..b", f"bucket name is invalid: {_NAME}"),
        (".sys", 'reserved bucket name ".sys" (unknown system bucket)'),
        ("b" * 65, "bucket name is too long: 65 > 64(max length)"),
    ],
)
@pytest.mark.parametrize("provider", ["ais", "aws"])
def test_a_name_that_no_bucket_can_have_is_refused_as_such(
    store: StoreProcess, provider: str, name: str, why: str
) -> None:
    requests = [("HEAD", f"/v1/buckets/{name}"), ("GET", f"/v1/buckets/{name}")]
    requests += [(method, f"/v1/objects/{name}/x") for method in ("GET", "HEAD", "PUT", "DELETE")]
    for method, target in requests:
        answer = wire.follow(store.endpoint, method, f"{target}?provider={provider}")
        assert (answer.status, message_of(answer)) == (400, why), (method, target)
