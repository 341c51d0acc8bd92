"""The embedded store in a child process, for tests of everything that speaks to it."""

import json
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aisfs_sdk import Bucket, Client

START_S = 20.0
"""Seconds that a start may take on a busy machine."""


class StoreProcess:
    """A store of its own for a test: `with StoreProcess() as store: … store.endpoint …`.

    The data directory is a fresh temporary one unless given; a temporary one goes at the end.
    Gateway and targets keep their ports over `restart`.

    Args:
        data: Data directory to use instead; it stays.
        targets: Number of storage targets.
        faults: Whether `faults()` may be used.
        extra: More arguments for the command line.
    """

    def __init__(
        self,
        data: Path | None = None,
        *,
        targets: int = 3,
        faults: bool = True,
        extra: tuple[str, ...] = (),
    ) -> None:
        self._temporary = Path(tempfile.mkdtemp(prefix="aisfs-test-store-"))
        self.data = data or self._temporary / "data"
        self.log_path = self._temporary / "requests.jsonl"
        self._errors = self._temporary / "stderr"
        self._arguments = ["--targets", str(targets), *(["--faults"] if faults else []), *extra]
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self.endpoint = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._temporary, ignore_errors=True)

    @property
    def ca_file(self) -> Path:
        """What clients of a store with `--tls` have to trust."""
        return self.data / "tls" / "ca.pem"

    @property
    def token_file(self) -> Path:
        """The file with the store's token, unless `--token-file` says another."""
        return self.data / "token"

    @property
    def pid(self) -> int:
        """Process id of the running store."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the store and wait until it is ready; on the same port as before, if any."""
        command = [
            sys.executable, "-m", "aisfs.server", "--data", str(self.data),
            "--port", str(self._port), "--request-log", str(self.log_path), *self._arguments,
        ]  # fmt: skip
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
        line = self._ready_line()
        if not line.startswith("ready "):
            self.kill()
            raise RuntimeError(f"the store did not start: {line} {self.stderr()}")
        self.endpoint = line.split()[1]
        self._port = int(self.endpoint.rpartition(":")[2])

    def _ready_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], START_S)
        return self._process.stdout.readline().decode() if readable else ""

    def stop(self) -> int:
        """Stop with SIGTERM and return the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop with SIGKILL, as a crash would. Does nothing when it is not running."""
        if self._process is not None:
            self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        code = process.wait(START_S)
        if process.stdout is not None:
            process.stdout.close()
        return code

    def restart(self, targets: int = 0) -> None:
        """Stop if running, and start again on the same data and ports.

        Args:
            targets: how many there are from now on; 0 for as many as before.
        """
        if self._process is not None:
            self.stop()
        if targets:
            self._arguments[1] = str(targets)
        self.start()

    def stderr(self) -> str:
        """Return what the store wrote to stderr so far."""
        return self._errors.read_text(errors="replace") if self._errors.exists() else ""

    # ---- requests seen --------------------------------------------------------------------------

    def requests(self) -> list[dict[str, Any]]:
        """Return the request log so far: one dict per request, in the order they ended.

        Sends a request of its own first and waits for its line, so that every request answered
        before this call is in the result (its own are not).
        """
        mark = f"mark{time.monotonic_ns()}"
        self._send("GET", f"/v1/health?{mark}", None)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            lines = self.log_path.read_text().splitlines()
            if any(mark in line for line in lines):
                entries = [json.loads(line) for line in lines]
                return [entry for entry in entries if not entry["query"].startswith("mark")]
        raise RuntimeError("the request log does not grow")

    def clear_requests(self) -> None:
        """Empty the request log."""
        self.requests()
        os.truncate(self.log_path, 0)

    def receives(self) -> bool:
        """Tell whether bytes of a body have come whose object is not there yet."""
        return any(blob.stat().st_size for blob in (self.data / "new").iterdir())

    # ---- faults ---------------------------------------------------------------------------------

    def faults(self, rules: list[dict[str, Any]]) -> None:
        """Put fault rules in force, replacing all others; see `aisfs.server.http.faults`."""
        self._send("PUT", "/v1/faults", json.dumps(rules).encode())

    @contextmanager
    def holding(self, *, answers: bool = False, **requests: Any) -> Iterator[None]:
        """Hold requests until the block is left, and no other fault is in force after it.

        Args:
            answers: the store does the work at once, and only its answer is held.
            requests: which ones, as in a rule of `aisfs.server.http.faults`.
        """
        self.faults([{**requests, "action": "hold-answer" if answers else "hold"}])
        try:
            yield
        finally:
            self.clear_faults()

    def struck(self) -> int:
        """Return how many requests the fault rules in force have met."""
        return sum(json.loads(self._send("GET", "/v1/faults", None))["struck"])

    def held(self) -> int:
        """Return how many requests are held."""
        count: int = json.loads(self._send("GET", "/v1/faults", None))["held"]
        return count

    def clear_faults(self) -> None:
        """Take all fault rules out of force."""
        self._send("DELETE", "/v1/faults", None)

    def _send(self, method: str, path: str, body: bytes | None) -> bytes:
        request = urllib.request.Request(self.endpoint + path, data=body, method=method)
        if "--require-token" in self._arguments:
            request.add_header("Authorization", f"Bearer {self.token_file.read_text().strip()}")
        context = None
        if self.endpoint.startswith("https:"):
            context = ssl.create_default_context(cafile=self.ca_file)
        with urllib.request.urlopen(request, timeout=START_S, context=context) as reply:
            data: bytes = reply.read()
            return data

    # ---- shortcuts ------------------------------------------------------------------------------

    def create_bucket(self, name: str) -> None:
        """Create an ais bucket."""
        self._send("POST", f"/v1/buckets/{name}?provider=ais", b'{"action":"create-bck"}')

    def set_bucket_props(self, name: str, props: dict[str, Any]) -> None:
        """Change some properties of an ais bucket."""
        body = json.dumps({"action": "set-bprops", "value": props}).encode()
        self._send("PATCH", f"/v1/buckets/{name}?provider=ais", body)

    def smap(self) -> dict[str, Any]:
        """Return the cluster map."""
        smap: dict[str, Any] = json.loads(self._send("GET", "/v1/daemon?what=smap", None))
        return smap


@contextmanager
def bucket_with(store: StoreProcess, bodies: Mapping[str, bytes]) -> Iterator[Bucket]:
    """Give a bucket that nobody else uses, with these objects; it goes with them."""
    client = Client(store.endpoint)
    bucket = client.bucket(f"filled-{uuid.uuid4().hex[:12]}").create()
    for name, body in bodies.items():
        bucket.object(name).put_content(body)
    yield bucket
    bucket.delete(missing_ok=True)
    client.close()


def free_port() -> int:
    """Return a loopback port that nothing listens on right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
