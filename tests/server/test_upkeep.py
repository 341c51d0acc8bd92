"""Storage jobs: second copies, repair, eviction by age, configuration."""

import json
import os
from pathlib import Path
from typing import Any

from tests.server import wire
from tests.server.messages import run, send
from tests.support.store import StoreProcess


def start(store: StoreProcess, **value: Any) -> dict[str, Any]:
    return run(store, "PUT", "/v1/cluster", "start", value)


def put(store: StoreProcess, bucket: str, name: str, body: bytes) -> None:
    target = f"/v1/objects/{bucket}/{name}?provider=ais"
    assert wire.follow(store.endpoint, "PUT", target, [], body).status == 200


def get(store: StoreProcess, bucket: str, name: str) -> wire.Answer:
    return wire.follow(store.endpoint, "GET", f"/v1/objects/{bucket}/{name}?provider=ais")


def copies(store: StoreProcess, bucket: str, name: str) -> str:
    target = f"/v1/objects/{bucket}/{name}?provider=ais"
    return wire.follow(store.endpoint, "HEAD", target).get("Ais-Mirror-Copies")


def files(store: StoreProcess, kind: str) -> list[Path]:
    return [path for path in (store.data / kind).rglob("*") if path.is_file()]


def resilver(store: StoreProcess) -> str:
    """Resilver all targets; returns what they report."""
    return " ".join(
        start(store, Kind="resilver", DaemonID=node)["err"] for node in store.smap()["tmap"]
    ).strip()


def test_copies_are_made_counted_and_dropped(store: StoreProcess, bucket: str) -> None:
    before = len(files(store, "mirror"))
    put(store, bucket, "a", b"first")
    target = f"/v1/buckets/{bucket}?provider=ais"
    assert run(store, "POST", target, "make-n-copies", 2)["err"] == ""
    put(store, bucket, "b", b"second")
    assert (copies(store, bucket, "a"), copies(store, bucket, "b")) == ("2", "2")
    assert len(files(store, "mirror")) == before + 2
    page = send(store, "GET", target, "list", {"props": "name,copies"})
    assert [entry["copies"] for entry in json.loads(page.body)["entries"]] == [2, 2]
    put(store, bucket, "a", b"again")
    wire.follow(store.endpoint, "DELETE", f"/v1/objects/{bucket}/b?provider=ais")
    assert len(files(store, "mirror")) == before + 1
    assert run(store, "POST", target, "make-n-copies", "1")["err"] == ""
    assert copies(store, bucket, "a") == "1"
    assert len(files(store, "mirror")) == before


def test_resilver_repairs_and_reports() -> None:
    with StoreProcess() as store:
        store.create_bucket("m")
        store.set_bucket_props("m", {"mirror": {"enabled": True}})
        store.create_bucket("plain")
        put(store, "plain", "x", b"plain x")
        put(store, "m", "lost", b"lost bytes")
        put(store, "m", "spoilt", b"spoilt bytes")
        put(store, "m", "alone", b"alone bytes")
        by_body = {path.read_bytes(): path for path in files(store, "blobs")}
        by_body[b"lost bytes"].unlink()
        assert get(store, "m", "lost").body == b"lost bytes"
        by_body[b"spoilt bytes"].write_bytes(b"spoilt BYTES")
        (store.data / "mirror" / by_body[b"alone bytes"].relative_to(store.data / "blobs")).unlink()
        assert resilver(store) == ""
        for name in ("lost", "spoilt", "alone"):
            assert get(store, "m", name).body == f"{name} bytes".encode()
        assert sorted(path.read_bytes() for path in files(store, "mirror")) == [
            b"alone bytes", b"lost bytes", b"spoilt bytes",
        ]  # fmt: skip
        by_body[b"plain x"].write_bytes(b"plain y")
        assert resilver(store) == "ais://plain/x: broken, and there is no sound copy of it"
        store.kill()
        store.start()
        assert len(files(store, "mirror")) == 3
        assert get(store, "m", "lost").body == b"lost bytes"


def test_eviction_takes_the_oldest_remote_copies_only(tmp_path: Path) -> None:
    cloud = tmp_path / "cloud"
    cloud.mkdir()
    for name in ("a", "b"):
        (cloud / name).write_bytes(b"bytes")
    with StoreProcess(extra=("--remote", f"aws://c={cloud}")) as store:
        store.create_bucket("mine")
        put(store, "mine", "only", b"copy")
        for name in ("a", "b"):
            wire.follow(store.endpoint, "GET", f"/v1/objects/c/{name}?provider=aws")

        def cached() -> int:
            value = {"flags": "1", "props": "name"}
            page = send(store, "GET", "/v1/buckets/c?provider=aws", "list", value)
            return len(json.loads(page.body)["entries"] or [])

        def configure(query: str) -> int:
            target = f"/v1/cluster/set-config?{query}"
            return wire.follow(store.endpoint, "PUT", target).status

        assert start(store, Kind="lru", Force=True)["err"] == ""
        assert cached() == 2, "the disk is not full"
        assert configure("space.cleanupwm=1&space.lowwm=2&space.highwm=3") == 200
        props = {"lru": {"enabled": True, "dont_evict_time": "1h"}}
        send(store, "PATCH", "/v1/buckets/c?provider=aws", "set-bprops", props)
        start(store, Kind="lru")
        assert cached() == 2, "they were read within the hour"
        used = os.statvfs(store.data)
        assert used.f_bavail < used.f_blocks * 0.97, "this test needs a disk that is used"
        props = {"lru": {"enabled": False, "dont_evict_time": "0s"}}
        send(store, "PATCH", "/v1/buckets/c?provider=aws", "set-bprops", props)
        start(store, Kind="lru")
        assert cached() == 2, "the bucket does not take part"
        assert start(store, Kind="lru", Force=True)["err"] == ""
        assert cached() == 0
        assert get(store, "mine", "only").body == b"copy"
        assert sorted(path.name for path in cloud.iterdir()) == ["a", "b"]


def test_rebalances_are_numbered(store: StoreProcess) -> None:
    ids = [send(store, "PUT", "/v1/cluster", "start", {"Kind": "rebalance"}).body for _ in "12"]
    numbers = [int(name.removeprefix(b"g")) for name in ids]
    assert numbers[1] == numbers[0] + 1


def test_configuration_applies_to_new_buckets_and_survives() -> None:
    with StoreProcess() as store:
        target = "/v1/cluster/set-config?mirror.burst_buffer=600&checksum.type=md5"
        assert wire.follow(store.endpoint, "PUT", target).status == 200
        store.restart()
        store.create_bucket("b")
        put(store, "b", "x", b"hello")
        head = wire.follow(store.endpoint, "HEAD", "/v1/objects/b/x?provider=ais")
        assert head.get("Ais-Checksum-Type") == "md5"
        config = wire.follow(store.endpoint, "GET", "/v1/cluster?what=cluster_config")
        assert json.loads(config.body)["mirror"]["burst_buffer"] == 600
        assert send(store, "PUT", "/v1/cluster", "reset-config").status == 200
        store.create_bucket("c")
        put(store, "c", "x", b"hello")
        head = wire.follow(store.endpoint, "HEAD", "/v1/objects/c/x?provider=ais")
        assert head.get("Ais-Checksum-Type") == "xxhash2"
        bad = wire.follow(store.endpoint, "PUT", "/v1/cluster/set-config?checksum.type=nope")
        assert bad.status == 400
