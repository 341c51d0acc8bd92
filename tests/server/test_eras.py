"""What a store that answers like AIS 3.17 must never do, though the real one does."""

import json
from collections.abc import Iterator

import pytest

from tests.server import wire
from tests.support.store import StoreProcess


@pytest.fixture(scope="module")
def old() -> Iterator[StoreProcess]:
    with StoreProcess(extra=("--compat", "3.17")) as process:
        process.create_bucket("b")
        yield process


def put(store: StoreProcess, name: str, data: bytes, query: str = "") -> wire.Answer:
    target = f"/v1/objects/b/{name}?provider=ais{query}"
    return wire.follow(store.endpoint, "PUT", target, [], data)


def get(store: StoreProcess, name: str) -> wire.Answer:
    return wire.follow(store.endpoint, "GET", f"/v1/objects/b/{name}?provider=ais")


def test_clients_find_the_release_as_they_do_on_real_clusters(old: StoreProcess) -> None:
    new_way = wire.follow(old.endpoint, "GET", "/v1/daemon?what=node_status")
    assert new_way.status == 400
    old_way = wire.follow(old.endpoint, "GET", "/v1/daemon?what=status")
    assert json.loads(old_way.body)["ais_version"] == "3.17."
    assert all("id_digest" not in node for node in old.smap()["tmap"].values())


@pytest.mark.parametrize(("name", "other"), [("q%3Fb", "q"), ("e%2541b", "eAb")])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_mangled_redirect_reaches_no_other_object(
    old: StoreProcess, method: str, name: str, other: str
) -> None:
    assert put(old, other, b"kept").status == 200
    body = b'{"value":{"k":"v"}}' if method == "PATCH" else b""
    target = f"/v1/objects/b/{name}?provider=ais"
    assert wire.follow(old.endpoint, method, target, [], body).status == 400
    answer = get(old, other)
    assert (answer.body, answer.get("Ais-Custom-Md")) == (b"kept", "")


def test_markers_of_a_mangled_redirect_serve_a_client_that_keeps_its_path(
    old: StoreProcess,
) -> None:
    target = "/v1/objects/b/m%3Fb%2541?provider=ais"
    assert wire.follow_by_markers(old.endpoint, "PUT", target, b"odd").status == 200
    assert wire.follow_by_markers(old.endpoint, "GET", target).body == b"odd"


def test_an_unknown_query_key_is_refused_and_changes_nothing(old: StoreProcess) -> None:
    assert put(old, "u", b"before").status == 200
    assert put(old, "u", b"after", "&object_to=x").status == 400
    assert get(old, "u").body == b"before"


def test_small_pages_lose_no_name_and_directories_have_no_slash(old: StoreProcess) -> None:
    old.create_bucket("pages")
    names = [f"n{n}{tail}" for n in range(5) for tail in ("/f", ".txt", "-x", "")]
    for name in names:
        target = f"/v1/objects/pages/{name}?provider=ais"
        assert wire.follow(old.endpoint, "PUT", target, [], b"x").status == 200
    shown: list[tuple[str, int]] = []
    token = ""
    while token or not shown:
        value = {"pagesize": 1, "continuation_token": token, "flags": "2048", "props": "name"}
        body = json.dumps({"action": "list", "value": value}).encode()
        page = wire.follow(old.endpoint, "GET", "/v1/buckets/pages?provider=ais", [], body)
        found = json.loads(page.body)
        shown += [(entry["name"], entry["flags"]) for entry in found["entries"] or []]
        token = found["continuation_token"]
    expected = [(name, 64) for name in names if "/" not in name]
    expected += [(f"n{n}", 256) for n in range(5)]
    assert shown == sorted(expected)


@pytest.mark.parametrize("value", [{}, {"objnames": []}, {"template": ""}, None])
def test_a_deletion_that_selects_nothing_fails_and_deletes_nothing(
    old: StoreProcess, value: object
) -> None:
    assert put(old, "stays", b"x").status == 200
    body = json.dumps({"action": "delete-listrange", "value": value}).encode()
    job = wire.follow(old.endpoint, "DELETE", "/v1/buckets/b?provider=ais", [], body)
    assert "empty range template" in wire.wait_for_job(old.endpoint, job.body.decode())["err"]
    assert get(old, "stays").body == b"x"


def test_a_failed_job_stays_failed_when_the_store_restarts() -> None:
    store = StoreProcess(extra=("--compat", "3.17"))
    with store:
        store.create_bucket("b")
        body = b'{"action":"delete-listrange","value":{}}'
        target = "/v1/buckets/b?provider=ais"
        job = wire.follow(store.endpoint, "DELETE", target, [], body).body.decode()
        before = wire.wait_for_job(store.endpoint, job)
        store.restart()
        assert wire.wait_for_job(store.endpoint, job) == before


@pytest.mark.parametrize("release", ["3.17", "5.0"])
def test_every_job_can_be_waited_for_by_status_and_by_snapshots(release: str) -> None:
    """As clients of 2023 do, whatever the kind."""
    to = {"tobck": {"name": "c", "provider": "ais"}}
    some: dict[str, object] = {"objnames": ["o", "nope"]}
    requests: list[tuple[str, str, str, object]] = [
        ("POST", "b?provider=ais&bck_to=ais%2F%40%23%2Fc%2F", "copy-bck", {}),
        ("POST", "b?provider=ais", "copy-listrange", {**some, **to}),
        ("PUT", "b?provider=ais", "archive", {**some, **to, "archname": "a.tar"}),
        ("POST", "b?provider=ais", "make-n-copies", 2),
        ("DELETE", "b?provider=ais", "delete-listrange", some),
        ("POST", "b?provider=ais&bck_to=ais%2F%40%23%2Fd%2F", "move-bck", None),
    ]
    with StoreProcess(extra=("--compat", release)) as store:
        store.create_bucket("b")
        store.create_bucket("c")
        assert put(store, "o", b"x").status == 200
        jobs = [
            wire.follow(
                store.endpoint,
                method,
                f"/v1/buckets/{target}",
                [],
                json.dumps({"action": action, "value": value}).encode(),
            ).body.decode()
            for method, target, action, value in requests
        ]
        start = b'{"action":"start","value":{"Kind":"lru"}}'
        jobs.append(wire.follow(store.endpoint, "PUT", "/v1/cluster", [], start).body.decode())
        for job in jobs:
            assert not wire.wait_for_job(store.endpoint, job)["aborted"]
            query = json.dumps({"ID": job}).encode()
            target = "/v1/cluster?what=qryxstats"
            found = json.loads(wire.follow(store.endpoint, "GET", target, [], query).body)
            snaps = [snap for items in found.values() for snap in items]
            assert snaps, job
            assert all(snap["is_idle"] and snap["id"] == job for snap in snaps)


@pytest.mark.parametrize("method", ["DELETE", "HEAD", "PATCH"])
@pytest.mark.parametrize("name", ["b/x", "a%20b"])
def test_a_name_that_no_bucket_can_have_is_quoted(
    old: StoreProcess, method: str, name: str
) -> None:
    message = b'{"action":"destroy-bck"}' if method == "DELETE" else b'{"action":"set-bprops"}'
    answer = wire.follow(old.endpoint, method, f"/v1/buckets/{name}", [], message)
    shown = json.loads(answer.body or answer.get("Hdr-Error"))["message"]
    assert answer.status == 400
    assert shown.startswith(f'bucket name "{wire.unquoted(name)}" is invalid: may only contain')
    assert wire.follow(old.endpoint, "HEAD", "/v1/buckets/b").status == 200
