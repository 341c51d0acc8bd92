"""Who is compared: our mount, a mount with nothing behind it, and peers that are installed.

Every one is mounted anew for every run, at a fresh directory: nothing that it kept in memory, and
nothing that the kernel kept of it, outlives the unmount.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tests.support.mount import Mount

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from tests.benchmarks.mount.sets import FileSet

START_S = 120.0


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount that answers: where it is, and the process that serves it (and started others)."""

    path: Path
    pid: int


class Contestant(Protocol):
    """Something that mounts.

    Attributes:
        name: in tables.
        settings: what it is run with, for the reader of the table.
        remote: it fetches from the store, so its bytes are on the wire.
    """

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> str: ...
    @property
    def remote(self) -> bool: ...

    def mounted(self, sets: Sequence[FileSet]) -> AbstractContextManager[Mounted]:
        """Mount something that has these files, cold."""
        ...


@dataclass(frozen=True)
class Ours:
    """aisfs, by its command line. `options` are words for `-o`."""

    endpoint: str
    bucket: str
    options: tuple[str, ...] = ()
    name: str = "aisfs"
    remote: bool = True

    @property
    def settings(self) -> str:
        return f"aisfs mount ais://BUCKET -o {','.join(self.options) or 'defaults'}"

    @contextlib.contextmanager
    def mounted(self, sets: Sequence[FileSet]) -> Iterator[Mounted]:
        options = ["log-level=info", *self.options]
        with Mount(self.endpoint, f"ais://{self.bucket}", options=options) as mount:
            yield Mounted(mount.path, mount.daemon_pid)


@dataclass(frozen=True)
class Null:
    """`null_mount.py`: what is left when nothing is fetched."""

    name: str = "null"
    settings: str = "pyfuse3 with our request loop, answering from memory"
    remote: bool = False

    @contextlib.contextmanager
    def mounted(self, sets: Sequence[FileSet]) -> Iterator[Mounted]:
        with tempfile.TemporaryDirectory(prefix="aisfs-bench-null-") as name:
            path, description = Path(name, "mnt"), Path(name, "sets")
            path.mkdir()
            description.write_text(json.dumps([asdict(one) for one in sets]))
            module = "tests.benchmarks.mount.null_mount"
            words = [sys.executable, "-m", module, str(path), str(description)]
            with _served(words, path) as process:
                yield Mounted(path, process.pid)


@dataclass(frozen=True)
class Peer:
    """Another filesystem for object stores, over the S3 protocol of the cluster.

    Attributes:
        words: its command line; `{bucket}`, `{path}`, `{url}` and `{directory}` are filled in.
    """

    name: str
    words: tuple[str, ...]
    endpoint: str = ""
    bucket: str = ""
    remote: bool = True

    @property
    def settings(self) -> str:
        return " ".join((self.name, *self.words))

    @contextlib.contextmanager
    def mounted(self, sets: Sequence[FileSet]) -> Iterator[Mounted]:
        with tempfile.TemporaryDirectory(prefix="aisfs-bench-peer-") as directory:
            path = Path(directory, "mnt")
            path.mkdir()
            passwords = Path(directory, "passwd")
            passwords.write_text("any:any")  # a cluster without authentication takes any
            passwords.chmod(0o600)
            places = {
                "bucket": self.bucket,
                "path": str(path),
                "url": f"{self.endpoint}/s3",
                "directory": directory,
            }
            words = [self.name, *(word.format(**places) for word in self.words)]
            with _served(words, path) as process:
                yield Mounted(path, process.pid)

    def for_writing(self) -> Peer | None:
        """Return the peer mounted for writing, None if it cannot write there."""
        if self.name != "rclone":
            return None
        return replace(self, words=tuple(word for word in self.words if word != "--read-only"))


PEERS = (
    Peer(
        "rclone",
        (
            "mount", ":s3:{bucket}", "{path}", "--config=", "--s3-provider=Other",
            "--s3-endpoint={url}", "--s3-force-path-style", "--s3-access-key-id=any",
            "--s3-secret-access-key=any", "--read-only", "--vfs-cache-mode=off",
            "--vfs-read-chunk-size=64M", "--buffer-size=16M", "--cache-dir={directory}/cache",
        ),
    ),
    Peer(
        "s3fs",
        (
            "{bucket}", "{path}", "-f", "-o",
            "url={url},use_path_request_style,ro,passwd_file={directory}/passwd",
        ),
    ),
    Peer("goofys", ("-f", "--endpoint={url}", "-o", "ro", "{bucket}", "{path}")),
    Peer("geesefs", ("-f", "--endpoint={url}", "-o", "ro", "{bucket}", "{path}")),
    Peer(
        "mount-s3",
        ("--foreground", "--read-only", "--force-path-style", "--endpoint-url={url}",
         "{bucket}", "{path}"),
    ),
)  # fmt: skip
"""Peers and their flags: read-only, nothing kept on disk, otherwise as they come."""

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "any"}


def installed_peers(endpoint: str, bucket: str) -> list[Peer]:
    """Return the peers that are on this machine's PATH."""
    return [
        Peer(peer.name, peer.words, endpoint, bucket)
        for peer in PEERS
        if shutil.which(peer.name) is not None
    ]


@contextlib.contextmanager
def _served(words: Sequence[str], path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start what serves a directory, wait until it does, and unmount and end it."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=os.environ | CREDENTIALS
        )
        try:
            deadline = time.monotonic() + START_S
            while not path.is_mount():
                if process.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    text = said.read().decode("utf-8", "replace")
                    raise RuntimeError(f"{words[0]} does not mount: {text[-2000:]}")
                time.sleep(0.01)
            yield process
        finally:
            subprocess.run(["fusermount3", "-uzq", "--", path], check=False)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
