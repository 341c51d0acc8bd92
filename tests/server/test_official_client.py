"""The official Python client, each public method at least once.

`MEMBERS` has a call for every public method of its classes; a method without one fails the test, so
the table stays whole as the client grows. With AIS_ENDPOINT the same calls go to that cluster, and
what fails there is printed: what a real cluster refuses in its default build is no fault here.
"""

import datetime as dt
import inspect
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aistore.sdk import Client
from aistore.sdk.archive_config import ArchiveConfig
from aistore.sdk.batch.batch import Batch
from aistore.sdk.bucket import Bucket
from aistore.sdk.cluster import Cluster
from aistore.sdk.dsort.core import Dsort
from aistore.sdk.dsort.framework import DsortFramework
from aistore.sdk.errors import AISError
from aistore.sdk.etl.etl import Etl
from aistore.sdk.etl.etl_config import ETLConfig
from aistore.sdk.etl.webserver.http_multi_threaded_server import HTTPMultiThreadedServer
from aistore.sdk.job import Job
from aistore.sdk.multiobj.object_group import ObjectGroup
from aistore.sdk.obj.multipart_upload import MultipartUpload
from aistore.sdk.obj.obj_file.object_file import ObjectFileReader, ObjectFileWriter
from aistore.sdk.obj.object import Object
from aistore.sdk.obj.object_reader import ObjectReader
from aistore.sdk.obj.object_writer import ObjectWriter

from tests.server import samples
from tests.support.store import StoreProcess

CLASSES = [
    Client, Cluster, Bucket, Object, ObjectReader, ObjectWriter, ObjectGroup, Job, Etl, Dsort,
    Batch, MultipartUpload, ObjectFileReader, ObjectFileWriter,
]  # fmt: skip

REFUSED = {
    "Bucket.create_inventory": "AIS 5.0 answers this with the death of every target",
    "Dsort.start": "dSort is left out of default builds of AIS 5.0",
    "Dsort.wait": "needs a dSort job",
    "Dsort.abort": "needs a dSort job",
    "Dsort.get_job_info": "needs a dSort job",
}
"""What does not succeed here, and why. At most five."""

LOCAL = {"as_model", "get_path", "get_semantic_url", "get_url", "qparam", "validate_etl_name"}


@dataclass
class Place:
    """A cluster and what the calls work on."""

    client: Client
    directory: Path
    remote: str
    count: int = 0

    def bucket(self) -> Bucket:
        """Return a fresh bucket with three objects and a shard."""
        self.count += 1
        bucket = self.client.bucket(f"official-{os.getpid()}-{self.count}").create()
        for name in ("a/1", "a/2", "b"):
            bucket.object(name).get_writer().put_content(name.encode())
        bucket.object("s.tar").get_writer().put_content(samples.tar_of())
        return bucket

    def object(self) -> Object:
        """Return an object of a fresh bucket; it holds `a/1`."""
        return self.bucket().object("a/1")

    def other(self) -> Bucket:
        """Return a fresh bucket without objects."""
        self.count += 1
        return self.client.bucket(f"official-{os.getpid()}-{self.count}").create()

    def cloud(self) -> Bucket:
        """Return a bucket of a cloud provider; it holds `cold/1`."""
        provider, _, name = self.remote.partition("://")
        return self.client.bucket(name, provider=provider)

    def etl(self, **options: Any) -> Etl:
        """Return a running ETL that makes capitals."""
        self.count += 1
        etl = self.client.etl(f"official-{self.count:04}")

        class Upper(HTTPMultiThreadedServer):  # type: ignore[misc]  # untyped library
            def transform(self, data: bytes, _path: str, _etl_args: str) -> bytes:
                return data.upper()

        etl.init_class(**options)(Upper)
        return etl

    def done(self, job_id: str, kind: str = "") -> None:
        """Wait for a job; it must have succeeded."""
        result = self.client.job(job_id, kind).wait(timeout=30, verbose=False)
        assert result.success, result.error

    def all_done(self, job_ids: list[str]) -> None:
        """Wait for the jobs of a group; they must have succeeded."""
        for job_id in job_ids:
            result = self.client.job(job_id).wait_for_idle(timeout=30, verbose=False)
            assert result.success, result.error


MEMBERS: dict[str, Callable[[Place], Any]] = {}


def member(name: str) -> Callable[[Callable[[Place], Any]], Callable[[Place], Any]]:
    """Enter a call under the method that it is about."""

    def enter(call: Callable[[Place], Any]) -> Callable[[Place], Any]:
        MEMBERS[name] = call
        return call

    return enter


def names_of(bucket: Bucket, **options: Any) -> list[str]:
    return [entry.name for entry in bucket.list_all_objects(**options)]


def read(item: Object, **options: Any) -> bytes:
    data: bytes = item.get_reader(**options).read_all()
    return data


# ---- Client and Cluster -------------------------------------------------------------------------


@member("Client.batch")
def _(place: Place) -> None:
    bucket = place.bucket()
    found = [data for _, data in place.client.batch(["b", "a/2"], bucket=bucket).get()]
    assert found == [b"b", b"a/2"]


@member("Client.bucket")
def _(place: Place) -> None:
    assert place.client.bucket("x").name == "x"


@member("Client.cluster")
def _(place: Place) -> None:
    assert isinstance(place.client.cluster(), Cluster)


@member("Client.dsort")
def _(place: Place) -> None:
    assert place.client.dsort("id").dsort_id == "id"


@member("Client.etl")
def _(place: Place) -> None:
    assert place.client.etl("some-etl").name == "some-etl"


@member("Client.get_object_from_url")
def _(place: Place) -> None:
    item = place.object()
    assert read(place.client.get_object_from_url(item.get_semantic_url())) == b"a/1"


@member("Client.job")
def _(place: Place) -> None:
    assert place.client.job("id", "lru").job_kind == "lru"


@member("Cluster.get_cluster_logs")
def _(place: Place) -> None:
    targets = place.client.cluster().get_info().tmap
    assert place.client.cluster().get_cluster_logs().keys() == targets.keys()


@member("Cluster.get_info")
def _(place: Place) -> None:
    assert place.client.cluster().get_info().tmap


@member("Cluster.get_node_log")
def _(place: Place) -> None:
    assert place.client.cluster().get_node_log(next(iter(place.client.cluster().get_info().tmap)))


@member("Cluster.get_node_log_archive")
def _(place: Place) -> None:
    node = next(iter(place.client.cluster().get_info().tmap))
    assert place.client.cluster().get_node_log_archive(node).startswith(b"\x1f\x8b")


@member("Cluster.get_performance")
def _(place: Place) -> None:
    targets = place.client.cluster().get_info().tmap
    assert place.client.cluster().get_performance().keys() == targets.keys()


@member("Cluster.get_primary_url")
def _(place: Place) -> None:
    assert place.client.cluster().get_primary_url().startswith("http")


@member("Cluster.get_uuid")
def _(place: Place) -> None:
    assert place.client.cluster().get_uuid() == place.client.cluster().get_info().uuid


@member("Cluster.is_ready")
def _(place: Place) -> None:
    assert place.client.cluster().is_ready()


@member("Cluster.list_buckets")
def _(place: Place) -> None:
    bucket = place.bucket()
    assert bucket.name in [item.name for item in place.client.cluster().list_buckets()]


@member("Cluster.list_etls")
def _(place: Place) -> None:
    etl = place.etl()
    assert etl.name in [info.id for info in place.client.cluster().list_etls()]
    etl.delete()


@member("Cluster.list_jobs_status")
def _(place: Place) -> None:
    job_id = place.client.job(job_kind="lru").start()
    found = place.client.cluster().list_jobs_status(job_kind="lru")
    assert job_id in [status.uuid for status in found]


@member("Cluster.list_running_jobs")
def _(place: Place) -> None:
    assert isinstance(place.client.cluster().list_running_jobs(), list)


# ---- Bucket -------------------------------------------------------------------------------------


@member("Bucket.as_model")
def _(place: Place) -> None:
    assert place.client.bucket("x").as_model().name == "x"


@member("Bucket.copy")
def _(place: Place) -> None:
    bucket, other = place.bucket(), place.other()
    place.done(bucket.copy(other, prefix_filter="a/", prepend="p/", ext={"1": "2"}))
    assert sorted(names_of(other)) == ["p/a/1", "p/a/2"]


@member("Bucket.create")
def _(place: Place) -> None:
    bucket = place.other()
    assert bucket.create(exist_ok=True).name == bucket.name


@member("Bucket.create_inventory")
def _(place: Place) -> None:
    place.bucket().create_inventory("inventory")


@member("Bucket.show_inventory")
def _(place: Place) -> None:
    assert place.bucket().show_inventory() == {}


@member("Bucket.destroy_inventory")
def _(place: Place) -> None:
    place.bucket().destroy_inventory("inventory")


@member("Bucket.delete")
def _(place: Place) -> None:
    bucket = place.bucket()
    bucket.delete()
    bucket.delete(missing_ok=True)
    assert bucket.name not in [item.name for item in place.client.cluster().list_buckets()]


@member("Bucket.evict")
def _(place: Place) -> None:
    bucket = place.cloud()
    read(bucket.object("cold/1"))
    bucket.evict(keep_md=True)
    assert bucket.object("cold/1").props.present is False


@member("Bucket.get_path")
def _(place: Place) -> None:
    assert place.client.bucket("x").get_path() == "ais/@#/x/"


@member("Bucket.head")
def _(place: Place) -> None:
    assert "Ais-Bucket-Props" in place.bucket().head()


@member("Bucket.info")
def _(place: Place) -> None:
    props, summary = place.bucket().info()
    assert props
    assert int(summary["ObjCount"]["obj_count_present"]) == 4


@member("Bucket.inspect")
def _(place: Place) -> None:
    etl = place.etl()
    place.done(place.bucket().inspect(etl.name))
    etl.delete()


@member("Bucket.list_all_objects")
def _(place: Place) -> None:
    assert names_of(place.bucket(), prefix="a/", props="name,size") == ["a/1", "a/2"]


@member("Bucket.list_all_objects_iter")
def _(place: Place) -> None:
    assert [item.name for item in place.bucket().list_all_objects_iter("a/")] == ["a/1", "a/2"]


@member("Bucket.list_archive")
def _(place: Place) -> None:
    found = [entry.name for entry in place.bucket().list_archive("s.tar")]
    assert sorted(found) == sorted(f"s.tar/{name}" for name, _ in samples.MEMBERS)


@member("Bucket.list_objects")
def _(place: Place) -> None:
    page = place.bucket().list_objects(page_size=2)
    assert (len(page.entries), bool(page.continuation_token)) == (2, True)


@member("Bucket.list_objects_iter")
def _(place: Place) -> None:
    found = place.bucket().list_objects_iter(page_size=2)
    assert sorted(entry.name for entry in found) == ["a/1", "a/2", "b", "s.tar"]


@member("Bucket.list_urls")
def _(place: Place) -> None:
    assert len(list(place.bucket().list_urls(prefix="a/"))) == 2


@member("Bucket.make_request")
def _(place: Place) -> None:
    assert place.bucket().make_request("GET", "list", {}).status_code == 200


@member("Bucket.object")
def _(place: Place) -> None:
    assert place.client.bucket("x").object("y").name == "y"


@member("Bucket.objects")
def _(place: Place) -> None:
    assert place.client.bucket("x").objects(obj_names=["y"]).list_names() == ["y"]


@member("Bucket.put_files")
def _(place: Place) -> None:
    tree = place.directory / "tree"
    (tree / "d").mkdir(parents=True, exist_ok=True)
    (tree / "d" / "f").write_bytes(b"file")
    bucket = place.other()
    assert bucket.put_files(tree, recursive=True, prepend="t/", verbose=False) == ["t/d/f"]
    assert read(bucket.object("t/d/f")) == b"file"


@member("Bucket.rename")
def _(place: Place) -> None:
    bucket = place.bucket()
    place.done(bucket.rename(f"{bucket.name}-new"))
    assert read(place.client.bucket(f"{bucket.name}").object("b")) == b"b"


@member("Bucket.summary")
def _(place: Place) -> None:
    assert place.bucket().summary()["TotalSize"]


@member("Bucket.transform")
def _(place: Place) -> None:
    etl, other = place.etl(), place.other()
    place.done(place.bucket().transform(etl.name, other, prefix_filter="a/"))
    assert read(other.object("a/1")) == b"A/1"
    etl.delete()


@member("Bucket.verify_cloud_bucket")
def _(place: Place) -> None:
    place.cloud().verify_cloud_bucket()


@member("Bucket.write_dataset")
def _(place: Place) -> None:
    """The client writes a shard with a library of its own and puts it; this is the put."""
    shard = place.directory / "dataset.tar"
    shard.write_bytes(samples.tar_of())

    class Config:
        def write_shards(self, post: Callable[[str], None], **_: Any) -> None:
            post(str(shard))

    bucket = place.other()
    bucket.write_dataset(Config())
    assert len(names_of(bucket)) == 1


# ---- Object, its reader and writer --------------------------------------------------------------


@member("Object.blob_download")
def _(place: Place) -> None:
    item = place.cloud().object("cold/2")
    place.done(item.blob_download(), "blob-download")
    assert item.props.present


@member("Object.copy")
def _(place: Place) -> None:
    item = place.object()
    target = place.other().object("copy")
    item.copy(target)
    assert read(target) == b"a/1"


@member("Object.delete")
def _(place: Place) -> None:
    item = place.object()
    item.delete()
    with pytest.raises(AISError):
        item.head()


@member("Object.get_reader")
def _(place: Place) -> None:
    bucket = place.bucket()
    assert read(bucket.object("b"), byte_range="bytes=0-0") == b"b"
    member = ArchiveConfig(archpath="img/1.jpg")
    assert read(bucket.object("s.tar"), archive_config=member) == b"JPEG1"


@member("Object.get_semantic_url")
def _(place: Place) -> None:
    assert place.client.bucket("x").object("y").get_semantic_url() == "ais://x/y"


@member("Object.get_url")
def _(place: Place) -> None:
    assert "/v1/objects/x/y" in place.client.bucket("x").object("y").get_url()


@member("Object.get_writer")
def _(place: Place) -> None:
    assert isinstance(place.client.bucket("x").object("y").get_writer(), ObjectWriter)


@member("Object.head")
def _(place: Place) -> None:
    assert place.object().head().size == 3


@member("Object.multipart_upload")
def _(place: Place) -> None:
    assert isinstance(place.object().multipart_upload(), MultipartUpload)


@member("Object.promote")
def _(place: Place) -> None:
    source = place.directory / "promoted"
    source.write_bytes(b"promoted")
    item = place.other().object("p")
    item.promote(str(source))
    assert read(item) == b"promoted"


@member("ObjectReader.as_file")
def _(place: Place) -> None:
    with place.object().get_reader().as_file() as file:
        assert file.read() == b"a/1"


@member("ObjectReader.head")
def _(place: Place) -> None:
    assert place.object().get_reader().head().size == 3


@member("ObjectReader.raw")
def _(place: Place) -> None:
    assert place.object().get_reader().raw().read() == b"a/1"


@member("ObjectReader.read_all")
def _(place: Place) -> None:
    item = place.other().object("large")
    body = os.urandom(20 << 20)
    item.get_writer().put_content(body)
    assert item.get_reader().read_all() == body
    with item.get_reader(num_workers=2).read_all() as parts:
        assert parts.tobytes() == body


@member("ObjectWriter.append_content")
def _(place: Place) -> None:
    item = place.other().object("log")
    handle = item.get_writer().append_content(b"one ")
    handle = item.get_writer().append_content(b"two", handle=handle)
    item.get_writer().append_content(b"", handle=handle, flush=True)
    assert read(item) == b"one two"


@member("ObjectWriter.as_file")
def _(place: Place) -> None:
    item = place.other().object("file")
    with item.get_writer().as_file("w") as file:
        file.write(b"content")
    assert read(item) == b"content"


@member("ObjectWriter.put_content")
def _(place: Place) -> None:
    item = place.other().object("x")
    item.get_writer().put_content(b"")
    assert read(item) == b""


@member("ObjectWriter.put_file")
def _(place: Place) -> None:
    source = place.directory / "source"
    source.write_bytes(b"file")
    item = place.other().object("x")
    item.get_writer().put_file(str(source))
    assert read(item) == b"file"


@member("ObjectWriter.set_custom_props")
def _(place: Place) -> None:
    item = place.object()
    item.get_writer().set_custom_props({"color": "red"})
    assert item.head("custom").custom_metadata == {"color": "red"}


@member("MultipartUpload.create")
def _(place: Place) -> None:
    assert place.object().multipart_upload().create()


@member("MultipartUpload.add_part")
@member("MultipartUpload.complete")
def _(place: Place) -> None:
    item = place.other().object("parts")
    upload = item.multipart_upload().create()
    upload.add_part(2).put_content(b"two")
    upload.add_part(1).put_content(b"one ")
    upload.complete()
    assert read(item) == b"one two"


@member("MultipartUpload.abort")
def _(place: Place) -> None:
    item = place.other().object("parts")
    upload = item.multipart_upload().create()
    upload.add_part(1).put_content(b"one")
    upload.abort()
    with pytest.raises(AISError):
        item.head()


@member("ObjectFileReader.close")
@member("ObjectFileReader.read")
@member("ObjectFileReader.readable")
def _(place: Place) -> None:
    file = place.object().get_reader().as_file()
    assert file.readable()
    assert (file.read(1), file.read()) == (b"a", b"/1")
    file.close()


@member("ObjectFileWriter.close")
@member("ObjectFileWriter.flush")
@member("ObjectFileWriter.write")
def _(place: Place) -> None:
    item = place.other().object("x")
    file = item.get_writer().as_file("w")
    file.write(b"1")
    file.flush()
    file.write(b"2")
    file.close()
    assert read(item) == b"12"


# ---- groups of objects --------------------------------------------------------------------------


@member("ObjectGroup.archive")
def _(place: Place) -> None:
    bucket = place.bucket()
    place.all_done(bucket.objects(obj_names=["a/1", "b"]).archive("new.tar"))
    data = read(bucket.object("new.tar"))
    assert sorted(samples.members_of(data)) == [("a/1", b"a/1"), ("b", b"b")]


@member("ObjectGroup.copy")
def _(place: Place) -> None:
    bucket, other = place.bucket(), place.other()
    place.all_done(bucket.objects(obj_template="a/{1..2}").copy(other, prepend="p/"))
    assert names_of(other) == ["p/a/1", "p/a/2"]


@member("ObjectGroup.delete")
def _(place: Place) -> None:
    bucket = place.bucket()
    place.done(bucket.objects(obj_template="a/{1..2}").delete())
    assert names_of(bucket) == ["b", "s.tar"]


@member("ObjectGroup.evict")
def _(place: Place) -> None:
    bucket = place.cloud()
    read(bucket.object("cold/3"))
    place.done(bucket.objects(obj_names=["cold/3"]).evict())
    assert bucket.object("cold/3").props.present is False


@member("ObjectGroup.inspect")
def _(place: Place) -> None:
    etl = place.etl()
    place.bucket().objects(obj_names=["b"]).inspect(etl.name)
    etl.delete()


@member("ObjectGroup.list_all_objects_iter")
def _(place: Place) -> None:
    group = place.bucket().objects(obj_names=["b"])
    assert [item.name for item in group.list_all_objects_iter()] == ["b"]


@member("ObjectGroup.list_names")
def _(place: Place) -> None:
    group = place.client.bucket("x").objects(obj_template="{1..2}")
    assert list(group.list_names()) == ["1", "2"]


@member("ObjectGroup.list_urls")
def _(place: Place) -> None:
    assert len(list(place.bucket().objects(obj_names=["b"]).list_urls())) == 1


@member("ObjectGroup.prefetch")
def _(place: Place) -> None:
    bucket = place.cloud()
    bucket.evict(keep_md=True)
    place.done(bucket.objects(obj_names=["cold/4"]).prefetch())
    assert bucket.object("cold/4").props.present


@member("ObjectGroup.transform")
def _(place: Place) -> None:
    etl, other = place.etl(), place.other()
    group = place.bucket().objects(obj_names=["a/1", "b"])
    place.all_done([group.transform(other, etl_name=etl.name)])
    assert read(other.object("b")) == b"B"
    etl.delete()


# ---- jobs, ETL, dSort, batches ------------------------------------------------------------------


@member("Job.start")
@member("Job.status")
@member("Job.wait")
@member("Job.get_details")
@member("Job.get_total_time")
def _(place: Place) -> None:
    job = place.client.job(place.client.job(job_kind="cleanup-store").start())
    assert job.wait(timeout=30, verbose=False).success
    assert job.status().end_time
    assert job.get_details().any_finished
    assert job.get_total_time() is not None


@member("Job.abort")
def _(place: Place) -> None:
    place.client.job(place.client.job(job_kind="lru").start()).abort()


@member("Job.get_within_timeframe")
def _(place: Place) -> None:
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)
    job_id = place.client.job(job_kind="lru").start()
    found = place.client.job(job_kind="lru").get_within_timeframe(before)
    assert job_id in [snap.id for snap in found]


@member("Job.wait_for_idle")
def _(place: Place) -> None:
    bucket = place.bucket()
    place.all_done(bucket.objects(obj_names=["b"]).archive("x.tar"))


@member("Job.wait_single_node")
def _(place: Place) -> None:
    job = place.client.job(place.client.job(job_kind="lru").start())
    assert job.wait_single_node(timeout=30, verbose=False).success


@member("Etl.init")
def _(place: Place) -> None:
    """An image cannot be run by a process: both this store and a cluster without it say so."""
    etl = place.client.etl("official-image")
    with pytest.raises(AISError):
        etl.init(image="no-such-image", command=["/nonexistent/command"], init_timeout="5s")
    with pytest.raises(AISError):
        etl.view()


@member("Etl.init_class")
def _(place: Place) -> None:
    etl = place.etl()
    assert read(place.object(), etl=ETLConfig(etl.name)) == b"A/1"
    etl.delete()


@member("Etl.logs")
@member("Etl.start")
@member("Etl.stop")
@member("Etl.view")
@member("Etl.delete")
def _(place: Place) -> None:
    etl = place.etl()
    assert etl.view().init_msg
    assert isinstance(etl.logs(), list)
    etl.stop()
    etl.start()
    assert read(place.object(), etl=ETLConfig(etl.name)) == b"A/1"
    etl.stop()
    etl.delete()


@member("Etl.validate_etl_name")
def _(_: Place) -> None:
    Etl.validate_etl_name("some-name")
    with pytest.raises(ValueError, match="name"):
        Etl.validate_etl_name("X")


@member("Dsort.start")
@member("Dsort.wait")
@member("Dsort.abort")
@member("Dsort.get_job_info")
def _(place: Place) -> None:
    spec = place.directory / "dsort.json"
    bucket = place.bucket().name
    spec.write_text(
        json.dumps(
            {
                "input_bck": {"name": bucket, "provider": "ais"},
                "output_bck": {"name": bucket, "provider": "ais"},
                "input_extension": ".tar",
                "input_format": {"template": "s-{0..1}"},
                "output_format": "o-{0..9}",
                "output_shard_size": "10KB",
            }
        )
    )
    dsort = place.client.dsort()
    dsort.start(DsortFramework.from_file(spec))
    assert dsort.get_job_info()
    dsort.wait(timeout=30)


@member("Batch.add")
@member("Batch.clear")
@member("Batch.get")
def _(place: Place) -> None:
    bucket = place.bucket()
    batch = place.client.batch(bucket=bucket)
    batch.add("a/1").clear().add("b").add("s.tar", archpath="img/1.jpg")
    assert [data for _, data in batch.get()] == [b"b", b"JPEG1"]
    batch.add("b")
    with tarfile.open(fileobj=batch.get(raw=True), mode="r|") as archive:
        assert [info.size for info in archive] == [1]


# ---- the table ----------------------------------------------------------------------------------


def public_methods() -> list[str]:
    """Return `Class.method` of every public method that the client's classes define."""
    found = []
    for cls in CLASSES:
        for name, value in inspect.getmembers(cls, callable):
            home = next((base for base in cls.__mro__ if name in vars(base)), cls)
            if not name.startswith("_") and home.__module__.startswith("aistore."):
                assert callable(value)
                found.append(f"{cls.__name__}.{name}")
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A store with all that is off by default, or the cluster of AIS_ENDPOINT."""
    directory = tmp_path_factory.mktemp("official")
    if endpoint := os.environ.get("AIS_ENDPOINT"):
        client = Client(endpoint, token=os.environ.get("AIS_AUTHN_TOKEN"))
        yield Place(client, directory, os.environ.get("AIS_REMOTE_BUCKET", "aws://none"))
        return
    origin = directory / "origin"
    (origin / "cold").mkdir(parents=True)
    for number in range(1, 5):
        (origin / "cold" / str(number)).write_bytes(b"cold")
    files = directory / "files"
    files.mkdir()
    extra = (
        "--allow-etl", "--promote-root", str(files), "--remote", f"aws://official={origin}"
    )  # fmt: skip
    with StoreProcess(faults=False, extra=extra) as store:
        token = (store.data / "token").read_text().strip()
        yield Place(Client(store.endpoint, token=token), files, "aws://official")


def test_the_table_has_every_public_method() -> None:
    assert sorted(MEMBERS) == sorted(public_methods())
    assert len(REFUSED) <= 5


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_member(place: Place, name: str) -> None:
    if name == "Bucket.create_inventory" and "AIS_ENDPOINT" in os.environ:
        pytest.skip("it ends the cluster's targets")
    if name not in REFUSED:
        try:
            MEMBERS[name](place)
        except AISError as error:
            if "AIS_ENDPOINT" in os.environ:
                pytest.xfail(f"the cluster refuses: {error}")
            raise
        return
    with pytest.raises(AISError) as refusal:
        MEMBERS[name](place)
    print(f"{name}: {REFUSED[name]}: {refusal.value}")
