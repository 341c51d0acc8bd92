"""Serves one function of a user over HTTP: a file of its own, run with the user's environment.

Imports nothing of this package, and runs under Python 3.8 and later. Started by plans.py with the
listening socket as a descriptor and everything else in variables; see `Settings`. Only requests
that carry the key are answered (header or query), so other users of the machine cannot call it.

    PUT /bucket/object[?etl_fqn=…&etl_args=…]    object in the body, or in the file of `etl_fqn`
    GET /escaped-uname[?etl_fqn=…]               object from that file, or from AIS_TARGET_URL
    GET /health                                  200
"""

from __future__ import annotations

import contextlib
import dis
import http.client
import importlib.util
import inspect
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY_HEADER = "Aisfs-Etl-Key"
KEY_PARAMETER = "aisfs_etl_key"
NODE_URL = "Ais-Node-Url"
PUT_LENGTH = "Ais-Direct-Put-Length"
PIECE = 1 << 20
MAX_ERROR = 4096
FOREIGN = 3
"""Exit code for code that another Python made."""

PYTHON = f"Python {sys.version_info[0]}.{sys.version_info[1]}"


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


# ---- the user's function ------------------------------------------------------------------------


def load_function(path: str, name: str) -> Callable[..., Any]:
    """Return a function of the user's module.

    Raises:
        SystemExit: it cannot be loaded, or was made by another release of Python.
    """
    spec = importlib.util.spec_from_file_location("code", path)
    if spec is None or spec.loader is None:
        sys.exit(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["code"] = module
    try:
        spec.loader.exec_module(module)
        function: Callable[..., Any] = getattr(module, name)
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"cannot load the code under {PYTHON}: {error!r}")
    if foreign := foreign_bytecode(function):
        print(f"the code was made by another release than {PYTHON}: {foreign}", flush=True)
        sys.exit(FOREIGN)
    return function


def foreign_bytecode(function: Callable[..., Any]) -> str:
    """Tell why a function's bytecode is not of this Python, empty if it looks right.

    Pickles carry bytecode as it is; that of another release may crash the interpreter.
    """
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    raw = code.co_code
    if "RESUME" in dis.opmap:  # since 3.11: all code begins with it, after some preparation
        prologue = {"MAKE_CELL", "COPY_FREE_VARS", "RETURN_GENERATOR", "POP_TOP"}
        try:
            instructions = list(dis.get_instructions(code))
        except IndexError:  # a number that means nothing here
            return "its names do not fit"
        names = (step.opname for step in instructions if step.opname not in prologue)
        if (first := next(names, "")) != "RESUME":
            return f"it begins with {first}"
        found = {step.opcode for step in instructions}
    else:
        found = set(raw[::2])
    unknown = sorted(found - set(dis.opmap.values()))
    return f"unknown instruction {unknown[0]}" if unknown else ""


def check_streaming(function: Callable[..., Any]) -> None:
    """Refuse a function that cannot be called with a reader and a writer."""
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        sys.exit("with a chunk size the function takes two parameters: reader, writer")


def checked(result: object) -> bytes:
    """Return a function's result as bytes.

    Raises:
        Refused: 500 when it is anything else.
    """
    if isinstance(result, (bytes, bytearray, memoryview)):
        return bytes(result)
    raise Refused(500, f"the function returned {type(result).__name__}, not bytes")


class Settings:
    """What the variables say. The key is taken out of them: the function need not know it."""

    def __init__(self) -> None:
        env = os.environ
        self.key = env.pop("AISFS_ETL_KEY")
        self.fd = int(env.pop("AISFS_ETL_FD"))
        self.command: list[str] | None = json.loads(env.pop("AISFS_ETL_COMMAND"))
        self.target = env.get("AIS_TARGET_URL", "")
        self.pull = env.get("COMM_TYPE", "") in {"hpull://", "hrev://"}
        self.chunk = 0 if self.pull else int(env.get("CHUNK_SIZE") or 0)
        self.url = env.get("ARG_TYPE") == "url"
        self.function: Callable[..., Any] = _nothing
        if not self.command:
            self.function = load_function(env["AISFS_ETL_CODE"], env["FUNC_TRANSFORM"])
            if self.chunk:
                check_streaming(self.function)


def _nothing(*_: object) -> bytes:
    return b""


# ---- objects in, results out --------------------------------------------------------------------


class Source:
    """The object to transform: a file, a body, or an answer; read once."""

    def __init__(self, stream: IO[bytes], length: int | None) -> None:
        self._stream = stream
        self._left = length

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, all the rest if negative."""
        if self._left is not None:
            size = self._left if size < 0 else min(size, self._left)
        data = self._stream.read() if size < 0 else self._stream.read(size)
        if self._left is not None:
            if size and not data:
                raise Refused(400, f"the object ended {self._left} bytes early")
            self._left -= len(data)
        return data

    def drain(self) -> None:
        """Read and drop the rest, so that the answer can be sent."""
        while self.read(PIECE):
            pass


class Chunks:
    """The reader of a streaming function: iterate it for pieces of at most `size` bytes."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._size = size

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._source.read(self._size):
            yield piece

    def read(self, size: int | None = None) -> bytes:
        """Return the next piece, empty at the end."""
        return self._source.read(self._size if size is None else size)

    def read_all(self) -> bytes:
        """Return all the rest."""
        return self._source.read()


class Writer:
    """The writer of a streaming function. The answer begins with its first bytes."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.started = False

    def write(self, data: bytes) -> int:
        """Send bytes."""
        if not self.started:
            self.started = True
            self._handler.begin_stream()
        data = bytes(data)
        if data:
            self._handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        return len(data)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    wbufsize = 0
    settings: Settings
    query: dict[str, str]
    streaming = False

    def log_message(self, *_: object) -> None:
        """Log nothing per request."""

    def do_GET(self) -> None:
        """Answer the probe, or transform what AIS_TARGET_URL has."""
        if urlsplit(self.path).path == "/health":
            self.reply(200, b"OK")
        else:
            self.serve(pull=True)

    def do_PUT(self) -> None:
        """Transform the body or the named file."""
        self.serve(pull=False)

    def serve(self, *, pull: bool) -> None:
        """Answer one object."""
        self.streaming = False
        try:
            self.check_key()
            self.transform(pull=pull)
        except Refused as error:
            self.fail(error.status, str(error))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except BaseException as error:
            traceback.print_exc()
            self.fail(500, f"{type(error).__name__}: {error}")

    def check_key(self) -> None:
        """Refuse callers that do not know the key."""
        pairs = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        self.query = dict(reversed(pairs))
        given = self.headers.get(KEY_HEADER) or self.query.pop(KEY_PARAMETER, "")
        if given != self.settings.key:
            raise Refused(403, "this transformer answers its store only")

    def transform(self, *, pull: bool) -> None:
        """Call the function, and send what it makes."""
        settings = self.settings
        if settings.url and pull:
            url = settings.target + urlsplit(self.path).path
            self.deliver(checked(settings.function(url)))
            return
        stream, length = self.open_source(pull=pull)
        try:
            source = Source(stream, length)
            if settings.command:
                self.run_command(settings.command, source)
            elif settings.chunk:
                self.run_streaming(source)
            else:
                self.deliver(checked(settings.function(source.read())))
        finally:
            if length is None:
                stream.close()

    def open_source(self, *, pull: bool) -> tuple[BinaryIO, int | None]:
        """Return the object as a stream, and its length if it has to be counted."""
        if fqn := self.query.get("etl_fqn"):
            return Path(os.path.normpath("/" + unquote(fqn).lstrip("/"))).open("rb"), None
        if not pull:
            return cast("BinaryIO", self.rfile), int(self.headers.get("Content-Length") or 0)
        try:
            return urlopen(self.settings.target + urlsplit(self.path).path), None
        except OSError as error:
            status = getattr(error, "code", 502)
            raise Refused(status, f"cannot fetch the object: {error}") from error

    def run_streaming(self, source: Source) -> None:
        """Let the function read and write as it goes."""
        reader = Chunks(source, self.settings.chunk)
        if self.headers.get(NODE_URL):
            with tempfile.TemporaryFile() as spool:  # its length has to be sent first
                self.settings.function(reader, spool)
                source.drain()
                self.forward(spool)
            return
        writer = Writer(self)
        self.settings.function(reader, writer)
        source.drain()
        if writer.started:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.reply(200, b"")

    def run_command(self, command: list[str], source: Source) -> None:
        """Run the command with the object as input; its output is the result."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as made:
            shutil.copyfileobj(source, given, PIECE)
            given.seek(0)
            done = subprocess.run(
                command, stdin=given, stdout=made, stderr=subprocess.PIPE, check=False
            )
            sys.stderr.buffer.write(done.stderr)
            if done.returncode:
                tail = done.stderr[-MAX_ERROR:].decode("utf-8", "replace")
                raise Refused(500, f"the command ended with code {done.returncode}: {tail}")
            if self.headers.get(NODE_URL):
                self.forward(made)
            else:
                self.send_file(made)

    def deliver(self, data: bytes) -> None:
        """Send a result back, or on to the next node."""
        if not self.headers.get(NODE_URL):
            self.reply(200, data)
            return
        with tempfile.TemporaryFile() as file:
            file.write(data)
            self.forward(file)

    def forward(self, file: IO[bytes]) -> None:
        """PUT a result to the first node of `Ais-Node-Url` and pass its answer back."""
        first, _, rest = self.headers[NODE_URL].partition(",")
        url = urlsplit(first.strip())
        own_path = urlsplit(self.path).path
        path = urlsplit(self.settings.target).path + url.path if url.path else own_path
        query = url.query
        if not url.path and self.query.get("etl_args"):
            args = urlencode({"etl_args": self.query["etl_args"]})
            query = f"{query}&{args}" if query else args
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        headers = {"Content-Length": str(size)}
        if rest:
            headers[NODE_URL] = rest
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        peer = kind(url.hostname or "", url.port)
        try:
            peer.request("PUT", f"{path}?{query}" if query else path, file, headers)
            answer = peer.getresponse()
            body = answer.read()
        finally:
            peer.close()
        if answer.status >= 400:
            raise Refused(answer.status, body.decode("utf-8", "replace"))
        if answer.status == 200 and (body or not url.path):
            self.reply(200, body)
        else:
            self.reply(204, b"", (PUT_LENGTH, answer.headers.get(PUT_LENGTH, str(size))))

    def begin_stream(self) -> None:
        """Send the head of an answer whose length is not known."""
        self.streaming = True
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_file(self, file: IO[bytes]) -> None:
        """Send a file."""
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        self.streaming = True
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        shutil.copyfileobj(file, self.wfile, PIECE)

    def reply(self, status: int, body: bytes, header: tuple[str, str] | None = None) -> None:
        """Send a whole answer."""
        self.send_response(status)
        if header is not None:
            self.send_header(*header)
        if status != 204:
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body:
            self.wfile.write(body)

    def fail(self, status: int, text: str) -> None:
        """Send an error; once the answer has begun, only cutting it tells that it is not whole."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            if self.streaming:
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self.reply(status, text[:MAX_ERROR].encode("utf-8", "replace"))


class Server(ThreadingHTTPServer):
    """The server on a socket that listens already."""

    daemon_threads = True

    def __init__(self, fd: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=fd)
        self.server_address = self.socket.getsockname()


def main() -> None:
    """Load the function, then serve it."""
    # Not this file's folder, whose modules would hide others of the same names.
    sys.path[0] = str(Path.cwd())
    Handler.settings = Settings()
    Server(Handler.settings.fd).serve_forever(poll_interval=60)


if __name__ == "__main__":
    main()
