"""Staged file → object on the cluster, in the cheapest way that is safe (C2, C5, C6, C13).

Serves `uploader`.

    sent on in parts (C15)? ─ yes ─▶ the rest ─▶ HEAD: still the base? ─▶ complete ─▶ HEAD: ours?
        │ no
    only written behind what is stored (C16)?
        │ no            │ yes
        │               └─▶ send the tail ─▶ HEAD: still the base? ─▶ flush ─▶ HEAD: did it become
        │ ◀── not possible here, or not known ──────────────────────┘       old + new, next version?
        ▼
    complete the content ─▶ the rest of what was sent while it was written (C15), but for the end
        │
    HEAD, if there was a base ── same ─▶ end the streamed PUT, look for it where a gateway does
        │ changed                 └────▶ else, or if that fails: whole PUT with checksum, attributes
        ▼
    conflict copy, Stale

Each way ends with a PATCH of the attributes, unless the PUT's reply shows that it brought them.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from aisfs.errors import (
    Corrupt,
    FsError,
    IoFailure,
    NotFound,
    Stale,
    TimedOut,
    Unreachable,
    Unsupported,
)
from aisfs.metrics import UPLOADS
from aisfs.store.interface import (
    BucketName,
    Identity,
    ObjectInfo,
    ObjectStore,
    Tail,
    Upload,
    is_xxh64,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.staging.multipart import PartSender
    from aisfs.staging.staged_file import StagedFile
    from aisfs.staging.streamed_upload import StreamedUpload

log = logging.getLogger(__name__)

APPENDED_FROM = 64 << 10
"""Bytes of the smallest object that is appended to: below, two requests that move it whole cost
less than the six of an append."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a staged file is to be stored.

    Attributes:
        expected: what the cluster must still hold (C6); None when the name is new.
        attributes: value of our custom key.
    """

    bucket: BucketName
    name: str
    expected: Identity | None
    attributes: str


async def transfer(
    store: ObjectStore,
    staged: StagedFile,
    target: Target,
    release: Callable[[], Awaitable[None]] | None,
    tried: set[Identity],
) -> ObjectInfo:
    """Store the present content and return the object as stored.

    Args:
        store: the cluster.
        staged: what to store; nobody changes it meanwhile.
        target: where.
        release: ends our own reads of the object, which would block its writer on AIS; called
            when nothing more has to be read.
        tried: what we asked the cluster to hold under the name since it held what is expected, and
            it may have done so, or do it yet: no other client's. Learns of this content, too.

    Raises:
        Stale: the object changed since it was opened. Our bytes are in a conflict copy, and the
            staged file is clean; if it is still dirty, they could not even be completed.
        FsError: the content is not stored.
    """
    work = _Transfer(store, staged, target, release, tried)
    try:
        stored = await work.run()
    except BaseException as error:
        UPLOADS.failed += isinstance(error, FsError)
        staged.base_stays()
        raise
    else:
        UPLOADS.stored += 1
        return stored
    finally:
        staged.end_stream()


class _Transfer:
    """One commit of one staged file."""

    def __init__(
        self,
        store: ObjectStore,
        staged: StagedFile,
        target: Target,
        release: Callable[[], Awaitable[None]] | None,
        tried: set[Identity],
    ) -> None:
        self._store = store
        self._staged = staged
        self._target = target
        self._place = target.bucket, target.name
        self._release = release
        self._tried = tried
        # What the cluster must hold still: what an earlier commit brought there, if it did not end.
        self._expected = staged.landed[1] if staged.landed is not None else target.expected

    async def run(self) -> ObjectInfo:
        if self._staged.parts is not None:
            self._staged.parts.check()
        stored = await self._landed_before() or await self._join_parts() or await self._append()
        if stored is not None:
            await self._set_attributes()
            return ObjectInfo(self._target.name, stored, self._target.attributes)
        return await self._put()

    async def _set_attributes(self) -> None:
        await self._store.set_attributes(*self._place, self._target.attributes)

    async def _landed_before(self) -> Identity | None:
        """Return what the content is on the cluster, if only its attributes are missing there."""
        landed = self._staged.landed
        if landed is None or landed[0] != self._staged.generation:
            return None
        return await self._check_unchanged(landed[1]) or landed[1]

    async def _end_reads(self) -> None:
        if self._release is not None:
            await self._release()

    # -- appending

    async def _append(self) -> Identity | None:
        """Send only what is new; None where that is not possible, or nobody knows if it was done.

        Raises:
            Stale: as `transfer`.
            FsError: nothing was appended, and a whole PUT would not fare better.
        """
        tail = self._tail()
        if tail is None:
            return None
        await self._end_reads()
        handle = await self._send(tail)
        now = await self._look() if handle else None
        if now is None or not now.version.isdigit():
            return None
        assert self._expected is not None
        if not now.same_content(self._expected):
            await self._conflict(now)
        makes = Identity(self._staged.size, version=str(int(now.version) + 1))
        self._tried.add(makes)
        self._staged.flushed = makes
        self._staged.base_moves()
        flushed = await self._flush(handle)
        became = await self._look(from_gateway=True)
        if became is not None and makes.same_content(became):
            self._staged.lands(became)
            return became
        self._staged.base_stays()
        if flushed or became is None or not became.same_content(now):
            await self._conflict(became)
        # Never twice. If the flush comes about late, it makes what the whole PUT makes.
        return None

    def _tail(self) -> Tail | None:
        """Return what is to be appended, if only that was written and it is worth it.

        Not over what we asked for without an answer: that may still come about.
        """
        start = self._staged.appended_from
        expected = self._expected
        if start is None or start < APPENDED_FROM or not self._store.appends(self._target.bucket):
            return None
        if expected is None or not expected.checksum or expected.size != start or self._tried:
            return None
        return Tail(self._staged.fd, start, self._staged.size)

    async def _send(self, tail: Tail) -> str:
        """Send a tail and return the handle for its flush; "" where the object takes none.

        What is not flushed was never there, so a failure may be answered by beginning anew.
        """
        for again in (True, False):
            try:
                return await self._store.append(*self._place, tail)
            except (Unsupported, NotFound) as error:
                log.debug("%s cannot be appended to: %s", self._target.name, error)
                return ""
            except (IoFailure, TimedOut, Unreachable) as error:
                if not again:
                    raise
                log.info("appending to %s begins anew: %s", self._target.name, error)
        raise AssertionError

    async def _flush(self, handle: str) -> bool:
        """Make a tail visible, and tell whether the cluster says that it is."""
        try:
            await self._store.flush_append(*self._place, handle, self._staged.size)
        except FsError as error:
            log.warning("appending to %s: %s", self._target.name, error)
            return False
        return True

    # -- what is larger than staging

    async def _join_parts(self) -> Identity | None:
        """Make the object of what was sent in parts; None if everything is here.

        Raises:
            Stale: as `transfer`, but nothing is stored, and the file is lost.
            FsError: the file is lost, or nobody knows whether it is stored.
        """
        staged, parts = self._staged, self._staged.parts
        if parts is None:
            return None
        checksum = await staged.complete()
        await self._end_reads()
        if not await parts.send_rest(*self._place, staged.size):
            return None
        ours = Identity(staged.size, checksum, "xxhash")
        stored = await self._check_unchanged(ours)
        self._tried.add(ours)
        stored = stored or await self._complete(parts, ours)
        parts.completed()
        staged.lands(stored)
        return stored

    async def _complete(self, parts: PartSender, ours: Identity) -> Identity:
        failure: FsError | None = None
        try:
            await parts.complete()
        except FsError as error:
            failure = error
        now = await self._look(from_gateway=True)
        if now is not None and _comparable(now) and now.same_content(ours):
            return now
        if failure is not None and not isinstance(failure, NotFound):
            raise failure  # the parts may be there still
        raise parts.lose(
            failure
            or Corrupt(
                f"storing {self._target.name} in parts: the cluster holds other bytes than were "
                "sent, and they are not here any more: write it again"
            )
        )

    # -- storing the whole

    async def _put(self) -> ObjectInfo:
        staged, target = self._staged, self._target
        checksum = await staged.complete()
        assert staged.whole
        await self._end_reads()
        upload = Upload(staged.fd, staged.size, checksum, target.attributes)
        stream = staged.stream
        streamed = (
            stream is not None
            and stream.goes_to(*self._place)
            and await stream.send_rest(staged.size)
        )
        ours = Identity(staged.size, checksum, "xxhash")
        stored = await self._check_unchanged(ours)
        self._tried.add(ours)
        if stored is None and streamed and stream is not None:
            stored = await self._finish(stream, ours)
            # By a gateway: where it was sent to is not to say that it is where it belongs.
            stored = stored or await self._check_unchanged(ours, from_gateway=True)
        if stored is None:
            info = await self._store.put(*self._place, upload)
            stored = info.identity
            if _comparable(stored) and not stored.same_content(ours):
                raise Corrupt(
                    f"storing {target.name}: the cluster holds other bytes than were sent"
                )
            if info.attributes == target.attributes:
                return info
        # AIS: a PUT of the bytes that are there already is a no-op that drops its headers.
        staged.lands(stored)
        await self._set_attributes()
        return ObjectInfo(target.name, stored, target.attributes)

    async def _finish(self, stream: StreamedUpload, ours: Identity) -> Identity | None:
        """End a PUT that ran while the file was written; None if it did not store our bytes."""
        info = await stream.finish()
        if info is None:
            return None
        if not _comparable(info.identity) or not info.identity.same_content(ours):
            log.warning("%s did not arrive as it was written: storing it again", self._target.name)
            return None
        # The target was chosen when the PUT began. If the cluster has changed since, the object
        # lies where nobody looks.
        now = await self._look(from_gateway=True)
        if now is None or not now.same_content(ours):
            log.warning("%s is not found where it was stored: storing it again", self._target.name)
            return None
        return now

    # -- others (C6)

    async def _look(self, *, from_gateway: bool = False) -> Identity | None:
        """Return what the cluster holds now."""
        head = self._store.head_now if from_gateway else self._store.head
        try:
            return (await head(*self._place)).identity
        except NotFound:
            return None

    async def _check_unchanged(
        self, ours: Identity, *, from_gateway: bool = False
    ) -> Identity | None:
        """Compare the object with what was opened; on a conflict store our bytes beside it.

        Returns:
            What the cluster holds if that is our content already: of a PUT whose answer was lost.
        """
        if self._expected is None:
            return None
        now = await self._look(from_gateway=from_gateway)
        if now is not None and self._expected.admits(now):
            return None
        if now is not None and now.same_content(ours):
            return now
        if now is not None and any(now.same_content(each) for each in self._tried):
            return None
        return await self._conflict(now)

    async def _conflict(self, now: Identity | None) -> NoReturn:
        """Store our bytes beside an object that others changed (C6).

        Raises:
            Stale: always; if the staged file is still dirty, our bytes could not be completed.
        """
        target, staged = self._target, self._staged
        what = "was deleted" if now is None else "was changed"
        happened = (
            f"{target.bucket.url_of(target.name)} {what} by another client after it was opened here"
        )
        if staged.parts is not None and staged.freed:
            raise staged.parts.lose(
                Stale(f"{happened}; what was written here is larger than staging and is lost")
            )
        checksum = await staged.complete()
        upload = Upload(staged.fd, staged.size, checksum, target.attributes)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"{target.name}.aisfs-conflict-{stamp}-{uuid.uuid4().hex[:8]}"
        await self._store.put(target.bucket, name, upload)
        staged.reset(elsewhere=True)
        raise Stale(f"{happened}; the bytes written here are stored as {name}")


def _comparable(identity: Identity) -> bool:
    """Tell whether a checksum is of the kind that we compute."""
    return bool(identity.checksum) and is_xxh64(identity.checksum_type)
