import os
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests

from aisfs_sdk import Client, RetryConfig, errors
from tests.sdk.wire import Reply, Request, Wire, http

SUBJECT = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate of 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    crt, key = str(folder / "crt.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-keyout", key, "-out", crt, *SUBJECT],
        check=True, capture_output=True,
    )  # fmt: skip
    return crt, key


@pytest.fixture
def tls(certificate: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


DATA = os.urandom(3 << 20)


def test_bodies_over_tls(certificate: tuple[str, str], tls: ssl.SSLContext, tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        if request.method == "GET":
            return http(200, DATA)
        if "pid=" in request.target:
            return http(200)
        reply = http(307, b"", "Location: /v1/objects/b/o?pid=p&utm=1")
        return Reply(reply.data, "close")

    def wants_body(request: Request) -> bool:
        return request.method == "GET" or "pid=" in request.target

    (tmp_path / "f").write_bytes(DATA)
    with Wire(answer, context=tls, reads_body=wants_body) as wire:
        client = Client(wire.endpoint, ca_cert=certificate[0])
        obj = client.bucket("b").object("o")
        obj.put_file(tmp_path / "f")
        assert wire.requests[-1].body == DATA
        obj.put_content(DATA)
        assert wire.requests[-1].body == DATA
        buffer = bytearray(len(DATA))
        with obj.get() as reader:
            assert reader.readinto(buffer) == len(DATA)
        assert buffer == DATA
        client.close()


def test_who_is_not_known_is_not_trusted(tls: ssl.SSLContext) -> None:
    with Wire(lambda request: http(200), context=tls) as wire:
        with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            Client(wire.endpoint).cluster().get_info()
        assert wire.connections == 1


def test_trust_by_argument_and_environment(
    certificate: tuple[str, str], tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Wire(lambda request: http(200), context=tls) as wire:
        Client(wire.endpoint, skip_verify=True).bucket("b").head()
        Client(wire.endpoint, ca_cert=certificate[0]).bucket("b").head()
        plain = Client(wire.endpoint, ca_cert=certificate[0]).request_client.session
        assert plain.get(wire.endpoint).status_code == 200
        monkeypatch.setenv("AIS_CLIENT_CA", certificate[0])
        Client(wire.endpoint).bucket("b").head()
        monkeypatch.delenv("AIS_CLIENT_CA")
        monkeypatch.setenv("AIS_SKIP_VERIFY_CRT", "True")
        Client(wire.endpoint).bucket("b").head()


def test_the_bundle_of_requests_is_not_used(
    certificate: tuple[str, str], tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate[0])
    with (
        Wire(lambda request: http(200), context=tls) as wire,
        pytest.raises(requests.exceptions.SSLError),
    ):
        Client(wire.endpoint).bucket("b").head()


def test_a_certificate_of_ones_own(certificate: tuple[str, str], tls: ssl.SSLContext) -> None:
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(certificate[0])
    once = RetryConfig(attempts=1)
    with Wire(lambda request: http(200), context=tls) as wire:
        Client(wire.endpoint, ca_cert=certificate[0], client_cert=certificate).bucket("b").head()
        with pytest.raises(requests.ConnectionError):
            Client(wire.endpoint, ca_cert=certificate[0], retry_config=once).bucket("b").head()


def test_abort_over_tls(certificate: tuple[str, str], tls: ssl.SSLContext) -> None:
    reply = http(200, b"x" * 100, length=1000, then="hang")
    with Wire(lambda request: reply, context=tls) as wire:
        reader = Client(wire.endpoint, ca_cert=certificate[0]).bucket("b").object("o").get()
        assert reader.readinto(bytearray(50)) == 50
        caught: list[BaseException] = []

        def read() -> None:
            try:
                reader.readinto(bytearray(1000))
            except errors.AbortedError as error:
                caught.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        reader.abort()
        thread.join(10)
        assert len(caught) == 1


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("nonsense")
    for path in (tmp_path / "f", tmp_path / "none"):
        with pytest.raises(OSError):  # noqa: PT011 - texts are OpenSSL's
            Client("https://h:1", ca_cert=str(path))
        with pytest.raises(OSError):  # noqa: PT011 - texts are OpenSSL's
            Client("https://h:1", client_cert=str(path))


def test_a_forked_child_has_connections_of_its_own(endpoint: str) -> None:
    script = f"""
import os
from aisfs_sdk import Client
client = Client({endpoint!r})
uuid = client.cluster().get_uuid()
pid = os.fork()
if pid == 0:
    os._exit(0 if all(client.cluster().get_uuid() == uuid for _ in range(20)) else 1)
assert all(client.cluster().get_uuid() == uuid for _ in range(20))
assert os.waitpid(pid, 0)[1] == 0
client.close()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
