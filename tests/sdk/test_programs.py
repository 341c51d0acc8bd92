"""Short programs as a reader of the specification types them: the same on servers of every age."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aisfs_sdk import Bucket, Client, ObjectRange
from aisfs_sdk.errors import AISError, ErrBckNotFound, UnsupportedError
from tests.sdk.conftest import AIS_ENDPOINT
from tests.support.store import StoreProcess

Program = Callable[[Client, Bucket, Path], None]
PROGRAMS: list[Program] = []


def program(function: Program) -> Program:
    PROGRAMS.append(function)
    return function


@pytest.fixture(scope="module", params=["cluster"] if AIS_ENDPOINT else ["5.0", "3.17"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Endpoint and token of a cluster."""
    if request.param == "cluster":
        yield AIS_ENDPOINT, ""
        return
    with StoreProcess(extra=("--compat", request.param, "--allow-etl")) as store:
        yield store.endpoint, (store.data / "token").read_text().strip()


@program
def of_the_client(client: Client, bucket: Bucket, folder: Path) -> None:
    named = client.bucket(bucket.name, provider="ais")
    named.object("o").put_content(b"1")
    assert named.object("o").get().read_all() == b"1"
    assert client.cluster().client is client.request_client
    assert client.job("x", "lru").job_kind == "lru"
    assert client.etl("some-etl").name == "some-etl"
    with pytest.raises(ErrBckNotFound):
        client.bucket("no-such-bucket").head()


@program
def of_the_cluster(client: Client, bucket: Bucket, folder: Path) -> None:
    cluster = client.cluster()
    assert cluster.is_aistore_running()
    smap = cluster.get_info()
    assert len(smap.tmap) >= 1
    assert smap.proxy_si.public_net.direct_url in cluster.get_primary_url()
    assert bucket.name in [found.name for found in cluster.list_buckets()]
    assert isinstance(cluster.list_jobs_status(), list)
    assert isinstance(cluster.list_running_jobs(), list)


@program
def of_a_bucket(client: Client, bucket: Bucket, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "a.txt").write_text("one")
    (folder / "sub" / "b.txt").write_text("two")
    assert sorted(bucket.put_files(str(folder), recursive=True, prepend="p/")) == sorted(
        ["p/a.txt", "p/sub/b.txt"]
    )
    assert sorted(entry.name for entry in bucket.list_all_objects()) == ["p/a.txt", "p/sub/b.txt"]
    to_bck = client.bucket(f"{bucket.name}-to").create()
    client.job(job_id=bucket.copy(to_bck, prepend="c/")).wait(timeout=60)
    assert to_bck.object("c/p/a.txt").get().read_all() == b"one"
    while client.cluster().list_running_jobs(job_kind="rebalance"):
        time.sleep(0.5)  # clusters of 2023 refuse meanwhile, and a rename starts one
    moved = to_bck.rename(to_bck_name=f"{bucket.name}-moved")
    client.job(job_id=moved).wait(timeout=60)
    client.bucket(f"{bucket.name}-moved").delete()


@program
def of_an_object(client: Client, bucket: Bucket, folder: Path) -> None:
    (folder / "file").write_bytes(b"0123456789" * 100)
    obj = bucket.object("dir/obj")
    obj.put_file(str(folder / "file"))
    assert obj.head()["Content-Length"] == "1000"
    reader = obj.get(chunk_size=300)
    assert [len(chunk) for chunk in reader] == [300, 300, 300, 100]
    with (folder / "copy").open("wb") as file:
        obj.get(writer=file)
    assert (folder / "copy").read_bytes() == (folder / "file").read_bytes()
    obj.delete()
    with pytest.raises(AISError):
        obj.head()


@program
def of_a_reader(client: Client, bucket: Bucket, folder: Path) -> None:
    bucket.object("o").put_content(b"abc" * 1000)
    reader = bucket.object("o").get()
    assert reader.attributes.size == 3000
    assert reader.read_all() == b"abc" * 1000
    assert bucket.object("o").get().raw().read(3) == b"abc"
    assert b"".join(bucket.object("o").get(chunk_size=7)) == b"abc" * 1000


@program
def of_an_iterator(client: Client, bucket: Bucket, folder: Path) -> None:
    for number in range(25):
        bucket.object(f"n/{number:02}").put_content(b"x" * number)
    seen = [entry.name for entry in bucket.list_objects_iter(prefix="n/")]
    assert seen == [f"n/{number:02}" for number in range(25)]
    page = bucket.list_objects(prefix="n/1", props="name,size")
    assert {entry.name: entry.size for entry in page.entries} == {
        f"n/{number}": number for number in range(10, 20)
    }


@program
def of_a_group(client: Client, bucket: Bucket, folder: Path) -> None:
    for number in range(1, 4):
        bucket.object(f"o-{number}").put_content(str(number).encode())
    group = bucket.objects(obj_range=ObjectRange("o-", 1, 3))
    assert group.list_names() == ["o-1", "o-2", "o-3"]
    client.job(group.archive("all.tar")).wait_for_idle(timeout=60)
    assert bucket.object("all.tar").get(archpath="o-2").read_all() == b"2"
    client.job(bucket.objects(obj_names=["o-1", "o-3"]).delete()).wait(timeout=60)
    assert sorted(e.name for e in bucket.list_all_objects()) == ["all.tar", "o-2"]


@program
def of_a_job(client: Client, bucket: Bucket, folder: Path) -> None:
    bucket.object("o").put_content(b"1")
    other = client.bucket(f"{bucket.name}-job").create()
    job = client.job(job_id=bucket.copy(other))
    job.wait(timeout=60)
    status = job.status()
    assert (status.uuid, status.err) == (job.job_id, "")
    assert status.end_time > 0
    other.delete()


@program
def of_a_transformer(client: Client, bucket: Bucket, folder: Path) -> None:
    def double(data: bytes) -> bytes:
        return data * 2

    bucket.object("o").put_content(b"ab")
    etl = client.etl("double-etl")
    try:
        etl.init_code(transform=double, timeout="2m")
    except UnsupportedError:
        return  # this cluster runs none
    assert bucket.object("o").get(etl_name="double-etl").read_all() == b"abab"
    assert etl.name in [info.id for info in client.cluster().list_running_etls()]
    etl.stop()
    etl.delete()


@program
def of_dsort(client: Client, bucket: Bucket, folder: Path) -> None:
    spec = folder / "spec.json"
    spec.write_text(json.dumps({
        "input_bck": {"name": bucket.name}, "input_format": "s-{0..1}", "output_format": "o-{0..9}",
        "output_shard_size": "1MB", "input_extension": ".tar",
    }))  # fmt: skip
    dsort = client.dsort()
    with pytest.raises(ValueError, match="no-such-file"):
        dsort.start(str(folder / "no-such-file"))
    try:
        dsort.start(str(spec))
        dsort.wait(timeout=60)
    except AISError as error:
        assert str(error)  # noqa: PT017 - builds without it say so


@pytest.mark.parametrize("run", PROGRAMS, ids=lambda run: run.__name__)
def test_programs(server: tuple[str, str], run: Program, tmp_path: Path) -> None:
    endpoint, token = server
    client = Client(endpoint, token=token or None)
    bucket = client.bucket(f"program-{uuid.uuid4().hex[:10]}").create()
    try:
        run(client, bucket, tmp_path)
    finally:
        bucket.delete()
        client.close()
