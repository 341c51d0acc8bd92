"""What buckets, groups and jobs do, against a store."""

import io
import tarfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from aisfs_sdk import Bucket, Client, ObjectRange, errors
from aisfs_sdk.multiobj import ObjectGroup


@pytest.fixture
def other(client: Client) -> Iterator[Bucket]:
    made = client.bucket(f"sdk-{uuid.uuid4().hex[:12]}").create()
    yield made
    made.delete(missing_ok=True)


def fill(bucket: Bucket, *names: str) -> None:
    for name in names:
        bucket.object(name).put_content(f"content of {name}".encode())


def names(bucket: Bucket, prefix: str = "") -> list[str]:
    return [entry.name for entry in bucket.list_all_objects(prefix)]


# ---- whole buckets ------------------------------------------------------------------------------


def test_copy_a_bucket(client: Client, bucket: Bucket, other: Bucket) -> None:
    fill(bucket, "a/1", "a/2", "b/1")
    job = bucket.copy(other, prefix_filter="a/", prepend="new-")
    result = client.job(job).wait()
    assert result
    assert result.job_id == job
    assert names(other) == ["new-a/1", "new-a/2"]
    assert other.object("new-a/1").get().read_all() == b"content of a/1"


def test_a_dry_run_of_a_copy_writes_nothing(client: Client, bucket: Bucket, other: Bucket) -> None:
    fill(bucket, "a")
    assert client.job(bucket.copy(other, dry_run=True)).wait()
    assert names(other) == []


def test_rename_changes_the_name_at_once(client: Client, bucket: Bucket) -> None:
    fill(bucket, "a")
    old, new = bucket.name, f"{bucket.name}-new"
    job = bucket.rename(new)
    try:
        assert bucket.name == new
        assert bucket.get_path() == f"ais/@#/{new}/"
        assert client.job(job).wait()
        assert names(bucket) == ["a"]
        with pytest.raises(errors.ErrBckNotFound):
            client.bucket(old).head()
    finally:
        client.bucket(new).delete(missing_ok=True)


def test_rename_to_a_taken_name(bucket: Bucket, other: Bucket) -> None:
    with pytest.raises(errors.ErrBckAlreadyExists):
        bucket.rename(other.name)
    assert bucket.name != other.name


def test_summary_and_info_count_objects(bucket: Bucket) -> None:
    fill(bucket, "a/1", "a/2", "b")
    found = bucket.summary(prefix="a/")
    assert found["name"] == bucket.name
    assert int(found["ObjCount"]["obj_count_present"]) == 2
    props, summary = bucket.info()
    assert '"versioning"' in props
    assert int(summary["ObjCount"]["obj_count_present"]) == 3
    with pytest.raises(errors.ErrBckNotFound):
        Bucket("no-such-bucket", bucket.client).summary()
    with pytest.raises(errors.ErrBckNotFound):
        Bucket("no-such-bucket", bucket.client).info()


@pytest.mark.parametrize("presence", [-1, 6, "x"])
def test_info_knows_six_kinds_of_presence(bucket: Bucket, presence: int) -> None:
    with pytest.raises(ValueError, match="0 to 5"):
        bucket.info(presence)


def test_clouds_only(bucket: Bucket) -> None:
    for verb in (
        bucket.evict,
        bucket.verify_cloud_bucket,
        bucket.objects(["a"]).evict,
        bucket.objects(["a"]).prefetch,
    ):
        with pytest.raises(errors.InvalidBckProvider):
            verb()


def test_ais_only(client: Client) -> None:
    cloud = client.bucket("b", "aws")
    cloud.verify_cloud_bucket()
    with pytest.raises(errors.InvalidBckProvider):
        cloud.create()
    with pytest.raises(errors.InvalidBckProvider):
        cloud.delete()
    with pytest.raises(errors.InvalidBckProvider):
        cloud.rename("c")


def test_urls_can_be_read(bucket: Bucket) -> None:
    fill(bucket, "a b", "c")
    urls = list(bucket.list_urls())
    assert [requests.get(url, timeout=20).text for url in urls] == [
        "content of a b",
        "content of c",
    ]
    assert urls == list(bucket.objects(["a b", "c"]).list_urls())
    assert urls[:1] == list(bucket.object("a b").list_urls())
    assert "etl_name=md5-etl" in next(bucket.list_urls(etl_name="md5-etl"))
    assert [obj.name for obj in bucket.list_all_objects_iter("c")] == ["c"]


# ---- files --------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "b.txt", "c.bin", "sub/a.txt"):
        (tmp_path / name).write_text(f"file {name}")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        ({}, ["a.txt", "b.txt", "c.bin"]),
        ({"recursive": True}, ["a.txt", "b.txt", "c.bin", "sub/a.txt"]),
        ({"recursive": True, "pattern": "*.txt", "prepend": "x-"},
         ["x-a.txt", "x-b.txt", "x-sub/a.txt"]),
        ({"prefix_filter": "b", "recursive": True}, ["b.txt"]),
        ({"recursive": True, "basename": True}, ["a.txt", "a.txt", "b.txt", "c.bin"]),
    ],
)  # fmt: skip
def test_put_files(
    bucket: Bucket, tree: Path, options: dict[str, object], stored: list[str]
) -> None:
    dry = bucket.put_files(str(tree), dry_run=True, **options)  # type: ignore[arg-type]
    assert sorted(dry) == stored
    assert names(bucket) == []
    assert bucket.put_files(tree, **options) == dry  # type: ignore[arg-type]
    assert names(bucket) == sorted(set(stored))


def test_put_files_wants_a_directory(bucket: Bucket, tree: Path) -> None:
    for path in (tree / "a.txt", tree / "none"):
        with pytest.raises(ValueError, match="Path"):
            bucket.put_files(str(path))


def test_put_file_wants_a_file(bucket: Bucket, tree: Path) -> None:
    with pytest.raises(ValueError, match="no path"):
        bucket.object("a").put_file()
    with pytest.raises(ValueError, match="not a file"):
        bucket.object("a").put_file(str(tree))
    bucket.object("a").put_file(str(tree / "a.txt"))
    assert bucket.object("a").get().read_all() == b"file a.txt"


# ---- groups -------------------------------------------------------------------------------------


def test_delete_a_group(client: Client, bucket: Bucket) -> None:
    fill(bucket, "n-1", "n-2", "n-3", "m-01", "m-02", "keep", "p/1")
    for group in (
        bucket.objects(obj_names=["p/1"]),
        bucket.objects(obj_range=ObjectRange("n-", 1, 2)),
        bucket.objects(obj_template="m-{01..02}"),
    ):
        assert client.job(group.delete()).wait()
    assert names(bucket) == ["keep", "n-3"]


def test_copy_a_group(client: Client, bucket: Bucket, other: Bucket) -> None:
    fill(bucket, "a", "b", "c")
    group = bucket.objects(["a", "b"])
    assert client.job(group.copy(other, prepend="x/")).wait_for_idle(60)
    assert names(other) == ["x/a", "x/b"]


def test_archive_a_group(client: Client, bucket: Bucket, other: Bucket) -> None:
    fill(bucket, "a", "b")
    job = bucket.objects(["a", "b"]).archive("out.tar", to_bck=other, include_source_name=True)
    assert client.job(job, "archive").wait(60)
    data = other.object("out.tar").get().read_all()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert sorted(archive.getnames()) == [f"{bucket.name}/a", f"{bucket.name}/b"]
    members = other.list_archive("out.tar")
    assert [entry.name for entry in members] == [
        f"out.tar/{bucket.name}/a",
        f"out.tar/{bucket.name}/b",
    ]
    assert other.list_archive("out.tar", include_archive_obj=True)[0].name == "out.tar"
    member = other.object("out.tar").get(archpath=f"{bucket.name}/a")
    assert member.read_all() == b"content of a"


@pytest.mark.parametrize(
    "group",
    [
        {"obj_names": []},
        {"obj_template": ""},
        {"obj_template": "*"},
        {"obj_range": ObjectRange("")},
    ],
)
def test_an_empty_group_never_means_the_whole_bucket(
    bucket: Bucket, other: Bucket, group: dict[str, object]
) -> None:
    fill(bucket, "a")
    empty = bucket.objects(**group)  # type: ignore[arg-type]
    verbs = (
        empty.delete,
        empty.evict,
        empty.prefetch,
        lambda: empty.copy(other),
        lambda: empty.transform(other, "md5-etl"),
        lambda: empty.archive("a.tar"),
    )
    for verb in verbs:
        with pytest.raises(ValueError, match="the group is empty"):
            verb()
    assert names(bucket) == ["a"]


def test_a_group_is_given_in_one_way() -> None:
    bucket = Bucket("b")
    with pytest.raises(ValueError, match="by names"):
        bucket.objects()
    with pytest.raises(ValueError, match="by names"):
        ObjectGroup(bucket, ["a"], obj_template="b")
    with pytest.raises(TypeError, match="ObjectRange, not str"):
        bucket.objects(obj_range="a{1..2}")  # type: ignore[arg-type]


# ---- jobs ---------------------------------------------------------------------------------------


def test_lists_of_jobs(client: Client, bucket: Bucket, other: Bucket) -> None:
    fill(bucket, "a")
    cluster = client.cluster()
    job = client.job(bucket.copy(other))
    assert job.wait()
    found = {status.uuid: status for status in cluster.list_jobs_status("copy-bck")}
    assert found[job.job_id].end_time
    assert found[job.job_id].err == ""
    assert cluster.list_jobs_status("no-such-kind") == []
    assert all("[" in text for text in cluster.list_running_jobs())
    assert all(not text.startswith("copy-bck[") for text in cluster.list_running_jobs("lru"))
    targets = list(cluster.get_info().tmap)
    on = [cluster.list_jobs_status("copy-bck", target) for target in targets]
    assert any(job.job_id in {status.uuid for status in one} for one in on)
    assert cluster.list_jobs_status("copy-bck", "no-such-target") == []
    assert cluster.list_running_jobs(target_id="no-such-target") == []


def test_status_and_details_of_a_job(client: Client, bucket: Bucket, other: Bucket) -> None:
    fill(bucket, "a", "b")
    before = datetime.now(UTC) - timedelta(minutes=1)
    job = client.job(bucket.copy(other), "copy-bck")
    assert job.wait()
    status = job.status()
    assert (status.uuid, status.aborted, status.err) == (job.job_id, False, "")
    details = job.get_details()
    assert details.kind == "copy-bck"
    assert sum(snap.stats.objects for snap in details.list_snapshots() if snap.stats) == 2
    assert details.list_snapshots()[0].source_bck.name in {bucket.name, ""}
    total = job.get_total_time()
    assert total is not None
    assert timedelta(0) <= total < timedelta(minutes=5)
    assert job.get_within_timeframe(before)
    with pytest.raises(errors.JobInfoNotFound):
        job.get_within_timeframe(before - timedelta(days=2), before - timedelta(days=1))


def test_a_job_that_nobody_knows(client: Client) -> None:
    job = client.job("nosuchjob")
    with pytest.raises(errors.JobInfoNotFound) as caught:
        job.status()
    assert caught.value.status_code == 404
    with pytest.raises(errors.JobInfoNotFound):
        job.wait(1)
    with pytest.raises(errors.Timeout, match="No job information found"):
        job.wait_for_idle(0.2)
    for verb in (client.job().status, client.job().get_details, client.job().abort):
        with pytest.raises(ValueError, match="id"):
            verb()


def test_start_and_stop_a_job(client: Client, bucket: Bucket) -> None:
    job = client.job(client.job(job_kind="lru").start(buckets=[bucket]))
    assert job.wait()
    job.abort()
    with pytest.raises(errors.AISError, match="xaction"):
        client.job(job_kind="no-such-kind").start()
    assert client.job(job_kind="cleanup").start(buckets=[bucket], force=True)
