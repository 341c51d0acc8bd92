"""Running the store: data directory, ports, readiness, signals."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aisfs.server.buckets.props import default_props
from aisfs.server.eras import ERAS, NEWEST
from aisfs.server.http.app import NodeServer
from aisfs.server.http.faults import Faults
from aisfs.server.http.request_log import RequestLog
from aisfs.server.jobs.table import Jobs
from aisfs.server.naming import BucketName, encode_name, is_valid_object_name
from aisfs.server.state import Node, Store, load_identities, load_ports, save_ports
from aisfs.server.storage.blobs import Blobs
from aisfs.server.storage.catalog import Bucket, Catalog, Record
from aisfs.server.storage.checksums import new_hasher
from aisfs.server.trust import load_trust

MAX_TARGETS = 64
SHUTDOWN_S = 3.0
"""Seconds that open requests get to end after SIGTERM."""

ATIME_INTERVAL_S = 1.0
IMPORT_BATCH = 500


class StartError(Exception):
    """The store cannot start; the text is one line for the user."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for. `data` None means a directory that goes with the process."""

    data: Path | None
    host: str = "127.0.0.1"
    port: int = 0
    targets: int = 3
    request_log: Path | None = None
    import_from: Path | None = None
    faults: bool = False
    compat: str = NEWEST.name
    token_file: Path | None = None


def serve(options: Options) -> None:
    """Run the store until SIGTERM or SIGINT.

    Raises:
        StartError: bad data directory, a second server on it, a port in use.
    """
    _check_host(options.host)
    with _data_directory(options.data) as root, _locked(root):
        asyncio.run(_run(options, root))


def _check_host(host: str) -> None:
    loopback = host == "localhost" or host.startswith("127.")
    if not loopback:
        raise StartError(
            f"{host} is not a loopback address: this store has no access control "
            "and listens on loopback only"
        )


@contextlib.contextmanager
def _data_directory(path: Path | None) -> Iterator[Path]:
    if path is None:
        root = Path(tempfile.mkdtemp(prefix="aisfs-store-"))
        try:
            yield root
        finally:
            shutil.rmtree(root, ignore_errors=True)
        return
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"cannot use {path} as data directory: {error.strerror}") from error
    yield path


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the lock that keeps a second server off the same directory."""
    try:
        fd = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot use {root} as data directory: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise StartError(f"another server already uses {root}") from error
    try:
        yield
    finally:
        os.close(fd)


def open_store(options: Options, root: Path) -> Store:
    """Open blobs and records of a data directory and repair what a crash left.

    Raises:
        StartError: the directory holds something else or cannot be written.
    """
    try:
        blobs = Blobs(root)
        catalog = Catalog(root / "catalog.db", blobs)
        catalog.recover()
        uuid, proxy, targets = load_identities(catalog, options.targets, options.host)
        trust = load_trust((options.token_file or root / "token").absolute())
        log = RequestLog(options.request_log)
    except (OSError, sqlite3.Error) as error:
        raise StartError(f"cannot use {root} as data directory: {error}") from error
    store = Store(
        root=root,
        blobs=blobs,
        catalog=catalog,
        uuid=uuid,
        created=catalog.get_meta("created"),
        proxy=proxy,
        targets=targets,
        faults=Faults(enabled=options.faults),
        log=log,
        jobs=Jobs(catalog.connection),
        trust=trust,
        era=ERAS[options.compat],
    )
    catalog.workers = store.workers
    return store


async def _run(options: Options, root: Path) -> None:
    stop = _stop_event()
    store = open_store(options, root)
    try:
        if options.import_from is not None:
            import_tree(store, options.import_from)
        servers = await _listen(store, options.port)
        save_ports(store)
        sys.stdout.write(f"ready {store.proxy.url}\n")
        sys.stdout.flush()
        await _wait(store, stop)
        await _stop(servers)
    finally:
        await store.jobs.stop()
        store.workers.shutdown()
        store.catalog.close()
        store.log.close()


def _stop_event() -> asyncio.Event:
    """Return what SIGTERM and SIGINT set; made first, so that no signal finds the default."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _wait(store: Store, stop: asyncio.Event) -> None:
    """Wait for the signal to stop, writing access times now and then."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), ATIME_INTERVAL_S)
        store.catalog.flush_atimes()


@dataclass(slots=True)
class _Listener:
    node: NodeServer
    server: asyncio.Server


async def _listen(store: Store, port: int) -> list[_Listener]:
    """Open all ports, targets first: a gateway that answers has somewhere to redirect to."""
    remembered = load_ports(store.catalog)
    listeners = [
        await _open(store, target, _bind_if_free(target, remembered)) for target in store.targets
    ]
    try:
        sock = _bind(store.proxy.host, port)
    except OSError as error:
        raise StartError(f"cannot listen on {store.proxy.host}:{port}: {error.strerror}") from error
    listeners.append(await _open(store, store.proxy, sock))
    return listeners


def _bind(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _bind_if_free(node: Node, remembered: dict[str, int]) -> socket.socket:
    """Take the port of last time, so that clients' cluster maps stay true over a restart."""
    with contextlib.suppress(OSError):
        return _bind(node.host, remembered.get(node.id, 0))
    return _bind(node.host, 0)


async def _open(store: Store, node: Node, sock: socket.socket) -> _Listener:
    node.port = sock.getsockname()[1]
    server = NodeServer(store, node)
    loop = asyncio.get_running_loop()
    return _Listener(server, await loop.create_server(server, sock=sock, backlog=1024))


async def _stop(listeners: list[_Listener]) -> None:
    for listener in listeners:
        listener.server.close()
        listener.node.pre_shutdown()
    await asyncio.gather(*(listener.node.shutdown(SHUTDOWN_S) for listener in listeners))


# ---- import -------------------------------------------------------------------------------------


def import_tree(store: Store, root: Path) -> int:
    """Copy a directory tree in: each directory at its top becomes a bucket of that name.

    Existing objects are left alone, so that starting again with the same import costs little and
    undoes nothing. Links and special files are passed over. Returns the number of objects.

    Raises:
        StartError: the directory cannot be read, or a directory's name is no bucket name.
    """
    count = 0
    try:
        for entry in sorted(os.scandir(root), key=lambda item: item.name):
            if entry.is_dir(follow_symlinks=False):
                name = BucketName(entry.name)
                bucket = store.catalog.buckets.get(name)
                if bucket is None:
                    bucket = store.catalog.create_bucket(name, default_props())
                count += _import_bucket(store, bucket, Path(entry.path))
    except OSError as error:
        raise StartError(f"cannot import {root}: {error}") from error
    return count


def _import_bucket(store: Store, bucket: Bucket, root: Path) -> int:
    batch: list[Record] = []
    count = 0
    for directory, _, names in os.walk(root):
        for file in names:
            path = Path(directory, file)
            name = str(path.relative_to(root))
            if path.is_symlink() or not path.is_file() or not is_valid_object_name(name):
                continue
            if store.catalog.get(bucket, encode_name(name)) is None:
                batch.append(_import_file(store, bucket, path, name))
                count += 1
            if len(batch) >= IMPORT_BATCH:
                store.catalog.put_many(bucket, batch)
                batch = []
    store.catalog.put_many(bucket, batch)
    return count


def _import_file(store: Store, bucket: Bucket, path: Path, name: str) -> Record:
    hasher = new_hasher(bucket.checksum_type)
    writer = store.blobs.create([hasher])
    with path.open("rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            writer.write([piece])
    writer.close()
    now = path.stat().st_mtime_ns
    kind, value = bucket.checksum_type, hasher.hexdigest()
    return Record(encode_name(name), writer.size, "1", kind, value, now, now, writer.name)
