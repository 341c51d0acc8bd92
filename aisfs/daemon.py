"""The process that serves one mount: its start, its signals, and its end.

`run` is its whole life; what it serves is put together in `assembly`. All state belongs to one trio
loop; the nursery below holds the readahead streams, the look-ups and the signal handler. If the
process dies it does not unmount: an empty mount point would invite a mirror job to delete
everything.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import hashlib
import logging
import resource
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import trio

from aisfs import logs, metrics_endpoint
from aisfs.assembly import build
from aisfs.cache.disk import DiskTier
from aisfs.cache.pages import PageCache
from aisfs.cache.room import CacheRoom
from aisfs.config import Config, ConfigError
from aisfs.errors import FsError
from aisfs.fuse import request_loop
from aisfs.fuse.operations import Operations
from aisfs.fuse.session import Session
from aisfs.metrics import LOOP_LAG
from aisfs.notify import REPEATED_S, Notifier
from aisfs.running import RunningConfig
from aisfs.staging.state import StateDirectory
from aisfs.store.aistore import connect
from aisfs.vfs.filesystem import Filesystem

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.control.events import Events
    from aisfs.store.aistore import AISStore

log = logging.getLogger(__name__)

DISK_END_S = 5.0
"""Longest that an unmount waits for pages that are still to be written to the cache on disk."""

_DISK_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
"""What a user cannot mend by another `cache-dir` alone, and a mount need not wait for."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # <malloc.h>


_NO_MANAGER = Notifier()


def _nobody(progress: str) -> None:
    """Show nobody how far the start is; the log has it."""


def run(
    config: Config,
    ready: Callable[[], None],
    filesystem: type[Filesystem] = Filesystem,
    shown: Callable[[str], None] = _nobody,
    manager: Notifier = _NO_MANAGER,
) -> int:
    """Mount, serve until unmounted or told to stop, and return the exit code.

    Args:
        config: everything there is to know.
        ready: called once, when the kernel has initialised the mount.
        filesystem: the class of the namespace; another one is for tests.
        shown: is told how far the start is, while earlier mounts' files are sent.
        manager: is given signs of life, and told how far the end is.

    Raises:
        ConfigError, FsError: the mount cannot be made; the text says why and what to do.
    """
    start = _Start(ready, filesystem, shown, manager, logs.keep_recent())
    faulthandler.register(signal.SIGUSR1)
    _take_descriptors()
    _bound_heap()
    instruments = request_loop.install()
    try:
        return trio.run(_serve, config, start, instruments=instruments)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _take_descriptors() -> None:
    """Raise the limit of open files to what the process may have: each file being written is one.

    Linux: getrlimit(2). The usual soft limit of 1024 is for programs that use select(2).
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _bound_heap() -> None:
    """Let all threads share one heap, which keeps the memory of a few written pieces.

    Left alone, glibc gives threads heaps of their own, and raises the size from which an allocation
    is a mapping of its own to that of the largest buffer freed: later ones fragment the heap. With
    a small fixed size, each piece that the kernel hands over to be written, of up to 1 MiB, is in
    memory mapped for it alone, and touching that for the first time took half of the CPU time of
    writing: 2.8 s per GiB, 1.2 s so. 64 readers with a cache of 8 MiB: 49 MiB then, 56 so.
    Glibc: mallopt(3). Another C library may have no such function, and needs none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2 << 20)
        mallopt(_M_TRIM_THRESHOLD, 8 << 20)
        mallopt(_M_ARENA_MAX, 1)


async def _watch_loop() -> None:
    """Look once a second how late the loop is to do what is due, and do what is due in the log."""
    while True:
        due = trio.current_time() + 1.0
        await trio.sleep_until(due)
        LOOP_LAG.took(max(round((trio.current_time() - due) * 1e9), 0))
        logs.tell_repeats()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure that the user is told of: ours before anybody's."""
    leaves: list[BaseException] = []
    queue: list[BaseException] = [group]
    while queue:
        error = queue.pop(0)
        if isinstance(error, BaseExceptionGroup):
            queue.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((e for e in leaves if isinstance(e, (FsError, ConfigError))), leaves[0])


async def _serve(config: Config, start: _Start) -> int:
    for remark in config.remarks:
        log.warning("%s", remark)
    store = connect(config.store)
    state = None
    try:
        uuid = await store.cluster_uuid()
        place = _place(config, uuid)
        state = StateDirectory(_state_path(config, place))
        await state.journal.claim(uuid)
        return await _mounted(config, place, store, state, start)
    finally:
        if state is not None:
            state.close()
        await store.close()


@dataclass(frozen=True, slots=True)
class _Start:
    """What a mount's caller wants of its life, as in `run`, and what its log had so far."""

    ready: Callable[[], None]
    filesystem: type[Filesystem]
    shown: Callable[[str], None]
    manager: Notifier
    recent: logs.Recent


async def _mounted(
    config: Config, place: str, store: AISStore, state: StateDirectory, start: _Start
) -> int:
    """Mount, serve, and store what is left; return the exit code."""
    disk = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_give_signs_of_life, start.manager)
        try:
            pages = PageCache(config.cache.memory)
            disk = await trio.to_thread.run_sync(_open_disk, config, place, pages)
            room = CacheRoom(store, pages, nursery, disk)
            running = RunningConfig(config)
            running.followed_by(partial(_follow_store, store))
            fs = await build(running, room, state, start.filesystem, start.shown, start.recent)
            store.watch_members(fs.events.members)
            if disk is not None:
                nursery.start_soon(disk.run)
            if config.metrics.listen:
                listeners = await metrics_endpoint.listen(config.metrics.listen)
                nursery.start_soon(metrics_endpoint.serve, listeners, fs.metrics)
            operations = Operations(fs, start.ready, config.log.slow_s)
            session = Session(operations, config.mountpoint, _mount_options(config))
            ending = trio.Event()
            nursery.start_soon(_watch_loop)
            nursery.start_soon(_tell_of_the_end, start.manager, ending, fs)
            nursery.start_soon(_stop_on_signal, session, fs.events, ending)
            nursery.start_soon(_reload_on_signal, running)
            nursery.start_soon(session.tune)
            nursery.start_soon(store.prepare)
            await session.serve()
            ending.set()
            unsent = await fs.drain()
            session.close()
            if disk is not None:
                with trio.move_on_after(DISK_END_S):
                    await disk.drain()
        finally:
            nursery.cancel_scope.cancel()
            if disk is not None:
                disk.close()
    if unsent:
        log.error("%d changes are not on the cluster; %s keeps them", unsent, state.path)
    return 1 if unsent else 0


def _follow_store(store: AISStore, config: Config) -> None:
    """Use what may change of how the cluster is used and of the log."""
    store.pace.change(config.store.max_rate, config.store.max_requests)
    logs.set_level(config.log.level)


def _place(config: Config, cluster_uuid: str) -> str:
    """Return the name of directories that belong to this (cluster, source)."""
    source = hashlib.sha256(str(config.source).encode()).hexdigest()[:12]
    cluster = cluster_uuid or hashlib.sha256(config.store.endpoint.encode()).hexdigest()[:12]
    return f"{cluster}-{source}"


def _state_path(config: Config, place: str) -> Path:
    if config.staging.state_dir:
        return Path(config.staging.state_dir)
    return platformdirs.user_state_path("aisfs") / place


def _open_disk(config: Config, place: str, pages: PageCache) -> DiskTier | None:
    """Open the cache's second level, if there is to be one; a disk that fails is done without."""
    cache = config.cache
    if not cache.dir:
        return None
    try:
        return DiskTier(Path(cache.dir) / place, cache.size, cache.free, pages)
    except OSError as error:
        if error.errno in _DISK_FAILURES:
            log.error("nothing is kept in cache-dir: %s; reads go on without it", error)  # noqa: TRY400
            return None
        raise ConfigError(
            f"nothing can be kept in cache-dir ({error}): name a directory that you may write"
        ) from error


def _mount_options(config: Config) -> set[str]:
    """Return the kernel's mount options. The name shows in /proc/mounts and df."""
    options = {f"fsname={_escaped(str(config.source))}", "subtype=aisfs", "default_permissions"}
    options |= {"nosuid", "nodev"}
    options.add("ro" if config.mount.read_only else "rw")
    if config.mount.noexec:
        options.add("noexec")
    if config.mount.allow_other:
        options.add("allow_other")
    if config.mount.fuse_debug:
        options.add("debug")
    return options


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,")


async def _stop_on_signal(session: Session, events: Events, ending: trio.Event) -> None:
    """Unmount on SIGTERM or SIGINT; a second signal does not hurry, what is unsent is sent."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("told to stop by signal %d", number)
            events.tell("stopping", signal=number)
            events.end()
            ending.set()
            await session.unmount()


async def _give_signs_of_life(manager: Notifier) -> None:
    """Tell the manager that the loop runs, for this is a task of it like any other."""
    while manager.alive_every_s:
        manager.alive()
        await trio.sleep(manager.alive_every_s)


async def _tell_of_the_end(manager: Notifier, ending: trio.Event, fs: Filesystem) -> None:
    """Tell the manager again and again what is unsent, so that it waits until the mount has ended.

    How long that may take is the mount's own matter (`drain-timeout`), not the manager's.
    """
    await ending.wait()
    while manager.listens:
        figures = fs.figures()
        files = max(figures["unsent.queued"] + figures["unsent.failed"], len(fs.dirty_files()))
        manager.stopping(f"ending; {files} files are to be stored")
        await trio.sleep(REPEATED_S)


async def _reload_on_signal(running: RunningConfig) -> None:
    """Read the configuration again on SIGHUP."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            await running.reload()
