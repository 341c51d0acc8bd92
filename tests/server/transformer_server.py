"""A transformer as a program, run by the store: `python transformer_server.py MODE --port N`."""

import argparse
import hashlib
import http.client
import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlencode, urlsplit
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS = argparse.Namespace()


class Handler(BaseHTTPRequestHandler):
    """Follows the rules that AIS 5.0 has for processes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(503 if OPTIONS.never_ready else 200, b"OK")
            return
        self.serve()

    def do_PUT(self) -> None:
        self.serve()

    def serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if OPTIONS.die:  # at the so-many-th object
            OPTIONS.die -= 1
            if not OPTIONS.die:
                os._exit(1)
        time.sleep(OPTIONS.delay)
        if OPTIONS.flaky:
            OPTIONS.flaky = False
            self.answer(503, b"", {"Ais-Etl-Retry-Reason": "direct-put-transient"})
            return
        if OPTIONS.status != 200:
            self.answer(OPTIONS.status, b"refused by transformer")
            return
        self.deliver(self.result(body))

    def result(self, body: bytes) -> bytes:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        mode = OPTIONS.mode
        if mode == "peek":
            return self.peek(body)
        if mode == "env":
            return json.dumps(dict(os.environ)).encode()
        if "etl_fqn" in query and not OPTIONS.no_fqn:
            data = Path(unquote(query["etl_fqn"][0])).read_bytes()
        elif self.command == "GET":
            with urlopen(os.environ["AIS_TARGET_URL"] + parts.path) as answer:
                data = answer.read()
        else:
            data = body
        args = query.get("etl_args", [""])[0].encode()
        results: dict[str, Callable[[], bytes]] = {
            "md5": lambda: hashlib.md5(data).hexdigest().encode(),
            "upper": data.upper,
            "reverse": lambda: data[::-1],
            "args": lambda: data + b"|" + args,
            "echo": lambda: data,
            "zeros": lambda: bytes(int(args)),
        }
        return results[mode]()

    def peek(self, body: bytes) -> bytes:
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers.items()),
            "body_len": len(body),
            "body": body.decode(errors="replace"),
        }
        return json.dumps(seen, indent=1).encode()

    def deliver(self, data: bytes) -> None:
        """Send the result back, or on to the first node of `Ais-Node-Url`."""
        nodes = self.headers.get("Ais-Node-Url")
        if OPTIONS.lie and nodes:
            self.answer(204, b"")
            return
        if not nodes or OPTIONS.mode == "peek":
            self.answer(200, data)
            return
        first, _, rest = nodes.partition(",")
        url = urlsplit(first)
        own = urlsplit(self.path)
        path = urlsplit(os.environ["AIS_TARGET_URL"]).path + url.path if url.path else own.path
        args = parse_qs(own.query).get("etl_args")
        query = [url.query, urlencode({"etl_args": args[0]}) if args else ""]
        peer = http.client.HTTPConnection(url.hostname or "", url.port)
        headers = {"Ais-Node-Url": rest} if rest else {}
        peer.request("PUT", path + "?" + "&".join(filter(None, query)), data, headers)
        answer = peer.getresponse()
        body = answer.read()
        if answer.status >= 400 or body:
            self.answer(answer.status, body)
        else:
            self.answer(204, b"", {"Ais-Direct-Put-Length": str(len(data))})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", nargs="?", default="echo")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--exit", type=int)
    parser.add_argument("--start-delay", type=float, default=0)
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--die", type=int, default=0)
    parser.add_argument("--spawn", action="store_true")
    for flag in ("--never-ready", "--no-fqn", "--lie", "--flaky"):
        parser.add_argument(flag, action="store_true")
    parser.parse_args(namespace=OPTIONS)
    print(f"transformer {OPTIONS.mode} starting", flush=True)
    if OPTIONS.exit is not None:
        print("asked to exit", flush=True)
        sys.exit(OPTIONS.exit)
    if OPTIONS.spawn:  # one that leaves the process group and is orphaned
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        subprocess.Popen(["sh", "-c", '"$@" & exit 0', "sh", *command], start_new_session=True)
    time.sleep(OPTIONS.start_delay)
    ThreadingHTTPServer(("127.0.0.1", OPTIONS.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
