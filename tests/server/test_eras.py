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
