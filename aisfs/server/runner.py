"""Running the store: data directory, ports, readiness, signals."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aisfs.server.eras import ERAS, NEWEST
from aisfs.server.etl.registry import Etls
from aisfs.server.http.app import NodeServer
from aisfs.server.http.faults import Faults
from aisfs.server.http.request_log import RequestLog
from aisfs.server.importing import ImportTreeError, import_tree
from aisfs.server.jobs.table import Jobs
from aisfs.server.nodes.config import Config
from aisfs.server.promote.sources import Roots
from aisfs.server.remote.registry import Remotes
from aisfs.server.state import Node, Store, load_identities, load_ports, save_ports
from aisfs.server.storage.blobs import Blobs
from aisfs.server.storage.catalog import Catalog
from aisfs.server.tls import own_certificate, server_context
from aisfs.server.trust import Trust, load_token

MAX_TARGETS = 64
SHUTDOWN_S = 3.0
"""Seconds that open requests get to end after SIGTERM."""

ATIME_INTERVAL_S = 1.0


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
    remote: tuple[str, ...] = ()
    promote_root: tuple[Path, ...] = ()
    token_file: Path | None = None
    require_token: bool = False
    any_user: bool = False
    expose: bool = False
    advertise: str = ""
    tls: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_etl: bool = False


def serve(options: Options) -> None:
    """Run the store until SIGTERM or SIGINT.

    Raises:
        StartError: bad data directory, a second server on it, a port in use.
    """
    _check_options(options)
    os.umask(0o077)  # what the store writes is its user's own
    with _data_directory(options.data) as root, _locked(root):
        asyncio.run(_run(options, root))


def _check_options(options: Options) -> None:
    loopback = options.host == "localhost" or options.host.startswith("127.")
    if not loopback and not options.expose:
        raise StartError(
            f"{options.host} is not a loopback address, so other machines could reach the store: "
            "give --expose if that is wanted; everybody then needs the store's token"
        )
    if options.host == "0.0.0.0" and not options.advertise:  # noqa: S104 - compared, not bound
        raise StartError(
            "0.0.0.0 is no address that clients can be redirected to: give --advertise HOST"
        )
    if options.expose and options.any_user:
        raise StartError("--any-user lets everybody in, so it does not go with --expose")
    if (options.tls_cert is None) != (options.tls_key is None):
        raise StartError("--tls-cert and --tls-key go together")


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
        uuid, proxy, targets = load_identities(catalog, options.targets, _public_host(options))
        trust = _trust(options, root)
        log = RequestLog(options.request_log)
        etls = Etls((root / "etl").absolute(), allowed=options.allow_etl)
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
        etls=etls,
        remotes=_remotes(options, catalog, uuid),
        config=Config(catalog, ERAS[options.compat]),
        promote_roots=_promote_roots(options),
    )
    catalog.workers = store.workers
    return store


def _public_host(options: Options) -> str:
    return options.advertise or options.host


def _trust(options: Options, root: Path) -> Trust:
    file = (options.token_file or root / "token").absolute()
    strict = options.require_token or options.expose
    return Trust(load_token(file), file, strict=strict, any_user=options.any_user)


def _tls_context(options: Options, root: Path) -> ssl.SSLContext | None:
    """Return what makes the nodes speak HTTPS, None for HTTP.

    Raises:
        StartError: the certificate cannot be used.
    """
    try:
        if options.tls_cert is not None and options.tls_key is not None:
            return server_context(options.tls_cert, options.tls_key)
        if options.tls:
            return server_context(*own_certificate(root / "tls", [_public_host(options)]))
    except OSError as error:
        raise StartError(f"cannot use the TLS certificate: {error}") from error
    return None


def _promote_roots(options: Options) -> Roots:
    try:
        return Roots.of(options.promote_root)
    except OSError as error:
        raise StartError(f"--promote-root {error.filename}: {error.strerror}") from error


def _remotes(options: Options, catalog: Catalog, uuid: str) -> Remotes:
    remotes = Remotes(catalog, uuid, ERAS[options.compat])
    for text in options.remote:
        try:
            remotes.configure(text)
        except ValueError as error:
            raise StartError(f"--remote {error}") from error
        except OSError as error:
            raise StartError(f"--remote {text}: {error.strerror}") from error
    return remotes


async def _run(options: Options, root: Path) -> None:
    stop = _stop_event()
    context = _tls_context(options, root)
    store = open_store(options, root)
    try:
        if options.import_from is not None:
            _import(store, options.import_from)
        servers = await _listen(store, Listening(options.host, options.port, context))
        save_ports(store)
        store.node_log.start()
        sys.stdout.write(f"ready {store.proxy.url}\n")
        sys.stdout.flush()
        await _wait(store, stop)
        await _stop(servers)
    finally:
        store.remotes.interrupt()
        await store.jobs.stop()
        store.remotes.close()
        await store.etls.close(store.jobs)
        store.workers.shutdown()
        store.catalog.close()
        store.log.close()


def _import(store: Store, root: Path) -> None:
    try:
        import_tree(store, root)
    except ImportTreeError as error:
        raise StartError(str(error)) from error


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


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the nodes listen: address, the gateway's port, and how they encrypt (None: not)."""

    host: str
    port: int
    tls: ssl.SSLContext | None


@dataclass(slots=True)
class _Listener:
    node: NodeServer
    server: asyncio.Server


async def _listen(store: Store, where: Listening) -> list[_Listener]:
    """Open all ports, targets first: a gateway that answers has somewhere to redirect to."""
    remembered = load_ports(store.catalog)
    listeners = []
    for target in store.targets:
        sock = _bind_if_free(where.host, remembered.get(target.id, 0))
        listeners.append(await _open(store, target, sock, where.tls))
    try:
        sock = _bind(where.host, where.port)
    except OSError as error:
        raise StartError(f"cannot listen on {where.host}:{where.port}: {error.strerror}") from error
    listeners.append(await _open(store, store.proxy, sock, where.tls))
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


def _bind_if_free(host: str, port: int) -> socket.socket:
    """Take the port of last time, so that clients' cluster maps stay true over a restart."""
    with contextlib.suppress(OSError):
        return _bind(host, port)
    return _bind(host, 0)


async def _open(
    store: Store, node: Node, sock: socket.socket, tls: ssl.SSLContext | None
) -> _Listener:
    node.port = sock.getsockname()[1]
    node.scheme = "https" if tls else "http"
    server = NodeServer(store, node)
    loop = asyncio.get_running_loop()
    return _Listener(server, await loop.create_server(server, sock=sock, backlog=1024, ssl=tls))


async def _stop(listeners: list[_Listener]) -> None:
    for listener in listeners:
        listener.server.close()
        listener.node.pre_shutdown()
    await asyncio.gather(*(listener.node.shutdown(SHUTDOWN_S) for listener in listeners))
