"""ETL as clients see it: transformers in every form, reading through them, their errors."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from aistore.sdk import Client
from aistore.sdk.etl import ETLConfig
from aistore.sdk.etl.webserver.http_multi_threaded_server import HTTPMultiThreadedServer

from tests.server import transformers as etl
from tests.server import wire
from tests.support import not_run
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

OBJECT = "src/dir/o1.txt"


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    with StoreProcess(extra=("--allow-etl",)) as process:
        for bucket in ("src", "dst"):
            process.create_bucket(bucket)
        for number in range(6):
            etl.put(process, f"src/dir/o{number}.txt", f"hello {number}\n".encode())
        yield process


def upper(data: bytes) -> bytes:
    return data.upper()


def bracket(reader: Any, writer: Any) -> None:
    for piece in reader:
        writer.write(b"<" + piece + b">")


def fetch(url: str) -> bytes:
    answer = requests.get(url, timeout=20)
    return b"fetched " + answer.content


# ---- may I --------------------------------------------------------------------------------------


def test_a_store_that_allows_no_etl_says_how_to_allow_it() -> None:
    with StoreProcess() as plain:
        plain.create_bucket("src")
        etl.put(plain, OBJECT, b"x")
        to_bucket = "/v1/buckets/src?bck_to=ais%2F%40%23%2Fdst%2F"
        message = {"action": "etl-bck", "value": {"id": "upper-etl"}}
        answers = [
            (501, etl.ask(plain, "GET", "/v1/etl")),
            (501, etl.ask(plain, "PUT", "/v1/etl", etl.code_message("upper-etl", "x = 1"))),
            (501, etl.ask(plain, "DELETE", "/v1/etl/upper-etl")),
            (501, etl.get(plain, OBJECT, etl_name="upper-etl")),
            (404, etl.ask(plain, "POST", to_bucket, message)),
        ]
        for status, answer in answers:
            assert answer.status == status
            assert "--allow-etl" in json.loads(answer.body)["message"]


@pytest.mark.parametrize("headers", [[], [("Authorization", "Bearer wrong")]])
def test_nothing_runs_without_the_token(
    store: StoreProcess, headers: list[tuple[str, str]]
) -> None:
    etl.init(store, etl.command_message("token-etl", "upper"))
    before = set(etl.family(store.pid))
    job = next(i for i in etl.listed(store) if i["id"] == "token-etl")["xaction_id"]
    stop_job = json.dumps({"action": "stop", "value": {"id": job}}).encode()
    message = json.dumps(etl.command_message("other-etl", "upper")).encode()
    for method, path, body in (
        ("PUT", "/v1/etl", message),
        ("POST", "/v1/etl/token-etl/stop", None),
        ("POST", "/v1/etl/token-etl/start", None),
        ("DELETE", "/v1/etl/token-etl", None),
        ("PUT", "/v1/cluster", stop_job),
    ):
        assert wire.follow(store.endpoint, method, path, headers, body).status == 401, path
    assert set(etl.family(store.pid)) == before
    assert "other-etl" not in {item["id"] for item in etl.listed(store)}
    for path in ("/v1/etl", "/v1/etl/token-etl", "/v1/etl/token-etl/logs"):
        assert wire.follow(store.endpoint, "GET", path, headers).status == 200
    assert etl.get(store, OBJECT, etl_name="token-etl").body == b"HELLO 1\n"
    etl.delete(store, "token-etl")


# ---- by code ------------------------------------------------------------------------------------

REVERSE = """
import sys
def transform():
    sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])
transform()
"""
FOREIGN = """
def transform(data): return data
code = transform.__code__
transform.__code__ = code.replace(co_code=b"\\x02" + code.co_code[1:])
"""
CODE = [
    ("hpush", etl.module_text(upper), {}, b"HELLO 1\n"),
    ("hpull", etl.module_text(upper), {}, b"HELLO 1\n"),
    ("hrev", etl.module_text(upper), {}, b"HELLO 1\n"),
    ("hpush", etl.module_text(bracket), {"chunk_size": 3}, b"<hel><lo ><1\n>"),
    ("hpull", etl.module_text(fetch), {"transform_url": True}, b"fetched hello 1\n"),
    ("hpull", etl.module_text(fetch), {"argument": "url"}, b"fetched hello 1\n"),
    (
        "io",
        REVERSE,
        {},
        b"\n1 olleh",
    ),
]


@pytest.mark.parametrize(("kind", "code", "more", "expected"), CODE)
def test_code_transforms_inline_and_offline(
    store: StoreProcess, kind: str, code: str, more: dict[str, Any], expected: bytes
) -> None:
    etl.init(store, etl.code_message("code-etl", code, communication=f"{kind}://", **more))
    try:
        assert etl.get(store, OBJECT, etl_name="code-etl").body == expected
        status = etl.transform(store, "src", "dst", {"id": "code-etl", "prefix": "dir/o1"})
        assert (status["err"], status["aborted"]) == ("", False)
        assert etl.get(store, "dst/dir/o1.txt").body == expected
    finally:
        etl.delete(store, "code-etl")


def test_a_dependency_is_installed(store: StoreProcess) -> None:
    wanted = "pyfiglet==1.0.2"
    probe = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(store.data)]
    if subprocess.run([*probe, wanted], capture_output=True, check=False).returncode:
        not_run.leave_out(f"no package index has {wanted} for this machine")
    code = "import pyfiglet\ndef transform(data):\n    return pyfiglet.__version__.encode()\n"
    lines = etl.encoded(f"{wanted}\n{etl.PINNED}")
    etl.init(store, etl.code_message("needs-etl", code, dependencies=lines, timeout="2m"))
    assert etl.get(store, OBJECT, etl_name="needs-etl").body == b"1.0.2"
    etl.delete(store, "needs-etl")


def test_a_dependency_that_does_not_exist_is_told_in_pips_words(store: StoreProcess) -> None:
    lines = etl.encoded("./no/such/package")
    message = etl.code_message("needs-etl", "def transform(d): return d", dependencies=lines)
    status, text = etl.refused(store, message)
    assert status == 400
    assert "pip cannot install ['./no/such/package']" in text
    assert "no/such/package" in text.partition("]: ")[2]
    etl.delete(store, "needs-etl")


def test_another_python_of_this_machine_is_used() -> None:
    others = [path for path in pythons() if path.name != f"python{etl.RUNTIME[6:-2]}"]
    if not others:
        not_run.leave_out("there is one release of Python only")
    code = "import sys\ndef transform(data): return b'%d.%d' % sys.version_info[:2]\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{others[0].parent}:{os.environ['PATH']}")
        with StoreProcess(extra=("--allow-etl",)) as own:
            own.create_bucket("src")
            etl.put(own, OBJECT, b"x")
            runtime = f"{others[0].name}v2"
            etl.init(own, etl.code_message("other-etl", code, runtime=runtime, dependencies=""))
            assert f"python{etl.get(own, OBJECT, etl_name='other-etl').body.decode()}" in runtime


def pythons() -> list[Path]:
    """Return the Pythons of other releases that lie beside the running one's installation."""
    return sorted(Path(sys.base_prefix).parent.glob("*/bin/python3.[0-9]*[0-9]"))


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        ("python3.7v2", "needs Python 3.7"),
        ("python3.99v2", "needs Python 3.99"),
        ("python2", "unsupported runtime"),
        ("", "runtime is not specified"),
    ],
)
def test_another_python_is_refused_before_anything_runs(
    store: StoreProcess, runtime: str, words: str
) -> None:
    code = "def transform(data): return data"
    status, text = etl.refused(store, etl.code_message("py-etl", code, runtime=runtime))
    assert status == 400
    assert words in text
    assert "py-etl" not in {item["id"] for item in etl.listed(store)}


@pytest.mark.parametrize(
    ("code", "more", "words"),
    [
        ("def transform(data:", {}, "cannot load the code"),
        ("def other(data): return data", {}, "has no attribute 'transform'"),
        ("def transform(data): return data", {"chunk_size": 5}, "two parameters"),
        (FOREIGN, {}, "made by another release"),
    ],
)
def test_code_that_cannot_run_fails_its_start(
    store: StoreProcess, code: str, more: dict[str, Any], words: str
) -> None:
    status, text = etl.refused(store, etl.code_message("bad-etl", code, **more))
    assert status == 400
    assert words in text
    etl.delete(store, "bad-etl")


def broken(data: bytes) -> bytes:
    raise KeyError(data.decode())


def not_bytes(data: bytes) -> str:
    return data.decode()


def half(reader: Any, writer: Any) -> None:
    writer.write(reader.read_all())
    raise ValueError("half way")


@pytest.mark.parametrize(
    ("function", "words"),
    [(broken, "ETL error: KeyError: 'hello 1\\n'"), (not_bytes, "returned str, not bytes")],
)
def test_a_failing_function_is_an_error_with_its_words(
    store: StoreProcess, function: Any, words: str
) -> None:
    etl.init(store, etl.code_message("fail-etl", etl.module_text(function)))
    answer = etl.get(store, OBJECT, etl_name="fail-etl")
    assert answer.status == 500
    assert words in json.loads(answer.body)["message"]
    details = json.loads(etl.ask(store, "GET", "/v1/etl/fail-etl").body)
    assert [error["ecode"] for error in details["obj_errors"]] == [500]
    etl.delete(store, "fail-etl")


def test_a_result_that_breaks_off_is_never_taken_for_whole(store: StoreProcess) -> None:
    etl.init(store, etl.code_message("half-etl", etl.module_text(half), chunk_size=100))
    assert etl.get(store, OBJECT, etl_name="half-etl").status == 0
    status = etl.transform(store, "src", "dst", {"id": "half-etl", "prepend": "half/"})
    assert status["aborted"]
    # Results that go to another target are whole before they are sent: then the error is told.
    assert "broke off" in status["err"] or "half way" in status["err"]
    assert etl.get(store, "dst/half/dir/o1.txt").status == 404
    etl.delete(store, "half-etl")


# ---- by specification and command ---------------------------------------------------------------


def test_a_pod_spec_with_a_command_runs_as_a_process(store: StoreProcess) -> None:
    command = ["python", str(etl.SERVER), "upper", "--port=8000"]
    etl.init(store, {"name": "spec-etl", "init_timeout": "20s", "spec": etl.pod(command)})
    assert etl.get(store, OBJECT, etl_name="spec-etl").body == b"HELLO 1\n"
    details = json.loads(etl.ask(store, "GET", "/v1/etl/spec-etl").body)["init_msg"]
    assert details["spec"] == etl.pod(command)
    etl.delete(store, "spec-etl")


def test_an_image_without_a_command_cannot_be_run(store: StoreProcess) -> None:
    for message in (
        {"name": "image-etl", "spec": etl.pod(None)},
        {"name": "image-etl", "runtime": {"image": "aistorage/transformer_md5"}},
    ):
        status, text = etl.refused(store, message)
        assert (status, "images cannot be run" in text) == (400, True)
    assert "image-etl" not in {item["id"] for item in etl.listed(store)}


def test_a_program_sees_what_it_is_promised_and_no_secret() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MY_TOKEN", "do-not-tell")
        with StoreProcess(extra=("--allow-etl",)) as own:
            own.create_bucket("src")
            etl.put(own, OBJECT, b"x")
            message = etl.command_message("env-etl", "env", support_direct_put=True)
            message["runtime"]["env"] = [{"name": "FOO", "value": "bar"}]
            etl.init(own, message)
            text = etl.get(own, OBJECT, etl_name="env-etl").body.decode()
            env = json.loads(text)
            token = (own.data / "token").read_text().strip()
            lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in etl.family(own.pid)]
            requests_seen = own.log_path.read_text()
    assert (env["FOO"], env["direct_put"]) == ("bar", "true")
    url, _, secret = env["AIS_TARGET_URL"].rpartition("/")
    assert url.endswith("/v1/etl/_object/env-etl")
    assert "do-not-tell" not in text
    assert token not in text
    for shown in (*lines, requests_seen):
        assert secret not in shown
        assert token not in shown


# ---- by class -----------------------------------------------------------------------------------


def test_a_class_of_the_official_client(store: StoreProcess) -> None:
    token = (store.data / "token").read_text().strip()
    client = Client(store.endpoint, token=token)
    transformer = client.etl("class-etl")

    @transformer.init_class()
    class Shout(HTTPMultiThreadedServer):  # type: ignore[misc]
        def transform(self, data: bytes, path: str, etl_args: str) -> bytes:
            return f"[{path}|{etl_args}]".encode() + data.upper()

    assert issubclass(Shout, HTTPMultiThreadedServer)
    source, target = client.bucket("src"), client.bucket("dst")
    reader = source.object("dir/o1.txt").get_reader(etl=ETLConfig("class-etl", args="z"))
    assert reader.read_all() == b"[/src/dir/o1.txt|z]HELLO 1\n"
    job = source.transform(etl_name="class-etl", to_bck=target, prepend="class/")
    status = wire.wait_for_job(store.endpoint, job)
    assert (status["err"], status["aborted"]) == ("", False)
    for number in range(6):
        data = target.object(f"class/dir/o{number}.txt").get_reader().read_all()
        assert data == f"[/src/dir/o{number}.txt|]HELLO {number}\n".encode()
    assert [item.id for item in client.cluster().list_etls()] == ["class-etl"]
    assert "running at 127.0.0.1" in transformer.logs()[0].logs
    assert transformer.view().init_msg.runtime.image.startswith("aistorage/runtime_python")
    transformer.stop()
    assert client.cluster().list_etls() == []
    transformer.start()
    assert reader.read_all() == b"[/src/dir/o1.txt|z]HELLO 1\n"
    transformer.delete()


@pytest.mark.parametrize("name", ["one.txt", "a%20b%2525%C3%A9%2B(1).bin"])
def test_a_class_is_given_a_file_with_the_objects_name(
    store: StoreProcess, bucket: str, name: str
) -> None:
    client = Client(store.endpoint, token=(store.data / "token").read_text().strip())
    target = f"/v1/objects/{bucket}/files/{name}?provider=ais"
    assert wire.follow(store.endpoint, "PUT", target, [], b"content").status == 200
    transformer = client.etl("path-etl")

    @transformer.init_class(direct_file_access=True)
    class Named(HTTPMultiThreadedServer):  # type: ignore[misc]
        def transform(self, data: str, path: str, etl_args: str) -> bytes:
            return Path(data).name.encode() + b"|" + Path(data).read_bytes()

    assert issubclass(Named, HTTPMultiThreadedServer)
    answer = wire.follow(store.endpoint, "GET", f"{target}&etl_name=path-etl")
    transformer.delete()
    shown = wire.unquoted(name)
    assert (answer.status, answer.body) == (200, f"{shown}|content".encode())
    files = store.data / "etl" / "files"
    wait_until(lambda: not [*files.glob(f"*/{shown}")], "the file is gone")


# ---- pipelines, arguments, direct puts ----------------------------------------------------------


@pytest.fixture
def stages(store: StoreProcess) -> Iterator[None]:
    etl.init(store, etl.command_message("upper-etl", "upper"))
    etl.init(store, etl.command_message("args-etl", "args"))
    etl.init(store, etl.code_message("brack-etl", etl.module_text(bracket), chunk_size=4))
    yield
    for name in ("upper-etl", "args-etl", "brack-etl"):
        etl.delete(store, name)


@pytest.mark.usefixtures("stages")
def test_pipelines_of_programs_and_code(store: StoreProcess) -> None:
    both = {"etl_name": "upper-etl", "etl_pipeline": "brack-etl,args-etl", "etl_args": "q"}
    assert etl.get(store, OBJECT, **both).body == b"<HELL><O 1\n>|q"
    other = {"etl_name": "brack-etl", "etl_pipeline": "upper-etl", "latest-ver": "true"}
    assert etl.get(store, OBJECT, **other).body == b"<HELL><O 1\n>"
    value = {"id": "brack-etl", "pipeline": ["upper-etl"], "prepend": "pipe/"}
    assert etl.transform(store, "src", "dst", value)["err"] == ""
    for number in range(6):
        data = etl.get(store, f"dst/pipe/dir/o{number}.txt").body
        assert data == f"<HELL><O {number}\n>".encode()
    unknown = etl.get(store, OBJECT, etl_name="upper-etl", etl_pipeline="nosuch-etl")
    assert unknown.status == 400
    assert "entry not found in the target" in json.loads(unknown.body)["message"]


@pytest.mark.usefixtures("stages")
def test_one_object_into_another(store: StoreProcess) -> None:
    seen = set()
    for number in range(6):
        path = f"/v1/objects/src/dir/o{number}.txt?object_to=ais%2F%40%23%2Fdst%2Fcopy{number}"
        answer = wire.follow(store.endpoint, "PUT", f"{path}&etl_name=args-etl&etl_args=hey")
        seen.add(answer.status)
        assert etl.get(store, f"dst/copy{number}").body == f"hello {number}\n|hey".encode()
    assert seen == {200, 204}  # some belong to the same target, others are put by the process


def test_a_process_that_only_says_it_put_the_result_is_caught(store: StoreProcess) -> None:
    etl.init(store, etl.command_message("liar-etl", "upper", "--lie"))
    status = etl.transform(store, "src", "dst", {"id": "liar-etl", "prepend": "lie/"})
    assert status["aborted"]
    assert "nothing came" in status["err"]
    etl.delete(store, "liar-etl")


def test_the_route_of_processes_wants_their_secret(store: StoreProcess) -> None:
    target = next(iter(store.smap()["tmap"].values()))["public_net"]["direct_url"]
    for guess in ("upper-etl/guess", "guess"):
        path = f"/v1/etl/_object/{guess}/ais%2F@%23%2Fsrc%2Fdir%2Fo1.txt"
        assert wire.follow(target, "GET", path).status == 403
        assert wire.follow(target, "PUT", path, [], b"x").status == 403


def test_a_websocket_transformer(store: StoreProcess) -> None:
    message = etl.command_message("ws-etl", communication="ws://", support_direct_put=True)
    script = str(etl.SERVER.with_name("transformer_ws.py"))
    message["runtime"]["command"] = ["python", script, "8000"]
    etl.init(store, message)
    assert etl.get(store, OBJECT, etl_name="ws-etl", etl_args="z").body == b"dir/o1.txt|z|HELLO 1\n"
    body = etl.get(store, OBJECT, **{"etl_name": "ws-etl", "latest-ver": "1"}).body
    assert body == b"dir/o1.txt||HELLO 1\n"
    assert etl.transform(store, "src", "dst", {"id": "ws-etl", "prepend": "ws/"})["err"] == ""
    assert etl.get(store, "dst/ws/dir/o5.txt").body == b"dir/o5.txt||HELLO 5\n"
    etl.delete(store, "ws-etl")


def test_a_passing_failure_of_a_direct_put_is_tried_again(store: StoreProcess) -> None:
    etl.init(store, etl.command_message("flaky-etl", "upper", "--flaky"))
    answer = etl.get(store, OBJECT, **{"etl_name": "flaky-etl", "latest-ver": "true"})
    assert (answer.status, answer.body) == (200, b"HELLO 1\n")
    etl.delete(store, "flaky-etl")


# ---- many objects -------------------------------------------------------------------------------


@pytest.mark.usefixtures("stages")
def test_names_of_results(store: StoreProcess) -> None:
    value = {"id": "upper-etl", "prefix": "dir/o", "prepend": "n/", "ext": {"txt": ".up"}}
    etl.transform(store, "src", "dst", value)
    assert etl.get(store, "dst/n/dir/o3.up").body == b"HELLO 3\n"
    chosen = {"objnames": ["dir/o1.txt", "nope"], "tobck": {"name": "dst"}, "prepend": "two/"}
    status = etl.transform_selected(store, "src", {"id": "upper-etl", **chosen})
    assert "ais://src/nope does not exist" in status["err"]
    assert etl.get(store, "dst/two/dir/o1.txt").body == b"HELLO 1\n"
    assert etl.get(store, "dst/two/dir/o2.txt").status == 404
    dry = {"template": "dir/o{1..2}.txt", "tobck": {"name": "never"}, "dry_run": True}
    assert etl.transform_selected(store, "src", {"id": "upper-etl", **dry})["err"] == ""
    assert wire.follow(store.endpoint, "HEAD", "/v1/buckets/never").status == 404


@pytest.mark.parametrize(("tolerant", "aborted", "seen"), [(False, True, 1), (True, False, 6)])
def test_a_failing_transformer_in_a_job(
    store: StoreProcess, tolerant: bool, aborted: bool, seen: int
) -> None:
    etl.init(store, etl.command_message("fail-etl", "echo", "--status", "500"))
    value = {"id": "fail-etl", "coer": tolerant, "num-workers": -1, "prepend": "no/"}
    status = etl.transform(store, "src", "dst", value)
    assert status["aborted"] is aborted
    assert status["err"].startswith("ETL error: refused by transformer")
    details = json.loads(etl.ask(store, "GET", f"/v1/etl/fail-etl?uuid={status['uuid']}").body)
    assert len(details["obj_errors"]) == seen
    assert etl.get(store, "dst/no/dir/o1.txt").status == 404
    etl.delete(store, "fail-etl")


def test_stopping_ends_the_jobs_of_the_transformer_only(store: StoreProcess) -> None:
    etl.init(store, etl.command_message("slow1-etl", "upper", "--delay", "30", obj_timeout="60s"))
    etl.init(store, etl.command_message("slow2-etl", "upper", "--delay", "30", obj_timeout="60s"))
    jobs = [etl.begin(store, "src", "dst", {"id": f"slow{n}-etl"}) for n in (1, 2)]
    assert etl.ask(store, "POST", "/v1/etl/slow1-etl/stop").status == 200
    status = wire.wait_for_job(store.endpoint, jobs[0])
    assert (status["aborted"], status["err"]) == (True, "user abort")
    query = json.dumps({"id": jobs[1]}).encode()
    other = wire.follow(store.endpoint, "GET", "/v1/cluster?what=status", [], query)
    assert json.loads(other.body)["end_time"] == 0
    for name in ("slow1-etl", "slow2-etl"):
        etl.delete(store, name)


# ---- bad processes ------------------------------------------------------------------------------


def test_a_process_that_ends_at_its_start(store: StoreProcess) -> None:
    status, text = etl.refused(store, etl.command_message("crash-etl", "md5", "--exit", "7"))
    assert status == 400
    assert "reason: Error" in text
    assert "asked to exit" in text
    assert text.endswith('exitCode: 7"] context canceled')
    assert [i["stage"] for i in etl.listed(store) if i["id"] == "crash-etl"] == ["Aborted"]
    assert etl.ask(store, "GET", "/v1/etl/crash-etl").status == 404
    assert etl.refused(store, etl.command_message("crash-etl", "md5"))[0] == 409
    assert etl.ask(store, "POST", "/v1/etl/crash-etl/start").status == 400
    etl.delete(store, "crash-etl")
    etl.init(store, etl.command_message("crash-etl", "md5"))
    etl.delete(store, "crash-etl")


def test_a_process_that_never_gets_ready(store: StoreProcess) -> None:
    before = set(etl.family(store.pid))
    message = etl.command_message("never-etl", "md5", "--never-ready", init_timeout="700ms")
    status, text = etl.refused(store, message)
    assert status == 400
    assert "transformer md5 starting" in text
    assert text.endswith("context deadline exceeded")
    assert set(etl.family(store.pid)) == before
    etl.delete(store, "never-etl")


def test_a_process_that_hangs(store: StoreProcess) -> None:
    message = etl.command_message("hang-etl", "md5", "--delay", "600", obj_timeout="300ms")
    etl.init(store, message)
    answer = etl.get(store, OBJECT, etl_name="hang-etl")
    assert answer.status == 400
    assert "context deadline exceeded" in json.loads(answer.body)["message"]
    value = {"id": "hang-etl", "request_timeout": "200ms", "prepend": "hang/"}
    status = etl.transform(store, "src", "dst", value)
    assert "context deadline exceeded" in status["err"]
    before = etl.family(store.pid)
    etl.delete(store, "hang-etl")
    assert etl.all_gone([pid for pid in before if pid not in etl.family(store.pid)])


def test_a_process_that_dies_under_a_request(store: StoreProcess) -> None:
    etl.init(store, etl.command_message("dying-etl", "echo", "--die", "1"))
    answer = etl.get(store, OBJECT, etl_name="dying-etl")
    assert answer.status == 400
    assert json.loads(answer.body)["message"].endswith(": EOF")
    etl.wait_until_aborted(store, "dying-etl")
    assert etl.get(store, OBJECT, etl_name="dying-etl").status == 404
    assert etl.ask(store, "POST", "/v1/etl/dying-etl/start").status == 200
    etl.delete(store, "dying-etl")


def flood(reader: Any, writer: Any) -> None:
    for _ in range(192):
        writer.write(bytes(1 << 20))


def test_a_huge_result_passes_through_little_memory(store: StoreProcess) -> None:
    etl.init(store, etl.code_message("flood-etl", etl.module_text(flood), chunk_size=1024))
    before = peak(store)
    url = f"{store.endpoint}/v1/objects/{OBJECT}?etl_name=flood-etl"
    with requests.get(url, stream=True, timeout=60) as answer:
        assert sum(map(len, answer.iter_content(1 << 20))) == 192 << 20
    assert etl.transform(store, "src", "dst", {"id": "flood-etl", "prefix": "dir/o1"})["err"] == ""
    assert peak(store) - before < 64 << 20
    etl.delete(store, "flood-etl")


def peak(store: StoreProcess) -> int:
    status = Path(f"/proc/{store.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def chatter(data: bytes) -> bytes:
    for _ in range(40):
        print("x" * 65536)
    return data


def test_the_log_is_bounded(store: StoreProcess) -> None:
    etl.init(store, etl.code_message("chat-etl", etl.module_text(chatter)))
    assert etl.get(store, OBJECT, etl_name="chat-etl").status == 200
    logs = json.loads(etl.ask(store, "GET", "/v1/etl/chat-etl/logs").body)
    assert len(logs) == 3
    assert 100_000 < len(base64.b64decode(logs[0]["logs"])) <= 1 << 20
    etl.delete(store, "chat-etl")


def test_the_runner_answers_its_store_only(store: StoreProcess) -> None:
    etl.init(store, etl.code_message("alone-etl", etl.module_text(upper), communication="hpull://"))
    location = wire.hops(store.endpoint, "GET", f"/v1/objects/{OBJECT}?etl_name=alone-etl")[-2]
    host, target = wire.split_url(location.get("Location"))
    assert wire.send(host, "GET", target).status == 200
    assert wire.send(host, "GET", target.partition("?")[0]).status == 403
    assert wire.send(host, "PUT", "/src/x", [], b"x").status == 403
    etl.delete(store, "alone-etl")


def test_a_store_that_speaks_https(tmp_path: Path) -> None:
    with StoreProcess(tmp_path / "data", extra=("--allow-etl", "--tls")) as own:
        session = requests.Session()
        session.trust_env = False
        session.verify = str(own.data / "tls" / "ca.pem")
        session.headers.update(dict(etl.bearer(own)))
        for bucket in ("src", "dst"):
            url = f"{own.endpoint}/v1/buckets/{bucket}"
            assert session.post(url, json={"action": "create-bck"}).status_code == 200
        for number in range(3):
            url = f"{own.endpoint}/v1/objects/src/o{number}"
            assert session.put(url, data=b"hello").status_code == 200
        code = etl.module_text(upper)
        for name, kind in (("push-etl", "hpush"), ("pull-etl", "hpull")):
            message = etl.code_message(name, code, communication=f"{kind}://")
            answer = session.put(f"{own.endpoint}/v1/etl", json=message)
            assert answer.status_code == 200, answer.text
            url = f"{own.endpoint}/v1/buckets/src?bck_to=ais%2F%40%23%2Fdst%2F"
            value = {"id": name, "prepend": f"{name}/"}
            job = session.post(url, json={"action": "etl-bck", "value": value}).text
            while not (status := job_status(session, own, job))["end_time"]:
                time.sleep(0.01)
            assert status["err"] == ""
            for number in range(3):  # some of them are put by the process
                url = f"{own.endpoint}/v1/objects/dst/{name}/o{number}"
                assert session.get(url).content == b"HELLO"


def job_status(session: requests.Session, own: StoreProcess, job: str) -> dict[str, Any]:
    answer = session.get(f"{own.endpoint}/v1/cluster?what=status", json={"id": job})
    status: dict[str, Any] = answer.json()
    return status
