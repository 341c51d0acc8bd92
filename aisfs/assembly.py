"""The parts of one mount, made and put together: store, cache, staging and namespace meet here.

Serves `daemon`, which gives them a process, a mount point and an end. What earlier mounts left is
done first, while nobody sees anything of the mount.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING

import trio

from aisfs.archives.spool import Room
from aisfs.cache.fetch_ahead import FetchAhead
from aisfs.config import ConfigError, nearest
from aisfs.control.events import Events
from aisfs.control.files import PersonalFile
from aisfs.control.information import information
from aisfs.control.verbs import VERBS
from aisfs.errors import FsError, NotFound
from aisfs.fuse.session import entry_forgotten, invalidate_entry
from aisfs.staging.multipart import Parts, Uploads
from aisfs.staging.outbox import Outbox
from aisfs.staging.quota import Quota
from aisfs.staging.replay import Replay
from aisfs.staging.state import default_quota
from aisfs.staging.streamed_upload import Streams
from aisfs.staging.uploader import Uploader
from aisfs.vfs import moves
from aisfs.vfs.attributes import Presentation
from aisfs.vfs.control_tree import Controls
from aisfs.vfs.guards import Guards
from aisfs.vfs.inodes import InodeTable
from aisfs.vfs.nodes import ROOT, DirectoryNode
from aisfs.vfs.resolver import Lifetimes, Resolver
from aisfs.vfs.shards import LONGEST_INDEX
from aisfs.vfs.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs import logs
    from aisfs.cache.room import CacheRoom
    from aisfs.config import Config, MountConfig
    from aisfs.control.commands import Commands
    from aisfs.control.files import Caller, ControlEntry
    from aisfs.running import RunningConfig
    from aisfs.staging.journal import Owed
    from aisfs.staging.state import StateDirectory
    from aisfs.staging.uploader import Told
    from aisfs.vfs.filesystem import Filesystem

log = logging.getLogger(__name__)


async def build(
    running: RunningConfig,
    room: CacheRoom,
    state: StateDirectory,
    filesystem: type[Filesystem],
    shown: Callable[[str], None],
    recent: logs.Recent,
) -> Filesystem:
    """Make the parts, do what earlier mounts owe, and learn what a mount has to know.

    Args:
        running: what the mount uses; its parts follow what changes of that.
        room: has the store, the cache, and the nursery of all background work.
        state: where is written down what the cluster lacks.
        filesystem: the class of the namespace.
        shown: is told how far is what earlier mounts left.
        recent: what the log had so far, for the control file `log`.

    Raises:
        FsError: the source cannot be mounted.
        ConfigError: a setting names what there is not.
    """
    store, config = room.store, running.config
    presentation, left = presentation_of(config.mount), []
    if not config.mount.read_only:
        left = await moves.resume(store, state.journal, presentation, shown)
    bucket = config.source.bucket
    root = DirectoryNode(ROOT, bucket, config.source.prefix, presentation.of_directory("", 0))
    lifetimes = _lifetimes(config.mount)
    resolver = Resolver(store, InodeTable(root), presentation, lifetimes, room.nursery)
    resolver.invalidate, resolver.forgotten = invalidate_entry, entry_forgotten
    room.renewed = resolver.answers.renew
    events = Events()
    workshop = await _workshop(config, room, state, shown, events)
    running.followed_by(partial(_follow, resolver, workshop, default_quota(state.staging)))
    for move, error in left:
        work = partial(moves.settle, store, state.journal, move)
        workshop.outbox.add(f"rename {move.number}", None, work, error)
    try:
        await resolver.load_root()
    except NotFound as error:
        raise NotFound(f"there is no bucket {config.source}: {error}") from error
    room.nursery.start_soon(workshop.outbox.run)
    rules = await store.name_rules()
    mount = config.mount
    verbs = _verbs(mount.commands)
    guards = Guards(mount.bucket_ops, mount.no_delete, mount.no_overwrite, verbs)
    log_file = _log_file(recent)

    def entries(commands: Commands) -> list[ControlEntry]:
        return [*information(store.facts, running, commands), log_file]

    controls = Controls(entries, events, mount.control)
    return filesystem(resolver, workshop, rules, guards, controls)


def _log_file(recent: logs.Recent) -> PersonalFile:
    async def show(_: Caller) -> str:
        return recent.text()

    return PersonalFile("log", show, private=True)  # it names other users' objects


def _lifetimes(mount: MountConfig) -> Lifetimes:
    return Lifetimes(mount.attribute_ttl_s, mount.negative_ttl_s, mount.listing_ttl_s)


def _follow(resolver: Resolver, workshop: Workshop, quota: int, config: Config) -> None:
    """Use what may change of the parts of the filesystem; `quota` is that of who names none."""
    resolver.believe_for(_lifetimes(config.mount))
    workshop.quota.change(config.staging.quota or quota)
    workshop.window = config.readahead.window
    workshop.drain_s = config.staging.drain_timeout_s


def _verbs(commands: str) -> frozenset[str]:
    """Return the verbs that the setting names.

    Raises:
        ConfigError: one of them is none.
    """
    if commands in {"all", "none"}:
        return frozenset(VERBS if commands == "all" else ())
    named = frozenset(commands.split(":"))
    for unknown in sorted(named - VERBS.keys()):
        raise ConfigError(f"commands: there is no verb {unknown!r}{nearest(unknown, VERBS)}")
    return named


async def _workshop(
    config: Config,
    room: CacheRoom,
    state: StateDirectory,
    shown: Callable[[str], None],
    events: Events,
) -> Workshop:
    """Make what open files are made with, after what earlier mounts owe was sent (C11)."""
    staging = config.staging
    owed = await state.sweep()
    waiting = sum(state.size_of(each) for each in owed)
    quota = Quota(staging.quota or default_quota(state.staging), waiting)
    outbox, uploader = Outbox(), Uploader(room.store, state, events.upload)
    replay = Replay(room.store, state, quota.release)
    if config.mount.read_only and owed:
        log.warning("%d files of earlier mounts wait to be stored by one that may write", len(owed))
    elif not config.mount.read_only:
        for each in await replay.run(owed, shown):
            lock = uploader.earlier.setdefault((each.bucket, each.name), trio.Lock())
            send = partial(_send_earlier, replay, each, lock, events.upload)
            outbox.add(each.data, each.size, send, replay.failure_of(each))
        for deletion in await state.journal.deletions():
            uploader.doomed[deletion.bucket, deletion.name] = deletion.number
    window = config.readahead.window
    fetch_ahead = FetchAhead(room)
    streams = Streams(room.store, room.nursery, staging.stream_after)
    uploads = Uploads(room.store.parts, state.journal)
    if not config.mount.read_only:
        room.nursery.start_soon(uploads.tidy_up, await state.journal.parts())
    parts = Parts(uploads, room.nursery, quota)
    # The state directory is there whatever is set, and is this mount's alone, unlike cache-dir.
    unpacked = Room(state.path, config.views.spool or default_quota(state.path), LONGEST_INDEX)
    return Workshop(
        room, fetch_ahead, uploader, outbox, state, quota, window, streams, parts, unpacked,
        staging.write_back, staging.drain_timeout_s,
    )  # fmt: skip


async def _send_earlier(replay: Replay, owed: Owed, lock: trio.Lock, told: Told) -> None:
    url = owed.bucket.url_of(owed.name)
    try:
        async with lock:
            await replay.send(owed)
    except FsError as error:
        told(url, error)
        raise
    told(url, None)


def presentation_of(mount: MountConfig) -> Presentation:
    """Return how a mount's settings have objects shown."""
    return Presentation(
        uid=os.getuid() if mount.uid < 0 else mount.uid,
        gid=os.getgid() if mount.gid < 0 else mount.gid,
        file_mode=mount.file_mode if mount.file_mode >= 0 else 0o666 & ~mount.umask,
        dir_mode=mount.dir_mode if mount.dir_mode >= 0 else 0o777 & ~mount.umask,
        persist_owner=mount.persist_owner,
    )
