"""Remote buckets: what reaches their origin, what is fetched from it how often, what stays here."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aistore import Client

from tests.server import wire
from tests.server.messages import run, send
from tests.support.store import StoreProcess

CLOUD = "provider=aws"


def listed(
    store: StoreProcess, bucket: str, query: str = CLOUD, **value: Any
) -> list[dict[str, Any]]:
    answer = send(store, "GET", f"/v1/buckets/{bucket}?{query}", "list", value)
    assert answer.status == 200, answer
    entries: list[dict[str, Any]] = json.loads(answer.body)["entries"] or []
    return entries


def names(store: StoreProcess, bucket: str, query: str = CLOUD, **value: Any) -> list[str]:
    return [entry["name"] for entry in listed(store, bucket, query, **value)]


def cached(store: StoreProcess, bucket: str, query: str = CLOUD) -> list[str]:
    return names(store, bucket, query, flags="1")


class Cloud:
    """A store with one bucket over a directory."""

    def __init__(self, store: StoreProcess, path: Path) -> None:
        self.store = store
        self.path = path

    def ask(self, method: str, name: str, body: bytes = b"", extra: str = "") -> wire.Answer:
        target = f"/v1/objects/cloud/{name}?{CLOUD}{extra}"
        return wire.follow(self.store.endpoint, method, target, [], body)

    def file(self, name: str, body: bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return path


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    path = tmp_path / "cloud"
    path.mkdir()
    with StoreProcess(extra=("--remote", f"aws://cloud={path}")) as store:
        yield Cloud(store, path)


@pytest.fixture
def pair() -> Iterator[tuple[StoreProcess, StoreProcess, str]]:
    """A store, its attached origin with a bucket `b`, and the query that names it."""
    with StoreProcess() as origin:
        origin.create_bucket("b")
        with StoreProcess(extra=("--remote", f"ais://@far={origin.endpoint}")) as store:
            yield store, origin, "provider=ais&namespace=%40far"


def test_bucket_metadata_tells_whose_a_bucket_is(cloud: Cloud) -> None:
    cloud.store.create_bucket("own")
    assert names(cloud.store, "cloud") == []  # from then on the store knows the bucket
    answer = wire.follow(cloud.store.endpoint, "GET", "/v1/daemon?what=bmd")
    providers = json.loads(answer.body)["providers"]
    assert {who: list(spaces["@#"]) for who, spaces in providers.items()} == {
        "ais": ["own"],
        "aws": ["cloud"],
    }


def put(store: StoreProcess, name: str, body: bytes) -> None:
    target = f"/v1/objects/b/{name}?provider=ais"
    assert wire.follow(store.endpoint, "PUT", target, [], body).status == 200


def gets(origin: StoreProcess) -> int:
    """Return how many objects targets of the origin were asked for."""
    return sum(
        line["method"] == "GET"
        and line["path"].startswith("/v1/objects/")
        and line["node"].startswith("t")
        for line in origin.requests()
    )


# ---- a directory as a cloud ---------------------------------------------------------------------


def test_reading_caches_the_whole_object(cloud: Cloud) -> None:
    cloud.file("d/a", b"0123456789")
    head = cloud.ask("HEAD", "d/a")
    assert (head.get("Ais-Present"), head.get("Content-Length")) == ("false", "10")
    assert cloud.ask("HEAD", "d/a", extra="&presence=2").status == 404
    target = f"/v1/objects/cloud/d/a?{CLOUD}"
    part = wire.follow(cloud.store.endpoint, "GET", target, [("Range", "bytes=2-4")])
    assert (part.status, part.body) == (206, b"234")
    warm = cloud.ask("HEAD", "d/a")
    assert warm.get("Ais-Present") == "true"
    assert warm.get("Ais-Version") == head.get("Ais-Version")
    (cloud.path / "d/a").unlink()
    assert cloud.ask("GET", "d/a").body == b"0123456789"
    assert cloud.ask("GET", "d/a", extra="&latest-ver=true").status == 404
    assert cloud.ask("GET", "d/a").status == 404


def test_latest_version_is_fetched_again(cloud: Cloud) -> None:
    file = cloud.file("a", b"old")
    assert cloud.ask("GET", "a").body == b"old"
    file.write_bytes(b"newer")
    assert cloud.ask("GET", "a").body == b"old"
    assert cloud.ask("HEAD", "a", extra="&latest-ver=true").status == 409
    assert cloud.ask("GET", "a", extra="&latest-ver=true").body == b"newer"
    assert cloud.ask("GET", "a").body == b"newer"


def test_writing_and_deleting_reach_the_origin(cloud: Cloud) -> None:
    reply = cloud.ask("PUT", "d/e/new", b"bytes")
    assert reply.status == 200
    assert (cloud.path / "d/e/new").read_bytes() == b"bytes"
    assert cloud.ask("HEAD", "d/e/new").get("Ais-Version") == reply.get("Ais-Version")
    assert cached(cloud.store, "cloud") == ["d/e/new"]
    assert cloud.ask("DELETE", "d/e/new").status == 200
    assert not (cloud.path / "d").exists()
    assert cloud.ask("DELETE", "d/e/new").status == 404


def test_append_and_archive_reach_the_origin(cloud: Cloud) -> None:
    cloud.file("log", b"one,")
    handle = cloud.ask("PUT", "log", b"two", "&append_type=append&append_handle=")
    value = handle.get("Ais-Append-Handle").replace("|", "%7C")
    cloud.ask("PUT", "log", b"", f"&append_type=flush&append_handle={value}")
    assert (cloud.path / "log").read_bytes() == b"one,two"
    to = {"name": "cloud", "provider": "aws"}
    target = f"/v1/buckets/cloud?{CLOUD}"
    status = run(
        cloud.store, "PUT", target, "archive", {"template": "", "archname": "x.tar", "tobck": to}
    )
    assert not status["err"]
    assert (cloud.path / "x.tar").read_bytes().startswith(b"log\0")


def test_a_listing_tells_what_is_here(cloud: Cloud) -> None:
    for name in ("a-x", "a/b", "a/c/d", "b"):
        cloud.file(name, name.encode())
    (cloud.path / "empty").mkdir()
    cloud.ask("GET", "a/b")
    flags = {entry["name"]: entry.get("flags", 0) for entry in listed(cloud.store, "cloud")}
    assert flags == {"a-x": 0, "a/b": 64, "a/c/d": 0, "b": 0}
    assert list(flags) == sorted(flags)
    assert names(cloud.store, "cloud", flags="512") == ["a-x", "a/c/d", "b"]
    assert names(cloud.store, "cloud", flags="2048") == ["a-x", "a/", "b"]
    assert names(cloud.store, "cloud", flags="2048", prefix="a/") == ["a/b", "a/c/"]
    assert names(cloud.store, "cloud", prefix="a") == ["a-x", "a/b", "a/c/d"]
    found, token = [], ""
    while True:
        value = {"pagesize": 1, "continuation_token": token}
        answer = send(cloud.store, "GET", f"/v1/buckets/cloud?{CLOUD}", "list", value)
        page = json.loads(answer.body)
        found += [entry["name"] for entry in page["entries"] or []]
        token = page["continuation_token"]
        if not token:
            break
    assert found == sorted(flags)


def test_a_listing_tells_how_copies_differ(cloud: Cloud) -> None:
    for name in ("same", "changed", "gone"):
        cloud.file(name, b"x")
        cloud.ask("GET", name)
    (cloud.path / "changed").write_bytes(b"other")
    (cloud.path / "gone").unlink()
    entries = listed(cloud.store, "cloud", flags="4096", props="name,size,version")
    assert {entry["name"]: entry["flags"] for entry in entries} == {
        "changed": 64 | 1024, "gone": 64 | 2048, "same": 64,
    }  # fmt: skip


def test_prefetch_and_evict(cloud: Cloud) -> None:
    for number in range(5):
        cloud.file(f"s-{number}", b"x" * number)
    target = f"/v1/buckets/cloud?{CLOUD}"

    def prefetch(**value: Any) -> str:
        return str(run(cloud.store, "POST", target, "prefetch-listrange", value)["err"])

    def evict(**value: Any) -> str:
        return str(run(cloud.store, "DELETE", target, "evict-listrange", value)["err"])

    assert prefetch(template="s-{0..1}") == ""
    assert cached(cloud.store, "cloud") == ["s-0", "s-1"]
    assert "s3://cloud/nope does not exist" in prefetch(objnames=["nope", "s-4"])
    assert cached(cloud.store, "cloud") == ["s-0", "s-1", "s-4"]
    assert evict(objnames=["s-0"]) == ""
    assert evict(template="s-4") == ""
    assert cached(cloud.store, "cloud") == ["s-1"]
    assert prefetch() == ""
    assert len(cached(cloud.store, "cloud")) == 5
    assert (
        send(cloud.store, "DELETE", f"/v1/objects/cloud/s-2?{CLOUD}", "evict-listrange").status
        == 200
    )
    assert "s-2" not in cached(cloud.store, "cloud")
    (cloud.path / "s-3").write_bytes(b"changed")
    assert prefetch(objnames=["s-3"], **{"latest-ver": True}) == ""
    assert cloud.ask("GET", "s-3").body == b"changed"
    evicted = f"{target}&keep_bck_md=true"
    assert send(cloud.store, "DELETE", evicted, "evict-remote-bck").status == 200
    assert cached(cloud.store, "cloud") == []
    assert sorted(file.name for file in cloud.path.iterdir())[-5:] == [
        f"s-{number}" for number in range(5)
    ]


def test_summary_counts_both_sides(cloud: Cloud) -> None:
    for name in ("a", "b", "c"):
        cloud.file(name, b"12345")
    cloud.ask("GET", "a")
    target = f"/v1/buckets/cloud?{CLOUD}"
    job = send(cloud.store, "GET", target, "summary-bck", {}).body.decode()
    answer = send(cloud.store, "GET", target, "summary-bck", {"uuid": job})
    (summary,) = json.loads(answer.body)
    assert summary["ObjCount"] == {"obj_count_present": "1", "obj_count_remote": "3"}
    assert summary["TotalSize"]["size_all_remote_objs"] == "15"


def test_copies_between_remote_and_local(cloud: Cloud) -> None:
    for name in ("img/a.jpg", "img/b.png", "c"):
        cloud.file(name, name.encode())
    down = f"/v1/buckets/cloud?{CLOUD}&bck_to=ais%2F%40%23%2Flocal%2F"
    value = {"prefix": "img/", "ext": {"jpg": ".jpeg"}}
    assert run(cloud.store, "POST", down, "copy-bck", value)["err"] == ""
    assert names(cloud.store, "local", "provider=ais") == ["img/a.jpeg", "img/b.png"]
    up = "/v1/buckets/local?provider=ais&bck_to=aws%2F%40%23%2Fcloud%2F"
    assert run(cloud.store, "POST", up, "copy-bck", {"prepend": "up/"})["err"] == ""
    assert (cloud.path / "up/img/a.jpeg").read_bytes() == b"img/a.jpg"
    (cloud.path / "img/b.png").unlink()
    synchronize = {"prefix": "img/", "synchronize": True}
    assert run(cloud.store, "POST", down, "copy-bck", synchronize)["err"] == ""
    assert names(cloud.store, "local", "provider=ais") == ["img/a.jpeg", "img/a.jpg"]


def test_names_cannot_leave_the_directory(cloud: Cloud, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (cloud.path / "link").symlink_to(secret)
    (cloud.path / "up").symlink_to(tmp_path)
    os.mkfifo(cloud.path / "fifo")
    cloud.file("ok", b"ok")
    for name in ("link", "up/secret", "..%2fsecret", "%2e%2e/secret", "fifo", "a//b", "nul%00"):
        assert cloud.ask("GET", name).status in {400, 404}, name
        assert cloud.ask("HEAD", name).status in {400, 404}, name
        assert cloud.ask("DELETE", name).status in {400, 404}, name
    for name in ("up/new", "..%2fnew", ".aisfs-incoming/new", "a//b"):
        assert cloud.ask("PUT", name, b"x").status == 400, name
    assert cloud.ask("PUT", "link", b"mine").status == 200
    assert secret.read_bytes() == b"secret"
    assert not (tmp_path / "new").exists()
    assert names(cloud.store, "cloud") == ["link", "ok"]


def test_names_that_files_cannot_have_are_refused(cloud: Cloud) -> None:
    cloud.file("a", b"file")
    cloud.file("d/x", b"file")
    for name in ("a/b", "d", "n" * 300):
        assert cloud.ask("PUT", name, b"x").status == 400, name
    assert (cloud.path / "a").read_bytes() == b"file"
    assert names(cloud.store, "cloud") == ["a", "d/x"]


def test_buckets_by_provider(cloud: Cloud) -> None:
    def buckets(query: str) -> list[str]:
        answer = send(cloud.store, "GET", f"/v1/buckets?{query}", "list")
        return [item["name"] for item in json.loads(answer.body)]

    cloud.store.create_bucket("mine")
    assert buckets(CLOUD) == ["cloud"]
    assert buckets(f"{CLOUD}&presence=2") == []
    head = wire.follow(cloud.store.endpoint, "HEAD", f"/v1/buckets/cloud?{CLOUD}")
    assert json.loads(head.get("Ais-Bucket-Props"))["provider"] == "aws"
    assert buckets(f"{CLOUD}&presence=2") == ["cloud"]
    assert buckets("provider=ais") == ["mine"]
    missing = wire.follow(cloud.store.endpoint, "GET", f"/v1/objects/other/x?{CLOUD}")
    assert missing.status == 404
    assert b'aws bucket \\"s3://other\\" does not exist' in missing.body
    assert send(cloud.store, "DELETE", f"/v1/buckets/cloud?{CLOUD}", "destroy-bck").status == 405


def test_official_client_prefetches_and_evicts(cloud: Cloud) -> None:
    for name in ("a", "b"):
        cloud.file(name, b"bytes")
    client = Client(cloud.store.endpoint)
    bucket = client.bucket("cloud", provider="aws")
    entries = bucket.list_all_objects(page_size=1)  # in msgpack
    assert [(entry.name, entry.is_cached()) for entry in entries] == [("a", False), ("b", False)]
    job = bucket.objects(obj_names=["a", "b"]).prefetch()
    assert client.job(job, "prefetch-listrange").wait(timeout=20).success
    assert bucket.object("a").head().present
    assert bucket.object("a").get_reader().read_all() == b"bytes"
    bucket.evict(keep_md=True)
    assert not bucket.object("a").head().present


# ---- another cluster ----------------------------------------------------------------------------


def test_readers_share_one_fetch(pair: tuple[StoreProcess, StoreProcess, str]) -> None:
    store, origin, query = pair
    body = os.urandom(3 << 20)
    put(origin, "x", body)
    store_query = f"/v1/objects/b/x?{query}"
    wire.follow(store.endpoint, "HEAD", store_query)
    stall = {"action": "stall", "method": "GET", "path": "^/v1/objects/b/x", "role": "target"}
    origin.faults([{**stall, "after_bytes": 1000, "seconds": 0.5}])
    origin.clear_requests()
    bodies: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda: bodies.append(wire.follow(store.endpoint, "GET", store_query).body)
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [body] * 8
    assert gets(origin) == 1


@pytest.mark.parametrize("action", ["cut", "error", "corrupt"])
def test_a_fetch_that_fails_leaves_nothing(
    pair: tuple[StoreProcess, StoreProcess, str], action: str
) -> None:
    store, origin, query = pair
    put(origin, "x", bytes(range(256)) * 4096)
    rule = {"action": action, "method": "GET", "path": "^/v1/objects/b/x", "role": "target"}
    origin.faults([{**rule, "after_bytes": 5000, "times": 1}])
    target = f"/v1/objects/b/x?{query}"
    assert wire.follow(store.endpoint, "GET", target).status in {410, 500}
    assert wire.follow(store.endpoint, "HEAD", target).get("Ais-Present") == "false"
    assert not list((store.data / "new").iterdir())
    assert wire.follow(store.endpoint, "GET", target).body == bytes(range(256)) * 4096


def test_a_killed_fetch_leaves_nothing(pair: tuple[StoreProcess, StoreProcess, str]) -> None:
    store, origin, query = pair
    put(origin, "x", b"z" * (2 << 20))
    target = f"/v1/objects/b/x?{query}"
    assert wire.follow(store.endpoint, "HEAD", target).status == 200
    stall = {"action": "stall", "method": "GET", "path": "^/v1/objects/b/x", "role": "target"}
    origin.faults([{**stall, "after_bytes": 1 << 20, "seconds": 60}])
    reader = threading.Thread(target=lambda: wire.follow(store.endpoint, "GET", target))
    reader.start()
    while not any(file.stat().st_size for file in (store.data / "new").iterdir()):
        pass
    store.kill()
    reader.join()
    store.start()
    origin.clear_faults()
    assert not list((store.data / "new").iterdir())
    assert wire.follow(store.endpoint, "HEAD", target).get("Ais-Present") == "false"
    assert wire.follow(store.endpoint, "GET", target).body == b"z" * (2 << 20)


def test_a_silent_origin_refuses_writes_and_leaves_copies(
    pair: tuple[StoreProcess, StoreProcess, str],
) -> None:
    store, origin, query = pair
    put(origin, "x", b"old")
    target = f"/v1/objects/b/x?{query}"
    assert wire.follow(store.endpoint, "GET", target).body == b"old"
    origin.kill()
    for method in ("PUT", "DELETE"):
        assert wire.follow(store.endpoint, method, target, [], b"").status == 410
    assert wire.follow(store.endpoint, "GET", f"/v1/objects/b/y?{query}").status == 410
    assert wire.follow(store.endpoint, "GET", target).body == b"old"
    origin.start()
    assert wire.follow(store.endpoint, "PUT", target, [], b"new").status == 200
    origin_target = "/v1/objects/b/x?provider=ais"
    assert wire.follow(origin.endpoint, "GET", origin_target).body == b"new"


def test_an_attached_cluster_is_remembered() -> None:
    with StoreProcess() as origin, StoreProcess() as store:
        origin.create_bucket("b")
        put(origin, "x", b"far")
        headers = [("Ais-Remote-Ais-Alias", "far"), ("Ais-Remote-Ais-Url", origin.endpoint)]
        attach, detach = (f"/v1/cluster/{verb}?what=remote" for verb in ("attach", "detach"))
        assert wire.follow(store.endpoint, "PUT", attach, headers).status == 200
        target = "/v1/objects/b/x?provider=ais&namespace=%40far"
        assert wire.follow(store.endpoint, "GET", target).body == b"far"
        store.restart()
        origin.stop()
        assert wire.follow(store.endpoint, "GET", target).body == b"far"
        assert wire.follow(store.endpoint, "PUT", detach, headers).status == 200
        assert wire.follow(store.endpoint, "GET", target).status == 404
        own = [("Ais-Remote-Ais-Alias", "me"), ("Ais-Remote-Ais-Url", store.endpoint)]
        assert wire.follow(store.endpoint, "PUT", attach, own).status == 400


def test_names_of_all_kinds_travel(pair: tuple[StoreProcess, StoreProcess, str]) -> None:
    store, origin, query = pair
    for name in ("a%20b%3Fc%23d", "%C3%A9/%FF", "x%25y", "tab%09"):
        target = f"/v1/objects/b/{name}?{query}"
        assert wire.follow(store.endpoint, "PUT", target, [], name.encode()).status == 200
        assert send(store, "DELETE", target, "evict-listrange").status == 200
        assert wire.follow(store.endpoint, "GET", target).body == name.encode()
    message = b'{"action":"list","value":{}}'
    pages = [
        wire.follow(endpoint, "GET", f"/v1/buckets/b?{how}", [], message).body
        for endpoint, how in ((store.endpoint, query), (origin.endpoint, "provider=ais"))
    ]
    assert pages[0].count(b"name") == pages[1].count(b"name") == 4


def test_the_command_line_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    for text in ("aws://b", f"zzz://b={tmp_path}", "aws://b=/no/such/place", "ais://b=http://x"):
        with (
            pytest.raises(RuntimeError, match="did not start"),
            StoreProcess(extra=("--remote", text)),
        ):
            pass
