"""Renames of directories, written down step by step, so that the next mount ends them (C32).

Serves `rename` and `assembly`. Plain functions over a store and a journal: at a start there are no
nodes yet. The directory's members are the objects below its prefix but for its own marker, which
goes last: where an empty directory is replaced, its marker must outlive a rename that is undone.

    listing ─▶ copying ─▶ deleting ─▶ (no row)     after a crash
       │          │                                listing: forgotten, nothing was copied
       │          └ a member fails ─▶ undoing      copying: the rest is copied, then deleting
       └ fails ─▶ (no row)               │         deleting, undoing: gone on with
                                         ▼
                                      (no row)

A crash is not undone as long as that can be helped. The cluster may carry out a request of a
process that is dead, a copy above all, after the next mount has looked and begun to serve: what
was undone by then would be there in part again. What the rest of a rename makes and removes is the
same that such a request makes and removes.

Nothing is deleted but an object with the recorded content, and while the name on the other side is
there: whoever tidied one of two trees up after a crash loses nothing. Of many members at a time a
listing tells which copies there are; what it does not show as it should be is looked at by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError, Incomplete, IoFailure, NotFound, Stale
from aisfs.staging.journal import Phase
from aisfs.store.interface import MAX_PAGE, Identity, ObjectInfo
from aisfs.vfs.attributes import decode, encode, foreign_mtime_ns
from aisfs.vfs.paths import MARKER
from aisfs.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisfs.staging.journal import Journal, Move
    from aisfs.store.interface import BucketName, ObjectStore
    from aisfs.vfs.attributes import Attributes, Presentation

log = logging.getLogger(__name__)

Member = tuple[str, Identity]
Copied = Callable[[Identity, ObjectInfo], Awaitable[None]]
"""Is told what a member was and what its copy is."""

PARALLEL = 16
"""Members that are copied or deleted at a time."""

BATCH = MAX_PAGE
"""Members that are copied before one listing shows their copies."""

TRIES = 3
PAUSE_S = 1.0
"""How often a start tries to complete a rename before it undoes it, and the seconds between."""

REPEATED_S = 5.0
"""Seconds after which a start that settles a rename shows again that it lives."""


async def begin(
    store: ObjectStore,
    journal: Journal,
    bucket: BucketName,
    names: tuple[str, str],
    spared: Callable[[ObjectInfo], bool],
) -> Move:
    """Write down a rename from the first name to the second; nothing is changed yet.

    Its members are all objects but those that are `spared`.

    Raises:
        Incomplete: targets that left the cluster may hold members.
    """
    old, new = names
    move = await journal.begin_move(bucket, old, new)
    try:
        token = ""
        while True:
            listing = await store.list(bucket, old, token, MAX_PAGE, recursive=True)
            if listing.lacking:
                raise Incomplete(f"{old} may hold objects of targets that left the cluster")
            found = (m for m in listing.objects if m.name != old + MARKER and not spared(m))
            await journal.add_members(move.number, ((m.name, m.identity) for m in found))
            if not listing.token:
                return await journal.all_listed(move)
            token = listing.token
    except FsError:
        await journal.end_move(move.number)
        raise


async def _each(members: Sequence[Member], work: Callable[[Member], Awaitable[None]]) -> None:
    """Do some work on members, a few at a time.

    Raises:
        FsError: what the work raised first. The others under way have ended: the cluster might
            carry out a request that was given up after the opposite of it.
    """
    failures: list[FsError] = []

    async def do(member: Member) -> None:
        if failures:
            return
        try:
            await work(member)
        except FsError as error:
            failures.append(error)

    await for_each(members, do, PARALLEL)
    if failures:
        raise failures[0]


async def copy(
    store: ObjectStore,
    journal: Journal,
    move: Move,
    copied: Copied,
) -> None:
    """Copy and verify all members; call `copied` with what each was and what its copy is."""

    async def make(member: Member) -> None:
        await store.copy(move.bucket, member[0], _there(move, member[0]))

    after = ""
    while members := await journal.members(move.number, after, BATCH):
        after = members[-1][0]
        await _each(members, make)
        shown = await _copies(store, move, members)

        async def verify(member: Member, shown: dict[str, ObjectInfo] = shown) -> None:
            name, identity = member
            info = shown.get(_there(move, name))
            if info is None or not _same(info.identity, identity):
                info = await _verified(store, move.bucket, name, identity, _there(move, name))
            await copied(identity, info)

        await _each(members, verify)


async def complete(store: ObjectStore, journal: Journal, move: Move, copied: Copied) -> None:
    """Make the copies that a rename lacks which a crash cut off; call `copied` as `copy` does.

    Who removed a member meanwhile, or its copy with it, has it stay away.

    Raises:
        Stale: others changed a member, or stored something under its new name.
    """

    async def work(member: Member, shown: dict[str, ObjectInfo]) -> None:
        name, identity = member
        source = await _found(store, move.bucket, name)
        if source is None:
            return
        if not source.identity.same_content(identity):
            raise Stale(f"{name} changed since its directory was renamed")
        made = shown.get(_there(move, name))
        if made is None or not _same(made.identity, identity):
            made = await _found(store, move.bucket, _there(move, name))
        if made is None:
            there = _there(move, name)
            made = await copy_verified(store, move.bucket, name, identity, there)
        elif not _same(made.identity, identity):
            raise Stale(f"{made.name} was stored by others since {name} was renamed")
        if decode(source.attributes) is not None and made.attributes != source.attributes:
            await store.set_attributes(move.bucket, made.name, source.attributes)
            made = ObjectInfo(made.name, made.identity, source.attributes)
        await copied(identity, made)

    after = ""
    while members := await journal.members(move.number, after, BATCH):
        after = members[-1][0]
        shown = await _copies(store, move, members)
        await _each(members, partial(work, shown=shown))


async def _found(store: ObjectStore, bucket: BucketName, name: str) -> ObjectInfo | None:
    try:
        return await store.head(bucket, name)
    except NotFound:
        return None


async def _copies(
    store: ObjectStore, move: Move, members: Sequence[Member]
) -> dict[str, ObjectInfo]:
    """Return what a listing shows of members' copies, by name; it may lack some."""
    if move.bucket.remote:
        return {}  # listings tell of the remote bucket's objects
    first = _there(move, members[0][0])
    listing = await store.list(move.bucket, move.new, first[:-1], MAX_PAGE, recursive=True)
    return {info.name: info for info in listing.objects}


async def copy_verified(
    store: ObjectStore, bucket: BucketName, source: str, identity: Identity, name: str
) -> ObjectInfo:
    """Copy an object on the cluster and return the copy, which is as it should be.

    Raises:
        IoFailure: it is not: the source changed meanwhile, or the copy went wrong.
    """
    await store.copy(bucket, source, name)
    return await _verified(store, bucket, source, identity, name)


async def _verified(
    store: ObjectStore, bucket: BucketName, source: str, identity: Identity, name: str
) -> ObjectInfo:
    """Return a copy that is as it should be; raises as `copy_verified`."""
    info = await store.head(bucket, name)
    if not _same(info.identity, identity):
        raise IoFailure(
            f"renaming {source} to {name}: the copy is not what was to be renamed; "
            "nothing was removed"
        )
    return info


def _same(copy: Identity, source: Identity) -> bool:
    return (copy.size, copy.checksum) == (source.size, source.checksum)


def _there(move: Move, name: str) -> str:
    """Return a member's new name."""
    return move.new + name[len(move.old) :]


async def undo(store: ObjectStore, journal: Journal, move: Move) -> None:
    """Delete the copies of a rename that failed before all of them were made.

    It is written down first: what completes a rename must not meet deletions of its copies.
    """
    await journal.give_up(move)

    async def work(member: Member) -> None:
        name, identity = member
        if await _is_there(store, move.bucket, name, _there(move, name)):
            await _delete_same(store, move.bucket, _there(move, name), identity)

    after = ""
    while members := await journal.members(move.number, after, BATCH):
        after = members[-1][0]
        await _each(members, work)
    await journal.end_move(move.number)


async def finish(store: ObjectStore, journal: Journal, move: Move) -> None:
    """Delete the old names of a rename whose members all have their copies."""
    after = ""
    while members := await journal.members(move.number, after, BATCH):
        after = members[-1][0]
        shown = await _copies(store, move, members)

        async def work(member: Member, shown: dict[str, ObjectInfo] = shown) -> None:
            name, identity = member
            copied = _there(move, name)
            if copied in shown or await _is_there(store, move.bucket, copied, name):
                await _delete_same(store, move.bucket, name, identity)

        await _each(members, work)
    await _move_marker(store, move)
    await journal.end_move(move.number)


async def _move_marker(store: ObjectStore, move: Move) -> None:
    old, new = move.old + MARKER, move.new + MARKER
    try:
        found = await store.head(move.bucket, old)
        copy = await copy_verified(store, move.bucket, old, found.identity, new)
        if copy.attributes != found.attributes:
            # AIS: a copy over the same bytes, as those of all markers, may keep the old ones.
            await store.set_attributes(move.bucket, new, found.attributes)
        await store.delete(move.bucket, old)
    except NotFound:
        return  # an implicit directory, or done before a crash


async def _is_there(store: ObjectStore, bucket: BucketName, name: str, other: str) -> bool:
    """Tell whether an object is there, else say that its other name is kept."""
    try:
        await store.head(bucket, name)
    except NotFound:
        log.warning("%s is gone since its directory was renamed: %s is kept", name, other)
        return False
    return True


async def _delete_same(
    store: ObjectStore, bucket: BucketName, name: str, identity: Identity
) -> None:
    """Delete an object that still has a content."""
    try:
        found = (await store.head(bucket, name)).identity
        if found.same_content(identity):
            await store.delete(bucket, name)
        else:
            log.warning("%s changed while its directory was renamed: kept", name)
    except NotFound:
        return  # somebody else was quicker: it is gone, as it should be


async def settle(store: ObjectStore, journal: Journal, move: Move) -> None:
    """Undo or finish an interrupted rename. A mount that serves completes none.

    Raises:
        FsError: the cluster does not let us yet; it is to be tried again.
    """
    try:
        if move.phase is Phase.LISTING:
            await journal.end_move(move.number)  # nothing was copied
        else:
            await (finish if move.phase is Phase.DELETING else undo)(store, journal, move)
    except FsError as error:
        log.error("%s: %s; this is tried again", _told(move), error)  # noqa: TRY400
        raise
    log.warning("%s", _told(move))


async def resume(
    store: ObjectStore, journal: Journal, presentation: Presentation, shown: Callable[[str], None]
) -> list[tuple[Move, FsError]]:
    """Settle what an earlier mount left; return what the cluster did not let us, and why.

    Args:
        store: where it is done.
        journal: where it is written down.
        presentation: how objects look that carry no attributes of ours.
        shown: is told in words what is being done.
    """
    left = []
    for move in await journal.moves():
        async with trio.open_nursery() as showing:
            showing.start_soon(_show, move, shown)
            now = await _completed(store, journal, move, presentation)
            try:
                await settle(store, journal, now)
            except FsError as error:
                left.append((now, error))
            showing.cancel_scope.cancel()
    return left


async def _show(move: Move, shown: Callable[[str], None]) -> None:
    """Tell again and again that a rename is being settled: of many members it takes a while."""
    while True:
        shown(_told(move))
        await trio.sleep(REPEATED_S)


async def _completed(
    store: ObjectStore, journal: Journal, move: Move, presentation: Presentation
) -> Move:
    """Return an interrupted rename as it is after the copies were made that it lacks.

    If that cannot be, it is to be undone. One answer that does not come is no reason for it.
    """
    if move.phase is not Phase.COPYING:
        return move

    async def try_once() -> Move:
        created_ns = (await store.bucket(move.bucket)).created_ns

        async def copied(source: Identity, copy: ObjectInfo) -> None:
            mtime_ns = foreign_mtime_ns(created_ns, source.version, source.checksum)
            await keep_time(store, move.bucket, copy, presentation.of_object("", 0, mtime_ns))

        await complete(store, journal, move, copied)
        return await journal.all_copied(move)

    for left in reversed(range(TRIES)):
        try:
            return await try_once()
        except FsError as error:
            given_up = isinstance(error, Stale) or not left
            then = "it is undone" if given_up else "this is tried again"
            log.warning("%s: %s; %s", _told(move), error, then)
        await trio.sleep(PAUSE_S)  # also before it is undone: a copy that comes late goes, too
        if given_up:
            break
    return replace(move, phase=Phase.UNDOING)


async def keep_time(
    store: ObjectStore, bucket: BucketName, copy: ObjectInfo, shown: Attributes
) -> ObjectInfo:
    """Give the copy of what others wrote the time that its source showed; return what it is then.

    That follows from a version, and AIS gives a copy a version of its own.
    """
    if decode(copy.attributes) is not None:
        return copy
    stored = encode(shown)
    await store.set_attributes(bucket, copy.name, stored)
    return ObjectInfo(copy.name, copy.identity, stored)


def _told(move: Move) -> str:
    done = "finishing" if move.phase in {Phase.COPYING, Phase.DELETING} else "undoing"
    return f"{done} the interrupted rename of {move.bucket.name}/{move.old} to {move.new}"
