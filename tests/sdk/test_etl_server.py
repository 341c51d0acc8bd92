"""Transformers that run where nothing of this package is installed."""

import builtins
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aistore.sdk import Client as OfficialClient
from aistore.sdk.etl.webserver.http_multi_threaded_server import (
    HTTPMultiThreadedServer as OfficialServer,
)

from aisfs_sdk import Client, errors
from aisfs_sdk.etl import Etl
from aisfs_sdk.etl_config import ETLConfig
from aisfs_sdk.etl_server import ETLServer
from tests.sdk.wire import Reply, Request, Wire, http
from tests.support.store import free_port

NO_CODE = http(400, b'{"message":"invalid etl.InitMsg: ETLSpecMsg error: x","status":400}')


class Shout(ETLServer):
    def transform(self, data: Any, path: str, etl_args: str) -> bytes:
        if not data:
            raise KeyError("nothing came")
        return bytes(data).upper() + b"|" + path.encode() + b"|" + etl_args.encode()


class ByPath(ETLServer):
    def transform(self, data: Any, path: str, etl_args: str) -> bytes:
        return str(data).encode()


class OfficialShout(OfficialServer):  # type: ignore[misc]
    def transform(self, data: Any, path: str, etl_args: str) -> bytes:
        return bytes(data).upper()


def upper(data: bytes) -> bytes:
    return data.upper()


def pieces(reader: Any, writer: Any) -> None:
    for piece in reader:
        writer.write(b"<" + piece + b">")


def said_early(data: bytes) -> Any:
    return builtins.early  # type: ignore[attr-defined]


def url_of(url: str) -> bytes:
    return url.encode()


def started(verb: Callable[[Etl], Any]) -> dict[str, Any]:
    """Return what a cluster that takes no code is finally told."""
    answers = {"code": NO_CODE}

    def answer(request: Request) -> Reply:
        return answers["code"] if b'"code"' in request.body else http(200, b"etl-1")

    with Wire(answer) as wire:
        verb(Client(wire.endpoint).etl("shout-etl"))
        message: dict[str, Any] = json.loads(wire.requests[-1].body)
        return message


# What the official image does with a class: it has loaded its own bases, takes only what derives
# from them, makes it without arguments and starts it. Containers have their own network; here the
# server is told another port.
START = """
import base64, os, pickle, sys
sys.modules["aisfs_sdk"] = None
if {official}:
    from aistore.sdk.etl.webserver.http_multi_threaded_server import HTTPMultiThreadedServer
kind = pickle.loads(base64.b64decode(os.environ["ETL_CLASS_PAYLOAD"]))
if {official} and not issubclass(kind, HTTPMultiThreadedServer):
    raise TypeError(kind)
server = kind()
server.host, server.port = "127.0.0.1", {port}
server.start()
"""


@contextlib.contextmanager
def running(
    message: dict[str, Any], folder: Path, *, official: bool = True, **extra: str
) -> Iterator[str]:
    """Run a server as a container would, without this package; yield its URL.

    Args:
        message: what the cluster was told.
        folder: working directory.
        official: the official package is there, as in its image.
        extra: further variables of the environment.
    """
    runtime = message["runtime"]
    port = free_port()
    start = START.format(official=official, port=port)
    env = {**os.environ, **extra, **{one["name"]: one["value"] for one in runtime["env"]}}
    process = subprocess.Popen([sys.executable, "-c", start], cwd=folder, env=env)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(400):
            assert process.poll() is None
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{url}/health", timeout=20).close()
                break
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait(20)


def put(url: str, data: bytes, **headers: str) -> tuple[int, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, named, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_class_comes_along_as_a_whole(tmp_path: Path) -> None:
    message = started(lambda etl: etl.init_class(obj_timeout="9s", LEVEL="3")(Shout))
    assert message["runtime"]["image"].startswith("aistorage/runtime_python:3.")
    assert {"name": "LEVEL", "value": "3"} in message["runtime"]["env"]
    assert (message["name"], message["obj_timeout"]) == ("shout-etl", "9s")
    assert message["support_direct_put"] is True
    (tmp_path / "a b").write_bytes(b"file")
    with running(message, tmp_path) as url:
        assert put(f"{url}/b/o%20x?etl_args=z%26", b"data") == (200, b"DATA|b/o x|z&")
        twice = quote(quote(str(tmp_path / "a b"), safe=""), safe="")
        assert put(f"{url}/b/o?etl_fqn={twice}", b"")[1].startswith(b"FILE|")
        assert put(f"{url}/b/o", b"") == (500, b"KeyError: 'nothing came'")


def test_results_go_on_where_the_cluster_says(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        if request.method == "GET":
            return http(200, b"fetched")
        return http(200, b"end" if "stage" in request.headers.get("host", "") else b"")

    message = started(lambda etl: etl.init_class(comm_type="hpull")(Shout))
    with Wire(answer) as wire, running(
        message, tmp_path, AIS_TARGET_URL=f"{wire.endpoint}/v1/etl/_object/x"
    ) as url:  # fmt: skip
        with urllib.request.urlopen(f"{url}/ais%2F@%23%2Fb%2Fo", timeout=20) as reply:
            assert reply.read() == b"FETCHED|ais/@#/b/o|"
        assert wire.requests[-1].target == "/v1/etl/_object/x/ais%2F@%23%2Fb%2Fo"
        onward = f"{wire.endpoint}/ais%2Fd?owt=3&uuid=j"
        assert put(f"{url}/b/o?etl_args=q", b"x", Ais_Node_Url=onward) == (204, b"")
        sent = wire.requests[-1]
        assert sent.target == "/v1/etl/_object/x/ais%2Fd?owt=3&uuid=j&etl_args=q"
        assert sent.body == b"X|b/o|q"
        put(f"{url}/b/o", b"x", Ais_Node_Url=f"{wire.endpoint},{onward}")
        sent = wire.requests[-1]
        assert (sent.target, sent.headers["ais-node-url"]) == ("/b/o", onward)


@pytest.mark.parametrize(
    ("verb", "made"),
    [
        (lambda etl: etl.init_code(upper), b"ABC"),
        (lambda etl: etl.init_code(pieces, chunk_size=2), b"<ab><c>"),
        (lambda etl: etl.init_code(url_of, transform_url=True), b"http://t/b/o"),
        (lambda etl: etl.init_class(direct_file_access=True)(ByPath), b"abc"),
    ],
)
def test_functions_run_on_clusters_that_take_no_code(
    verb: Callable[[Etl], Any], made: bytes, tmp_path: Path
) -> None:
    message = started(verb)
    assert message["communication"] == ("hpull://" if made.startswith(b"http") else "hpush://")
    with running(message, tmp_path, AIS_TARGET_URL="http://t") as url:
        status, body = put(f"{url}/b/o", b"abc")
        assert status == 200
        assert body in {made, b"b'abc'"}


def started_by_the_official_client(comm: str) -> dict[str, Any]:
    """Return what the official client tells a cluster when it starts a class of its own."""
    with Wire(lambda request: http(200, b"etl-1")) as wire:
        official = OfficialClient(wire.endpoint).etl("shout-etl")
        official.init_class(comm_type=comm)(OfficialShout)
        message: dict[str, Any] = json.loads(wire.requests[-1].body)
        return message


def recorded_start() -> dict[str, Any]:
    """Return what a cluster of 5.0 was told when it started a class and took it."""
    lines = (Path(__file__).parent / "recorded" / "requests.jsonl").read_text("utf-8").splitlines()
    wanted = ("Etl.init_code", "5.0")
    (row,) = [one for one in map(json.loads, lines) if (one["member"], one["release"]) == wanted]
    (request,) = row["requests"]
    assert request["status"] == 200
    message: dict[str, Any] = request["body"]
    return message


@pytest.mark.parametrize("official", [True, False], ids=["image", "plain"])
@pytest.mark.parametrize("comm", ["hpush", "hpull"])
def test_code_starts_as_recorded_and_transforms(comm: str, official: bool, tmp_path: Path) -> None:
    message = started(lambda etl: etl.init_code(upper, communication_type=comm))
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (code,) = message["runtime"]["env"]
    recorded = recorded_start()
    # Every field is the recorded one, but for the names chosen and the code.
    recorded |= {"name": "shout-etl", "communication": f"{comm}://"}
    recorded["runtime"]["image"] = f"aistorage/runtime_python:{version}"
    theirs = started_by_the_official_client(comm)
    for expected in (recorded, theirs):
        expected["runtime"]["env"][0]["value"] = code["value"]
        assert message == expected
    with (
        Wire(lambda request: http(200, b"fetched")) as wire,
        running(
            message, tmp_path, official=official,
            AIS_TARGET_URL=f"{wire.endpoint}/v1/etl/_object/x",
        ) as url,
    ):  # fmt: skip
        if comm == "hpush":
            assert put(f"{url}/b/o", b"pushed") == (200, b"PUSHED")
            assert wire.requests == []
            # A declared direct put is kept: the result goes to the target that is to have it.
            onward = f"{wire.endpoint}/ais%2Fd?owt=3&uuid=j"
            put(f"{url}/b/o", b"pushed", Ais_Node_Url=onward)
            assert wire.requests[-1].target == "/v1/etl/_object/x/ais%2Fd?owt=3&uuid=j"
            assert wire.requests[-1].body == b"PUSHED"
        else:
            with urllib.request.urlopen(f"{url}/b/o", timeout=20) as reply:
                assert reply.read() == b"FETCHED"
            assert [one.target for one in wire.requests] == ["/v1/etl/_object/x/b/o"]


def test_modules_are_imported_before_the_code(tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text("import builtins\nbuiltins.early = b'early'\n")
    verb = lambda etl: etl.init_code(said_early, preimported_modules=["early"])  # noqa: E731
    with running(started(verb), tmp_path, PYTHONPATH=str(tmp_path)) as url:
        assert put(f"{url}/b/o", b"x") == (200, b"early")


def test_what_is_no_server_is_refused() -> None:
    with Wire(lambda request: http(200)) as wire:
        etl = Client(wire.endpoint).etl("shout-etl")
        with pytest.raises(TypeError, match="does not derive from ETLServer"):
            etl.init_class()(dict)  # type: ignore[type-var]
        with pytest.raises(ValueError, match="communication_type"):
            etl.init("image", comm_type="hrev")
        assert wire.requests == []


def test_commands_of_images() -> None:
    message = started(lambda etl: etl.init("img", "run 'a b' -c", "ws", KEY="v"))
    assert message["communication"] == "ws://"
    assert message["runtime"] == {
        "image": "img", "command": ["run", "a b", "-c"], "env": [{"name": "KEY", "value": "v"}],
    }  # fmt: skip


def test_pipelines_and_blocks() -> None:
    client = Client("http://gateway:8080")
    joined = client.etl("first-etl") >> client.etl("second-etl") >> client.etl("third-etl")
    assert (joined.name, joined.pipeline) == ("first-etl", ["second-etl", "third-etl"])
    expected = ETLConfig("first-etl", {"a": 1}, ("second-etl", "third-etl"))
    assert joined.config({"a": 1}) == expected
    gone = http(404, b'{"message":"etl job first-etl does not exist","status":404}')
    with Wire(lambda request: gone) as wire:
        with pytest.raises(errors.ErrETLNotFound), Client(wire.endpoint).etl("first-etl") as etl:
            etl.view()
        assert [request.method for request in wire.requests] == ["GET", "POST", "DELETE"]
