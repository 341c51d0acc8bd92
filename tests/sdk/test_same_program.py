"""One program, run with the official client and with ours, against one store: equal results."""

import io
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aistore.sdk import Client as OfficialClient
from aistore.sdk import archive_config as official_archive
from aistore.sdk.multiobj import ObjectRange as OfficialRange

from aisfs_sdk import Client, ObjectRange
from aisfs_sdk import archive_config as own_archive
from aisfs_sdk.eras import Feature


class Official:
    """Names of the official client."""

    Client = OfficialClient
    ObjectRange = OfficialRange
    archive = official_archive


class Own:
    """The same names of ours."""

    Client = Client
    ObjectRange = ObjectRange
    archive = own_archive


Program = Callable[[Any, Any, Any, Any], Any]


def write(bucket: Any, **objects: bytes) -> None:
    for name, content in objects.items():
        bucket.object(name.replace("__", "/")).get_writer().put_content(content)


def entries(found: Any) -> list[tuple[Any, ...]]:
    return [(one.name, one.size, one.is_cached(), one.is_ok()) for one in found]


def error_of(verb: Callable[..., Any], *arguments: Any) -> tuple[int, list[str]]:
    """Return the status of a failure, and the names of the classes that catch it."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the question
        verb(*arguments)
    kinds = [kind.__name__ for kind in type(caught.value).__mro__]
    return getattr(caught.value, "status_code", 0), kinds


def bucket_identity(sdk: Any, client: Any, bucket: Any, other: Any) -> Any:
    model = bucket.as_model()
    return bucket.name, str(bucket.get_path()), bucket.qparam, model.as_dict()["name"]


def listing(sdk: Any, client: Any, bucket: Any, other: Any) -> Any:
    write(bucket, a=b"1", b=b"22", d__c=b"333")
    page = bucket.list_objects(prefix="d/")
    return (
        entries(bucket.list_all_objects()),
        entries(bucket.list_objects_iter(prefix="a")),
        entries(page.entries),
        page.continuation_token,
        [obj.name for obj in bucket.list_all_objects_iter()],
        [url.partition("/v1/")[2] for url in bucket.list_urls()],
    )


def reading(sdk: Any, client: Any, bucket: Any, other: Any) -> Any:
    write(bucket, o=bytes(range(200)) * 100)
    obj = bucket.object("o")
    reader = obj.get_reader(chunk_size=7000)
    chunks = [len(chunk) for chunk in obj.get_reader(chunk_size=7000)]
    attributes = obj.get_reader().attributes
    return (
        reader.read_all(),
        chunks,
        obj.get_reader(byte_range="bytes=5-9").read_all(),
        obj.get_reader(byte_range="bytes=-4").read_all(),
        (attributes.size, attributes.checksum_type, attributes.checksum_value),
        attributes.obj_version,
        obj.get_reader().as_file().read(10),
        obj.uname,
        obj.get_semantic_url(),
        obj.get_url().partition("/v1/")[2],
    )


def writing(sdk: Any, client: Any, bucket: Any, other: Any) -> Any:
    obj = bucket.object("o")
    writer = obj.get_writer()
    handle = writer.append_content(b"one ")
    # The newest handle has the checksum: with an older one AIS stores a wrong one.
    handle = writer.append_content(b"two", handle)
    writer.append_content(b"", handle, flush=True)
    writer.set_custom_props({"k": "v", "l": "w"})
    writer.set_custom_props({"k": "x"}, replace_existing=True)
    with bucket.object("f").get_writer().as_file("w") as file:
        file.write(b"file ")
        file.write(b"content")
    upload = bucket.object("parts").multipart_upload().create()
    upload.add_part(1).put_content(b"first ")
    upload.add_part(2).put_content(b"second")
    upload.complete()
    obj.copy(bucket.object("copied"))
    reader = bucket.object("copied").get_reader()
    return (
        [bucket.object(name).get_reader().read_all() for name in ("o", "f", "parts", "copied")],
        reader.attributes.custom_metadata,
    )


def groups(sdk: Any, client: Any, bucket: Any, other: Any) -> Any:
    write(bucket, **{f"n-{i}": bytes(i) for i in range(5)})
    group = bucket.objects(obj_range=sdk.ObjectRange("n-", 1, 3))
    names = group.list_names()
    job = group.copy(other, prepend="x/")
    client.job(job if isinstance(job, str) else job[0], "copy-listrange").wait(60)
    result = client.job(bucket.objects(obj_names=["n-0"]).delete(), "delete-listrange").wait(60)
    return (
        names,
        bool(result),
        entries(other.list_all_objects()),
        entries(bucket.list_all_objects()),
        [url.partition("/v1/")[2] for url in group.list_urls()],
    )


def bucket_jobs(sdk: Any, client: Any, bucket: Any, other: Any) -> Any:
    write(bucket, a__1=b"1", a__2=b"2", b=b"3")
    result = client.job(bucket.copy(other, prefix_filter="a/", prepend="p-"), "copy-bck").wait(60)
    summary = bucket.summary()
    props, info = bucket.info()
    return (
        bool(result),
        entries(other.list_all_objects()),
        summary["ObjCount"],
        info["ObjCount"],
        sorted(summary),
        bool(props),
    )


def archives(sdk: Any, client: Any, bucket: Any, other: Any) -> Any:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("a/1.jpg", "a/2.txt"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    write(bucket, **{"s.tar": buffer.getvalue()})
    obj = bucket.object("s.tar")
    config = sdk.archive.ArchiveConfig(archpath="a/1.jpg")
    wanted = sdk.archive.ArchiveConfig(regex="txt", mode=sdk.archive.ArchiveMode.SUFFIX)
    with tarfile.open(fileobj=io.BytesIO(obj.get_reader(wanted).read_all())) as found:
        names = found.getnames()
    return (
        obj.get_reader(config).read_all(),
        names,
        entries(bucket.list_archive("s.tar")),
        entries(bucket.list_archive("s.tar", include_archive_obj=True)),
    )


def batches(sdk: Any, client: Any, bucket: Any, other: Any) -> Any:
    write(bucket, a=b"1", b=b"22")
    batch = client.batch(["a", "none", "b"], bucket=bucket)
    return [(out.obj_name, data, bool(out.err_msg)) for out, data in batch.get()][::2]


def files(sdk: Any, client: Any, bucket: Any, other: Any) -> Any:
    folder = Path(client.folder)
    stored = bucket.put_files(str(folder), recursive=True, pattern="*.txt", prepend="p/")
    return sorted(stored), entries(bucket.list_all_objects())


def failures(sdk: Any, client: Any, bucket: Any, other: Any) -> Any:
    gone = client.bucket("no-such-bucket")
    cloud = client.bucket("b", provider="aws")
    calls = [
        (lambda: bucket.object("none").get_reader().read_all(),),
        (bucket.object("none").delete,),
        (gone.list_objects,),
        (gone.head,),
        (gone.delete,),
        (bucket.create,),
        (cloud.create,),
        (bucket.evict,),
        (bucket.objects(obj_names=["a"]).evict,),
        (bucket.info, 9),
        (sdk.ObjectRange, "p", 5, 1),
        (client.job("nosuchjob").status,),
        (client.job().status,),
        (bucket.objects,),
        (bucket.put_files, "/no/such/folder"),
    ]
    return [error_of(*call) for call in calls]


def clusters(sdk: Any, client: Any, bucket: Any, other: Any) -> Any:
    cluster = client.cluster()
    smap = cluster.get_info()
    return (
        cluster.is_ready(),
        cluster.get_primary_url(),
        cluster.get_uuid(),
        sorted(smap.tmap),
        sorted(smap.pmap),
        smap.version,
        next(one.provider for one in cluster.list_buckets() if one.name == bucket.name),
        smap.get_target_for_object(bucket.object("x").uname).daemon_id,
    )


PROGRAMS: list[Program] = [
    bucket_identity, listing, reading, writing, groups, bucket_jobs, archives, batches, files,
    failures, clusters,
]  # fmt: skip


@pytest.fixture
def modern(endpoint: str) -> str:
    if not Client(endpoint).era.has(Feature.APPEND_CONTINUES):
        pytest.skip("the official client of today cannot use clusters of 2023")
    return endpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "sub/b.txt", "c.bin"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_both_clients_get_the_same(modern: str, folder: Path, program: Program) -> None:
    results = []
    name = f"sdk-{uuid.uuid4().hex[:12]}"
    for sdk in (Official, Own):
        client: Any = sdk.Client(modern)
        client.folder = folder
        # One after the other under the same names, so that even placement is equal.
        bucket = client.bucket(name).create()
        other = client.bucket(f"{name}-to").create()
        try:
            results.append(program(sdk, client, bucket, other))
        finally:
            bucket.delete(missing_ok=True)
            other.delete(missing_ok=True)
    if program is failures:
        # Ours may say more: every failure is caught by whoever catches the official one.
        for (status, kinds), (ours, own_kinds) in zip(*results, strict=True):
            assert kinds[0] in own_kinds
            assert ours == status
    else:
        assert results[1] == results[0]
