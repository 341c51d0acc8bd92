from __future__ import annotations

import json
import os
import tempfile
import time
from typing import TYPE_CHECKING

import pytest
import requests
import trio
import xxhash

from aisfs import errors as ours
from aisfs.config import BucketName, StoreConfig
from aisfs.errors import (
    Busy,
    Exists,
    Forbidden,
    FsError,
    Invalid,
    IoFailure,
    IsADirectory,
    NoSpace,
    NotADirectory,
    NotFound,
    Stale,
    TimedOut,
    TooLarge,
    Unreachable,
    Unsupported,
)
from aisfs.store.aistore import connect
from aisfs.store.failures import told_as_fs_error
from aisfs.store.interface import Identity, Upload
from aisfs_sdk import errors as theirs
from tests.sdk.wire import Wire, http
from tests.support.store import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aisfs.store.aistore import AISStore
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess

DATA = os.urandom(300_000)
ATTRIBUTES = "1.abc-_"


class Collector:
    """A sink that takes up to a limit, in small buffers."""

    def __init__(self, limit: int = 1 << 30, step: int = 10_000) -> None:
        self.data = bytearray()
        self.identity: Identity | None = None
        self._limit = limit
        self._buffer = bytearray(step)

    def opened(self, identity: Identity, abort: Callable[[], None]) -> None:
        self.identity = identity

    def buffer(self) -> memoryview | None:
        return memoryview(self._buffer) if len(self.data) < self._limit else None

    def filled(self, size: int) -> None:
        self.data += self._buffer[:size]


async def fetched(
    aistore: AISStore, bucket: BucketName, identity: Identity, start: int, end: int
) -> bytes:
    sink = Collector()
    await aistore.stream(bucket, "o", start, end, identity, sink)
    return bytes(sink.data)


async def stored(
    aistore: AISStore, bucket: BucketName, body: bytes, name: str = "o", attributes: str = "1.x"
) -> Identity:
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        checksum = xxhash.xxh64(body).hexdigest()
        upload = Upload(file.fileno(), len(body), checksum, attributes)
        return (await aistore.put(bucket, name, upload)).identity


async def test_one_file_is_sent_several_times_at_once(
    cluster: StoreProcess, bucket: BucketName, other: Bucket
) -> None:
    store, body, count = connect(StoreConfig(cluster.endpoint, transport="sdk")), DATA[:4096], 200
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        upload = Upload(file.fileno(), len(body), xxhash.xxh64(body).hexdigest(), ATTRIBUTES)
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(store.put, bucket, f"o{number}", upload)
    assert all(entry.size == len(body) for entry in other.list_all_objects())
    assert len(list(other.list_all_objects())) == count
    await store.close()


# -- the error table of house style section 6


def children(root: type[BaseException]) -> Iterator[type[BaseException]]:
    for child in root.__subclasses__():
        yield child
        yield from children(child)


TABLE: dict[type[BaseException], type[FsError]] = {
    theirs.AISError: IoFailure,
    theirs.AuthError: Forbidden,
    theirs.ErrBckNotFound: NotFound,
    theirs.ErrRemoteBckNotFound: NotFound,
    theirs.ErrObjNotFound: NotFound,
    theirs.ErrETLNotFound: NotFound,
    theirs.ErrBckAlreadyExists: Exists,
    theirs.ErrETLAlreadyExists: Exists,
    theirs.ConflictError: Busy,
    theirs.ErrGETConflict: Busy,
    theirs.PathCollisionError: IsADirectory,
    theirs.PreconditionError: Stale,
    theirs.InvalidRequestError: Invalid,
    theirs.TooLargeError: TooLarge,
    theirs.NoSpaceError: NoSpace,
    theirs.UnsupportedError: Unsupported,
    theirs.UnavailableError: Busy,
    theirs.NodeAwayError: Unreachable,
    theirs.IntegrityError: IoFailure,
    theirs.ChecksumError: IoFailure,
    theirs.ObjectChangedError: IoFailure,
    theirs.ObjectFileReaderMaxResumeError: IoFailure,
    theirs.AbortedError: IoFailure,
    theirs.NotAISError: Invalid,
    theirs.InvalidBckProvider: Invalid,
    theirs.InvalidURLException: Invalid,
    theirs.Timeout: TimedOut,
    theirs.InvalidObjectRangeIndex: Invalid,
    theirs.JobInfoNotFound: NotFound,
    theirs.UnexpectedHTTPStatusCode: IoFailure,
    requests.RequestException: IoFailure,
    requests.ConnectionError: IoFailure,
    requests.Timeout: TimedOut,
    requests.ConnectTimeout: TimedOut,
    requests.ReadTimeout: TimedOut,
    requests.TooManyRedirects: IoFailure,
    requests.exceptions.ChunkedEncodingError: IoFailure,
    requests.exceptions.SSLError: IoFailure,
    requests.exceptions.ProxyError: IoFailure,
    ValueError: Invalid,
    OSError: IoFailure,
}


def instance(kind: type[BaseException]) -> BaseException:
    if issubclass(kind, theirs.AISError):
        return kind(503, "words of the cluster")
    if kind is theirs.InvalidBckProvider:
        return theirs.InvalidBckProvider("aws")
    if kind is theirs.UnexpectedHTTPStatusCode:
        return theirs.UnexpectedHTTPStatusCode([200], 204)
    return kind("words of the cluster")


def told(error: BaseException) -> FsError:
    with pytest.raises(FsError) as caught, told_as_fs_error("trying"):
        raise error
    return caught.value


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
def test_what_the_sdk_raises_becomes_the_class_of_the_table(kind: type[BaseException]) -> None:
    error = told(instance(kind))
    assert type(error) is TABLE[kind]
    assert str(error).startswith("trying: ")


def test_every_exception_of_the_sdk_has_a_row() -> None:
    known = [kind for kind in vars(theirs).values() if isinstance(kind, type)]
    own = {kind for kind in known if issubclass(kind, Exception) and "aisfs" in kind.__module__}
    assert own | set(children(theirs.AISError)) == {k for k in TABLE if "aisfs" in k.__module__}


def test_every_error_of_the_mount_has_an_errno_of_its_own_class() -> None:
    kinds = list(children(FsError))
    assert len(kinds) == len({k for k in vars(ours).values() if isinstance(k, type)}) - 1
    conditions = FsError.__subclasses__()
    assert all("errno" in vars(kind) for kind in conditions)
    assert len({kind.errno for kind in conditions}) == len(conditions)


@pytest.mark.parametrize(("status", "kind"), [(429, Busy), (503, Busy), (502, IoFailure)])
def test_overload_is_busy_and_a_broken_gateway_is_not(status: int, kind: type[FsError]) -> None:
    assert type(told(theirs.UnavailableError(status, "later"))) is kind


def test_an_object_in_the_path_of_a_name_is_no_directory() -> None:
    error = theirs.PathCollisionError(409, "keypath contains an object in its path")
    assert type(told(error)) is NotADirectory


def test_our_own_errors_pass_unchanged() -> None:
    error = NoSpace("full")
    assert told(error) is error


# -- reaching the cluster


async def test_nobody_at_the_address_is_unreachable() -> None:
    aistore = connect(StoreConfig(f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(Unreachable):
        await aistore.head(BucketName("b"), "o")
    await aistore.close()


def test_an_endpoint_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(Invalid):
        connect(StoreConfig("nonsense"))


async def test_a_silent_cluster_times_out(
    cluster: StoreProcess, aistore: AISStore, bucket: BucketName
) -> None:
    await aistore.name_rules()
    cluster.faults([{"action": "delay", "seconds": 60, "path": "^/v1/objects"}])
    started = time.monotonic()
    with pytest.raises(TimedOut):
        await aistore.head(bucket, "o")
    assert time.monotonic() - started < 10


async def test_cluster_facts(cluster: StoreProcess, aistore: AISStore, bucket: BucketName) -> None:
    assert await aistore.cluster_uuid() == cluster.smap()["uuid"]
    assert (await aistore.name_rules()).mangled == ""
    capacity = await aistore.capacity()
    assert 0 <= capacity.used <= capacity.total
    info = await aistore.bucket(bucket)
    assert info in await aistore.buckets()
    assert aistore.compares(bucket)
    assert abs(info.created_ns - time.time_ns()) < 600e9


async def test_buckets_come_and_go(aistore: AISStore, bucket: BucketName) -> None:
    name = BucketName(bucket.name + "-2")
    await aistore.work.create_bucket(name)
    with pytest.raises(Exists):
        await aistore.work.create_bucket(name)
    await aistore.work.destroy_bucket(name)
    with pytest.raises(NotFound):
        await aistore.bucket(name)


# -- objects


async def test_what_put_stores_comes_back(
    aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    identity = await stored(aistore, bucket, DATA, attributes=ATTRIBUTES)
    assert other.object("o").get().read_all() == DATA
    info = await aistore.head(bucket, "o")
    assert info.identity == identity
    assert info.attributes == ATTRIBUTES
    assert identity.checksum == xxhash.xxh64(DATA).hexdigest()


async def test_a_listing_tells_the_same_as_a_head(aistore: AISStore, bucket: BucketName) -> None:
    await stored(aistore, bucket, DATA, "d/o", ATTRIBUTES)
    (listed,) = (await aistore.list(bucket, "d/", "", 1000, recursive=False)).objects
    head = await aistore.head(bucket, "d/o")
    assert (listed.name, listed.attributes) == (head.name, head.attributes)
    assert listed.identity.same_content(head.identity)
    assert listed.identity.version == head.identity.version


@pytest.mark.parametrize("keys", [{"zz": "[aisfs:no]"}, {"aa": "aisfs:x y", "b": "a:b"}])
async def test_our_key_is_found_among_those_of_others(
    aistore: AISStore, bucket: BucketName, other: Bucket, keys: dict[str, str]
) -> None:
    other.object("o").get_writer().put(b"x", custom={"aisfs": ATTRIBUTES, **keys})
    (listed,) = (await aistore.list(bucket, "", "", 1000, recursive=False)).objects
    assert listed.attributes == ATTRIBUTES


async def test_a_listing_splits_files_and_directories(
    aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    for name in ("a", "d/x", "d/e/y", "f", "g/h/i"):
        other.object(name).put_content(b"x")
    flat = await aistore.list(bucket, "", "", 1000, recursive=False)
    assert [info.name for info in flat.objects] == ["a", "f"]
    assert flat.directories == ["d/", "g/"]
    deep = await aistore.list(bucket, "d/", "", 1000, recursive=True)
    assert [info.name for info in deep.objects] == ["d/e/y", "d/x"]
    assert deep.directories == []
    assert deep.token == ""


@pytest.mark.parametrize("following", ["d/m", "d/a"])
async def test_a_listing_that_would_never_end_is_refused(
    bucket: BucketName, following: str
) -> None:
    page = json.dumps({"uuid": "u", "continuation_token": following, "entries": None}).encode()
    kind = "Content-Type: application/json"
    with Wire(lambda request: http(200, page, kind)) as wire:
        store = connect(StoreConfig(endpoint=wire.endpoint))
        try:
            assert (await store.list(bucket, "d/", "", 1000, recursive=True)).token == following
            with pytest.raises(
                IoFailure, match=f"{bucket.name}/d/: .*'{following}' does not advance"
            ):
                await store.list(bucket, "d/", "d/m", 1000, recursive=True)
        finally:
            await store.close()


async def test_an_identical_body_is_reported_with_its_checksum(
    aistore: AISStore, bucket: BucketName
) -> None:
    """The cluster drops such a PUT, headers and all: its reply says nothing."""
    first = await stored(aistore, bucket, DATA)
    again = await stored(aistore, bucket, DATA)
    assert again.same_content(first)


async def test_put_bytes_sets_attributes_of_an_identical_body(
    aistore: AISStore, bucket: BucketName
) -> None:
    await aistore.put_bytes(bucket, "o", b"x", "1.first")
    info = await aistore.put_bytes(bucket, "o", b"x", "1.second")
    assert info.attributes == "1.second"
    assert info == await aistore.head(bucket, "o")


async def test_a_bucket_without_checksums_goes_by_version(
    cluster: StoreProcess, aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    cluster.set_bucket_props(other.name, {"checksum": {"type": "none"}})
    identity = await stored(aistore, bucket, DATA)
    assert identity.checksum == ""
    assert identity.same_content((await aistore.head(bucket, "o")).identity)
    assert await fetched(aistore, bucket, identity, 0, len(DATA)) == DATA
    other.object("o").put_content(DATA[::-1])
    with pytest.raises(Stale):
        await fetched(aistore, bucket, identity, 0, len(DATA))


async def test_set_attributes_keeps_keys_of_others(
    aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    other.object("o").get_writer().put(b"x", custom={"theirs": "kept"})
    await aistore.set_attributes(bucket, "o", ATTRIBUTES)
    assert other.object("o").props.custom_metadata == {"theirs": "kept", "aisfs": ATTRIBUTES}


async def test_copy_takes_attributes_along(
    aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    await stored(aistore, bucket, DATA, "o", ATTRIBUTES)
    await aistore.copy(bucket, "o", "p")
    assert other.object("p").get().read_all() == DATA
    assert (await aistore.head(bucket, "p")).attributes == ATTRIBUTES


async def test_small_objects_come_whole_and_large_ones_are_refused(
    aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    other.object("o").put_content(b"x" * 100)
    assert await aistore.get(bucket, "o", 100) == b"x" * 100
    with pytest.raises(TooLarge):
        await aistore.get(bucket, "o", 99)


async def test_what_is_not_there_is_not_found(aistore: AISStore, bucket: BucketName) -> None:
    for attempt in (
        aistore.head(bucket, "o"),
        aistore.get(bucket, "o", 10),
        aistore.delete(bucket, "o"),
        aistore.copy(bucket, "o", "p"),
        aistore.set_attributes(bucket, "o", "1."),
        aistore.bucket(BucketName("missing")),
        aistore.list(BucketName("missing"), "", "", 1000, recursive=True),
    ):
        with pytest.raises(NotFound):
            await attempt


# -- streams


@pytest.mark.parametrize(("start", "end"), [(0, 300_000), (0, 1), (299_999, 300_000), (5, 200_000)])
async def test_a_stream_brings_the_range(
    aistore: AISStore, bucket: BucketName, start: int, end: int
) -> None:
    identity = await stored(aistore, bucket, DATA)
    assert await fetched(aistore, bucket, identity, start, end) == DATA[start:end]


async def test_a_sink_may_end_the_stream(aistore: AISStore, bucket: BucketName) -> None:
    identity = await stored(aistore, bucket, DATA)
    sink = Collector(limit=30_000)
    await aistore.stream(bucket, "o", 0, len(DATA), identity, sink)
    assert bytes(sink.data) == DATA[:30_000]


@pytest.mark.parametrize("body", [b"", DATA[:-1], DATA[::-1], DATA + b"x"])
@pytest.mark.parametrize(("start", "end"), [(0, 300_000), (10, 20), (299_000, 300_000)])
async def test_an_overwritten_object_is_stale_and_brings_no_byte(
    aistore: AISStore, bucket: BucketName, other: Bucket, body: bytes, start: int, end: int
) -> None:
    identity = await stored(aistore, bucket, DATA)
    other.object("o").put_content(body)
    sink = Collector()
    with pytest.raises(Stale):
        await aistore.stream(bucket, "o", start, end, identity, sink)
    assert sink.data == b""


async def test_a_deleted_object_is_stale(
    aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    """ENOENT from read(2) would tell a program that its descriptor is no file."""
    identity = await stored(aistore, bucket, DATA)
    other.object("o").delete()
    with pytest.raises(Stale):
        await fetched(aistore, bucket, identity, 0, 10)


async def test_an_object_that_is_written_again_with_the_same_bytes_is_the_same(
    aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    identity = await stored(aistore, bucket, DATA)
    other.object("o").delete()
    other.object("o").put_content(DATA)
    assert await fetched(aistore, bucket, identity, 0, 10) == DATA[:10]


async def test_a_cut_body_is_a_failure_and_what_came_before_is_right(
    cluster: StoreProcess, aistore: AISStore, bucket: BucketName
) -> None:
    identity = await stored(aistore, bucket, DATA)
    cluster.faults([{"action": "cut", "after_bytes": 50_000, "method": "GET", "role": "target"}])
    sink = Collector()
    with pytest.raises(IoFailure):
        await aistore.stream(bucket, "o", 0, len(DATA), identity, sink)
    assert 0 < len(sink.data) <= 50_000
    assert DATA.startswith(bytes(sink.data))


async def test_a_stalled_body_ends_within_the_limit(
    cluster: StoreProcess, aistore: AISStore, bucket: BucketName
) -> None:
    identity = await stored(aistore, bucket, DATA)
    cluster.faults(
        [{"action": "stall", "seconds": 60, "after_bytes": 50_000, "method": "GET"}]
        # the gateway's redirect has no body to stall in, so it waits, too
    )
    started = time.monotonic()
    with pytest.raises(TimedOut):
        await fetched(aistore, bucket, identity, 0, len(DATA))
    assert time.monotonic() - started < 10


async def test_a_cancelled_stream_lets_go_of_the_object(
    cluster: StoreProcess, aistore: AISStore, bucket: BucketName
) -> None:
    identity = await stored(aistore, bucket, DATA)
    cluster.faults(
        [{"action": "stall", "seconds": 60, "after_bytes": 10, "role": "target", "method": "GET"}]
    )
    with trio.move_on_after(0.3) as scope:
        await fetched(aistore, bucket, identity, 0, len(DATA))
    assert scope.cancelled_caught


async def test_checksums_of_ranges_do_not_pass_for_those_of_the_object(
    cluster: StoreProcess, aistore: AISStore, bucket: BucketName, other: Bucket
) -> None:
    cluster.set_bucket_props(other.name, {"checksum": {"enable_read_range": True}})
    await aistore.bucket(bucket)
    identity = await stored(aistore, bucket, DATA)
    sink = Collector()
    await aistore.stream(bucket, "o", 0, 100_000, identity, sink)
    assert bytes(sink.data) == DATA[:100_000]
    assert sink.identity is not None
    assert sink.identity.same_content(identity)
    other.object("o").put_content(DATA[::-1])
    with pytest.raises(Stale):
        await fetched(aistore, bucket, identity, 0, 100_000)
