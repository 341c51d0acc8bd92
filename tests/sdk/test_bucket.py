import json

import pytest
import requests

from aisfs_sdk import Bucket, Client, ListObjectFlag, Namespace, errors
from aisfs_sdk.object_iterator import ObjectIterator
from aisfs_sdk.types import BucketEntry, BucketList, BucketModel
from tests.sdk.wire import Reply, Request, Wire, http


def names(entries: list[BucketEntry]) -> list[str]:
    return [entry.name for entry in entries]


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for name in ("a.txt", "d/1", "d/2", "d/e/3", "f/4", "z"):
        bucket.object(name).put_content(name.encode())
    return bucket


def test_create_and_delete(client: Client) -> None:
    bucket = client.bucket("sdk-make")
    bucket.delete(missing_ok=True)
    with pytest.raises(errors.ErrBckNotFound):
        bucket.delete()
    assert bucket.create() is bucket
    bucket.create(exist_ok=True)
    with pytest.raises(errors.ErrBckAlreadyExists):
        bucket.create()
    bucket.delete()
    with pytest.raises(errors.ErrBckNotFound):
        bucket.object("o").head()


def test_head(bucket: Bucket, client: Client) -> None:
    props = json.loads(bucket.head()["ais-bucket-props"])
    assert props["provider"] == "ais"
    with pytest.raises(errors.ErrBckNotFound) as caught:
        client.bucket("sdk-none").head()
    assert isinstance(caught.value, requests.HTTPError)


def test_cloud_buckets_are_not_made_here(client: Client) -> None:
    bucket = client.bucket("b", provider="aws")
    for verb in (
        bucket.create,
        bucket.delete,
        Bucket("b", provider="a" + "is").verify_cloud_bucket,
    ):
        with pytest.raises(errors.InvalidBckProvider):
            verb()
    bucket.verify_cloud_bucket()


def test_lists_whole(filled: Bucket) -> None:
    expected = ["a.txt", "d/1", "d/2", "d/e/3", "f/4", "z"]
    assert names(filled.list_all_objects()) == expected
    page = filled.list_objects()
    assert names(page.get_entries()) == expected
    assert page.continuation_token == ""
    assert [entry.size for entry in page.entries] == [len(name) for name in expected]


def test_lists_below_a_prefix(filled: Bucket) -> None:
    assert names(filled.list_all_objects("d/")) == ["d/1", "d/2", "d/e/3"]
    assert names(filled.list_all_objects("none/")) == []


def test_lists_one_level(filled: Bucket) -> None:
    entries = filled.list_all_objects(flags=[ListObjectFlag.NO_RECURSION])
    shown = [(entry.name.rstrip("/"), entry.is_dir()) for entry in entries]
    assert shown == [("a.txt", False), ("d", True), ("f", True), ("z", False)]


def test_lists_after_a_name(filled: Bucket) -> None:
    assert names(filled.list_objects(start_after="d/2").entries) == ["d/e/3", "f/4", "z"]
    assert names(filled.list_all_objects(start_after="f/4")) == ["z"]


def test_lists_pages(filled: Bucket) -> None:
    page = filled.list_objects(page_size=4)
    assert len(page.entries) == 4
    rest = filled.list_objects(page_size=4, continuation_token=page.continuation_token)
    assert names(page.entries + rest.entries) == names(filled.list_all_objects())
    iterator = filled.list_objects_iter(page_size=4)
    assert next(iterator).name == "a.txt"
    assert len(list(iterator)) == 5
    assert list(iterator) == []


def test_lists_properties(filled: Bucket) -> None:
    (entry,) = filled.list_objects("a.txt", props="name,size,version,checksum,atime,copies").entries
    assert entry.checksum == filled.object("a.txt").props.checksum_value
    assert entry.version == "1"
    assert entry.atime
    assert entry.is_cached()
    assert entry.is_ok()


def test_a_bucket_without_objects(bucket: Bucket) -> None:
    assert bucket.list_all_objects() == []
    assert list(bucket.list_objects_iter()) == []


def test_listing_what_is_not_there(client: Client) -> None:
    with pytest.raises(errors.ErrBckNotFound):
        client.bucket("sdk-none").list_objects()
    with pytest.raises(errors.ErrBckNotFound):
        list(client.bucket("sdk-none").list_objects_iter())


def test_negative_pages_are_never_asked_for() -> None:
    with Wire(lambda request: http(200)) as wire:
        bucket = Client(wire.endpoint).bucket("b")
        for verb in (bucket.list_objects, bucket.list_all_objects):
            with pytest.raises(ValueError, match="-1 entries"):
                verb(page_size=-1)
        assert not wire.requests


def test_the_message_of_a_listing() -> None:
    seen: list[dict[str, object]] = []

    def answer(request: Request) -> Reply:
        seen.append(json.loads(request.body)["value"])
        page = {"uuid": "u1", "continuation_token": "t" if len(seen) == 1 else "", "entries": None}
        return http(200, json.dumps(page).encode(), "Content-Type: application/json")

    with Wire(answer) as wire:
        client = Client(wire.endpoint)
        client.bucket("b").list_all_objects("p/", "name", 7, start_after="p/a")
        client.bucket("c", "aws").list_all_objects()
        client.bucket("c", "aws").list_all_objects()
    first = {"prefix": "p/", "pagesize": 7, "uuid": "", "props": "name", "continuation_token": "",
             "flags": "0", "target": ""}  # fmt: skip
    assert seen[0] == {**first, "start_after": "p/a"}
    assert seen[1] == {**first, "continuation_token": "t"}


def test_remote_buckets_hand_the_job_on() -> None:
    seen: list[tuple[str, str]] = []

    def list_page(uuid: str, continuation_token: str) -> BucketList:
        seen.append((uuid, continuation_token))
        return BucketList("u1", [BucketEntry(str(len(seen)))], "t" if len(seen) < 3 else "")

    with pytest.raises(errors.IntegrityError, match="does not advance"):
        list(ObjectIterator(list_page))
    assert seen == [("", ""), ("u1", "t")]


def test_an_empty_page_does_not_end_a_listing() -> None:
    """A cluster may leave out all names of a page, those of objects that it has no copy of."""
    pages = {"": (["a"], "t1"), "t1": ([], "t2"), "t2": (["b"], "")}

    def list_page(uuid: str, continuation_token: str) -> BucketList:
        names, following = pages[continuation_token]
        return BucketList("", [BucketEntry(name) for name in names], following)

    assert [entry.name for entry in ObjectIterator(list_page)] == ["a", "b"]


def test_what_is_no_listing() -> None:
    with (
        Wire(lambda request: http(200, b"<html>")) as wire,
        pytest.raises(errors.IntegrityError, match="not a listing"),
    ):
        Client(wire.endpoint).bucket("b").list_objects()


def test_requests_of_ones_own(bucket: Bucket) -> None:
    response = bucket.make_request("GET", "list", {"prefix": "", "props": "name"})
    assert response.status_code == 200
    with pytest.raises(errors.InvalidRequestError):
        bucket.make_request("POST", "bogus")
    with pytest.raises(errors.AISError):
        bucket.make_request("GET", "list", {}, params={"provider": "nonsense"})


def test_a_bucket_without_client() -> None:
    bucket = Bucket("b")
    assert bucket.client is None
    for verb in (bucket.list_objects, bucket.create, lambda: bucket.make_request("GET", "list")):
        with pytest.raises(ValueError, match="no client"):
            verb()


@pytest.mark.parametrize(
    ("bucket", "path", "uri", "qparam"),
    [
        (Bucket("b"), "ais/@#/b/", "ais://b", {"provider": "ais"}),
        (
            Bucket("b", provider="gs", namespace=Namespace("", "n")),
            "gcp/@#n/b/",
            "gs://#n/b",
            {"provider": "gs", "namespace": "@#n"},
        ),
        (
            Bucket("b", namespace=Namespace("u", "")),
            "ais/@u#/b/",
            "ais://@u/b",
            {"provider": "ais", "namespace": "@u#"},
        ),
    ],
)
def test_names_of_a_bucket(bucket: Bucket, path: str, uri: str, qparam: dict[str, str]) -> None:
    assert bucket.get_path() == path
    assert bucket.uri == uri
    assert bucket.qparam == qparam
    assert bucket.as_model() == BucketModel("b", bucket.provider, bucket.namespace)


def test_namespaces_keep_buckets_apart(client: Client) -> None:
    spaces = [client.bucket("sdk-space", namespace=Namespace("", name)) for name in ("n1", "n2")]
    for bucket in spaces:
        bucket.create(exist_ok=True)
        bucket.object("o").put_content(bucket.uri.encode())
    try:
        assert [b.object("o").get().read_all().decode() for b in spaces] == [b.uri for b in spaces]
        known = client.cluster().get_bucket_metadata()
        assert {b.as_model() for b in spaces} <= set(known)
    finally:
        for bucket in spaces:
            bucket.delete()
