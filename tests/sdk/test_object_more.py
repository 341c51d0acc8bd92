"""Appends, uploads in parts, files, members of archives, URLs of AIS."""

import io
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from aisfs_sdk import Bucket, Client, Namespace, errors
from aisfs_sdk.archive_config import ArchiveConfig, ArchiveMode
from aisfs_sdk.blob_download_config import BlobDownloadConfig
from aisfs_sdk.eras import Feature
from aisfs_sdk.etl_config import ETLConfig
from aisfs_sdk.provider import Provider
from tests.sdk.wire import Reply, Request, Wire, http

OLD = b'{"ais_version":"3.17."}'

# ---- appends ------------------------------------------------------------------------------------


def test_append_in_steps(bucket: Bucket) -> None:
    obj = bucket.object("log")
    writer = obj.get_writer()
    handle = writer.append_content(b"one ")
    handle = writer.append_content(b"two ", handle)
    with pytest.raises(errors.ErrObjNotFound):
        obj.head()
    assert writer.append_content(b"", handle, flush=True) == ""
    assert obj.get().read_all() == b"one two "


def test_append_goes_on_behind_what_is_there(bucket: Bucket) -> None:
    obj = bucket.object("log")
    obj.put_content(b"old ")
    if not obj.client.era.has(Feature.APPEND_CONTINUES):
        with pytest.raises(errors.UnsupportedError, match="would drop bytes"):
            obj.get_writer().append_content(b"new")
        return
    assert obj.get_writer().append_content(b"new", flush=True) == ""
    assert obj.get().read_all() == b"old new"


def test_a_flush_needs_something_to_flush(bucket: Bucket) -> None:
    with pytest.raises(ValueError, match="nothing was appended"):
        bucket.object("log").get_writer().append_content(b"", flush=True)


def test_an_append_that_loses_bytes_is_refused_before_it_is_sent() -> None:
    def answer(request: Request) -> Reply:
        assert request.method == "HEAD"
        chunks = ["Ais-Chunks-Count: 2"] if "props=chunked" in request.target else []
        return http(200, b"", *chunks, length=5)

    for release in (OLD, b'{"ais_version":"5.0."}'):
        with Wire(answer, release=release) as wire:
            writer = Client(wire.endpoint).bucket("b").object("o").get_writer()
            with pytest.raises(errors.UnsupportedError, match="would drop bytes"):
                writer.append_content(b"x")


def test_an_append_is_never_repeated() -> None:
    def answer(request: Request) -> Reply:
        if request.method == "HEAD":
            return http(404, b"", 'Hdr-Error: {"message":"ais://b/o does not exist","status":404}')
        return http(503, b"")

    with Wire(answer) as wire:
        with pytest.raises(errors.UnavailableError):
            Client(wire.endpoint).bucket("b").object("o").get_writer().append_content(b"x")
        assert [request.method for request in wire.requests].count("PUT") == 1


# ---- uploads in parts ---------------------------------------------------------------------------


@pytest.fixture
def parts_bucket(bucket: Bucket) -> Bucket:
    if not bucket.bound_client.era.has(Feature.MULTIPART):
        pytest.skip("clusters of 2023 take a part for the whole object")
    return bucket


def test_upload_in_parts(parts_bucket: Bucket, tmp_path: Path) -> None:
    obj = parts_bucket.object("big")
    upload = obj.multipart_upload().create()
    (tmp_path / "part").write_bytes(b"2" * 70_000)
    upload.add_part(3).put_content(b"3" * 10)
    upload.add_part(2).put_file(tmp_path / "part")
    upload.add_part(1).put_content(b"1" * 10)
    with pytest.raises(ValueError, match="was sent before"):
        upload.add_part(1).put_content(b"replaced")
    with pytest.raises(errors.ErrObjNotFound):
        obj.head()
    assert upload.complete().status_code == 200
    assert obj.get().read_all() == b"1" * 10 + b"2" * 70_000 + b"3" * 10
    with pytest.raises(errors.UnsupportedError, match="would drop bytes"):
        obj.get_writer().append_content(b"x")


def test_parts_from_several_threads(parts_bucket: Bucket) -> None:
    upload = parts_bucket.object("big").multipart_upload().create()
    writers = {number: upload.add_part(number) for number in range(1, 9)}
    threads = [
        threading.Thread(target=writer.put_content, args=(bytes([number]) * 1000,))
        for number, writer in writers.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    upload.complete()
    expected = b"".join(bytes([number]) * 1000 for number in writers)
    assert parts_bucket.object("big").get().read_all() == expected


def test_an_upload_goes_on_by_its_id(parts_bucket: Bucket, tmp_path: Path) -> None:
    obj = parts_bucket.object("big")
    (tmp_path / "file").write_bytes(b"0123456789")
    first = obj.multipart_upload().create()
    with (tmp_path / "file").open("rb") as file:
        file.seek(2)
        first.add_part(1).put_range(file, 5)
    second = obj.multipart_upload(first.upload_id, 1)
    with pytest.raises(ValueError, match="was sent before"):
        second.add_part(1).put_content(b"x")
    second.add_part(2).put_content(b"end")
    second.complete()
    assert obj.get().read_all() == b"23456end"


def test_an_aborted_upload_leaves_nothing(parts_bucket: Bucket) -> None:
    upload = parts_bucket.object("big").multipart_upload().create()
    upload.add_part(1).put_content(b"x")
    assert upload.abort().status_code == 200
    with pytest.raises(errors.AISError):
        upload.complete()
    assert parts_bucket.list_all_objects() == []


def test_uploads_that_make_no_sense(parts_bucket: Bucket) -> None:
    upload = parts_bucket.object("big").multipart_upload()
    for verb in (lambda: upload.add_part(1), upload.complete, upload.abort):
        with pytest.raises(ValueError, match="Multipart upload not created"):
            verb()
    upload.create()
    for number in (0, -1, 10_000):
        with pytest.raises(ValueError, match="Part number must be"):
            upload.add_part(number)
    with pytest.raises(ValueError, match="no parts"):
        upload.complete()
    with pytest.raises(ValueError, match="is empty"):
        upload.add_part(1).put_content(b"")
    upload.add_part(3).put_content(b"x")
    with pytest.raises(ValueError, match="are not 1 to 2"):
        upload.complete()
    upload.abort()


def test_a_part_is_never_repeated() -> None:
    def answer(request: Request) -> Reply:
        return http(503) if request.method == "PUT" else http(200, b"upload1")

    with Wire(answer) as wire:
        part = Client(wire.endpoint).bucket("b").object("o").multipart_upload().create().add_part(1)
        with pytest.raises(errors.UnavailableError):
            part.put_content(b"x")
        assert [request.method for request in wire.requests] == ["POST", "PUT"]


def test_parts_are_not_sent_to_clusters_that_take_one_for_the_object() -> None:
    with Wire(lambda request: http(200), release=OLD) as wire:
        obj = Client(wire.endpoint).bucket("b").object("o")
        with pytest.raises(errors.UnsupportedError, match="multipart upload needs AIS 4"):
            obj.multipart_upload().create()
        assert wire.requests == []


# ---- files --------------------------------------------------------------------------------------


def test_read_as_a_file(bucket: Bucket) -> None:
    data = os.urandom(3_000_000)
    obj = bucket.object("o")
    obj.put_content(data)
    with obj.get_reader().as_file() as file:
        assert file.read(0) == b""
        assert file.read(10) == data[:10]
        assert file.read() == data[10:]
        assert file.read() == b""
    with pytest.raises(ValueError, match="I/O operation on closed file"):
        file.read(1)
    with pytest.raises(ValueError, match="max_resume"):
        obj.get().as_file(max_resume=-1)
    with io.TextIOWrapper(obj.get(byte_range="bytes=5-9").as_file(), "latin-1") as text:
        assert text.read() == data[5:10].decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")


DATA = bytes(range(250)) * 20
VERSION = "Ais-Checksum-Type: xxhash2", "Ais-Checksum-Value: 1", "Ais-Version: 1"


def cut(ranges: list[str], *, version: tuple[str, ...] = VERSION) -> Callable[[Request], Reply]:
    """Return a server whose every body breaks off after 2,000 bytes."""

    def answer(request: Request) -> Reply:
        asked = request.headers.get("range", "")
        ranges.append(asked)
        if not asked:
            return http(200, DATA[:2000], *VERSION, length=len(DATA), then="close")
        first = int(asked.removeprefix("bytes=").rstrip("-"))
        line = f"Content-Range: bytes {first}-{len(DATA) - 1}/{len(DATA)}"
        rest = DATA[first:]
        return http(206, rest[:2000], *version, line, length=len(rest), then="close")

    return answer


def test_a_file_goes_on_where_the_connection_broke() -> None:
    ranges: list[str] = []
    with Wire(cut(ranges)) as wire:
        file = Client(wire.endpoint).bucket("b").object("o").get().as_file(buffer_size=500)
        assert file.read() == DATA
    assert ranges == ["", "bytes=2000-", "bytes=4000-"]


def test_a_file_gives_up_in_the_end() -> None:
    ranges: list[str] = []
    with Wire(cut(ranges)) as wire:
        file = Client(wire.endpoint).bucket("b").object("o").get().as_file(500, max_resume=1)
        with pytest.raises(errors.ObjectFileReaderMaxResumeError, match="after 4000 bytes"):
            file.read()
        assert file.closed


def test_a_file_never_mixes_two_versions() -> None:
    other = VERSION[0], "Ais-Checksum-Value: 2", VERSION[2]
    with Wire(cut([], version=other)) as wire:
        file = Client(wire.endpoint).bucket("b").object("o").get().as_file(500)
        with pytest.raises(errors.PreconditionError, match="replaced after 2000 bytes"):
            file.read()


def test_write_as_a_file(bucket: Bucket) -> None:
    obj = bucket.object("o")
    with obj.get_writer().as_file("w") as file:
        assert file.write(b"one ") == 4
        file.write(bytearray(b"x" * (3 << 20)))
        assert obj.get().read_all() == b""
        file.flush()
        assert obj.props.size == 4 + (3 << 20)
    file.close()
    for verb in (lambda: file.write(b"x"), file.flush):
        with pytest.raises(ValueError, match="I/O operation on closed file"):
            verb()
    with pytest.raises(ValueError, match="the mode is"):
        obj.get_writer().as_file("r")  # type: ignore[arg-type]


def test_what_was_half_written_stays_invisible(bucket: Bucket) -> None:
    obj = bucket.object("o")

    def fail() -> None:
        with obj.get_writer().as_file("a") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(errors.ErrObjNotFound):
        obj.head()


# ---- members of archives ------------------------------------------------------------------------


def test_members_by_pattern(bucket: Bucket) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("a/1.jpg", "a/1.txt", "b/2.jpg"):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    obj = bucket.object("s.tar")
    obj.put_content(buffer.getvalue())
    one = obj.get_reader(ArchiveConfig("a/1.jpg"))
    assert one.read_all() == b"a/1.jpg"
    with pytest.raises(errors.ErrObjNotFound):
        obj.get(archpath="a/none")
    if not obj.client.era.has(Feature.ARCHIVE_PATTERN):
        with pytest.raises(errors.UnsupportedError):
            obj.get_reader(ArchiveConfig(regex="jpg", mode=ArchiveMode.SUFFIX))
        return
    for config, members in (
        (ArchiveConfig(regex="jpg", mode=ArchiveMode.SUFFIX), ["a/1.jpg", "b/2.jpg"]),
        (ArchiveConfig(regex="a/1", mode=ArchiveMode.WDSKEY), ["a/1.jpg", "a/1.txt"]),
        (ArchiveConfig(regex="^b", mode=ArchiveMode.REGEXP), ["b/2.jpg"]),
    ):
        data = obj.get_reader(config).read_all()
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert archive.getnames() == members


def test_reads_that_make_no_sense() -> None:
    for arguments in (
        {"regex": "x"},
        {"mode": ArchiveMode.PREFIX},
        {"archpath": "a", "regex": "b"},
    ):
        with pytest.raises(ValueError, match=r"pattern"):
            ArchiveConfig(**arguments)
    with Wire(lambda request: http(200)) as wire:
        bucket = Client(wire.endpoint).bucket("b")
        with pytest.raises(ValueError, match="range"):
            bucket.object("o").get(archpath="a", byte_range="bytes=0-1")
        with pytest.raises(ValueError, match="range"):
            bucket.object("o").get_reader(
                blob_download_config=BlobDownloadConfig(), byte_range="bytes=0-1"
            )
        with pytest.raises(errors.UnsupportedError, match="by name only"):
            bucket.object("o.zip").get_reader(ArchiveConfig(regex="x", mode=ArchiveMode.PREFIX))
        with pytest.raises(errors.UnsupportedError, match="remote objects"):
            bucket.object("o").get_reader(blob_download_config=BlobDownloadConfig())
        assert wire.requests == []


def test_keys_that_2023_answers_with_nothing_are_not_sent_there() -> None:
    with Wire(lambda request: http(200), release=OLD) as wire:
        obj = Client(wire.endpoint).bucket("b").object("o")
        for reader in (
            lambda: obj.get(latest=True),
            lambda: obj.get_reader(etl=ETLConfig("md5-etl", {"a": 1})),
            lambda: obj.get_reader(etl=ETLConfig("md5-etl", pipeline=("x",))),
            lambda: obj.head_v2("custom"),
            lambda: obj.copy(obj),
        ):
            with pytest.raises(errors.UnsupportedError, match=r"this is AIS 3\.17"):
                reader()
        assert wire.requests == []


def test_queries_of_reads() -> None:
    with Wire(lambda request: http(200, b"x")) as wire:
        obj = Client(wire.endpoint).bucket("b").object("o")
        obj.get_reader(etl=ETLConfig("md5-etl", {"a": [1, "b"]}, ("second", "third"))).read_all()
        obj.get_reader(ArchiveConfig("m")).read_all()
        obj.get_reader(latest=True, chunk_size=10).read_all()
        obj.head_v2("custom,etag")
        assert [request.target.partition("provider=ais")[2] for request in wire.requests] == [
            (
                "&etl_name=md5-etl&etl_args=%7B%22a%22%3A%5B1%2C%22b%22%5D%7D"
                "&etl_pipeline=second%2Cthird"
            ),
            "&archpath=m",
            "&latest-ver=true",
            "&props=custom%2Cetag",
        ]


@pytest.mark.parametrize("present", [True, False])
def test_a_blob_download_is_asked_for_only_where_it_works(present: bool) -> None:
    def answer(request: Request) -> Reply:
        return http(200, b"" if request.method == "HEAD" else b"x", f"Ais-Present: {present}")

    with Wire(answer) as wire:
        obj = Client(wire.endpoint).bucket("b", "aws").object("o")
        obj.get_reader(blob_download_config=BlobDownloadConfig("1mb", 4)).read_all()
        headers = wire.requests[-1].headers
        sent = [headers.get(f"ais-blob-{part}") for part in ("download", "chunk", "workers")]
        assert sent == ([None] * 3 if present else ["true", "1mb", "4"])


def test_a_blob_download_as_a_job() -> None:
    with Wire(lambda request: http(200, b"job1")) as wire:
        obj = Client(wire.endpoint).bucket("b", "aws").object("big")
        assert obj.blob_download(1 << 20, 4, latest=True) == "job1"
        [request] = wire.requests
        assert (request.method, request.target) == ("POST", "/v1/objects/b?provider=aws")
        assert request.body == (
            b'{"action":"blob-download","name":"big",'
            b'"value":{"latest-ver":true,"chunk-size":1048576,"num-workers":4}}'
        )
        with pytest.raises(errors.InvalidBckProvider):
            Client(wire.endpoint).bucket("b").object("o").blob_download()


# ---- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "uri", "namespace"),
    [
        ("ais://b/o", "ais://b/o", None),
        ("s3://b/a/b c", "aws://b/a/b c", None),
        ("gs://b/o?x#y", "gcp://b/o?x#y", None),
        ("ais://@uuid#ns/b/o", "ais://@uuid#ns/b/o", Namespace("uuid", "ns")),
        ("ais://#ns/b/o", "ais://#ns/b/o", Namespace("", "ns")),
    ],
)
def test_objects_by_url(url: str, uri: str, namespace: Namespace | None) -> None:
    obj = Client("http://gateway:8080").get_object_from_url(url)
    assert obj.uri == obj.get_semantic_url() == uri
    assert obj.bucket.namespace == namespace
    assert (obj.bucket_name, obj.bucket_provider) == ("b", obj.bucket.provider)


@pytest.mark.parametrize("url", ["b/o", "http://b/o", "ais://", "ais://b", "ais://b/", "://b/o"])
def test_texts_that_are_no_urls_of_objects(url: str) -> None:
    with pytest.raises(errors.InvalidURLException, match="no URL of an object"):
        Client("http://gateway:8080").get_object_from_url(url)


def test_providers_as_members() -> None:
    bucket = Client("http://gateway:8080").bucket("b", Provider.AMAZON)
    assert (bucket.provider, bucket.uri) == ("aws", "aws://b")
    assert bucket.qparam == {"provider": "aws"}
    assert Provider.parse("gs") is Provider.GOOGLE
    assert str(Provider.AIS) == "ais"
    with pytest.raises(ValueError, match="nope"):
        Provider.parse("nope")
