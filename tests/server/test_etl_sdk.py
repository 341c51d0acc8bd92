"""Transformers through our own client, on a store of either era."""

from collections.abc import Iterator
from typing import Any

import pytest

from aisfs_sdk import Client
from aisfs_sdk.etl_server import ETLServer
from tests.server import transformers as etl
from tests.server import wire
from tests.support.store import StoreProcess

OBJECT = "dir/o1.txt"


@pytest.fixture(scope="module", params=["5.0", "3.17"])
def store(request: pytest.FixtureRequest) -> Iterator[StoreProcess]:
    with StoreProcess(extra=("--allow-etl", "--compat", request.param)) as process:
        for bucket in ("src", "dst"):
            process.create_bucket(bucket)
        etl.put(process, f"src/{OBJECT}", b"hello 1\n")
        yield process


@pytest.fixture
def client(store: StoreProcess) -> Client:
    return Client(store.endpoint, token=(store.data / "token").read_text().strip())


def is_new(store: StoreProcess) -> bool:
    version = wire.follow(store.endpoint, "GET", "/v1/daemon?what=software_version").body
    return version.startswith(b"5")


@pytest.mark.parametrize(
    ("kind", "how"),
    [("hpush", {}), ("hpull", {}), ("hrev", {}), ("hpush", {"chunk_size": 3})],
)
def test_a_function(store: StoreProcess, client: Client, kind: str, how: dict[str, Any]) -> None:
    if kind == "hrev" and is_new(store):
        return  # the client refuses it for such clusters
    name = f"{kind}-code"

    def upper(data: bytes) -> bytes:
        return data.upper()

    def bracket(reader: Any, writer: Any) -> None:
        for piece in reader:
            writer.write(b"<" + piece + b">")

    transformer = client.etl(name)
    transformer.init_code(bracket if how else upper, communication_type=kind, **how)
    expected = b"<hel><lo ><1\n>" if how else b"HELLO 1\n"
    assert client.bucket("src").object(OBJECT).get(etl_name=name).read_all() == expected
    job = client.bucket("src").transform(name, client.bucket("dst"), prepend=f"{name}/")
    client.job(job).wait()
    assert client.bucket("dst").object(f"{name}/{OBJECT}").get().read_all() == expected
    assert [info.id for info in client.cluster().list_running_etls()] == [name]
    transformer.view()
    transformer.stop()
    assert client.cluster().list_running_etls() == []
    transformer.start()
    assert client.bucket("src").object(OBJECT).get(etl_name=name).read_all() == expected
    transformer.stop()
    transformer.delete()


def test_a_specification(store: StoreProcess, client: Client) -> None:
    template = f"""
apiVersion: v1
kind: Pod
metadata:
  name: spec
spec:
  containers:
    - name: server
      image: local/transformer
      command: [python, {etl.SERVER}, upper, --port, "8000"]
      ports: [{{name: default, containerPort: 8000}}]
      readinessProbe:
        httpGet: {{path: /health, port: default}}
"""
    client.etl("spec-etl").init_spec(template)
    data = client.bucket("src").object(OBJECT).get(etl_name="spec-etl").read_all()
    assert data == b"HELLO 1\n"
    client.etl("spec-etl").stop()
    client.etl("spec-etl").delete()


def test_a_class(store: StoreProcess, client: Client) -> None:
    if not is_new(store):
        return  # such clusters know no classes
    transformer = client.etl("class-etl")

    @transformer.init_class()
    class Upper(ETLServer):
        def transform(self, data: Any, path: str, etl_args: str) -> bytes:
            shown: bytes = data.upper() + etl_args.encode()
            return shown

    assert issubclass(Upper, ETLServer)
    answer = etl.get(store, f"src/{OBJECT}", etl_name="class-etl", etl_args="!")
    assert answer.body == b"HELLO 1\n!"
    transformer.delete()
