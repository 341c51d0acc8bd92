"""Transformers that really run: functions, classes and commands in the embedded store."""

from collections.abc import Iterator
from typing import Any

import pytest

from aisfs_sdk import Bucket, Client, errors
from aisfs_sdk.etl import Etl
from aisfs_sdk.etl_server import ETLServer
from tests.support.store import StoreProcess


class Shout(ETLServer):
    def transform(self, data: Any, path: str, etl_args: str) -> bytes:
        return bytes(data).upper() + etl_args.encode()


def upper(data: bytes) -> bytes:
    return data.upper()


def doubled(reader: Any, writer: Any) -> None:
    for piece in reader:
        writer.write(piece * 2)


@pytest.fixture(scope="module")
def runner() -> Iterator[StoreProcess]:
    """A store of our own that may run programs: clusters need Kubernetes for it."""
    with StoreProcess(extra=("--allow-etl",)) as store:
        yield store


@pytest.fixture
def client(runner: StoreProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    # Whoever starts programs there has to show the store's token.
    monkeypatch.setenv("AIS_AUTHN_TOKEN_FILE", str(runner.data / "token"))
    made = Client(runner.endpoint)
    yield made
    made.close()


@pytest.fixture
def etl(client: Client) -> Iterator[Etl]:
    with client.etl("sdk-test-etl") as made:
        yield made


@pytest.mark.parametrize(
    ("start", "made"),
    [
        (lambda etl: etl.init_code(upper), b"ABCDE"),
        (lambda etl: etl.init_code(doubled, chunk_size=2), b"ababcdcdee"),
        (lambda etl: etl.init_class()(Shout), b"ABCDE"),
        (lambda etl: etl.init_class(comm_type="hpull")(Shout), b"ABCDE"),
    ],
    ids=["code", "pieces", "class", "class-hpull"],
)
def test_objects_go_through(
    client: Client, bucket: Bucket, etl: Etl, start: Any, made: bytes
) -> None:
    start(etl)
    bucket.object("o").put_content(b"abcde")
    assert bucket.object("o").get(etl_name=etl.name).read_all() == made
    assert [info.id for info in client.cluster().list_running_etls()] == [etl.name]
    details = etl.view()
    assert details.id == etl.name
    assert details.communication.endswith("://")
    with pytest.raises(errors.ErrETLAlreadyExists):
        start(etl)


def test_offline_and_with_arguments(client: Client, bucket: Bucket, etl: Etl) -> None:
    etl.init_class()(Shout)
    for name in ("a.txt", "b.txt"):
        bucket.object(name).put_content(name.encode())
    reader = bucket.object("a.txt").get_reader(etl=etl.config("?"))
    assert reader.read_all() == b"A.TXT?"
    to_bck = client.bucket(f"{bucket.name}-to")
    try:
        job = bucket.transform(etl.name, to_bck, ext={"txt": "up"}, prepend="x-")
        assert client.job(job).wait(60)
        assert to_bck.object("x-a.up").get().read_all() == b"A.TXT"
        job = bucket.objects(["b.txt"]).transform(to_bck, etl.name)
        assert client.job(job).wait(60)
        assert to_bck.object("b.txt").get().read_all() == b"B.TXT"
        copied = bucket.object("copied")
        bucket.object("b.txt").copy(copied, etl=etl.config())
        assert copied.get().read_all() == b"B.TXT"
    finally:
        to_bck.delete(missing_ok=True)


def test_stop_start_delete(bucket: Bucket, etl: Etl) -> None:
    etl.init_code(upper)
    bucket.object("o").put_content(b"abc")
    etl.stop()
    with pytest.raises(errors.ErrETLNotFound):
        bucket.object("o").get(etl_name=etl.name)
    etl.start()
    assert bucket.object("o").get(etl_name=etl.name).read_all() == b"ABC"
    assert etl.logs()
    etl.stop()
    etl.delete()
    with pytest.raises(errors.ErrETLNotFound):
        etl.view()
