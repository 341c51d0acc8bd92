"""Renames of directories, written down step by step, so that a crash undoes or finishes them (C32).

Serves `rename` and `daemon`. Plain functions over a store and a journal: at a start there are no
nodes yet. The directory's members are the objects below its prefix but for its own marker, which
goes last: where an empty directory is replaced, its marker must outlive a rename that is undone.

    begin ─▶ copy ─▶ all_copied ─▶ finish ─▶ (no row)
      └───────┴──── failed, or crashed ─▶ undo ─▶ (no row)

Nothing is deleted but an object with the recorded content, and while the name on the other side is
there: whoever tidied one of two trees up after a crash keeps the other. Of many members at a time a
listing tells which copies there are; what it does not show as it should be is looked at by itself.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aisfs.errors import FsError, Incomplete, IoFailure, NotFound
from aisfs.staging.journal import Phase
from aisfs.store.interface import MAX_PAGE, Identity, ObjectInfo
from aisfs.vfs.paths import MARKER
from aisfs.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aisfs.staging.journal import Journal, Move
    from aisfs.store.interface import BucketName, ObjectStore

log = logging.getLogger(__name__)

Member = tuple[str, Identity]

PARALLEL = 16
"""Members that are copied or deleted at a time."""

BATCH = MAX_PAGE
"""Members that are copied before one listing shows their copies."""


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
                return move
            if listing.token <= token:
                raise IoFailure(f"listing {old}: the continuation token does not advance")
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
    copied: Callable[[Identity, ObjectInfo], Awaitable[None]],
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
    """Delete the copies of a rename that failed before all of them were made."""

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
    """Undo or finish an interrupted rename.

    Raises:
        FsError: the cluster does not let us yet; it is to be tried again.
    """
    try:
        await (finish if move.phase is Phase.DELETING else undo)(store, journal, move)
    except FsError as error:
        log.error("%s: %s; this is tried again", _told(move), error)  # noqa: TRY400
        raise
    log.warning("%s", _told(move))


async def resume(store: ObjectStore, journal: Journal) -> list[tuple[Move, FsError]]:
    """Settle what an earlier mount left; return what the cluster did not let us, and why."""
    left = []
    for move in await journal.moves():
        try:
            await settle(store, journal, move)
        except FsError as error:
            left.append((move, error))
    return left


def _told(move: Move) -> str:
    done = "finishing" if move.phase is Phase.DELETING else "undoing"
    return f"{done} the interrupted rename of {move.bucket.name}/{move.old} to {move.new}"
