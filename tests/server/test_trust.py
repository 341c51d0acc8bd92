"""Who is served: the user who runs the store, root, and whoever shows the token."""

import os
import socket
import ssl
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from aistore.sdk import Client  # type: ignore[import-untyped,unused-ignore]

from tests.server import wire
from tests.support.store import StoreProcess

STRANGER = 54321
"""A uid that runs nothing."""

ASK = """
import os, socket, sys
host, port, uid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
request = sys.stdin.buffer.read()
os.setuid(uid)
with socket.socket() as sock:
    sock.connect((host, port))
    sock.sendall(request)
    while piece := sock.recv(65536):
        sys.stdout.buffer.write(piece)
"""


def as_stranger(endpoint: str, method: str, target: str, headers: str = "", body: str = "") -> str:
    """Send a request as another user of the machine; returns the raw answer."""
    host, _, port = endpoint.rpartition("/")[2].partition(":")
    text = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}"
    request = f"{text}Content-Length: {len(body)}\r\n\r\n{body}"
    command = [sys.executable, "-I", "-c", ASK, host, port, str(STRANGER)]
    return subprocess.run(
        command, input=request.encode(), capture_output=True, check=True, timeout=20
    ).stdout.decode()


def bearer(store: StoreProcess) -> str:
    return f"Authorization: Bearer {token_of(store)}\r\n"


def token_of(store: StoreProcess) -> str:
    return (store.data / "token").read_text().strip()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


@needs_root
def test_another_user_can_do_nothing_but_ask_for_health(store: StoreProcess, bucket: str) -> None:
    path = f"/v1/objects/{bucket}/x"
    assert wire.follow(store.endpoint, "PUT", path, [], b"mine").status == 200
    owner = wire.send(store.endpoint.removeprefix("http://"), "GET", path).get("Location")
    direct, _ = wire.split_url(owner)
    for endpoint in (store.endpoint, f"http://{direct}"):
        assert as_stranger(endpoint, "GET", "/v1/health").startswith("HTTP/1.1 200")
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "POST"):
            answer = as_stranger(endpoint, method, f"{path}?pid=p&utm=1", body="theirs")
            assert answer.startswith("HTTP/1.1 401"), answer
    for target in ("/v1/buckets", "/v1/daemon?what=smap", "/metrics", "/v1/faults", "/v1/etl"):
        assert as_stranger(store.endpoint, "GET", target).startswith("HTTP/1.1 401")
    assert wire.follow(store.endpoint, "GET", path).body == b"mine"


@needs_root
def test_another_user_with_the_token_is_vouched_for_at_the_target(
    store: StoreProcess, bucket: str
) -> None:
    path = f"/v1/objects/{bucket}/x?provider=ais"
    redirected = as_stranger(store.endpoint, "PUT", path, bearer(store), "theirs")
    assert redirected.startswith("HTTP/1.1 307")
    location = next(line for line in redirected.splitlines() if line.startswith("Location: "))
    host, target = wire.split_url(location.removeprefix("Location: "))
    endpoint = f"http://{host}"
    assert as_stranger(endpoint, "DELETE", target).startswith("HTTP/1.1 401")
    assert as_stranger(endpoint, "PUT", target.replace("/x?", "/y?"), body="z")[9:12] == "401"
    late = target.replace("&x=", "&x=1")
    assert as_stranger(endpoint, "PUT", late, body="z").startswith("HTTP/1.1 401")
    assert as_stranger(endpoint, "PUT", target, body="theirs").startswith("HTTP/1.1 200")
    assert target.rpartition("&u=")[2] not in store.log_path.read_text()
    assert wire.follow(store.endpoint, "GET", path).body == b"theirs"


@needs_root
def test_who_closed_the_connection_is_nobody(store: StoreProcess, bucket: str) -> None:
    """The kernel shows a closed socket as root's."""
    target = f"/v1/objects/{bucket}/gone"
    host, _, port = store.endpoint.rpartition("/")[2].partition(":")
    script = (
        "import os, socket, sys\n"
        f"os.setuid({STRANGER})\n"
        "for _ in range(200):\n"
        "    sock = socket.socket()\n"
        f"    sock.connect(('{host}', {port}))\n"
        f"    sock.sendall(b'DELETE {target} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
        "    sock.close()\n"
    )
    store.clear_requests()
    subprocess.run([sys.executable, "-I", "-c", script], check=True, timeout=30)
    assert wire.follow(store.endpoint, "GET", "/v1/health").status == 200
    seen = [line["status"] for line in store.requests() if line["method"] == "DELETE"]
    assert set(seen) <= {401, 0}


def test_the_token_is_the_owners_alone_and_stays(tmp_path: Path) -> None:
    with StoreProcess(tmp_path / "data") as store:
        token = token_of(store)
        assert stat.S_IMODE((store.data / "token").stat().st_mode) == 0o600
        assert not {path for path in store.data.rglob("*") if path.stat().st_mode & 0o077}
        store.restart()
        assert token_of(store) == token
        assert token not in store.log_path.read_text() + store.stderr()
    assert len(token) >= 32


@pytest.mark.parametrize("spoil", ["readable", "empty", "link"])
def test_a_token_file_that_cannot_be_trusted_stops_the_start(tmp_path: Path, spoil: str) -> None:
    file = tmp_path / "token"
    file.write_text("x" * 40 if spoil != "empty" else "")
    file.chmod(0o644 if spoil == "readable" else 0o600)
    if spoil == "link":
        (tmp_path / "link").symlink_to(file)
        file = tmp_path / "link"
    with (
        pytest.raises(RuntimeError, match=r"did not start"),
        StoreProcess(tmp_path / "data", extra=("--token-file", str(file))),
    ):
        pass


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[StoreProcess]:
    """A store that serves nobody without the token."""
    with StoreProcess(tmp_path / "data", extra=("--require-token",)) as store:
        yield store


def test_another_token_in_the_file_ends_the_old_one(strict: StoreProcess) -> None:
    old = token_of(strict)
    client = Client(strict.endpoint, token=old)
    client.bucket("b").create()
    new = "n" * 40
    strict.token_file.write_text(new)
    with pytest.raises(Exception, match="401"):
        client.bucket("b").head()
    client = Client(strict.endpoint, token=new)
    client.bucket("b").head()
    strict.token_file.write_text("short")  # no token: the last one stays
    client.bucket("b").head()


def test_strict_store_and_the_official_client(strict: StoreProcess) -> None:
    client = Client(strict.endpoint, token=token_of(strict))
    bucket = client.bucket("b").create()
    bucket.object("x").get_writer().put_content(b"y" * 300_000)
    assert bucket.object("x").get_reader().read_all() == b"y" * 300_000
    assert [entry.name for entry in bucket.list_all_objects()] == ["x"]
    assert client.cluster().is_ready()


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ([], "token required"),
        ([("Authorization", "Basic abc")], "token required"),
        ([("Authorization", "Bearer nonsense")], "token signature is invalid"),
        ([("Authorization", "Bearer é")], "token signature is invalid"),
    ],
)
def test_strict_store_refuses_others(
    strict: StoreProcess, header: list[tuple[str, str]], words: str
) -> None:
    for method, target in (("GET", "/v1/objects/b/x"), ("PUT", "/v1/objects/b/x"), ("GET", "/s3")):
        answer = wire.follow(strict.endpoint, method, target, header, b"body")
        assert answer.status == 401
        assert words in answer.body.decode()
        assert str(strict.data / "token") in answer.body.decode()
    head = wire.follow(strict.endpoint, "HEAD", "/v1/objects/b/x", header)
    assert (head.status, words in head.get("Hdr-Error")) == (401, True)


def test_any_user_is_served_when_asked_for(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    with StoreProcess(tmp_path / "data", extra=("--any-user",)) as store:
        store.create_bucket("b")
        assert as_stranger(store.endpoint, "GET", "/v1/buckets/b").startswith("HTTP/1.1 200")


def own_address() -> str:
    """Return an address of this machine that is not loopback, empty if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(sock.getsockname()[0])


def test_exposed_store_needs_the_token_from_everybody(tmp_path: Path) -> None:
    address = own_address()
    if not address or address.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    extra = ("--host", "0.0.0.0", "--expose", "--advertise", address)
    with StoreProcess(tmp_path / "data", extra=extra) as store:
        assert store.endpoint.startswith(f"http://{address}:")
        answer = wire.follow(store.endpoint, "GET", "/v1/buckets/b")
        assert answer.status == 401
        client = Client(store.endpoint, token=token_of(store))
        bucket = client.bucket("b").create()
        bucket.object("x").get_writer().put_content(b"y")
        assert bucket.object("x").get_reader().read_all() == b"y"


# ---- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """A store with a certificate of its own authority."""
    with StoreProcess(tmp_path_factory.mktemp("tls") / "data", extra=("--tls",)) as store:
        yield store


def test_tls_with_an_own_authority(
    encrypted: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they beat what a session is told
        monkeypatch.delenv(name, raising=False)
    assert encrypted.endpoint.startswith("https://127.0.0.1:")
    authority = str(encrypted.data / "tls" / "ca.pem")
    client = Client(encrypted.endpoint, ca_cert=authority)
    bucket = client.bucket("b").create()
    body = os.urandom(3 << 20)
    bucket.object("x").get_writer().put_content(body)
    assert bucket.object("x").get_reader().read_all() == body
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{encrypted.endpoint}/v1/health", timeout=10)
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(encrypted.endpoint.replace("https", "http") + "/v1/health")
    context = ssl.create_default_context(cafile=authority)
    with urllib.request.urlopen(f"{encrypted.endpoint}/v1/health", context=context) as answer:
        assert answer.status == 200


def test_tls_certificate_stays_over_a_restart_and_its_key_is_private(
    encrypted: StoreProcess,
) -> None:
    folder = encrypted.data / "tls"
    before = (folder / "ca.pem").read_bytes()
    encrypted.restart()
    assert (folder / "ca.pem").read_bytes() == before
    assert stat.S_IMODE((folder / "server.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["ca.pem", "server.key", "server.pem"]


def test_tls_with_a_given_certificate(encrypted: StoreProcess, tmp_path: Path) -> None:
    folder = encrypted.data / "tls"
    extra = ("--tls-cert", str(folder / "server.pem"), "--tls-key", str(folder / "server.key"))
    with StoreProcess(tmp_path / "data", extra=extra) as store:
        answer = requests.get(
            f"{store.endpoint}/v1/health", verify=str(folder / "ca.pem"), timeout=10
        )
        assert answer.status_code == 200


def test_tls_with_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    file = tmp_path / "pem"
    file.write_text("nonsense")
    extra = ("--tls-cert", str(file), "--tls-key", str(file))
    with (
        pytest.raises(RuntimeError, match="cannot use the TLS certificate"),
        StoreProcess(tmp_path / "data", extra=extra),
    ):
        pass
