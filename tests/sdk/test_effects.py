"""What members do, seen by plain HTTP: on both embedded releases, or on a real cluster."""

import io
import json
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from aisfs_sdk import Bucket, Client, errors
from aisfs_sdk.types import Smap
from tests.sdk import evidence
from tests.sdk.servers import TIMEOUT_S, Server


@pytest.fixture
def other(client: Client) -> Iterator[Bucket]:
    made = client.bucket(f"sdk-{uuid.uuid4().hex[:12]}").create()
    yield made
    made.delete(missing_ok=True)


def test_buckets(server: Server, client: Client) -> None:
    bucket = client.bucket(f"sdk-{uuid.uuid4().hex[:12]}")
    new = f"{bucket.name}-new"
    with evidence.effect("Bucket.create", "Bucket.head", "Bucket.rename", "Bucket.delete"):
        bucket.create()
        raw = server.raw("HEAD", f"buckets/{bucket.name}?provider=ais")
        assert bucket.head()["ais-bucket-props"] == raw.headers["ais-bucket-props"]
        assert client.job(bucket.rename(new)).wait(30)
        assert server.exists(new)
        bucket.delete()
        assert not server.exists(new)
    with evidence.effect("Bucket.make_request"):
        bucket.make_request("POST", "create-bck")
        assert server.exists(new)
    bucket.delete()


def test_listings(server: Server, client: Client, bucket: Bucket) -> None:
    server.put(bucket.name, a=b"1", b=b"22")
    names = server.names(bucket.name)
    with evidence.effect(
        "Bucket.list_objects", "Bucket.list_objects_iter", "Bucket.list_all_objects",
        "ObjectIterator.__next__", "Bucket.list_urls", "Bucket.summary", "Bucket.info",
    ):  # fmt: skip
        assert [one.name for one in bucket.list_objects().entries] == names == ["a", "b"]
        assert [one.name for one in bucket.list_objects_iter()] == names
        assert next(bucket.list_objects_iter()).name == names[0]
        assert [one.name for one in bucket.list_all_objects()] == names
        assert [requests.get(url, timeout=TIMEOUT_S).content for url in bucket.list_urls()] == [
            b"1", b"22"
        ]  # fmt: skip
        assert int(bucket.summary()["ObjCount"]["obj_count_present"]) == len(names)
        raw = server.raw("HEAD", f"buckets/{bucket.name}?provider=ais")
        assert json.loads(bucket.info()[0]) == json.loads(raw.headers["ais-bucket-props"])


def test_copies(server: Server, client: Client, bucket: Bucket, other: Bucket) -> None:
    server.put(bucket.name, a=b"1", b=b"22", c=b"333")
    with evidence.effect("Bucket.copy", "Job.wait", "Job.status"):
        job = client.job(bucket.copy(other, prepend="x-"))
        assert job.wait(30)
        assert server.content(other.name, "x-c") == b"333"
        raw = server.raw("GET", "cluster?what=status", {"ID": job.job_id}).json()
        assert job.status().end_time == raw["end_time"] > 0
    with evidence.effect("ObjectGroup.copy", "Job.wait_for_idle"):
        assert client.job(bucket.objects(["a"]).copy(other)).wait_for_idle(60)
        assert server.content(other.name, "a") == b"1"
    with evidence.effect("ObjectGroup.archive"):
        job = client.job(bucket.objects(["a", "b"]).archive("s.tar"), "archive")
        assert job.wait(60)
        found = server.raw("GET", f"objects/{bucket.name}/s.tar?provider=ais&archpath=b")
        assert found.content == b"22"
    with evidence.effect("ObjectGroup.delete"):
        assert client.job(bucket.objects(["a"]).delete()).wait(60)
        assert server.names(bucket.name) == ["b", "c", "s.tar"]


def test_remote_buckets(server: Server, client: Client) -> None:
    if server.cloud is None:
        evidence.impossible("no remote bucket is known there", "Bucket.evict",
                            "ObjectGroup.evict", "ObjectGroup.prefetch")  # fmt: skip
        return
    (server.cloud / "o").write_bytes(b"12345")
    cloud = client.bucket("cloud", "aws")

    def cached() -> list[str]:
        return server.names("cloud", "provider=aws", flags="1")

    with evidence.effect("ObjectGroup.prefetch", "ObjectGroup.evict", "Bucket.evict"):
        for evict in (lambda: client.job(cloud.objects(["o"]).evict()).wait(60), cloud.evict):
            assert client.job(cloud.objects(["o"]).prefetch()).wait(60)
            assert cached() == ["o"]
            evict()
            assert cached() == []


def test_objects(server: Server, client: Client, bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    obj = bucket.object("f")
    with evidence.effect("Bucket.put_files", "Object.put_content", "Object.put_file"):
        writes: tuple[tuple[Callable[[], Any], bytes], ...] = (
            (lambda: bucket.put_files(str(tmp_path)), b"12345"),
            (lambda: obj.put_content(b"678"), b"678"),
            (lambda: obj.put_file(str(tmp_path / "f")), b"12345"),
        )
        for write, content in writes:
            write()
            assert server.content(bucket.name, "f") == content
    server.put(bucket.name, f=b"abcde")
    raw = server.raw("HEAD", f"objects/{bucket.name}/f?provider=ais").headers
    with evidence.effect(
        "Object.head", "Object.get", "ObjectReader.read_all", "ObjectReader.raw",
        "ObjectReader.__iter__", "ObjectReader.attributes", "Object.get_url", "Object.list_urls",
        "ObjectGroup.list_urls",
    ):  # fmt: skip
        assert obj.head()["Ais-Checksum-Value"] == raw["Ais-Checksum-Value"]
        assert obj.get().read_all() == obj.get().raw().read() == b"".join(obj.get()) == b"abcde"
        assert obj.get().attributes.size == 5
        urls = [obj.get_url(), *obj.list_urls(), *bucket.objects(["f"]).list_urls()]
        assert [requests.get(url, timeout=TIMEOUT_S).content for url in urls] == [b"abcde"] * 3
    attributes = obj.get().attributes
    with evidence.effect(*(name for name in evidence.CHECKLIST if "Attributes." in name)):
        assert attributes.size == int(raw["Content-Length"])
        assert attributes.checksum_type == raw["Ais-Checksum-Type"]
        assert attributes.checksum_value == raw["Ais-Checksum-Value"]
        assert attributes.access_time
        assert attributes.obj_version == raw["Ais-Version"]
        assert attributes.custom_metadata == {}
    with evidence.effect("Object.delete"):
        obj.delete()
        assert server.content(bucket.name, "f") is None


def test_promotion(server: Server, bucket: Bucket) -> None:
    if server.folder is None:
        evidence.impossible("its own files are not ours to promote", "Object.promote")
        return
    (server.folder / "f").write_bytes(b"promoted")
    with evidence.effect("Object.promote"):
        bucket.object("p").promote(str(server.folder / "f"))
        assert server.content(bucket.name, "p/f") == b"promoted"


def test_the_cluster(server: Server, client: Client, bucket: Bucket, other: Bucket) -> None:
    cluster = client.cluster()
    with evidence.effect(
        "Cluster.get_info", "Cluster.get_primary_url", "Cluster.list_buckets",
        "Cluster.is_aistore_running", "Cluster.is_ready", "RequestClient.request",
        "RequestClient.request_deserialize", "RequestClient.get_full_url",
    ):  # fmt: skip
        raw = server.raw("GET", "daemon?what=smap").json()
        assert cluster.get_info().tmap.keys() == raw["tmap"].keys()
        assert cluster.get_primary_url() == raw["proxy_si"]["public_net"]["direct_url"]
        named = server.raw("GET", "buckets?provider=ais", {"action": "list"}).json()
        assert {one.name for one in cluster.list_buckets()} == {one["name"] for one in named}
        healthy = server.raw("GET", "health?prr=true").ok
        assert cluster.is_aistore_running() is cluster.is_ready() is healthy is True
        own = client.request_client
        assert own.request("GET", "daemon", {"what": "smap"}).json()["uuid"] == raw["uuid"]
        smap = own.request_deserialize("GET", "daemon", Smap, params={"what": "smap"})
        assert smap.uuid == raw["uuid"]
        url = own.get_full_url("daemon", {"what": "smap"})
        assert requests.get(url, timeout=TIMEOUT_S).json()["uuid"] == raw["uuid"]
    with evidence.effect("Job.start", "Cluster.list_jobs_status", "Cluster.list_running_jobs"):
        job = client.job(job_kind="lru")
        started = client.job(job.start(buckets=[bucket]))
        assert started.wait(60)
        question = {"kind": "lru", "node": "", "show_active": False}
        told = server.raw("GET", "cluster?what=status_all", question).json() or []
        assert started.job_id in {one["uuid"] for one in told}
        assert started.job_id in {one.uuid for one in cluster.list_jobs_status("lru")}
        # Nothing of ours runs any more, by both accounts.
        question = {"kind": "lru", "node": "", "show_active": True}
        raw_running = server.raw("GET", "cluster?what=running_all", question).json() or []
        assert cluster.list_running_jobs("lru") == raw_running


def upper(data: bytes) -> bytes:
    return data.upper()


POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  annotations:
    communication_type: hpush://
spec:
  containers:
    - name: server
      image: any
      ports: [{{name: default, containerPort: 80}}]
      readinessProbe: {{httpGet: {{path: /health, port: default}}}}
      command: [python, {program}]
"""
PROGRAM = """
import http.server, os, urllib.parse

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"ready")

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        if "etl_fqn" in query:
            with open(urllib.parse.unquote(query["etl_fqn"][0]), "rb") as file:
                body = file.read()
        self.answer(body[::-1])

    def answer(self, data):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def transforming(server: Server) -> None:
    if server.folder is None:
        members = [name for name, row in evidence.CHECKLIST.items()
                   if row.effect and name.startswith("Etl.")]  # fmt: skip
        reason = "no Kubernetes there"
        evidence.unable(reason, "Etl.init_code", exception="ErrETLAlreadyExists")
        evidence.unable(reason, "Etl.view", exception="ErrETLNotFound")
        evidence.impossible(reason, *members, "Cluster.list_running_etls",
                            "Bucket.transform", "ObjectGroup.transform")  # fmt: skip


def test_pods(server: Server, client: Client, bucket: Bucket, tmp_path: Path) -> None:
    transforming(server)
    server.put(bucket.name, o=b"abc")
    (tmp_path / "program.py").write_text(PROGRAM)
    with client.etl("sdk-effects-pod") as etl, evidence.effect("Etl.init_spec"):
        etl.init_spec(POD.format(name=etl.name, program=tmp_path / "program.py"))
        found = server.raw("GET", f"objects/{bucket.name}/o?provider=ais&etl_name={etl.name}")
        assert found.content == b"cba"


def test_sorting(server: Server, client: Client, bucket: Bucket, other: Bucket) -> None:
    shards = io.BytesIO()
    with tarfile.open(fileobj=shards, mode="w") as file:
        for name in ("b.txt", "a.txt"):
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    server.put(bucket.name, **{"shard-0.tar": shards.getvalue()})
    spec = {
        "bck": {"name": bucket.name, "provider": "ais"}, "extension": ".tar",
        "output_bck": {"name": other.name, "provider": "ais"}, "input_format": "shard-{0..0}",
        "output_format": "new-{0..9}", "output_shard_size": "10KB",
    }  # fmt: skip
    members = [name for name, row in evidence.CHECKLIST.items()
               if row.effect and name.startswith("Dsort.")]  # fmt: skip
    try:
        client.dsort().start(spec)
    except errors.AISError as error:
        # Nothing of ours stands in the way: the cluster refuses everybody.
        refused = server.raw("POST", "sort", spec).status_code
        assert refused == error.status_code  # noqa: PT017 - where it sorts, more is looked at
        kind = type(error).__name__
        evidence.impossible(f"refused, raised as {kind}: {error.message[:80]}", *members)
    with evidence.effect(*members):
        dsort, stopped = client.dsort(), client.dsort()
        dsort.start({**spec, "output_format": "more-{0..9}"})
        assert dsort.wait(60)
        listed = server.raw("GET", f"sort?uuid={dsort.dsort_id}").json()
        assert dsort.metrics().keys() == dsort.get_job_info().keys() == listed.keys()
        assert "more-0.tar" in server.names(other.name)
        stopped.start({**spec, "output_format": "last-{0..9}"})
        stopped.abort()
        listed = server.raw("GET", f"sort?uuid={stopped.dsort_id}").json()
        assert all(one["aborted"] or one["shard_creation"]["finished"] for one in listed.values())


def test_transformers(server: Server, client: Client, bucket: Bucket, other: Bucket) -> None:
    transforming(server)
    etl = client.etl("sdk-effects")

    def inline() -> bytes | None:
        found = server.raw("GET", f"objects/{bucket.name}/o?provider=ais&etl_name={etl.name}")
        return found.content if found.ok else None

    server.put(bucket.name, o=b"abc", p=b"def")
    with evidence.effect("Etl.init_code", "Etl.view", "Cluster.list_running_etls"):
        etl.init_code(upper)
        assert inline() == b"ABC"
        assert etl.view().id == etl.name
        listed = [one["id"] for one in server.raw("GET", "etl").json()]
        assert [one.id for one in client.cluster().list_running_etls()] == listed == [etl.name]
    with evidence.raises("Etl.init_code", errors.ErrETLAlreadyExists):
        etl.init_code(upper)
    with evidence.effect("Bucket.transform", "ObjectGroup.transform"):
        assert client.job(bucket.transform(etl.name, other, prepend="x-")).wait(60)
        assert server.content(other.name, "x-o") == b"ABC"
        job = client.job(bucket.objects(["p"]).transform(other, etl.name))
        assert job.wait(60)
        assert server.content(other.name, "p") == b"DEF"
    with evidence.effect("Etl.stop", "Etl.start", "Etl.delete"):
        etl.stop()
        assert inline() is None
        etl.start()
        assert inline() == b"ABC"
        etl.stop()
        etl.delete()
        assert server.raw("GET", f"etl/{etl.name}").status_code == 404
    with evidence.raises("Etl.view", errors.ErrETLNotFound):
        etl.view()
