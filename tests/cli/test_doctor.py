"""`aisfs doctor`: the cause of each broken set-up by its name, never a traceback."""

import base64
import datetime as dt
import http.server
import ipaddress
import json
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aisfs.cli.doctor import checkup, machine
from aisfs.cli.doctor.findings import Case, Finding, State, within
from tests.support.mount import Mount, clean_environment, run_aisfs
from tests.support.not_run import give_up
from tests.support.store import StoreProcess, free_port

LIMIT_S = 90.0


class Diagnosis:
    """What `aisfs doctor --json` said."""

    def __init__(self, ended: subprocess.CompletedProcess[str]) -> None:
        assert "Traceback" not in ended.stderr + ended.stdout, ended
        assert ended.stderr == "", ended
        self.text = ended.stdout
        told = json.loads(ended.stdout)
        self.ok: bool = told["ok"]
        self.checks: dict[str, dict[str, Any]] = {each["check"]: each for each in told["checks"]}
        assert ended.returncode == (0 if self.ok else 1)
        assert self.ok == (not self.broken)

    def __getitem__(self, check: str) -> dict[str, Any]:
        return self.checks[check]

    @property
    def broken(self) -> dict[str, str]:
        """The broken checks with their causes."""
        return self._in_state("broken")

    @property
    def warnings(self) -> dict[str, str]:
        """The checks that warn, with their causes."""
        return self._in_state("warning")

    def _in_state(self, state: str) -> dict[str, str]:
        return {name: e["cause"] for name, e in self.checks.items() if e["state"] == state}


def diagnose(*words: str | Path, environment: Mapping[str, str] | None = None) -> Diagnosis:
    """Ask the doctor."""
    ended = run_aisfs("doctor", *words, "--json", environment=environment, limit_s=LIMIT_S)
    return Diagnosis(ended)


def names_only(found: Diagnosis, check: str, cause: str) -> dict[str, Any]:
    """Check that this cause, and no other, was named, and return the finding."""
    assert found.broken == {check: cause}, found.text
    finding = found[check]
    assert finding["words"]
    assert finding["remedy"]
    return finding


# ---- a set-up that works ------------------------------------------------------------------------


@pytest.mark.fuse
def test_set_up_that_works_is_told_so(store: StoreProcess, tmp_path: Path) -> None:
    store.create_bucket("b")
    found = diagnose("ais://b", tmp_path, "-o", f"endpoint={store.endpoint}")
    assert found.ok, found.text
    assert list(found.checks) == [check.name for check in checkup.CHECKS]
    assert found["cluster"]["facts"]["uuid"] == store.smap()["uuid"]
    assert found["cluster"]["facts"]["release"] == "AIS 5.0"
    assert found["targets"]["facts"] == {"reachable": 3, "targets": 3, "inactive": 0}
    assert found["direct reads"]["facts"]["works"]
    assert found["writes"]["facts"]["works"]
    changes = [e for e in store.requests() if e["method"] not in {"GET", "HEAD"}]
    assert {(e["method"], e["node"]) for e in changes} <= {
        (method, store.smap()["proxy_si"]["daemon_id"]) for method in ("PUT", "DELETE", "POST")
    }, "the doctor changed something"


@pytest.mark.fuse
def test_mount_that_runs_is_looked_at_with_its_own_settings() -> None:
    with StoreProcess(extra=("--tls", "--require-token")) as store:
        store.create_bucket("b")
        options = [f"ca-file={store.ca_file}", f"token-file={store.token_file}"]
        with Mount(store.endpoint, "ais://b", options=options) as mount:
            found = diagnose(mount.path)
            assert found.ok, found.text
            assert found["mount point"]["facts"]["pid"] == mount.daemon_pid
            assert found["config"]["facts"]["source"] == "ais://b"
            assert found["endpoint"]["facts"]["endpoint"] == store.endpoint
            assert "accepts the token" in found["token"]["words"]
            assert not found["direct reads"]["facts"]["works"]
            assert store.token_file.read_text().strip() not in found.text


@pytest.mark.fuse
def test_mount_that_tells_no_settings_is_told_so(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b", options=["control=off"]) as mount:
        found = diagnose(mount.path, "-o", f"endpoint={store.endpoint}")
        assert found.ok, found.text
        assert "give them by -o" in found["config"]["words"]


# ---- 1, 2: the machine --------------------------------------------------------------------------


def test_machine_without_fuse_is_named(without_fuse: list[str]) -> None:
    finding = names_only(elsewhere(without_fuse, "doctor"), "fuse", "no-fuse")
    assert "there is no /dev/fuse" in finding["words"]
    assert "modprobe fuse" in finding["remedy"]


def test_something_else_under_the_name_of_the_device_is_named() -> None:
    prefix = in_namespace("mount --bind /dev/null /dev/fuse")
    found = elsewhere([*prefix, *AISFS], "doctor")
    assert "is not the FUSE device" in names_only(found, "fuse", "no-fuse")["words"]


AISFS = (sys.executable, "-m", "aisfs")
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
USERS = """\
mount -t tmpfs -o mode=755 none /mnt && mkdir /mnt/ours /mnt/theirs /mnt/state &&
chown 65534:65534 /mnt/ours /mnt/state &&
mknod -m %s /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse &&
echo '%s' >/mnt/fuse.conf && mount --bind /mnt/fuse.conf /etc/fuse.conf"""
OURS = ("-o", "state-dir=/mnt/state")


def in_namespace(script: str, become: str = "") -> list[str]:
    """Return words that run the command behind them after a script, in mounts of its own."""
    words = ["unshare", "--mount", "sh", "-ec", f'{script}\nexec {become} "$@"', "sh"]
    if os.geteuid() != 0:
        give_up("mounts of its own for a process are made by root only")
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        give_up(f"the set-up cannot be made here: {tried.stderr.strip()}")
    return words


def as_user(*, device: str = "666", conf: str = "user_allow_other") -> list[str]:
    """Return words that run the command line as an ordinary user on a machine of its own."""
    return [*in_namespace(USERS % (device, conf), NOBODY), *AISFS]


def elsewhere(prefix: list[str], *words: str) -> Diagnosis:
    """Ask the doctor on another machine, from which a cluster that is well can be reached."""
    with StoreProcess(extra=("--any-user",)) as store:
        ended = subprocess.run(
            [*prefix, *words, "--json", "-o", f"endpoint={store.endpoint}"],
            capture_output=True,
            text=True,
            env=clean_environment(),
            timeout=LIMIT_S,
            check=False,
        )
    return Diagnosis(ended)


class Silent(http.server.BaseHTTPRequestHandler):
    """Answers everything with a page that is none of AIS."""

    def do_GET(self) -> None:
        body = b"<html>hello</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def http_server(
    handler: type[http.server.BaseHTTPRequestHandler], context: ssl.SSLContext | None = None
) -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_user_without_fusermount3_is_told() -> None:
    prefix = [*in_namespace(USERS % ("666", ""), NOBODY), "env", "PATH=/nonexistent"]
    found = elsewhere([*prefix, *AISFS], "doctor", "/mnt/ours", *OURS)
    finding = names_only(found, "fuse", "no-fuse")
    assert "there is no fusermount3" in finding["words"]
    assert "fuse3" in finding["remedy"]


def test_ordinary_user_whose_machine_is_well_hears_so() -> None:
    words = ("doctor", "/mnt/ours", "-o", "state-dir=/mnt/state,allow-other")
    assert elsewhere(as_user(), *words).broken == {}


def test_device_that_is_not_ours_is_named() -> None:
    found = elsewhere(as_user(device="600"), "doctor", "/mnt/ours", *OURS)
    finding = names_only(found, "fuse", "fuse-not-permitted")
    assert "Permission denied" in finding["words"]


def test_mount_point_that_is_not_ours_is_named() -> None:
    found = elsewhere(as_user(), "doctor", "/mnt/theirs", *OURS)
    finding = names_only(found, "mount point", "mount-point-not-yours")
    assert "/mnt/theirs is not yours" in finding["words"]


def test_directory_that_cannot_be_entered_is_named() -> None:
    script = USERS % ("666", "") + " && mkdir -p /mnt/theirs/x && chmod 700 /mnt/theirs"
    prefix = [*in_namespace(script, NOBODY), *AISFS]
    found = elsewhere(prefix, "doctor", "/mnt/theirs/x", *OURS)
    assert "Permission denied" in names_only(found, "mount point", "mount-point-not-yours")["words"]


def test_others_that_may_not_be_let_in_are_named() -> None:
    words = ("doctor", "/mnt/ours", "-o", "state-dir=/mnt/state,allow-other")
    found = elsewhere(as_user(conf="#"), *words)
    finding = names_only(found, "allow-other", "user-allow-other-missing")
    assert "/etc/fuse.conf" in finding["words"]


def test_state_directory_that_is_not_ours_is_named() -> None:
    words = ("doctor", "/mnt/ours", "-o", "state-dir=/mnt/theirs/state")
    names_only(elsewhere(as_user(), *words), "state-dir", "state-dir-not-writable")


def test_full_disk_is_named() -> None:
    script = "mount -t tmpfs -o size=1m none /mnt; head -c 1M /dev/zero >/mnt/full || :"
    prefix = [*in_namespace(script), *AISFS]
    found = elsewhere(prefix, "doctor", "-o", "state-dir=/mnt/s,cache-dir=/mnt/c")
    assert found.broken == {"state-dir": "state-dir-full", "cache-dir": "cache-dir-full"}


# ---- 3, 4, 5: the way to the gateway ------------------------------------------------------------


def test_refused_port_is_named() -> None:
    port = free_port()
    found = diagnose(f"http://127.0.0.1:{port}")
    finding = names_only(found, "endpoint", "refused-port")
    assert f"nobody listens at 127.0.0.1:{port}" in finding["words"]
    assert found["cluster"]["state"] == "not checked"
    assert "first 'endpoint' has to be mended" in found["targets"]["words"]


def test_name_without_an_address_is_named() -> None:
    found = diagnose("http://gateway.invalid:8080")
    assert "gateway.invalid" in names_only(found, "endpoint", "unknown-host")["words"]


def test_port_that_never_answers_is_named_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        began = time.monotonic()
        found = diagnose(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - began < 60
    assert "says nothing" in names_only(found, "tls", "no-answer")["words"]


def test_port_of_something_else_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # the test has ended
                    return
                with connection:
                    connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        found = diagnose(f"http://127.0.0.1:{server.getsockname()[1]}")
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert "neither HTTP nor TLS" in names_only(found, "tls", "not-http")["words"]


def test_page_that_is_no_gateway_is_named() -> None:
    with http_server(Silent) as server:
        found = diagnose(f"http://127.0.0.1:{server.server_port}")
    assert "no AIS gateway" in names_only(found, "gateway", "not-ais")["words"]


def test_endpoint_that_is_a_target_is_named(store: StoreProcess) -> None:
    target = next(iter(store.smap()["tmap"].values()))["public_net"]["direct_url"]
    finding = names_only(diagnose(target), "cluster", "endpoint-is-target")
    assert store.endpoint in finding["remedy"]


def test_http_to_a_gateway_that_speaks_https_is_named() -> None:
    with StoreProcess(extra=("--tls",)) as store:
        plain = store.endpoint.replace("https:", "http:")
        finding = names_only(diagnose(plain), "tls", "wrong-scheme")
        assert store.endpoint in finding["remedy"]


def test_https_to_a_gateway_that_speaks_http_is_named(store: StoreProcess) -> None:
    secure = store.endpoint.replace("http:", "https:")
    finding = names_only(diagnose(secure), "tls", "wrong-scheme")
    assert store.endpoint in finding["remedy"]


@dataclass(frozen=True)
class Authority:
    """An authority of the test's own, and how it signs."""

    directory: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    @classmethod
    def make(cls, directory: Path) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority of a test")])
        made = cls(directory, key, name)
        certificate = made._signed(
            name, key, [], dt.timedelta(days=-9), dt.timedelta(days=9), ca=True
        )
        made.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return made

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def serve(
        self,
        *names: str,
        begins: dt.timedelta = dt.timedelta(days=-5),
        ends: dt.timedelta = dt.timedelta(days=30),
    ) -> tuple[str, ...]:
        """Return words for a store that has a certificate for these names and this time."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
        certificate = self._signed(subject, key, list(names), begins, ends)
        files = self.directory / "node.pem", self.directory / "node.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return "--tls-cert", str(files[0]), "--tls-key", str(files[1])

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: list[str],
        begins: dt.timedelta,
        ends: dt.timedelta,
        *,
        ca: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            known = x509.SubjectAlternativeName([_name_of(name) for name in names])
            builder = builder.add_extension(known, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _name_of(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


def test_expired_certificate_is_named(authority: Authority) -> None:
    ends = dt.timedelta(days=-1)
    with StoreProcess(extra=authority.serve("127.0.0.1", ends=ends)) as store:
        found = diagnose(store.endpoint, "-o", f"ca-file={authority.ca_file}")
    finding = names_only(found, "tls", "certificate-expired")
    day = f"{dt.datetime.now(dt.UTC) + ends:%Y-%m-%d}"
    assert f"expired on {day}" in finding["words"]
    assert found["clock"]["state"] == "ok"


def test_certificate_that_expires_soon_is_a_warning(authority: Authority) -> None:
    with StoreProcess(extra=authority.serve("127.0.0.1", ends=dt.timedelta(days=3))) as store:
        found = diagnose(store.endpoint, "-o", f"ca-file={authority.ca_file}")
    assert found.ok, found.text
    assert found.warnings["tls"] == "certificate-expires-soon"


def test_authority_that_is_not_trusted_is_named(authority: Authority) -> None:
    with StoreProcess(extra=authority.serve("127.0.0.1")) as store:
        finding = names_only(diagnose(store.endpoint), "tls", "unknown-authority")
    assert "authority of a test" in finding["words"]
    assert "ca-file" in finding["remedy"]


def test_gateway_that_its_certificate_does_not_name_is_named(authority: Authority) -> None:
    with StoreProcess(extra=authority.serve("localhost")) as store:
        found = diagnose(store.endpoint, "-o", f"ca-file={authority.ca_file}")
    finding = names_only(found, "tls", "certificate-names")
    assert "does not name 127.0.0.1: it names localhost" in finding["words"]


def test_certificate_that_the_gateway_wants_of_us_is_named(authority: Authority) -> None:
    _, certificate, _, key = authority.serve("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    with http_server(Silent, context) as server:
        url = f"https://127.0.0.1:{server.server_port}"
        found = diagnose(url, "-o", f"ca-file={authority.ca_file}")
    assert "cert=FILE" in names_only(found, "tls", "client-certificate")["remedy"]


# ---- 6: tokens ----------------------------------------------------------------------------------


@pytest.fixture
def strict() -> Iterator[StoreProcess]:
    """Return a store that serves nobody without its token."""
    with StoreProcess(extra=("--require-token",)) as store:
        yield store


def test_token_that_is_refused_is_named_and_not_shown(strict: StoreProcess) -> None:
    secret = "a-token-that-nobody-may-see"
    found = diagnose(strict.endpoint, environment={"AIS_AUTHN_TOKEN": secret})
    finding = names_only(found, "token", "bad-token")
    assert "AIS_AUTHN_TOKEN" in finding["words"]
    assert "401" in finding["words"]
    assert secret not in found.text
    assert "AIS_AUTHN_TOKEN=(hidden)" in found["environment"]["words"]


def test_token_that_is_wanted_is_named(strict: StoreProcess) -> None:
    finding = names_only(diagnose(strict.endpoint), "token", "no-token")
    assert "token-file" in finding["remedy"]


def test_token_without_rights_is_named(store: StoreProcess) -> None:
    store.faults([{"action": "error", "status": 403, "path": "^/v1/(daemon|buckets)"}])
    found = diagnose(store.endpoint, environment={"AIS_AUTHN_TOKEN": "some-token"})
    assert "403" in names_only(found, "token", "bad-token")["words"]


class Repeating(Silent):
    """Refuses everybody as AIS does, and repeats what it was sent."""

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization", "")
        body = json.dumps({"status": 401, "message": f"invalid token {sent}"}).encode()
        self.send_response(200 if self.path.startswith("/v1/health") else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_token_that_the_server_repeats_is_not_shown() -> None:
    with http_server(Repeating) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        found = diagnose(url, environment={"AIS_AUTHN_TOKEN": "s3cret"})
    assert "invalid token Bearer (token)" in names_only(found, "token", "bad-token")["words"]
    assert "s3cret" not in found.text


def test_token_for_the_bucket_alone_is_a_warning(store: StoreProcess) -> None:
    store.create_bucket("b")
    store.faults([{"action": "error", "status": 403, "path": "^/v1/daemon"}])
    found = diagnose(
        "ais://b", "-o", f"endpoint={store.endpoint}", environment={"AIS_AUTHN_TOKEN": "t" * 9}
    )
    assert found.ok, found.text
    assert found.warnings["token"] == "token-without-map"
    assert found["targets"]["state"] == "not checked"


def test_token_that_has_expired_is_named(strict: StoreProcess, tmp_path: Path) -> None:
    def part(claims: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")

    token = f"{part({'alg': 'HS256'})}.{part({'exp': int(time.time()) - 7300})}.c2lnbmF0dXJl"
    file = tmp_path / "token"
    file.write_text(json.dumps({"token": token}))
    found = diagnose(strict.endpoint, "-o", f"token-file={file}")
    finding = names_only(found, "token", "token-expired")
    assert "expired 2 hours ago" in finding["words"]
    assert str(file) in finding["words"]
    assert token not in found.text


# ---- 7: buckets ---------------------------------------------------------------------------------


def test_wrong_bucket_is_named(store: StoreProcess) -> None:
    store.create_bucket("training")
    found = diagnose("ais://trainin", "-o", f"endpoint={store.endpoint}")
    finding = names_only(found, "bucket", "wrong-bucket")
    assert "there is no bucket ais://trainin (nearest: training)" in finding["words"]


def test_prefix_without_objects_is_a_warning(store: StoreProcess) -> None:
    store.create_bucket("b")
    found = diagnose("ais://b/none", "-o", f"endpoint={store.endpoint}")
    assert found.ok, found.text
    assert found.warnings["listing"] == "empty-prefix"


def test_bucket_that_takes_no_writes_is_a_warning(store: StoreProcess) -> None:
    store.create_bucket("b")
    store.set_bucket_props("b", {"access": "771"})
    found = diagnose("ais://b", "-o", f"endpoint={store.endpoint}")
    assert found.ok, found.text
    assert found.warnings["writes"] == "writes-refused"


# ---- 8: mounts ----------------------------------------------------------------------------------


@pytest.mark.fuse
def test_stale_mount_is_named(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        mount.kill()
        found = diagnose(mount.path, environment={"AIS_ENDPOINT": store.endpoint})
        finding = names_only(found, "mount point", "stale-mount")
        assert "Transport endpoint is not connected" in finding["words"]
        assert f"fusermount3 -uz {mount.path}" in finding["remedy"]
        assert found["config"]["facts"]["source"] == "ais://b"


@pytest.mark.fuse
def test_mount_of_somebody_else_is_named() -> None:
    prefix = [*in_namespace("true", NOBODY), *AISFS]
    with StoreProcess(extra=("--any-user",)) as store:
        store.create_bucket("b")
        with Mount(store.endpoint, "ais://b") as mount:
            mount.path.parent.chmod(0o755)
            ended = subprocess.run(
                [*prefix, "doctor", mount.path, "--json", "-o", f"endpoint={store.endpoint}"],
                capture_output=True,
                text=True,
                env=clean_environment(),
                timeout=LIMIT_S,
                check=False,
            )
    found = Diagnosis(ended)
    assert found.broken["mount point"] == "mount-refuses"
    assert "allow-other" in found["mount point"]["remedy"]


@pytest.mark.fuse
def test_mount_that_hangs_is_named_in_time(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        os.kill(mount.daemon_pid, signal.SIGSTOP)
        try:
            found = diagnose(mount.path, "-o", f"endpoint={store.endpoint}")
        finally:
            os.kill(mount.daemon_pid, signal.SIGCONT)
        finding = names_only(found, "mount point", "mount-hangs")
        assert f"kill -USR1 {mount.daemon_pid}" in finding["remedy"]


@pytest.mark.fuse
def test_what_could_not_be_stored_is_a_warning(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "error"}])
        with pytest.raises(OSError, match="Input/output"):
            (mount.path / "f").write_bytes(b"12345")
        found = diagnose(mount.path)
        assert found.warnings["mount point"] == "unsent"
        assert found["mount point"]["facts"]["bytes"] == 5
        store.clear_faults()


@pytest.mark.fuse
def test_state_directory_of_another_mount_is_named(store: StoreProcess, tmp_path: Path) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        words = f"endpoint={store.endpoint},state-dir={mount.state}"
        found = diagnose("ais://b", tmp_path, "-o", words)
        finding = names_only(found, "state-dir", "state-dir-in-use")
        assert finding["facts"]["pid"] == mount.daemon_pid


# ---- 9: clocks ----------------------------------------------------------------------------------

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long off(void) { const char *t = getenv("TEST_CLOCK_OFF_S"); return t ? atol(t) : 0; }
int clock_gettime(clockid_t id, struct timespec *at) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, at);
    if (code == 0 && id == CLOCK_REALTIME) at->tv_sec += off();
    return code;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library under which a process sees the machine's clock as it would be if set so."""
    directory = tmp_path_factory.mktemp("clock")
    (directory / "clock.c").write_text(CLOCK)
    library = directory / "clock.so"
    command = ["gcc", "-shared", "-fPIC", "-o", str(library), str(directory / "clock.c"), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def set_clock(library: Path, seconds: int) -> dict[str, str]:
    return {"LD_PRELOAD": str(library), "TEST_CLOCK_OFF_S": str(seconds)}


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3600, "60 minutes behind"), (7300, "2 hours ahead of")]
)
def test_clock_that_is_off_is_named(
    store: StoreProcess, clock: Path, seconds: int, words: str
) -> None:
    found = diagnose(store.endpoint, environment=set_clock(clock, seconds))
    finding = names_only(found, "clock", "clock-off")
    assert words in finding["words"]
    assert "modification times" in finding["words"]
    assert "tokens" in finding["words"]
    assert abs(finding["facts"]["cluster_ahead_s"] + seconds) < 30


def test_clock_that_is_a_little_off_is_a_warning(store: StoreProcess, clock: Path) -> None:
    found = diagnose(store.endpoint, environment=set_clock(clock, 60))
    assert found.ok, found.text
    assert found.warnings["clock"] == "clock-off"


def test_certificate_that_only_our_clock_refuses_is_the_clocks_fault(
    authority: Authority, clock: Path
) -> None:
    with StoreProcess(extra=authority.serve("127.0.0.1")) as store:
        found = diagnose(
            store.endpoint,
            "-o",
            f"ca-file={authority.ca_file}",
            environment=set_clock(clock, -7 * 86400),
        )
    assert found.broken == {"tls": "clock-off", "clock": "clock-off"}


# ---- 10: releases -------------------------------------------------------------------------------


def test_release_that_can_less_is_a_warning_that_says_what() -> None:
    with StoreProcess(extra=("--compat", "3.17")) as store:
        store.create_bucket("b")
        found = diagnose("ais://b", "-o", f"endpoint={store.endpoint}")
    assert found.ok, found.text
    assert found.warnings["cluster"] == "old-release"
    assert "AIS 3.17" in found["cluster"]["words"]
    assert "a rename moves the bytes through this machine" in found["cluster"]["facts"]["missing"]


def test_release_that_is_too_old_is_named() -> None:
    with StoreProcess(extra=("--compat", "3.17")) as store, http_server(older(store)) as server:
        found = diagnose(f"http://127.0.0.1:{server.server_port}")
    finding = names_only(found, "cluster", "old-release")
    assert finding["words"].startswith("AIS 3.12 is older than AIS 3.17")
    assert found["targets"]["state"] == "not checked"


def older(store: StoreProcess) -> type[http.server.BaseHTTPRequestHandler]:
    """Return a gateway before a store, by which it says that it is of an older release."""

    class Older(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            asked = urllib.request.Request(
                store.endpoint + self.path, self.rfile.read(length) or None, method="GET"
            )
            try:
                with urllib.request.urlopen(asked) as answer:
                    self._send(answer.status, answer.read())
            except urllib.error.HTTPError as error:
                self._send(error.code, error.read())

        def _send(self, status: int, body: bytes) -> None:
            body = body.replace(b'"ais_version":"3.17.', b'"ais_version":"3.12.')
            body = body.replace(b'"ais_version": "3.17.', b'"ais_version": "3.12.')
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Older


# ---- 11, 12: targets ----------------------------------------------------------------------------


def test_targets_that_cannot_be_reached_are_named() -> None:
    """The cluster tells addresses of targets at which, from here, nobody listens."""
    with StoreProcess(extra=("--advertise", "127.0.0.99")) as store:
        endpoint = store.endpoint.replace("127.0.0.99", "127.0.0.1")
        found = diagnose(endpoint)
    finding = names_only(found, "targets", "target-unreachable")
    assert "0 of 3 can be used, though the gateway answers" in finding["words"]
    assert "127.0.0.99" in finding["words"]
    assert finding["facts"] == {"reachable": 0, "targets": 3, "inactive": 0}
    assert found["gateway"]["state"] == found["cluster"]["state"] == "ok"


def test_targets_that_their_certificate_does_not_name_are_named(authority: Authority) -> None:
    words = (*authority.serve("localhost"), "--advertise", "127.0.0.1")
    with StoreProcess(extra=words) as store:
        endpoint = store.endpoint.replace("127.0.0.1", "localhost")
        found = diagnose(endpoint, "-o", f"ca-file={authority.ca_file}")
    finding = names_only(found, "targets", "target-certificate-names")
    assert "does not name 127.0.0.1: it names localhost" in finding["words"]
    assert found["tls"]["state"] == found["gateway"]["state"] == "ok"


# ---- settings, output, and what nobody foresaw --------------------------------------------------


def test_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[mount\nro = yes\n")
    finding = names_only(diagnose("--config", file), "config", "config")
    assert f"{file} is not TOML" in finding["words"]


def test_variables_in_effect_are_told(store: StoreProcess) -> None:
    given = {
        "AIS_ENDPOINT": store.endpoint,
        "AISFS_STORE_CONNECTIONS": "8",
        "HTTP_PROXY": "http://p",
    }
    words = diagnose(environment=given)["environment"]["words"]
    assert f"AIS_ENDPOINT={store.endpoint}" in words
    assert "AISFS_STORE_CONNECTIONS=8" in words
    assert "http_proxy: not used" in words


def test_misspelt_variable_is_a_warning(store: StoreProcess) -> None:
    found = diagnose(store.endpoint, environment={"AIS_ENDPIONT": "http://x:1"})
    assert found.warnings["environment"] == "unknown-variable"
    assert "AIS_ENDPOINT" in found["environment"]["remedy"]


def test_password_in_an_endpoint_is_not_shown() -> None:
    found = diagnose(environment={"AIS_ENDPOINT": "http://user:s3cret@h:1"})
    assert set(found.broken) == {"config"}
    assert "s3cret" not in found.text


def test_too_many_names_are_a_mistake_of_one_line() -> None:
    ended = run_aisfs("doctor", "ais://a", "ais://b")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1


def test_terminal_shows_a_table_with_colours(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = clean_environment(TERM="xterm-256color", COLUMNS="160")
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [*AISFS, "doctor", f"http://127.0.0.1:{free_port()}"],
        stdout=theirs,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # EIO: the other side was closed
            break
        shown += part
    os.close(ours)
    assert process.wait(LIMIT_S) == 1
    text = shown.decode()
    assert re.search(r"\x1b\[1;31mbroken", text), text
    assert re.search(r"\x1b\[32mok", text), text
    assert "WHAT TO DO" in text


def test_lines_for_programs_have_four_columns() -> None:
    ended = run_aisfs("doctor", f"http://127.0.0.1:{free_port()}")
    assert ended.returncode == 1
    rows = [line.split("\t") for line in ended.stdout.splitlines()]
    assert [row[0] for row in rows] == [check.name for check in checkup.CHECKS]
    assert {len(row) for row in rows} == {4}
    assert {row[1] for row in rows} <= {state.value for state in State}


def test_check_that_fails_by_itself_is_a_finding_and_keeps_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(case: Case) -> Finding:
        raise KeyError("unforeseen")

    checks = (checkup.Check("a", fail), checkup.Check("b", fail, ("a",)), checkup.Check("c", fail))
    monkeypatch.setattr(checkup, "CHECKS", checks)
    found = list(checkup.examine(Case()))
    states = [finding.state for finding in found]
    assert states == [State.BROKEN, State.NOT_CHECKED, State.BROKEN]
    assert "KeyError" in found[0].words


def test_what_takes_too_long_is_left_behind() -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.05, never.wait)
    never.set()


LOG = """\
[   12.0] audit: type=1400 apparmor="DENIED" operation="mount" class="mount" info="failed flags \
match" error=-13 profile="fusermount3" name="/srv/data/" pid=1 comm="fusermount3" fstype="fuse"
[   13.0] audit: type=1400 apparmor="DENIED" operation="open" profile="x" name="/srv/other/"
"""


@pytest.mark.parametrize(
    ("path", "refused"), [("/srv/data", True), ("/srv/other", False), ("", False), ("/srv", False)]
)
def test_refusal_by_apparmor_is_found_in_the_kernels_log(path: str, refused: bool) -> None:
    assert bool(machine.refused_by_apparmor(LOG, path)) == refused


def causes() -> set[str]:
    """Return all words for causes that stand in the checks, and those that are put together."""
    made = re.compile(r'(?:\b(?:broken|warning)\(\s*[^,()]+,|\bTrouble\(|\bcause =)\s*"([a-z-]+)"')
    sources = Path(checkup.__file__).parent.glob("*.py")
    found = {cause for source in sources for cause in made.findall(source.read_text("utf-8"))}
    rooms = {
        f"{name}-{what}" for name in ("state-dir", "cache-dir") for what in ("full", "not-writable")
    }
    return found | rooms | {"no-fuse", "mount-point", "mount-point-not-yours", "clock-off"}


def test_every_cause_stands_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text("utf-8")
    told = set(re.findall(r"`([a-z-]+)`", page))
    assert len(causes()) > 50
    assert not causes() - told
